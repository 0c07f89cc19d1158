# A backend that waits for the storage process can be interrupted: cancel, statement_timeout, terminate, death of the
# postmaster. The storage process is stopped by SIGSTOP to make it wait.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use Test::More;

# Stop a process and wait until each of its threads has stopped: one that is running may still take a request.
sub freeze {
    my $pid = shift;
    kill 'STOP', $pid;
    wait_until('the storage process has stopped', sub {
        for my $file (glob "/proc/$pid/task/*/stat") {
            open my $in, '<', $file or next;
            return 0 unless <$in> =~ /\) [Tt] /;
        }
        return 1;
    });
    return;
}

my $GET  = q{SELECT cairn.get_item('t', '{"k": "a"}');};
my $node = start_storage(new_node('waiting'));

$node->safe_psql('postgres', q{CREATE TABLE t (k text PRIMARY KEY, v integer) USING cairn;
    SELECT cairn.put_item('t', '{"k": "a", "v": 1}')});
my $storage = storage_pid($node);
my $reader  = session($node);
my $writer  = session($node);
# Their lanes exist, and what they need of the catalog is loaded.
is($reader->query($GET), '{"k": "a", "v": 1}', 'a read');
$writer->query(q{SELECT cairn.put_item('t', '{"k": "b", "v": 1}')});

# ---- reads ----

freeze($storage);
send_sql($reader, $GET);
wait_for_wait($node, $reader, 'Extension');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($reader->{backend})");
my ($out, $err) = receive($reader);
like($err, qr/57014.*user request/, 'cancel ends a read');
like(session_error($reader, "SET statement_timeout = '300ms'; SELECT count(*) FROM t;"), qr/57014.*statement timeout/,
    'statement_timeout ends a scan');
# Its lane has given up both slots by now; a read that waits for one of them ends as well.
like(session_error($reader, $GET), qr/57014.*statement timeout/, 'and a read');
$reader->query('RESET statement_timeout');
kill 'CONT', $storage;
is($reader->query($GET), '{"k": "a", "v": 1}', 'the session goes on when the storage process does');

# ---- a write whose outcome is open ----

freeze($storage);
send_sql($writer, q{SELECT cairn.put_item('t', '{"k": "a", "v": 2}');});
wait_for_wait($node, $writer, 'Extension');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($writer->{backend})");
kill 'CONT', $storage;
($out, $err) = receive($writer);
ok($err eq '' || state_of($err) eq '57014', 'a cancelled write ends when its outcome is known');
is($reader->query($GET), '{"k": "a", "v": 2}', 'and has happened');
is($writer->query(q{SELECT cairn.put_item('t', '{"k": "a", "v": 3}', NULL, 'ALL_OLD')}), '{"k": "a", "v": 2}', 'its session goes on');

# ---- a transaction that cannot commit ----

freeze($storage);
send_sql($writer, q{BEGIN; SELECT cairn.put_item('t', '{"k": "a", "v": 4}'); COMMIT;});
wait_for_wait($node, $writer, 'Extension');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($writer->{backend})");
kill 'CONT', $storage;
($out, $err) = receive($writer);
my $value = state_of($err) eq '57014' ? 3 : 4;
is($reader->query($GET), qq({"k": "a", "v": $value}), 'a cancelled transaction has happened whole or not, as it was told');

# ---- a scan that has asked for its next batch ----

$node->safe_psql('postgres', q{CREATE TABLE wide (k integer PRIMARY KEY, f text) USING cairn WITH (partition_by = 'range');
    INSERT INTO wide SELECT i, repeat('f', 1000) FROM generate_series(1, 1000) i});
for my $order ('', 'DESC') {
    $reader->query("BEGIN; DECLARE c CURSOR FOR SELECT k FROM wide ORDER BY k $order; MOVE 160 FROM c;");
    freeze($storage);
    # What was asked for before is there, and the next batch is asked for on the way.
    $reader->query('MOVE 80 FROM c;');
    send_sql($reader, 'MOVE 200 FROM c;');
    wait_for_wait($node, $reader, 'Extension');
    $node->safe_psql('postgres', "SELECT pg_cancel_backend($reader->{backend})");
    ($out, $err) = receive($reader);
    like($err, qr/57014.*user request/, "cancel ends a scan between two batches $order");
    kill 'CONT', $storage;
    $reader->query('ROLLBACK;');
    is($reader->query('SELECT count(*), min(k), max(k), sum(k) FROM wide;'), '1000|1|1000|500500', 'the next scan gets its own rows');
}

# ---- terminate ----

