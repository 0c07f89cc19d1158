# Immediate shutdown under concurrent writers, and a start that finds what they were told.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use Test::More;
use Writers;

my $node = start_storage(new_node('immediate', 'cairn.write_buffer' => "'1MB'", 'cairn.log_max' => "'16MB'"));
my $writers = Writers->new($node, 3, qw(bare group mixed copy spill ddl));

$writers->make_tables;
for my $round (1 .. by_level(4, 12, 100)) {
    $writers->start;
    $writers->run_until(50 + int rand 700);
    $node->stop('immediate');
    ok($writers->finish, "round $round: clients met nothing but the shutdown");
    my $offset = log_size($node);
    $node->start;
    is($writers->check, '', "round $round: " . $writers->done . ' acknowledged operations are there, nothing is torn or double')
        or last;
    unlike(log_since($node, $offset), qr/PANIC|could not (?:start|serve)/, "round $round: a clean start");
}

# A fast shutdown lets nobody's acknowledged work go either, and leaves nothing to replay.
$writers->start;
$writers->run_until(300);
$node->stop('fast');
ok($writers->finish, 'fast: clients met nothing but the shutdown');
$node->start;
is($writers->check, '', 'fast: ' . $writers->done . ' acknowledged operations are there');
$node->stop;
done_testing();
