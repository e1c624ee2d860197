"""How other people's loops say how far they are: `notify_progress`, and `steps` for work of several kinds.

A loop calls `notify_progress(current, total)` as often as it likes. Who hears it is a matter of where the loop runs: in an
operation, its job's channel; under `pollprog.progress_bar()`, the bar; else nobody. The newest stands in a `Notices`, which is a
probe, and is looked at when a sample is due. Inside an operation it also stands still while the job is paused, and raises
`Cancelled` once the job is to stop.

Where a loop runs is its context (`contextvars`). Tasks, and threads of trio and asyncio, are in that of who started them. A plain
thread is in none: it is heard if it runs ``contextvars.copy_context().run``, and a pool's threads if its initializer is ``hearer.set``
with ``hearer.get()``.
"""

from __future__ import annotations

from contextvars import ContextVar
from operator import index
from typing import TYPE_CHECKING

from pollprog.phases import Steps
from pollprog.status import Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pollprog.phases import Step

__all__ = ["Notices", "StepsNotified", "hearer", "notify_progress", "steps"]


class Notices:
    """The newest that a loop has said of itself. It is a probe; written by the loop, looked at from any thread."""

    __slots__ = ("check", "said", "steps")

    def __init__(self, check: Callable[[], object] | None = None) -> None:
        self.said: tuple[Sample, Step | None] | None = None
        """And the step that it was said of."""
        self.check = check
        """Called at each notice, in the thread of the loop: waits while the job is paused, raises if it is to stop."""
        self.steps: Steps | None = None

    def say(self, sample: Sample) -> None:
        """What the loop says; it counts for the step that runs now."""
        self.said = sample, None if self.steps is None else self.steps.step
        if self.check is not None:
            self.check()

    def announce(self, steps: Steps) -> None:
        """The loop has several steps. ValueError if it has announced some before."""
        if self.steps is not None:
            raise ValueError(
                "steps: they have been announced already, and a fraction that never falls has room for one plan"
            )
        self.steps = steps

    def begin(self, name: str) -> None:
        """Begin a step. ValueError."""
        assert self.steps is not None, "announce() comes first"
        self.said = None
        self.steps.begin(name)
        if self.check is not None:
            self.check()

    def sample(self) -> Sample | None:
        """How far the loop is; None before it has said anything."""
        said, steps = self.said, self.steps
        if said is None:
            return steps.of(Sample(0, source="notified")) if steps is not None and steps.name else None
        sample, step = said
        return sample if steps is None or step is None else steps.of(sample, step)

    def close(self) -> None:
        """Nothing is held."""


hearer: ContextVar[Notices | None] = ContextVar("pollprog_hearer", default=None)
"""Who hears what the code that runs here says of itself."""


def notify_progress(current: int, total: int | None = None, *, unit: Unit | str = Unit.ITEMS) -> None:
    """Say that `current` of `total` is done; None, or anything below 1, where nobody knows the total.

    `unit`: bytes, items or parts. Costs little, and may be called as often as you like. Raises `Cancelled` inside an operation that
    is to stop, and TypeError or ValueError for what is no count or no unit, also where nobody hears it.
    """
    counted, whole, unit = index(current), None if total is None else index(total), Unit(unit)
    notices = hearer.get()
    if notices is not None:
        notices.say(Sample(counted, whole if whole is not None and whole > 0 else None, unit, source="notified"))


class StepsNotified:
    """Says which step begins; what `notify_progress` says from then on is of that step."""

    __slots__ = ("_begin",)

    def __init__(self, weights: Mapping[str, float]) -> None:
        steps, notices = Steps(weights), hearer.get()
        self._begin = steps.begin
        if notices is not None:
            notices.announce(steps)
            self._begin = notices.begin

    def begin(self, name: str) -> None:
        """Begin this step; those before are done. ValueError for one that is not there, or has been passed."""
        self._begin(name)


def steps(**weights: float) -> StepsNotified:
    """Announce work of several kinds, in this order, each with its share of the time: ``steps(copy=3, verify=1)``.

    Then ``.begin("copy")`` where each begins. Announce them once, before the first notice. ValueError for a weight that is not above
    0, and for a second announcement.
    """
    return StepsNotified(weights)
