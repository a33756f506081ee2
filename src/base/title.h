/* SPDX-License-Identifier: ISC */
/*
 * title.h: what ps(1) shows of this process. A program that hasn't given its arguments' memory up for that (only its
 * main() can) shows the beginning of the title as the name of its main thread, and nothing else.
 */
#ifndef BASE_TITLE_H
#define BASE_TITLE_H

/* First thing in main(): from then on titles go over argv's memory. */
void stash__title_init(int argc, char **argv);
void stash__title(const char *title);

#endif
