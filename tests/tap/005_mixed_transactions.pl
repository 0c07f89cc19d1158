# Transactions that change heap and cairn tables, and transactions that make tables, through crashes at any moment:
# both sides or neither. SIGKILL of every process of the server; power failures are in 004.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use Test::More;
use Writers;

my $node = start_storage(new_node('mixed', 'cairn.write_buffer' => "'1MB'", 'cairn.log_max' => "'16MB'"));
my $writers = Writers->new($node, 5, qw(mixed_a mixed_b mixed_c ddl spill));

# Intents are settled in the background.
sub nothing_left {
    my ($when) = @_;
    wait_until("nothing is left undecided: $when",
        sub { $node->safe_psql('postgres', 'SELECT transactions + locks FROM cairn.storage') == 0 });
    pass("$when: nothing is left undecided");
    return;
}

$writers->make_tables;
for my $round (1 .. by_level(6, 20, 200)) {
    $writers->start;
    $writers->run_until(int rand 500);
    kill_everything($node);
    ok($writers->finish, "round $round: clients met nothing but the crash");
    $node->start;
    is($writers->check, '', "round $round: both or neither, after " . $writers->done . ' acknowledged operations')
        or last;
    nothing_left("round $round");
}

# ---- a large transaction that has spilled, and never commits ----

$node->safe_psql('postgres', 'CREATE TABLE large (k integer PRIMARY KEY, v text) USING cairn; CREATE TABLE heap (k integer)');
$node->safe_psql('postgres', q{INSERT INTO large SELECT k, 'old' FROM generate_series(1, 500) k});

my $session = session($node);
$session->query_safe(q{
    BEGIN;
    SET LOCAL cairn.write_set = '64kB';
    INSERT INTO heap VALUES (1);
    INSERT INTO large SELECT k, repeat('new', 100) FROM generate_series(1001, 21000) k;
    SELECT count(cairn.put_item('large', jsonb_build_object('k', k, 'v', 'new'))) FROM generate_series(1, 500) k});
cmp_ok($node->safe_psql('postgres', 'SELECT transactions FROM cairn.storage'), '>', 0, 'the transaction has spilled');
is($node->safe_psql('postgres', 'SELECT count(*), min(v), max(v) FROM large'), '500|old|old', 'nobody sees it');
kill_everything($node);
eval { $session->{run}->kill_kill };
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*), min(v), max(v) FROM large'), '500|old|old', 'killed, it leaves nothing');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heap'), 0, 'neither in the heap');
nothing_left('after a crash');
$node->safe_psql('postgres', q{INSERT INTO large SELECT k, 'again' FROM generate_series(1001, 21000) k});
is($node->safe_psql('postgres', 'SELECT count(*) FROM large'), 20500, 'its keys are free');

# ---- one that has, and its backend is terminated or rolls back ----

for my $way ('ROLLBACK', 'terminated', 'error') {
    $session = session($node);
    $session->query_safe(q{
        BEGIN;
        SET LOCAL cairn.write_set = '64kB';
        INSERT INTO large SELECT k, repeat('more', 50) FROM generate_series(30001, 33000) k});
    if    ($way eq 'ROLLBACK')   { $session->query_safe('ROLLBACK') }
    elsif ($way eq 'terminated') { $node->safe_psql('postgres', "SELECT pg_terminate_backend($session->{backend})") }
    else                         { like(session_error($session, 'SELECT 1 / 0;'), qr/22012/, 'an error'); $session->query('ROLLBACK') }
    nothing_left($way);
    is($node->safe_psql('postgres', 'SELECT count(*) FROM large'), 20500, "$way: it leaves nothing");
    eval { $session->quit };
}

$node->stop;
done_testing();
