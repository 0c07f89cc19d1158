# A full disk: files below the storage directory may grow by so many bytes and no more (poweroff/ plays it, so that no
# mount is needed). Writes wait or fail with a clear error, reads go on, nothing acknowledged is lost, and when there is
# room again the server needs no help.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use File::Temp ();
use POSIX ();
use Poweroff;
use Test::More;

my $MB      = 1024 * 1024;
my $scratch = File::Temp->newdir;
my $node = new_node('full', 'cairn.write_buffer' => "'1MB'", 'cairn.log_max' => "'16MB'", 'cairn.start_timeout' => "'30s'");
my $disk = Poweroff->new($node);

$disk->start;
$node->safe_psql('postgres', q{CREATE EXTENSION cairn;
    CREATE TABLE t (k integer PRIMARY KEY, v text) USING cairn;
    CREATE TABLE heap (k integer);
    INSERT INTO t SELECT k, md5(k::text) FROM generate_series(1, 1000) k});
$node->stop;

# One row of 96 kB that no compression makes much smaller, under the next key. True if it was acknowledged.
my ($next, $error) = (10_000, '');
my %written;

sub write_one {
    my $k = $next++;
    (my $status, my $out, $error) = try_sql($node, qq{SET statement_timeout = '10s';
        INSERT INTO t SELECT $k, string_agg(md5($k || ' ' || i), '') FROM generate_series(1, 3000) i});
    $written{$k} = 1 if $status == 0;
    return $status == 0;
}

# Acknowledged rows that are not there, and others that are torn; '' if all is well.
sub missing {
    my ($status, $out, $err) = try_sql($node, q{SELECT k FROM t WHERE k >= 10000 AND length(v) = 96000;
        SELECT 'torn ' || k FROM t WHERE k >= 10000 AND length(v) <> 96000;
        SELECT 'first rows: ' || count(*) FROM t WHERE k <= 1000 AND v = md5(k::text)});
    return $err if $status != 0;
    my %found = map { $_ => 1 } split /\n/, $out;
    my @torn  = grep { /^torn/ } keys %found;
    return join ' ', @torn, ($found{'first rows: 1000'} ? () : 'first rows'), grep { !$found{$_} } sort keys %written;
}

sub write_until_refused {
    my ($most) = @_;
    my $done = 0;
    $done++ while $done < $most && write_one();
    return $done;
}

# Rows by a client of its own, which may have to wait. Returns its process and its output file.
sub write_beside {
    my ($count) = @_;
    my $out = "$scratch/out.$next";
    open my $script, '>', "$scratch/sql" or die "script: $!\n";
    for my $k ($next .. $next + $count - 1) {
        print $script "INSERT INTO t SELECT $k, string_agg(md5($k || ' ' || i), '') FROM generate_series(1, 3000) i;\n\\echo $k\n";
    }
    close $script;
    $next += $count;
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDOUT, '>', $out;
        open STDERR, '>', '/dev/null';
        exec 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', "$scratch/sql" or POSIX::_exit(127);
    }
    return ($pid, $out);
}

sub reads_and_heap {
    my ($what) = @_;
    is(missing(), '', "$what: reads go on, every acknowledged row is there");
    is((try_sql($node, q{SELECT cairn.get_item('t', '{"k": 1}') ->> 'v' = md5('1')}))[1], 't', "$what: item functions read too");
    is((try_sql($node, 'INSERT INTO heap VALUES (1) RETURNING k'))[1], 1, "$what: heap tables are written");
    return;
}

sub room_again {
    my ($what) = @_;
    $disk->set_room(-1);
    wait_until("$what: with room again, writes go on", sub { write_one() });
    is(missing(), '', "$what: with room again writes go on, and everything is there");
    return;
}

# ---- no room for the log: a commit in flight waits, its outcome being open; new writes are refused ----

my $offset = log_size($node);
$disk->start(full => 'cairn/log/*');
$disk->set_room($MB);
my $session = session($node);
send_sql($session, join "\n", map { "SELECT cairn.put_item('t', jsonb_build_object('k', 5000 + $_, 'v', repeat(md5('$_'), 3000)));" } 1 .. 100);
wait_until('the log finds no room', sub { log_since($node, $offset) =~ /writes wait for room on disk.*No space left/ });
ok(!write_one(), 'log: a write that comes now is refused');
is(state_of($error), '53100', 'log: with a clear error');
like($error, qr/disk is full.*HINT:.*[Ff]ree some space/s, 'log: that says what to do');
reads_and_heap('log');
$disk->set_room(-1);
my ($out, $err) = receive($session);
is($err, '', 'log: with room again, what was in flight is acknowledged');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t WHERE k BETWEEN 5001 AND 5100'), 100, 'log: and done');
$session->quit;
room_again('log');
unlike(log_since($node, $offset), qr/terminating any other active server processes/, 'log: nothing was restarted');

