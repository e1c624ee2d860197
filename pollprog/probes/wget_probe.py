"""How far a wget is: what it has written of the length that it printed; else the percentage that it prints."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pollprog.probes import Target

__all__ = ["WgetProbe", "is_log"]

LONGEST = 1024
BEGINS = re.compile(rb"--[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}--  .*")
"""In every language: a request begins."""
LENGTH = re.compile(rb"Length: ([0-9]{1,18})(?: \(.*)?(?: \[.*)?")
SAVING = re.compile(rb"Saving to: (?:'|\xe2\x80\x98)(.+)(?:'|\xe2\x80\x99)")
SHARES = (
    re.compile(rb" *[0-9]{1,15}K[ .,]+([0-9]{1,3})% .*"),
    re.compile(rb"[^\[\]]{0,250}?([0-9]{1,3})%\[[=>+ ]*\] .*"),
)
"""A row of dots; the bar, in a terminal or where it is forced."""
OPTIONS = ("-o", "-a", "--output-file", "--append-output")


class WgetProbe:
    """The probe of one wget."""

    def __init__(self, target: Target) -> None:
        self._process = target.process
        self._total = target.total
        self._activity = Activity(target.tree)
        self._unpacks = any(word.startswith("--compression") for word in target.process.argv())
        self._length: int | None = None
        self._name = ""
        self._path = ""
        """Where that file was seen."""
        self._share: int | None = None
        """The percentage that it printed last."""
        self._files = 0

    def feed(self, stream: int, record: bytes) -> None:
        """One line, or one state of the bar."""
        if stream != 2 or len(record) > LONGEST:
            return
        if BEGINS.fullmatch(record):
            self._length, self._name, self._path, self._share = None, "", "", None
        elif found := LENGTH.fullmatch(record):
            self._length = int(found[1])
        elif found := SAVING.fullmatch(record):
            self._name = os.path.basename(os.fsdecode(found[1]))
        else:
            found = next(filter(None, (share.fullmatch(record) for share in SHARES)), None)
            if found is not None and int(found[1]) <= 100:
                self._files += self._share is None
                self._share = max(int(found[1]), self._share or 0)

    def sample(self) -> Sample | None:
        """By the file and its length, or by the percentage; None where it says neither."""
        said = self._by_length() if self._length and self._name and not self._unpacks else self._by_share()
        if said is None:
            return None
        total = said.total if self._total is None or said.unit is not Unit.BYTES else self._total
        phase = self._name or (f"file {self._files}" if self._files > 1 else "")
        return Sample(said.current, total, said.unit, phase, "wget", said.bound, self._activity.look())

    def _by_length(self) -> Sample | None:
        length = self._length or 0
        written = self._written()
        if written is not None:
            return Sample(written, length) if written <= length else self._by_share()
        if self._share is None:
            return None
        return Sample(length * self._share // 100, length, bound=Bound.LOWER)

    def _written(self) -> int | None:
        """What is in its file; once that is closed, too. None where it was not seen."""
        for file in self._process.files():
            path = self._process.path(file)
            if file.writes and os.path.basename(path) == self._name:
                self._path = path
                return file.position
        try:
            return os.stat(self._path).st_size if self._path else None
        except (OSError, ValueError):
            return None

    def _by_share(self) -> Sample | None:
        return None if self._share is None else Sample(self._share, 100, Unit.PARTS)

    def close(self) -> None:
        """Nothing is held."""


def is_log(target: Target) -> Callable[[str], bool]:
    """Whether the file of this path is the log that this wget keeps."""
    words = target.process.argv()[1:]
    names = {"wget-log"}
    for word, after in zip(words, (*words[1:], ""), strict=False):
        option, equals, value = word.partition("=")
        if option in OPTIONS:
            names.add(os.path.basename(value if equals else after))
        elif word[:2] in OPTIONS:
            names.add(os.path.basename(word[2:]))
    return lambda path: os.path.basename(path) in names or os.path.basename(path).startswith("wget-log.")
