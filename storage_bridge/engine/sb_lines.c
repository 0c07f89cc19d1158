/*
 * Log lines and the failure: a ring that threads fill and the storage process's main thread empties. A line that does
 * not fit replaces the oldest; the next one taken then says how many were lost.
 */
#include "sb_host.h"

#include <stdarg.h>
#include <stdio.h>

static void put_line(struct sb_lines *lines, enum sb_level level, const char *text)
{
    struct sb_line *line = &lines->ring[lines->written++ % SB_LINES_MAX];

    line->level = level;
    (void) snprintf(line->text, sizeof(line->text), "%s", text);
}

void sb_host_line(struct sb_server *server, enum sb_level level, const char *format, ...)
{
    char text[SB_FAULT_TEXT];
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&server->lines.lock);
    put_line(&server->lines, level, text);
    pthread_mutex_unlock(&server->lines.lock);
    if (server->options.notify)
        server->options.notify();
}

void sb_host_fail(struct sb_server *server, const struct sb_fault *fault)
{
    bool first;

    pthread_mutex_lock(&server->lines.lock);
    first = server->lines.fault.code == WIRE_OK;
    if (first) {
        server->lines.fault = *fault;
        put_line(&server->lines, SB_LEVEL_WARNING, fault->text);
    }
    pthread_mutex_unlock(&server->lines.lock);
    if (!first)
        return;
    atomic_store(&server->failed, true);
    atomic_store(&server->serving, false);
    atomic_store(&server->shared->state, WIRE_STORAGE_FAILED);
    sb_futex_wake(&server->shared->state, INT_MAX);
    if (server->options.notify)
        server->options.notify();
}

bool sb_host_failed(struct sb_server *server)
{
    return atomic_load_explicit(&server->failed, memory_order_acquire);
}
