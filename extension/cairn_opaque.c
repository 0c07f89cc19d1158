/*
 * Values of types that the item model lacks, as opaque bytes and back.
 *
 * Happy path: json and xml are kept as they are, other types cross by their own functions, send and receive or output
 * and input.
 *
 * The bytes must not depend on who writes or reads: settings that those functions look at are laid aside for the call,
 * and text is in the server's encoding, whatever the client's is. Failure modes: what the functions raise.
 */
#include "cairn_opaque.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/xml.h"

typedef struct StableSetting {
    const char *name;
    const char *value;
} StableSetting;

/* What every input understands, as pg_dump writes it. */
static const StableSetting stable_settings[] = {
    {"datestyle", "ISO"}, {"intervalstyle", "postgres"}, {"extra_float_digits", "3"}, {"xmloption", "content"}};

/* Returns the level to give back to AtEOXact_GUC; 0: the settings are right as they are. An error undoes them with its
 * transaction or subtransaction. */
static int lay_settings_aside(void)
{
    int level;

    if (DateStyle == USE_ISO_DATES && IntervalStyle == INTSTYLE_POSTGRES && extra_float_digits > 0 &&
        xmloption == XMLOPTION_CONTENT)
        return 0;
    level = NewGUCNestLevel();
    for (int i = 0; i < (int) lengthof(stable_settings); i++)
        (void) set_config_option(stable_settings[i].name, stable_settings[i].value, PGC_USERSET, PGC_S_SESSION,
                                 GUC_ACTION_SAVE, true, 0, false);
    return level;
}

static void restore_settings(int level)
{
    if (level > 0)
        AtEOXact_GUC(true, level);
}

/* --- send and receive --- */

/* Send converts text from the server's encoding to the client's, receive back: here nothing is to be converted. */
static int lay_encoding_aside(void)
{
    int encoding = pg_get_client_encoding();

    if (encoding != GetDatabaseEncoding())
        (void) SetClientEncoding(GetDatabaseEncoding());
    return encoding;
}

static void restore_encoding(int encoding)
{
    if (encoding != pg_get_client_encoding())
        (void) SetClientEncoding(encoding);
}

static bytea *send(const CairnColumn *column, Datum value)
{
    int encoding = lay_encoding_aside();
    bytea *result;

    PG_TRY();
    {
        result = OidSendFunctionCall(column->out_function, value);
    }
    PG_FINALLY();
    {
        restore_encoding(encoding);
    }
    PG_END_TRY();
    return result;
}

static Datum receive(const CairnColumn *column, StringInfo bytes)
{
    int encoding = lay_encoding_aside();
    Datum result;

    PG_TRY();
    {
        result = OidReceiveFunctionCall(column->in_function, bytes, column->io_parameter, -1);
    }
    PG_FINALLY();
    {
        restore_encoding(encoding);
    }
    PG_END_TRY();
    return result;
}

/* --- both ways --- */

static struct wire_span varlena_span(const struct varlena *bytes)
{
    return (struct wire_span){(const uint8_t *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)};
}

struct wire_span cairn_opaque_bytes(const CairnColumn *column, Datum value)
{
    char *string;
    int level;

    switch (column->codec) {
    case CAIRN_CODEC_RAW:
        return varlena_span(PG_DETOAST_DATUM_PACKED(value));
    case CAIRN_CODEC_BINARY:
        return varlena_span(send(column, value));
    default:
        level = lay_settings_aside();
        string = OidOutputFunctionCall(column->out_function, value);
        restore_settings(level);
        return (struct wire_span){(const uint8_t *) string, strlen(string)};
    }
}

Datum cairn_opaque_value(const CairnColumn *column, struct wire_span bytes)
{
    char *copy;
    StringInfoData buffer;
    Datum value;
    int level;

    if (column->codec == CAIRN_CODEC_RAW)
        return PointerGetDatum(cstring_to_text_with_len((const char *) bytes.data, (int) bytes.size));
    copy = palloc(bytes.size + 1);
    memcpy(copy, bytes.data, bytes.size);
    copy[bytes.size] = '\0';
    if (column->codec == CAIRN_CODEC_BINARY) {
        buffer = (StringInfoData){copy, (int) bytes.size, (int) bytes.size + 1, 0};
        return receive(column, &buffer);
    }
    level = lay_settings_aside();
    value = OidInputFunctionCall(column->in_function, copy, column->io_parameter, -1);
    restore_settings(level);
    return value;
}
