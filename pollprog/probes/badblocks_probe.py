"""How far a badblocks is: where it stands in the device, and which pass that is."""

from __future__ import annotations

import os
from getopt import GetoptError, gnu_getopt
from typing import TYPE_CHECKING, NamedTuple

from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.probes import Target
    from pollprog.process import OpenFile

__all__ = ["BadblocksProbe", "Plan", "plan_of"]

OPTIONS = "b:d:e:fi:o:svwnc:p:h:t:BX"
PATTERNS = 4
"""With ``-w``, if none is given."""


class Plan(NamedTuple):
    """What it was told to do."""

    device: str
    first: int
    """Where it begins, in bytes."""
    last: int | None
    """Where it ends; None: with the device."""
    passes: int | None
    """How often it goes from one to the other; None where nobody knows."""


class BadblocksProbe:
    """The probe of one badblocks."""

    def __init__(self, target: Target) -> None:
        self._process = target.process
        self._activity = Activity(target.tree)
        self._launched = target.launched
        self._plan = plan_of(target.process.argv())
        self._pass = 0
        """How many are over."""
        self._done = 0
        """Of this one, in bytes."""

    def sample(self) -> Sample | None:
        """Bytes that are passed, of all passes or of this one; None where its words are not understood."""
        plan, file = self._plan, self._file()
        if plan is None or file is None:
            return None
        length = min(plan.last or file.size, file.size) - plan.first
        if length <= 0:
            return None
        done = min(max(file.position - plan.first, 0), length)
        if done < self._done // 2 and self._done > length // 2:
            self._pass, self._done = self._pass + 1, done
        self._done = max(done, self._done)
        activity = self._activity.look()
        if plan.passes == 1 or (plan.passes and self._launched):
            done, total, phase = self._pass * length + self._done, plan.passes * length, ""
            if done > total:
                return None
        else:
            done, total, phase = (
                self._done,
                length,
                f"pass {self._pass + 1}" if self._launched else f"pass {self._pass + 1} seen",
            )
        bound = Bound.EXACT if plan.passes == 1 else Bound.LOWER  # a pass may be over between two looks
        return Sample(done, total, phase=phase, source="badblocks", bound=bound, activity=activity)

    def _file(self) -> OpenFile | None:
        """The device, or the image of one."""
        if self._plan is None:
            return None
        try:
            info = os.stat(self._process.inside(self._plan.device))
        except OSError:
            return None
        for file in self._process.files():
            if file.key in ((info.st_dev, info.st_ino), (info.st_rdev, 0)):
                return file
        return None

    def close(self) -> None:
        """Nothing is held."""


def plan_of(argv: Sequence[str]) -> Plan | None:
    """What these words mean; None where they mean something else, or nothing."""
    try:
        options, operands = gnu_getopt(list(argv[1:]), OPTIONS)
        letters = {name for name, _ in options}
        block = int(dict(options).get("-b", "1024"), 0)
        numbers = [int(word, 0) for word in operands[1:]]
    except (GetoptError, ValueError):
        return None
    if not 1 <= len(operands) <= 3 or block <= 0 or any(number < 0 for number in numbers):
        return None
    last, first = (*numbers, None, None)[:2]
    patterns = sum(name == "-t" for name, _ in options)
    passes: int | None = 2 * (patterns or PATTERNS) if "-w" in letters else max(patterns, 1)
    if "-p" in letters:
        passes = None
    return Plan(operands[0], (first or 0) * block, None if last is None else (last + 1) * block, passes)
