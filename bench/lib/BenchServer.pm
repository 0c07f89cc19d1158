# The server under test, as seen from outside: SQL, its processes' CPU and memory, bytes written.
package BenchServer;
use strict;
use warnings;
use POSIX       ();
use Time::HiRes ();
use Exporter 'import';
our @EXPORT_OK = qw(sql rows start_server stop_server cpu_s settle written storage_memory machine);

my $home   = $ENV{BENCH_HOME};
my $bindir = $ENV{BENCH_BINDIR};
my $ticks  = POSIX::sysconf(POSIX::_SC_CLK_TCK());

sub first_line {
    my ($path) = @_;
    open my $file, '<', $path or return;
    return scalar <$file>;
}

# Run statements; dies with the server's message. The result: unaligned rows.
sub sql {
    my ($text) = @_;
    my @command = ("$bindir/psql", '-X', '-q', '-At', '-F', "\t", '-v', 'ON_ERROR_STOP=1', '-h', $home, '-p', $ENV{BENCH_PORT}, '-U', 'postgres', '-c', $text);
    my $pid = open(my $out, '-|') // die "fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec @command or die "psql: $!\n";
    }
    my $answer = do { local $/; <$out> } // '';
    close $out or die "$text\n$answer";
    chomp $answer;
    return $answer;
}

sub rows { return map { [split /\t/] } split /\n/, sql(@_) }

sub pg_ctl {
    my @words = @_;
    unshift @words, qw(runuser -u), $ENV{BENCH_USER}, '--' if $> == 0;
    system(@words) == 0 or die "@words failed\n";
}

sub start_server { pg_ctl("$bindir/pg_ctl", '-D', "$home/data", '-l', "$home/log", '-w', '-s', '-t', '300', 'start') }
sub stop_server  { pg_ctl("$bindir/pg_ctl", '-D', "$home/data", '-m', 'fast', '-w', '-s', '-t', '300', 'stop') }

sub postmaster { return (first_line("$home/data/postmaster.pid") // die "the server is not running\n") + 0 }

# Fields of /proc/PID/stat behind the name, which may hold anything: state, ppid, ...
sub stat_of {
    my ($pid) = @_;
    my $line = first_line("/proc/$pid/stat") // return;
    return split ' ', $line =~ s/^.*\) //sr;
}

sub children {
    my $postmaster = postmaster();
    my @pids       = map { m{(\d+)$} } glob '/proc/[0-9]*';
    return grep { my @f = stat_of($_); @f && $f[1] == $postmaster } @pids;
}

# User and system seconds of the postmaster, its live children and those it has reaped.
sub cpu_s {
    my @own = stat_of(postmaster());
    my $sum = $own[11] + $own[12] + $own[13] + $own[14];
    for my $pid (children()) {
        my @f = stat_of($pid);
        $sum += $f[11] + $f[12] if @f;
    }
    return $sum / $ticks;
}

# Wait until the server uses less than a tenth of a core: what a measurement has caused in the background belongs to it.
sub settle {
    my ($limit_s) = @_;
    my $end       = Time::HiRes::time() + $limit_s;
    my $before    = cpu_s();
    while (Time::HiRes::time() < $end) {
        Time::HiRes::sleep(0.1);
        my $after = cpu_s();
        return if $after - $before <= 0.0101;
        $before = $after;
    }
}

# Bytes written so far, by store, what users gave cairn to write, and the size of the heap tables. Counters of cairn begin
# with its process.
sub written {
    my %w;
    ($w{wal}) = sql(q{SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')});
    ($w{pages}) = sql(q{SELECT (buffers_checkpoint + buffers_clean + buffers_backend) * current_setting('block_size')::bigint FROM pg_stat_bgwriter});
    ($w{size}) = sql(q{SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'heap\_%'});
    my @names = qw(log_appended_bytes flushed_bytes compacted_bytes user_bytes);
    @w{@names} = @{(rows('SELECT ' . join(', ', @names) . ' FROM cairn.storage'))[0]};
    return \%w;
}

# Kilobytes of the storage process: resident now, by kind, and at the peak.
sub storage_memory {
    my ($pid) = grep { (first_line("/proc/$_/cmdline") // '') =~ /cairn storage/ } children();
    my %m;
    defined $pid or die "there is no storage process\n";
    open my $file, '<', "/proc/$pid/status" or die "/proc/$pid/status: $!\n";
    while (my $line = <$file>) { $m{$1} = $2 + 0 if $line =~ /^(VmHWM|VmRSS|RssAnon|RssFile|RssShmem):\s+(\d+)/ }
    return \%m;
}

sub command { my $text = `@_ 2>/dev/null` // ''; chomp $text; return $text }

sub machine {
    my ($model) = map { /^model name\s*:\s*(.*)/ ? $1 : () } do { open my $f, '<', '/proc/cpuinfo'; <$f> };
    my ($memory) = (first_line('/proc/meminfo') // '') =~ /(\d+)/;
    return {
        cores      => command('nproc') + 0,
        processor  => $model // 'unknown',
        memory_mb  => int(($memory // 0) / 1024),
        kernel     => command('uname -sr'),
        filesystem => command("df --output=fstype,source $home | tail -n 1"),
        postgres   => sql('SHOW server_version'),
        rocksdb    => command(q{dpkg-query -W -f '${Version}' librocksdb-dev}),
        load       => (split ' ', first_line('/proc/loadavg') // '')[0],
    };
}

1;
