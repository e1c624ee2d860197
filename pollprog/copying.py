"""Copies of files: a whole one under a new name, or a stretch into a file or device that is there.

`copy_file` publishes: nobody sees half a copy under the destination's name (see `publishing`).

* With `overwrite` the destination becomes a new file, other hard links to the old one keep what they had, and mode and owner of
  the old one are taken over. A symbolic link is followed, as cp does, and stays a link. Devices and FIFOs are never replaced.
* Holes stay holes. `current` and `total` count data alone, which is where the time goes.
* Kept with `preserve`: permissions, times in nanoseconds, owner and group as far as allowed (setuid and setgid only with the
  owner). Never kept: access lists, extended attributes, hard links among several files.

`copy_size` writes in place: what was written before a failure stays (see `in_place`).

* Where the source has a hole the destination reads as zeroes: nothing is done where it ends before, elsewhere zeroes are
  written. With `sparse` they are given back to the file system or the device, and so are zeroes that the source holds as data,
  in pieces of `PIECE`.
* `current` and `total` count the stretch, holes and all.
* Source and destination may be one file, as long as the two stretches have no byte in common.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pollprog.errors import DestinationExists, IsDirectory, NotAFile, OperationFailed, SameFile
from pollprog.in_place import opened
from pollprog.loops import Loop
from pollprog.paths import (
    called,
    checked,
    has_holes,
    natural,
    open_source,
    parameter,
    size_text,
    sync_directory,
)
from pollprog.publishing import Place
from pollprog.transfer import UNKNOWN_END, Transfer, became_shorter, stretches

if TYPE_CHECKING:
    from collections.abc import Callable

    from pollprog.counting import Counter
    from pollprog.in_place import InPlace
    from pollprog.paths import Path

__all__ = ["copy_file", "copy_size", "dress"]

PIECE = 64 << 10
"""Bytes looked at in one piece for whether all are zero."""
ZEROES = bytes(PIECE)
GONE = "what was copied has been removed"


def copy_file(
    source: Path,
    destination: Path,
    *,
    counter: Counter,
    cancel: Callable[[], bool],
    overwrite: bool = False,
    preserve: bool = False,
) -> int:
    """Copy a regular file, or what a block device holds, to a regular file; the size of the new file, holes included.

    `cancel` is asked before each step. `overwrite` replaces an existing file. Blocks: call it from a thread of its own.
    The main phase of `counter` is ``""``, then comes ``"sync"``, at whose end `current` is `total`.

    Raises `Cancelled` if `cancel` said True, another `OperationError` for everything else; those of what could not be finished
    with the bytes of data that had been copied by then, and have been removed again.
    """
    old, new = checked(source), checked(destination)
    loop = Loop(f"copying {called(old)} to {called(new)}", new, counter, cancel, gone=GONE)
    loop.reading(old)
    with loop.explained(), ExitStack() as stack:
        reader, info, size = open_source(stack, old)
        loop.writing(new)
        new, replaced = replaceable(old, info, new, overwrite=overwrite)
        loop.writing(new)
        place = Place(stack, new)
        stack.callback(discard, loop, place)
        # A new file gets the mode that cp gives it: the source's, less what the umask or a default access list takes away.
        mode = 0o600 if preserve or replaced else info.st_mode & 0o777
        writer = os.open(place.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=place.directory)
        stack.callback(os.close, writer)

        loop.check()
        transfer = Transfer(loop, reader, old, writer, new)
        data = transfer.data(info, size) if size else None
        loop.begin("", data)
        size = transfer.whole(info, size, data)
        if like := info if preserve else replaced:
            dress(writer, like, preserve=preserve)
        loop.sync()
        os.fsync(writer)
        loop.check()
        place.publish_file(overwrite=overwrite)
        loop.published = True
        discard(loop, place)
        sync_directory(place.directory, new)
        loop.finish()
        return size


def copy_size(
    source: Path,
    destination: Path,
    *,
    counter: Counter,
    cancel: Callable[[], bool],
    size: int | None = None,
    source_offset: int = 0,
    destination_offset: int = 0,
    sparse: bool = False,
) -> int:
    """Copy `size` bytes of a file or block device into another that exists, in place, or is made; how many bytes that were.

    Without `size`, up to the end of the source. The destination is never made shorter, and only removed again if it was made
    here. Phases and `cancel` are as with `copy_file`; `total` is the size.

    Raises `SameFile` if both stretches have bytes in common, `NoSpace` if a device is too small, `Cancelled`, or another
    `OperationError`; those of what could not be finished with the bytes that are written, from `destination_offset` on.
    """
    old, new = checked(source), checked(destination)
    start, goal = natural(source_offset, "source_offset"), natural(destination_offset, "destination_offset")
    asked = None if size is None else natural(size, "size")
    loop = Loop(f"copying {called(old)} to {called(new)}", new, counter, cancel, gone=GONE, offset=goal)
    loop.reading(old)
    with loop.explained(), ExitStack() as stack:
        reader, info, length = open_source(stack, old)
        count = to_copy(old, info, length, start, asked)
        loop.writing(new)
        place = stack.enter_context(opened(loop, new, mode=info.st_mode & 0o777))
        if same(info, place.info) and start < goal + (count or 0) and goal < start + (count or 0):
            text = f"{called(old)} and {called(new)} are the same file, and the two stretches have bytes in common"
            raise SameFile(text, source=parameter(old), destination=parameter(new))
        place.fit(goal + (count or 0))

        loop.begin("", count)
        loop.check()
        end = UNKNOWN_END if count is None else start + count
        holes = has_holes(info)
        if holes and place.made and count:
            place.skip(goal, goal - start + end)  # or XFS fills holes with what it allocates ahead of a growing end
        transfer = Transfer(loop, reader, old, place.descriptor, new, behind=place.behind)
        reached = bring(transfer, place, start, end, goal - start, holes=holes, sparse=sparse)
        now = os.fstat(reader).st_size if length and stat.S_ISREG(info.st_mode) else end
        if (asked is not None and reached < end) or now < min(end, length):
            raise became_shorter(old)
        loop.sync()
        place.sync()
        loop.finish()
        return loop.done


def to_copy(source: bytes, info: os.stat_result, length: int, start: int, size: int | None) -> int | None:
    """How many bytes it is; None if only reading the source to its end can tell."""
    if length == 0 and stat.S_ISREG(info.st_mode):
        return size  # empty, or a file of /proc
    if start + (size or 0) > length:
        asked = "" if size is None else f" of the {size_text(size)} asked for"
        text = f"{called(source)} has {size_text(max(0, length - start))}{asked} from byte {start} on"
        raise OperationFailed(f"{text}: choose another offset or size", path=parameter(source))
    return length - start if size is None else size


def same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether they are one file, or two nodes for one device."""
    if stat.S_ISBLK(one.st_mode) and stat.S_ISBLK(other.st_mode):
        return one.st_rdev == other.st_rdev
    return os.path.samestat(one, other)


