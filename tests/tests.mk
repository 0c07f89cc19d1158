# Tests, lint, demo and private servers: included by the Makefile. See tests/README.md.

.PHONY: deps lint check check-unit check-thread check-fuzz check-sim check-models check-regress check-tap check-bench demo start stop psql bench format help

BUILD = build
TEST_CFLAGS = -std=gnu11 -O1 -g -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wno-unused-parameter -fno-omit-frame-pointer
TEST_INCLUDES = $(PLAIN_INCLUDES) -Itests/sim -Itests/unit
TEST_LIBS = -lcmocka -lrocksdb -lraft -lxxhash -lpthread
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all

PLAIN_SOURCES = $(sort $(wildcard storage_bridge/wire/*.c replication_worker/core/*.c storage_bridge/engine/*.c))
SIM_PARTS = $(filter-out $(SIM_PROGRAMS),$(sort $(wildcard tests/sim/*.c)))
SIM_PROGRAMS = tests/sim/sim_log.c tests/sim/sim_shard.c tests/sim/sim_group.c tests/sim/sim_cluster.c
UNIT_TESTS = $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))
# Races show under the thread sanitizer or, some of weak ordering, only without any.
THREAD_TESTS = $(patsubst %,$(BUILD)/thread/%,test_wire_lane test_sb_log test_sb_server test_sb_readers test_sb_worker) $(BUILD)/plain/test_wire_lane
FUZZ_TARGETS = $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
SIMULATIONS = $(patsubst tests/sim/%.c,$(BUILD)/sim/%,$(wildcard $(SIM_PROGRAMS)))

ASAN_OBJS = $(patsubst %.c,$(BUILD)/asan/%.o,$(PLAIN_SOURCES) $(SIM_PARTS))
TSAN_OBJS = $(patsubst %.c,$(BUILD)/tsan/%.o,$(PLAIN_SOURCES) $(SIM_PARTS))
FUZZ_OBJS = $(patsubst %.c,$(BUILD)/fuzzed/%.o,$(sort $(wildcard storage_bridge/wire/*.c)))
SIM_OBJS = $(patsubst %.c,$(BUILD)/optimized/%.o,$(PLAIN_SOURCES) $(SIM_PARTS))

$(BUILD)/asan/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) $(SANITIZE) $(TEST_INCLUDES) -MMD -MP -c -o $@ $<
$(BUILD)/tsan/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -fsanitize=thread $(TEST_INCLUDES) -MMD -MP -c -o $@ $<
$(BUILD)/fuzzed/%.o: %.c
	@mkdir -p $(@D)
	clang $(TEST_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined $(TEST_INCLUDES) -MMD -MP -c -o $@ $<
$(BUILD)/optimized/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -O2 $(TEST_INCLUDES) -MMD -MP -c -o $@ $<

$(BUILD)/asan/plain.a: $(ASAN_OBJS)
	rm -f $@ && ar rcs $@ $^
$(BUILD)/optimized/plain.a: $(SIM_OBJS)
	rm -f $@ && ar rcs $@ $^
$(BUILD)/tsan/plain.a: $(TSAN_OBJS)
	rm -f $@ && ar rcs $@ $^
$(BUILD)/fuzzed/wire.a: $(FUZZ_OBJS)
	rm -f $@ && ar rcs $@ $^

# Linking without Postgres is the second wall.
$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/asan/plain.a
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) $(SANITIZE) $(TEST_INCLUDES) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/asan/plain.a $(TEST_LIBS)
$(BUILD)/thread/%: tests/unit/%.c $(BUILD)/tsan/plain.a
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -fsanitize=thread $(TEST_INCLUDES) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/tsan/plain.a $(TEST_LIBS)
$(BUILD)/plain/%: tests/unit/%.c $(BUILD)/optimized/plain.a
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -O2 $(TEST_INCLUDES) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/optimized/plain.a $(TEST_LIBS)
$(BUILD)/fuzz/%: tests/fuzz/%.c $(BUILD)/fuzzed/wire.a
	@mkdir -p $(@D)
	clang $(TEST_CFLAGS) -fsanitize=fuzzer,address,undefined $(TEST_INCLUDES) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/fuzzed/wire.a -lxxhash
$(BUILD)/sim/%: tests/sim/%.c $(BUILD)/optimized/plain.a
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -O2 $(TEST_INCLUDES) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/optimized/plain.a -lrocksdb -lraft -lxxhash -lpthread

-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*/*/*/*.d)

unit-tests: $(UNIT_TESTS)
thread-tests: $(THREAD_TESTS)
fuzz-targets: $(FUZZ_TARGETS)
simulations: $(SIMULATIONS)

# LD_PRELOAD library of the power-off tests, and the tool that makes what a power failure leaves out of its record.
interposer: $(BUILD)/interposer/poweroff.so $(BUILD)/interposer/poweroff_apply
$(BUILD)/interposer/poweroff.so: tests/tap/poweroff/poweroff.c tests/tap/poweroff/poweroff.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -D_GNU_SOURCE -fPIC -Wall -Wextra -shared -o $@ $< -lpthread
$(BUILD)/interposer/poweroff_apply: tests/tap/poweroff/poweroff_apply.c tests/tap/poweroff/poweroff.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -D_GNU_SOURCE -Wall -Wextra -o $@ $<
.PHONY: interposer unit-tests thread-tests fuzz-targets simulations

# PGXS is found through pg_config, which deps may have to install first: hence a make of its own for what follows it.
deps:
	@tests/tools/deps.sh

lint: deps
	@tests/lint/lint.sh

check check-unit check-thread check-fuzz check-sim check-models check-regress check-tap check-bench: deps
	@tests/tools/check.sh $(patsubst check,all,$(patsubst check-%,%,$@))

format:
	@find storage_bridge extension replication_worker tests bench -name '*.[ch]' | xargs clang-format -i

demo: deps
	@docs/demo/demo.sh

start stop psql: deps
	@tests/tools/server.sh $@

bench: deps
	@bench/bench.sh

help:
	@echo 'make demo         load the machine'\''s package records into a cairn table and look around'
	@echo 'make check        every test (CAIRN_CHECK=ci or long: longer)'
	@echo 'make start        a private server that stays; make psql, make stop'
	@echo 'make bench        cairn against heap tables in one run'
	@echo 'make lint         layers, format, sizes, symbols'
	@echo 'make check-unit   one suite: unit, thread, fuzz, sim, models, regress, tap, bench'
