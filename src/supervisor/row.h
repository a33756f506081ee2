/* SPDX-License-Identifier: ISC */
/*
 * Numbers in the rows of the tree, between the one who writes (save.c, where the
 * items are listed) and the one who reads (restore.c). They never change within
 * one ROW_FORMAT. So are the values of the enums in node.h that rows hold.
 */
#ifndef SUPERVISOR_ROW_H
#define SUPERVISOR_ROW_H

#define ROW_FORMAT 1

/* flags of a node's row */
#define ROW_OWN 1      /* its specification is in the row */
#define ROW_INSTANCE 2 /* below SIMPLE_ONE_FOR_ONE */
#define ROW_SUPER 4    /* a supervisor */
#define ROW_HOLDS_NAME 8
#define ROW_WANTED 16 /* enum sup_wanted */
#define ROW_AS_IT_WAS 32
#define ROW_CHANGE 64 /* times enum sup_change */
#define ROW_BLAMELESS 256
#define ROW_FAILED 512
#define ROW_FLAGS 1023

/* flags of an operation */
#define ROW_OP_COUNTED 1
#define ROW_OP_RESUMED 2

#endif
