/* SPDX-License-Identifier: ISC */
/*
 * A shared object that is no module.
 */
int config_plain_answer(void);

int
config_plain_answer(void)
{
	return 42;
}
