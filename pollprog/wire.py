"""A client's end of a connection: a socket and the conversation on it. Nothing here waits; who uses it waits for `events`.

Both clients, the blocking one and that for trio, are thin over it.
"""

from __future__ import annotations

import os
import select
import socket
import weakref
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from pollprog.addresses import Ssh
from pollprog.conversation import Asked, Conversation, Failure, Result
from pollprog.errors import (
    ConnectionLost,
    JobOver,
    PollprogError,
    ProtocolError,
    Unreachable,
)
from pollprog.messages import INTERFACE

if TYPE_CHECKING:
    from pollprog.addresses import Unix
    from pollprog.conversation import Event

__all__ = ["NO_DAEMON", "Cancelling", "Wire", "keep_alone", "stranger"]

CHUNK = 1 << 16
"""Bytes read at a time."""
PATIENCE, PATIENCE_FAR_AWAY = 2.0, 30.0
"""Seconds within which a daemon has to take note of a cancel; through ssh it takes a login to tell it."""
NO_DAEMON = f"it has no interface {INTERFACE}"
AGAIN = 0.02
"""Seconds until it is told again, if it did not know the job."""


class Wire:
    """A connection to a service."""

    def __init__(self, sock: socket.socket, address: Unix | Ssh) -> None:
        sock.settimeout(0)
        self.socket = sock
        self.conversation = Conversation()
        self._address = address
        self._unsent = memoryview(b"")
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        keep_alone(sock)

    def fileno(self) -> int:
        """For who waits."""
        return self.socket.fileno()

    @property
    def writing(self) -> bool:
        """Whether something is left to be written."""
        return bool(self._unsent)

    @property
    def events(self) -> int:
        """What to wait for, as poll(2) has it, before `advance` is called again."""
        return select.POLLIN | select.POLLOUT if self._unsent else select.POLLIN

    def usable(self) -> bool:
        """Whether another call can be made here: the other side is there, and has said nothing that nobody asked for."""
        return not self.conversation.broken and not self._readable.poll(0)

    def ask(self, asked: Asked) -> None:
        """Make a call; as much of it is sent as goes out now. UsageError for what cannot be sent."""
        self._unsent = memoryview(self.conversation.ask(asked))
        self.push()

    def advance(self) -> list[Event]:
        """Write what can be written now, and say what has come. Unreachable, ConnectionLost, ProtocolError."""
        if self._unsent:
            self.push()
        try:
            data = self.socket.recv(CHUNK)
        except BlockingIOError:
            return []
        except OSError as error:
            raise self._lost() from error
        if not data:
            raise self._lost()
        try:
            return self.conversation.receive(data)
        except ProtocolError as error:
            if self.conversation.heard:
                raise ProtocolError(f"{self._address} does not keep to the protocol: {error}") from error
            raise stranger(self._address, str(error)) from error

    def push(self) -> None:
        """Write what can be written now."""
        while self._unsent:
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                return
            except OSError:
                self._unsent = memoryview(b"")  # why, the other side may have said before it closed: that is read next

    def _lost(self) -> ConnectionLost:
        reason = getattr(self.socket, "reason", None)  # a link through ssh knows one
        if reason is not None:
            text = f"{self._address}: the link is lost: {reason()}"
        elif self.conversation.heard:
            text = f"{self._address} closed the connection before the reply came; the daemon has ended, or was killed"
        else:
            text = f"{self._address} closed the connection without a word: it may not serve you"
        return ConnectionLost(text, address=str(self._address))

    def close(self) -> None:
        """What runs on it is cancelled by that."""
        self.socket.close()


def stranger(address: Unix | Ssh, why: str) -> Unreachable:
    """The error for somebody else's service."""
    return Unreachable(f"whoever answers at {address} is no pollprog daemon: {why}", address=str(address))


class Cancelling:
    """Says Cancel(job) over a connection of its own, until it is heard: a job that is not known yet may be so in a moment."""

    def __init__(self, job: str, address: Unix | Ssh) -> None:
        self.job = job
        self.heard = False
        self.wire: Wire | None = None
        self._address = address
        self._until = monotonic() + (PATIENCE_FAR_AWAY if isinstance(address, Ssh) else PATIENCE)
        self._next = 0.0

    @property
    def left(self) -> float:
        """Seconds until it is too late."""
        return self._until - monotonic()

    @property
    def due(self) -> bool:
        """Whether a connection is wanted now, for `begin`."""
        return self.wire is None and not self.heard and monotonic() >= self._next

    @property
    def wait(self) -> float | None:
        """Seconds until there is something to do, though nothing comes; None if there never will be."""
        if self.heard:
            return None
        return max(0.0, self.left if self.wire is not None else min(self.left, self._next - monotonic()))

    def begin(self, sock: socket.socket) -> None:
        """Say it here."""
        self.wire = Wire(sock, self._address)
        self.wire.ask(Asked(f"{INTERFACE}.Cancel", {"job": self.job}))

    def advance(self) -> None:
        """Hear what is said to it."""
        try:
            events = self.wire.advance() if self.wire is not None else []
        except PollprogError:
            self.retry()
            return
        for event in events:
            if isinstance(event, Result) or (isinstance(event, Failure) and isinstance(event.error, JobOver)):
                self.heard = True
                self.close()
            elif isinstance(event, Failure):
                self.retry()

    def retry(self) -> None:
        """That was nothing: once more in a moment."""
        self.close()
        self._next = monotonic() + AGAIN

    def overdue(self) -> ConnectionLost | None:
        """What to raise once it is too late: the connection of the call is closed then, and what becomes of the job is not known."""
        if self.heard or self.left > 0:
            return None
        text = f"{self._address} did not hear the cancel, so the connection was closed; how job {self.job} ends is not known"
        return ConnectionLost(text, address=str(self._address))

    def close(self) -> None:
        """At the end."""
        if self.wire is not None:
            self.wire.close()
            self.wire = None


_alone: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def keep_alone(sock: socket.socket) -> None:
    """Have it closed in the child of a fork: held open there, it would keep the work alive when we are gone. On exec it is anyhow."""
    _alone.add(sock)


def _forked() -> None:
    for sock in list(_alone):
        with suppress(OSError):
            sock.close()


os.register_at_fork(after_in_child=_forked)
