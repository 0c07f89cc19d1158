# What the TAP tests share: a server with cairn, sessions, crashes, waiting for conditions.
#
# Servers are PostgreSQL::Test::Cluster's, with cairn's settings and with fsync on. Nothing sleeps for a fixed time:
# wait_until polls a condition and fails the test when it does not come.
package CairnTest;

use strict;
use warnings;

use Cwd ();

BEGIN {
    my $config = $ENV{PG_CONFIG} // 'pg_config';
    chomp(my ($bindir, $libdir) = map { scalar `$config $_` } qw(--bindir --pkglibdir));
    $ENV{PATH}    = "$bindir:$ENV{PATH}";
    $ENV{TESTDIR} = Cwd::getcwd() if ($ENV{TESTDIR} // '') eq '';
    $ENV{PG_REGRESS} //= "$libdir/pgxs/src/test/regress/pg_regress";
    unshift @INC, "$libdir/pgxs/src/test/perl";
}

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

our @EXPORT = qw(
    level by_level new_node start_storage wait_until storage_pid children_of kill_everything
    try_sql connects error_of state_of session send_sql receive session_error wait_for_wait is_running slurp_file log_since log_size
);

my $TIMEOUT_S = 60;

# Every query of a session, twice, is too much to find anything in.
{
    no warnings 'redefine';
    *PostgreSQL::Test::BackgroundPsql::note = sub { };
}

# default, ci or long; and a number by it.
sub level { return $ENV{CAIRN_CHECK} // 'default' }

sub by_level {
    my ($default, $ci, $long) = @_;
    return level() eq 'ci' ? $ci : level() eq 'long' ? $long : $default;
}

# Poll until the condition holds; returns its value. Dies, which fails the test, if it does not come.
sub wait_until {
    my ($what, $condition, $timeout_s) = @_;
    my $end = Time::HiRes::time() + ($timeout_s // $TIMEOUT_S);
    while (1) {
        my $value = $condition->();
        return $value if $value;
        die "timed out waiting until $what\n" if Time::HiRes::time() > $end;
        Time::HiRes::usleep(10_000);
    }
}

# A server that is not started yet. Settings: name => value. initdb => [arguments].
sub new_node {
    my ($name, %settings) = @_;
    my $node   = PostgreSQL::Test::Cluster->new($name);
    my $initdb = delete $settings{initdb} // [];
    my %conf   = (
        shared_preload_libraries => "'cairn'",
        fsync                    => 'on',
        wal_level                => 'replica',
        restart_after_crash      => 'on',
        log_statement            => "'none'",
        log_min_duration_statement => 1000,
        max_connections          => 60,
        autovacuum               => 'off',
        'cairn.log_segment'      => "'4MB'",
        %settings
    );

    $node->init(extra => [ '--no-locale', '--encoding=UTF8', @$initdb ]);
    $node->append_conf('postgresql.conf', "$_ = $conf{$_}") for grep { defined $conf{$_} } sort keys %conf;
    return $node;
}

# Start, make the extension, wait for the storage process.
sub start_storage {
    my ($node) = @_;
    $node->start;
    $node->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS cairn');
    $node->safe_psql('postgres', 'SELECT applied_index FROM cairn.storage');
    return $node;
}

# ---- processes ----

# pid => title of the postmaster's children.
sub children_of {
    my ($postmaster) = @_;
    my %children;
    for my $directory (glob '/proc/[0-9]*') {
        open my $stat, '<', "$directory/stat" or next;
        my $line = <$stat> // next;
        next unless $line =~ /^(\d+) \(.*\) (\S) (\d+)/s && $3 == $postmaster && $2 ne 'Z';
        my $pid = $1;
        open my $title, '<', "$directory/cmdline" or next;
        local $/;
        ($children{$pid} = <$title> // '') =~ s/\0.*//s;
    }
    return %children;
}

sub storage_pid {
    my ($node) = @_;
    my %children = children_of($node->{_pid});
    my ($pid) = grep { $children{$_} =~ /cairn storage/ } keys %children;
    return $pid;
}

# SIGKILL to every process of the server at once: the postmaster first stopped, so that nobody is restarted.
sub kill_everything {
    my ($node) = @_;
    my $postmaster = $node->{_pid};
    kill 'STOP', $postmaster;
    my @children = keys %{ { children_of($postmaster) } };
    kill 'KILL', @children;
    kill 'KILL', $postmaster;
    wait_until('all processes of the server are gone', sub { !grep { is_running($_) } $postmaster, @children });
    # Lock files are honoured as long as nobody has collected the dead postmaster.
    my $socket = $node->host . '/.s.PGSQL.' . $node->port;
    unlink $node->data_dir . '/postmaster.pid', $socket, "$socket.lock";
    $node->{_pid} = undef;
    return;
}

sub is_running {
    my ($pid) = @_;
    open my $stat, '<', "/proc/$pid/stat" or return 0;
    my $line = <$stat> // return 0;
    return $line !~ /^\d+ \(.*\) [ZX]/s;
}

# ---- sessions ----

# A session that stays: ->query, ->quit, and the two below.
sub session {
    my ($node) = @_;
    my $session = $node->background_psql('postgres', on_error_stop => 0);
    $session->query("\\set VERBOSITY verbose");
    $session->{backend} = $session->query('SELECT pg_backend_pid()');
    return $session;
}

# Send statements and do not wait for their end.
sub send_sql {
    my ($session, $sql) = @_;
    $session->{stderr} = '';
    my $seen = $session->query_until(qr/^sent$/m, "\\echo sent\n$sql\n\\echo finished\n\\warn finished\n");
    # A fast answer comes together with it.
    $seen =~ s/.*^sent\n//ms;
    $session->{stdout} = $seen . $session->{stdout};
    return;
}

# Wait for their end: output and messages. A session that lost its server has ended too.
sub receive {
    my ($session) = @_;
    my $end = Time::HiRes::time() + $TIMEOUT_S;
    my $run = $session->{run};
    while (!($session->{stdout} =~ /^finished$/m && $session->{stderr} =~ /^finished$/m)) {
        die "timed out waiting for a session\n" if Time::HiRes::time() > $end;
        last if !$run->pumpable;
        eval { $run->pump_nb; 1 } or last;
        Time::HiRes::usleep(5_000);
    }
    my ($out, $err) = @$session{qw(stdout stderr)};
    @$session{qw(stdout stderr)} = ('', '');
    s/^finished\n//m for $out, $err;
    chomp $out;
    return ($out, $err);
}

# Errors of a statement in a session.
sub session_error {
    my ($session, $sql) = @_;
    send_sql($session, $sql);
    my ($out, $err) = receive($session);
    return $err;
}

# Until the session's backend waits for a lock ('Lock') or for the storage process ('Extension').
sub wait_for_wait {
    my ($node, $session, $kind) = @_;
    wait_until(
        "a backend waits ($kind)",
        sub {
            $node->safe_psql('postgres',
                "SELECT count(*) FROM pg_stat_activity WHERE pid = $session->{backend} AND wait_event_type = '$kind'") == 1;
        }
    );
    return;
}

# Status, output and messages of psql, which may fail; never dies.
sub try_sql {
    my ($node, $sql, %params) = @_;
    my ($out, $err) = ('', '');
    my @command = (
        'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-d',
        $node->connstr($params{database} // 'postgres'), '-f', '-'
    );
    IPC::Run::run(\@command, '<', \$sql, '>', \$out, '2>', \$err);
    my $status = $? >> 8;
    chomp $out;
    return ($status, $out, $err);
}

sub connects {
    my ($node) = @_;
    my ($status) = try_sql($node, 'SELECT 1');
    return $status == 0;
}

# The messages of a statement that must fail ('' if it did not).
sub error_of {
    my ($node, $sql, %params) = @_;
    my ($status, $out, $err) = try_sql($node, $sql, %params);
    return $status == 0 ? '' : $err;
}

sub state_of {
    my ($error) = @_;
    return $error =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}):/ ? $1 : '';
}

# ---- log ----

sub log_size {
    my ($node) = @_;
    return -s $node->logfile // 0;
}

sub log_since {
    my ($node, $offset) = @_;
    return slurp_file($node->logfile, $offset);
}

1;
