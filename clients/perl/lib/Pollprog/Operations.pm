package Pollprog::Operations;    # Made by clients/generate.py from the declarations of the operations. Change those.

use v5.20;
use warnings;

our %OPERATIONS = (
    copy_file => {
        method => 'CopyFile',
        kinds  => {
            source => 'path',
            destination => 'path',
            overwrite => 'boolean',
            preserve => 'boolean',
            job => 'string',
            interval => 'number',
        },
    },
    copy_tree => {
        method => 'CopyTree',
        kinds  => {
            source => 'path',
            destination => 'path',
            preserve => 'boolean',
            job => 'string',
            interval => 'number',
        },
    },
    copy_size => {
        method => 'CopySize',
        kinds  => {
            source => 'path',
            destination => 'path',
            size => 'integer',
            source_offset => 'integer',
            destination_offset => 'integer',
            sparse => 'boolean',
            job => 'string',
            interval => 'number',
        },
    },
    fill => {
        method => 'Fill',
        kinds  => {
            path => 'path',
            size => 'integer',
            offset => 'integer',
            pattern => 'string',
            job => 'string',
            interval => 'number',
        },
    },
    zero => {
        method => 'Zero',
        kinds  => {
            path => 'path',
            offset => 'integer',
            size => 'integer',
            job => 'string',
            interval => 'number',
        },
    },
    zero_device => {
        method => 'ZeroDevice',
        kinds  => {
            device => 'path',
            job => 'string',
            interval => 'number',
        },
    },
    checksum => {
        method => 'Checksum',
        kinds  => {
            path => 'path',
            algorithm => 'choice',
            job => 'string',
            interval => 'number',
        },
    },
    run => {
        method => 'Run',
        kinds  => {
            argv => 'strings',
            directory => 'path',
            environment => 'map',
            probe => 'string',
            total => 'string',
            prepare => 'boolean',
            job => 'string',
            interval => 'number',
        },
    },
    dd => {
        method => 'Dd',
        kinds  => {
            source => 'path',
            destination => 'path',
            block_size => 'integer',
            count => 'integer',
            skip => 'integer',
            seek => 'integer',
            job => 'string',
            interval => 'number',
        },
    },
    tar_in => {
        method => 'TarIn',
        kinds  => {
            archive => 'path',
            directory => 'path',
            job => 'string',
            interval => 'number',
        },
    },
    tar_out => {
        method => 'TarOut',
        kinds  => {
            directory => 'path',
            archive => 'path',
            compression => 'choice',
            overwrite => 'boolean',
            job => 'string',
            interval => 'number',
        },
    },
    compress_out => {
        method => 'CompressOut',
        kinds  => {
            source => 'path',
            destination => 'path',
            compression => 'choice',
            overwrite => 'boolean',
            job => 'string',
            interval => 'number',
        },
    },
    observe => {
        method => 'Observe',
        kinds  => {
            pid => 'integer',
            resource => 'string',
            job => 'string',
            interval => 'number',
        },
    },
);

# Methods of the daemon that are no operations.
our %CONTROL = map { $_ => 1 } qw(
    Cancel
    Describe
    Follow
    Get
    List
    Pause
    Resume
    Submit
    Top
    Watch
);

# Each error, with the one that it inherits from.
our %ERRORS = (
    Busy => 'PollprogError',
    CommandNotExecutable => 'PollprogError',
    CommandNotFound => 'PollprogError',
    OperationError => 'PollprogError',
    ProcessError => 'PollprogError',
    ProtocolError => 'PollprogError',
    Unreachable => 'PollprogError',
    UsageError => 'PollprogError',
    CommandFailed => 'OperationError',
    ConfigurationError => 'UsageError',
    ConnectionLost => 'Unreachable',
    DestinationExists => 'OperationError',
    ExpectedMore => 'OperationError',
    InterfaceNotFound => 'OperationError',
    InternalError => 'OperationError',
    InvalidParameter => 'OperationError',
    IsDirectory => 'OperationError',
    JobExists => 'OperationError',
    JobOver => 'OperationError',
    MethodNotFound => 'OperationError',
    MethodNotImplemented => 'OperationError',
    NoSuchFile => 'OperationError',
    NoSuchJob => 'OperationError',
    NotAFile => 'OperationError',
    NotDirectory => 'OperationError',
    OperationFailed => 'OperationError',
    PathNotAbsolute => 'OperationError',
    PermissionDenied => 'OperationError',
    SameFile => 'OperationError',
    TooBusy => 'OperationError',
    Cancelled => 'OperationFailed',
    NoSpace => 'OperationFailed',
);

1;

__END__

=encoding UTF-8

=head1 NAME

Pollprog::Operations - what can be asked of a pollprog daemon

=head1 METHODS OF THE HANDLE

Each takes these too:

=over 4

=item C<job> (string)

Name that you pick for the job, so that others can follow or cancel it.

=item C<interval> (number)

Seconds between two statuses; 0.1 at least.

=back

=head2 $handle->copy_file(...)

Copy a file: all of it, or nothing, under the name that you give. Holes stay holes.

=over 4

=item C<source> (path)

File to copy, or a block device.

=item C<destination> (path)

Name of the copy.

=item C<overwrite> (boolean, optional)

Replace what has that name. Default: false.

=item C<preserve> (boolean, optional)

Keep mode, times and owner. Default: false.

=back

Returns C<size> (Bytes: of a copy its size, holes included; of a range its length).

