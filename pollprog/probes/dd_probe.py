"""How far a dd is: from its own reports where it may be asked for them, else from its descriptors.

It is asked by SIGUSR1, which does harm in the wrong place: a process without a handler is killed by it, and a read that it
interrupts comes back short, which dd counts as a block. So each signal passes every guard in `DdProbe.forbidden` first, the
handler last, and goes through a pidfd. One is sent at a time: while it is unanswered (dd is deep in a long write, or stopped)
no second one follows, and the descriptors are looked at instead.

What its descriptors tell runs ahead of what dd has written by what is in its buffers: one block, which may be large. Each
report says by how much, and between two of them that is taken off each look.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import termios
import time
from dataclasses import replace
from signal import SIGUSR1
from typing import TYPE_CHECKING

from pollprog.launch import Command
from pollprog.probes.dd import TOOL, is_busybox
from pollprog.probes.dd_arguments import parse
from pollprog.probes.dd_looks import Looks
from pollprog.probes.dd_reports import ReportFilter
from pollprog.process import Process
from pollprog.status import Bound

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.probes.dd_arguments import Arguments
    from pollprog.status import Sample

__all__ = ["DdProbe"]

PATIENCE = 2.0
"""Seconds after which a report is too old to put a look right."""
LOCAL = frozenset(
    {"btrfs", "ext2", "ext3", "ext4", "f2fs", "iso9660", "overlay", "squashfs", "tmpfs", "vfat", "xfs", "zfs"}
)
"""File systems that no signal but a fatal one can interrupt in a read."""


class DdProbe:
    """How far one dd is. `interval`: the least number of seconds between two signals."""

    def __init__(self, target: Target, *, interval: float = 1.0) -> None:
        self._target = target
        self._process = target.process
        self._identity = self._process.pid, self._process.start
        self._interval = interval
        self._busybox = is_busybox(command_of(self._process))
        self._arguments = parse(self._process.argv(), busybox=self._busybox)
        self._looks = None if self._arguments is None else Looks(self._process, self._arguments, target.total)
        claim = target.claims.get(2)
        self._ear = claim if isinstance(claim, ReportFilter) else None
        self._pipe = self._pipe_that_is_heard()
        self._looked_when_asked = 0
        self._ahead = 0
        """How much a look was ahead of the newest report."""
        self._told = 0
        self._number = 0
        """The newest report that was taken in."""
        self._held = 0, 0
        """The report that is held back, and how much dd had read when that was seen."""
        self._asked_at = self._heard_at = float("-inf")
        self.sent = 0
        """How many signals were sent."""

    def sample(self) -> Sample | None:
        """What a look tells, put right by the newest report. None: it has ended, or not begun to copy."""
        try:
            told = self._process.stat()
        except (OSError, ValueError):
            return None
        looked = self._looks.look(told.ticks) if self._looks is not None and told.state not in "ZX" else None
        if self._ear is None or looked is None:
            return looked
        now = time.monotonic()
        self._hear(self._ear, now)
        if looked.current:  # until it copies, it may fail, and say nothing at its end
            self._ask(self._ear, now, looked.current)
        if now - self._heard_at >= max(PATIENCE, 2 * self._interval):
            return looked
        self._told = max(looked.current - self._ahead, self._told)
        bound = Bound.EXACT if looked.bound is Bound.ESTIMATE else looked.bound
        return replace(looked, current=self._told, source="dd", bound=bound)

    def close(self) -> None:
        """Nothing is held: the process is its owner's."""

    # -- what it says

    def _hear(self, ear: ReportFilter, now: float) -> None:
        """Take in what dd has said since the last look."""
        report, arguments = ear.report, self._arguments
        if report is None or arguments is None or not self.sent:
            return
        if report.copied is None and not self._busybox and not arguments.two_lines:
            return  # the line that says bytes is on its way
        if report.number > self._number:
            self._number = report.number
            blocks = report.written[0] * arguments.output_block
            written = blocks if report.copied is None else report.copied
            self._ahead = max(self._looked_when_asked - written, 0)
            self._heard_at = now
        if ear.holding != report.number:
            return
        io = self._process.io()  # taken after the report was there: what is read from now on is read after it
        if io is None:
            return
        if self._held[0] != report.number:
            self._held = report.number, io.rchar
        elif io.rchar > self._held[1]:  # so that was not the last that it says
            ear.went_on(report.number)

    # -- asking it

    def _ask(self, ear: ReportFilter, now: float, looked: int) -> None:
        if now - self._asked_at < self._interval or ear.expects(self._identity):
            return
        self._asked_at, self._looked_when_asked = now, looked
        if not self.sent:
            self._number = ear.report.number if ear.report else 0
        # The answer is expected before the guards are passed: dd closes its input before it says its last, so if that came
        # in between, it is held back as the answer, and does not pass beside one.
        ear.ask(self._identity, self._unread)
        try:
            if self.forbidden():
                ear.unask()
            else:
                self._process.send(SIGUSR1)
                self.sent += 1
        except OSError:
            ear.unask()

    def forbidden(self) -> str:
        """Why no signal may be sent at this moment; '' if one may. The order matters: the handler is looked up last."""
        stderr = self._process.stream(2)
        if self._pipe is None or stderr is None or (stderr.st_dev, stderr.st_ino) != self._pipe:
            return "what it says is not heard"
        if self._arguments is None or self._looks is None:
            return "its words are not understood"
        if self._arguments.unanswering:
            return self._arguments.unanswering
        if "POSIXLY_CORRECT" in self._process.environ():
            return "POSIXLY_CORRECT: it takes the signal for its end"
        if not self._reads_whole(self._arguments, self._looks):
            return "a signal could shorten what it reads"
        if not self._speaks_alone():
            return "another dd speaks in the same stream"
        if not TOOL.recognise(command_of(self._process)):
            return "it is not dd"
        if not self._process.catches(SIGUSR1):
            return "it has no handler"
        return ""

    def _reads_whole(self, arguments: Arguments, looks: Looks) -> bool:
        """Whether a signal cannot make a read come back short, or nothing is lost if it does."""
        info = self._process.stream(0) if looks.opened(0) else None
        if info is None:
            return False
        if arguments.full_blocks or stat.S_ISBLK(info.st_mode):
            return True
        # a short read of a file is harmless where blocks are not counted: the next one goes on
        return stat.S_ISREG(info.st_mode) and (arguments.limit is None or file_system(info.st_dev) in LOCAL)

    def _speaks_alone(self) -> bool:
        if self._process is self._target.tree.root:
            return True  # a dd starts nobody
        for process, _ in self._target.tree.look():
            stderr = process.stream(2) if process is not self._process else None
            if stderr is None or (stderr.st_dev, stderr.st_ino) != self._pipe:
                continue
            if TOOL.recognise(command_of(process)):
                return False
        return True

    def _pipe_that_is_heard(self) -> tuple[int, int] | None:
        try:
            info = os.fstat(self._target.ends[2])
        except (KeyError, OSError):
            return None
        return info.st_dev, info.st_ino

    def _unread(self) -> int | None:
        """How much of what dd said is unread, now that it has ended; None while it runs. From any thread."""
        pid, start = self._identity
        try:
            process = Process(pid)
            try:
                if process.start == start and process.stat().state not in "ZX":
                    return None
            finally:
                process.close()
        except ProcessLookupError:
            pass
        except (OSError, ValueError):
            return None  # it cannot be told
        try:
            return int.from_bytes(fcntl.ioctl(self._target.ends[2], termios.FIONREAD, bytes(4)), sys.byteorder)
        except OSError:
            return 0


def command_of(process: Process) -> Command:
    """What runs in a process at this moment. Its words are those of a new program only once the old one's handlers are gone."""
    return Command(process.argv(), executable=process.link("exe").removesuffix(" (deleted)"))


def file_system(device: int) -> str:
    """The type of the mounted file system with this device number; '' if it is not known by that."""
    wanted = f"{os.major(device)}:{os.minor(device)}".encode()
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            for line in file:
                mount, _, kind = line.partition(b" - ")
                if mount.split()[2] == wanted:
                    return os.fsdecode(kind.split()[0])
    except (OSError, IndexError):
        pass
    return ""
