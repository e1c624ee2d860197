"""What stands in the files that a command inherits, before it is started: none of that is its work.

A shell that runs several commands into one file, ``>>log``, or a list that is read line by line hands on a file in the middle
of it. Only before the start can be told where that is. It is asked on the way to the command's first instruction, so it is
cheap, and imports what the interpreter has loaded anyhow.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Before = Mapping[tuple[int, int], tuple[int, int, int]]
    """By device and inode: where the work begins, how long the file is and how much of it is allocated; all in bytes."""

__all__ = ["inherited"]


def inherited() -> Before:
    """Every regular file and block device that a program we start now gets open, as it stands."""
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return found  # no /proc: nothing can be measured either
    for name in names:
        try:
            if not os.get_inheritable(int(name)):
                continue
            info = os.fstat(int(name))
            if stat.S_ISREG(info.st_mode):
                begins = place_in(int(name), info.st_size) if info.st_size else 0
                key, size, blocks = (info.st_dev, info.st_ino), info.st_size, info.st_blocks * 512
            elif stat.S_ISBLK(info.st_mode):
                begins = os.lseek(int(name), 0, os.SEEK_CUR)
                key, size, blocks = (info.st_rdev, 0), begins, begins
            else:
                continue
        except (OSError, ValueError, IndexError):
            continue
        if key not in found or begins > found[key][0]:
            found[key] = begins, size, blocks
    return found


def place_in(descriptor: int, size: int) -> int:
    """Where the next write goes, or the next read comes from."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
        words = file.read(256).split()
    return size if int(words[3], 8) & os.O_APPEND else int(words[1])
