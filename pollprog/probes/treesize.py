"""``treesize``: how much there is in a directory that is being filled, as by ``cp -r`` and ``tar x``; and the walk itself.

What counts are the regular files that were made or changed since the command began: what was in the directory before is
no work of its. The kernel's change time tells them apart, which no ``cp -p`` or ``tar x`` sets back. (Where a file server's
clock is behind ours, or a file system keeps whole seconds only, the files of the first moments are missed.)

A walk takes longer than a look may, so it runs beside the looks, as a survey; one follows the other, and half of the time at
most is spent walking. What a look tells is what the last complete walk found, a moment ago: a lower bound.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pollprog.errors import UsageError
from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pollprog.probes import Target
    from pollprog.process import Process

__all__ = ["TreeSize", "began", "probe", "survey_tree"]

BREATH = 0.01
"""Seconds of walking after which `survey_tree` pauses."""
ENTRIES = 256
"""Entries after which it pauses."""
OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
COARSENESS = 20_000_000
"""Nanoseconds by which a change time or a start time may be behind the clock: both are taken from its last tick."""


def survey_tree(path: str, *, since: int = 0) -> Iterator[int]:
    """Walk a tree, yielding the sum so far of the sizes of its regular files, in bytes, often, and once more at the end.

    Each file counts once, however many hard links it has, and with the size that it says it has, holes and all. Symbolic
    links are not followed, but `path` may be one. Other file systems are entered, as ``cp -r`` and ``tar`` do, but neither
    proc nor sysfs. What cannot be read, or is gone when its turn comes, is passed over. `since` leaves out the files whose
    change time, in nanoseconds since 1970, is before it.
    """
    total = seen = 0
    pause = time.monotonic() + BREATH
    links: dict[tuple[int, int], int] = {}
    for info in _entries(path):
        if info is not None and info.st_ctime_ns >= since and (info.st_nlink < 2 or _first(links, info)):
            total += info.st_size
        seen += 1
        if seen >= ENTRIES or time.monotonic() >= pause:
            yield total
            seen, pause = 0, time.monotonic() + BREATH
    yield total


def _entries(path: str) -> Iterator[os.stat_result | None]:
    """What stat says of each regular file below `path`; None for everything else that is met on the way."""
    unreal = _unreal_devices()
    pending = [path]
    while pending:
        folder = pending.pop()
        yield None
        try:
            descriptor = os.open(folder, OPENING | (0 if folder is path else os.O_NOFOLLOW))
        except (OSError, ValueError):
            continue
        try:
            if os.fstat(descriptor).st_dev in unreal:
                continue
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    found = None
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(f"{folder}/{entry.name}")
                        elif entry.is_file(follow_symlinks=False):
                            found = entry.stat(follow_symlinks=False)
                    except OSError:
                        pass
                    yield found
        except OSError:
            continue
        finally:
            os.close(descriptor)


def _first(links: dict[tuple[int, int], int], info: os.stat_result) -> bool:
    """Whether this is the first name of a file that has several.

    `links` holds how many names are left of each file that was met; what is known of one goes with its last name.
    """
    key = info.st_dev, info.st_ino
    left = links.pop(key, info.st_nlink) - 1
    if left:
        links[key] = left
    return left == info.st_nlink - 1


def _unreal_devices() -> set[int]:
    """The device numbers of every proc and sysfs: their files have sizes that nobody stores."""
    found = set()
    with suppress(OSError), open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            if after.split(b" ", 1)[0] in (b"proc", b"sysfs"):
                major, minor = before.split(b" ")[2].split(b":")
                found.add(os.makedev(int(major), int(minor)))
    return found


def began(process: Process) -> int:
    """When a process started, in nanoseconds since 1970: no file that it has changed is older."""
    since_boot = process.start * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - since_boot
    return time.time_ns() - age - COARSENESS


class TreeSize:
    """The size of a directory that a process tree fills."""

    __slots__ = ("_activity", "_current", "_due", "_path", "_since", "_target")

    def __init__(self, target: Target, path: str) -> None:
        self._target = target
        self._path = path
        self._since = began(target.tree.root)
        self._activity = Activity(target.tree)
        self._current: int | None = None
        self._due = 0.0

    def sample(self) -> Sample | None:
        """What the last complete walk found; None before the first, and while there is no directory."""
        current = self._current
        if current is None:
            return None
        return Sample(current, self._target.total, source="treesize", bound=Bound.LOWER, activity=self._activity.look())

    def survey(self) -> Iterator[int] | None:
        """The next walk, once as much time has passed since the last as that one took."""
        return self._walk() if time.monotonic() >= self._due else None

    def _walk(self) -> Iterator[int]:
        start = time.monotonic()
        size = 0
        for size in survey_tree(self._path, since=self._since):
            yield size
        self._current = size if os.path.isdir(self._path) else None
        end = time.monotonic()
        self._due = end + (end - start)

    def close(self) -> None:
        """Nothing is held: a walk gives back what it has open when it is dropped."""


def probe(target: Target, argument: str | None) -> TreeSize:
    """``treesize:DIRECTORY``, which need not be there yet. UsageError if it is something else."""
    if not argument:
        raise UsageError("treesize needs the directory that is filled; say treesize:DIRECTORY")
    if "\0" in argument:
        raise UsageError(f"{argument!r} cannot be the name of a directory")
    if os.path.lexists(argument) and not os.path.isdir(argument):
        raise UsageError(f"{argument!r} is not a directory; for a file say filesize:{argument}")
    return TreeSize(target, os.path.abspath(argument))
