"""Copies a whole tree into a new directory, which appears under its name when all of it is there and on disk.

* All is made under a temporary name beside the destination (see `publishing`), in a directory that nobody else may enter until
  it is finished. On failure that is removed, and nothing else is.
* Every name is looked up in an open directory, and no symbolic link is followed below the source (see `walking`). Symbolic links
  are copied as links, hard links among the files stay hard links, FIFOs and sockets are made anew, devices too if we may.
  Mounted file systems are part of the tree. A destination inside the source is refused.
* One file that cannot be read, or is gone when its turn comes, ends it all: half a tree is no copy.
* A survey adds up the data first, in the phase ``"survey"``; then one count goes over the whole. Holes stay holes and do not
  count, a file with several names counts once.

Kept always: what is a link, FIFO, or hole, and permissions, less what the umask takes away. With `preserve`: permissions as they
are, times, owner and group as far as allowed. Never kept: access lists, extended attributes.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pollprog.copying import GONE, dress
from pollprog.errors import DestinationExists, OperationFailed, PermissionDenied, SameFile
from pollprog.loops import Loop
from pollprog.paths import called, checked, has_holes, parameter, sync_directory
from pollprog.publishing import Place
from pollprog.syscalls import sync_file_system
from pollprog.transfer import Transfer, stretches
from pollprog.walking import open_directory, open_file, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pollprog.counting import Counter
    from pollprog.paths import Path
    from pollprog.walking import Entry

__all__ = ["copy_tree"]


def copy_tree(
    source: Path, destination: Path, *, counter: Counter, cancel: Callable[[], bool], preserve: bool = False
) -> int:
    """Copy a directory and all that is in it to a name that nothing has; the size of its files, holes included.

    Raises `DestinationExists`, `SameFile` if the destination is inside the source, `Cancelled`, or another `OperationError`,
    which names the file; those of what could not be finished with the bytes that had been copied, and have been removed again.
    """
    old, new = checked(source), checked(destination).rstrip(b"/") or b"/"
    loop = Loop(f"copying {called(old)} to {called(new)}", new, counter, cancel, gone=GONE)
    loop.reading(old)
    with loop.explained(), ExitStack() as stack:
        root = os.open(old, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, root)
        loop.writing(new)
        if os.path.lexists(new):
            raise DestinationExists(f"{called(new)} exists: choose a name that nothing has", path=parameter(new))
        place = Place(stack, new)
        if is_inside(place.directory, root):
            raise itself(old, new)
        copy = _Copy(loop, root, old, new, preserve=preserve)
        loop.begin("survey", None)
        loop.begin("", copy.survey())
        loop.writing(new)
        stack.callback(remove, loop, place)
        top, like, mode = copy.make_directory(place.temporary, place.directory, os.fstat(root))
        stack.callback(os.close, top)
        os.fchmod(top, 0o700)
        copy.run(stack, top)
        loop.writing(new)
        loop.sync()
        sync_file_system(top)
        loop.check()
        copy.leave_directory(top, like, mode)
        place.publish_directory()
        loop.published = True
        sync_directory(place.directory, new)
        loop.finish()
        return copy.size


class _Copy:
    """One copy under way."""

    def __init__(self, loop: Loop, root: int, source: bytes, destination: bytes, *, preserve: bool) -> None:
        self.loop = loop
        self.root = root
        self.source = source
        self.destination = destination
        self.preserve = preserve
        self.top = -1
        self.size = 0
        self.first: dict[tuple[int, int], bytes] = {}
        """Where each file of several names was made, from the top."""

    def entries(self) -> Iterator[Entry]:
        """All that is in the source."""
        for entry in walk(self.root, lambda path: self.loop.reading(os.path.join(self.source, path))):
            self.loop.check()
            yield entry

    def survey(self) -> int:
        """How many bytes of data there are."""
        found = 0
        seen = set()
        for entry in self.entries():
            if stat.S_ISREG(entry.info.st_mode) and (file := identity(entry.info)) not in seen:
                if entry.info.st_nlink > 1:
                    seen.add(file)
                found += data_in(entry)
                self.loop.counter.current = found
        return found

    def run(self, stack: ExitStack, top: int) -> None:
        """Make all that is in the source."""
        self.top = top
        made = os.fstat(top)
        opened: list[tuple[int, os.stat_result, int]] = []
        stack.callback(close_all, opened)
        for entry in self.entries():
            into = opened[-1][0] if opened else top
            if entry.leaving:
                self.loop.writing(os.path.join(self.destination, entry.path))
                self.leave_directory(*opened[-1])
                os.close(opened.pop()[0])
            elif entry.descriptor >= 0:
                if os.path.samestat(entry.info, made):
                    raise itself(self.source, self.destination)
                self.loop.writing(os.path.join(self.destination, entry.path))
                opened.append(self.make_directory(entry.name, into, entry.info))
            else:
                self.make(entry, into)

    def make(self, entry: Entry, into: int) -> None:
        """Make anything but a directory."""
        kind = stat.S_IFMT(entry.info.st_mode)
        target = os.readlink(entry.name, dir_fd=entry.directory) if kind == stat.S_IFLNK else b""
        self.loop.writing(os.path.join(self.destination, entry.path))
        if entry.info.st_nlink > 1:
            first = self.first.setdefault(identity(entry.info), entry.path)
            if first != entry.path:
                os.link(first, entry.name, src_dir_fd=self.top, dst_dir_fd=into, follow_symlinks=False)
                return
        if kind == stat.S_IFREG:
            self.make_file(entry, into)
            return
        if kind == stat.S_IFLNK:
            os.symlink(target, entry.name, dir_fd=into)
        else:
            self.make_node(entry, into)
        if self.preserve:
            dress_name(entry.name, into, entry.info)

    def make_file(self, entry: Entry, into: int) -> None:
        """Make a regular file, with all that is in it."""
        old, new = os.path.join(self.source, entry.path), os.path.join(self.destination, entry.path)
        with ExitStack() as stack:
            self.loop.reading(old)
            reader = open_file(entry.name, entry.directory)
            stack.callback(os.close, reader)
            info = os.fstat(reader)
            if not stat.S_ISREG(info.st_mode):
                raise OperationFailed(f"{called(old)} is no regular file any more: try again", path=parameter(old))
            self.loop.writing(new)
            mode = 0o600 if self.preserve else info.st_mode & 0o777
            writer = os.open(entry.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=into)
            stack.callback(os.close, writer)
            transfer = Transfer(self.loop, reader, old, writer, new)
            self.size += transfer.whole(info, info.st_size, transfer.data(info, info.st_size))
            if self.preserve:
                dress(writer, info, preserve=True)

    def make_node(self, entry: Entry, into: int) -> None:
        """Make a FIFO, a socket or a device."""
        mode = entry.info.st_mode & ~0o7000
        device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
        try:
            os.mknod(entry.name, mode, entry.info.st_rdev if device else 0, dir_fd=into)
        except PermissionError as error:
            if not device:
                raise
            path = os.path.join(self.source, entry.path)
            text = f"{called(path)} is a device, and only root may make another: become root, or copy without it"
            raise PermissionDenied(text, path=parameter(path)) from error

    def make_directory(self, name: bytes, into: int, like: os.stat_result) -> tuple[int, os.stat_result, int]:
        """Make a directory that we may write in: its descriptor, what it shall be like, and the mode to leave it with."""
        mode = like.st_mode & 0o777
        os.mkdir(name, 0o700 if self.preserve else mode | 0o700, dir_fd=into)
        descriptor = open_directory(name, into)
        # What the umask or a default access list left of the mode, and what we added to it.
        return descriptor, like, os.fstat(descriptor).st_mode & 0o7777 & ~(0o700 & ~mode)

    def leave_directory(self, descriptor: int, like: os.stat_result, mode: int) -> None:
        """All that belongs in this directory is there."""
        if self.preserve:
            dress(descriptor, like, preserve=True)
        else:
            os.fchmod(descriptor, mode)


def close_all(opened: list[tuple[int, os.stat_result, int]]) -> None:
    """Close the directories that were not left."""
    for descriptor, _, _ in opened:
        os.close(descriptor)


def identity(info: os.stat_result) -> tuple[int, int]:
    """What the names of one file have in common."""
    return info.st_dev, info.st_ino


def data_in(entry: Entry) -> int:
    """How many bytes of data a regular file has."""
    if not has_holes(entry.info):
        return entry.info.st_size
    descriptor = open_file(entry.name, entry.directory)
    try:
        return sum(end - start for start, end in stretches(descriptor, entry.info.st_size, holes=True))
    finally:
        os.close(descriptor)


def dress_name(name: bytes, directory: int, like: os.stat_result) -> None:
    """Give what is not opened the owner, permissions and times of another."""
    try:
        os.chown(name, like.st_uid, like.st_gid, dir_fd=directory, follow_symlinks=False)
    except OSError:
        pass
    if not stat.S_ISLNK(like.st_mode):
        os.chmod(name, like.st_mode & 0o777, dir_fd=directory)
    os.utime(name, ns=(like.st_atime_ns, like.st_mtime_ns), dir_fd=directory, follow_symlinks=False)


def is_inside(directory: int, root: int) -> bool:
    """Whether a directory is another, or lies in it."""
    wanted = os.fstat(root)
    here = os.open(".", os.O_PATH | os.O_DIRECTORY, dir_fd=directory)
    try:
        while not os.path.samestat(info := os.fstat(here), wanted):
            above = os.open("..", os.O_PATH | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = above
            if os.path.samestat(os.fstat(here), info):
                return False
    except PermissionError:
        return False  # if it is all the same, the walk will come upon what it has made
    else:
        return True
    finally:
        os.close(here)


def itself(source: bytes, destination: bytes) -> SameFile:
    """The error for a destination inside the source."""
    text = f"{called(destination)} lies in {called(source)}: choose a place outside of it"
    return SameFile(text, source=parameter(source), destination=parameter(destination))


def remove(loop: Loop, place: Place) -> None:
    """Remove the temporary tree, if it is still there."""
    try:
        top = open_directory(place.temporary, place.directory)
    except FileNotFoundError:
        return
    except OSError:
        loop.left = place.temporary_path
        return
    try:
        os.fchmod(top, 0o700)
        for entry in walk(top):
            if entry.descriptor < 0:
                os.unlink(entry.name, dir_fd=entry.directory)
            elif entry.leaving:
                os.rmdir(entry.name, dir_fd=entry.directory)
            else:
                os.fchmod(entry.descriptor, 0o700)
        os.rmdir(place.temporary, dir_fd=place.directory)
    except OSError:
        loop.left = place.temporary_path
    finally:
        os.close(top)