# ---- a transaction that has spilled is refused and rolls back, without room ----

$offset = log_size($node);
$disk->set_room($MB);
$session = session($node);
send_sql($session, q{SELECT count(cairn.put_item('t', jsonb_build_object('k', 6000 + k, 'v', repeat(md5(k::text), 3000))))
    FROM generate_series(1, 800) k;});
($out, $err) = receive($session);
is(state_of($err), '53100', 'spilled: refused');
like(log_since($node, $offset), qr/writes wait for room on disk/, 'spilled: while the log waits');
$session->quit;
room_again('spilled');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t WHERE k BETWEEN 6001 AND 6800'), 0, 'spilled: nothing of it is left');

# ---- the file system fills up ----

$node->stop;
$disk->start(full => 'cairn/*');
$offset = log_size($node);
$disk->set_room(30 * $MB);
my $done = write_until_refused(1000);
is(state_of($error), '53100', "file system: refused after $done rows");
like($error, qr/disk is full.*HINT:.*[Ff]ree some space/s, 'file system: the client is told what to do');
like(log_since($node, $offset), qr/writes are refused: the file system/, 'file system: so does the log');
reads_and_heap('file system');
is(state_of(error_of($node, q{BEGIN; INSERT INTO heap VALUES (2); SELECT cairn.put_item('t', '{"k": 1}'); COMMIT})),
    '53100', 'file system: transactions are refused too');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heap WHERE k = 2'), 0, 'file system: on both sides');
unlike(log_since($node, $offset), qr/terminating any other active server processes/, 'file system: nothing was restarted');
room_again('file system');

# ---- others take the last of it at once: the server may restart, but nothing is lost ----

for my $room (0, 700_000, 3_000_000) {
    $offset = log_size($node);
    $disk->set_room($room);
    my ($pid, $file) = write_beside(200);
    wait_until("$room bytes: it is noticed",
        sub { log_since($node, $offset) =~ /writes wait for room|writes are refused|terminated by signal/ });
    $disk->set_room(-1);
    waitpid $pid, 0;
    my @done = split /\n/, slurp_file($file);
    $written{$_} = 1 for @done;
    note("$room bytes: " . @done . ' rows were acknowledged');
    room_again("$room bytes");
}

# ---- table files that cannot be written, for another reason or for want of room ----

$node->stop;
$disk->start(full => 'cairn/items/*.sst', error => POSIX::EIO);
$offset = log_size($node);
$disk->set_room(0);
write_until_refused(200);
wait_until('broken: the storage process ends', sub { log_since($node, $offset) =~ /cairn storage failed: a flush of the items store failed: IO error: .*\.sst/ });
wait_until('broken: and says at each start why it cannot', sub { log_since($node, $offset) =~ /cairn storage could not (?:start|serve): .*IO error: .*\.sst/ });
is((try_sql($node, 'INSERT INTO heap VALUES (3) RETURNING k'))[1], 3, 'broken: heap tables go on');
$node->stop; # hangs nowhere
$disk->start(full => 'cairn/items/*.sst', error => POSIX::EIO);
room_again('broken');

$node->stop;
$disk->start(full => 'cairn/items/*.sst');
$offset = log_size($node);
$disk->set_room(0);
write_until_refused(200);
wait_until('no table files: it is noticed', sub { log_since($node, $offset) =~ /writes are refused until there is room on disk: a flush of the items store failed/ });
wait_until('no table files: a write is refused', sub { !write_one() && state_of($error) eq '53100' });
reads_and_heap('no table files');
unlike(log_since($node, $offset), qr/terminating any other active server processes/, 'no table files: nothing was restarted');
room_again('no table files');
$disk->set_room(0);
write_until_refused(200);
$node->stop; # does not wait for room
$disk->set_room(-1);
$disk->start(full => 'cairn/*');
is(missing(), '', 'stopped without room for table files, the log has it all');

# ---- no room at a start ----

$disk->set_room(0);
$node->stop('immediate');
$disk->start_again(full => 'cairn/*');
my $read = missing();
ok($read eq '' || state_of($read) eq '57P03' || $read =~ /connection/, 'started on a full disk, it serves reads or says that it cannot');
room_again('start');
$node->stop;
done_testing();
