"""Runs of real dd's that a test holds in the middle: they write into a pipe that only the test empties."""

from __future__ import annotations

import os
import select
import signal
import threading
from typing import TYPE_CHECKING

from children import PATIENCE, wait_until

from pollprog.launch import Command, launch
from pollprog.probes import Target
from pollprog.probes.dd import TOOL
from pollprog.probes.dd_probe import DdProbe
from pollprog.probes.dd_reports import ReportFilter
from pollprog.process import Process, ProcessTree

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from pollprog.status import Sample


SIZE = 1_000_000
"""Bytes of a source: much more than a pipe holds."""
LOOKS = 20


def make_source(folder: Path) -> Path:
    """A file for dd to read."""
    file = folder / "source"
    file.write_bytes(os.urandom(SIZE))
    return file


class Fifo:
    """A named pipe, and our end of it. A dd that writes to it stands still when 64 KiB are in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._end = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def __str__(self) -> str:
        return str(self.path)

    def read(self, size: int) -> bytes:
        """So many bytes, or all that there are until the end."""
        data = b""
        while len(data) < size:
            ready, _, _ = select.select([self._end], [], [], PATIENCE)
            assert ready, "nothing more came"
            chunk = os.read(self._end, min(size - len(data), 65536))
            if not chunk:
                break
            data += chunk
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._end)


class Run:
    """A launched command whose standard error is heard as the runner hears it."""

    def __init__(self, argv: list[str]) -> None:
        self.through = ReportFilter()
        self.said = bytearray()
        """What passed of its standard error."""
        self.launched = launch(Command(argv, claims={2: self.through}))
        self.process = Process(self.launched.pid)
        self.tree = ProcessTree(self.process)
        self.ended: tuple[int | None, int | None] | None = None
        """(exit code, signal), one of them None."""
        self._ear = threading.Thread(target=self._pass_on)
        self._ear.start()

    def _pass_on(self) -> None:
        end = self.launched.ends[2]
        while True:
            ready, _, _ = select.select([end], [], [], 0.02)
            data = os.read(end, 65536) if ready else b""
            if ready and not data:
                break
            self.said += self.through.passing(data)
        self.said += self.through.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.ended is None:
            for process, _told in self.tree.look():
                try:
                    process.send(signal.SIGKILL)
                except OSError:
                    pass
            self.wait()
        self.tree.close()
        self.process.close()

    def wait(self) -> tuple[int | None, int | None]:
        """Wait for its end and its last words: (exit code, signal)."""
        ready, _, _ = select.select([self.launched.pidfd], [], [], PATIENCE)
        assert ready, "it does not end"
        self.ended = self.launched.reap()
        self._ear.join(PATIENCE)
        assert not self._ear.is_alive(), "somebody holds its standard error open"
        self.launched.close()
        assert self.ended is not None
        return self.ended

    def find(self) -> Process | None:
        """The dd in the tree, if there is one by now."""
        for process, _ in self.tree.look():
            if TOOL.recognise(Command(process.argv(), executable=process.link("exe"))):
                return process
        return None

    def dd(self) -> Process:
        """The dd in the tree, as soon as there is one."""
        wait_until(self.find)
        found = self.find()
        assert found is not None
        return found

    def target(self, process: Process | None = None, *, total: int | None = None) -> Target:
        """What the runner tells a probe."""
        return Target(
            self.tree,
            process or self.dd(),
            total=total,
            launched=True,
            claims=self.launched.command.claims,
            ends=self.launched.ends,
        )

    def probe(self, *, interval: float = 0.0) -> DdProbe:
        """A probe for the dd, that has seen it copy, and so may have asked it once."""
        probe = DdProbe(self.target(), interval=interval)
        wait_until(lambda: (sample := probe.sample()) is not None and sample.current)
        return probe

    def unheard(self) -> DdProbe:
        """A probe that has no part in what dd says; it has seen it copy."""
        probe = DdProbe(Target(self.tree, self.dd(), launched=False))
        wait_until(lambda: (sample := probe.sample()) is not None and sample.current)
        return probe

    def full(self) -> Sample:
        """What a look says when dd stands still, as the pipe that it writes into is full."""
        probe, written = self.unheard(), -1

        def stands() -> bool:
            nonlocal written
            before, io = written, probe._process.io()
            written = io.wchar if io is not None else -1
            return written == before and written >= 60_000

        wait_until(stands)
        sample = probe.sample()
        assert sample is not None
        return sample


def answered(probe: DdProbe) -> Sample:
    """Look until a report was heard that says more than nothing."""
    found: list[Sample] = []

    def look() -> bool:
        sample = probe.sample()
        if sample is not None and sample.source == "dd" and sample.current:
            found.append(sample)
        return bool(found)

    wait_until(look)
    return found[0]


def looks(probe: DdProbe) -> None:
    """Give the probe every chance to send a signal."""
    for _ in range(LOOKS):
        probe.sample()


def assert_never_asked(probe: DdProbe, because: str) -> None:
    """However often it is looked at."""
    looks(probe)
    assert because in probe.forbidden()
    assert probe.sent == 0
