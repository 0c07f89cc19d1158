# Postgres' own tools and protocols on a database with cairn tables: dump and restore, maintenance of everything, two-phase
# commit, logical decoding, pg_upgrade. Each works, or fails with a message that says what to do.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('tools', wal_level => 'logical', max_prepared_transactions => 5);
start_storage($node);
my @from = ('--host', $node->host, '--port', $node->port);
my $dir  = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql('postgres', <<'SQL');
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE events (
    place text COLLATE "C", at timestamptz, amount numeric(8,2) CHECK (amount >= 0), m mood DEFAULT 'high', tags text[], attributes jsonb,
    PRIMARY KEY (place, at)
) USING cairn WITH (partition_by = 'range');
INSERT INTO events SELECT 'p' || i % 7, '2020-01-01'::timestamptz + i * '1 hour'::interval, i, 'low', ARRAY['a', 'b'], jsonb_build_object('i', i)
FROM generate_series(1, 500) i;
SELECT cairn.create_table('music', '"The Artist" text', 'year N');
SELECT cairn.put_item('music', '{"The Artist": "x", "year": 1.50, "b": {"$B": "AAE="}, "set": {"$NS": [1, 2]}}');
CREATE TABLE places (place text COLLATE "C" PRIMARY KEY) USING heap;
CREATE TABLE notes (id integer PRIMARY KEY, place text COLLATE "C" REFERENCES places) USING heap;
INSERT INTO places SELECT DISTINCT place FROM events;
INSERT INTO notes VALUES (1, 'p1');
SQL
my $CONTENT = q{SELECT md5(string_agg(e::text, '' ORDER BY place, at)) FROM events e
    UNION ALL SELECT cairn.get_item('music', '{"The Artist": "x", "year": 1.5}')::text
    UNION ALL SELECT count(*)::text FROM places JOIN notes USING (place)
    UNION ALL SELECT string_agg(table_name || ' ' || partition_by || ' ' || sort_key::text, ', ' ORDER BY table_name) FROM cairn.tables};
my $content = $node->safe_psql('postgres', $CONTENT);
like($content, qr/"year": 1\.50/, 'there is something to dump');

sub run_tool {
    my (@command) = @_;
    my ($out, $error) = ('', '');
    my $ok = IPC::Run::run(\@command, '>', \$out, '2>', \$error);
    return ($ok, $out, $error);
}

sub fresh_database {
    my ($name) = @_;
    $node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE template0");
    return $name;
}

# ---- dump and restore ----

ok((run_tool('pg_dump', @from, '-Fc', '-f', "$dir/dump", 'postgres'))[0], 'pg_dump');
my ($ok, $list) = run_tool('pg_restore', '--list', "$dir/dump");

# The recipe of docs/sql.md: keys come before rows.
my $RECIPE = q{/ TABLE DATA / {data = 1} data && !/^[0-9]+; [0-9]+ [0-9]+ CONSTRAINT / {late = late $0 "\n"; next} {print} END {printf "%s", late}};
my ($awk_ok, $ordered) = run_tool('sh', '-c', "pg_restore --list $dir/dump | awk '$RECIPE'");
ok($awk_ok && $ordered ne $list, 'the list of the archive has another order');
my $docs = slurp_file("$FindBin::Bin/../../docs/sql.md");
like($docs, qr/\Q$RECIPE\E/, 'docs/sql.md has the same recipe');
open my $file, '>', "$dir/list" or die $!;
print $file $ordered;
close $file;
my $error;
($ok, undef, $error) = run_tool('pg_restore', @from, '--exit-on-error', '-L', "$dir/list", '-d', fresh_database('in_one_pass'), "$dir/dump");
ok($ok, 'restored in one pass') or diag $error;
is($node->safe_psql('in_one_pass', $CONTENT), $content, 'and all is there');
is($node->safe_psql('in_one_pass', q{INSERT INTO events (place, at) VALUES ('new', now()) RETURNING m}), 'high', 'and it goes on');

fresh_database('by_section');
for my $part ([ '--section=pre-data' ], [ '--section=post-data', '-t', 'events', '-t', 'music' ], [ '--section=data' ]) {
    my ($dumped, $sql) = run_tool('pg_dump', @from, @$part, 'postgres');
    ok($dumped, "pg_dump @$part");
    $node->safe_psql('by_section', $sql);
}
$node->safe_psql('by_section', 'ALTER TABLE places ADD PRIMARY KEY (place); ALTER TABLE notes ADD FOREIGN KEY (place) REFERENCES places');
is($node->safe_psql('by_section', $CONTENT), $content, 'restored by section');

($ok, undef, $error) = run_tool('pg_restore', @from, '-d', fresh_database('out_of_order'), "$dir/dump");
ok(!$ok, 'rows before the key');
like($error, qr/has no primary key.*Restore dumps by section/s, 'are refused with a hint');
($ok, undef, $error) = run_tool('pg_dump', @from, '-Fd', '--jobs', '2', '-f', "$dir/jobs", 'postgres');
ok(!$ok, 'pg_dump --jobs');
like($error, qr/cairn/, 'is refused') or diag $error;

# ---- maintenance of everything ----

