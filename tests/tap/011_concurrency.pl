# Sessions side by side: waiting for a row, deadlocks that only Postgres' detector can see, timeouts, snapshots.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use Test::More;

my $node = start_storage(new_node('concurrency', deadlock_timeout => "'200ms'"));

$node->safe_psql('postgres', q{CREATE TABLE t (k text PRIMARY KEY, v integer) USING cairn;
    CREATE TABLE heap (k text PRIMARY KEY, v integer); INSERT INTO heap VALUES ('h', 0)});
my ($one, $two) = (session($node), session($node));

sub put {
    my ($k, $v, $condition) = @_;
    return qq{SELECT cairn.put_item('t', '{"k": "$k", "v": $v}'} . ($condition ? ", '$condition'" : '') . ');';
}

sub value {
    my ($k) = @_;
    return $node->safe_psql('postgres', qq{SELECT cairn.get_item('t', '{"k": "$k"}') ->> 'v'});
}

sub reset_rows {
    $one->query('ROLLBACK');
    $two->query('ROLLBACK');
    @$_{qw(stdout stderr)} = ('', '') for $one, $two;
    $node->safe_psql('postgres', put('a', 0) . put('b', 0));
    return;
}

# ---- a writer waits for the one before it ----

for my $second ('bare', 'in a transaction') {
    reset_rows();
    $one->query('BEGIN');
    $one->query(put('a', 1));
    send_sql($two, $second eq 'bare' ? put('a', 2) : 'BEGIN; ' . put('a', 2) . ' COMMIT;');
    wait_for_wait($node, $two, 'Lock');
    is(value('a'), 0, "$second: readers do not wait, and see what is committed");
    $one->query('COMMIT');
    my ($out, $err) = receive($two);
    is($err, '', "$second: goes on after the commit");
    is(value('a'), 2, "$second: the last one wins");
}

reset_rows();
$one->query('BEGIN');
$one->query(put('a', 1));
send_sql($two, put('a', 2, '{"equals": {"v": 0}}'));
wait_for_wait($node, $two, 'Lock');
$one->query('COMMIT');
my ($out, $err) = receive($two);
is(state_of($err), '23000', 'a condition is judged on what the other has committed');
is(value('a'), 1, 'which stays');

reset_rows();
$one->query('BEGIN');
$one->query(put('a', 1));
send_sql($two, put('a', 2, '{"equals": {"v": 0}}'));
wait_for_wait($node, $two, 'Lock');
$one->query('ROLLBACK');
($out, $err) = receive($two);
is($err, '', 'after a rollback it is judged on what was there before');
is(value('a'), 2, 'and the write happens');

reset_rows();
$one->query('BEGIN; SAVEPOINT s');
$one->query(put('a', 1));
send_sql($two, put('a', 2));
wait_for_wait($node, $two, 'Lock');
$one->query('ROLLBACK TO s');
($out, $err) = receive($two);
is($err, '', 'a savepoint that is rolled back gives its locks back');
$one->query('COMMIT');
is(value('a'), 2, 'while its transaction goes on');

# ---- INSERT of one key by two ----

reset_rows();
$one->query(q{BEGIN; INSERT INTO t VALUES ('new', 1)});
send_sql($two, q{INSERT INTO t VALUES ('new', 2);});
wait_for_wait($node, $two, 'Lock');
$one->query('COMMIT');
($out, $err) = receive($two);
is(state_of($err), '23505', 'the second INSERT of a key waits and fails');

# ---- deadlocks ----

sub deadlock {
    my ($what, $first, $second, $then, $last) = @_;
    reset_rows();
    $one->query("BEGIN; $first");
    $two->query("BEGIN; $second");
    send_sql($one, $then);
    wait_for_wait($node, $one, 'Lock');
    send_sql($two, $last);
    my @errors = map { (receive($_))[1] } $one, $two;
    my @victims = grep { $_ ne '' } @errors;
    is(scalar @victims, 1, "$what: one victim");
    is(state_of($victims[0] // ''), '40P01', "$what: deadlock detected") or diag(@errors);
    return;
}

deadlock('two cairn rows', put('a', 1), put('b', 2), put('b', 1), put('a', 2));
deadlock(
    'a heap row and a cairn row',
    put('a', 1),
    q{UPDATE heap SET v = 2 WHERE k = 'h';},
    q{UPDATE heap SET v = 1 WHERE k = 'h';},
    put('a', 2)
);

# ---- timeouts ----

reset_rows();
$one->query('BEGIN; ' . put('a', 1));
is(state_of(session_error($two, q{SET lock_timeout = '100ms'; } . put('a', 2))), '55P03', 'lock_timeout');
$two->query('RESET lock_timeout');
is(state_of(session_error($two, q{SET statement_timeout = '100ms'; } . put('a', 2))), '57014', 'statement_timeout');
$two->query('RESET statement_timeout');
send_sql($two, put('a', 2));
wait_for_wait($node, $two, 'Lock');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($two->{backend})");
($out, $err) = receive($two);
is(state_of($err), '57014', 'cancel');
$one->query('COMMIT');
is(value('a'), 1, 'none of them has written');
is(session_error($two, put('a', 3)), '', 'the session goes on');

# ---- snapshots ----

reset_rows();
$one->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($one->query(q{SELECT v FROM t WHERE k = 'a'}), 0, 'a snapshot');
$two->query(put('a', 5));
is($one->query(q{SELECT v FROM t WHERE k = 'a'}), 0, 'REPEATABLE READ reads what it read before');
is($one->query(q{SELECT cairn.get_item('t', '{"k": "a"}') ->> 'v'}), 0, 'item functions too');
is(state_of(session_error($one, put('a', 6))), '40001', 'and cannot write over what it has not seen');
$one->query('ROLLBACK');
is(value('a'), 5, 'which stays');

reset_rows();
$one->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
$one->query('SELECT 1');
$two->query(put('a', 5));
is($one->query(q{SELECT v FROM t WHERE k = 'a'}), 0, 'its snapshot is that of its first statement, whatever that names');
$one->query('ROLLBACK');

reset_rows();
$one->query('BEGIN');
is($one->query(q{SELECT v FROM t WHERE k = 'a'}), 0, 'READ COMMITTED');
$two->query(put('a', 5));
is($one->query(q{SELECT v FROM t WHERE k = 'a'}), 5, 'reads what is committed');
is(session_error($one, put('a', 6)), '', 'and writes over it');
$one->query('COMMIT');
is(value('a'), 6, 'the last one wins');

# A row that is deleted and made again under an older snapshot.
reset_rows();
$one->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($one->query('SELECT count(*) FROM t'), 3, 'three rows');
$two->query(q{SELECT cairn.delete_item('t', '{"k": "a"}')});
$two->query(put('c', 1));
is($one->query(q{SELECT string_agg(k || v, ' ' ORDER BY k) FROM t}), 'a0 b0 new1', 'neither the deletion nor the new row is seen');
$one->query('COMMIT');
is($one->query(q{SELECT string_agg(k || v, ' ' ORDER BY k) FROM t}), 'b0 c1 new1', 'but in the next transaction');

$_->quit for $one, $two;
$node->stop;
done_testing();
