"""What client and daemon say to each other, as structs: their names and docstrings are those of the interface description.

The class ``StatusMessage`` is the type ``Status`` on the wire. A field that may be absent has a default, and is left out where it
has that. A reply of a method that reports progress has `status`, which comes with ``continues``, or `result`, which comes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Raw, Struct

from pollprog.status import Bound, Outcome, State, Status, Unit
from pollprog.varlink import OPERATIONS as INTERFACE
from pollprog.varlink import Int

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "INTERFACE",
    "DescribeReply",
    "FollowParameters",
    "FollowReply",
    "Int",
    "JobMessage",
    "JobReply",
    "JobsReply",
    "ListParameters",
    "OneJob",
    "OperationMessage",
    "ParameterMessage",
    "RowMessage",
    "StateReply",
    "StatusMessage",
    "SubmitParameters",
    "SubmitReply",
    "TopParameters",
    "TopReply",
    "WatchParameters",
    "message_of",
    "printable",
    "status_of",
]  # fmt: skip

StateName = Literal["queued", "running", "paused", "cancelling", "succeeded", "failed", "cancelled", "lost"]


class StatusMessage(Struct, frozen=True, omit_defaults=True):
    """How far a job is. 0 <= current <= total whenever total is set; current never falls within a phase."""

    job: Annotated[str, "Which job this is."]
    seq: Annotated[Int, "Grows with each status of the job; gaps show what you were not told."]
    state: StateName
    unit: Annotated[str, "What is counted: bytes, items, parts. There may be others."]
    elapsed: Annotated[float, "Seconds since the work began, without those in which it was stopped."]
    current: Annotated[Int | None, "How much is done; absent before the first look."] = None
    total: Annotated[Int | None, "How much there is to do; absent while nobody knows."] = None
    phase: Annotated[str | None, "Which part of the work this is."] = None
    fraction: Annotated[float | None, "Current / total; 1 only when the work has ended well."] = None
    rate: Annotated[float | None, "Units a second."] = None
    remaining: Annotated[float | None, "Seconds; absent where it cannot be told."] = None
    low: Annotated[float | None, "With high, the seconds between which it probably lies."] = None
    high: float | None = None
    age: Annotated[float | None, "Seconds since the sample was taken."] = None
    idle: Annotated[float | None, "Seconds since anything moved."] = None
    moving: Annotated[bool, "Whether anything moved at the newest look."] = False
    stalled: Annotated[bool, "Nothing has moved for longer than it was ever seen to take."] = False
    finishing: Annotated[bool, "All that can be counted is done, and the work has not ended."] = False
    source: Annotated[str | None, "Who says so: the probe, and what it looked at."] = None
    bound: Annotated[Literal["exact", "upper", "lower", "estimate"], "How far current can be trusted."] = "exact"
    exit: Annotated[Int | None, "The exit code, once the job is over and had one."] = None
    signal: Annotated[Int | None, "The signal that ended it."] = None


class JobMessage(Struct, frozen=True, omit_defaults=True):
    """One run of an operation."""

    id: str
    method: Annotated[str, "The operation."]
    title: Annotated[str, "What it does, in a line, for people."]
    uid: Annotated[Int, "Who asked for it: the user id of the connection."]
    state: StateName
    started: Annotated[float, "When it began: seconds since 1970."]
    detached: Annotated[bool, "Whether it goes on when the connection that asked for it ends."] = False
    status: Annotated[StatusMessage | None, "How far it is, or was at its end."] = None
    ended: Annotated[float | None, "When it ended: seconds since 1970."] = None
    error: Annotated[str | None, "The name of the error that it ended with."] = None
    message: Annotated[str | None, "The same in a line, for people."] = None
    parameters: Annotated[Any, "The parameters of that error."] = None
    result: Annotated[Any, "What the operation returned."] = None


class ParameterMessage(Struct, frozen=True, omit_defaults=True):
    """One parameter of an operation."""

    name: str
    kind: Annotated[str, "What it takes: path, string, size, integer, number, boolean, strings, map, choice."]
    type: Annotated[str, "Its type in the interface description."]
    doc: str = ""
    required: bool = False
    default: Annotated[str | None, "What it is if nobody says, as JSON."] = None
    choices: Annotated[list[str] | None, "What may be chosen from."] = None


class OperationMessage(Struct, frozen=True, omit_defaults=True):
    """One operation that can be called."""

    name: str
    doc: str
    progress: Annotated[bool, "Whether it reports how far it is."]
    parameters: list[ParameterMessage]
    origin: Annotated[str, "Whose it is: pollprog, the configuration, or the package that brought it."] = "pollprog"


# --- what can be asked beside operations


class ListParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs."""

    state: Annotated[StateName | None, "Only those in this state."] = None
    limit: Annotated[Int | None, "So many at most."] = None


