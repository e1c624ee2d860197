"""How fast the work goes, how long it still takes, and whether it moves at all.

Theory of operation. Four ideas, each with a few numbers of state:

* *Rate* is units over seconds, both forgotten at the same pace. Only an advance is news, and it weighs as much as the time it
  took, so bursts, coarse counters and uneven sampling do not bias it. The memory is half as long as we have watched, or half
  as long as we still have to look ahead, whichever is less: a young job is learned at once, an old one is not shaken by a
  moment's noise, and near the end what counts is how it goes now. It never holds fewer than a few typical advances.
* *Stalled* means no advance for several times the typical gap between advances: typical for a moment, not for an advance, so
  that a few long gaps among many short ones count. Of a stall only half of the patience counts as time worked: it says little
  about the speed before and after it, while a slowdown, which looks like one stall after another, is learned in a few gaps.
* *The end*, as a moment on the clock, is held, and eased towards where the rate now puts it: slowly while the two nearly
  agree, so that the countdown is steady, and faster the less they agree. A total that changes is news and no noise: it moves
  the end at once.
* *Doubt* is how far the two have been apart. It widens the interval. While they are further apart than a factor of about
  1.6, nothing is told: a wrong time is worse than none, and with nothing on show the end can catch up without easing.

Rules: state is of constant size, and time is an argument. A counter that goes back begins a new phase, of which everything is
learned anew. Where work is left, the time remaining is positive and finite, or None; at or past the total it is None, for
then the total is wrong or something is still being flushed, and neither has an end that we know.
"""

from __future__ import annotations

import math
from typing import Final

ENOUGH_ADVANCES: Final = 2  # before this many, and this many seconds of them, any end would be a guess
ENOUGH_SECONDS: Final = 0.5
TICK: Final = 0.001  # s; an advance in less time is counted with the next one: its rate would be noise
MEMORY: Final = 0.5  # of the time watched or ahead
SHORTEST_MEMORY: Final = 3.0  # s
GAPS_IN_MEMORY: Final = 5.0
GAPS_TO_STALL: Final = 4.0
SHORTEST_STALL: Final = 4.5  # s: sampled once a second, the last advance is seen late, and the stall told after 5
STALL_COUNTS: Final = 0.5  # of the patience lost, as time worked
FIRST_PATIENCE: Final = 15.0  # s, while too few advances were seen to know what gap is typical
KNOWN_GAPS: Final = 3
EASING: Final = 0.15  # of the time remaining, where the held end and the fresh one agree
HOLD: Final = 30.0  # s, and the time watched; no first guess is worth holding for the hours that it may foretell
AGREEING: Final = 1 / 3  # logarithm of the ratio at which easing is twice as fast
HIDE_AT: Final = 0.5  # the same logarithm, beyond which nothing is told ...
SHOW_AT: Final = 0.35  # ... until it has fallen below this one
CATCH_UP: Final = 3.0  # s, easing while nothing is told
CENTURY: Final = 3.2e9  # s; an end further away is no estimate


__all__ = ["Estimator"]


