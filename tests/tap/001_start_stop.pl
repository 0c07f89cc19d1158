# Starts and stops, clean ones and failing ones: what is in the log, what a client sees, what comes back by itself.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use Test::More;

my $COUNT = 'SELECT count(*), sum(k) FROM t';
my $node  = new_node('start', 'cairn.start_timeout' => "'20s'");
my $cairn = $node->data_dir . '/cairn';

start_storage($node);
$node->safe_psql('postgres', 'CREATE TABLE t (k integer PRIMARY KEY) USING cairn; INSERT INTO t SELECT generate_series(1, 1000)');

# ---- clean ----

for my $mode ('fast', 'smart', 'immediate') {
    my $offset = log_size($node);
    my $term   = $node->safe_psql('postgres', 'SELECT term FROM cairn.replicas');
    $node->stop($mode);
    $node->start;
    is($node->safe_psql('postgres', $COUNT), '1000|500500', "$mode stop and start");
    unlike(log_since($node, $offset), qr/PANIC|could not start|terminated by signal/, "$mode: nothing bad in the log");
    my $replayed = log_since($node, $offset) =~ /cairn storage: replayed log entries/;
    is($node->safe_psql('postgres', 'SELECT role, answers_requests, lag_entries, term > ' . $term . ' FROM cairn.replicas'), 'leader|t|0|t', "$mode: it leads in a new term");
    like(log_since($node, $offset), qr/group 1: node 1 leads in term \d+ from log entry \d+ on\n.*group 1: node 1 answers requests in term \d+/s, "$mode: the log says so");
    is($replayed ? 1 : 0, $mode eq 'immediate' ? 1 : 0, "$mode: " . ($mode eq 'immediate' ? 'the log is replayed' : 'nothing to replay'));
    $node->safe_psql('postgres', 'BEGIN; SELECT cairn.put_item(\'t\', \'{"k": 5}\'); COMMIT');
}

# Sessions in the middle of things do not keep a fast shutdown waiting.
my $session = session($node);
$session->query(q{BEGIN; INSERT INTO t VALUES (2000)});
$node->stop('fast');
eval { $session->quit };
$node->start;
is($node->safe_psql('postgres', $COUNT), '1000|500500', 'fast stop with an open transaction: it is rolled back');

# ---- the storage process ends, politely: it is started again, clients wait for it ----

my $offset = log_size($node);
my $pid    = storage_pid($node);
kill 'TERM', $pid;
wait_until('it is gone', sub { !is_running($pid) });
is($node->safe_psql('postgres', $COUNT), '1000|500500', 'a client waits until it is there again');
isnt(storage_pid($node), $pid, 'it is another process');
unlike(log_since($node, $offset), qr/terminating any other active server processes/, 'nobody else was restarted');

