"""A building block for tools: what a program prints into a file, read there as it grows.

Of a stream that the user sent into a regular file nothing has to be claimed: whoever may read the file can follow it, of a program that
is attached to, too. Only what is printed from the first look on counts: what stood there before may be of another run, and tells no
more than which phase the next count is of (`remember`). A stream that is
claimed is heard in its own way, and not read here; nor is the other one of a job's command, where both go to one file.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pollprog.backlog import MOST
from pollprog.probes.records import Records
from pollprog.status import Bound
from pollprog.streams import SEPARATORS, Splitter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Protocol

    from pollprog.probes import Hears, Probe, Target
    from pollprog.probes.records import Rule
    from pollprog.process import OpenFile, Process
    from pollprog.status import Sample

    class Hearing(Probe, Hears, Protocol):
        """A probe that hears what its program prints."""


__all__ = ["Logged", "said"]


class Logged:
    """The probe `probe`, which is also told what is printed into files.

    `streams`: those of the program that are followed if they go into a file. `named`: whether a file of this path that it
    writes to is its log, which is told as its standard error, and from its beginning if the program began it. `remember`: is given
    the records that stood there before the first look, where a program says its phase once, and then counts.
    """

    def __init__(
        self,
        target: Target,
        probe: Hearing,
        streams: Collection[int],
        *,
        named: Callable[[str], bool] | None = None,
        remember: Callable[[bytes], None] | None = None,
    ) -> None:
        self._process = target.process
        self._probe = probe
        self._streams = [stream for stream in streams if stream not in target.claims]
        self._heard = {identity(os.fstat(end)) for end in target.ends.values()}
        """Where what is claimed goes: of a job, that is a file to which its other stream goes, too."""
        self._named = named
        self._remember = remember
        self._followed: dict[tuple[int, int], Followed] = {}

    def feed(self, stream: int, record: bytes) -> None:
        """What was heard in another way."""
        self._probe.feed(stream, record)

    def sample(self) -> Sample | None:
        """What the probe says, once it has been told what is new."""
        for stream, file in self._files():
            followed = self._followed.get(file.key)
            if followed is None:
                own = file.fd > 2 and not file.flags & os.O_APPEND
                followed = self._followed[file.key] = Followed(0 if own or self._remember else file.size)
                if self._remember is not None and not own:
                    for record in followed.records(self._process, file):
                        self._remember(record)
            for record in followed.records(self._process, file):
                self._probe.feed(stream, record)
        return self._probe.sample()

    def _files(self) -> list[tuple[int, OpenFile]]:
        """(stream, file) of each that is to be read, each once."""
        found: dict[tuple[int, int], tuple[int, OpenFile]] = {}
        for stream in self._streams:
            info = self._process.stream(stream)
            if info is not None and stat.S_ISREG(info.st_mode) and identity(info) not in self._heard:
                file = self._process.file(stream)
                if file is not None and file.writes:
                    found.setdefault(file.key, (stream, file))
        if self._named is not None:
            for file in self._process.files():
                if file.inode and file.writes and self._named(self._process.path(file)):
                    found.setdefault(file.key, (2, file))
        return list(found.values())

    def close(self) -> None:
        """Give back what the probe holds."""
        self._probe.close()


def said(
    target: Target,
    *rules: Rule,
    source: str,
    streams: Collection[int],
    weights: Mapping[str, float] | None = None,
    names: Mapping[str, str] | None = None,
    bound: Bound = Bound.EXACT,
    remember: bool = False,
) -> Logged:
    """What most tools are: records (`pollprog.probes.records`) that a program prints on these streams, or into a file by them.

    With `remember` the phase is taken from what stood in the file before.
    """
    records = Records(target, rules, source=source, streams=streams, weights=weights, names=names, bound=bound)
    return Logged(target, records, streams, remember=records.remember if remember else None)


def identity(info: os.stat_result) -> tuple[int, int]:
    """By what a file is known."""
    return info.st_dev, info.st_ino


class Followed:
    """A file that is followed from here on."""

    def __init__(self, size: int) -> None:
        self._at = size
        self._splitter = Splitter()

    def records(self, process: Process, file: OpenFile) -> list[bytes]:
        """What was written since this was last asked, as far as it has ended; of very much, the last."""
        if file.size < self._at:  # it was begun anew
            self._at, self._splitter = file.size, Splitter()
        if file.size == self._at:
            return []
        start = max(self._at, file.size - MOST)
        try:
            data = process.read(file, start, file.size - start)
        except OSError:
            return []
        if start > self._at:  # and so the first record is not whole
            self._splitter = Splitter()
            first = SEPARATORS.search(data)
            data = data[first.end() :] if first else b""
        self._at = file.size
        return self._splitter.split(data)