for my $command ([ 'vacuumdb', '--all', '--full', '--analyze' ], [ 'vacuumdb', '--all', '--freeze' ], [ 'reindexdb', '--all' ], [ 'reindexdb', '--concurrently', 'postgres' ],
    [ 'reindexdb', '--concurrently', '--index', 'events_pkey', 'postgres' ], [ 'clusterdb', '--all' ]) {
    ($ok, undef, $error) = run_tool(@$command, @from);
    ok($ok, "@$command") or diag $error;
}
is($node->safe_psql('postgres', $CONTENT), $content, 'nothing is lost');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_index WHERE indrelid = 'events'::regclass}), '1', 'one index remains');

# REINDEX CONCURRENTLY waits for a transaction and is cancelled: what it leaves does no harm, and can be dropped.
my $holder = session($node);
$holder->query(q{BEGIN; INSERT INTO events (place, at) VALUES ('held', '2021-01-01')});
my $reindex = session($node);
send_sql($reindex, 'REINDEX TABLE CONCURRENTLY events;');
wait_until('there are two indexes', sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_index WHERE indrelid = 'events'::regclass}) eq '2' });
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'REINDEX%'});
wait_until('it is cancelled', sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'REINDEX%' AND state = 'active'}) eq '0' });
$holder->query('COMMIT');
$holder->quit;
eval { $reindex->quit };
is($node->safe_psql('postgres', q{SELECT count(*) FROM events WHERE place = 'held'}), '1', 'rows are found and written meanwhile');
is($node->safe_psql('postgres', q{INSERT INTO events (place, at) VALUES ('held', '2021-01-02'); SELECT count(*) FROM events WHERE place = 'held'}), '2', 'rows are written with the invalid index');
$node->safe_psql('postgres', 'DROP INDEX events_pkey_ccnew; REINDEX TABLE events');
$node->safe_psql('postgres', q{SELECT cairn.delete_item('events', cairn.key_of('events', i)) FROM cairn.query('events', '"held"') i});
is($node->safe_psql('postgres', $CONTENT), $content, 'and all is as before');

# ---- two-phase commit ----

my $PREPARE = q{BEGIN; %s; PREPARE TRANSACTION 'two'};
like(error_of($node, sprintf($PREPARE, q{INSERT INTO events (place, at) VALUES ('two', now())})), qr/cannot PREPARE a transaction that has changed/, 'items: refused');
like(error_of($node, sprintf($PREPARE, q{SELECT cairn.put_item('music', '{"The Artist": "two", "year": 2}')})), qr/cannot PREPARE/, 'by item functions: refused');
$node->safe_psql('postgres', sprintf($PREPARE, 'SELECT count(*) FROM events; CREATE TABLE later (id integer PRIMARY KEY) USING cairn; INSERT INTO notes VALUES (2)'));
$node->restart;
$node->safe_psql('postgres', q{COMMIT PREPARED 'two'});
$node->safe_psql('postgres', 'INSERT INTO later VALUES (1)');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM later), (SELECT count(*) FROM notes)'), '1|2', 'a table made in a prepared transaction, across a restart');
$node->safe_psql('postgres', sprintf($PREPARE, 'DROP TABLE later'));
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'two'});
is($node->safe_psql('postgres', 'SELECT count(*) FROM later'), '1', 'its drop, rolled back');
$node->safe_psql('postgres', 'DROP TABLE later; DELETE FROM notes WHERE id = 2');

# ---- logical decoding: of heap tables only ----

$node->safe_psql('postgres', q{SELECT pg_create_logical_replication_slot('slot', 'test_decoding')});
$node->safe_psql('postgres', q{BEGIN; INSERT INTO notes VALUES (3, 'p1'); INSERT INTO events (place, at) VALUES ('decoded', now()); SELECT cairn.put_item('music', '{"The Artist": "y", "year": 1}'); COMMIT});
$node->safe_psql('postgres', q{CREATE TABLE more (id integer PRIMARY KEY) USING cairn; INSERT INTO more VALUES (1); TRUNCATE more; DROP TABLE more});
my $changes = $node->safe_psql('postgres', q{SELECT data FROM pg_logical_slot_get_changes('slot', NULL, NULL)});
like($changes, qr/table public\.notes: INSERT/, 'heap changes are decoded');
unlike($changes, qr/events|music/, 'items are not');
$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('slot')});

# ---- pg_upgrade ----

my $new = new_node('upgraded');
chomp(my $bindir = `$ENV{PG_CONFIG} --bindir`);
my @upgrade = ('pg_upgrade', '-b', $bindir, '-B', $bindir, '-d', $node->data_dir, '-D', $new->data_dir, '-s', $dir, '-p', $node->port, '-P', $new->port);
$node->stop;
chdir $dir or die $!;
my $out;
($ok, $out) = run_tool(@upgrade, '--check');
ok($ok, 'pg_upgrade --check') or diag $out;
($ok, $out) = run_tool(@upgrade);
ok(!$ok, 'pg_upgrade') or diag $out;
my ($said) = grep { /pg_upgrade is not supported for cairn tables/ } map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/*');
ok($said, 'says why') or diag join "\n", map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_dump*');
$node->start;
is($node->safe_psql('postgres', q{SELECT count(*) FROM events}), '501', 'the old cluster is as it was');

done_testing();
