# A full disk: files below the storage directory may grow by so many bytes and no more (poweroff/ plays it, so that no
# mount is needed). Writes wait or fail with a clear error, reads go on, nothing acknowledged is lost, and when there is
# room again the server needs no help.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use Poweroff;
use Test::More;

my $node = new_node('full', 'cairn.write_buffer' => "'1MB'", 'cairn.log_max' => "'16MB'", 'cairn.start_timeout' => "'30s'");
my $disk = Poweroff->new($node);

$disk->start(full => 'cairn/*');
$node->safe_psql('postgres', q{CREATE EXTENSION cairn;
    CREATE TABLE t (k integer PRIMARY KEY, v text) USING cairn;
    CREATE TABLE heap (k integer);
    INSERT INTO t SELECT k, md5(k::text) FROM generate_series(1, 1000) k});

# One row of 100 kB that no compression makes smaller, under the next key. True if it was acknowledged.
my ($next, $error) = (10_000, '');
my %written;

sub write_one {
    my $k = $next++;
    (my $status, my $out, $error) = try_sql($node, qq{SET statement_timeout = '10s';
        INSERT INTO t SELECT $k, string_agg(md5($k || ' ' || i), '') FROM generate_series(1, 3000) i});
    $written{$k} = 1 if $status == 0;
    return $status == 0;
}

# Every acknowledged row, whole; and of the others, those that are there are whole too.
sub missing {
    my $found = $node->safe_psql('postgres', 'SELECT k FROM t WHERE k >= 10000 AND length(v) = 96000');
    my %found = map { $_ => 1 } split /\n/, $found;
    my $torn  = $node->safe_psql('postgres', 'SELECT count(*) FROM t WHERE k >= 10000 AND length(v) <> 96000');
    my $old   = $node->safe_psql('postgres', 'SELECT count(*) FROM t WHERE k <= 1000 AND v = md5(k::text)');
    return join ' ', ($torn ? "$torn torn" : ()), ($old == 1000 ? () : "$old of 1000"), grep { !$found{$_} } sort keys %written;
}

# The state of things while there is no room, and afterwards.
sub prove {
    my ($what) = @_;
    my $offset = log_size($node);
    my $done   = 0;
    $done++ while $done < 2000 && write_one();
    cmp_ok($done, '<', 2000, "$what: writes end after $done rows");
    like(state_of($error), qr/^(53100|57014|57P03|58030|57P02|)$/, "$what: the client is told: " . state_of($error));
    note($error);

    # Reads and the rest of the server.
    my ($status, $out, $err) = try_sql($node, 'INSERT INTO heap VALUES (1); SELECT count(*) FROM heap');
    wait_until("$what: the server takes connections", sub { connects($node) });
    is((try_sql($node, 'SELECT 1'))[1], 1, "$what: the server lives");

    $disk->set_room(-1);
    wait_until("$what: with room again, writes go on", sub { write_one() });
    is(missing(), '', "$what: every acknowledged row is there");
    my $log = log_since($node, $offset);
    like($log, qr/[Nn]o space left|disk is full|room on disk/, "$what: the log says what is wrong");
    return $log;
}

# ---- no room for the log ----

$node->stop;
$disk->start(full => 'cairn/log/*');
$disk->set_room(6 * 1024 * 1024);
my $offset = log_size($node);
my $done   = 0;
$done++ while $done < 2000 && write_one();
cmp_ok($done, '<', 2000, "log: writes end after $done rows");
ok($error ne '' && state_of($error) =~ /^(53100|57014)$/, 'log: a clear error, or a wait that statement_timeout ends') or diag($error);
is(missing(), '', 'log: reads go on, every acknowledged row is there');
is((try_sql($node, q{SELECT cairn.get_item('t', '{"k": 1}') ->> 'v' = md5('1')}))[1], 't', 'log: item functions read too');
is($node->safe_psql('postgres', 'INSERT INTO heap VALUES (1) RETURNING k'), 1, 'log: heap tables are written');
like(log_since($node, $offset), qr/No space left on device|disk is full/, 'log: the server log says why');
unlike(log_since($node, $offset), qr/terminating any other active server processes/, 'log: nothing was restarted');
$disk->set_room(-1);
wait_until('with room again, writes go on', sub { write_one() });
is(missing(), '', 'log: and everything is there');

# ---- no room for anything, at different moments ----

$node->stop;
$disk->start(full => 'cairn/*');
for my $room (0, 700_000, 3_000_000, by_level(9_000_000, 12_000_000, 12_000_000)) {
    $disk->set_room($room);
    prove("$room bytes");
}

# ---- no room at a start ----

$disk->set_room(0);
$node->stop('immediate');
$disk->start_again(full => 'cairn/*');
my ($status, $out, $err) = try_sql($node, 'SELECT count(*) FROM t');
ok($status == 0 || state_of($err) eq '57P03', 'started on a full disk, it serves reads or says that it cannot');
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM heap'), 't', 'and the rest of the server is there');
$disk->set_room(-1);
wait_until('with room again, it serves', sub { (try_sql($node, 'SELECT count(*) FROM t'))[0] == 0 });
is(missing(), '', 'everything is there');
$node->stop;
done_testing();