class JobsReply(Struct, frozen=True):
    """Some jobs."""

    jobs: list[JobMessage]


class OneJob(Struct, frozen=True, forbid_unknown_fields=True):
    """Which job."""

    job: str


class JobReply(Struct, frozen=True):
    """A job."""

    job: JobMessage


class StateReply(Struct, frozen=True):
    """How it stands."""

    state: StateName


class FollowParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """Which job to follow."""

    job: str
    interval: Annotated[float | None, "Seconds between two statuses; 0.1 at least."] = None
    after: Annotated[Int | None, "The seq of the last status that you have."] = None


class FollowReply(Struct, frozen=True, omit_defaults=True):
    """A status, or the job that is over."""

    status: StatusMessage | None = None
    job: JobMessage | None = None


class WatchParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """How to watch."""

    interval: Annotated[float | None, "Seconds between two statuses of a job; 0.1 at least."] = None


class TopParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """How to look."""

    interval: Annotated[float | None, "Seconds between two looks; 0.1 at least."] = None


class RowMessage(Struct, frozen=True):
    """Something on this machine whose progress can be told, whoever started it."""

    pid: Annotated[Int, "The process that started first."]
    command: Annotated[str, "Its command line."]
    status: StatusMessage


class TopReply(Struct, frozen=True):
    """What there is to see now."""

    rows: list[RowMessage]
    notes: Annotated[list[str], "What is to be said besides, for people."]


class SubmitParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What to start."""

    method: Annotated[str, "The operation."]
    parameters: Annotated[Raw, "Its parameters, as in a call."] = Raw(b"{}")
    directory: Annotated[str | None, "Where its commands run."] = None
    environment: Annotated[dict[str, str] | None, "The environment of its commands."] = None


class SubmitReply(Struct, frozen=True):
    """What was started."""

    job: Annotated[str, "The id of the job."]


class DescribeReply(Struct, frozen=True):
    """What can be called."""

    operations: list[OperationMessage]


# --- a status, there and back


def message_of(status: Status) -> StatusMessage:
    """The status as it goes over the wire: rounded, and in text that JSON can carry."""
    fraction, outcome = status.fraction, status.outcome
    return StatusMessage(
        job=status.job,
        seq=status.seq,
        state=status.state.value,
        unit=status.unit.value,
        elapsed=round(status.elapsed, 3),
        current=status.current,
        total=status.total,
        phase=printable(status.phase) or None,
        fraction=fraction if fraction is None or fraction == 1.0 else min(round(fraction, 6), ALMOST),
        rate=None if status.rate is None else float(f"{status.rate:.4g}"),
        remaining=None if status.remaining is None else max(0.001, round(status.remaining, 3)),
        low=None if status.low is None else round(status.low, 3),
        high=None if status.high is None else round(status.high, 3),
        age=round(status.age, 3),
        idle=round(status.idle, 3),
        moving=status.moving,
        stalled=status.stalled,
        finishing=status.finishing,
        source=printable(status.source) or None,
        bound=status.bound.value,
        exit=outcome.exit if outcome else None,
        signal=outcome.signal if outcome else None,
    )


def status_of(message: StatusMessage) -> Status:
    """The status that came over the wire, within the rules that it promises, whoever sent it."""
    state = State(message.state)
    total = message.total if message.total is not None and message.total > 0 else None
    current = None if message.current is None else max(0, message.current)
    if current is not None and total is not None:
        current = min(current, total)
    fraction = _count(message.fraction)
    if fraction is not None:
        fraction = min(fraction, 1.0 if state is State.SUCCEEDED else ALMOST)
    return Status(
        job=message.job,
        seq=message.seq,
        state=state,
        current=current,
        total=total,
        unit=UNITS.get(message.unit, Unit.PARTS),
        phase=message.phase or "",
        fraction=fraction,
        rate=_count(message.rate),
        remaining=_count(message.remaining),
        low=_count(message.low),
        high=_count(message.high),
        elapsed=max(0.0, message.elapsed),
        age=_count(message.age) or 0.0,
        idle=_count(message.idle) or 0.0,
        moving=message.moving,
        stalled=message.stalled,
        finishing=message.finishing,
        source=message.source or "",
        bound=Bound(message.bound),
        outcome=Outcome(state, message.exit, message.signal) if state.over else None,
    )


ALMOST = 0.999999
"""The most that is told of work that has not ended well."""
UNITS: Mapping[str, Unit] = {unit.value: unit for unit in Unit}


def _count(number: float | None) -> float | None:
    """A number that cannot be below 0."""
    return None if number is None else max(0.0, number)


def printable(text: str) -> str:
    """`text` without the surrogates that stand for undecodable bytes: JSON cannot carry them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