class Estimator:
    """Rate, time remaining and stall of one job, from samples of its counter taken at any pace."""

    __slots__ = (
        "_advanced", "_advances", "_current", "_doubt", "_end", "_fresh", "_gap", "_hidden", "_now", "_seconds", "_squares",
        "_total", "_units", "_watched",
    )  # fmt: skip

    def __init__(self) -> None:
        self._now: float | None = None
        self._begin(0.0, 0)

    def _begin(self, now: float, current: int) -> None:
        """Forget everything: a first sample, or a new phase."""
        self._current = current  # at the last advance that was counted, which was at:
        self._advanced = now
        self._advances = 0
        self._watched = 0.0  # seconds of all advances, less what was stalled
        self._units = 0.0  # of all advances, decayed ...
        self._seconds = 0.0  # ... and their gaps ...
        self._squares = 0.0  # ... and the squares of those
        self._gap = 0.0  # seconds from one advance to the next, for a typical moment
        self._total: int | None = None
        self._end: float | None = None  # held moment of the end, or None if unknown
        self._fresh = math.inf  # seconds remaining as the rate alone has it
        self._hidden = False
        self._doubt = 0.0  # average logarithm of the ratio between held and fresh

    def update(self, elapsed: float, current: int, total: int | None) -> None:
        """Take one sample: seconds since the job began (not before the last sample's), and units done of a total, if known."""
        now = elapsed if self._now is None else max(elapsed, self._now)
        passed = 0.0 if self._now is None else now - self._now
        if self._now is None or current < self._current:
            self._begin(now, current)
        self._now = now
        if current > self._current and now - self._advanced >= TICK:
            self._advance(now, current)
        if total is None or current >= total or self._advances < ENOUGH_ADVANCES or self._watched < ENOUGH_SECONDS:
            self._end, self._fresh = None, math.inf
        else:
            self._aim(now, passed, current, total)

    def _advance(self, now: float, current: int) -> None:
        gap = now - self._advanced
        if self._advances >= KNOWN_GAPS and gap > self.patience():
            gap = STALL_COUNTS * self.patience()
        self._advances += 1
        self._watched += gap
        memory = max(SHORTEST_MEMORY, MEMORY * min(self._watched, self._fresh), GAPS_IN_MEMORY * self._gap)
        kept = math.exp(-gap / memory)
        self._units = self._units * kept + (current - self._current)
        self._seconds = self._seconds * kept + gap
        self._squares = self._squares * kept + gap * gap
        self._gap = self._squares / self._seconds
        self._current, self._advanced = current, now

    def _aim(self, now: float, passed: float, current: int, total: int) -> None:
        fresh = (total - current) * self._seconds / self._units
        if fresh > CENTURY:
            self._end = None
            return
        if self._end is None:
            self._end = now + fresh
        elif self._total is not None:
            self._end += (total - self._total) * self._seconds / self._units
        self._total, self._fresh = total, fresh
        apart = abs(math.log((fresh + 1) / (max(0.0, self._end - now) + 1)))  # a second more or less is no disagreement
        self._hidden = apart > (SHOW_AT if self._hidden else HIDE_AT)
        easing = max(0.3, min(EASING * fresh, HOLD + self._watched) / (1 + (apart / AGREEING) ** 2))
        if self._hidden:
            easing = min(easing, CATCH_UP)
        self._end += (now + fresh - self._end) * -math.expm1(-passed / easing)
        self._doubt += (apart - self._doubt) * -math.expm1(-passed / max(3.0, self._watched / 4))

    def rate(self) -> float | None:
        """Units per second while it moves (a stall does not lower it), or None before the first advance."""
        return self._units / self._seconds if self._advances else None

    def remaining(self) -> float | None:
        """Seconds to the end, more than 0; None if unknown, doubtful, stalled, or `current` has reached the total."""
        if self._now is None or self._end is None or self._hidden or self.stalled():
            return None
        return max(self._end - self._now, self._fresh / 2)

    def interval(self) -> tuple[float, float] | None:
        """Between how many seconds the end lies, in about four of five cases; None where `remaining()` is None.

        It knows past disagreement and how much of the job was not seen yet. It cannot know of a turn yet to come.
        """
        remaining = self.remaining()
        if remaining is None:
            return None
        unseen = self._fresh / (self._fresh + self._watched)
        factor = math.exp(0.1 + 2 * self._doubt + 0.7 * unseen)
        return remaining / factor, remaining * factor + 1

    def idle(self) -> float:
        """Seconds since the counter last advanced (before the first advance: since the first sample)."""
        return 0.0 if self._now is None else self._now - self._advanced

    def patience(self) -> float:
        """Seconds without an advance after which the work counts as stalled."""
        known = self._advances >= KNOWN_GAPS
        return max(SHORTEST_STALL if known else FIRST_PATIENCE, GAPS_TO_STALL * self._gap)

    def stalled(self) -> bool:
        """Whether the counter has stood still for longer than its usual gaps explain."""
        return self.idle() > self.patience()
