"""What a client says and hears, without I/O: a call becomes bytes, and the bytes that come become events.

`Methods` knows what a service answers with several messages, and turns what somebody wants into an `Asked`. A `Conversation` is one
connection: it makes an `Asked` into bytes, and says what came in reply. What comes is hostile until it has been through here. The
rules:

1. One call at a time. Before it is asked and after its reply nothing may come; a reply that continues comes only if `more` was
   asked for. All else is a ProtocolError, after which the connection is good for nothing.
2. What follows the reply in the same breath does not spoil the reply: the connection is `broken`, and to be closed.
3. A reply that continues is a status, or, of a method that tells something else bit by bit, a part.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec import Struct

from pollprog.errors import PollprogError, ProtocolError, UsageError
from pollprog.messages import INTERFACE, DescribeReply, StatusMessage, status_of
from pollprog.varlink import Framer, decode_reply, encode_call, error_from, parse_reply

if TYPE_CHECKING:
    from pollprog.status import Status

__all__ = [
    "DESCRIBE",
    "Asked",
    "Conversation",
    "Event",
    "Failure",
    "Methods",
    "Part",
    "Result",
    "environment",
    "prepared",
]

PREFIX = f"{INTERFACE}."
LIMIT = 1 << 26
"""Bytes of the longest message that is taken from a service: a list of all jobs, with what each returned, is no small one."""
OWN = {
    "List": False,
    "Get": False,
    "Follow": True,
    "Watch": True,
    "Top": True,
    "Cancel": False,
    "Pause": False,
    "Resume": False,
    "Submit": False,
    "Describe": False,
}
"""What a daemon answers to beside its operations: whether it is with several messages."""


# --- what is asked


class Asked(Struct, frozen=True):
    """A call, ready to be made."""

    method: str
    """Its whole name."""
    parameters: Mapping[str, object]
    more: bool = False
    job: str | None = None
    """The id of the job that it will be, if it is an operation: what can be cancelled."""


DESCRIBE = Asked(f"{INTERFACE}.Describe", {})


class Methods:
    """Which methods a service has, as far as it has said."""

    def __init__(self) -> None:
        self._more = OWN
        self._operations: set[str] = set()

    def knows(self, method: str) -> bool:
        """Whether `ask` needs nothing more to be learnt: of other interfaces than ours nothing can be."""
        name = method.removeprefix(PREFIX)
        return name in self._more or "." in name

    def learn(self, described: object) -> None:
        """Take the answer to `DESCRIBE`. ProtocolError if it is none."""
        try:
            told = msgspec.convert(described, DescribeReply)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"no description of operations: {error}") from error
        self._operations = {operation.name for operation in told.operations}
        self._more = {operation.name: operation.progress for operation in told.operations} | OWN

    def ask(self, method: str, parameters: Mapping[str, Any], *, more: bool | None = None) -> Asked:
        """The call of a method; without an interface in its name, of ours. `more`: None is where it is of use."""
        name = method.removeprefix(PREFIX)
        job = None
        if name in self._operations:
            job = parameters.get("job") or f"{name.lower()[:40]}-{os.urandom(8).hex()}"
            parameters = {**parameters, "job": job}
        if more is None:
            more = self._more.get(name, False)
        return Asked(method if "." in method else PREFIX + method, parameters, more, job)


def prepared(value: Any, *, local: bool = True) -> Any:
    """A parameter as it is sent: a path becomes absolute text, wherever in it that stands; text stays what it is.

    UsageError for a path that the other machine (not `local`) would look for elsewhere, and for what JSON cannot say.
    """
    if isinstance(value, dict):
        return {key: prepared(one, local=local) for key, one in value.items() if one is not None}
    if isinstance(value, str):
        if not is_text(value):
            raise UsageError(f"{value!r} cannot be sent: it is no UTF-8")
        return value
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{value} cannot be sent: it is no number of anything")
    if isinstance(value, list | tuple):
        return [prepared(one, local=local) for one in value]
    if isinstance(value, os.PathLike):
        text = os.fsdecode(value)
        if not local and not os.path.isabs(text):
            raise UsageError(f"{text!r} is on another machine, and has to be absolute")
        return prepared(os.path.abspath(text))
    return value


def environment() -> dict[str, str]:
    """The environment of this process, but for what in it is no UTF-8."""
    return {name: value for name, value in os.environ.items() if is_text(name) and is_text(value)}


def is_text(text: str) -> bool:
    """Whether JSON can carry it: it has no surrogates in it, which stand for bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- what comes


class Part(Struct, frozen=True):
    """A reply that is neither a status nor the last one."""

    parameters: dict[str, Any]


class Result(Struct, frozen=True):
    """The reply. A method that returns a `result` returns just that, another all of its parameters."""

    value: Any


class Failure(Struct, frozen=True):
    """The reply, if it is an error."""

    error: PollprogError


Event: TypeAlias = "Status | Part | Result | Failure"


class Continued(Struct, frozen=True):
    """What is looked for in a reply that continues."""

    status: StatusMessage | None = None


class Conversation:
    """One connection, from the client's side."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._framer = Framer(limit)
        self._asked: Asked | None = None
        self.heard = False
        """Whether the other side has ever said something that makes sense."""
        self.broken = False
        """It must not be used for another call."""

    def ask(self, asked: Asked) -> bytes:
        """What to send for a call. UsageError for parameters that JSON cannot say."""
        assert self._asked is None, "the reply to the call before comes first"
        try:
            data = encode_call(asked.method, asked.parameters, more=asked.more)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise UsageError(f"{asked.method}: its parameters cannot be sent: {error}") from error
        self._asked = asked
        return data

    def receive(self, data: bytes) -> list[Event]:
        """What these bytes say, the bytes before them in mind. ProtocolError."""
        events: list[Event] = []
        try:
            self._framer.feed(data)
            while self._asked is not None and (message := self._framer.next()) is not None:
                events.append(self._event(message, self._asked))
                self.heard = True
        except ProtocolError:
            self.broken = True
            raise
        if self._asked is None and self._framer.unread:
            self.broken = True
            if not events:
                raise ProtocolError("a message that nobody has asked for")
        return events

    def _event(self, message: bytes, asked: Asked) -> Event:
        reply = parse_reply(message)
        if reply.continues:
            if not asked.more:
                raise ProtocolError("a reply that says that it continues, to a call that asked for one reply")
            status = decode_reply(reply, Continued).status
            return Part(decode_reply(reply, dict)) if status is None else status_of(status)
        self._asked = None
        if reply.error is not None:
            return Failure(error_from(reply.error, reply.parameters))
        parameters = decode_reply(reply, dict)
        return Result(parameters.get("result", parameters))
