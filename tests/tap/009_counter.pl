# 32 clients on one counter: bare conditional writes, transactions that lock, transactions at a snapshot. No update is
# lost, none is counted twice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use File::Temp ();
use IPC::Run ();
use POSIX ();
use Test::More;

my $CLIENTS = 32;
my $node    = start_storage(new_node('counter'));
my $scratch = File::Temp->newdir;

$node->safe_psql('postgres', q{
    CREATE TABLE counter (id text PRIMARY KEY, v integer) USING cairn;
    CREATE FUNCTION bump() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        have integer;
    BEGIN
        LOOP
            have := cairn.get_item('counter', '{"id": "locked"}') ->> 'v';
            BEGIN
                PERFORM cairn.put_item('counter', jsonb_build_object('id', 'locked', 'v', have + 1),
                    jsonb_build_object('equals', jsonb_build_object('v', have)));
                RETURN;
            EXCEPTION WHEN integrity_constraint_violation THEN
                NULL;
            END;
        END LOOP;
    END $$;
    SELECT cairn.put_item('counter', jsonb_build_object('id', id, 'v', 0)) FROM unnest(ARRAY['bare', 'locked', 'snapshot']) id});

sub value_of {
    my ($id) = @_;
    return $node->safe_psql('postgres', "SELECT cairn.get_item('counter', '{\"id\": \"$id\"}') ->> 'v'");
}

sub write_file {
    my ($name, $text) = @_;
    open my $file, '>', "$scratch/$name" or die "$name: $!\n";
    print $file $text;
    close $file;
    return "$scratch/$name";
}

# ---- bare: the condition is judged in the storage process; who is late tries again ----

my $attempts = by_level(25, 100, 1000);
my $attempt  = <<'SQL';
SELECT cairn.get_item('counter', '{"id": "bare"}') ->> 'v' AS v \gset
SELECT format('{"id": "bare", "v": %s}', :v + 1) AS item, format('{"equals": {"v": %s}}', :v) AS condition \gset
SELECT cairn.put_item('counter', :'item', :'condition');
\echo attempt :SQLSTATE
SQL
my $script = write_file('bare.sql', $attempt x $attempts);
my @clients = map {
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDOUT, '>', "$scratch/bare.$_.out";
        open STDERR, '>', '/dev/null';
        exec 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', $script or POSIX::_exit(127);
    }
    $pid;
} 1 .. $CLIENTS;
waitpid $_, 0 for @clients;
my %states;
for my $client (1 .. $CLIENTS) {
    my $out = slurp_file("$scratch/bare.$client.out");
    $states{$1}++ while $out =~ /^attempt (\S+)$/mg;
}
my $done = delete $states{'00000'} // 0;
my $late = delete $states{'23000'} // 0;
is($done + $late, $CLIENTS * $attempts, "bare: $done writes, $late were refused by their condition");
is(join(' ', %states), '', 'bare: no other error');
cmp_ok($done, '>=', $attempts, 'bare: somebody always gets on');
is(value_of('bare'), $done, 'bare: the counter is exact');

# ---- in transactions ----

sub pgbench {
    my ($name, $sql, $count) = @_;
    my $file = write_file("$name.sql", $sql);
    my ($out, $err) = ('', '');
    IPC::Run::run(
        [ 'pgbench', '-n', '-c', $CLIENTS, '-j', 2, '-t', $count, '--max-tries', 1_000_000, '-f', $file, $node->connstr('postgres') ],
        '>', \$out, '2>', \$err);
    is($? >> 8, 0, "$name: $CLIENTS clients are through") or diag($err);
    is(value_of($name), $CLIENTS * $count, "$name: the counter is exact");
    return;
}

pgbench('locked', 'SELECT bump();', by_level(20, 100, 1000));
pgbench('snapshot', <<'SQL', by_level(8, 30, 300));
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT (cairn.get_item('counter', '{"id": "snapshot"}') ->> 'v')::integer + 1 AS v \gset
SELECT cairn.put_item('counter', jsonb_build_object('id', 'snapshot', 'v', :v));
COMMIT;
SQL

$node->stop;
done_testing();
