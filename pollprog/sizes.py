"""Sizes as people type them: ``4G`` for an option, and what ``--total`` takes beside them.

A prefix alone counts in powers of 1024, as in dd, tar and qemu-img, and so does one with ``i`` (``4G``, ``4Gi``, ``4GiB``); with ``B``
alone it counts in powers of 1000 (``4GB``). Upper and lower case mean the same. The arithmetic is on integers: no size is
off by a byte because a fraction has no binary form.

This module is read before a command is started, so it imports nothing that takes time.
"""

from __future__ import annotations

import os
import stat

from pollprog.errors import UsageError

__all__ = ["Directory", "parse_size", "parse_total"]

MOST = 2**63 - 1
"""The largest size that a file can have on Linux."""
LONGEST = 64
"""No size needs more characters than this."""

FACTORS = {"": 1, "B": 1}
for _power, _prefix in enumerate("KMGTPE", 1):
    FACTORS |= {f"{_prefix}{binary}": 1024**_power for binary in ("", "I", "IB")}
    FACTORS[f"{_prefix}B"] = 1000**_power


class Directory(str):
    """The path of a directory whose contents are the total; to be walked while the work runs, as that takes time."""

    __slots__ = ()


def parse_size(text: str) -> int:
    """The number of bytes, at least 1, that ``4G``, ``4GiB``, ``4GB``, ``1.5T``, ``512`` or ``100k`` stand for.

    A fraction of a byte is rounded. Raises UsageError for anything else, with a line that says what to type.
    """
    word = text.strip()
    number = word.rstrip("bBiIkKmMgGtTpPeE")
    factor = FACTORS.get(word[len(number) :].upper())
    whole, point, fraction = number.rstrip().partition(".")
    digits = whole + fraction
    if factor is None or not digits.isascii() or not digits.isdigit() or len(word) > LONGEST:
        raise _refused(text)
    if point and (not fraction or factor == 1):
        raise _refused(text)
    scale = 10 ** len(fraction)
    size: int = (2 * int(digits) * factor + scale) // (2 * scale)
    if size < 1:
        raise _refused(text)
    if size > MOST:
        raise UsageError(
            f"{_quoted(text)} is more than the 8 EiB that a file can have; say it like 4G, 1.5T or 1000000"
        )
    return size


def parse_total(text: str) -> int | Directory:
    """What ``--total`` says: a size, ``@FILE`` for the size of a file or block device, ``@DIRECTORY`` for all that is in it.

    A directory is handed back as such, not measured. Raises UsageError, with a line that says what to type.
    """
    if not text.startswith("@"):
        return parse_size(text)
    path = text[1:]
    if not path:
        raise UsageError(
            "nothing stands after the @; name the file or directory whose size is the total, as in @disk.img"
        )
    try:
        info = os.stat(path)
        if stat.S_ISDIR(info.st_mode):
            return Directory(path)
        if stat.S_ISREG(info.st_mode):
            size = info.st_size
        elif stat.S_ISBLK(info.st_mode):
            size = _device_size(info.st_rdev)
        else:
            raise UsageError(f"{_quoted(path)} has no size; name a file, a directory or a block device after the @")
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UsageError(f"{_quoted(path)}: {reason}; name a file or directory that is there after the @") from error
    if size < 1:
        raise UsageError(f"{_quoted(path)} is empty, so it cannot be the total; say a size, like 4G")
    return size


def _device_size(number: int) -> int:
    """The size of a block device, which need not be ours to open."""
    with open(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/size", "rb") as file:
        return int(file.read()) * 512


def _refused(text: str) -> UsageError:
    return UsageError(f"{_quoted(text)} is not a size; say it like 4G, 4GiB, 1.5T, 500M or 1000000")


def _quoted(text: str) -> str:
    """What was typed, on one line, and not more of it than a line holds."""
    return repr(text if len(text) <= LONGEST else text[:LONGEST] + "…")
