# Concurrent writers, and the proof of what a crash left of their work.
#
# Each writer is a psql process that runs a script of operations, made from a seed, on keys of its own, and prints the
# number of each operation that was acknowledged. After the crash its rows must be what the acknowledged operations make
# of them, or those and the next one: everything else is a lost, torn or invented write.
package Writers;

use strict;
use warnings;

use CairnTest;
use Digest::MD5 qw(md5_hex);
use File::Temp ();
use POSIX ();
use Test::More;

my $COLUMNS = 'w text, k integer, n integer, payload text, sum text, PRIMARY KEY (w, k)';
my $LOST = join '|', 'server closed the connection', 'terminating connection', 'connection to server', 'could not connect',
    'the database system is', 'Connection refused', 'No such file or directory', 'not accepting connections',
    'crash of another server process';

# kinds: bare, group (cairn-only transactions), mixed (cairn and heap), copy, ddl, spill.
sub new {
    my ($class, $node, $seed, @kinds) = @_;
    my $self = bless { node => $node, seed => $seed, kinds => \@kinds, round => 0, rows => {} }, $class;
    $self->{directory} = File::Temp->newdir('writers_XXXX', TMPDIR => 1);
    $self->{next_key}{$_} = 1000 for @kinds;
    return $self;
}

sub make_tables {
    my ($self) = @_;
    $self->{node}->safe_psql('postgres', "CREATE TABLE items ($COLUMNS) USING cairn; CREATE TABLE ledger ($COLUMNS)");
    return;
}

# Take the rows that are there for the state to begin with.
sub adopt {
    my ($self) = @_;
    $self->{rows} = $self->read_rows(\my @problems);
    die "@problems\n" if @problems;
    $self->{next_key}{$_} = 1_000_000 for @{ $self->{kinds} };
    return;
}

# ---- operations: [SQL, { "table key" => n or undef, if deleted }] ----

sub payload {
    my $size = rand() < 0.02 ? 40_000 + int rand 60_000 : rand() < 0.1 ? int rand 6000 : int rand 300;
    my $seed = md5_hex(rand);
    return substr $seed x (1 + $size / 32), 0, 1 + $size;
}

