"""What moves on this machine, and how far it is: the looks behind ``pollprog top``.

A **job** is what the kernel and the shell call one: a process group. A pipeline, a script with all that it starts, a cron
job, a service are a group each, and a shell at its prompt is one by itself. Only our own group may hold several, where a
script without job control started us beside them: in it, every child with all that descends from it is a job. We and those
whom we run under are none.

What is looked at narrows in three steps, so that a machine full of idle processes costs next to nothing:

* **Pass**: the CPU time and io counters of every process, once an interval. What moves in neither is not looked at further.
* **Probe**: the best for each group that moves, over the processes in it that do, on the sampler like any other.
* **Row**: where what the probe says grew of late. No row has what counts writes to anything at all, nor what only follows
  the end of a growing file; and a file whose final size nobody knows has to grow by more than a few lines of log.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import psutil
import trio

from pollprog.channel import Channel, Clock
from pollprog.probes.chooser import Chooser
from pollprog.process import KERNEL_THREAD, Process, ProcessTree, parse_io, parse_stat
from pollprog.sampler import Sampler
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pollprog.process import Io, Stat
    from pollprog.status import Sample, Status

__all__ = ["Found", "Job", "Looks"]

FRESH = 10.0
"""Seconds for which a row without a total stays after it last grew."""
LINGER = 60.0
"""The same with a total: a stalled copy is what somebody may have come to see."""
FIRST_LOOKS, FIRST_INTERVAL = 5, 0.25
"""The first looks follow each other quickly; what is printed once is printed after them."""
LEAST = 1 << 16
"""Bytes by which what has no certain total has to grow."""
MOST_JOBS, MOST_MEMBERS = 48, 16
"""Each process that is probed costs a descriptor, of which we usually may have 1024."""
CHATTER = ("evidence:wchar", "evidence:write_bytes")
"""Sources that count writes to anything at all."""
NOTHING = "nothing whose progress can be told"
SURVEYING = threading.Lock()
"""Held while a tree is walked for its total: a viewer is no reason to walk several at a time."""

Identity = tuple[int, int]
"""The pid and start of a process."""
Key = tuple[int, int]
"""A process group; and in our own group the process at the top of a tree, else 0."""


class Found(NamedTuple):
    """One group in which something moves: who started first (a script, the head of a pipeline), and who moves."""

    pid: int
    start: int
    name: str
    members: list[Identity]


def read(path: str) -> bytes:
    """A small file under /proc."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def grouped(told: dict[int, Stat]) -> dict[Key, list[int]]:
    """The processes of each job, those that started first before the others."""
    ours, own, group_of = set(), os.getpgrp(), {}
    pid = os.getpid()
    while pid in told:
        ours.add(pid)
        pid = told[pid].parent
    for pid in told.keys() - ours:
        with suppress(ProcessLookupError):
            group_of[pid] = os.getpgid(pid)
    groups: dict[Key, list[int]] = {}
    for pid in sorted(group_of, key=lambda pid: (told[pid].start, pid)):
        top = pid if group_of[pid] == own else 0
        while top and group_of.get(told[top].parent) == own:
            top = told[top].parent
        groups.setdefault((group_of[pid], top), []).append(pid)
    return groups


class Group(ProcessTree):
    """The moving processes of one job, as the last pass found them, in the place of a tree."""

    __slots__ = ("members",)

    def __init__(self, root: Process, members: list[Identity]) -> None:
        super().__init__(root)
        self.members = members

    def look(self) -> list[tuple[Process, Stat]]:
        """Every live member with what its stat says now."""
        found = {}
        for pid, start in self.members:
            with suppress(OSError, ValueError):
                process = self._known.get(pid) or Process(pid, keep=False)
                self._known[pid] = process
                told = process.stat()
                if process.start == start and not told.ended:
                    found[pid] = process, told
        for pid in self._known.keys() - found.keys():
            self._forget(pid)
        return list(found.values())


