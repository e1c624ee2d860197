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
    rsync => {
        method => 'Rsync',
        kinds  => {
            source => 'path',
            destination => 'path',
            exclude => 'strings',
            limit => 'integer',
            delete => 'boolean',
            checksum => 'boolean',
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
    check_filesystem => {
        method => 'CheckFilesystem',
        kinds  => {
            device => 'path',
            repair => 'choice',
            force => 'boolean',
            job => 'string',
            interval => 'number',
        },
    },
    make_filesystem => {
        method => 'MakeFilesystem',
        kinds  => {
            device => 'path',
            kind => 'choice',
            label => 'string',
            size => 'integer',
            block_size => 'integer',
            lazy => 'boolean',
            overwrite => 'boolean',
            job => 'string',
            interval => 'number',
        },
    },
    resize_filesystem => {
        method => 'ResizeFilesystem',
        kinds  => {
            device => 'path',
            size => 'integer',
            job => 'string',
            interval => 'number',
        },
    },
    zero_free => {
        method => 'ZeroFree',
        kinds  => {
            device => 'path',
            job => 'string',
            interval => 'number',
        },
    },
    convert_image => {
        method => 'ConvertImage',
        kinds  => {
            source => 'path',
            destination => 'path',
            to => 'choice',
            source_format => 'choice',
            compress => 'boolean',
            overwrite => 'boolean',
            job => 'string',
            interval => 'number',
        },
    },
    ntfs_clone => {
        method => 'NtfsClone',
        kinds  => {
            source => 'path',
            destination => 'path',
            how => 'choice',
            force => 'boolean',
            overwrite => 'boolean',
            job => 'string',
            interval => 'number',
        },
    },
    resize_image => {
        method => 'ResizeImage',
        kinds  => {
            source => 'path',
            destination => 'path',
            size => 'integer',
            partition => 'integer',
            filesystem => 'boolean',
            overwrite => 'boolean',
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

=head2 $handle->rsync(...)

Make a directory like another with rsync, copying what differs. What has been copied stays, whatever happens.

=over 4

=item C<source> (path)

File to copy, or directory, of which all that is in it is copied.

=item C<destination> (path)

Directory, which becomes like the source; it is made if it is not there.

=item C<exclude> (reference to an array of strings, optional)

Patterns of what is left out, as rsync has them. Default: [].

=item C<limit> (integer, optional)

Bytes a second at the most.

=item C<delete> (boolean, optional)

Delete in the destination what the source does not have. Default: false.

=item C<checksum> (boolean, optional)

Compare what is in the files, and not their sizes and times. Default: false.

=back

Returns C<files> (How many files), C<size> (Their size in bytes).

=head2 $handle->observe(...)

Watch a process that already runs, or other work that is under way, to its end. Cancelling ends the watching, not the work.

=over 4

=item C<pid> (integer, optional)

The number of the process.

=item C<resource> (string, optional)

Instead of that, work that no process stands for: KIND:NAME, as in md:md0.

=back

Returns C<exit> (Its exit code, where the kernel tells it), C<signal> (The signal that ended it).

=head2 $handle->check_filesystem(...)

Check an ext file system with e2fsck, and correct it if you say so. Errors that are left are an error.

=over 4

=item C<device> (path)

Device with an ext file system, or an image of one; not mounted.

=item C<repair> (no or safe or yes, optional)

What to correct: nothing, what is safe, or all. Default: "no".

=item C<force> (boolean, optional)

Check it even if it says that it is clean. Default: false.

=back

Returns C<corrected> (Whether there were errors, which are corrected now), C<output> (The last of what e2fsck printed).

=head2 $handle->make_filesystem(...)

Make an ext file system with mke2fs.

=over 4

=item C<device> (path)

Device, or an image of one; a file that is not there is made.

=item C<kind> (ext4 or ext3 or ext2, optional)

Which file system. Default: "ext4".

=item C<label> (string, optional)

Its name.

=item C<size> (integer, optional)

Bytes; none: as large as the device. A file that is made needs one.

=item C<block_size> (integer, optional)

Bytes of a block: 1024, 2048 or 4096; none: as mke2fs finds best.

=item C<lazy> (boolean, optional)

Leave to the first mount what can be left to it. Default: true.

=item C<overwrite> (boolean, optional)

Make it even where there is something already. Default: false.

=back

Returns C<size> (Its size in bytes), C<block_size> (Bytes of a block).

=head2 $handle->resize_filesystem(...)

Check an ext file system, then make it larger or smaller with resize2fs; an image becomes as long as it. If cancelled, repair it.

=over 4

=item C<device> (path)

Device with an ext file system, or an image of one; not mounted.

=item C<size> (integer, optional)

Bytes, of which whole blocks count; none: as large as the device.

=back

Returns C<size> (Its size in bytes), C<block_size> (Bytes of a block).

=head2 $handle->zero_free(...)

Write zeroes over all that is free in an ext file system, with zerofree, so that an image of it compresses well.

=over 4

=item C<device> (path)

Device with an ext file system, or an image of one; not mounted.

=back

Returns C<zeroed> (Was not zero, and is now), C<free> (Free, all of it), C<size> (The whole file system).

=head2 $handle->convert_image(...)

Convert an image of a disk with qemu-img, from raw or qcow2 to either. What is zero takes no room.

=over 4

=item C<source> (path)

Image, or block device.

=item C<destination> (path)

Name of the new image: it is there when all of it is.

=item C<to> (qcow2 or raw, optional)

Which format it becomes. Default: "qcow2".

=item C<source_format> (qcow2 or raw, optional)

Which it has; none: as it looks. Say it where others can write into the image.

=item C<compress> (boolean, optional)

Compress what is in a qcow2. Default: false.

=item C<overwrite> (boolean, optional)

Replace what has that name. Default: false.

=back

Returns C<size> (Its size in bytes).

=head2 $handle->ntfs_clone(...)

Copy what is in use of an NTFS with ntfsclone, into an image.

=over 4

=item C<source> (path)

Device with an NTFS, an image of one, or what `save` has made; not mounted.

=item C<destination> (path)

Name of the copy: it is there when all of it is.

=item C<how> (clone or save or restore, optional)

A sparse image; ntfsclone's own format, which has no holes; or back from that. Default: "clone".

=item C<force> (boolean, optional)

Even if it was not unmounted in order. Default: false.

=item C<overwrite> (boolean, optional)

Replace what has that name. Default: false.

=back

Returns C<size> (Its size in bytes).

=head2 $handle->resize_image(...)

Make a larger copy of an image of a disk, in which a partition is larger, and the ext file system in that.

=over 4

=item C<source> (path)

Image of a disk, as it is and not qcow2, with GPT or MBR; or a block device.

=item C<destination> (path)

Name of the new image: it is there when all of it is.

=item C<size> (integer)

Bytes of the new image: more than the old one has.

=item C<partition> (integer, optional)

Number of the partition that grows; none: the last one.

=item C<filesystem> (boolean, optional)

Grow the ext file system in it, too. Default: true.

=item C<overwrite> (boolean, optional)

Replace what has that name. Default: false.

=back

Returns C<size> (Its size in bytes), C<partition> (The number of the partition that has grown), C<partition_size> (How large that is now, in bytes), C<filesystem> (Whether an ext file system in it has grown, too).

=cut
