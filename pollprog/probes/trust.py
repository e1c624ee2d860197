"""How far strangers are trusted: what a probe says is checked before anybody is told, and it is closed whatever it raises."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pollprog.probes import Probe

__all__ = ["check", "close", "made_by"]

log = logging.getLogger("pollprog")

LONGEST = 4096
"""Characters that the name of a phase may have."""

KINDS: dict[str, tuple[type, str]] = {
    "phase": (str, "a str"),
    "source": (str, "a str"),
    "unit": (Unit, "a Unit, as Unit.ITEMS"),
    "bound": (Bound, "a Bound, as Bound.ESTIMATE"),
}
"""What the words of a sample have to be."""


def check(said: object) -> Sample | None:
    """What a probe's `sample` returned, if a probe may say that; TypeError or ValueError with the reason if not."""
    if said is None:
        return None
    if not isinstance(said, Sample):
        raise TypeError(f"sample() returned {type(said).__name__}, not a Sample")
    counts: tuple[object, ...] = (said.current, 0 if said.total is None else said.total, said.activity)
    for count in counts:
        if not isinstance(count, int) or isinstance(count, bool):
            raise TypeError(f"{count!r} is not a whole number")
        if count < 0:
            raise ValueError(f"{count} is less than nothing")
    for name, (kind, wanted) in KINDS.items():
        word: object = getattr(said, name)
        if not isinstance(word, kind):
            raise TypeError(f"{name} is {word!r}, and has to be {wanted}")
        if isinstance(word, str) and len(word) > LONGEST:
            raise ValueError(f"a phase, or a source, of {len(word)} characters")
    return said


def made_by(make: Callable[[], Probe]) -> Probe:
    """The probe that this makes; TypeError for what is none."""
    made = make()
    if not all(callable(getattr(made, method, None)) for method in ("sample", "close")):
        raise TypeError(f"probe() returned {type(made).__name__}, which cannot be looked at")
    return made


def close(probe: Probe) -> None:
    """Close a probe, whatever it thinks of that."""
    try:
        probe.close()
    except BaseException:  # it is gone anyhow
        log.debug("close() of %s raised", type(probe).__name__, exc_info=True)
