# The benchmark itself, run by bench.sh, which builds, makes the server and sets BENCH_*. See README.md for method and variables.
#
# Stages: load (alternating, timed) -> sizes -> equal contents -> workloads in their order -> bytes written, memory -> RocksDB alone -> table, goals, JSON.
# A measurement that fails is shown as failed and makes the run fail at its end; a stage that all others need ends it at once.
use strict;
use warnings;
use FindBin ();
use lib "$FindBin::Bin/lib";
use POSIX          ();
use Time::HiRes    ();
use List::Util     qw(sum0 min max);
use BenchServer    qw(sql rows start_server stop_server cpu_s settle written storage_memory machine);
use BenchWorkloads qw(workload workload_names contenders scripts_of create_table);
use BenchReport    qw(median print_cells print_pairs print_written print_limits goals write_json);

$| = 1;
my $home    = $ENV{BENCH_HOME};
my $scratch = "$ENV{BENCH_BUILD}/run";
my %plan    = (
    items         => $ENV{CAIRN_BENCH_ITEMS} + 0,
    seconds       => $ENV{CAIRN_BENCH_SECONDS} + 0,
    rounds        => $ENV{CAIRN_BENCH_ROUNDS} + 0,
    settle_s      => $ENV{CAIRN_BENCH_SETTLE} + 0,
    seed          => $ENV{CAIRN_BENCH_SEED} + 0,
    clients       => [split ' ', $ENV{CAIRN_BENCH_CLIENTS}],
    distributions => [split ' ', $ENV{CAIRN_BENCH_DISTRIBUTIONS}],
    workloads     => [split ' ', $ENV{CAIRN_BENCH_WORKLOADS} || join ' ', workload_names()],
);
my $cores    = do { chomp(my $n = `nproc`); $n + 0 };
my $base     = 0;       # numbers of inserted items: each measurement has a stretch of its own
my $failures = 0;
my $peak_kb  = 0;       # of the storage process, over its restarts
my %written;            # by phase: see note_written

mkdir $scratch;
workload($_) for @{$plan{workloads}};

sub say_line { printf "%s  %s\n", POSIX::strftime('%H:%M:%S', localtime), $_[0] }

sub note_memory {
    my $memory = storage_memory();
    $peak_kb = max($peak_kb, $memory->{VmHWM});
    return $memory;
}

# ---- load ----

my %table_bytes;

# Rows per second of one COPY into a new table with its key in place; a server-side file spares both contenders a client.
sub load_table {
    my ($table, $store) = @_;
    sql("DROP TABLE IF EXISTS $table");
    settle($plan{settle_s});
    sql('CHECKPOINT');
    sql(create_table($table, $store));
    my $before = written();
    my $cpu    = cpu_s();
    my $begin  = Time::HiRes::time();
    sql("COPY $table FROM '$home/items.copy'");
    my $seconds = Time::HiRes::time() - $begin;
    settle($plan{settle_s});
    $cpu = cpu_s() - $cpu;
    sql('CHECKPOINT') if $store eq 'heap';
    note_written('load', $store, $before, written(), $plan{items});
    return {rows_per_s => $plan{items} / $seconds, cpu_us => $cpu * 1e6 / $plan{items}};
}

sub load_stage {
    my %rounds;
    for my $round (1 .. $plan{rounds}) {
        for my $store ($round % 2 ? qw(heap cairn) : qw(cairn heap)) {
            my $loaded = load_table("${store}_items", $store);
            push @{$rounds{$store}}, $loaded;
            say_line(sprintf 'load round %d, %s: %.0f rows/s', $round, $store, $loaded->{rows_per_s});
        }
    }
    sql("VACUUM (ANALYZE) heap_items");
    sql('ANALYZE cairn_items');
    note_memory();
    # A restart flushes what the items store still holds in memory, so that all of it is counted.
    stop_server();
    start_server();
    settle(max(60, $plan{settle_s}));
    $table_bytes{heap} = sql(q{SELECT pg_total_relation_size('heap_items')});
    $table_bytes{cairn} = sql(q{SELECT items_bytes + history_bytes FROM cairn.tables WHERE table_name = 'cairn_items'});
    return map { pair_of($_->[0], $_->[1], \%rounds, $_->[2]) } ['COPY load, rows/s', 'rows_per_s', [least => 0.7]], ['COPY load, CPU us per row', 'cpu_us', []];
}

