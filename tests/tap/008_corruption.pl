# Damaged files are noticed, reported with file and offset, and never served; everything else goes on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use CairnTest;
use Test::More;

my $node = start_storage(new_node('corruption'));
my $cairn   = $node->data_dir . '/cairn';

# Change some bytes of a file. Returns what undoes it.
sub flip {
    my ($path, $offset, $count) = @_;
    open my $file, '+<:raw', $path or die "$path: $!\n";
    my $bytes = '';
    seek $file, $offset, 0;
    read $file, $bytes, $count;
    seek $file, $offset, 0;
    print $file $bytes ^ ("\xff" x $count);
    close $file;
    return sub {
        open my $again, '+<:raw', $path or die "$path: $!\n";
        seek $again, $offset, 0;
        print $again $bytes;
        close $again;
    };
}

# Where the text stands in a file.
sub position {
    my ($path, $text) = @_;
    return index slurp_file($path), $text;
}

# ---- the log ----

$node->safe_psql('postgres', q{CREATE TABLE t (k text PRIMARY KEY, v text) USING cairn;
    CREATE TABLE heap (k integer); INSERT INTO heap VALUES (1)});
$node->safe_psql('postgres', qq{SELECT cairn.put_item('t', '{"k": "key $_", "v": "value number $_"}')}) for 1 .. 20;
$node->stop('immediate');

my ($segment) = grep { position($_, 'value number 7') > 0 } glob "$cairn/log/*.log";
my ($name) = $segment =~ m{([^/]+)$};
my $place = position($segment, 'value number 7');
my $undo  = flip($segment, $place, 1);
my $offset = log_size($node);

$node->start;
$node->wait_for_log(qr/cairn storage could not start/, $offset);
my ($said) = log_since($node, $offset) =~ /(cairn storage could not start.*)/;
like($said, qr/log segment "$name", offset (\d+): the batch here is damaged/, 'a damaged log is refused with file and offset');
my ($told) = $said =~ /offset (\d+)/;
ok($told <= $place && $place - $told < 1000, "offset $told is that of the batch around $place");
my $error = error_of($node, q{SELECT cairn.get_item('t', '{"k": "key 1"}')});
is(state_of($error), '57P03', 'nothing is served from it');
like($error, qr/Its last start failed.*the server log says why/s, 'and the client is told where to look');
is($node->safe_psql('postgres', 'SELECT k FROM heap'), 1, 'heap tables are');
$undo->();
wait_until('mended, it starts by itself', sub { (try_sql($node, q{SELECT count(*) FROM t}))[1] eq '20' });
pass('mended, it starts without help');
is($node->safe_psql('postgres', q{SELECT cairn.get_item('t', '{"k": "key 7"}') ->> 'v'}), 'value number 7', 'with all it had');

# A missing and a shortened segment.
$node->stop('immediate');
rename $segment, "$segment.away";
$offset = log_size($node);
$node->start;
$node->wait_for_log(qr/cairn storage could not start/, $offset);
like(log_since($node, $offset), qr/cairn storage could not start.*(?:log files are missing|lost what was in its subdirectory|the file is missing)/,
    'a missing segment is refused');
isnt(error_of($node, 'SELECT count(*) FROM t'), '', 'nothing is served without it');
$node->stop('immediate');
rename "$segment.away", $segment or die "rename: $!\n";
my $size = -s $segment;
truncate $segment, $size - 8192;
$offset = log_size($node);
$node->start;
$node->wait_for_log(qr/cairn storage could not start/, $offset);
like(log_since($node, $offset), qr/log segment "$name", offset \d+: the file was shortened/, 'a shortened segment is refused');
$node->stop('immediate');
truncate $segment, $size;
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 20, 'and served when it is whole');

# ---- a table file of the items store ----

$node->safe_psql('postgres', q{CREATE TABLE big (k integer PRIMARY KEY, v text) USING cairn WITH (partition_by = 'range');
    CREATE TABLE later (k integer PRIMARY KEY, v text) USING cairn;
    INSERT INTO big SELECT k, (SELECT string_agg(md5(k || ' ' || i), '') FROM generate_series(1, 10) i) FROM generate_series(1, 20000) k;
    INSERT INTO later SELECT k, md5(k::text) FROM generate_series(1, 1000) k});
