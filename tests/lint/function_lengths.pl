# Functions longer than the limit, in files laid out by clang-format: a function's brace opens and closes in column 0.
# Exempt is a function that is mostly one switch or table. usage: function_lengths.pl LIMIT FILE...
use strict;
use warnings;
my $limit = shift @ARGV;
my $bad   = 0;
for my $file (@ARGV) {
    open my $in, '<', $file or die "$file: $!\n";
    my ($start, $name, $previous, $cases) = (0, '', '', 0);
    while (my $line = <$in>) {
        if ($line =~ /^\{/ && $previous =~ /\)\s*$/) { ($start, $name, $cases) = ($., $previous, 0) }
        $cases++ if $start && $line =~ /^\s*(case\b|default:)/;
        if ($line =~ /^\}/ && $start) {
            my $length = $. - $start - 1;
            if ($length > $limit && $cases < 8) {
                $name =~ s/\s+$//;
                print "lint: $file:$start: function of $length lines: $name\n";
                $bad = 1;
            }
            $start = 0;
        }
        $previous = $line if $line =~ /\S/;
    }
    close $in;
}
exit $bad;