sub pair_of {
    my ($title, $figure, $rounds, $bound) = @_;
    my %m = map { my $s = $_; $s => median(map { $_->{$figure} } @{$rounds->{$s}}) } qw(heap cairn);
    return {title => $title, %m, ratio => $m{heap} ? $m{cairn} / $m{heap} : undef, @$bound, rounds => {map { my $s = $_; $s => [map { $_->{$figure} } @{$rounds->{$s}}] } qw(heap cairn)}};
}

sub size_pair {
    return {title => 'size on disk, freshly loaded, bytes', heap => $table_bytes{heap} + 0, cairn => $table_bytes{cairn} + 0, ratio => $table_bytes{cairn} / $table_bytes{heap}, most => 0.75};
}

# The other tables: for scans in key order, and for inserts.
sub prepare_tables {
    my %wanted = map { workload($_)->{table} => 1 } @{$plan{workloads}};
    if ($wanted{range}) {
        sql($_) for create_table('cairn_range', 'cairn'), "COPY cairn_range FROM '$home/items.copy'", 'ANALYZE cairn_range';
        sql($_) for create_table('heap_ordered', 'heap'), 'INSERT INTO heap_ordered SELECT * FROM heap_items ORDER BY key', 'VACUUM (ANALYZE) heap_ordered';
    }
    if ($wanted{insert}) { sql(create_table("${_}_insert", $_)) for qw(heap cairn) }
}

# Both contenders must answer the same, or no figure means anything.
sub check_contents {
    my $keys = min(200, $plan{items});
    my $each = int($plan{items} / $keys);
    for my $table (grep { sql("SELECT to_regclass('$_') IS NOT NULL") eq 't' } qw(cairn_items cairn_range)) {
        my $same = sql(qq{SELECT count(*) FROM (SELECT key, to_jsonb(t) AS item FROM heap_items t ORDER BY key LIMIT $keys) h
            JOIN LATERAL (SELECT cairn.get_item('$table', jsonb_build_object('key', h.key)) AS item) c ON c.item = h.item});
        $same == $keys or die "$table and heap_items differ in their first $keys items: $same are equal\n";
        my $count = sql("SELECT count(*) FROM $table");
        $count == $plan{items} or die "$table has $count items, not $plan{items}\n";
    }
}

# Everything that fits is in memory before the first measurement: heap through pg_prewarm, then both by reading.
sub warm_up {
    my %wanted = map { workload($_)->{table} => 1 } @{$plan{workloads}};
    my @heaps  = ('heap_items', $wanted{range} ? 'heap_ordered' : ());
    sql('CREATE EXTENSION IF NOT EXISTS pg_prewarm');
    sql("SELECT pg_prewarm('$_'), pg_prewarm('${_}_pkey')") for @heaps;
    my $seconds = max(1, int($plan{items} / 25000));
    my $reads   = workload('C');
    run_pgbench($reads, $_, 'uniform', 8, $seconds, 0) for grep { $_->{entrance} eq 'sql' } contenders($reads);
    return unless $wanted{range};
    my $scans = workload('E');
    run_pgbench($scans, {name => 'cairn', store => 'cairn', entrance => 'sql'}, 'uniform', 8, max(1, int($seconds / 4)), 0, 1);
}

# ---- one measurement ----

sub latencies_of {
    my ($prefix) = @_;
    my @by_script;
    for my $path (glob "$prefix.*") {
        open my $file, '<', $path or die "$path: $!\n";
        while (my $line = <$file>) {
            my @f = split ' ', $line;
            push @{$by_script[$f[3]]}, $f[2] if @f >= 4 && $f[2] =~ /^\d/;
        }
        close $file;
        unlink $path;
    }
    return @by_script;
}

