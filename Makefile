# cairn: see README.md. `make help` lists the targets.

EXTENSION = extension/cairn
EXTVERSION = 0.1
MODULE_big = cairn
DATA_built = extension/cairn--$(EXTVERSION).sql

# Plain C: no server headers, no palloc, no ereport (storage_bridge/README.md).
WIRE_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard storage_bridge/wire/*.c)))
# Postgres rules.
PG_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard extension/*.c)))
OBJS = $(WIRE_OBJS) $(PG_OBJS)
# The engine is a library of its own: only the storage process loads it. The core of replication is part of it.
ENGINE_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard storage_bridge/engine/*.c)))
CORE_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard replication_worker/core/*.c)))
ENGINE_LIB = cairn_engine.so

SQL_PARTS = $(addprefix extension/sql/,schema.sql access.sql storage.sql item.sql)

CORE_INCLUDES = -Istorage_bridge/wire -Ireplication_worker/core
PLAIN_INCLUDES = $(CORE_INCLUDES) -Istorage_bridge/engine
PG_CPPFLAGS = -Istorage_bridge/wire -Istorage_bridge/engine -Iextension
PG_CFLAGS = -std=gnu11 -Wno-declaration-after-statement
SHLIB_LINK = -lxxhash -Wl,--version-script=extension/cairn.map

EXTRA_CLEAN = $(ENGINE_LIB) $(ENGINE_OBJS) $(CORE_OBJS) $(OBJS:.o=.d) $(ENGINE_OBJS:.o=.d) $(CORE_OBJS:.o=.d) build

PG_CONFIG ?= /usr/lib/postgresql/15/bin/pg_config

# Tests and servers come from tests/tests.mk, the build from PGXS; both name some targets alike, so that one make reads one of them.
TEST_GOALS = deps lint check check-unit check-thread check-fuzz check-sim check-models check-regress check-tap check-bench demo start stop psql bench format help \
	unit-tests thread-tests fuzz-targets simulations interposer
ifeq ($(filter-out $(TEST_GOALS),$(or $(MAKECMDGOALS),all)),)
include tests/tests.mk
else

# Just-in-time inlining of these functions brings nothing, and clang would need the same flags.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

PLAIN_CFLAGS = -std=gnu11 -O2 -g -fPIC -fvisibility=default -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wmissing-prototypes \
	-Wstrict-prototypes -Wno-unused-parameter

# The first wall: plain objects are compiled without the server's include path and flags.
$(WIRE_OBJS) $(ENGINE_OBJS): %.o: %.c
	$(CC) $(PLAIN_CFLAGS) $(PLAIN_INCLUDES) -MMD -MP -c -o $@ $<
$(CORE_OBJS): %.o: %.c
	$(CC) $(PLAIN_CFLAGS) $(CORE_INCLUDES) -MMD -MP -c -o $@ $<
$(PG_OBJS): override CFLAGS += -MMD -MP
-include $(OBJS:.o=.d) $(ENGINE_OBJS:.o=.d) $(CORE_OBJS:.o=.d)

all: $(ENGINE_LIB)

$(ENGINE_LIB): $(ENGINE_OBJS) $(CORE_OBJS) $(WIRE_OBJS)
	$(CC) -shared -o $@ $^ -Wl,--version-script=storage_bridge/engine/engine.map -lrocksdb -lraft -lxxhash -lpthread

extension/cairn--$(EXTVERSION).sql: $(SQL_PARTS)
	cat $^ > $@

install: install-engine
.PHONY: install-engine
install-engine: $(ENGINE_LIB)
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(INSTALL_SHLIB) $(ENGINE_LIB) '$(DESTDIR)$(pkglibdir)/$(ENGINE_LIB)'

endif
