"""The operations that are loops of our own: each runs whole in one thread, and counts what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from pollprog import checksums, copying, filling, trees
from pollprog.messages import Int
from pollprog.operations import TypedPath, operation
from pollprog.work import running

__all__ = ["OPERATIONS"]

Algorithm = Literal["sha256", "sha512", "blake2b", "md5"]


class Copied(Struct, frozen=True):
    """What was copied or written."""

    size: Annotated[Int, "Bytes: of a copy its size, holes included; of a range its length."]


class Summed(Struct, frozen=True):
    """A checksum, and of what."""

    digest: Annotated[str, "In hexadecimal."]
    files: Annotated[Int, "How many files went into it."]
    size: Annotated[Int, "Bytes that were read."]


@operation
def copy_file(
    source: Annotated[Path, "File to copy, or a block device."],
    destination: Annotated[TypedPath, "Name of the copy."],
    *,
    overwrite: Annotated[bool, "Replace what has that name."] = False,
    preserve: Annotated[bool, "Keep mode, times and owner."] = False,
) -> Copied:
    """Copy a file: all of it, or nothing, under the name that you give. Holes stay holes."""
    work = running()
    return Copied(
        copying.copy_file(
            source, destination, counter=work.counter, cancel=work.stopped, overwrite=overwrite, preserve=preserve
        )
    )


@operation
def copy_tree(
    source: Annotated[Path, "Directory to copy, with all that is in it."],
    destination: Annotated[Path, "Name of the copy, which must not exist."],
    *,
    preserve: Annotated[bool, "Keep times and owners too."] = False,
) -> Copied:
    """Copy a tree: all of it, or nothing, under the name that you give."""
    work = running()
    return Copied(trees.copy_tree(source, destination, counter=work.counter, cancel=work.stopped, preserve=preserve))


@operation
def copy_size(
    source: Annotated[Path, "File or block device to read."],
    destination: Annotated[TypedPath, "File or block device to write into; a file that is not there is made."],
    size: Annotated[int | None, "Bytes to copy; none: to the end of the source."] = None,
    source_offset: Annotated[int, "Where in the source to begin."] = 0,
    destination_offset: Annotated[int, "Where in the destination to begin."] = 0,
    *,
    sparse: Annotated[bool, "Leave holes where the source has some."] = False,
) -> Copied:
    """Copy so many bytes from one place to another, in place: the rest of the destination stays as it is."""
    work = running()
    return Copied(
        copying.copy_size(
            source,
            destination,
            counter=work.counter,
            cancel=work.stopped,
            size=size,
            source_offset=source_offset,
            destination_offset=destination_offset,
            sparse=sparse,
        )
    )


@operation
def fill(
    path: Annotated[Path, "File or block device to write into; a file that is not there is made."],
    size: Annotated[int, "Bytes to write."],
    offset: Annotated[int, "Where to begin."] = 0,
    pattern: Annotated[str, "What to write, again and again."] = "\0",
) -> Copied:
    """Write a pattern, again and again, into a file or device: the rest of it stays as it is."""
    work = running()
    written = filling.fill(
        path, counter=work.counter, cancel=work.stopped, size=size, offset=offset, pattern=pattern.encode()
    )
    return Copied(written)


@operation
def zero(
    path: Annotated[Path, "File or block device to write into."],
    offset: Annotated[int, "Where to begin."] = 0,
    size: Annotated[int | None, "Bytes to write; none: to the end."] = None,
) -> Copied:
    """Write zeroes into a file or device: the rest of it stays as it is."""
    work = running()
    return Copied(filling.zero(path, counter=work.counter, cancel=work.stopped, offset=offset, size=size))


@operation
def zero_device(device: Annotated[Path, "Block device, or an image of one."]) -> Copied:
    """Write zeroes over the whole of a device."""
    work = running()
    return Copied(filling.zero_device(device, counter=work.counter, cancel=work.stopped))


@operation
def checksum(
    path: Annotated[Path, "File, block device, or directory."],
    algorithm: Annotated[Algorithm, "Which sum."] = "sha256",
) -> Summed:
    """Sum up a file, a device or a tree. That of a tree is the sum of what sha256sum prints for its files, sorted by name."""
    work = running()
    digest, files, size = checksums.checksum(path, counter=work.counter, cancel=work.stopped, algorithm=algorithm)
    return Summed(digest, files, size)


OPERATIONS = (copy_file, copy_tree, copy_size, fill, zero, zero_device, checksum)
