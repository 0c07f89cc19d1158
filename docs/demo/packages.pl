# Debian package records (RFC 822 style, on standard input) as lines for COPY ... FROM: Package, Version, and all other fields as one JSON object.
# A record that occurs twice under the same package and version is written once.
use strict;
use warnings;
use JSON::PP;

my $json = JSON::PP->new->canonical->utf8;
my %seen;
my ($rows, $limit) = (0, $ARGV[0] // 0);

sub copy_text {
    my $text = shift;
    $text =~ s/([\\\t\n\r])/$1 eq "\\" ? "\\\\" : $1 eq "\t" ? "\\t" : $1 eq "\n" ? "\\n" : "\\r"/ge;
    return $text;
}

local $/ = "";    # a paragraph is a record
while (my $record = <STDIN>) {
    utf8::decode($record) or next;
    my (%field, $name);
    for my $line (split /\n/, $record) {
        if    ($line =~ /^([A-Za-z0-9-]+):\s*(.*)$/) { $name = $1; $field{$name} = $2 }
        elsif (defined $name && $line =~ /^\s(.*)$/) { $field{$name} .= "\n$1" }
    }
    my ($package, $version) = (delete $field{Package}, delete $field{Version});
    next if !defined $package || !defined $version || $package eq '' || $version eq '' || $seen{"$package $version"}++;
    for my $number (qw(Size Installed-Size)) { $field{$number} += 0 if defined $field{$number} && $field{$number} =~ /^[0-9]+$/ }
    my $attributes = $json->encode(\%field);
    print join("\t", map { my $t = $_; utf8::encode($t) if utf8::is_utf8($t); copy_text($t) } $package, $version), "\t", copy_text($attributes), "\n";
    last if $limit && ++$rows >= $limit;
}
