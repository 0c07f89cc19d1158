# The table, the goals and the JSON.
package BenchReport;
use strict;
use warnings;
use JSON::PP ();
use Exporter 'import';
our @EXPORT_OK = qw(median print_cells print_pairs print_written print_limits goals write_json);

sub median {
    my @sorted = sort { $a <=> $b } grep {defined} @_;
    return undef unless @sorted;
    my $middle = int(@sorted / 2);
    return @sorted % 2 ? $sorted[$middle] : ($sorted[$middle - 1] + $sorted[$middle]) / 2;
}

sub number {
    my ($value, $digits) = @_;
    return defined $value ? sprintf("%.${digits}f", $value) : '-';
}

my $line_format = "%-34s %-8s %7s %-5s %-18s %9s %9s %9s %7s %8s %7s\n";

# A cell is one line: medians over its rounds. Contenders of one entrance follow each other, the base first.
sub print_cells {
    my ($cells) = @_;
    my $before = '';
    printf $line_format, 'workload', 'keys', 'clients', 'via', 'contender', 'tps', 'p50 ms', 'p99 ms', 'ratio', 'CPU us', 'CPU';
    for my $c (@$cells) {
        my $group = "$c->{title} $c->{distribution} $c->{clients}";
        print "\n" if $group ne $before;
        $before = $group;
        if ($c->{error}) {
            printf "%-34s %-8s %7d %-5s %-18s failed: %s\n", $c->{title}, $c->{distribution}, $c->{clients}, $c->{entrance}, $c->{contender}, $c->{error};
            next;
        }
        printf $line_format, $c->{title}, $c->{distribution}, $c->{clients}, $c->{entrance}, $c->{contender},
            number($c->{tps}, 0), number($c->{p50_ms}, 3), number($c->{p99_ms}, 3), number($c->{ratio}, 2), number($c->{cpu_us}, 1), number($c->{cpu_ratio}, 2);
    }
}

# What is compared in one figure: load and size.
sub print_pairs {
    my ($pairs) = @_;
    printf "%-48s %14s %14s %7s\n", '', 'heap', 'cairn', 'ratio';
    for my $p (@$pairs) {
        printf "%-48s %14s %14s %7s\n", $p->{title}, number($p->{heap}, 0), number($p->{cairn}, 0), number($p->{ratio}, 2);
    }
}

sub print_written {
    my ($phases) = @_;
    printf "%-12s %-6s %10s %8s %8s %10s %8s\n", 'writes', 'store', 'user MB', 'log', 'flushed', 'compacted', 'sum';
    for my $p (@$phases) {
        my @per = map { $p->{user} ? $p->{$_} / $p->{user} : undef } qw(log flushed compacted);
        my $sum = $p->{user} ? ($p->{log} + $p->{flushed} + $p->{compacted}) / $p->{user} : undef;
        printf "%-12s %-6s %10s %8s %8s %10s %8s\n", $p->{phase}, $p->{store}, number($p->{user} / 1e6, 1), map { number($_, 2) } @per, $sum;
    }
}

sub print_limits {
    my ($limits) = @_;
    printf "%-34s %9s %9s %9s %9s\n", '', 'per s', 'p50 us', 'p99 us', 'CPU us';
    for my $l (@$limits) {
        my $title = $l->{operation} eq 'get' ? "gets by $l->{size} threads" : "puts, synced in batches of $l->{size}";
        printf "%-34s %9s %9s %9s %9s\n", $title, number($l->{per_s}, 0), number($l->{p50_us}, 1), number($l->{p99_us}, 1), number($l->{cpu_us}, 2);
    }
}

# [text, figure, bound, whether it is met]
sub goals {
    my ($cells, $pairs, $memory) = @_;
    my @goals;
    my $cell_goal = sub {
        my ($workload, $clients, $least, $text) = @_;
        for my $c (grep { $_->{workload} eq $workload && $_->{contender} eq 'cairn' && defined $_->{ratio} && $clients->($_->{clients}) } @$cells) {
            push @goals, {goal => "$text, $c->{entrance}, $c->{distribution}, $c->{clients} clients", figure => $c->{ratio}, least => $least, met => $c->{ratio} >= $least ? 1 : 0};
        }
    };
    my $many = sub { $_[0] == 16 || $_[0] == 32 };
    my $one  = sub { $_[0] == 1 };
    $cell_goal->('C',      sub {1}, 0.65, 'point reads');
    $cell_goal->('update', $many,   1.2,  'durable updates');
    $cell_goal->('update', $one,    0.8,  'durable updates');
    $cell_goal->('insert', $many,   1.0,  'durable inserts');
    $cell_goal->('insert', $one,    0.8,  'durable inserts');
    $cell_goal->('E',      sub {1}, 1.0,  'scans of 100');
    for my $p (grep { defined $_->{ratio} } @$pairs) {
        push @goals, {goal => $p->{title}, figure => $p->{ratio}, least => $p->{least}, met => $p->{ratio} >= $p->{least} ? 1 : 0} if $p->{least};
        push @goals, {goal => $p->{title}, figure => $p->{ratio}, most => $p->{most}, met => $p->{ratio} <= $p->{most} ? 1 : 0} if $p->{most};
    }
    my $share = $memory->{peak_mb} / $memory->{bound_mb};
    push @goals, {goal => 'peak memory of the storage process, share of its bound', figure => $share, most => 1, met => $share <= 1 ? 1 : 0};
    return \@goals;
}

sub write_json {
    my ($path, $report) = @_;
    open my $file, '>', $path or die "$path: $!\n";
    print $file JSON::PP->new->canonical->pretty->encode($report);
    close $file or die "$path: $!\n";
}

1;
