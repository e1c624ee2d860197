"""How a command ended: as the kernel says it, as a shell's exit status, as an outcome, as the one line of JSON.

What needs more than the interpreter has loaded anyhow is imported by who asks for it: most commands are over before that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.status import Outcome

    Ended = tuple[int | None, int | None]
    """(exit code, signal), one of them None; both None where nobody can know."""

__all__ = ["LAST_LINE", "OURS", "exit_code", "outcome_of", "tell"]

OURS = 125
"""Exit status for a fault of pollprog's own."""
LAST_LINE = 2.0
"""Seconds for which a reader of ``--progress-fd`` may take to make room for the last line."""


def exit_code(ended: Ended, *, lost: int = OURS) -> int:
    """The exit status of a shell; `lost` where nobody can know."""
    code, signal = ended
    if signal is not None:
        return 128 + signal
    return lost if code is None else code


def outcome_of(ended: Ended) -> Outcome:
    """The same as an outcome."""
    from pollprog.status import Outcome, State

    if ended == (None, None):
        return Outcome(State.LOST)
    code, signal = ended
    return Outcome(State.SUCCEEDED if code == 0 else State.FAILED, code, signal)


def tell(job: str, ended: Ended, elapsed: float, descriptor: int) -> None:
    """Write the last line of a job that was over before anybody was told anything."""
    from pollprog.status import Bound, Status, Unit
    from pollprog.terminal import LineWriter
    from pollprog.wording import json_line

    outcome = outcome_of(ended)
    status = Status(
        job=job, seq=1, state=outcome.state, current=None, total=None,
        unit=Unit.BYTES, phase="", fraction=None, rate=None, remaining=None, low=None, high=None,
        elapsed=elapsed, age=0.0, idle=0.0, moving=False, stalled=False, finishing=False,
        source="", bound=Bound.EXACT, outcome=outcome,
    )  # fmt: skip
    LineWriter(descriptor).write_last(json_line(status), seconds=LAST_LINE)