freeze($storage);
send_sql($reader, $GET);
wait_for_wait($node, $reader, 'Extension');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($reader->{backend})");
wait_until('the terminated reader is gone', sub { !is_running($reader->{backend}) });
pass('terminate ends a read');
send_sql($writer, q{SELECT cairn.put_item('t', '{"k": "a", "v": 5}');});
wait_for_wait($node, $writer, 'Extension');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($writer->{backend})");
kill 'CONT', $storage;
wait_until('the terminated writer is gone', sub { !is_running($writer->{backend}) });
pass('and a write when its outcome is known');
is($node->safe_psql('postgres', $GET), '{"k": "a", "v": 5}', 'others find what it wrote');
is($node->safe_psql('postgres', 'SELECT locks, transactions FROM cairn.storage'), '0|0', 'no lock stays behind');

# ---- the table is dropped, or loses its shape, while a call waits for it ----

$node->safe_psql('postgres', 'CREATE TABLE going (k text COLLATE "C" PRIMARY KEY, v integer) USING cairn');
for my $case (
    [ 'DROP TABLE going', '42P01', qr/was dropped after the name was looked up|does not exist/ ],
    [ 'ALTER TABLE going ADD COLUMN w integer NOT NULL', '23502', qr/null value in column "w"/ ]) {
    my ($change, $state, $said) = @$case;
    $node->safe_psql('postgres', 'CREATE TABLE IF NOT EXISTS going (k text COLLATE "C" PRIMARY KEY, v integer) USING cairn');
    my $changer = session($node);
    my $waiter  = session($node);
    $changer->query("BEGIN; $change");
    send_sql($waiter, q{SELECT cairn.put_item('going', '{"k": "a", "v": 1}');});
    wait_for_wait($node, $waiter, 'Lock');
    $changer->query('COMMIT');
    my (undef, $message) = receive($waiter);
    is(state_of($message), $state, "$change: a call that waited gets an error");
    like($message, $said, "$change: that says why");
    $changer->quit;
    $waiter->quit;
}

# ---- a transaction that spills ----

sub nothing_left {
    my ($what) = @_;
    wait_until("$what: intents and locks go", sub { $node->safe_psql('postgres', 'SELECT locks, transactions FROM cairn.storage') eq '0|0' });
    is($node->safe_psql('postgres', q{SELECT count(*) FROM t WHERE k LIKE 'large%'}), 0, "$what: nothing stays behind");
    return;
}

my $LARGE = q{INSERT INTO t SELECT 'large ' || g, g FROM generate_series(1, %d) g;};
$writer = session($node);
$writer->query("SET cairn.write_set = '64kB'");
$writer->query('BEGIN; ' . sprintf($LARGE, 5000));
freeze($storage);
send_sql($writer, q{SELECT count(*) FROM t WHERE k = 'large 1';});
wait_for_wait($node, $writer, 'Extension');
my $offset = log_size($node);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($writer->{backend})");
wait_until('cancel ends the wait for what was spilled', sub { log_since($node, $offset) =~ /canceling statement due to user request/ });
kill 'CONT', $storage; # the rollback of what the statement did is a request too
($out, $err) = receive($writer);
is(state_of($err), '57014', 'cancel ends the wait for what was spilled');
$writer->query('ROLLBACK');
nothing_left('a rollback behind that');
for my $end (qw(cancel terminate)) {
    $writer = session($node);
    send_sql($writer, 'BEGIN; SAVEPOINT s; ' . sprintf($LARGE, 100_000_000));
    wait_until("the transaction to $end has spilled", sub { $node->safe_psql('postgres', 'SELECT transactions FROM cairn.storage') > 0 });
    $node->safe_psql('postgres', "SELECT pg_${end}_backend($writer->{backend})");
    ($out, $err) = receive($writer);
    is(state_of($err), $end eq 'cancel' ? '57014' : '57P01', "$end ends a transaction that spills");
    $writer->query('ROLLBACK TO s; ' . sprintf($LARGE, 10) . ' ROLLBACK') if $end eq 'cancel';
    nothing_left($end);
}

# ---- the postmaster dies ----

$reader = session($node);
$writer = session($node);
$reader->query($GET);
$writer->query(q{SELECT cairn.put_item('t', '{"k": "b", "v": 1}')});
freeze($storage);
send_sql($reader, $GET);
send_sql($writer, q{SELECT cairn.put_item('t', '{"k": "a", "v": 6}');});
wait_for_wait($node, $_, 'Extension') for $reader, $writer;
my @children = keys %{ { children_of($node->{_pid}) } };
kill 'KILL', $node->{_pid};
wait_until('waiting backends notice the death of the postmaster',
    sub { !is_running($reader->{backend}) && !is_running($writer->{backend}) });
pass('backends that wait end with the postmaster');
kill 'CONT', $storage;
wait_until('all processes are gone', sub { !grep { is_running($_) } @children });
pass('so does the storage process');
kill_everything($node);
$node->start;
my $item = $node->safe_psql('postgres', $GET);
ok($item eq '{"k": "a", "v": 5}' || $item eq '{"k": "a", "v": 6}', 'the server starts again, the last write has happened or not');
$node->stop;
done_testing();
