/* See sim_table.h. */
#include "sim_table.h"

#include <stdio.h>
#include <stdlib.h>

enum { RECORD = 1, HIGH = 2 };

struct writer {
    struct sb_table face;
    struct sb_files *files;
    int file;
    uint64_t size;
};

static void *must(void *memory)
{
    if (memory)
        return memory;
    fputs("sim_table: out of memory\n", stderr);
    abort();
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* A byte, then sized bytes, once or twice. */
static int append(struct writer *writer, uint8_t byte, const struct wire_span *spans, int count, struct sb_fault *fault)
{
    size_t room = 1 + 4 * 2 + spans[0].size + (count > 1 ? spans[1].size : 0);
    struct wire_writer w = wire_writer_of(must(malloc(room)), room);
    int status;

    wire_write_u8(&w, byte);
    for (int i = 0; i < count; i++) {
        wire_write_u32(&w, (uint32_t) spans[i].size);
        wire_write_bytes(&w, spans[i].data, spans[i].size);
    }
    status = writer->files->write(writer->files->self, writer->file, writer->size, w.data, w.size, fault);
    writer->size += w.size;
    free(w.data);
    return status;
}

static int table_put(void *self, struct wire_span key, struct wire_span value, struct sb_fault *fault)
{
    if (key.size > SB_STORE_KEY_MAX)
        return sb_fault_set(fault, WIRE_E_KEY_SIZE, "a key of %zu bytes", key.size);
    return append(self, RECORD, (const struct wire_span[]){key, value}, 2, fault);
}

static uint64_t table_size(void *self)
{
    return ((struct writer *) self)->size;
}

static int table_finish(void *self, struct wire_span high, struct sb_fault *fault)
{
    struct writer *writer = self;
    int status = append(writer, HIGH, &high, 1, fault);

    return status == WIRE_OK ? writer->files->sync_file(writer->files->self, writer->file, fault) : status;
}

static void table_close(void *self)
{
    struct writer *writer = self;

    (void) writer->files->close(writer->files->self, writer->file);
    free(writer);
}

int sim_table_create(struct sb_files *files, const char *path, enum sb_family family, struct wire_span low,
                     struct sb_table **out, struct sb_fault *fault)
{
    struct writer *writer = must(calloc(1, sizeof(*writer)));
    int status;

    writer->files = files;
    writer->face = (struct sb_table){writer, table_put, table_size, table_finish, table_close};
    (void) files->remove(files->self, name_of(path), NULL);
    status = files->open(files->self, name_of(path), true, &writer->file, fault);
    if (status != WIRE_OK) {
        free(writer);
        return status;
    }
    status = append(writer, (uint8_t) family, &low, 1, fault);
    if (status == WIRE_OK)
        *out = &writer->face;
    else
        table_close(writer);
    return status;
}

static struct wire_span read_sized(struct wire_reader *r)
{
    uint32_t size = wire_read_u32(r);
    const uint8_t *data = wire_read_bytes(r, size);

    return (struct wire_span){data, data ? size : 0};
}

/* WIRE_OK if the records end with the end of the range. */
static int parse(struct sim_table *table)
{
    struct wire_reader r = wire_reader_of(table->bytes, table->size);
    uint8_t kind;

    table->range.family = wire_read_u8(&r);
    table->range.low = read_sized(&r);
    table->records = r;
    while ((kind = wire_read_u8(&r)) == RECORD) {
        (void) read_sized(&r);
        (void) read_sized(&r);
    }
    table->range.high = read_sized(&r);
    return kind == HIGH && table->range.family < SB_FAMILY_COUNT ? wire_reader_finish(&r) : WIRE_E_BAD_FORMAT;
}

int sim_table_load(struct sb_files *files, const char *path, struct sim_table *out, struct sb_fault *fault)
{
    uint64_t size = 0;
    int file;
    int status = files->open(files->self, name_of(path), false, &file, fault);

    *out = (struct sim_table){0};
    if (status != WIRE_OK)
        return status;
    status = files->size(files->self, file, &size, fault);
    out->bytes = must(malloc((size_t) size + 1));
    if (status == WIRE_OK)
        status = files->read(files->self, file, 0, out->bytes, (size_t) size, &out->size, fault);
    (void) files->close(files->self, file);
    if (status == WIRE_OK && parse(out) != WIRE_OK)
        status = sb_fault_set(fault, WIRE_E_CORRUPT, "\"%s\" is not a whole table", path);
    if (status != WIRE_OK)
        sim_table_unload(out);
    return status;
}

bool sim_table_next(struct sim_table *table, struct wire_span *key, struct wire_span *value)
{
    if (wire_read_u8(&table->records) != RECORD)
        return false;
    *key = read_sized(&table->records);
    *value = read_sized(&table->records);
    return true;
}

void sim_table_unload(struct sim_table *table)
{
    free(table->bytes);
    table->bytes = NULL;
}

void sim_table_remove(struct sb_files *files, const char *path)
{
    (void) files->remove(files->self, name_of(path), NULL);
}
