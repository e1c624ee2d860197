# What tests/test_clients.py has a Perl program do: exercise.pl ADDRESS SCENARIO [ARGUMENT ...]; it prints a line for each thing that happens.
use v5.20;
use warnings;
use utf8;
use Pollprog;
use Time::HiRes qw(setitimer ITIMER_REAL);

$| = 1;
binmode STDOUT, ':encoding(UTF-8)';
my ($address, $scenario, @arguments) = @ARGV;
my $handle;

sub told { say join ' ', @_ }

sub tried {
    my ($work) = @_;
    return if eval { $work->(); 1 };
    my $error = $@;
    return told('raised', $error =~ s/\s+\z//r) unless ref $error;
    my %parameters = %{ $error->parameters };
    told('error', $error->name, map { "$_=" . $parameters{$_} =~ s/\n//gr } sort keys %parameters);
    told('text', "$error");
}

sub sum {
    my $summed = $handle->checksum(path => $arguments[0], interval => 0.1);
    told('result', @$summed{qw(digest size)});
}

my $heard = 0;
my %scenarios = (
    sum  => sub { tried(\&sum) },
    follow => sub {
        $handle->set_progress_callback(sub { told('progress', @_) });
        tried(\&sum);
        select undef, undef, undef, 0.5;    # a service that closes has closed by now
        tried(\&sum);
    },
    wait => sub {
        $handle->set_progress_callback(sub {
            told('progress', @_);
            told('busy') if $handle->busy;
            if (++$heard == 3) { open my $go, '>', $arguments[0] or die $! }
        });
        my @command = ('sh', '-c', 'until [ -e "$0" ]; do sleep 0.05; done; echo ended', $arguments[0]);
        tried(sub { told('result', $handle->run(argv => \@command, interval => '0.1')->{output} =~ s/\n//r) });
    },
    'cancel-callback' => sub {
        $handle->set_progress_callback(sub { told('progress', @_); told('cancel', $handle->cancel ? 1 : 0) if ++$heard == 2 });
        tried(\&sum);
    },
    'cancel-signal' => sub {
        local $SIG{ALRM} = sub {
            my ($total, $current) = $handle->get_progress;
            return if $current < 0;
            setitimer(ITIMER_REAL, 0);
            told('progress', $total, $current);
            $handle->cancel;
        };
        setitimer(ITIMER_REAL, 0.05, 0.05);
        tried(\&sum);
    },
    'cancel-often' => sub {
        local $SIG{ALRM} = sub { $handle->cancel };
        for (1 .. 50) {
            setitimer(ITIMER_REAL, 0.0005 + $_ / 10_000, 0.01);    # while it sends, waits, reads
            eval { $handle->checksum(path => $arguments[0]) };
            told($@->name);
        }
        setitimer(ITIMER_REAL, 0);
    },
    timeout => sub {
        $handle->set_progress_callback(sub { setitimer(ITIMER_REAL, 0.1) unless $heard++ });
        local $SIG{ALRM} = sub { die "too late\n" };
        tried(\&sum);
        states();
    },
    raise => sub {
        $handle->set_progress_callback(sub { die "from the callback\n" });
        tried(\&sum);
        states();
    },
    busy => sub {
        $handle->set_progress_callback(sub { return if $heard++; tried(\&sum); $handle->cancel });
        tried(\&sum);
    },
    command => sub { tried(sub { $handle->run(argv => ['sh', '-c', 'echo hällo; exit 3']) }) },
    wide    => sub {
        my %given = (source => $arguments[0], destination => '/ü', size => '9007199254740993', source_offset => 2**62, sparse => 1);
        tried(sub { told('result', $handle->copy_size(%given)->{size}) });
    },
    large   => sub { tried(sub { $handle->checksum(path => '/' . 'x' x 4_000_000) }) },
    refused => sub {
        tried(sub { $handle->checksum(path => "/tmp/\xff") });
        tried(sub { $handle->fill(path => '/x', size => $_) }) for '1.5', '9223372036854775808', 'inf', 'much';
        tried(sub { $handle->checksum(path => '/x', frob => 1) });
        tried(sub { $handle->checksum });
    },
);

# The newest job is over when the daemon has noticed that nobody waits for it.
sub states {
    my $job;
    do { $job = $handle->call('List', { limit => 1 })->{jobs}[0] } until $job->{ended};
    told('state', $job->{state});
}

tried(sub { $handle = Pollprog->connect($address) });
exit unless $handle;
$scenarios{$scenario}->();
told('after', $handle->get_progress);
told('nothing') unless $handle->cancel || $handle->busy;