$node->stop;
my ($table) = sort { -s $b <=> -s $a } glob "$cairn/items/*.sst";
my ($file) = $table =~ m{([^/]+)$};
$undo = flip($table, int(0.3 * -s $table), 64);
$offset = log_size($node);
$node->start;

$error = error_of($node, 'SELECT count(v) FROM big');
is(state_of($error), 'XX001', 'a scan over a damaged block fails');
like($error, qr/big/, 'with the table');
like($error, qr/corrupted/, 'and says what is wrong');
wait_until('the log names the file', sub { log_since($node, $offset) =~ /\Q$file\E/ });
like(log_since($node, $offset), qr/block checksum mismatch.*\Q$file\E.*offset \d+/, 'the server log says file and offset');

# Every key by itself: an answer that is right, or XX001.
my $report = $node->safe_psql('postgres', q{
    CREATE FUNCTION probe(key integer) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE
        found text;
    BEGIN
        SELECT v INTO found FROM big WHERE k = key;
        RETURN CASE WHEN found = (SELECT string_agg(md5(key || ' ' || i), '') FROM generate_series(1, 10) i) THEN 'right' ELSE 'wrong' END;
    EXCEPTION WHEN data_corrupted THEN
        RETURN 'refused';
    END $$;
    SELECT outcome, count(*) FROM (SELECT probe(k) AS outcome FROM generate_series(1, 20000) k) p GROUP BY 1 ORDER BY 1});
my %report = $report =~ /^(\w+)\|(\d+)$/mg;
is($report{wrong} // 0, 0, 'no key of a damaged block is answered wrongly');
cmp_ok($report{refused} // 0, '>', 0, "its keys are refused ($report{refused})") if $report{refused};
cmp_ok($report{right}, '>', 19000, "those of other blocks are served ($report{right})");
is($node->safe_psql('postgres', 'SELECT count(*) FROM later'), 1000, 'other tables are served');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 20, 'all of them');
is(error_of($node, q{INSERT INTO later VALUES (0, 'new')}), '', 'and written');
is($node->safe_psql('postgres', 'SELECT k FROM heap'), 1, 'heap tables too');

$node->stop;
$undo->();
$node->start;
is($node->safe_psql('postgres', 'SELECT count(v) FROM big'), 20000, 'mended, everything is there');

# The whole file is lost, or cut in half.
for my $how ('lost', 'shortened') {
    $node->stop;
    ($table) = sort { -s $b <=> -s $a } glob "$cairn/items/*.sst"; # a compaction may have made another
    ($file) = $table =~ m{([^/]+)$};
    my $whole = -s $table;
    rename $table, "$table.away" or die "rename: $!\n";
    if ($how eq 'shortened') {
        system('cp', '-p', "$table.away", $table) == 0 or die "copy failed\n";
        truncate $table, int($whole / 2);
    }
    $offset = log_size($node);
    $node->start;
    # It has the store's own range too, without which there is no start. Files without that: test_sb_rocks_damage.c.
    $error = error_of($node, 'SELECT count(v) FROM big');
    is(state_of($error), '57P03', "a table file is $how: nothing is served");
    like(log_since($node, $offset), qr/cairn storage could not start: .*\Q$file\E/, "$how: the server log names the file");
    $node->stop;
    rename "$table.away", $table or die "rename: $!\n";
    $node->start;
    is($node->safe_psql('postgres', 'SELECT count(v) FROM big'), 20000, "$how: put back, everything is there");
}

# ---- its manifest ----

$node->stop;
my ($manifest) = glob "$cairn/items/MANIFEST-*";
$undo = flip($manifest, int(0.5 * -s $manifest), 1);
$offset = log_size($node);
$node->start;
$node->wait_for_log(qr/cairn storage could not start/, $offset);
like(log_since($node, $offset), qr/cairn storage could not start: Corruption.*MANIFEST/, 'a damaged manifest is refused by name');
is(state_of(error_of($node, 'SELECT count(*) FROM t')), '57P03', 'nothing is served');
$undo->();
wait_until('mended, it starts', sub { (try_sql($node, 'SELECT count(*) FROM big'))[1] eq '20000' });
pass('mended, it starts without help');
$node->stop;
done_testing();
