# What is measured: the statements of each operation by contender and entrance, and the workloads made of them.
package BenchWorkloads;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(workload workload_names contenders scripts_of create_table);

my $key = q{'user' || :k::text};

# {t} is the table. Entrance "item": jsonb in and out on both sides. Entrance "sql": columns.
# The key's expression and the values are the same for both contenders, so that they add the same to both.
my %statement = (
    read => {
        heap_item  => qq{SELECT to_jsonb(t) FROM {t} t WHERE key = $key;},
        cairn_item => qq{SELECT cairn.get_item('{t}', jsonb_build_object('key', $key));},
        sql        => qq{SELECT * FROM {t} WHERE key = $key;},
    },
    update => {
        heap  => qq{UPDATE {t} SET field0 = bench_field(:s, 0) WHERE key = $key;},
        cairn => qq{SELECT cairn.update_item('{t}', jsonb_build_object('key', $key), }
            . q{jsonb_build_object('field0', bench_field(:s, 0)));},
    },
    insert => {
        heap_item  => qq{INSERT INTO {t} SELECT * FROM jsonb_populate_record(NULL::{t}, bench_item($key, :s));},
        cairn_item => qq{SELECT cairn.put_item('{t}', bench_item($key, :s));},
        sql        => qq{INSERT INTO {t} VALUES ($key, } . join(', ', map {"bench_field(:s, $_)"} 0 .. 9) . q{);},
    },
    scan => {
        heap_item  => qq{SELECT to_jsonb(t) FROM {t} t WHERE key > $key ORDER BY key LIMIT 100;},
        cairn_item => qq{SELECT cairn.scan('{t}', 100, jsonb_build_object('key', $key));},
        sql        => qq{SELECT * FROM {t} WHERE key > $key ORDER BY key LIMIT 100;},
    },
);

# Choice of the item's number. YCSB's zipfian constant is 0.99; pgbench's must be above 1.
my %choice = (
    uniform => q{\set i random(1, :items)},
    zipfian => q{\set i random_zipfian(1, :items, 1.01)},

    # The newest most often: first what this client has inserted itself, behind it what was loaded.
    latest => qq{\\set r random_zipfian(1, :items, 1.01)\n}
        . q{\set i case when :r <= :n then :base + (:n - :r) * :clients + :client_id else :items - (:r - :n) + 1 end},

    # A number that no client has used in this run or an earlier one; the driver sets :base and :clients, :n begins at 0.
    fresh => qq{\\set i :base + :n * :clients + :client_id\n} . q{\set n :n + 1},
);
my $hash = q{\set k abs(hash(:i, 0))};
my $seed = q{\set s random(1, 1000000000000000)};

# name => [title, table, [operation, weight, choice or '' for the measurement's distribution]...]; writes: the operations
# that count as writes.
my %workload = (
    C         => ['C: reads, freshly loaded',    'items',  ['read', 100, '']],
    A         => ['A: reads 50, updates 50',     'items',  ['read', 50,  ''], ['update', 50, '']],
    B         => ['B: reads 95, updates 5',      'items',  ['read', 95,  ''], ['update', 5,  '']],
    F         => ['F: reads 50, read-modify-write 50', 'items', ['read', 50, ''], ['read+update', 50, '']],
    update    => ['updates only',                'items',  ['update', 100, '']],
    'C-after' => ['C: reads, after the updates', 'items',  ['read', 100, '']],
    D         => ['D: reads of latest 95, inserts 5',  'items', ['read', 95, 'latest'], ['insert', 5, 'fresh']],
    E         => ['E: scans of 100 95, inserts 5',     'range', ['scan', 95, ''],       ['insert', 5, 'fresh']],
    insert    => ['inserts only',                'insert', ['insert', 100, 'fresh']],
);
# In the order in which they run: reads of what is freshly loaded come first.
my @order = qw(C E A B F update C-after D insert);

sub workload_names { return @order }

sub workload {
    my ($name) = @_;
    my $w = $workload{$name} or die "unknown workload \"$name\": the workloads are @order\n";
    my ($title, $table, @parts) = @$w;
    my $own = grep { $_->[2] eq '' } @parts;
    return {name => $name, title => $title, table => $table, parts => \@parts, distributed => $own};
}

# Each measurement of a workload: two entrances, and in each of them the contenders in turn; the first is the ratio's base.
sub contenders {
    my ($workload) = @_;
    my @heaps = $workload->{table} eq 'range' ? ('heap', 'heap in key order') : ('heap');
    my @all;
    for my $entrance (qw(item sql)) {
        push @all, {name => $_, store => 'heap', entrance => $entrance} for @heaps;
        push @all, {name => 'cairn', store => 'cairn', entrance => $entrance};
    }
    return @all;
}

sub table_of {
    my ($workload, $contender) = @_;
    return 'heap_ordered' if $contender->{name} eq 'heap in key order';
    return 'heap_items' if $contender->{store} eq 'heap' && $workload->{table} eq 'range';
    return "$contender->{store}_$workload->{table}";
}

# The text of one pgbench script per part, with its weight.
sub scripts_of {
    my ($workload, $contender, $distribution) = @_;
    my $table = table_of($workload, $contender);
    my @scripts;
    for my $part (@{$workload->{parts}}) {
        my ($operations, $weight, $choice) = @$part;
        my @lines = ($choice{$choice || $distribution}, $hash);
        push @lines, $seed if $operations =~ /update|insert/;
        for my $operation (split /\+/, $operations) {
            my $s = $statement{$operation};
            my ($store, $entrance) = @$contender{qw(store entrance)};
            my $sql = $s->{"${store}_$entrance"} // $s->{$entrance} // $s->{$store};
            push @lines, $sql =~ s/\{t\}/$table/gr;
        }
        push @scripts, {text => join("\n", @lines) . "\n", weight => $weight, writes => $operations =~ /update|insert/ ? 1 : 0};
    }
    return @scripts;
}

# The same columns everywhere. Cairn orders text keys by bytes; the heap's key gets the same, cheaper order.
sub create_table {
    my ($table, $store) = @_;
    my $columns = join ', ', map {"field$_ text"} 0 .. 9;
    my $with = $table eq 'cairn_range' ? " WITH (partition_by = 'range')" : '';
    return qq{CREATE TABLE $table (key text COLLATE "C" PRIMARY KEY, $columns)} . ($store eq 'cairn' ? " USING cairn$with" : '');
}

1;
