/*
 * The settings, one table sorted by name. What the storage process reads at its start is changed by a restart of the
 * server only.
 */
#include "cairn_shared.h"

#include "utils/guc.h"

int cairn_background_threads;
int cairn_block_cache_mb;
int cairn_collect_interval_s;
int cairn_history_retention_s;
int cairn_log_max_mb;
int cairn_log_segment_mb;
int cairn_max_open_files;
int cairn_max_snapshot_age_s;
int cairn_rate_limit_mb_per_s;
int cairn_reader_threads;
int cairn_start_timeout_s;
char *cairn_storage_directory;
int cairn_write_buffer_count;
int cairn_write_buffer_mb;
int cairn_write_set_kb;

typedef struct Setting {
    const char *name;
    const char *description;
    int *number; /* or */
    char **text; /* whose default is empty */
    int fallback;
    int least;
    int most;
    int flags; /* the unit, among others */
    GucContext context;
} Setting;

static const Setting settings[] = {
    {"cairn.background_threads", "Threads that flush and compact the items store.", &cairn_background_threads, NULL, 2,
     1, 64, 0, PGC_POSTMASTER},
    {"cairn.block_cache", "Memory for blocks of the items store, its indexes and filters included.",
     &cairn_block_cache_mb, NULL, 256, 8, 1024 * 1024, GUC_UNIT_MB, PGC_POSTMASTER},
    {"cairn.collect_interval", "Time between two searches for storages whose relation is gone.",
     &cairn_collect_interval_s, NULL, 60, 1, 24 * 3600, GUC_UNIT_S, PGC_SIGHUP},
    {"cairn.history_retention",
     "Time for which superseded versions of items are kept even if no snapshot needs them; 0: they are not written.",
     &cairn_history_retention_s, NULL, 0, 0, 30 * 24 * 3600, GUC_UNIT_S, PGC_POSTMASTER},
    {"cairn.log_max", "Size of the log at which the items store is flushed so that the log can be truncated.",
     &cairn_log_max_mb, NULL, 512, 16, 1024 * 1024, GUC_UNIT_MB, PGC_POSTMASTER},
    {"cairn.log_segment", "Size of one file of the log.", &cairn_log_segment_mb, NULL, 64, 4, 1024, GUC_UNIT_MB,
     PGC_POSTMASTER},
    {"cairn.max_open_files", "Files of the items store that the storage process keeps open.", &cairn_max_open_files,
     NULL, 512, 64, 1000000, 0, PGC_POSTMASTER},
    {"cairn.max_snapshot_age",
     "Age above which a snapshot no longer holds back the removal of superseded versions; 0 means no limit.",
     &cairn_max_snapshot_age_s, NULL, 3600, 0, 30 * 24 * 3600, GUC_UNIT_S, PGC_POSTMASTER},
    {"cairn.rate_limit", "Data that flushes and compactions may write per second; 0 means no limit.",
     &cairn_rate_limit_mb_per_s, NULL, 0, 0, 64 * 1024, GUC_UNIT_MB, PGC_POSTMASTER},
    {"cairn.reader_threads", "Threads that answer reads of single items and short scans.", &cairn_reader_threads, NULL,
     2, 1, 64, 0, PGC_POSTMASTER},
    {"cairn.start_timeout", "Time for which a request waits for the storage process to be ready.",
     &cairn_start_timeout_s, NULL, 60, 0, 3600, GUC_UNIT_S, PGC_USERSET},
    {"cairn.storage_directory",
     "Directory of the items store and its log; empty means \"cairn\" in the data directory.", NULL,
     &cairn_storage_directory, 0, 0, 0, GUC_SUPERUSER_ONLY, PGC_POSTMASTER},
    {"cairn.write_buffer", "Memory for one write buffer of the items store.", &cairn_write_buffer_mb, NULL, 64, 1, 4096,
     GUC_UNIT_MB, PGC_POSTMASTER},
    {"cairn.write_buffer_count", "Write buffers of the items store, those that are being flushed included.",
     &cairn_write_buffer_count, NULL, 3, 2, 16, 0, PGC_POSTMASTER},
    {"cairn.write_set",
     "Writes of one transaction that its backend holds in memory before it hands them to the storage process.",
     &cairn_write_set_kb, NULL, WIRE_WRITE_SET_MAX / 1024, 64, WIRE_WRITE_SET_MAX / 1024, GUC_UNIT_KB, PGC_USERSET},
};

void cairn_settings_define(void)
{
    for (int i = 0; i < lengthof(settings); i++) {
        const Setting *s = &settings[i];

        if (s->number)
            DefineCustomIntVariable(s->name, s->description, NULL, s->number, s->fallback, s->least, s->most,
                                    s->context, s->flags, NULL, NULL, NULL);
        else
            DefineCustomStringVariable(s->name, s->description, NULL, s->text, "", s->context, s->flags, NULL, NULL,
                                       NULL);
    }
    MarkGUCPrefixReserved("cairn");
}
