"""Work of several kinds under one fraction that never falls: each has a name, and a weight, its share of the time.

Our own loops announce their steps (`pollprog.steps`), and what a tool prints of its passes is told by the same rule.
"""

from __future__ import annotations

import re
from math import isfinite
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from pollprog.status import Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WHOLE", "Step", "Steps", "is_weighted", "part"]

WHOLE = 1_000_000
"""Parts that work of several steps is counted in."""


NUMBERED = re.compile(r"(?:, |^)part [0-9]+$")


def part(name: str, number: int) -> str:
    """What a phase is called that is the part of this number, of those that were seen: ``gzip, part 2``."""
    name = NUMBERED.sub("", name)
    return f"{name}, part {number}" if name else f"part {number}"


def is_weighted(sample: Sample) -> bool:
    """Whether it is of one of several steps under one fraction, whose shares of the time are guesses, as far as can be told."""
    step = bool(sample.phase) and NUMBERED.search(sample.phase) is None
    return step and sample.unit is Unit.PARTS and sample.total == WHOLE


class Step(NamedTuple):
    """One of several kinds of work."""

    name: str
    before: float
    """The share of the time that is over when it begins."""
    share: float


class Steps:
    """Several kinds of work under one fraction that never falls: each has a name, and a weight, its share of the time.

    The share of a step that nobody begins is passed with the next one.
    """

    __slots__ = ("_coming", "_lock", "_reached", "plan", "step")

    def __init__(self, weights: Mapping[str, float]) -> None:
        whole = sum(weights.values())
        if not isfinite(whole) or not weights or not all(name and weight > 0 for name, weight in weights.items()):
            raise ValueError("steps: each needs a name and a weight above 0")
        self._coming = []
        before = 0.0
        for name, weight in weights.items():
            self._coming.append(Step(name, before, weight / whole))
            before += weight / whole
        self.plan: Mapping[str, Step] = {step.name: step for step in self._coming}
        """Each by its name."""
        self._reached = 0
        self._lock = Lock()
        self.step: Step | None = None
        """The one that runs."""

    def begin(self, name: str) -> None:
        """The step that begins now. ValueError for one that is not there, or has been passed."""
        names = [step.name for step in self._coming]
        if name not in names:
            coming = f"to come are {', '.join(names)}" if names else "the last one has begun"
            raise ValueError(f"{name!r} is not one of the steps to come: {coming}")
        self.step, self._coming = self._coming[names.index(name)], self._coming[names.index(name) + 1 :]

    @property
    def name(self) -> str:
        """The step that runs; empty before the first."""
        return "" if self.step is None else self.step.name

    def of(self, sample: Sample, step: Step | None = None) -> Sample:
        """A sample of a step, of the one that runs if none is named, as one of the whole. Any thread may ask."""
        step = step or self.step
        if step is None:
            return sample
        done = min(1.0, max(0, sample.current) / sample.total) if sample.total and sample.total > 0 else 0.0
        with self._lock:
            self._reached = max(self._reached, min(WHOLE, int(WHOLE * (step.before + step.share * done) + 0.001)))
            reached = self._reached
        phase = f"{step.name}: {sample.phase}" if sample.phase else step.name
        return Sample(
            reached, WHOLE, Unit.PARTS, phase, sample.source, sample.bound,
            activity=sample.activity + sample.current,
        )  # fmt: skip