sub item {
    my ($w, $k, $n) = @_;
    my $payload = payload();
    return qq({"w":"$w","k":$k,"n":$n,"payload":"$payload","sum":") . md5_hex($payload) . '"}';
}

sub values_of {
    my ($w, $k, $n) = @_;
    my $payload = payload();
    return "('$w', $k, $n, '$payload', '" . md5_hex($payload) . "')";
}

sub one_write {
    my ($w, $n) = @_;
    my $k      = int rand 150;
    my $choice = rand;
    my $key    = qq({"w":"$w","k":$k});
    return ("SELECT cairn.put_item('items', '" . item($w, $k, $n) . "');", { "items $k" => $n }) if $choice < 0.7;
    return ("SELECT cairn.delete_item('items', '$key');", { "items $k" => undef }) if $choice < 0.85;
    my $payload = payload();
    my $set     = qq({"n":$n,"payload":"$payload","sum":") . md5_hex($payload) . '"}';
    return ("SELECT cairn.update_item('items', '$key', '$set');", { "items $k" => $n });
}

sub insert_new {
    my ($self, $w, $n, $table) = @_;
    my $k = $self->{next_key}{$w}++;
    return ("INSERT INTO $table VALUES " . values_of($w, $k, $n) . ';', { "$table $k" => $n });
}

sub operation_bare { my ($self, $w, $n) = @_; return [ one_write($w, $n) ] }

sub operation_group {
    my ($self, $w, $n) = @_;
    my ($sql, %effect) = ('BEGIN;');
    for (1 .. 2 + int rand 6) {
        my ($one, $change) = rand() < 0.7 ? one_write($w, $n) : $self->insert_new($w, $n, 'items');
        $sql .= "\n$one";
        %effect = (%effect, %$change);
    }
    return ["$sql\nCOMMIT;", \%effect];
}

sub operation_mixed {
    my ($self, $w, $n) = @_;
    my ($sql, %effect) = ('BEGIN;');
    for my $step (1 .. 2 + int rand 3) {
        my ($one, $change) = $step % 2 ? $self->insert_new($w, $n, 'ledger') : one_write($w, $n);
        $sql .= "\n$one";
        %effect = (%effect, %$change);
    }
    if (rand() < 0.3) {
        my ($undone) = $self->insert_new($w, -1, 'items');
        my ($other)  = $self->insert_new($w, -1, 'ledger');
        $sql .= "\nSAVEPOINT s;\n$undone\n$other\nROLLBACK TO s;";
    }
    return ["$sql\nCOMMIT;", \%effect];
}

# Old rows go, so that checks stay short.
sub delete_range {
    my ($w, $first, $last, $effect) = @_;
    $effect->{"items $_"} = undef for $first .. $last;
    return "SELECT count(cairn.delete_item('items', jsonb_build_object('w', '$w', 'k', k))) "
        . "FROM generate_series($first, $last) k;";
}

sub operation_copy {
    my ($self, $w, $n) = @_;
    my $count = 20 + int rand 200;
    my $first = $self->{next_key}{$w};
    my $sql   = "COPY items FROM stdin;\n";
    my %effect;
    if (rand() < 0.3 && $self->{copied}{$w}) {
        my ($low, $high) = @{ shift @{ $self->{copied}{$w} } // [ 1, 1 ] };
        return [ delete_range($w, $low, $high, \%effect), \%effect ];
    }
    for my $k ($first .. $first + $count - 1) {
        my $payload = payload();
        $sql .= join("\t", $w, $k, $n, $payload, md5_hex($payload)) . "\n";
        $effect{"items $k"} = $n;
    }
    $self->{next_key}{$w} += $count;
    push @{ $self->{copied}{$w} }, [ $first, $first + $count - 1 ];
    return [ "$sql\\.\n", \%effect ];
}

# A transaction that writes more than cairn.write_set holds.
sub operation_spill {
    my ($self, $w, $n) = @_;
    my $first = ($n % 3) * 1500;
    my $last  = $first + 1499;
    my ($sql, %effect) = ("BEGIN;\nSET LOCAL cairn.write_set = '64kB';\n");
    $sql .= delete_range($w, $first, $last, \%effect) . "\n";
    $sql .= "INSERT INTO items SELECT '$w', k, $n, p, md5(p) FROM generate_series($first, $last) k, "
        . "repeat(md5(k::text || ' $n'), 1 + k % 20) p;\n";
    $effect{"items $_"} = $n for $first .. $last;
    my ($other, $change) = $self->insert_new($w, $n, 'ledger');
    ($sql, %effect) = ("$sql$other\n", %effect, %$change) if $n % 2;
    return [ $sql . 'COMMIT;', \%effect ];
}

# Tables come and go with what is in them.
sub operation_ddl {
    my ($self, $w, $n) = @_;
    my $k     = $self->{next_key}{$w}++;
    my $count = 5 + int rand 40;
    my %effect;
    my $sql = "BEGIN;\nCREATE TABLE made_$k ($COLUMNS) USING cairn;\nCOPY made_$k FROM stdin;\n";
    for (1 .. $count) {
        my $payload = payload();
        $sql .= join("\t", $w, $_, $n, $payload, md5_hex($payload)) . "\n";
        $effect{"made_$k $_"} = $n;
    }
    $sql .= "\\.\n";
    my ($entry, $change) = $self->insert_new($w, $n, 'ledger');
    $sql .= "$entry\n";
    %effect = (%effect, %$change);
    return [ "${sql}ROLLBACK;", {} ] if rand() < 0.2;
    push @{ $self->{made} }, [ $k, $count ];
    if (@{ $self->{made} } > 4) {
        my ($old, $old_count) = @{ shift @{ $self->{made} } };
        $sql .= rand() < 0.5 ? "DROP TABLE IF EXISTS made_$old;\n" : "TRUNCATE made_$old;\n";
        $effect{"made_$old $_"} = undef for 1 .. $old_count;
    }
    return [ "${sql}COMMIT;", \%effect ];
}

sub operations {
    my ($self, $w, $count) = @_;
    my ($kind) = $w =~ /^([a-z]+)/;
    my $make = $self->can("operation_$kind") // die "no writer of kind $kind\n";
    my @list;
    for my $n (1 .. $count) {
        push @list, $self->$make($w, $self->{round} * 100_000 + $n);
    }
    return \@list;
}

# ---- running ----

# Operations in a script: more than a round can do.
our %COUNT = (bare => 3000, group => 800, mixed => 600, copy => 60, spill => 12, ddl => 60);

sub start {
    my ($self, $factor) = @_;
    $self->{round}++;
    $self->{running} = {};
    srand $self->{seed} * 1000 + $self->{round};
    # A table of an earlier round may not exist.
    $self->{made} = [];
    for my $w (@{ $self->{kinds} }) {
        my ($kind) = $w =~ /^([a-z]+)/;
        my $operations = $self->operations($w, int($COUNT{$kind} * ($factor // 1)));
        my $base = "$self->{directory}/$w.$self->{round}";
        open my $script, '>', "$base.sql" or die "$base.sql: $!\n";
        print $script "$operations->[$_][0]\n\\echo acknowledged $_\n" for 0 .. $#$operations;
        close $script;
        $self->{running}{$w} = { operations => $operations, base => $base, pid => $self->start_psql($base) };
    }
    return;
}

sub start_psql {
    my ($self, $base) = @_;
    my $connection = $self->{node}->connstr('postgres');
    my $pid        = fork // die "fork: $!\n";
    return $pid if $pid;
    open STDIN,  '<', '/dev/null';
    open STDOUT, '>', "$base.out";
    open STDERR, '>', "$base.err";
    exec 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-d', $connection, '-f', "$base.sql"
        or POSIX::_exit(127);
}

sub acknowledged {
    my ($self, $w) = @_;
    open my $out, '<', "$self->{running}{$w}{base}.out" or return 0;
    my $last = 0;
    while (my $line = <$out>) {
        $last = $1 + 1 if $line =~ /^acknowledged (\d+)$/;
    }
    return $last;
}

sub all_acknowledged {
    my ($self) = @_;
    my $sum = 0;
    $sum += $self->acknowledged($_) for @{ $self->{kinds} };
    return $sum;
}

# Until `count` more operations were acknowledged, or the writers are through.
sub run_until {
    my ($self, $count) = @_;
    my $goal = $self->all_acknowledged + $count;
    wait_until("writers have done $goal operations", sub { $self->all_acknowledged >= $goal || !$self->any_running });
    return;
}

sub any_running {
    my ($self) = @_;
    for my $running (values %{ $self->{running} }) {
        waitpid $running->{pid}, 1 or return 1;    # WNOHANG
    }
    return 0;
}

# After the crash: waits for the clients to notice. True if they met nothing but the crash.
sub finish {
    my ($self) = @_;
    my $clean = 1;
    for my $w (@{ $self->{kinds} }) {
        my $running = $self->{running}{$w};
        waitpid $running->{pid}, 0;
        my $errors = slurp_file("$running->{base}.err");
        for my $line (split /\n/, $errors) {
            next if $line !~ /(?:ERROR|FATAL|PANIC):/ || $line =~ /$LOST/;
            diag("writer $w: " . substr $line, 0, 500);
            $clean = 0;
        }
        $running->{acknowledged} = $self->acknowledged($w);
    }
    return $clean;
}

sub stop {
    my ($self) = @_;
    kill 'TERM', map { $_->{pid} } values %{ $self->{running} };
    return;
}

# ---- proof ----

sub apply {
    my ($rows, $effect) = @_;
    for my $key (keys %$effect) {
        if (defined $effect->{$key}) { $rows->{$key} = $effect->{$key} }
        else                         { delete $rows->{$key} }
    }
    return;
}

# What differs between two states, shortly; '' if nothing does.
sub difference {
    my ($want, $have) = @_;
    my @lines;
    for my $key (sort keys %{ { %$want, %$have } }) {
        my ($w, $h) = ($want->{$key} // 'absent', $have->{$key} // 'absent');
        push @lines, "$key: expected $w, found $h" if $w ne $h;
    }
    return @lines > 5 ? join("\n", @lines[ 0 .. 4 ], '... ' . (@lines - 5) . ' more') : join "\n", @lines;
}

# The rows of all tables by writer, nothing if one cannot be read; problems are added to the list.
sub read_rows {
    my ($self, $problems) = @_;
    my $node = $self->{node};
    my @tables = split /\n/,
        $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relname ~ '^(items|ledger|made_\d+)$' AND relkind = 'r'});
    my %rows;
    for my $table (@tables) {
        my ($status, $out, $err) = try_sql($node, "SELECT w, k, n, (md5(payload) = sum)::int FROM $table");
        if ($status != 0) {
            push @$problems, "reading $table: $err";
            return;
        }
        my %seen;
        for my $line (split /\n/, $out) {
            my ($w, $k, $n, $whole) = split /\|/, $line;
            push @$problems, "$table: key ($w, $k) occurs twice" if $seen{"$w $k"}++;
            push @$problems, "$table: key ($w, $k) is torn" if !$whole;
            $rows{$w}{"$table $k"} = $n;
        }
    }
    return \%rows;
}

# Item functions, sequential scan and the primary key tell the same.
sub compare_ways {
    my ($self, $problems) = @_;
    my $sql = q{
        WITH s AS MATERIALIZED (SELECT w, k, n, sum FROM items),
            f AS MATERIALIZED (SELECT i->>'w' AS w, (i->>'k')::int AS k, (i->>'n')::int AS n, i->>'sum' AS sum FROM cairn.scan('items') i)
        SELECT (SELECT count(*) FROM (SELECT * FROM s EXCEPT ALL SELECT * FROM f) d)
            + (SELECT count(*) FROM (SELECT * FROM f EXCEPT ALL SELECT * FROM s) d);
        WITH s AS MATERIALIZED (SELECT w, k, n FROM items ORDER BY md5(w || k) LIMIT 100)
        SELECT count(*) FROM s
        WHERE (cairn.get_item('items', jsonb_build_object('w', w, 'k', k)) ->> 'n') IS DISTINCT FROM n::text
            OR (SELECT i.n FROM items i WHERE i.w = s.w AND i.k = s.k) IS DISTINCT FROM s.n};
    my ($status, $out, $err) = try_sql($self->{node}, $sql);
    push @$problems, "comparing ways to read: $err" if $status != 0;
    push @$problems, "sequential scan, item functions and primary key differ: $out" if $status == 0 && $out ne "0\n0";
    return;
}

# Problems as text; empty if all is proven. What is found is what the next round begins with.
sub check {
    my ($self) = @_;
    my @problems;
    my $rows = $self->read_rows(\@problems) or return $problems[-1];
    for my $w (@{ $self->{kinds} }) {
        my $running = $self->{running}{$w};
        my $have    = $rows->{$w} // {};
        my %want    = %{ $self->{rows}{$w} // {} };
        my $done    = $running->{acknowledged};
        apply(\%want, $running->{operations}[$_][1]) for 0 .. $done - 1;
        my $first = difference(\%want, $have);
        if ($first ne '' && $done < @{ $running->{operations} }) {
            my %next = %want;
            apply(\%next, $running->{operations}[$done][1]);
            push @problems, "writer $w, $done operations acknowledged:\n$first" if difference(\%next, $have) ne '';
        } elsif ($first ne '') {
            push @problems, "writer $w, all operations acknowledged:\n$first";
        }
        $self->{rows}{$w} = $have;
    }
    for my $w (grep { !$self->{running}{$_} } keys %{ { %$rows, %{ $self->{rows} } } }) {
        my $difference = difference($self->{rows}{$w} // {}, $rows->{$w} // {});
        push @problems, "rows of nobody ($w):\n$difference" if $difference ne '';
    }
    $self->compare_ways(\@problems);
    return join "\n", @problems;
}

# Operations acknowledged in this round.
sub done {
    my ($self) = @_;
    my $sum = 0;
    $sum += $_->{acknowledged} for values %{ $self->{running} };
    return $sum;
}

1;
