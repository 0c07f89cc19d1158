# SIGKILL of the storage process under concurrent writers: the server restarts all its processes, as for any crash, and
# every acknowledged write is there. A SIGKILL takes nothing from the page cache: what it proves is replay, not syncs.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use Test::More;
use Writers;

my $node = start_storage(new_node('kill', 'cairn.write_buffer' => "'1MB'", 'cairn.log_max' => "'16MB'"));
my $writers = Writers->new($node, 2, qw(bare_a bare_b group mixed copy));

$writers->make_tables;
for my $round (1 .. by_level(4, 12, 100)) {
    my $pid = storage_pid($node);
    $writers->start;
    $writers->run_until(100 + int rand 900);
    kill 'KILL', $pid;
    ok($writers->finish, "round $round: clients met nothing but the crash");
    wait_until('the server takes connections', sub { connects($node) });
    isnt(storage_pid($node), $pid, "round $round: another storage process");
    is($writers->check, '', "round $round: " . $writers->done . ' acknowledged operations are there, nothing is torn or double')
        or last;
}

# A kill while it starts and replays is only another start.
my $offset = log_size($node);
kill 'KILL', storage_pid($node);
my $second = wait_until('the storage process is started again', sub { storage_pid($node) });
kill 'KILL', $second;
wait_until('it serves', sub { connects($node) });
$writers->compare_ways(\my @problems);
is("@problems", '', 'all is well after a kill during the start');
like(log_since($node, $offset), qr/was terminated by signal 9/, 'the log says that the process was killed');

$node->stop;
done_testing();