# While a session relies on it, it stays.
$session = session($node);
$session->query(q{BEGIN; INSERT INTO t VALUES (2001)});
$pid = storage_pid($node);
kill 'TERM', $pid;
$session->query('COMMIT');
is($session->query($COUNT), '1001|502501', 'a session is not let down');
$session->quit;
wait_until('then it goes', sub { (storage_pid($node) // $pid) != $pid });
is($node->safe_psql('postgres', $COUNT), '1001|502501', 'and another one comes');
$node->safe_psql('postgres', q{SELECT cairn.delete_item('t', '{"k": 2001}')});

# ---- it is not ready: a client waits, but not longer than it wants to ----

$pid = storage_pid($node);
kill 'TERM', $pid;
wait_until('it is gone', sub { !is_running($pid) });
my $next = wait_until('the next one comes', sub { storage_pid($node) });
kill 'STOP', $next;
my ($status, $out, $err) = try_sql($node, "SET cairn.start_timeout = '500ms'; $COUNT");
($status, $out, $err) = try_sql($node, "SET cairn.start_timeout = '1s'; $COUNT");
if ($status == 0) {
    # It was ready before it was stopped.
    is($out, '1000|500500', 'served');
} else {
    is(state_of($err), '57P03', 'after cairn.start_timeout the client gets an error');
    like($err, qr/not ready.*was not ready within "cairn\.start_timeout".*HINT/s, 'that says what it waited for');
}
kill 'CONT', $next;
is($node->safe_psql('postgres', $COUNT), '1000|500500', 'later it is served');

# ---- storage directories that it cannot use ----

# Stop, change something, start: the server is there, the storage process says why it is not.
sub refused {
    my ($what, $pattern, $change, $undo) = @_;
    $node->stop;
    $change->();
    my $from = log_size($node);
    $node->start;
    $node->wait_for_log(qr/cairn storage could not start/, $from);
    like(log_since($node, $from), qr/cairn storage could not start: .*$pattern/, "$what: the log says why");
    my $error = error_of($node, $COUNT);
    is(state_of($error), '57P03', "$what: a client gets an error at once");
    like($error, qr/Its last start failed/, "$what: that says so");
    is($node->safe_psql('postgres', 'SELECT 1'), 1, "$what: the rest of the server is there");
    $undo->();
    wait_until("$what: it starts when it can", sub { (try_sql($node, $COUNT))[1] eq '1000|500500' });
    pass("$what: mended, it starts without help");
    return;
}

refused('a directory without permissions', 'Permission denied', sub { chmod 0, $cairn }, sub { chmod 0700, $cairn });
refused('read-only files', 'Permission denied', sub { chmod 0500, $cairn, "$cairn/log", "$cairn/items"; chmod 0400, "$cairn/LOCK" },
    sub { chmod 0700, $cairn, "$cairn/log", "$cairn/items"; chmod 0600, "$cairn/LOCK" });
refused('a lost items store', 'lost what was in its subdirectory "items"', sub { rename "$cairn/items", "$cairn.items" }, sub { rename "$cairn.items", "$cairn/items" });
refused('a lost log', 'lost what was in its subdirectory "log"', sub { rename "$cairn/log", "$cairn.log" }, sub { rename "$cairn.log", "$cairn/log" });
refused('a lost identity', 'no file IDENTITY', sub { rename "$cairn/IDENTITY", "$cairn.id" }, sub { rename "$cairn.id", "$cairn/IDENTITY" });

# The whole directory is gone, or another, empty one is in its place, as when its file system is not mounted.
my $marker = $node->data_dir . '/cairn.storage';
for my $place ('missing', 'empty') {
    my $undo = sub { rmdir $cairn; rename "$cairn.away", $cairn or die "rename: $!\n" };
    my $from = log_size($node);
    refused("a storage directory that is $place", "storage directory \".*\" is $place, but file \".*cairn.storage\" says that it held",
        sub { rename "$cairn", "$cairn.away"; mkdir $cairn if $place eq 'empty' },
        sub {
            is(join(' ', glob "$cairn/*"), '', "$place: nothing was made there");
            $undo->();
        });
    like(log_since($node, $from), qr/HINT:  Mount or restore the storage directory.*remove.*"cairn\.storage"/, "$place: the log says what to do");
}

# An operator who wants to begin empty removes the marker too. Tables from before have no storage until they are truncated.
$node->stop;
rename $cairn, "$cairn.away" or die "rename: $!\n";
rename $marker, "$marker.away" or die "rename: $!\n";
$node->start;
wait_until('it begins empty', sub { (try_sql($node, 'SELECT count(*) FROM cairn.storages()'))[0] == 0 });
my $error = error_of($node, $COUNT);
is(state_of($error), '42P01', 'begun empty, a table from before is an error, not an empty answer');
ok(-s $marker, 'there is a marker again');
$node->stop;
system 'rm', '-rf', $cairn;
rename "$cairn.away", $cairn or die "rename: $!\n";
unlink $marker;
$node->start;
is($node->safe_psql('postgres', $COUNT), '1000|500500', 'with the directory back, everything is there');
ok(-s $marker, 'a directory from before there was a marker gets one');

# A base backup without a storage directory outside of the data directory knows that it lacks one.
$node->stop;
rename $cairn, $node->basedir . '/outside' or die "rename: $!\n";
$node->append_conf('postgresql.conf', "max_wal_senders = 2\ncairn.storage_directory = '" . $node->basedir . "/outside'");
$node->start;
is($node->safe_psql('postgres', $COUNT), '1000|500500', 'moved outside, with the setting, it is served');
$node->backup('base');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'base');
$copy->append_conf('postgresql.conf', "cairn.storage_directory = '" . $copy->basedir . "/outside'");
$copy->start;
$copy->wait_for_log(qr/cairn storage could not start: storage directory ".*" is missing/);
is(state_of(error_of($copy, $COUNT)), '57P03', 'a base backup without it is refused');
$copy->stop('immediate');
$node->stop;
rename $node->basedir . '/outside', $cairn or die "rename: $!\n";
$node->append_conf('postgresql.conf', "cairn.storage_directory = ''");
$node->start;

# ---- a place that does not exist, and one that belongs to another cluster ----

$node->stop;
$node->append_conf('postgresql.conf', "cairn.storage_directory = '" . $node->data_dir . "/nowhere/cairn'");
$offset = log_size($node);
$node->start;
$node->wait_for_log(qr/cairn storage could not start: .*nowhere/, $offset);
like(log_since($node, $offset), qr/storage directory ".*nowhere\/cairn" is missing/, 'a place that does not exist');
is(state_of(error_of($node, $COUNT)), '57P03', 'is no place to serve from');
$node->stop;

my $other = new_node('other', 'cairn.storage_directory' => "'$cairn'");
$offset = log_size($other);
$other->start;
$other->wait_for_log(qr/cairn storage could not start/, $offset);
like(log_since($other, $offset), qr/belongs to database system \d+, not to \d+/, 'the directory of another database system is refused');
$other->stop;

$node->append_conf('postgresql.conf', "cairn.storage_directory = ''");
$node->start;
is($node->safe_psql('postgres', $COUNT), '1000|500500', 'its own takes it');

# A second server of the same identity on it: the first one has it.
my $twin = PostgreSQL::Test::Cluster->new('twin');
mkdir $twin->basedir;
$node->safe_psql('postgres', 'CHECKPOINT');
system('cp', '-a', $node->data_dir, $twin->data_dir) == 0 or die "copy failed\n";
unlink $twin->data_dir . '/postmaster.pid';
$twin->append_conf('postgresql.conf', "port = " . $twin->port . "\nunix_socket_directories = '" . $twin->host . "'\ncairn.storage_directory = '$cairn'");
$twin->start;
$twin->wait_for_log(qr/cairn storage could not start/);
like(log_since($twin, 0), qr/storage directory ".*" is in use by another process/, 'a directory in use is refused');
is($node->safe_psql('postgres', $COUNT), '1000|500500', 'its user notices nothing');
$twin->stop('immediate');
$node->stop;

# ---- not preloaded ----

my $plain = new_node('plain', shared_preload_libraries => undef, 'cairn.log_segment' => undef);
$plain->start;
$error = error_of($plain, q{CREATE EXTENSION cairn; CREATE TABLE t (k integer PRIMARY KEY) USING cairn; INSERT INTO t VALUES (1)});
is(state_of($error), '55000', 'without shared_preload_libraries there is an error');
like($error, qr/Add the line "shared_preload_libraries = 'cairn'" to postgresql\.conf/, 'that says which line is missing');
$error = error_of($plain, q{SELECT * FROM cairn.storage});
is(state_of($error), '55000', 'views as well') if $error !~ /does not exist/;
$plain->stop;

done_testing();