class Job:
    """A group that moves, and how far it is: for the sampler a probe, which asks the best; its channel; whether it has a row."""

    def __init__(self, found: Found, sampler: Sampler, interval: float, *, excluded: set[str] | None = None) -> None:
        self.found = found
        self.name = f"for {found.name} ({found.pid})"
        """As the log calls it: the probe for cp (4711)."""
        self.command = found.name
        self.pulse = 0
        """Where the blob of its bar is."""
        self._group = Group(Process(found.pid, keep=False), found.members)
        self._chooser = Chooser(self._group, launched=False, excluded=excluded)
        self._base: Sample | None = None  # what growth is counted from
        self._based = 0.0
        self._grew = float("-inf")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - found.start / os.sysconf("SC_CLK_TCK")
        self._channel = Channel(f"{found.name}-{found.pid}", clock=Clock(started=time.monotonic() - age))
        self.entry = sampler.add(self, self._take, interval=interval)

    def update(self, found: Found) -> None:
        """Take in what the newest pass found."""
        self.found, self._group.members = found, found.members

    def hangs_in(self) -> set[str] | None:
        """What the next job for the same group is to leave out, if this one was dropped; None if it was not, or nothing is left."""
        return self._chooser.left_behind() if self.entry.removed else None

    @property
    def pid(self) -> int:
        """The process that it is known by."""
        return self.found.pid

    def sample(self) -> Sample | None:
        """What the best probe says; and the command, which may have become another by exec. In the sampler's thread."""
        with suppress(OSError, ValueError):
            process = Process(self.found.pid, keep=False)
            self.command = " ".join(process.argv()).strip() or self.found.name
            process.close()
        return self._chooser.sample()

    def survey(self) -> Iterator[int] | None:
        """The walk that the probe wants, when no other is under way."""
        walk = self._chooser.survey()
        return None if walk is None else alone(walk)

    def close(self) -> None:
        """Give back every descriptor."""
        self._chooser.close()

    def _take(self, sample: Sample) -> None:
        self._channel.report(sample)
        now, base = time.monotonic(), self._base
        certain = sample.unit is not Unit.BYTES or (sample.total is not None and sample.bound is not Bound.ESTIMATE)
        if base is None or (base.source, base.phase) != (sample.source, sample.phase) or now - self._based > FRESH:
            self._base, self._based = sample, now
        elif sample.current - base.current >= (1 if certain else LEAST):
            follows = base.total is not None and base.current >= base.total
            self._base, self._based, self._grew = sample, now, self._grew if follows else now

    def row(self) -> Status | None:
        """How far it is, if it has a row."""
        status = self._channel.latest()
        stays = FRESH if status.total is None else LINGER
        told = status.source not in CHATTER and not self.entry.removed and time.monotonic() - self._grew <= stays
        return status if told else None


def alone(walk: Iterator[int]) -> Iterator[int]:
    """The same walk, when no other is under way."""
    with SURVEYING:
        yield from walk


class Looks:
    """All jobs. For the sampler, the pass over all processes is one more probe, in the same thread."""

    def __init__(self) -> None:
        self.sampler = Sampler()
        self.entry = self.sampler.add(self, lambda _: None, interval=FIRST_INTERVAL)
        self._hidden = 0
        self._counters: dict[Identity, tuple[int, Io]] = {}
        self._moved: dict[Identity, float] = {}
        self._found: dict[Key, Found] = {}
        self._jobs: dict[Key, Job] = {}

    # -- in the sampler's thread

    def sample(self) -> None:
        """One pass: which groups move, and in each which processes."""
        told, counters = self._read_all()
        now = time.monotonic()
        moved = {who: when for who, when in self._moved.items() if who in counters and now - when < LINGER}
        moved |= {who: now for who, last in self._counters.items() if counters.get(who, last) != last}
        self._counters, self._moved, found = counters, moved, {}
        for key, pids in grouped(told).items():
            members = [who for pid in pids if (who := (pid, told[pid].start)) in moved]
            if members:
                first = next((pid for pid in pids if told[pid].name != "pollprog"), pids[0])
                found[key] = Found(first, told[first].start, told[first].name, members[:MOST_MEMBERS])
        self._found = found

    def _read_all(self) -> tuple[dict[int, Stat], dict[Identity, tuple[int, Io]]]:
        told: dict[int, Stat] = {}
        counters = {}
        hidden = 0
        for pid in psutil.pids():
            try:
                stat = parse_stat(read(f"/proc/{pid}/stat"))
                if not stat.ended and not stat.flags & KERNEL_THREAD:
                    told[pid] = stat
                    counters[pid, stat.start] = stat.ticks, parse_io(read(f"/proc/{pid}/io"))
            except PermissionError:
                hidden += 1
            except (OSError, ValueError):
                continue
        self._hidden = hidden
        return told, counters

    def close(self) -> None:
        """Nothing to give back."""

    # -- in the trio thread

    async def run(self) -> None:
        """Look, until cancelled."""
        await self.sampler.run()

    def update(self, interval: float) -> None:
        """Probe what the last pass found, every `interval` seconds, and nothing else."""
        found = self._found
        for key in self._jobs.keys() - found.keys():
            self.sampler.remove(self._jobs.pop(key).entry)
        for key, group in found.items():
            job = self._jobs.get(key)
            excluded = None if job is None else job.hangs_in()
            if job is not None and excluded is None:
                job.update(group)
            elif job is not None or len(self._jobs) < MOST_JOBS:
                with suppress(OSError):  # it has ended already
                    self._jobs[key] = Job(group, self.sampler, interval, excluded=excluded)
        for entry in (self.entry, *(job.entry for job in self._jobs.values())):
            entry.interval = interval

    def rows(self) -> list[tuple[Job, Status]]:
        """Each job whose progress can be told, with how far it is."""
        rows = [(job, status) for job in self._jobs.values() if (status := job.row()) is not None]
        return sorted(rows, key=lambda row: row[0].found.pid)

    def notes(self, rows: Sequence[object]) -> list[str]:
        """What is to be said besides the rows."""
        hidden = f"{self._hidden} processes of other users are hidden; root sees them"
        return ([] if rows else [NOTHING]) + ([hidden] if self._hidden and os.geteuid() else [])

    async def first(self) -> None:
        """The first looks, which take a second or so: before them nothing is known. The sampler runs meanwhile."""
        for _ in range(FIRST_LOOKS):
            await trio.sleep(FIRST_INTERVAL)
            self.update(FIRST_INTERVAL)

    @property
    def failed(self) -> bool:
        """Whether there is nothing more to see, for the pass raised something, which the log tells."""
        return self.entry.removed
