"""A file or block device that is written where it lies, not replaced.

* What exists is opened as it is, and never made shorter or removed; a file grows by what is written behind its end, and
  whatever becomes of the loop, what it has written stays. So a failure says which bytes those are.
* What does not exist is made, under its own name, and removed again if the loop fails. After SIGKILL it stays.
* A block device is opened so that the kernel refuses one that is mounted or otherwise in use. It has to have room for all of it,
  or nothing is written.
* Zeroes are made by the kernel where it can (fallocate(2) with FALLOC_FL_ZERO_RANGE): a file keeps the space, and a disk that
  knows how to clear itself is not sent zeroes. Elsewhere they are written.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pollprog.errors import DestinationExists, IsDirectory, NoSpace, NoSuchFile, NotAFile
from pollprog.loops import BUFFER, STEP
from pollprog.paths import allocated, called, parameter, size_text, sync_directory
from pollprog.syscalls import punch_hole, zero_range
from pollprog.transfer import UNKNOWN_END, WriteBehind, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pollprog.loops import Loop

__all__ = ["InPlace", "opened"]

ALIGNED = 4096
"""What devices and file systems want the ends of a stretch to be a multiple of, to clear it without writing."""
ZEROES = memoryview(bytes(BUFFER))


class InPlace:
    """An open file or device."""

    def __init__(self, loop: Loop, descriptor: int, directory: int | None) -> None:
        self.loop = loop
        self.descriptor = descriptor
        self.directory = directory
        """The directory in which it was made; None if it was there."""
        self.info = os.fstat(descriptor)
        self.size = allocated(descriptor, self.info)
        """As it was found."""
        self.empty_from = UNKNOWN_END if stat.S_ISBLK(self.info.st_mode) else self.size
        """From here on, what nobody has written reads as zeroes."""
        self.behind = WriteBehind(descriptor, loop.offset)
        self.clear: dict[Callable[[int, int, int], None], bool] = {punch_hole: True, zero_range: True}
        """Whether the kernel can do it here, as far as is known."""

    @property
    def made(self) -> bool:
        """It was not there before."""
        return self.directory is not None

    def fit(self, end: int) -> None:
        """Raise NoSpace if this is a device that ends before."""
        if stat.S_ISBLK(self.info.st_mode) and end > self.size:
            text = f"{called(self.loop.path)} ends after {size_text(self.size)} ({self.size} bytes): {end} do not fit there"
            raise NoSpace(text, path=parameter(self.loop.path), errno="ENOSPC")

    def write(self, data: memoryview, at: int) -> int:
        """Write some of it; how much."""
        count = write_all(self.descriptor, data[:BUFFER], at)
        self.behind.reached(at + count)
        return count

    def skip(self, at: int, end: int) -> int:
        """Leave a hole there, where nothing was; how long."""
        if os.fstat(self.descriptor).st_size < end:
            os.ftruncate(self.descriptor, end)
        return end - at

    def zero(self, at: int, end: int, *, punch: bool = False) -> int:
        """Zero the next bytes; how many. With `punch` their space is given back, if that can be done."""
        if skew := at % ALIGNED:
            return self.write(ZEROES[: min(end - at, ALIGNED - skew)], at)
        if length := min(STEP, (end - at) // ALIGNED * ALIGNED):
            for clear in (punch_hole, zero_range) if punch else (zero_range,):
                if self.clear[clear]:
                    try:
                        clear(self.descriptor, at, length)
                    except OSError as error:
                        self.clear[clear] = error.errno == errno.EINTR
                    else:
                        self.behind.reached(at + length)
                        return length
        return self.write(ZEROES[: end - at], at)

    def zero_all(self, at: int, end: int, *, punch: bool = False, skip: bool = False) -> None:
        """Zero all of it, and count that. With `skip` nothing is written where nothing was."""
        while at < end:
            self.loop.check()
            there = min(end, self.empty_from) if skip else end
            count = self.zero(at, there, punch=punch) if at < there else self.skip(at, end)
            at += count
            self.loop.count(self.loop.done + count)

    def sync(self) -> None:
        """Wait until all is on disk."""
        os.fsync(self.descriptor)
        if self.directory is not None:
            self.loop.check()
            self.loop.published = True
            sync_directory(self.directory, self.loop.path)


@contextmanager
def opened(loop: Loop, path: bytes, *, mode: int = 0o666, make: bool = True) -> Iterator[InPlace]:
    """Open a file or device to be written in place, or make the file with this mode."""
    descriptor, directory = _open(path, mode, make=make)
    try:
        loop.kept = directory is None
        place = InPlace(loop, descriptor, directory)
        try:
            yield place
        except BaseException:
            if directory is not None and not loop.published:
                _remove(loop, path, directory, place.info)
            raise
    finally:
        os.close(descriptor)
        if directory is not None:
            os.close(directory)


def _open(path: bytes, mode: int, *, make: bool) -> tuple[int, int | None]:
    """A descriptor to write to; and of the directory, if the file was made."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise DestinationExists(
                f"{called(path)} is a symbolic link to nothing: remove it first", path=parameter(path)
            ) from None
        if not os.path.basename(path):
            text = f"{called(path)} names a directory: name the file to be written"
            raise IsDirectory(text, path=parameter(path)) from None
        if not make:
            raise NoSuchFile(f"there is no {called(path)}, and no size to make it with", path=parameter(path)) from None
    else:
        if stat.S_ISDIR(info.st_mode):
            raise IsDirectory(f"{called(path)} is a directory: name the file to be written", path=parameter(path))
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISBLK(info.st_mode)):
            raise NotAFile(f"{called(path)} is no file or disk that could be written in place", path=parameter(path))
        # For a block device this is no question of making: the kernel refuses one that is mounted.
        exclusive = os.O_EXCL if stat.S_ISBLK(info.st_mode) else 0
        return os.open(path, os.O_WRONLY | exclusive), None
    directory = os.open(os.path.dirname(path) or b".", os.O_PATH | os.O_DIRECTORY)
    try:
        made = os.open(os.path.basename(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=directory)
    except FileExistsError:
        os.close(directory)
        raise DestinationExists(f"{called(path)} appeared meanwhile: try again", path=parameter(path)) from None
    except BaseException:
        os.close(directory)
        raise
    return made, directory


def _remove(loop: Loop, path: bytes, directory: int, made: os.stat_result) -> None:
    """Remove what was made here, if it still has that name."""
    try:
        there = os.stat(os.path.basename(path), dir_fd=directory, follow_symlinks=False)
        if os.path.samestat(there, made):
            os.unlink(os.path.basename(path), dir_fd=directory)
    except FileNotFoundError:
        pass
    except OSError:
        loop.left = path
