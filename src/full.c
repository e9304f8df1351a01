/* SPDX-License-Identifier: BSD-2-Clause */
#include "full.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "beat.h"
#include "log.h"
#include "units.h"

enum { RETRY_MS = 200 };

bool mt_space_again(struct mt_space *s, int error, const char *path)
{
	if ((error != ENOSPC && error != EDQUOT) || s->rule == MT_FULL_STOP)
		return false;
	if (s->rule == MT_FULL_DROP_OLDEST && s->delete_oldest && s->delete_oldest(s->ctx)) {
		atomic_fetch_add(&s->deleted, 1);
		return true;
	}
	if (s->interrupted && atomic_load(s->interrupted))
		return false;
	if (!s->waiting_since_ms) {
		s->waiting_since_ms = mt_monotonic_ms();
		mt_log_error("can not write %s: %s; waiting for space", path, strerror(error));
	}
	mt_beat(MT_BEAT_WRITER);
	poll(NULL, 0, RETRY_MS);
	return true;
}

void mt_space_found(struct mt_space *s, const char *path)
{
	if (!s->waiting_since_ms)
		return;
	int64_t ms = mt_monotonic_ms() - s->waiting_since_ms;
	s->waiting_since_ms = 0;
	atomic_fetch_add(&s->waited_ms, (uint64_t)ms);
	mt_log_warn("%s: there is space again after %.1f s", path, (double)ms / 1e3);
}
