# Power failures under concurrent writers: the processes are killed, and of everything that was not synced the disk
# keeps a random part (see poweroff/). Every acknowledged write must be there all the same. With any one sync taken
# away, the same rounds must fail: otherwise they would prove nothing.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use Poweroff;
use Test::More;
use Writers;

my $SELF_TEST_SEEDS = 20;

# Small files, so that a round sees segments change, flushes, compactions and checkpoints.
my $node = new_node(
    'power',
    initdb               => ['--wal-segsize=1'],
    max_wal_size         => "'4MB'",
    min_wal_size         => "'2MB'",
    checkpoint_timeout   => "'30s'",
    'cairn.write_buffer' => "'1MB'",
    'cairn.log_max'      => "'16MB'",
    log_min_messages     => 'log'
);
my $power = Poweroff->new($node);

$power->start;
$node->safe_psql('postgres', 'CREATE EXTENSION cairn');
Writers->new($node, 0)->make_tables;

# ---- the record is complete ----

my $first = Writers->new($node, 1, qw(bare mixed copy spill ddl));
$first->start(0.1);
$first->run_until(400);
$first->stop;
$node->stop;
$first->finish;
# What stdio writes is not recorded; no file of these matters after a crash.
my @different = grep { !m{pg_internal\.init|postmaster\.opts|pg_stat/|cairn/items/LOG} } $power->differences;
is("@different", '', 'the record gives every file as it is');
$power->keep;

# ---- rounds: start, prove, write, lose power ----

# The power fails while writers are at work. Returns what the next start finds, '' if all is well.
sub round {
    my ($writers, $seed, %options) = @_;
    $writers->start($options{factor});
    $writers->run_until(20 + int rand 600);
    $power->fail($seed);
    $writers->finish or return 'clients met another error';
    my $offset = log_size($node);
    if ($seed % 3 == 0) {
        # Once more, while it replays.
        $power->start(skip => $options{skip}, fail_ok => 1) or return 'the server does not start: ' . fatal_line($offset);
        $power->fail($seed + 1000);
    }
    $power->start(skip => $options{skip}, fail_ok => 1) or return 'the server does not start: ' . fatal_line($offset);
    my $problems = eval { $writers->check };
    $problems //= "the check failed: $@";
    return $problems eq '' ? '' : "$problems\n" . fatal_line($offset);
}

sub fatal_line {
    my ($offset) = @_;
    my @lines = grep { /FATAL|PANIC|could not|terminated by/ } split /\n/, log_since($node, $offset);
    return @lines ? substr $lines[0], 0, 300 : '';
}

sub rounds {
    my ($name, $seeds, %options) = @_;
    my @kinds = @{ $options{kinds} // [qw(bare group mixed copy spill ddl)] };
    $power->bring_back;
    $power->start(skip => $options{skip});
    my $writers = Writers->new($node, $options{seed} // 4, @kinds);
    $writers->adopt;
    for my $seed (1 .. $seeds) {
        my $problems = round($writers, $seed, %options);
        if ($problems ne '') {
            kill_everything($node) if $node->{_pid};
            return ($seed, $problems);
        }
        pass("$name: seed $seed, " . $writers->done . ' acknowledged operations survive') unless $options{skip};
    }
    kill_everything($node);
    return ($seeds + 1, '');
}

my (undef, $problems) = rounds('power failure', by_level(10, 24, 1000));
is($problems, '', 'every seed: acknowledged writes are there, nothing is torn or double');

# ---- self-test: without a sync of ... ----

my @SYNCS = (
    [ 'the log',                     'cairn/log/*.log', qw(bare group) ],
    [ "Postgres' WAL",               'pg_wal/*',        qw(mixed) ],
    [ 'tables of the items store',   'cairn/items/*.sst',      qw(copy spill bare) ],
    [ 'the items store\'s manifest', 'cairn/items/MANIFEST-*', qw(copy spill bare) ],
    [ 'the directory of the items store', 'cairn/items', qw(copy spill bare) ],
    [ 'the directory of the log',    'cairn/log',       qw(copy spill bare) ]
);

for my $sync (@SYNCS) {
    my ($name, $pattern, @kinds) = @$sync;
    my ($seed, $found) = rounds($name, $SELF_TEST_SEEDS, skip => $pattern, kinds => \@kinds);
    ok($found ne '', "without the sync of $name, seed $seed fails");
    note($found);
}

done_testing();
