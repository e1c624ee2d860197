"""A building block for tools: how far a program is, by a file that it, or the kernel, keeps about that.

The file is a stranger's, so it is opened only if it is a regular one (those under /proc and /sys are), which is found out without
opening it: a FIFO would make us wait, a tape would be rewound. It is read whole at each look, up to a limit; of one that is larger,
or that cannot be read, nothing is said. It may be written while it is read, so what is half of it has to say nothing either: that
is for the function that parses it to see to, which gets all of it or None.

What was parsed last holds as long as the file is the same, and as long as what stands there cannot be parsed.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.probes.patterns import LONGEST
from pollprog.probes.procio import Activity
from pollprog.probes.records import check_rule, counts
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pollprog.probes import Target
    from pollprog.probes.records import Rule

__all__ = ["MOST", "KeptFile", "by_rules", "read_kept"]

MOST = 4 << 20
"""Bytes of the largest file that is read, if nobody says otherwise."""


def read_kept(path: str, most: int = MOST) -> bytes | None:
    """All of a small regular file, without ever waiting for somebody who writes it; None if it is none, or too large."""
    try:
        name = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(name).st_mode):
            return None
        return read_all(f"/proc/self/fd/{name}", most)
    except OSError:
        return None
    finally:
        os.close(name)


def read_all(path: str, most: int) -> bytes | None:
    """What a file holds; None if that is more."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size > most:
            return None
        data = b""
        while len(data) <= most and (chunk := os.read(descriptor, min(65536, most + 1 - len(data)))):
            data += chunk
    finally:
        os.close(descriptor)
    return data if len(data) <= most else None


class KeptFile:
    """The probe. `parse`: what all of the file says: current, total, unit and phase; None for what is no such file, or half of it."""

    def __init__(
        self,
        target: Target,
        path: str,
        parse: Callable[[bytes], Sample | None],
        *,
        source: str,
        bound: Bound = Bound.EXACT,
        most: int = MOST,
    ) -> None:
        self._path = path
        self._parse = parse
        self._source = source
        self._bound = bound
        self._most = most
        self._activity = Activity(target.tree)
        self._data: bytes | None = None
        self._newest: Sample | None = None
        self.changes = 0
        """How often the file was seen to say something else."""

    def look(self) -> Sample | None:
        """What the file says; the same object as before if that is nothing new."""
        data = read_kept(self._path, self._most)
        if data is not None and data != self._data:
            self._data = data
            said = self._parse(data)
            if said is not None:
                self._newest = said
                self.changes += 1
        return self._newest

    def sample(self) -> Sample | None:
        """What the file says, and whether the tree lives."""
        said = self.look()
        if said is None:
            return None
        activity = self._activity.look() + self.changes
        return replace(said, source=self._source, bound=self._bound, activity=activity)

    def close(self) -> None:
        """Nothing is held."""


def by_rules(rules: Sequence[Rule]) -> Callable[[bytes], Sample | None]:
    """A function that parses by the last whole line that a rule matches, as `pollprog.probes.records` has them."""
    for rule in rules:
        check_rule(rule)
    known = [(rule, re.compile(rule.pattern)) for rule in rules]

    def parse(data: bytes) -> Sample | None:
        for line in reversed(data[: data.rfind(b"\n") + 1].splitlines()):
            for rule, pattern in known:
                found = pattern.fullmatch(line[:LONGEST].rstrip())
                if found is not None and (counted := counts(rule, found.groupdict())) is not None:
                    phase = rule.phase or (found.groupdict().get("phase") or b"").decode("utf-8", "replace")
                    return Sample(*counted, rule.unit, phase)
        return None

    return parse
