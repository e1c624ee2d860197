"""System calls that Python's `os` lacks. Each takes an open descriptor, and fails with an OSError.

A C library that does not have one of them answers as a kernel without it does: ENOSYS.
"""

from __future__ import annotations

import errno
import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

__all__ = ["punch_hole", "rename_without_replacing", "start_writing", "sync_file_system", "zero_range"]

RENAME_NOREPLACE = 1
SYNC_FILE_RANGE_WRITE = 2
FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
FALLOC_FL_ZERO_RANGE = 0x10


def start_writing(descriptor: int, offset: int, length: int) -> None:
    """Ask the kernel to begin to write this stretch to disk. What goes wrong with it, fsync will tell."""
    from ctypes import c_int64, c_uint

    try:
        _libc().sync_file_range(descriptor, c_int64(offset), c_int64(length), c_uint(SYNC_FILE_RANGE_WRITE))
    except AttributeError:
        pass  # a C library without it


def zero_range(descriptor: int, offset: int, length: int) -> None:
    """Make this stretch read as zeroes, with its space kept; a file that ends before grows. Quick where it works at all."""
    _fallocate(descriptor, FALLOC_FL_ZERO_RANGE, offset, length)


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Make this stretch read as zeroes, and give its space back; the file keeps its size."""
    _fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)


def rename_without_replacing(old: bytes, new: bytes, directory: int) -> None:
    """rename(2) within a directory that fails where `new` exists; EINVAL where the file system has no such call."""
    from ctypes import c_uint, get_errno

    try:
        failed = _libc().renameat2(directory, old, directory, new, c_uint(RENAME_NOREPLACE))
    except AttributeError:
        raise _missing() from None
    if failed:
        raise _error(get_errno())


def sync_file_system(descriptor: int) -> None:
    """Bring everything on the file system of this file to disk."""
    from ctypes import get_errno

    try:
        failed = _libc().syncfs(descriptor)
    except AttributeError:
        os.sync()
        return
    if failed:
        raise _error(get_errno())


def _fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    from ctypes import c_int64, get_errno

    library = _libc()
    try:
        # Where both are there, only this one takes 64 bits on every machine; where it is not, the other does.
        call = getattr(library, "fallocate64", None) or library.fallocate
    except AttributeError:
        raise _missing() from None
    if call(descriptor, mode, c_int64(offset), c_int64(length)):
        raise _error(get_errno())


@cache
def _libc() -> ctypes.CDLL:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _missing() -> OSError:
    return _error(errno.ENOSYS)
