# Storages of dropped tables, truncated tables, rolled-back tables and dropped databases go; those of tables stay.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use Test::More;

my $node = start_storage(new_node('collector', 'cairn.collect_interval' => "'1s'", 'cairn.history_retention' => "'1s'"));

sub storages { return $node->safe_psql('postgres', 'SELECT count(*) FROM cairn.storages()') }

# Files of dropped tables go at the next checkpoint.
sub wait_for_storages {
    my ($count, $what) = @_;
    $node->safe_psql('postgres', 'CHECKPOINT');
    wait_until("there are $count storages: $what", sub { storages() == $count });
    pass("$what: the storage is gone");
    return;
}

sub make {
    my ($name, $database) = @_;
    return "CREATE TABLE $name (k integer PRIMARY KEY, v text) USING cairn; "
        . "INSERT INTO $name SELECT k, repeat('x', 100) FROM generate_series(1, 1000) k; ";
}

$node->safe_psql('postgres', make('stays') . make('empty') . 'DELETE FROM pg_class WHERE false');
my $base = storages();
is($base, 2, 'two tables, two storages');

$node->safe_psql('postgres', make('dropped'));
is(storages(), $base + 1, 'a third one');
$node->safe_psql('postgres', 'DROP TABLE dropped');
wait_for_storages($base, 'DROP TABLE');

my $before = $node->safe_psql('postgres', q{SELECT storage_id FROM cairn.tables WHERE table_name = 'empty'});
$node->safe_psql('postgres', 'TRUNCATE empty');
$node->safe_psql('postgres', 'INSERT INTO empty VALUES (5)');
wait_for_storages($base, 'TRUNCATE');
isnt($node->safe_psql('postgres', q{SELECT storage_id FROM cairn.tables WHERE table_name = 'empty'}),
    $before, 'a truncated table has another storage');
is($node->safe_psql('postgres', 'SELECT count(*) FROM empty'), 1, 'with what was written since');

$node->safe_psql('postgres', 'BEGIN; TRUNCATE empty; INSERT INTO empty VALUES (6), (7); ROLLBACK');
is($node->safe_psql('postgres', 'SELECT k FROM empty'), 5, 'a TRUNCATE that was rolled back took nothing');
$node->safe_psql('postgres', 'BEGIN; ' . make('never') . 'ROLLBACK');
wait_for_storages($base, 'CREATE TABLE, rolled back');

$node->safe_psql('postgres', 'BEGIN; SAVEPOINT a; ' . make('half') . 'ROLLBACK TO a; ' . make('whole') . 'COMMIT');
wait_for_storages($base + 1, 'CREATE TABLE in a savepoint, rolled back');
$node->safe_psql('postgres', 'DROP TABLE whole');
wait_for_storages($base, 'its neighbour');

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION cairn; ' . make('a') . make('b'));
is(storages(), $base + 2, 'two in another database');
$node->safe_psql('postgres', 'DROP DATABASE other');
wait_for_storages($base, 'DROP DATABASE');

# A crash with a table that was never committed.
my $session = session($node);
$session->query('BEGIN; ' . make('crashed'));
is(storages(), $base + 1, 'an uncommitted table');
kill 'KILL', storage_pid($node);
wait_until('the server takes connections', sub { connects($node) });
eval { $session->quit };
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname = 'crashed'}), 0, 'it never was');
is($node->safe_psql('postgres', 'SELECT count(*), sum(length(v)) FROM stays'), '1000|100000', 'the other tables are whole');
is($node->safe_psql('postgres', 'SELECT k FROM empty'), 5, 'all of them');
$node->safe_psql('postgres', make('crashed'));
is($node->safe_psql('postgres', 'SELECT count(*) FROM crashed'), 1000, 'a table of that name begins empty');

$node->stop;
done_testing();
