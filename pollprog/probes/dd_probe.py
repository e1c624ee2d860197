"""How far a dd is: from its own reports where it may be asked for them, else from its descriptors.

It is asked by SIGUSR1, which does harm in the wrong place: a process without a handler is killed by it, and a read that it
interrupts comes back short, which dd counts as a block. So each signal passes every guard in `DdProbe.forbidden` first, the
handler last, and goes through a pidfd. One is sent at a time: while it is unanswered (dd is deep in a long write, or stopped)
no second one follows, and the descriptors are looked at instead.

What a look goes by, the best that there is: the position in the input, if that can be sought in; else that in the output; else
what was written, of which the kernel keeps count.
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
from pollprog.probes.dd_reports import ReportFilter
from pollprog.process import Process
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.process import Io

__all__ = ["DdProbe"]

PATIENCE = 2.0
"""Seconds after which a report is too old to be told again."""
LOCAL = frozenset(
    {"btrfs", "ext2", "ext3", "ext4", "f2fs", "iso9660", "overlay", "squashfs", "tmpfs", "vfat", "xfs", "zfs"}
)
"""File systems that no signal but a fatal one can interrupt in a read."""

MEMORY_DEVICES = 1
"""Major number of /dev/zero, /dev/urandom and their like."""
POSITION, OUTPUT, WRITTEN = "dd:input-position", "dd:output-position", "dd:written"
RANK = (WRITTEN, OUTPUT, POSITION)


class DdProbe:
    """How far one dd is. `interval`: the least number of seconds between two signals."""

    def __init__(self, target: Target, *, interval: float = 1.0) -> None:
        self._target = target
        self._process = target.process
        self._identity = self._process.pid, self._process.start
        self._interval = interval
        self._busybox = is_busybox(self._command())
        self._arguments = parse(self._process.argv(), busybox=self._busybox)
        claim = target.claims.get(2)
        self._ear = claim if isinstance(claim, ReportFilter) else None
        self._pipe = self._pipe_that_is_heard()
        self._input_start: int | None = None
        self._guessed = False
        self._opened: set[int] = set()
        self._source = WRITTEN
        self._looked: Sample | None = None
        self._reported = 0
        self._number = 0
        self._held = 0, 0
        """The report that is held back, and how much dd had read when that was seen."""
        self._asked_at = self._heard_at = float("-inf")
        self.sent = 0
        """How many signals were sent."""

    def sample(self) -> Sample | None:
        """The newest report, or what a look tells. None: it has ended, or not begun to copy."""
        try:
            told = self._process.stat()
        except (OSError, ValueError):
            return None
        io = self._process.io()
        if told.state in "ZX" or io is None:
            return None
        activity = told.ticks + io.rchar + io.wchar
        looked = self._look(io, activity)
        if self._ear is None or looked is None:
            return looked
        now = time.monotonic()
        self._hear(self._ear, now)
        if looked.current:  # until it copies, it may fail, and say nothing at its end
            self._ask(self._ear, now)
        if now - self._heard_at < max(PATIENCE, 2 * self._interval):
            return Sample(self._reported, looked.total, source="dd", activity=activity)
        return looked

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
            self._reported = blocks if report.copied is None else report.copied
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

    def _ask(self, ear: ReportFilter, now: float) -> None:
        if now - self._asked_at < self._interval or ear.expects(self._identity):
            return
        self._asked_at = now
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
        if self._arguments is None:
            return "its words are not understood"
        if self._arguments.unanswering:
            return self._arguments.unanswering
        if "POSIXLY_CORRECT" in self._process.environ():
            return "POSIXLY_CORRECT: it takes the signal for its end"
        if not self._reads_whole():
            return "a signal could shorten what it reads"
        if not self._speaks_alone():
            return "another dd speaks in the same stream"
        if not TOOL.recognise(self._command()):
            return "it is not dd"
        if not self._process.catches(SIGUSR1):
            return "it has no handler"
        return ""

    def _reads_whole(self) -> bool:
        """Whether a signal cannot make a read come back short, or nothing is lost if it does."""
        assert self._arguments is not None
        info = self._process.stream(0) if self._is(0, self._arguments.input) else None
        if info is None:
            return False
        if self._arguments.full_blocks:
            return True
        if stat.S_ISBLK(info.st_mode):
            return True
        # a short read of a file is harmless where blocks are not counted: the next one goes on
        return stat.S_ISREG(info.st_mode) and (self._arguments.limit is None or file_system(info.st_dev) in LOCAL)

    def _speaks_alone(self) -> bool:
        if self._process is self._target.tree.root:
            return True  # a dd starts nobody
        for process, _ in self._target.tree.look():
            stderr = process.stream(2) if process is not self._process else None
            if stderr is None or (stderr.st_dev, stderr.st_ino) != self._pipe:
                continue
            if TOOL.recognise(Command(process.argv(), executable=process.link("exe"))):
                return False
        return True

    def _command(self) -> Command:
        """What the process is at this moment. Its words are those of a new program only once that has no handlers left."""
        executable = self._process.link("exe").removesuffix(" (deleted)")
        return Command(self._process.argv(), executable=executable)

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

    # -- looking

    def _look(self, io: Io, activity: int) -> Sample | None:
        """What its descriptors tell; never worse evidence than at an earlier look, as dd closes them at its end."""
        arguments = self._arguments
        if arguments is None:
            return None
        rest = None
        file = self._process.file(0) if self._is(0, arguments.input) else None
        if file is not None:
            start = self._start(file.position)
            current, source, rest = file.position - start, POSITION, max(file.size - start, 0) or None
        else:
            named = arguments.output is not None and not arguments.appends
            file = self._process.file(1) if named and self._is(1, arguments.output) else None
            if file is not None:
                current, source = file.position - arguments.seek, OUTPUT
            else:
                current, source = io.wchar, WRITTEN
        if RANK.index(source) < RANK.index(self._source) or current < 0:
            return self._looked and replace(self._looked, activity=activity)
        self._source = source
        if source == WRITTEN and not current:
            return None  # its files may not be open yet
        total, bound = arguments.total(rest), Bound.ESTIMATE if self._guessed else Bound.EXACT
        if rest is None and not (arguments.full_blocks or self._input_never_ends()):
            bound = Bound.LOWER  # blocks are counted, and one that comes short counts as much as a whole one
        if self._target.total is not None:
            total = self._target.total
        self._looked = Sample(current, total, source=source, bound=bound, activity=activity)
        return self._looked

    def _start(self, position: int) -> int:
        """Where in its input it began. Standard input may have been read from before; the kernel's count tells roughly."""
        assert self._arguments is not None
        if self._input_start is None:
            self._input_start = self._arguments.skip
            io = self._process.io()  # after the position: it has read that much at least, unless it began elsewhere
            if self._arguments.input is None and io is not None and position - io.rchar > self._arguments.skip:
                self._input_start, self._guessed = position - io.rchar, True
        return self._input_start

    def _is(self, fd: int, path: str | None) -> bool:
        """Whether this descriptor is what dd was told, and not any more what it got when it was started.

        Asked before the descriptor is looked at: it never changes back.
        """
        if path is None or fd in self._opened:
            return True
        try:
            named = os.stat(self._process.inside(path))
        except (OSError, ValueError):
            return False
        there = self._process.stream(fd)
        if there is None or not os.path.samestat(named, there):
            return False
        self._opened.add(fd)
        return True

    def _input_never_ends(self) -> bool:
        """Whether the input is /dev/zero or one of its like, which read short for a signal alone."""
        info = self._process.stream(0)
        return info is not None and stat.S_ISCHR(info.st_mode) and os.major(info.st_rdev) == MEMORY_DEVICES


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
