"""Brings bytes from one open file into another, the quickest way there is.

* A reflink, else copy_file_range(2), else read and write. What the kernel refuses for whatever reason is tried in the next
  way; the last one works, or fails with an error that says which file is at fault.
* Writing to disk is started behind each step, so that the count keeps the pace of the disk and little is left to sync.
* Holes are not brought over. A file whose blocks are all allocated is taken to have none, as cp does: asking costs more than
  it brings.
* The source's size is that at the start. What is appended meanwhile is not copied; a file that got shorter is an error.
  Files that say a wrong size, as those of /proc and /sys do, are copied to their end.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from pollprog.errors import OperationFailed
from pollprog.loops import BUFFER, STEP
from pollprog.paths import called, has_holes, parameter
from pollprog.syscalls import start_writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pollprog.loops import Loop

__all__ = ["UNKNOWN_END", "Transfer", "WriteBehind", "became_shorter", "stretches"]

FICLONE = 0x40049409
"""On the few architectures that number ioctls otherwise it is refused, and the bytes are copied."""
UNKNOWN_END = 1 << 62


class WriteBehind:
    """Has the disk begin with what lies behind a file's writer."""

    def __init__(self, descriptor: int, offset: int = 0) -> None:
        self.descriptor = descriptor
        self.started = offset
        """Up to this offset, writing to disk has been started."""

    def reached(self, at: int, *, at_least: int = STEP) -> None:
        """Everything before `at` is written."""
        if at - self.started >= at_least:
            start_writing(self.descriptor, self.started, at - self.started)
            self.started = at


class Transfer:
    """Two open files, and what has turned out about the ways from one to the other."""

    def __init__(
        self,
        loop: Loop,
        reader: int,
        source: bytes,
        writer: int,
        destination: bytes,
        *,
        behind: WriteBehind | None = None,
    ) -> None:
        self.loop = loop
        self.reader = reader
        self.source = source
        self.writer = writer
        self.destination = destination
        self.behind = behind or WriteBehind(writer)
        self.in_kernel = hasattr(os, "copy_file_range")
        self.buffer = memoryview(b"")
        self.may_wait = False
        """What is read may come when it comes, as from /proc/kmsg."""

    def data(self, info: os.stat_result, size: int) -> int:
        """How many bytes of data there are to bring, holes left out."""
        found = 0
        for start, end in stretches(self.reader, size, holes=has_holes(info)):
            self.loop.check()
            found += end - start
        return found

    def whole(self, info: os.stat_result, size: int, data: int | None) -> int:
        """Bring everything into a new, empty file, of which `data` bytes are counted; what the size is in the end."""
        try:
            fcntl.ioctl(self.writer, FICLONE, self.reader)
        except OSError:
            pass  # another file system, or one that cannot share blocks
        else:
            self.loop.count(self.loop.done + (data or 0))
            return os.fstat(self.writer).st_size
        holes = has_holes(info)
        self.may_wait = not size
        if holes:
            os.ftruncate(self.writer, size)  # or XFS fills holes with what it allocates ahead of a growing end
        reached = size
        for start, end in stretches(self.reader, size or UNKNOWN_END, holes=holes):
            reached = self.stretch(start, end)
            if reached < end:
                break
        else:
            reached = size  # a hole may be the last
        now = os.fstat(self.reader).st_size if stat.S_ISREG(info.st_mode) else reached
        if now < size:
            raise became_shorter(self.source)
        os.ftruncate(self.writer, reached)
        return reached

    def stretch(self, start: int, end: int, shift: int = 0) -> int:
        """Bring one stretch over, `shift` bytes further on; the offset reached, less than `end` where the source ended before."""
        at = start
        while at < end:
            self.loop.check()
            count = self.step(at, end, shift)
            if not count:
                break
            at += count
            self.loop.count(self.loop.done + count)
            self.behind.reached(at + shift)
        return at

    def step(self, at: int, end: int, shift: int) -> int:
        """Bring the next bytes over; how many, 0 at the end of the source."""
        if self.in_kernel:
            try:
                # 0 is no proof of an end: kernels before 5.19 say so of files in /proc.
                if count := os.copy_file_range(self.reader, self.writer, min(STEP, end - at), at, at + shift):
                    return count
            except OSError as error:
                self.in_kernel = error.errno == errno.EINTR
        if not self.buffer:
            self.buffer = memoryview(bytearray(BUFFER))
        self.loop.reading(self.source)
        if self.may_wait:
            self.loop.wait_for(self.reader)
        count = os.preadv(self.reader, [self.buffer[: end - at]], at)
        self.loop.writing(self.destination)
        return write_all(self.writer, self.buffer[:count], at + shift)


def write_all(descriptor: int, data: memoryview, at: int) -> int:
    """Write all of it; how much was. Less, where it went on and then failed: the next write will say why."""
    written = 0
    while written < len(data):
        try:
            written += os.pwrite(descriptor, data[written:], at + written)
        except OSError:
            if not written:
                raise
            break
    return written


def stretches(descriptor: int, size: int, *, holes: bool, start: int = 0) -> Iterator[tuple[int, int]]:
    """Where data begins and ends between `start` and `size`, in order."""
    if not holes:
        if start < size:
            yield start, size
        return
    end = start
    while end < size:
        try:
            begin = os.lseek(descriptor, end, os.SEEK_DATA)
            hole = os.lseek(descriptor, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # a hole to the end
            begin, hole = end, size  # a file system that does not tell
        if begin < size:
            yield begin, min(hole, size)
        end = hole


def became_shorter(source: bytes) -> OperationFailed:
    """The error for a source that ends before it said it would."""
    return OperationFailed(f"{called(source)} became shorter while it was being copied", path=parameter(source))
