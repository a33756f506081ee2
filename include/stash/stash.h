/* SPDX-License-Identifier: ISC */
/*
 * Everything of libstash's interface: one header for each part of it.
 * A program may include this one, or only the parts that it uses; each of
 * them stands on its own. Nothing is declared here.
 */
#ifndef STASH_STASH_H
#define STASH_STASH_H

#include <stash/behaviour.h>
#include <stash/buf.h>
#include <stash/client.h>
#include <stash/error.h>
#include <stash/field.h>
#include <stash/message.h>
#include <stash/store.h>
#include <stash/supervisor.h>
#include <stash/version.h>
#include <stash/worker.h>

#endif
