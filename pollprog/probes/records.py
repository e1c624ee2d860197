r"""A building block for tools: how far a program is, by what it says of itself.

A `Rule` is a pattern for one record, what stood between two newlines, carriage returns or backspaces. Escape sequences are taken out
of the record first, and spaces from its end. The whole of what is left has to match, so that a half line, another language, another version or binary data
match nothing. Then nothing is said, and evidence speaks. The names of the groups say what was found:

- ``current`` and ``total``: counts. A total need not be there; underscores and commas between the digits do not matter.
- ``percent``: a percentage, with or without a fraction.
- ``phase``: what the program is at; or the rule says so itself.

Where the phases have weights, all of them are told as one fraction that never falls (`pollprog.phases`), with the name of the phase;
a phase that is not among them is told by the one before. Without weights, each phase begins at 0. Within a phase a record that says less than one before it is not believed.

A pattern is searched in a thread beside others, and the interpreter lets none of them run meanwhile. So a record is cut at `LONGEST`
bytes, and a pattern that may take for ever on some line, as ``(a+)+`` does, is refused (`pollprog.probes.patterns`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pollprog.phases import WHOLE, Steps
from pollprog.probes.patterns import LONGEST, check_pattern
from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pollprog.phases import Step
    from pollprog.probes import Target

__all__ = ["Records", "Rule", "check_rule"]

GROUPS = {"current", "total", "percent", "phase"}
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[78=>]|[\x00-\x08\x0e-\x1f]")
"""What moves the cursor or sets a colour, and the marks that readline puts around that."""
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
DIGITS = 18
"""A count of more digits is none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of record says."""

    pattern: bytes
    """For the whole record, with the groups that are named above."""
    unit: Unit = Unit.PARTS
    scale: int = 1
    """How many units one of what is counted is: 1024 for kibibytes."""
    phase: str = ""
    total: int | None = None
    """What the count goes up to, where the program does not say it."""


class Records:
    """The probe. `streams`: those that are heard; a status descriptor is `pollprog.probes.contract.STATUS`.

    `weights`: each phase with its share of the time, in their order. `names`: how a phase is called, where the program has a word
    for it that says nothing. ValueError for a pattern that may take for ever, or has other
    groups than those above; TypeError for one that is text.
    """

    def __init__(
        self,
        target: Target,
        rules: Sequence[Rule],
        *,
        source: str,
        streams: Collection[int],
        weights: Mapping[str, float] | None = None,
        names: Mapping[str, str] | None = None,
        bound: Bound = Bound.EXACT,
    ) -> None:
        for rule in rules:
            check_rule(rule)
        self._rules = [(rule, re.compile(rule.pattern)) for rule in rules]
        self._streams = frozenset(streams)
        self._steps = Steps(weights) if weights else None
        self._step: Step | None = None
        self._names = names or {}
        self._source = source
        self._bound = bound
        self._total = target.total
        self._activity = Activity(target.tree)
        self._said = 0
        """Bytes that were heard: a sign of life."""
        self._phase = ""
        self._newest: Sample | None = None

    def feed(self, stream: int, record: bytes) -> None:
        """One record; what no rule matches says nothing."""
        if stream not in self._streams:
            return
        self._said += len(record)
        matched = self._match(record)
        if matched is not None:
            self._take(*matched)

    def remember(self, record: bytes) -> None:
        """One that was printed before anybody listened, perhaps in another run: only the phase counts, for what comes behind it."""
        matched = self._match(record)
        if matched is not None:
            self._phase = self._phase_of(*matched)

    def _match(self, record: bytes) -> tuple[Rule, dict[str, bytes | None]] | None:
        text = record[:LONGEST]
        if CONTROL.search(text):
            text = ESCAPES.sub(b"", text)
        text = text.rstrip()
        for rule, pattern in self._rules:
            found = pattern.fullmatch(text)
            if found is not None:
                return rule, found.groupdict()
        return None

    def _phase_of(self, rule: Rule, found: dict[str, bytes | None]) -> str:
        phase = rule.phase or (found.get("phase") or b"").decode("utf-8", "replace")
        return self._names.get(phase, phase) or self._phase

    def _take(self, rule: Rule, found: dict[str, bytes | None]) -> None:
        phase = self._phase_of(rule, found)
        begins = phase != self._phase
        counted = counts(rule, found)
        if counted is None:
            if begins and "current" not in found and "percent" not in found:  # it says no more than that a phase begins
                self._phase = phase
                if self._steps is not None or self._newest is not None:
                    self._newest = Sample(0, None, rule.unit, phase)
            return
        current, total = counted
        old = self._newest
        if not begins and old is not None and (total, rule.unit) == (old.total, old.unit) and current < old.current:
            return
        self._phase = phase
        self._newest = Sample(current, total, rule.unit, phase)

    def sample(self) -> Sample | None:
        """What the newest record says; None before there is one."""
        new = self._newest
        if new is None:
            return None
        activity = self._said + self._activity.look()
        total = new.total
        if self._total is not None and new.unit is Unit.BYTES and self._steps is None:
            total = self._total
        sample = Sample(new.current, total, new.unit, new.phase, self._source, self._bound, activity)
        if self._steps is None:
            return sample
        step = self._steps.plan.get(new.phase)
        self._step = step or self._step
        if self._step is None:
            return None
        told = self._steps.of(Sample(new.current if step else 0, total), self._step)
        return replace(told, source=self._source, bound=self._bound, activity=activity)

    def close(self) -> None:
        """Nothing is held."""


def check_rule(rule: Rule) -> None:
    """Raise TypeError or ValueError, with what to write instead, for a pattern that could never say anything, or takes for ever."""
    if not isinstance(rule.pattern, bytes):
        raise TypeError(f"{rule.pattern!r} is text, and records are bytes: write rb'…'")
    check_pattern(rule.pattern)
    if unknown := re.compile(rule.pattern).groupindex.keys() - GROUPS:
        raise ValueError(
            f"(?P<{min(unknown)}>…) says nothing: the groups of a rule are current, total, percent and phase"
        )


def counts(rule: Rule, found: Mapping[str, bytes | None]) -> tuple[int, int | None] | None:
    """(current, total) of what a rule found; None for what is no count."""
    percent, current, total = found.get("percent"), found.get("current"), found.get("total")
    try:
        if percent is not None:
            share = float(percent.replace(b",", b"."))
            return (int(share / 100 * WHOLE), WHOLE) if 0 <= share <= 100 else None
        if current is None:
            return None
        done = number(current) * rule.scale
        whole = rule.total if total is None else number(total) * rule.scale
    except ValueError:
        return None
    if whole is not None and (whole <= 0 or done > whole):
        return None
    return done, whole


def number(text: bytes) -> int:
    """A count, as programs write one; ValueError for what is none."""
    digits = text.replace(b",", b"").replace(b"_", b"")
    if not digits.isdigit() or len(digits) > DIGITS:
        raise ValueError("not a count")
    return int(digits)
