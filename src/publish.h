/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * publish.h - what scripts show to those who attach to the run (moontap.publish): a value for each name.
 *
 * One table for the run.  The thread that runs scripts puts values there, others take them; neither waits
 * longer than it takes to exchange a pointer.
 */
#ifndef MT_PUBLISH_H
#define MT_PUBLISH_H
#include <jansson.h>
#include <stdbool.h>

enum { MT_PUBLISH_MOST = 1000 }; /* names */

/* The value of that name from now on; taken, and nobody else's.  null: it has none any more.  false: there are
 * too many names, or no memory. */
bool mt_publish(const char *name, json_t *value);
/* {name: {"value":, "age_s":}}; new reference.  The values are shared: to be read only. */
json_t *mt_published(void);

#endif
