"""What a job's command prints: a file of ours, so that it never waits for anybody, and goes on if we end.

Both of its streams go there, in the order in which they come, unless the operation has another place for its standard output. Of that
file the last few lines are kept for people, so a command that talks for a week fills no disk; where that is full already, the file
lies in memory.

Where a tool listens, the file is read whenever somebody looks: the probe hears each record, and people read what the tool's filters
pass, so that what was printed for us alone is not among the last words of the command.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from pollprog.backlog import MOST, Backlog
from pollprog.paths import refusal
from pollprog.streams import SEPARATORS, Splitter, as_bytes
from pollprog.syscalls import punch_hole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from pollprog.launch import Filter

__all__ = ["Printed"]

log = logging.getLogger("pollprog")

TAIL = 4096
"""Bytes of what a command printed that are kept for people to read."""
KEPT = 1 << 20
"""Bytes of it that may lie on disk before all but the tail are given back."""
ROOM = 64 << 20
"""Bytes that have to be free for that."""


class Printed:
    """The file, and who listens. Any thread may look."""

    def __init__(self) -> None:
        self._file = output_file()
        self._given_back = 0
        self._lock = Lock()
        self._filters: dict[int, Filter] = {}
        self._at = 0
        """Up to here it has been heard."""
        self._splitter = Splitter()
        self._heard = Backlog()
        self._passed = b""
        """The last of what the filters passed."""

    @property
    def descriptor(self) -> int:
        """For the command to write to."""
        return self._file.fileno()

    def listen(self, claims: Mapping[int, Filter]) -> None:
        """From now on it is heard, through these filters. The two streams are one here: it is told as the first that is claimed."""
        self._filters = {stream: claims[stream] for stream in sorted(claims)}
        self._splitter = Splitter(getattr(claims[min(claims)], "whole", None) if claims else None)

    # -- for the probe

    def records(self) -> list[tuple[int, bytes]]:
        """(stream, record) of what has been printed since this was last asked, and ends; of very much, the last."""
        with self._lock:
            self._read()
            return self._heard.take()

    def _read(self) -> None:
        if not self._filters:
            return
        size = os.fstat(self.descriptor).st_size
        if size < self._at:  # the command has begun it anew
            self._at, self._passed, self._splitter.rest = 0, b"", b""
        start = max(self._at, size - MOST)
        data = os.pread(self.descriptor, size - start, start)
        if start > self._at:  # and so the first record is not whole
            self._splitter.rest = b""
            first = SEPARATORS.search(data)
            data = data[first.end() :] if first else b""
        self._at = size
        stream = min(self._filters)
        for record in self._splitter.split(data):
            self._heard.add(stream, record)
        for number in list(self._filters):
            data = self._through(number, data)
        self._passed = (self._passed + data)[-TAIL:]

    def _through(self, stream: int, data: bytes) -> bytes:
        """What passes the filter of this stream."""
        try:
            return as_bytes(self._filters[stream].passing(data))
        except BaseException as error:  # noqa: BLE001 # a plugin may raise anything; the command's words pass on
            log.warning("the filter of stream %d is dropped: %s: %s", stream, type(error).__name__, error)
            self._filters[stream] = Passing()
            return data

    # -- for people

    def tail(self) -> str:
        """The last of what the command printed on either stream, without half characters."""
        with self._lock:
            if self._filters:
                self._read()
                self._read()  # nothing more has come: what was held back until more would come passes
                data = self._passed
            else:
                size = os.fstat(self.descriptor).st_size
                data = os.pread(self.descriptor, TAIL, max(0, size - TAIL))
        return data.replace(b"\0", b"").decode("utf-8", "replace").lstrip("\ufffd")

    def trim(self) -> None:
        """Give back the space of all but the last of what was printed, if that has become much."""
        with self._lock:
            self._read()
            size = os.fstat(self.descriptor).st_size
            if size - self._given_back > KEPT:
                self._given_back = size - TAIL
                with suppress(OSError):  # a file system that cannot do it keeps all
                    punch_hole(self.descriptor, 0, self._given_back)

    def close(self) -> None:
        """Nobody reads it any more."""
        with self._lock:
            self._filters = {}
            self._file.close()


class Passing:
    """Passes everything on, in the place of a filter that has failed."""

    def passing(self, data: bytes) -> bytes:
        """All of it."""
        return data

    def end(self) -> bytes:
        """Nothing is left."""
        return b""


def output_file() -> IO[bytes]:
    """A new file without a name, for what a command prints; in memory where the disk has no room: nobody's work fails by that."""
    file: IO[bytes] | None = None
    with suppress(OSError):
        file = tempfile.TemporaryFile(prefix="pollprog-")  # noqa: SIM115 # it lives as long as the command
        disk = os.fstatvfs(file.fileno())
        if disk.f_bavail * disk.f_frsize < ROOM:
            file.close()
            file = None
    if file is None:
        try:
            file = open(os.memfd_create("pollprog output"), "w+b")  # noqa: SIM115 # as above
        except OSError as error:
            raise refusal(error, "write", b"a file in memory") from error
    # What is written by its other name, /dev/stderr, is then followed and not overwritten.
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
    return file
