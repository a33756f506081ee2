/* SPDX-License-Identifier: ISC */
/*
 * For clang's analyzer alone (tests/lint.sh includes it before each source): a failing call returns its code,
 * which it cannot see from a declaration, so that it takes "failed" for "went well" no more.
 */
#ifndef TESTS_ANALYZER_H
#define TESTS_ANALYZER_H

#include "base/error.h"

#define stash__fail(code, ...) (stash__fail(code, __VA_ARGS__), (code))
#define stash__fail_errno(...) (stash__fail_errno(__VA_ARGS__), STASH_E_SYSTEM)

#endif
