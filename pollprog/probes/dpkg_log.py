"""How far a dpkg is that was given no status descriptor of ours: by its log, in which the same stands, each line behind a time.

Its own part of the log begins at the last ``startup``: of all that share a log, one at a time is at work. So what came before the first
look is known, too.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pollprog.backlog import MOST
from pollprog.probes.contract import STATUS
from pollprog.probes.logged import Followed

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.probes.dpkg_probe import DpkgProbe
    from pollprog.process import OpenFile
    from pollprog.status import Sample

__all__ = ["DpkgLog", "record_of"]

TIME = rb"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
STARTUP = re.compile(rb"^" + TIME + rb" startup (?:archives|packages) [a-z-]+$", re.MULTILINE)
LINE = re.compile(TIME + rb" (?:status (?P<state>[a-z-]+)|(?P<verb>[a-z]+)) (?P<package>[a-z0-9][a-z0-9.+:-]*) \S.*")


class DpkgLog:
    """The probe of one dpkg, which is also told what stands in its log."""

    def __init__(self, target: Target, probe: DpkgProbe) -> None:
        self._process = target.process
        self._probe = probe
        self._log: tuple[tuple[int, int], Followed] | None = None

    def feed(self, stream: int, record: bytes) -> None:
        """What was heard in another way."""
        self._probe.feed(stream, record)

    def sample(self) -> Sample | None:
        """What the probe says, once it has been told what is new."""
        for file in self._process.files():
            if file.fd <= 2 or not file.inode or not file.writes or not file.flags & os.O_APPEND:
                continue
            if self._log is None and (at := self._own_part(file)) is not None:
                self._log = file.key, Followed(at)
            if self._log is not None and self._log[0] == file.key:
                for line in self._log[1].records(self._process, file):
                    self._probe.feed(STATUS, record_of(line))
        return self._probe.sample()

    def _own_part(self, file: OpenFile) -> int | None:
        start = max(0, file.size - MOST)
        try:
            data = self._process.read(file, start, file.size - start)
        except OSError:
            return None
        begins = [found.start() for found in STARTUP.finditer(data)]
        return start + begins[-1] if begins else None

    def close(self) -> None:
        """Give back what the probe holds."""
        self._probe.close()


def record_of(line: bytes) -> bytes:
    """A line of the log as the status descriptor has it; nothing of one that says nothing there."""
    found = LINE.fullmatch(line)
    if found is None:
        return b""
    if found["state"]:
        return b"status: %b: %b" % (found["package"], found["state"])
    return b"processing: %b: %b" % (found["verb"], found["package"])
