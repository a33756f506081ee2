/* SPDX-License-Identifier: ISC */
/*
 * Times and sizes as text: local for people, RFC 3339 in UTC for programs. A
 * time that no calendar has is shown as a number, never as a wrong date.
 */
#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "common/out.h"

static const char *
calendar(int64_t ns, const char *format, bool utc, const char *behind, char text[TOOL_TIME_MAX])
{
	int64_t part = ns % STASH__NS_PER_S;
	time_t seconds = ns / STASH__NS_PER_S - (part < 0);
	struct tm tm;
	char day[40];

	if (part < 0)
		part += STASH__NS_PER_S;
	if ((utc ? gmtime_r(&seconds, &tm) : localtime_r(&seconds, &tm)) == NULL ||
	    strftime(day, sizeof day, format, &tm) == 0)
		snprintf(text, TOOL_TIME_MAX, "%" PRId64 " ns", ns);
	else
		snprintf(text, TOOL_TIME_MAX, "%s.%03d%s", day, (int)(part / STASH__NS_PER_MS), behind);
	return text;
}

const char *
tool_time_local(int64_t ns, char text[TOOL_TIME_MAX])
{
	if (ns == 0) {
		snprintf(text, TOOL_TIME_MAX, "-");
		return text;
	}
	return calendar(ns, "%Y-%m-%d %H:%M:%S", false, "", text);
}

const char *
tool_time_utc(int64_t ns, char text[TOOL_TIME_MAX])
{
	return calendar(ns, "%Y-%m-%dT%H:%M:%S", true, "Z", text);
}

const char *
tool_duration(int64_t ns, char text[TOOL_TIME_MAX])
{
	int64_t s = ns / STASH__NS_PER_S;

	if (ns < STASH__NS_PER_US)
		snprintf(text, TOOL_TIME_MAX, "%" PRId64 " ns", ns);
	else if (ns < STASH__NS_PER_MS)
		snprintf(text, TOOL_TIME_MAX, "%.1f us", (double)ns / (double)STASH__NS_PER_US);
	else if (ns < STASH__NS_PER_S)
		snprintf(text, TOOL_TIME_MAX, "%.1f ms", (double)ns / (double)STASH__NS_PER_MS);
	else if (s < 60)
		snprintf(text, TOOL_TIME_MAX, "%.1f s", (double)ns / (double)STASH__NS_PER_S);
	else if (s < 3600)
		snprintf(text, TOOL_TIME_MAX, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, TOOL_TIME_MAX, "%" PRId64 " h %" PRId64 " min", s / 3600, s % 3600 / 60);
	else
		snprintf(text, TOOL_TIME_MAX, "%" PRId64 " d %" PRId64 " h", s / 86400, s % 86400 / 3600);
	return text;
}

/* humanize_number(3) would say 65536, or leave the decimals out. */
const char *
tool_bytes(uint64_t bytes, char text[TOOL_TIME_MAX])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(text, TOOL_TIME_MAX, "%" PRIu64 " bytes", bytes);
		return text;
	}
	for (; value >= 1024; unit++)
		value /= 1024;
	snprintf(text, TOOL_TIME_MAX, "%.1f %s", value, units[unit]);
	return text;
}
