"""Our own loops over bytes: each runs whole in one thread and stores how far it is into a `Counter`.

How a copy goes:

* Everything is written to a temporary file beside the destination (``.NAME.pollprog-…``, readable by nobody to whom the
  finished file will not be), synced, and only then given its name. So whoever looks finds under that name nothing, or what was there before, or all of it. A named temporary serves
  every file system and both kinds of publishing; an unnamed one (``O_TMPFILE``) cannot replace, and lacks in many places.
  Its price is that after SIGKILL the temporary stays. On every other way out it is removed, and nothing else is.
* Without `force` the name is given by link(2), which fails where something exists, however late it appeared; where the
  file system has no hard links, by renameat2(2) with RENAME_NOREPLACE. With `force` it is given by rename(2): the
  destination becomes a new file, other hard links to the old one keep what they had, and mode and owner of the old one
  are taken over. A symbolic link is followed, as cp does, and stays a link. Devices and FIFOs are never replaced.
* Bytes go the quickest way there is: a reflink, else copy_file_range(2), else read and write. What the kernel refuses for
  whatever reason is tried in the next way; the last one works, or fails with an error that says which file is at fault.
* Writing to disk is started behind each step, so that the count keeps the pace of the disk and little is left to sync.
* Holes stay holes. `current` and `total` count data alone, which is where the time goes. A file whose blocks are all
  allocated is taken to have no holes, as cp does: asking costs more than it brings.
* The source's size is that at the start. What is appended meanwhile is not copied; a file that got shorter is an error.
  Files that say a wrong size, as those of /proc and /sys do, are copied to their end.

Kept with `preserve`: permissions, times in nanoseconds, owner and group as far as allowed (setuid and setgid only with the
owner). Never kept: access lists, extended attributes, hard links among several files.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import ExitStack
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from pollprog.errors import Cancelled, CopyError
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["Counter", "copy_file"]

STEP = 4 << 20
"""Bytes asked of the kernel at a time: a few milliseconds, between which a cancel is heard and the count moves."""
BUFFER = 256 << 10
"""Bytes read and written at a time: what stays in the processor's cache."""
FICLONE = 0x40049409
"""On the few architectures that number ioctls otherwise it is refused, and the bytes are copied."""
RENAME_NOREPLACE = 1
SYNC_FILE_RANGE_WRITE = 2
UNKNOWN_END = 1 << 62

HINTS = {
    errno.ENOSPC: "free some space there, or choose another place",
    errno.EDQUOT: "free some of the quota, or choose another place",
    errno.EFBIG: "see `ulimit -f`, or choose a file system that takes files of this size",
    errno.EACCES: "see the permissions of the file and of the directories above it",
    errno.EPERM: "see the permissions of the directory, and `lsattr`",
    errno.ENOENT: "see whether the name is right and its directory exists",
    errno.EROFS: "choose a place that can be written",
    errno.EIO: "see `dmesg` for what the device says",
}


class Counter:
    """How far a loop is: written by the loop alone, looked at from any thread. It is a probe.

    A loop stores into `current` and `total` as it goes: an attribute assignment, no call. Within a phase it raises `total`
    before `current`. Only a change of phase takes the lock, so that nobody sees a new phase with an old count.
    """

    __slots__ = ("_phase_change", "current", "phase", "total")

    def __init__(self) -> None:
        self.current: int = 0
        self.total: int | None = None
        self.phase: str = ""
        self._phase_change = Lock()

    def begin(self, phase: str, total: int | None) -> None:
        """Start a phase at 0 of `total` bytes; None where nobody knows."""
        with self._phase_change:
            self.phase, self.total, self.current = phase, total, 0

    def sample(self) -> Sample:
        """How far the loop is now, in bytes."""
        with self._phase_change:
            current = self.current  # before the total, which may be growing
            return Sample(current, self.total, Unit.BYTES, self.phase, "copy", Bound.EXACT)

    def close(self) -> None:
        """Nothing is held."""


