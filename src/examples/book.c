/* SPDX-License-Identifier: ISC */
/*
 * book: the sequence server as the book has it: what it knows goes to the stash
 * when it terminates, and only then. The "cat" still costs nothing, since an
 * error result lets it terminate in order. A signal doesn't: then it begins
 * again where it was when it last ended well, and hands out numbers twice.
 * But for this one word it is sequence.c; compile it with -I of the directory
 * above this one.
 */
#define SEQUENCE_COMMIT STASH_COMMIT_TERMINATE

#include "examples/sequence.c"
