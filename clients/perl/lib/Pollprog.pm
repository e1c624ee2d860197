package Pollprog;

use v5.20;
use warnings;

use JSON::PP ();
use Scalar::Util qw(looks_like_number);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use Pollprog::Operations;

our $VERSION = '0.1.0';

use constant INTERFACE => 'org.pollprog.operations';
use constant PATIENCE  => 5;                           # seconds for what is answered at once: connecting, Cancel
use constant LONGEST   => 107;                         # bytes of the path of a socket (unix(7))

my $json = JSON::PP->new->utf8->canonical;

# --- the handle

sub connect {
    my ($class, $address) = @_;
    my $path = _path($address);
    return bless { path => $path, progress => [-1, -1], connection => Pollprog::Connection->new($path) }, $class;
}

sub close { delete $_[0]{connection}; return }

sub set_progress_callback { my ($self, $callback) = @_; $self->{callback} = $callback; return }

sub get_progress { return @{ $_[0]{progress} } }

sub get_status { return $_[0]{status} }

sub busy { return !!$_[0]{running} }

sub call {
    my ($self, $method, $parameters) = @_;
    Pollprog::Error->throw('Busy', 'a call runs on this handle already: make it on another one') if $self->busy;
    my %sent = %{ $parameters // {} };
    $sent{job} //= _fresh_job() unless $Pollprog::Operations::CONTROL{$method};    # those take other parameters
    my $message = _message($method, \%sent);

    # All of these end with this scope, however it is left. A connection that is not put back is closed, and the daemon then
    # cancels what ran on it.
    my $connection = delete $self->{connection};
    $connection = Pollprog::Connection->new($self->{path}) unless $connection && $connection->usable;
    local $self->{running}  = { stop => defined $sent{job} && _message('Cancel', { job => $sent{job} }) };
    local $self->{progress} = [-1, -1];
    $self->{status} = undef;

    $connection->send($message);
    while (1) {
        $self->_see_to_stop($self->{running}) if $self->{running}{cancel};
        my ($status, $answer);
        my @messages = $connection->receive;
        while (@messages && !$answer) {
            my $reply = _reply(shift @messages);
            if   ($reply->{continues}) { $status = _status($reply) }    # the newest of those that have come
            else                       { $answer = $reply }
        }
        $self->_tell($status) if $status;
        next unless $answer;
        $self->{connection} = $connection if !@messages && $connection->usable;
        die Pollprog::Error->from_reply($answer) if defined $answer->{error};
        return $answer->{parameters}{result} // $answer->{parameters};
    }
}

sub cancel {
    my ($self) = @_;
    my $running = $self->{running};
    return !!0 unless $running && $running->{stop};
    local ($!, $@);    # this may be a signal handler
    $running->{cancel} = 1;
    $self->_say_stop($running);
    return !!1;
}

# The call itself keeps the connection busy, so this goes over another one. JSON::PP cannot be interrupted by itself: what a signal
# handler may run neither encodes nor decodes.
sub _say_stop {
    my ($self, $running) = @_;
    my $connection = Pollprog::Connection->new($self->{path});
    my $until      = clock_gettime(CLOCK_MONOTONIC) + PATIENCE;
    $connection->send($running->{stop}, $until);
    my @messages;
    until (@messages = $connection->receive) { $connection->check($until) }
    $running->{heard} = $messages[0];
    return;
}

# The daemon may not have known the job yet: then `cancel` stays set, and it is told again.
sub _see_to_stop {
    my ($self, $running) = @_;
    $self->_say_stop($running) unless defined $running->{heard};
    my $reply = _reply(delete $running->{heard});
    my $error = defined $reply->{error} ? Pollprog::Error->from_reply($reply) : undef;
    return if $error && $error->name eq 'NoSuchJob';
    $running->{cancel} = 0;
    die $error if $error && $error->name ne 'JobOver';
    return;
}

sub _tell {
    my ($self, $status) = @_;
    $self->{status} = $status;
    return unless defined $status->{current};    # nobody has looked yet
    $self->{progress} = [$status->{total} // -1, $status->{current}];
    $self->{callback}->($self->get_progress) if $self->{callback};
    return;
}

# --- what is said

while (my ($name, $operation) = each %Pollprog::Operations::OPERATIONS) {
    my ($method, $kinds) = @$operation{qw(method kinds)};
    no strict 'refs';    ## no critic (ProhibitNoStrict) - one method for each operation
    *$name = sub {
        my ($self, %given) = @_;
        my %sent;
        for my $parameter (grep { defined $given{$_} } keys %given) {
            my $kind = $kinds->{$parameter} // _usage("$name has no parameter $parameter");
            $sent{$parameter} = _value($kind, "$name: $parameter", $given{$parameter});
        }
        return $self->call($method, \%sent);
    };
}

sub _usage { Pollprog::Error->throw('UsageError', $_[0]) }

# A value as JSON::PP sends it as what the operation takes, whether it came as a number or as a string.
sub _value {
    my ($kind, $what, $value) = @_;
    if ($kind eq 'boolean') { return $value ? JSON::PP::true() : JSON::PP::false() }
    if ($kind eq 'strings') {
        return [map { _text($what, $_) } @$value] if ref $value eq 'ARRAY';
        _usage("$what has to be a reference to an array");
    }
    if ($kind eq 'map') {
        _usage("$what has to be a reference to a hash") unless ref $value eq 'HASH';
        return { map { _text($what, $_) } %$value };
    }
    return _text($what, $value) unless $kind eq 'integer' || $kind eq 'number';
    _usage("$what has to be a number") unless looks_like_number($value) && $value * 0 == 0;
    return 0 + $value if $kind eq 'number';
    my $integer = sprintf '%d', $value;
    _usage("$what has to be an integer of 64 bits") unless $integer == $value;
    return 0 + $integer;
}

# Text as a system call takes it: a string that was decoded as its characters, another one as bytes of UTF-8.
sub _text {
    my ($what, $text) = @_;
    utf8::encode($text) if utf8::is_utf8($text);
    return $text if utf8::decode($text) && $text !~ /[^\x{0}-\x{d7ff}\x{e000}-\x{10ffff}]/;
    return _usage("$what is not UTF-8, and nothing else can be sent");
}

sub _message {
    my ($method, $parameters) = @_;
    my %call = (method => INTERFACE . ".$method", parameters => $parameters, more => JSON::PP::true());
    return $json->encode(\%call) . "\0";
}

sub _reply {
    my ($message) = @_;
    my $reply = eval { local $SIG{__DIE__}; $json->decode($message) };
    die $@ if !$reply && $@ && $@ !~ / at \Q${\__FILE__}\E line /;    # a signal handler's own
    my $fit = ref $reply eq 'HASH' && ref($reply->{parameters} //= {}) eq 'HASH' && !ref $reply->{error};
    return $reply if $fit && !($reply->{continues} && defined $reply->{error});
    Pollprog::Error->throw('ProtocolError', 'what came is not a Varlink reply');
}

sub _status {
    my ($reply) = @_;
    my $status = $reply->{parameters}{status};
    Pollprog::Error->throw('ProtocolError', 'a message that continues has no status') unless ref $status eq 'HASH';
    for my $number (grep { defined } @$status{qw(total current)}) {
        Pollprog::Error->throw('ProtocolError', 'a status does not count in integers') if $number !~ /\A-?[0-9]{1,19}\z/;
    }
    my ($total, $current) = @$status{qw(total current)};
    delete $status->{total} if defined $total && $total <= 0;
    if (defined $current) {
        $current = $total if defined $status->{total} && $current > $total;
        $status->{current} = $current < 0 ? 0 : $current;
    }
    return $status;
}

sub _fresh_job {
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!";
    sysread $random, my $bytes, 8;
    return "perl-$$-" . unpack 'H*', $bytes;
}

# --- where the daemon is

sub _path {
    my ($address) = grep { length } $_[0] // '', $ENV{POLLPROG_ADDRESS} // '';
    my $path = $address // _default_path();
    _usage("'$path' is no address that can be reached from here: it has to be like unix:/run/pollprog/sock")
        unless $path =~ s{\A(?:unix:)?(?=/)}{} && $path !~ /\0/;
    utf8::encode($path) if utf8::is_utf8($path);
    _usage("'$path' is too long: the path of a socket has ${\LONGEST} bytes at most") if length $path > LONGEST;
    return $path;
}

sub _default_path {
    my $runtime = $ENV{XDG_RUNTIME_DIR} // '';
    my $owner   = (stat $runtime)[4];
    return "$runtime/pollprog/sock" if $runtime =~ m{\A/} && (!defined $owner || $owner == $>);    # not another user's, after sudo
    return "/run/user/$>/pollprog/sock" if -d "/run/user/$>";
    my $directory = "/tmp/pollprog-$>";    # anybody could have made it
    (my $mode, $owner) = (lstat $directory)[2, 4];
    return "$directory/sock" if !defined $mode || $owner == $> && -d _ && !($mode & 022);
    Pollprog::Error->throw('Unreachable', "$directory belongs to somebody else: name the daemon's address");
}

package Pollprog::Connection;    # one stream: messages out, messages in

use Errno qw(EAGAIN EINTR);
use Socket qw(AF_UNIX MSG_DONTWAIT MSG_NOSIGNAL MSG_PEEK SOCK_STREAM SOL_SOCKET SO_RCVTIMEO SO_SNDTIMEO pack_sockaddr_un);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use constant LIMIT => 64 << 20;                          # bytes that a message may have
use constant TICK  => pack 'l!l!', 0, 500_000;           # no wait in the kernel is longer, so no signal waits longer to be handled

sub new {
    my ($class, $path) = @_;
    my $self = bless { path => $path, unread => '', searched => 0 }, $class;
    my $until = clock_gettime(CLOCK_MONOTONIC) + Pollprog::PATIENCE;
    socket $self->{socket}, AF_UNIX, SOCK_STREAM, 0 or die "socket: $!";
    setsockopt $self->{socket}, SOL_SOCKET, $_, TICK for SO_RCVTIMEO, SO_SNDTIMEO;
    until (CORE::connect $self->{socket}, pack_sockaddr_un($path)) {
        my $reason = $!;
        next if ($reason == EINTR || $reason == EAGAIN) && clock_gettime(CLOCK_MONOTONIC) < $until;
        Pollprog::Error->throw('Unreachable', "nobody answers at unix:$path: $reason", address => "unix:$path");
    }
    return $self;
}

sub send {
    my ($self, $bytes, $until) = @_;
    while (length $bytes) {
        my $sent = CORE::send $self->{socket}, $bytes, MSG_NOSIGNAL;
        if    (defined $sent)                     { substr $bytes, 0, $sent, '' }
        elsif ($! == EINTR || $! == EAGAIN)       { $self->check($until) }
        else                                      { $self->lost($!) }
    }
    return;
}

# Every whole message that has come; none after a tick or a signal.
sub receive {
    my ($self) = @_;
    my $count = sysread $self->{socket}, $self->{unread}, 1 << 16, length $self->{unread};
    if (!$count) {
        return if !defined $count && ($! == EINTR || $! == EAGAIN);
        $self->lost(defined $count ? '' : $!);
    }
    my @messages;
    while ((my $end = index $self->{unread}, "\0", $self->{searched}) >= 0) {
        push @messages, substr $self->{unread}, 0, $end;
        substr $self->{unread}, 0, $end + 1, '';
        $self->{searched} = 0;
    }
    $self->{searched} = length $self->{unread};
    Pollprog::Error->throw('ProtocolError', 'a message without an end') if $self->{searched} > LIMIT;
    return @messages;
}

# Whether another call can be made on it: it is still there, and nothing came that nobody asked for.
sub usable {
    my ($self) = @_;
    return !length $self->{unread} && !defined recv($self->{socket}, my $byte, 1, MSG_PEEK | MSG_DONTWAIT);
}

sub check {
    my ($self, $until) = @_;
    return if !defined $until || clock_gettime(CLOCK_MONOTONIC) < $until;
    Pollprog::Error->throw('Unreachable', "no answer from unix:$self->{path}", address => "unix:$self->{path}");
}

sub lost {
    my ($self, $reason) = @_;
    my $text = "the connection to unix:$self->{path} ended before the reply came" . ($reason ? ": $reason" : '');
    Pollprog::Error->throw('ConnectionLost', $text, address => "unix:$self->{path}");
}

package Pollprog::Error;

use overload '""' => sub { $_[0]{message} }, bool => sub { 1 }, fallback => 1;

while (my ($name, $base) = each %Pollprog::Operations::ERRORS) {
    no strict 'refs';    ## no critic (ProhibitNoStrict) - one class for each error
    @{"Pollprog::Error::${name}::ISA"} = $base eq 'PollprogError' ? __PACKAGE__ : "Pollprog::Error::$base";
}

sub name       { return $_[0]{name} }
sub message    { return $_[0]{message} }
sub parameters { return $_[0]{parameters} }

sub throw {
    my ($class, $name, $message, %parameters) = @_;
    die $class->_new($name, $message, \%parameters);
}

sub from_reply {
    my ($class, $reply) = @_;
    my ($name, $parameters) = ($reply->{error}, { %{ $reply->{parameters} } });
    my $message = delete $parameters->{message};
    $name =~ s/\A(?:\Q${\Pollprog::INTERFACE}\E|org\.varlink\.service)\.(?=\w+\z)//;
    if (!defined $message || ref $message) {
        $message = join ' ', "the service answered with $name", map { "$_=" . ($parameters->{$_} // '') } sort keys %$parameters;
    }
    return $class->_new($name, $message, $parameters);
}

sub _new {
    my ($class, $name, $message, $parameters) = @_;
    $message = substr $message, 0, 2000;
    $message =~ s/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/\x{fffd}/g;    # one line, whoever wrote it
    my $self = { name => $name, message => $message, parameters => $parameters };
    return bless $self, exists $Pollprog::Operations::ERRORS{$name} ? "Pollprog::Error::$name" : $class;
}

1;

__END__

=encoding UTF-8

=head1 NAME

Pollprog - run long operations in a pollprog daemon, and learn how far they are

=head1 SYNOPSIS

    use Pollprog;

    my $handle = Pollprog->connect;
    $handle->set_progress_callback(sub {
        my ($total, $current) = @_;
        printf STDERR "%d of %d bytes\n", $current, $total;
    });
    local $SIG{INT} = sub { $handle->cancel };
    my $copied = eval { $handle->copy_file(source => '/srv/a.img', destination => '/srv/b.img') };
    if (ref $@ && $@->isa('Pollprog::Error::Cancelled')) { warn "stopped, after $@->{parameters}{written} bytes\n" }
    elsif ($@)                                           { die $@ }

=head1 METHODS

Each operation is a method with named parameters: L<Pollprog::Operations> lists them. It waits for the end of the operation and
returns its result: a reference to a hash, empty for one that has none. Beside its own parameters each operation takes C<job>, the
name of the job, and C<interval>, seconds between two statuses. Numbers may be given as strings. Text is taken as a system call
takes it: a string that was decoded as its characters, another one as bytes, which have to be UTF-8. Text that is returned was decoded.

=head2 Pollprog->connect($address)

The handle. The address is C<unix:PATH> or a path; without one C<$POLLPROG_ADDRESS>, or the socket of this user's own daemon.

=head2 $handle->set_progress_callback($code)

Calls C<< $code->($total, $current) >> during each call: not before the daemon's first delay (a second), then once an interval. The
total is -1 while nobody knows it. One that is slow gets the newest, not every one. undef clears it. If it dies, so does the call,
and the daemon cancels the work. Another call from inside it has to be made on another handle.

=head2 $handle->get_progress

The newest ($total, $current), at once: (-1, -1) where no call runs, or none was told yet. During a call a program with one thread is
asked by its own signal handlers, so that is where it is of use:

    use Time::HiRes qw(setitimer ITIMER_REAL);
    local $SIG{ALRM} = sub { my ($total, $current) = $handle->get_progress; ... };
    setitimer(ITIMER_REAL, 0.5, 0.5);

A child of fork has a copy as of then, which does not change, and must not use the handle.

=head2 $handle->get_status

The newest status whole, as a reference to a hash (unit, phase, rate, remaining, ...): it stays until the next call. undef before the first.

=head2 $handle->cancel

Asks the daemon to stop what runs, over a second connection; for the callback and for signal handlers. Returns true if something ran.
The call then ends with C<Cancelled>, when the work has really ended.

=head2 $handle->busy

True while a call runs.

=head2 $handle->call($method, \%parameters)

Any method by its name on the wire, with parameters as JSON::PP would send them: other operations, of the daemon's configuration, and
C<List>, C<Get>, C<Follow>, C<Submit>, C<Cancel>, C<Pause>, C<Resume>, C<Describe>. Returns the result, or all of a reply that has none.

=head2 $handle->close

Closes the connection. A later call opens another, as it does after one that was lost.

=head1 SIGNALS

A handler runs at once, during a call too. One that dies ends the call: the connection is closed, and the daemon cancels the work. So
the usual C<alarm> with C<die> in an C<eval> limits the time of a call.

=head1 ERRORS

What goes wrong is thrown as an object: C<name>, as in C<NoSuchFile>; C<parameters>, a reference to a hash; C<message>, one line,
which is also what it is as a string. Its class is C<Pollprog::Error::NAME>, which inherits as F<pollprog/errors.py> says: C<NoSpace> from
C<OperationFailed> from C<OperationError> from C<Pollprog::Error>. An error of another interface has its whole name, and no class of its own.

=cut