def copy_file(
    source: Path,
    destination: Path,
    *,
    counter: Counter,
    cancel: Callable[[], bool],
    force: bool = False,
    preserve: bool = False,
) -> int:
    """Copy a regular file, or what a block device holds, to a regular file; the size of the new file, holes included.

    `cancel` is asked before each step. `force` replaces an existing file. Blocks: call it from a thread of its own.
    The main phase of `counter` is ``""``, then comes ``"sync"``, at whose end `current` is `total`.

    Raises `Cancelled` if `cancel` said True, `CopyError` for everything else; both with the bytes of data that had been
    copied by then, and have been removed again.
    """
    copy = _Copy(_checked(source), _checked(destination), counter, cancel)
    try:
        with ExitStack() as stack:
            return copy.run(stack, force=force, preserve=preserve)
    except OSError as error:
        raise CopyError(copy.explain(error), written=copy.copied) from error
    except CopyError as error:
        error.args = (f"{error}{copy.how_far()}",)
        error.written = copy.copied
        raise


class _Copy:
    """One copy under way."""

    def __init__(self, source: bytes, destination: bytes, counter: Counter, cancel: Callable[[], bool]) -> None:
        self.source = source
        self.destination = destination
        self.counter = counter
        self.cancel = cancel
        self.copied = 0
        self.total: int | None = None
        self.touched = source
        """The file that an error would be about now."""
        self.in_kernel = hasattr(os, "copy_file_range")
        self.buffer = memoryview(b"")
        self.started = 0
        """Up to this offset, writing to disk has been started."""
        self.left = b""
        """A temporary that could not be removed."""
        self.published = False

    def run(self, stack: ExitStack, *, force: bool, preserve: bool) -> int:
        """The whole of it. What `stack` closes in the end is what was opened and made here."""
        info = os.stat(self.source)
        if stat.S_ISDIR(info.st_mode):
            raise CopyError(f"{_name(self.source)} is a directory: this copies one file; try `pollprog run -- cp -a`")
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISBLK(info.st_mode)):
            raise CopyError(f"{_name(self.source)} is no file with an end: try `pollprog run -- cat`")
        self.reader = os.open(self.source, os.O_RDONLY)
        stack.callback(os.close, self.reader)
        info = os.fstat(self.reader)
        size = os.lseek(self.reader, 0, os.SEEK_END) if stat.S_ISBLK(info.st_mode) else info.st_size

        self.touched = self.destination
        replaced = self.replaceable(info, force=force)
        directory = os.open(os.path.dirname(self.destination) or b".", os.O_PATH | os.O_DIRECTORY)
        stack.callback(os.close, directory)
        name = os.path.basename(self.destination)
        temporary = os.fsencode(f".{os.fsdecode(name)[:48]}.pollprog-{os.urandom(6).hex()}")
        stack.callback(self.discard, temporary, directory)
        # A new file gets the mode that cp gives it: the source's, less what the umask or a default access list takes away.
        mode = 0o600 if preserve or replaced else info.st_mode & 0o777
        self.writer = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=directory)
        stack.callback(os.close, self.writer)

        self.check()
        size = self.transfer(info, size)
        if like := info if preserve else replaced:
            self.dress(like, preserve=preserve)
        self.counter.begin("sync", None)
        self.check()
        os.fsync(self.writer)
        self.check()
        self.publish(temporary, name, directory, force=force)
        self.published = True
        self.sync_directory(directory)
        self.counter.total = self.counter.current = self.copied
        return size

    def replaceable(self, source: os.stat_result, *, force: bool) -> os.stat_result | None:
        """What stands at the destination and is to be replaced; None if nothing does."""
        name = _name(self.destination)
        try:
            # Opened, so that the kernel resolves a symbolic link, by its rules for links that strangers put into /tmp.
            there = os.open(self.destination, os.O_PATH)
        except FileNotFoundError:
            if os.path.islink(self.destination):
                raise CopyError(f"{name} is a symbolic link to nothing: remove it first") from None
            if not os.path.basename(self.destination):
                raise CopyError(f"{name} names a directory: name the file to be written") from None
            return None
        try:
            info = os.fstat(there)
            if stat.S_ISDIR(info.st_mode):
                inside = _name(os.path.join(self.destination, os.path.basename(self.source)))
                raise CopyError(f"{name} is a directory: name the file to be written, as in {inside}")
            if os.path.samestat(info, source):
                raise CopyError(f"{_name(self.source)} and {name} are the same file")
            if not stat.S_ISREG(info.st_mode):
                raise CopyError(f"{name} is no regular file, and is not replaced by one: try `pollprog run -- dd`")
            if not force:
                raise CopyError(f"{name} exists: --force replaces it")
            if os.path.islink(self.destination):
                self.destination = os.readlink(b"/proc/self/fd/%d" % there)
                os.stat(self.destination)  # fails if the link's file has just been deleted
            return info
        finally:
            os.close(there)

    def check(self) -> None:
        """Stop here if somebody asked for it."""
        if self.cancel():
            raise Cancelled(f"copying {_name(self.source)} to {_name(self.destination)} was cancelled")

    def transfer(self, info: os.stat_result, size: int) -> int:
        """Bring all data over, and the size; what the size is in the end."""
        holes = stat.S_ISREG(info.st_mode) and info.st_blocks * 512 < size
        if size:
            self.total = sum(end - start for start, end in self.stretches(size, holes=holes))
        self.counter.begin("", self.total)
        try:
            fcntl.ioctl(self.writer, FICLONE, self.reader)
        except OSError:
            pass  # another file system, or one that cannot share blocks
        else:
            self.count(self.total or 0)
            return os.fstat(self.writer).st_size
        if holes:
            os.ftruncate(self.writer, size)  # or XFS fills holes with what it allocates ahead of a growing end
        reached = size
        for start, end in self.stretches(size, holes=holes):
            reached = self.copy_stretch(start, end)
            if reached < end:
                break
        else:
            reached = size  # a hole may be the last
        now = os.fstat(self.reader).st_size if stat.S_ISREG(info.st_mode) else reached
        if now < size:
            raise CopyError(f"{_name(self.source)} became shorter while it was being copied")
        os.ftruncate(self.writer, reached)
        return reached

    def stretches(self, size: int, *, holes: bool) -> Iterator[tuple[int, int]]:
        """Where data begins and ends, in order."""
        if not holes:
            yield 0, size or UNKNOWN_END
            return
        end = 0
        while end < size:
            self.check()
            try:
                start = os.lseek(self.reader, end, os.SEEK_DATA)
                hole = os.lseek(self.reader, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return  # a hole to the end
                start, hole = end, size  # a file system that does not tell
            if start < size:
                yield start, min(hole, size)
            end = hole

    def copy_stretch(self, start: int, end: int) -> int:
        """Bring one stretch over; the offset reached, less than `end` where the source ended before."""
        at = start
        while at < end:
            self.check()
            count = self.copy_step(at, end)
            if not count:
                break
            at += count
            self.count(self.copied + count)
            if at - self.started >= STEP:
                start_writing(self.writer, self.started, at - self.started)
                self.started = at
        return at

    def copy_step(self, at: int, end: int) -> int:
        """Bring the next bytes over; how many, 0 at the end of the source."""
        if self.in_kernel:
            try:
                # 0 is no proof of an end: kernels before 5.19 say so of files in /proc.
                if count := os.copy_file_range(self.reader, self.writer, min(STEP, end - at), at, at):
                    return count
            except OSError as error:
                self.in_kernel = error.errno == errno.EINTR
        if not self.buffer:
            self.buffer = memoryview(bytearray(BUFFER))
        self.touched = self.source
        count = os.preadv(self.reader, [self.buffer[: end - at]], at)
        self.touched = self.destination
        written = 0
        while written < count:
            written += os.pwrite(self.writer, self.buffer[written:count], at + written)
        return count

    def count(self, copied: int) -> None:
        """Store how far it is, with a total that is never less."""
        self.copied = copied
        if self.total is not None and copied > self.total:  # holes were filled while we copied
            self.total = self.counter.total = copied
        self.counter.current = copied

    def dress(self, like: os.stat_result, *, preserve: bool) -> None:
        """Give the new file the owner and permissions of another, and with `preserve` its times."""
        special = 0o7000 if preserve else 0
        try:
            os.fchown(self.writer, like.st_uid, like.st_gid)
        except OSError:
            special = 0  # they were meant for another's name, not for ours
            try:
                os.fchown(self.writer, -1, like.st_gid)
            except OSError:
                pass
        os.fchmod(self.writer, like.st_mode & (0o777 | special))
        if preserve:
            os.utime(self.writer, ns=(like.st_atime_ns, like.st_mtime_ns))

    def publish(self, temporary: bytes, name: bytes, directory: int, *, force: bool) -> None:
        """Give the finished file its name."""
        if force:
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            return
        try:
            try:
                os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            except FileExistsError:
                raise
            except OSError:  # no hard links there
                rename_without_replacing(temporary, name, directory)
        except FileExistsError as error:
            raise CopyError(f"{_name(self.destination)} appeared meanwhile (--force replaces it)") from error
        self.discard(temporary, directory)

    def discard(self, temporary: bytes, directory: int) -> None:
        """Remove the temporary name, if it is still there."""
        try:
            os.unlink(temporary, dir_fd=directory)
        except FileNotFoundError:
            pass
        except OSError:
            self.left = os.path.join(os.path.dirname(self.destination), temporary)

    def sync_directory(self, directory: int) -> None:
        """Bring the new name to disk, where the directory may be opened and can be synced."""
        try:
            readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
        except OSError:
            return
        try:
            os.fsync(readable)
        except OSError as error:
            if error.errno != errno.EINVAL:
                complete = f"{_name(self.destination)} is complete, but its name may be lost in a power cut"
                raise CopyError(f"{complete}: {error.strerror}") from error
        finally:
            os.close(readable)

    def how_far(self) -> str:
        """How an error's text goes on: what had been copied, and what became of it."""
        if self.published:
            return ""
        of_total = "" if self.total is None else f" of {_size(self.total)}"
        far = f", after {_size(self.copied)}{of_total}; what was copied has been removed" if self.copied else ""
        return f"{far}; remove {_name(self.left)}, which could not be removed" if self.left else far

    def explain(self, error: OSError) -> str:
        """The error in one line for a person."""
        verb = "read" if self.touched == self.source else "write"
        hint = HINTS.get(error.errno or 0)
        text = f"cannot {verb} {_name(self.touched)}: {error.strerror}{self.how_far()}"
        return f"{text}; {hint}" if hint else text


@cache
def _libc() -> ctypes.CDLL:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def start_writing(descriptor: int, offset: int, length: int) -> None:
    """Ask the kernel to begin to write this stretch to disk. What goes wrong with it, fsync will tell."""
    from ctypes import c_int64, c_uint

    try:
        _libc().sync_file_range(descriptor, c_int64(offset), c_int64(length), c_uint(SYNC_FILE_RANGE_WRITE))
    except AttributeError:
        pass  # a C library without it


def rename_without_replacing(old: bytes, new: bytes, directory: int) -> None:
    """rename(2) within a directory that fails where `new` exists."""
    from ctypes import c_uint, get_errno

    try:
        failed = _libc().renameat2(directory, old, directory, new, c_uint(RENAME_NOREPLACE))
        code = get_errno()
    except AttributeError:
        failed, code = -1, errno.ENOSYS
    if failed and code in (errno.EINVAL, errno.ENOSYS):
        raise CopyError("the file system there can name a file only by replacing what has the name (--force allows it)")
    if failed:
        raise OSError(code, os.strerror(code))


def _checked(path: Path) -> bytes:
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        raw = b""
    if not raw or b"\0" in raw:
        raise CopyError(f"{path!r} is not the name of a file")
    return raw


def _name(path: bytes) -> str:
    """A path for a message of one line, whatever bytes are in it."""
    text = os.fsdecode(path)
    return text if text.isprintable() else repr(text)


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
