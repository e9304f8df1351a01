/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wake.h - a thread that sleeps in poll, and others that wake it.
 *
 * A wake-up costs some microseconds on both sides, so it is only made for a thread that sleeps:
 *
 *   sleeper: mt_wake_arm, a last look for work, poll mt_wake_fd, mt_wake_disarm
 *   others:  make work visible, then mt_wake
 */
#ifndef MT_WAKE_H
#define MT_WAKE_H
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mt_wake {
	int fd;
	atomic_bool armed;
};

/* 0, or -1: no descriptor left. */
static inline int mt_wake_init(struct mt_wake *w)
{
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	atomic_init(&w->armed, 0);
	return w->fd < 0 ? -1 : 0;
}

static inline void mt_wake_close(struct mt_wake *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

static inline void mt_wake_arm(struct mt_wake *w)
{
	atomic_store(&w->armed, 1);
	atomic_thread_fence(memory_order_seq_cst);
}

static inline void mt_wake_disarm(struct mt_wake *w)
{
	uint64_t n;
	if (!atomic_exchange(&w->armed, 0) && read(w->fd, &n, sizeof n) < 0)
		return; /* nobody got to writing yet: the next sleep is a short one */
}

static inline void mt_wake(struct mt_wake *w)
{
	uint64_t one = 1;
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&w->armed, memory_order_relaxed) && atomic_exchange(&w->armed, 0) &&
	    write(w->fd, &one, sizeof one) < 0)
		return; /* it is full: readable all the same */
}

#endif
