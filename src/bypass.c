/* SPDX-License-Identifier: BSD-2-Clause */
#include "bypass.h"

#include <stdlib.h>
#include <string.h>

#include "filter.h"

struct mt_bypass {
	struct mt_bypass_script *scripts;
	unsigned n;
};

struct mt_bypass *mt_bypass_new(void)
{
	return calloc(1, sizeof(struct mt_bypass));
}

static void clear(struct mt_bypass_script *s)
{
	mt_filter_free(s->filter);
	mt_filter_free(s->keep);
	free(s->label);
}

void mt_bypass_free(struct mt_bypass *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < b->n; i++)
		clear(&b->scripts[i]);
	free(b->scripts);
	free(b);
}

int mt_bypass_add(struct mt_bypass *b, const struct mt_bypass_script *script, const char *filter,
                  const char *keep, uint16_t linktype, struct mt_err *err)
{
	struct mt_bypass_script *grown = reallocarray(b->scripts, b->n + 1, sizeof *grown);
	if (!grown)
		return mt_err_set(err, "out of memory");
	b->scripts = grown;
	struct mt_bypass_script s = *script;
	s.label = strdup(script->label);
	s.filter = filter ? mt_filter_new(filter, linktype, err) : NULL;
	s.keep = keep ? mt_filter_new(keep, linktype, err) : NULL;
	if (!s.label || (filter && !s.filter) || (keep && !s.keep)) {
		clear(&s);
		return s.label ? -1 : mt_err_set(err, "out of memory");
	}
	b->scripts[b->n++] = s;
	return 0;
}

const struct mt_bypass_script *mt_bypass_at(const struct mt_bypass *b, uint32_t place)
{
	static char label[] = "(of the library)";
	static const struct mt_bypass_script none = {.label = label, .rule = MT_RULE_KEEP};
	return place >= 1 && place <= b->n ? &b->scripts[place - 1] : &none;
}

enum mt_error_rule mt_bypass_rule(const struct mt_bypass *b, bool blocks)
{
	enum mt_error_rule worst = MT_RULE_KEEP;
	for (unsigned i = 0; i < b->n; i++) {
		const struct mt_bypass_script *s = &b->scripts[i];
		if ((blocks ? s->blocks : s->packets) && s->rule > worst)
			worst = s->rule;
	}
	return worst;
}

bool mt_bypass_results(const struct mt_bypass *b)
{
	for (unsigned i = 0; i < b->n; i++)
		if (b->scripts[i].results)
			return true;
	return false;
}

void mt_bypass_packet(const struct mt_bypass *b, struct mt_packet *packet)
{
	for (unsigned i = 0; i < b->n && packet->verdict <= MT_VERDICT_LAST_OUTPUT; i++) {
		const struct mt_bypass_script *s = &b->scripts[i];
		if (s->keep && mt_filter_match(s->keep, packet) != 1)
			packet->verdict = MT_VERDICT_DROPPED;
		else if (!s->packets || (s->filter && mt_filter_match(s->filter, packet) != 1))
			continue;
		else if (s->rule == MT_RULE_KEEP)
			packet->flags |= MT_PACKET_BYPASSED;
		else
			packet->verdict = MT_VERDICT_BYPASS_DROP;
	}
}
