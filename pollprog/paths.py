"""Files by name: what may be one, how a message calls it, and which error it is when the kernel refuses.

Errors are told apart by class, so that whoever calls over a wire can act on them without reading the text. Their text is one
line whatever bytes a name has, and says what to do.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from pollprog.errors import (
    InvalidParameter,
    IsDirectory,
    NoSpace,
    NoSuchFile,
    NotAFile,
    NotDirectory,
    OperationError,
    OperationFailed,
    PermissionDenied,
)

if TYPE_CHECKING:
    from contextlib import ExitStack
    from typing import TypeAlias

    Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = [
    "allocated",
    "called",
    "checked",
    "has_holes",
    "natural",
    "open_source",
    "parameter",
    "refusal",
    "size_text",
    "sync_directory",
]

HINTS = {
    errno.ENOSPC: "free some space there, or choose another place",
    errno.EDQUOT: "free some of the quota, or choose another place",
    errno.EFBIG: "see `ulimit -f`, or choose a file system that takes files of this size",
    errno.EACCES: "see the permissions of the file and of the directories above it",
    errno.EPERM: "see the permissions of the directory, and `lsattr`",
    errno.ENOENT: "see whether the name is right and its directory exists",
    errno.EISDIR: "name the file in it",
    errno.ENOTDIR: "see whether each part of the path is a directory",
    errno.EROFS: "choose a place that can be written",
    errno.EIO: "see `dmesg` for what the device says",
    errno.EBUSY: "unmount it, or stop what uses it",
    errno.EMFILE: "see `ulimit -n`",
}

OF_A_PATH: dict[int, type[OperationError]] = {
    errno.ENOENT: NoSuchFile,
    errno.EACCES: PermissionDenied,
    errno.EPERM: PermissionDenied,
    errno.EISDIR: IsDirectory,
    errno.ENOTDIR: NotDirectory,
}


def checked(path: Path) -> bytes:
    """The bytes of a path. Raises NoSuchFile for what can be the name of nothing."""
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        raw = b""
    if not raw or b"\0" in raw:
        raise NoSuchFile(f"{path!r} is not the name of a file", path=_encodable(os.fsdecode(path)))
    return raw


def natural(value: int, name: str) -> int:
    """A size or an offset, as it is. Raises InvalidParameter if it is negative, or beyond what a file can have."""
    if not 0 <= value < 1 << 63:
        raise InvalidParameter(f"{name} is {value}: give a number of bytes that is not negative", parameter=name)
    return value


def called(path: bytes) -> str:
    """A path for a message of one line, whatever bytes are in it."""
    text = os.fsdecode(path)
    return text if text.isprintable() else repr(text)


def parameter(path: bytes) -> str:
    r"""A path as the parameter of an error: as it is, and bytes that are no UTF-8 as ``\udc..``, for it may cross a wire."""
    return _encodable(os.fsdecode(path))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def size_text(count: float) -> str:
    """So many bytes, for a message."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def refusal(
    error: OSError, verb: str, path: bytes, far: str = "", *, offset: int = 0, written: int = 0, kept: bool = False
) -> OperationError:
    """What the kernel said, as one of our errors. `far` is how far it had come, `kept` whether what was written stays."""
    code = error.errno or 0
    hint = HINTS.get(code)
    text = f"cannot {verb} {called(path)}: {error.strerror}{far}" + (f"; {hint}" if hint else "")
    if code in OF_A_PATH and not (kept and written):
        return OF_A_PATH[code](text, path=parameter(path))
    kind = NoSpace if code in (errno.ENOSPC, errno.EDQUOT) else OperationFailed
    name = errno.errorcode.get(code, "")
    return kind(text, path=parameter(path), errno=name, offset=offset, written=written)


def open_source(stack: ExitStack, path: bytes) -> tuple[int, os.stat_result, int]:
    """Open a regular file or a block device to read: its descriptor, which `stack` closes, its stat and its size."""
    info = os.stat(path)
    if stat.S_ISDIR(info.st_mode):
        text = f"{called(path)} is a directory: this copies one file; try `pollprog run -- cp -a`"
        raise IsDirectory(text, path=parameter(path))
    if not (stat.S_ISREG(info.st_mode) or stat.S_ISBLK(info.st_mode)):
        raise NotAFile(f"{called(path)} is no file with an end: try `pollprog run -- cat`", path=parameter(path))
    descriptor = os.open(path, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    info = os.fstat(descriptor)
    return descriptor, info, allocated(descriptor, info)


def allocated(descriptor: int, info: os.stat_result) -> int:
    """The size of a regular file, or of a block device, which its stat does not tell."""
    return os.lseek(descriptor, 0, os.SEEK_END) if stat.S_ISBLK(info.st_mode) else info.st_size


def has_holes(info: os.stat_result) -> bool:
    """Whether a file may have holes. One whose blocks are all there is taken to have none, as cp does."""
    return stat.S_ISREG(info.st_mode) and info.st_blocks * 512 < info.st_size


def sync_directory(directory: int, path: bytes) -> None:
    """Bring the name of a finished file to disk, where its directory may be opened and can be synced."""
    try:
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
    except OSError:
        return
    try:
        os.fsync(readable)
    except OSError as error:
        if error.errno != errno.EINVAL:
            text = f"{called(path)} is complete, but its name may be lost in a power cut: {error.strerror}"
            name = errno.errorcode.get(error.errno or 0, "")
            raise OperationFailed(text, path=parameter(path), errno=name) from error
    finally:
        os.close(readable)