def bring(transfer: Transfer, place: InPlace, start: int, end: int, shift: int, *, holes: bool, sparse: bool) -> int:
    """Bring a stretch over, holes and all; the offset reached."""
    at = start
    for begin, stop in stretches(transfer.reader, end, holes=holes, start=start):
        place.zero_all(at + shift, begin + shift, punch=sparse, skip=True)
        at = bring_sparse(transfer, place, begin, stop, shift) if sparse else transfer.stretch(begin, stop, shift)
        if at < stop:
            return at
    if holes:
        place.zero_all(at + shift, end + shift, punch=sparse, skip=True)
        at = end
    return at


def bring_sparse(transfer: Transfer, place: InPlace, start: int, end: int, shift: int) -> int:
    """Bring data over, and make holes of the zeroes in it; the offset reached."""
    loop = transfer.loop
    at = start
    while at < end:
        loop.check()
        loop.reading(transfer.source)
        data = os.pread(transfer.reader, min(PIECE, end - at), at)
        loop.writing(transfer.destination)
        if not data:
            break
        if data == ZEROES[: len(data)]:
            place.zero_all(at + shift, at + shift + len(data), punch=True, skip=True)
            at += len(data)
        else:
            count = place.write(memoryview(data), at + shift)
            at += count
            loop.count(loop.done + count)
    return at


def replaceable(
    source: bytes, info: os.stat_result, destination: bytes, *, overwrite: bool
) -> tuple[bytes, os.stat_result | None]:
    """Where the copy goes, links followed, and what stands there and is to be replaced, if anything."""
    name, path = called(destination), parameter(destination)
    try:
        # Opened, so that the kernel resolves a symbolic link, by its rules for links that strangers put into /tmp.
        there = os.open(destination, os.O_PATH)
    except FileNotFoundError:
        if os.path.islink(destination):
            raise DestinationExists(f"{name} is a symbolic link to nothing: remove it first", path=path) from None
        if not os.path.basename(destination):
            raise IsDirectory(f"{name} names a directory: name the file to be written", path=path) from None
        return destination, None
    try:
        replaced = os.fstat(there)
        if stat.S_ISDIR(replaced.st_mode):
            inside = called(os.path.join(destination, os.path.basename(source)))
            raise IsDirectory(f"{name} is a directory: name the file to be written, as in {inside}", path=path)
        if os.path.samestat(replaced, info):
            text = f"{called(source)} and {name} are the same file"
            raise SameFile(text, source=parameter(source), destination=path)
        if not stat.S_ISREG(replaced.st_mode):
            text = f"{name} is no regular file, and is not replaced by one: try `pollprog run -- dd`"
            raise NotAFile(text, path=path)
        if not overwrite:
            raise DestinationExists(f"{name} exists: `overwrite` replaces it", path=path)
        if os.path.islink(destination):
            destination = os.readlink(b"/proc/self/fd/%d" % there)
            os.stat(destination)  # fails if the link's file has just been deleted
        return destination, replaced
    finally:
        os.close(there)


def dress(descriptor: int, like: os.stat_result, *, preserve: bool) -> None:
    """Give an open file the owner and permissions of another, and with `preserve` its times."""
    special = 0o7000 if preserve else 0
    try:
        os.fchown(descriptor, like.st_uid, like.st_gid)
    except OSError:
        special = 0  # they were meant for another's name, not for ours
        try:
            os.fchown(descriptor, -1, like.st_gid)
        except OSError:
            pass
    os.fchmod(descriptor, like.st_mode & (0o777 | special))
    if preserve:
        os.utime(descriptor, ns=(like.st_atime_ns, like.st_mtime_ns))


def discard(loop: Loop, place: Place) -> None:
    """Remove the temporary name, if it is still there."""
    try:
        os.unlink(place.temporary, dir_fd=place.directory)
    except FileNotFoundError:
        pass
    except OSError:
        # A file system that may not be written to says so even of a name that it does not have.
        if exists(place.temporary, place.directory):
            loop.left = place.temporary_path


def exists(name: bytes, directory: int) -> bool:
    """Whether this name is in the directory, as far as can be told."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True