=head2 $handle->copy_tree(...)

Copy a tree: all of it, or nothing, under the name that you give.

=over 4

=item C<source> (path)

Directory to copy, with all that is in it.

=item C<destination> (path)

Name of the copy, which must not exist.

=item C<preserve> (boolean, optional)

Keep times and owners too. Default: false.

=back

Returns C<size> (Bytes: of a copy its size, holes included; of a range its length).

=head2 $handle->copy_size(...)

Copy so many bytes from one place to another, in place: the rest of the destination stays as it is.

=over 4

=item C<source> (path)

File or block device to read.

=item C<destination> (path)

File or block device to write into; a file that is not there is made.

=item C<size> (integer, optional)

Bytes to copy; none: to the end of the source.

=item C<source_offset> (integer, optional)

Where in the source to begin. Default: 0.

=item C<destination_offset> (integer, optional)

Where in the destination to begin. Default: 0.

=item C<sparse> (boolean, optional)

Leave holes where the source has some. Default: false.

=back

Returns C<size> (Bytes: of a copy its size, holes included; of a range its length).

=head2 $handle->fill(...)

Write a pattern, again and again, into a file or device: the rest of it stays as it is.

=over 4

=item C<path> (path)

File or block device to write into; a file that is not there is made.

=item C<size> (integer)

Bytes to write.

=item C<offset> (integer, optional)

Where to begin. Default: 0.

=item C<pattern> (string, optional)

What to write, again and again. Default: "\u0000".

=back

Returns C<size> (Bytes: of a copy its size, holes included; of a range its length).

=head2 $handle->zero(...)

Write zeroes into a file or device: the rest of it stays as it is.

=over 4

=item C<path> (path)

File or block device to write into.

=item C<offset> (integer, optional)

Where to begin. Default: 0.

=item C<size> (integer, optional)

Bytes to write; none: to the end.

=back

Returns C<size> (Bytes: of a copy its size, holes included; of a range its length).

=head2 $handle->zero_device(...)

Write zeroes over the whole of a device.

=over 4

=item C<device> (path)

Block device, or an image of one.

=back

Returns C<size> (Bytes: of a copy its size, holes included; of a range its length).

=head2 $handle->checksum(...)

Sum up a file, a device or a tree. That of a tree is the sum of what sha256sum prints for its files, sorted by name.

=over 4

=item C<path> (path)

File, block device, or directory.

=item C<algorithm> (sha256 or sha512 or blake2b or md5, optional)

Which sum. Default: "sha256".

=back

Returns C<digest> (In hexadecimal), C<files> (How many files went into it), C<size> (Bytes that were read).

=head2 $handle->run(...)

Run any command.

=over 4

=item C<argv> (reference to an array of strings)

The command, a word each; nothing goes through a shell.

=item C<directory> (path, optional)

Where it runs.

=item C<environment> (reference to a hash of strings, optional)

Its environment, instead of the job's.

=item C<probe> (string, optional)

How to measure it: a probe as after --probe.

=item C<total> (string, optional)

What the work amounts to, as after --total: 4G, @/FILE.

=item C<prepare> (boolean, optional)

Whether a plugin may have it say how far it is, as by --info=progress2. Default: true.

=back

Returns C<output> (The last of what it printed).

=head2 $handle->dd(...)

Copy with dd, in place: the rest of the destination stays as it is.

=over 4

=item C<source> (path)

File or device to read.

=item C<destination> (path)

File or device to write into, in place; a file that is not there is made.

=item C<block_size> (integer, optional)

Bytes read and written at a time. Default: 1048576.

=item C<count> (integer, optional)

So many blocks; none: to the end of the source.

=item C<skip> (integer, optional)

Blocks of the source to pass over. Default: 0.

=item C<seek> (integer, optional)

Blocks of the destination to pass over. Default: 0.

=back

Returns C<output> (The last of what it printed).

=head2 $handle->tar_in(...)

Unpack an archive with tar. What has been unpacked stays, whatever happens.

=over 4

=item C<archive> (path)

The archive; how it is compressed is found out.

=item C<directory> (path)

Where to unpack it; it has to be there.

=back

Returns C<output> (The last of what it printed).

=head2 $handle->tar_out(...)

Pack a directory into an archive with tar.

=over 4

=item C<directory> (path)

What to pack.

=item C<archive> (path)

Name of the archive: it is there when all of it is.

=item C<compression> (none or gzip or bzip2 or xz or zstd, optional)

How to compress it. Default: "none".

=item C<overwrite> (boolean, optional)

Replace what has that name. Default: false.

=back

Returns C<size> (Its size in bytes).

=head2 $handle->compress_out(...)

Compress a file or a device.

=over 4

=item C<source> (path)

File or block device to compress.

=item C<destination> (path)

Name of the compressed file: it is there when all of it is.

=item C<compression> (gzip or bzip2 or xz or zstd, optional)

How. Default: "gzip".

=item C<overwrite> (boolean, optional)

Replace what has that name. Default: false.

=back

Returns C<size> (Its size in bytes).

=head2 $handle->observe(...)

Watch a process that already runs, or other work that is under way, to its end. Cancelling ends the watching, not the work.

=over 4

=item C<pid> (integer, optional)

The number of the process.

=item C<resource> (string, optional)

Instead of that, work that no process stands for: KIND:NAME, as in md:md0.

=back

Returns C<exit> (Its exit code, where the kernel tells it), C<signal> (The signal that ended it).

=cut
