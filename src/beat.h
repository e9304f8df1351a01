/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * beat.h - signs of life of the data path, for the service manager's watchdog.
 *
 * Each side counts on when it gets something done or waits for something that it is meant to wait for
 * (packets, space on the disk, a watchfile, a command that reads slowly).  A side that is stuck anywhere
 * else does not, and the watchdog is told nothing any more.
 */
#ifndef MT_BEAT_H
#define MT_BEAT_H
#include <stdatomic.h>

enum mt_beat_side { MT_BEAT_READER, MT_BEAT_WRITER, MT_BEAT_SIDES };

extern _Atomic unsigned mt_beats[MT_BEAT_SIDES];

static inline void mt_beat(enum mt_beat_side side)
{
	atomic_fetch_add_explicit(&mt_beats[side], 1, memory_order_relaxed);
}

#endif