sub percentile_ms {
    my ($sorted, $share) = @_;
    return @$sorted ? $sorted->[min($#$sorted, int(@$sorted * $share))] / 1000 : undef;
}

# Transactions by script: pgbench tells them only if there are several.
sub counts_of {
    my ($output, $scripts) = @_;
    my ($all) = $output =~ /transactions actually processed: (\d+)/ or die "pgbench:\n$output";
    my @counts = $output =~ /^ - (\d+) transactions/mg;
    return @$scripts == 1 ? ($all) : @counts;
}

sub run_pgbench {
    my ($workload, $contender, $distribution, $clients, $seconds, $round, $only_first) = @_;
    my @scripts = scripts_of($workload, $contender, $distribution);
    @scripts = $scripts[0] if $only_first;
    my @files = map {"$scratch/script.$_.sql"} 0 .. $#scripts;
    for my $i (0 .. $#scripts) {
        open my $file, '>', $files[$i] or die "$files[$i]: $!\n";
        print $file $scripts[$i]{text};
        close $file or die "$files[$i]: $!\n";
    }
    $base += 1_000_000_000_000;
    unlink glob "$scratch/log.*";
    my @command = ('timeout', $seconds + 120, "$ENV{BENCH_BINDIR}/pgbench", '-n', '-M', 'prepared', '-h', $home, '-p', $ENV{BENCH_PORT}, '-U', 'postgres',
        '-T', $seconds, '-c', $clients, '-j', min($clients, $cores), '--random-seed=' . ($plan{seed} + $round), '-l', "--log-prefix=$scratch/log",
        '--sampling-rate=' . ($workload->{name} =~ /^[CBD]/ ? 0.25 : 1), '-D', "items=$plan{items}", '-D', "base=$base", '-D', "clients=$clients", '-D', 'n=0',
        (map { ('-f', "$files[$_]\@$scripts[$_]{weight}") } 0 .. $#scripts), 'postgres');
    my $output = `@command 2>&1`;
    my $failed = $?;
    my ($error) = $output =~ /(ERROR: .*)/;
    die(($error // "pgbench failed: $output") . "\n") if $failed || $error;
    my ($tps) = $output =~ /^tps = ([\d.]+)/m or die "pgbench:\n$output";
    my @counts    = counts_of($output, \@scripts);
    my @latencies = map { [sort { $a <=> $b } @{$_ // []}] } latencies_of("$scratch/log");
    my @all       = sort { $a <=> $b } map {@$_} @latencies;
    return {
        tps     => $tps,
        count   => sum0(@counts),
        writes  => sum0(map { $scripts[$_]{writes} ? $counts[$_] : 0 } 0 .. $#scripts),
        p50_ms  => percentile_ms(\@all, 0.5),
        p99_ms  => percentile_ms(\@all, 0.99),
        scripts => [map { {count => $counts[$_], p50_ms => percentile_ms($latencies[$_] // [], 0.5), p99_ms => percentile_ms($latencies[$_] // [], 0.99)} } 0 .. $#scripts],
    };
}

sub measure {
    my ($workload, $contender, $distribution, $clients, $round) = @_;
    sql("TRUNCATE $contender->{store}_insert") if $workload->{table} eq 'insert';
    settle($plan{settle_s});
    my $before = written();
    my $cpu    = cpu_s();
    my $m      = run_pgbench($workload, $contender, $distribution, $clients, $plan{seconds}, $round);
    settle($plan{settle_s});
    $m->{cpu_us} = (cpu_s() - $cpu) * 1e6 / max(1, $m->{count});
    my $phase = {A => 'updates', B => 'updates', F => 'updates', update => 'updates', insert => 'inserts'}->{$workload->{name}};
    note_written($phase, $contender->{store}, $before, written(), $m->{writes}) if $phase;
    return $m;
}

# ---- bytes written ----

# Heap's pages are written later, by checkpoints and others: they are counted over the whole phase, see close_phase.
sub note_written {
    my ($phase, $store, $before, $after, $writes) = @_;
    my %d = map { $_ => $after->{$_} - $before->{$_} } keys %$after;
    my $w = $written{$phase}{$store} //= {phase => $phase, store => $store, user => 0, log => 0, flushed => 0, compacted => 0, writes => 0};
    $w->{writes} += $writes;
    $w->{log} += $d{wal} + ($store eq 'cairn' ? $d{log_appended_bytes} : 0);
    if ($store eq 'cairn') {
        $w->{user} += $d{user_bytes};
        $w->{flushed} += $d{flushed_bytes};
        $w->{compacted} += $d{compacted_bytes};
    } else {
        # Postgres counts a new page when the file grows, empty, and when it is written: that is one write to disk.
        $w->{flushed} += ($phase eq 'load' ? $d{pages} : 0) - $d{size};
    }
}

my %phase_pages;

sub open_phase { my ($phase) = @_; sql('CHECKPOINT'); $phase_pages{$phase} -= written()->{pages} }
sub close_phase { my ($phase) = @_; sql('CHECKPOINT'); $phase_pages{$phase} += written()->{pages} }

# Heap is given as user bytes what cairn counts for the same write: the key and the whole item.
sub written_phases {
    my @phases;
    for my $phase (grep { $written{$_} } qw(load inserts updates)) {
        my ($heap, $cairn) = map { $written{$phase}{$_} // {} } qw(heap cairn);
        $heap->{user} = $cairn->{writes} ? $heap->{writes} * $cairn->{user} / $cairn->{writes} : 0 if $heap->{writes};
        $heap->{flushed} += $phase_pages{$phase} if defined $phase_pages{$phase} && $heap->{writes};
        push @phases, grep {%$_} $heap, $cairn;
    }
    return \@phases;
}

# ---- workloads ----

sub cell_of {
    my ($workload, $contender, $distribution, $clients) = @_;
    return {workload => $workload->{name}, title => $workload->{title}, distribution => $distribution, clients => $clients + 0, entrance => $contender->{entrance}, contender => $contender->{name}, rounds => []};
}

sub finish_cells {
    my @cells = @_;
    my %base;
    for my $c (@cells) {
        next if $c->{error};
        my @r = @{$c->{rounds}};
        for my $figure (qw(tps p50_ms p99_ms cpu_us)) { $c->{$figure} = median(map { $_->{$figure} } @r) }
        if ($c->{contender} eq 'heap') { $base{$c->{entrance}} = $c; next }
        my $heap = $base{$c->{entrance}} or next;
        $c->{ratio}     = $c->{tps} / $heap->{tps};
        $c->{cpu_ratio} = $c->{cpu_us} / $heap->{cpu_us} if $heap->{cpu_us};
    }
    return @cells;
}

# All contenders of one workload, key distribution and number of clients, in turn, the order turning with each round.
sub measure_cells {
    my ($workload, $distribution, $clients) = @_;
    my @contenders = contenders($workload);
    my @cells      = map { cell_of($workload, $_, $distribution, $clients) } @contenders;
    for my $round (1 .. $plan{rounds}) {
        for my $i ($round % 2 ? (0 .. $#contenders) : reverse(0 .. $#contenders)) {
            next if $cells[$i]{error};
            my $m = eval { measure($workload, $contenders[$i], $distribution, $clients, $round) };
            if ($m) { push @{$cells[$i]{rounds}}, $m; next }
            $cells[$i]{error} = $@ =~ s/\n.*//sr;
            $failures++;
        }
    }
    finish_cells(@cells);
    say_line(join '  ', "$workload->{name} $distribution $clients:", map { "$_->{contender} $_->{entrance} " . ($_->{error} // sprintf '%.0f', $_->{tps}) } @cells);
    return @cells;
}

sub workload_stage {
    my %wanted = map { $_ => 1 } @{$plan{workloads}};
    my @cells;
    for my $workload (map { workload($_) } grep { $wanted{$_} } workload_names()) {
        my $phase = {A => 'updates', B => 'updates', F => 'updates', update => 'updates', insert => 'inserts'}->{$workload->{name}};
        open_phase($phase) if $phase;
        for my $distribution ($workload->{distributed} ? @{$plan{distributions}} : $workload->{name} eq 'D' ? 'latest' : 'new') {
            push @cells, measure_cells($workload, $distribution, $_) for @{$plan{clients}};
        }
        close_phase($phase) if $phase;
    }
    return \@cells;
}

# ---- the rest ----

sub rocks_stage {
    my $directory = "$ENV{BENCH_BUILD}/rocks";
    my ($cache, $buffer) = map { sql("SELECT pg_size_bytes(current_setting('$_')) / 1048576") } qw(cairn.block_cache cairn.write_buffer);
    system 'rm', '-rf', $directory;
    my @lines = `$ENV{BENCH_BUILD}/rocks_limit $directory $plan{items} $plan{seconds} $cache $buffer @{$plan{clients}}`;
    die "rocks_limit failed\n" if $?;
    system 'rm', '-rf', $directory;
    my @names = qw(operation size per_s p50_us p99_us cpu_us);
    return [map { chomp; my %l; @l{@names} = split /\t/; $l{$_} += 0 for @names[1 .. $#names]; \%l } @lines];
}

# What the settings allow the storage process, in MB, and what it had.
sub memory_report {
    my $memory = note_memory();
    my %mb     = map { $_ => sql("SELECT pg_size_bytes(current_setting('cairn.$_')) / 1048576") + 0 } qw(block_cache write_buffer);
    my %count  = map { $_ => sql("SHOW cairn.$_") + 0 } qw(write_buffer_count background_threads);
    my ($lanes) = sql(q{SELECT coalesce(sum(allocated_size), 0) / 1048576 FROM pg_shmem_allocations WHERE name ~* '^cairn'});
    my %sum = (
        block_cache        => $mb{block_cache},
        write_buffers      => $mb{write_buffer} * $count{write_buffer_count},
        background_threads => 32 * $count{background_threads},
        lanes              => int($lanes) + 1,
        allocator          => int(($mb{block_cache} + $mb{write_buffer} * $count{write_buffer_count}) / 4),
        fixed              => 96,
    );
    return {sum_mb => \%sum, bound_mb => sum0(values %sum), peak_mb => int($peak_kb / 1024), now_mb => {map { $_ => int($memory->{$_} / 1024) } keys %$memory}};
}

sub settings {
    my @changed = rows(q{SELECT name, current_setting(name) FROM pg_settings WHERE name LIKE 'cairn.%' OR name IN ('shared_buffers', 'synchronous_commit', 'fsync', 'full_page_writes',
        'wal_level', 'wal_sync_method', 'wal_compression', 'max_wal_size', 'min_wal_size', 'checkpoint_timeout', 'autovacuum', 'max_connections', 'commit_delay', 'data_checksums', 'jit',
        'server_encoding', 'huge_pages') ORDER BY name});
    return {map { $_->[0] => $_->[1] // '' } @changed};
}

sub print_header {
    my ($machine, $settings) = @_;
    print "\nmachine:  ", join(', ', map {"$_ $machine->{$_}"} sort keys %$machine), "\n";
    print "settings: ", join(', ', map {"$_ = $settings->{$_}"} sort keys %$settings), "\n";
    print "run:      ", join(', ', map { ref $plan{$_} ? "$_ @{$plan{$_}}" : "$_ $plan{$_}" } sort keys %plan), "\n";
    print "note:     the directory lies in memory: syncs cost nothing here\n" if $machine->{filesystem} =~ /^tmpfs/;
}

sub print_report {
    my ($r) = @_;
    print_header(@$r{qw(machine settings)});
    print "\nThroughput is the median of $plan{rounds} rounds; ratio and CPU are against heap through the same entrance. cairn has no SQL UPDATE yet: \"sql\" updates go through cairn.update_item.\n\n";
    print_cells($r->{cells});
    print "\n";
    print_pairs($r->{pairs});
    print "\nBytes written to disk per byte of user data, by store (heap: log is the WAL, flushed are pages; cairn: log is its log and the WAL)\n";
    print_written($r->{written});
    print "\nRocksDB alone, in one process\n";
    print_limits($r->{limits});
    my $m = $r->{memory};
    printf "\nResident memory of the storage process: peak %d MB; settings bound it to %d MB (%s)\n", $m->{peak_mb}, $m->{bound_mb}, join ' + ', map {"$_ $m->{sum_mb}{$_}"} sort keys %{$m->{sum_mb}};
    if ($ENV{CAIRN_BENCH_SMOKE}) {
        print "\nA smoke run: it shows that the benchmark works, its figures mean nothing.\n";
        return;
    }
    print "\nGoals\n";
    printf "  %-60s %6.2f  %s %.2f  %s\n", $_->{goal}, $_->{figure}, defined $_->{least} ? ('>=', $_->{least}) : ('<=', $_->{most}), $_->{met} ? 'reached' : 'NOT REACHED' for @{$r->{goals}};
}

sub main {
    my $settings = settings();
    sql(q{CREATE EXTENSION cairn});
    sql(qq{CREATE FUNCTION bench_field(bigint, integer) RETURNS text AS '$home/bench_functions', 'bench_field_text' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE});
    sql(qq{CREATE FUNCTION bench_item(text, bigint) RETURNS jsonb AS '$home/bench_functions', 'bench_item_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE});
    my %report = (machine => machine(), settings => $settings, plan => \%plan, began => time);
    my @pairs = load_stage();
    push @pairs, size_pair();
    prepare_tables();
    check_contents();
    warm_up();
    $report{cells}   = workload_stage();
    $report{pairs}   = \@pairs;
    $report{written} = written_phases();
    $report{memory}  = memory_report();
    stop_server();
    start_server();
    $report{limits} = rocks_stage();
    $report{goals}  = goals($report{cells}, \@pairs, $report{memory});
    $report{ended}  = time;
    print_report(\%report);
    write_json("$ENV{BENCH_BUILD}/../bench.json", \%report);
    print "\nAlso in build/bench.json.\n";
    die "$failures measurements failed\n" if $failures;
}

main();
