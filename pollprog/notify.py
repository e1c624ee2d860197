"""How other people's loops say how far they are: `notify_progress`, and `steps` for work of several kinds.

A loop calls `notify_progress(current, total)` as often as it likes. Who hears it is a matter of where the loop runs: in an
operation, its job's channel; under `pollprog.progress_bar()`, the bar; else nobody. The newest stands in a `Notices`, which is a
probe, and is looked at when a sample is due. Inside an operation it also stands still while the job is paused, and raises
`Cancelled` once the job is to stop.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from pollprog.status import Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Notices", "Steps", "hearer", "notify_progress", "steps"]

WHOLE = 1_000_000
"""Parts that work of several steps is counted in."""


class Steps:
    """Several kinds of work under one fraction that never falls: each has a name, and a weight, its share of the time.

    The share of a step that nobody begins is passed with the next one.
    """

    __slots__ = ("_before", "_done", "_names", "_reached", "_share", "_shares", "name")

    def __init__(self, weights: Mapping[str, float]) -> None:
        if not weights or not all(weight > 0 for weight in weights.values()):
            raise ValueError("steps: each needs a name and a weight above 0")
        whole = sum(weights.values())
        self._names = list(weights)
        self._shares = [weight / whole for weight in weights.values()]
        self._before = self._share = 0.0
        self._done = self._reached = 0
        self.name = ""

    def begin(self, name: str) -> None:
        """The step that begins now. ValueError for one that is not there, or has been passed."""
        at = self._names.index(name, self._done) if name in self._names[self._done :] else -1
        if at < 0:
            raise ValueError(f"{name!r} is not one of the steps to come: {', '.join(self._names[self._done :])}")
        self._done = at + 1
        self._before, self._share = sum(self._shares[:at]), self._shares[at]
        self.name = name

    def of(self, sample: Sample) -> Sample:
        """A sample of the step that runs, as one of the whole."""
        done = min(1.0, sample.current / sample.total) if sample.total else 0.0
        self._reached = max(self._reached, int(WHOLE * (self._before + self._share * done)))
        phase = f"{self.name}: {sample.phase}" if sample.phase else self.name
        return Sample(
            min(self._reached, WHOLE), WHOLE, Unit.PARTS, phase, sample.source, sample.bound,
            activity=sample.activity + sample.current,
        )  # fmt: skip


class Notices:
    """The newest that a loop has said of itself. It is a probe; written by the loop, looked at from any thread."""

    __slots__ = ("check", "said", "steps")

    def __init__(self, check: Callable[[], object] | None = None) -> None:
        self.said: tuple[int, int | None, Unit] | None = None
        self.check = check
        """Called at each notice, in the thread of the loop: waits while the job is paused, raises if it is to stop."""
        self.steps: Steps | None = None

    def sample(self) -> Sample | None:
        """How far the loop is; None before it has said anything."""
        said, steps = self.said, self.steps
        if said is None:
            return None if steps is None or not steps.name else steps.of(Sample(0, source="notified"))
        current, total, unit = said
        sample = Sample(current, total, unit, source="notified")
        return sample if steps is None or not steps.name else steps.of(sample)

    def close(self) -> None:
        """Nothing is held."""


hearer: ContextVar[Notices | None] = ContextVar("pollprog_hearer", default=None)
"""Who hears what the code that runs here says of itself."""


def notify_progress(current: int, total: int | None = None, *, unit: Unit = Unit.ITEMS) -> None:
    """Say that `current` of `total` is done; None, or anything below 1, where nobody knows the total.

    Costs little, and may be called as often as you like. Raises `Cancelled` inside an operation that is to stop.
    """
    notices = hearer.get()
    if notices is not None:
        notices.said = (current, total if total is not None and total > 0 else None, unit)
        if notices.check is not None:
            notices.check()


class StepsNotified:
    """Says which step begins; what `notify_progress` says is of that step."""

    __slots__ = ("_notices", "_steps")

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._steps = Steps(weights)
        self._notices = hearer.get()
        if self._notices is not None:
            self._notices.steps, self._notices.said = self._steps, None

    def begin(self, name: str) -> None:
        """Begin this step; those before are done."""
        if self._notices is not None:
            self._notices.said = None
        self._steps.begin(name)
        if self._notices is not None and self._notices.check is not None:
            self._notices.check()


def steps(**weights: float) -> StepsNotified:
    """Announce work of several kinds, in this order, each with its share of the time: ``steps(copy=3, verify=1)``.

    Then ``.begin("copy")`` where each begins. ValueError for a weight that is not above 0, or a step out of order.
    """
    return StepsNotified(weights)
