# Power failures: servers under the interposer (poweroff/), and what their disk holds afterwards.
package Poweroff;

use strict;
use warnings;

use CairnTest;
use Cwd ();
use File::Path ();

# The record lies beside the data directory; names below "cairn" are durable only when their directory was synced.
sub new {
    my ($class, $node) = @_;
    my $tools = $ENV{CAIRN_INTERPOSER} // die "CAIRN_INTERPOSER: the directory of poweroff.so\n";
    my $self  = bless {
        node    => $node,
        tool    => "$tools/poweroff_apply",
        library => "$tools/poweroff.so",
        root    => Cwd::realpath($node->data_dir)
    }, $class;

    $self->{dir} = "$self->{root}.record";
    mkdir $self->{dir} or die "$self->{dir}: $!\n";
    return $self;
}

sub run_tool {
    my ($self, @arguments) = @_;
    open my $pipe, '-|', $self->{tool}, @arguments or die "$self->{tool}: $!\n";
    my @lines = <$pipe>;
    close $pipe;
    return ($? >> 8, @lines);
}

sub must_run {
    my ($self, @arguments) = @_;
    my ($status, @lines) = $self->run_tool(@arguments);
    die "poweroff_apply @arguments failed\n" if $status != 0;
    return @lines;
}

# Begin a record of the server, which is stopped, and start it. options: skip => pattern, full => pattern, error => errno, fail_ok.
sub start {
    my ($self, %options) = @_;
    $self->must_run('snapshot', $self->{root}, $self->{dir});
    return $self->start_again(%options);
}

# As above, and the record goes on.
sub start_again {
    my ($self, %options) = @_;
    local %ENV = (
        %ENV,
        LD_PRELOAD          => $self->{library},
        CAIRN_POWEROFF_ROOT => $self->{root},
        CAIRN_POWEROFF_DIR  => $self->{dir},
        ($options{skip} ? (CAIRN_POWEROFF_SKIP => $options{skip}) : ()),
        ($options{full} ? (CAIRN_POWEROFF_FULL => $options{full}) : ()),
        ($options{error} ? (CAIRN_POWEROFF_ERROR => $options{error}) : ())
    );
    return $self->{node}->start(fail_ok => $options{fail_ok});
}

# Bytes that the limited files may still grow by; -1: no limit.
sub set_room {
    my ($self, $bytes) = @_;
    open my $control, '+<', "$self->{dir}/control" or die "control: $!\n";
    seek $control, 8, 0;
    syswrite $control, pack 'q', $bytes;
    close $control;
    return;
}

# The disk as a failure with this seed leaves it, in a directory of its own.
sub make_disk {
    my ($self, $seed) = @_;
    my $disk = "$self->{root}.disk";
    File::Path::remove_tree($disk);
    $self->must_run('crash', $self->{dir}, $disk, $seed, 'cairn');
    unlink "$disk/postmaster.pid";
    return $disk;
}

# Files of the killed server whose contents the record does not give exactly.
sub differences {
    my ($self) = @_;
    my $disk = $self->make_disk('all');
    my ($status, @lines) = $self->run_tool('verify', $self->{root}, $disk);
    chomp @lines;
    return @lines;
}

# The power fails: every process is killed, the data directory becomes what the disk holds.
sub fail {
    my ($self, $seed) = @_;
    kill_everything($self->{node});
    my $disk = $self->make_disk($seed);
    File::Path::remove_tree($self->{root});
    rename $disk, $self->{root} or die "rename $disk: $!\n";
    return;
}

# Keep the data directory of the stopped server, and bring it back.
sub keep {
    my ($self) = @_;
    system('cp', '-a', $self->{root}, "$self->{root}.kept") == 0 or die "copy of $self->{root} failed\n";
    return;
}

sub bring_back {
    my ($self) = @_;
    File::Path::remove_tree($self->{root});
    system('cp', '-a', "$self->{root}.kept", $self->{root}) == 0 or die "copy of $self->{root}.kept failed\n";
    return;
}

1;
