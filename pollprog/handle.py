"""A connection to a daemon that can be asked how far it is, from any thread, while a call runs on it. The blocking one.

A call waits in the thread that makes it, in one poll(2): for the reply, and for a byte of `cancel`. What it hears on the way it
stores into two attributes, and hands to the thread of the callbacks. So who asks how far it is waits for nobody, and nobody for a
callback. The rules:

1. One call at a time: another one, from whatever thread, signal handler or callback, raises Busy.
2. `cancel` sets a flag and writes a byte. The thread that waits says Cancel over a second connection, and goes on waiting for its
   own reply. If that cannot be said, it closes the connection, which cancels too.
3. A call that ends by anything else than its reply closes the connection, because the reply may come yet. The next call makes
   another one.
4. What is held open is closed on exec, and closed in the child of a fork: the handle is of use only where it was made.
"""

from __future__ import annotations

import math
import os
import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from pollprog.addresses import Ssh, Unix, parse_address
from pollprog.callbacks import Callbacks
from pollprog.conversation import DESCRIBE, Failure, Methods, Part, Result, environment, prepared
from pollprog.dialing import dial
from pollprog.errors import Busy, Cancelled, ConnectionLost, InterfaceNotFound, MethodNotFound, Unreachable, UsageError
from pollprog.varlink import error_from
from pollprog.wire import NO_DAEMON, Cancelling, Wire, keep_alone, stranger

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from pollprog.conversation import Asked
    from pollprog.status import Status

__all__ = ["Handle", "Progress", "connect"]


class Progress(NamedTuple):
    """How far a call is. Both are -1 if there is nothing to tell; `total` alone is where nobody knows it."""

    total: int
    current: int


NOTHING = Progress(-1, -1)


def connect(address: str | Unix | Ssh | None = None) -> Handle:
    """A handle on the daemon at this address: ``unix:PATH``, a path, or ``ssh://[user@]host[:port]``.

    None: ``$POLLPROG_ADDRESS``, or this user's own daemon. Raises Unreachable, UsageError.
    """
    return Handle(address if isinstance(address, Unix | Ssh) else parse_address(address))


class _Running(Struct, eq=False):
    """One call, while it runs."""

    thread: int
    job: str | None = None
    cancelled: bool = False


class Handle:
    """A connection to a daemon. Close it, or use it in a ``with`` block: what runs on it is cancelled by that."""

    def __init__(self, address: Unix | Ssh) -> None:
        self.address = address
        self.status: Status | None = None
        """The newest status, whole; it stays until the next call begins. None before the first."""
        self._local = not isinstance(address, Ssh)
        self._pid = os.getpid()
        self._closed = False
        self._turn = threading.Lock()
        """Held by the thread in which a call runs; nobody ever waits for it, but who closes the handle."""
        self._running: _Running | None = None
        self._progress = NOTHING
        self._callbacks = Callbacks()
        self._remove_callback: Callable[[], None] | None = None
        self._methods = Methods()
        self._wire: Wire | None = Wire(dial(address), address)
        self._woken, self._waker = socket.socketpair()
        for end in self._woken, self._waker:
            end.settimeout(0)
            keep_alone(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "busy" if self.busy else "idle"
        return f"<pollprog.Handle {self.address}, {state}>"

    # -- calls

    def call(self, method: str, /, *, more: bool | None = None, **parameters: Any) -> Any:
        """Ask for something, and wait for the answer: a `dict`, or whatever the method returns.

        `method` is one of ``org.pollprog.operations``, or has its interface in its name. A parameter that is a `pathlib.Path`, or
        another `os.PathLike`, is made absolute; text is sent as it is; None is as good as not said. Progress is asked for
        where there is some (`more`: whether to, regardless).

        Raises what the daemon answers, as the class of ours that it is, with its parameters as attributes; Cancelled after `cancel`;
        Busy, ConnectionLost, Unreachable, ProtocolError, UsageError.
        """
        sent = prepared(parameters, local=self._local)
        self._take_turn()
        try:
            if self._closed:
                raise UsageError(f"the handle to {self.address} is closed")
            self.status = None
            running = self._running = _Running(threading.get_ident())
            if not self._methods.knows(method):
                try:
                    self._methods.learn(self._exchange(DESCRIBE, running))
                except (MethodNotFound, InterfaceNotFound) as error:
                    raise stranger(self.address, NO_DAEMON) from error
            asked = self._methods.ask(method, sent, more=more)
            running.job = asked.job
            return self._exchange(asked, running)
        finally:
            self._progress = NOTHING
            self._running = None
            self._turn.release()

    def submit(self, method: str, /, **parameters: Any) -> str:
        """Start an operation that goes on when the handle is closed; the id of its job.

        A daemon on this machine runs its commands in the current directory, and with the environment of this process, but for
        what in it is no UTF-8.
        """
        here: dict[str, Any] = {}
        if self._local:
            try:
                here = {"directory": os.getcwd(), "environment": environment()}
            except FileNotFoundError as error:
                raise UsageError("the current directory has been removed: a command cannot be run there") from error
        sent = {name: value for name, value in parameters.items() if value is not None}
        job: str = self.call("Submit", method=method, parameters=prepared(sent, local=self._local), **here)["job"]
        return job

    def follow(self, job: str, *, check: bool = False, interval: float | None = None) -> dict[str, Any]:
        """Wait until a job is over, told its statuses as of a call's own; the job, as the method Get has it.

        With `check`, raise the error that it ended with, if any. `cancel` ends the waiting, not the job; so does closing.
        """
        told: dict[str, Any] = self.call("Follow", job=job, interval=interval)["job"]
        if check and told.get("error"):
            raise error_from(told["error"], {"message": told.get("message"), **(told.get("parameters") or {})})
        return told

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that may be seen from here, newest first."""
        jobs: list[dict[str, Any]] = self.call("List")["jobs"]
        return jobs

    # -- while a call runs; from any thread

    @property
    def busy(self) -> bool:
        """Whether a call runs."""
        return self._running is not None

    def get_progress(self) -> Progress:
        """How far the call is that runs. Never waits; (-1, -1) before its first status and after its reply, and without a call."""
        return self._progress

    def cancel(self) -> None:
        """Have the call that runs stopped; it then raises Cancelled. Does nothing without one.

        May be called from any thread, from a callback and from a signal handler; returns at once. A call of something that is no
        operation, such as Follow, is only not waited for any more.
        """
        running = self._running
        if running is not None:
            running.cancelled = True
            self._wake()

    def set_progress_callback(self, callback: Callable[[int, int], object] | None) -> None:
        """Have this one called with (total, current) as a call goes on, instead of the one that was set before; None for none.

        Callbacks run in one thread of the handle's own. A slow one is given the newest, not every one. `total` is -1 where nobody knows it.
        """
        remove = None if callback is None else self._callbacks.add(callback)
        if self._remove_callback is not None:
            self._remove_callback()
        self._remove_callback = remove

    def add_progress_callback(self, callback: Callable[[int, int], object]) -> Callable[[], None]:
        """Have this one called too; what is returned takes it away again."""
        return self._callbacks.add(callback)

    def close(self) -> None:
        """Close the connection, and cancel what runs on it. Callbacks are told the last of it, unless one takes longer than a second."""
        running = self._running
        if running is not None and running.thread == threading.get_ident():
            raise Busy("a call runs in this very thread: cancel() ends it")
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        self._wake()
        with self._turn:
            self._hang_up()
            self._woken.close()
            self._waker.close()
        self._callbacks.close()

    # -- inside

    def _wake(self) -> None:
        with suppress(OSError):  # it is full, and so wakes anyhow; or closed, and nobody sleeps
            self._waker.send(b"\0")

    def _take_turn(self) -> None:
        """Be the only call, or raise."""
        if self._callbacks.inside():
            raise Busy("a callback makes no calls: open another handle, or call elsewhere")
        if os.getpid() != self._pid:
            raise UsageError("the handle was made before a fork, in another process: open one here")
        if not self._turn.acquire(blocking=False):
            raise Busy(f"a call runs on this handle to {self.address} already: wait for it, or open another")

    def _exchange(self, asked: Asked, running: _Running) -> Any:
        """Ask, and wait for the reply."""
        if running.cancelled:
            raise Cancelled(f"{asked.method} was cancelled before it began")
        try:
            wire = self._connection()
            wire.ask(asked)
            reply = self._hear(wire, running)
        except BaseException:
            self._hang_up()
            raise
        if isinstance(reply, Failure):
            raise reply.error
        return reply.value

    def _hear(self, wire: Wire, running: _Running) -> Result | Failure:
        """Wait for the reply, and take the statuses that come before."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        cancelling: Cancelling | None = None
        try:
            while True:
                poll.register(wire.socket, wire.events)
                seconds = None if cancelling is None else cancelling.wait
                poll.poll(None if seconds is None else math.ceil(seconds * 1e3))
                for event in wire.advance():
                    if isinstance(event, Result | Failure):
                        return event
                    if not isinstance(event, Part):
                        self._take(event, running)
                self._drain()
                if self._closed:
                    raise ConnectionLost(f"the handle to {self.address} was closed", address=str(self.address))
                if running.cancelled:
                    if running.job is None:
                        raise Cancelled("the call was cancelled, and is not waited for any more")
                    cancelling = cancelling or Cancelling(running.job, self.address)
                    self._say_cancel(cancelling, poll)
        finally:
            if cancelling is not None:
                cancelling.close()

    def _say_cancel(self, cancelling: Cancelling, poll: select.poll) -> None:
        """Go on with it. ConnectionLost once it is too late."""
        if late := cancelling.overdue():
            raise late
        if cancelling.due:
            try:
                cancelling.begin(dial(self.address, seconds=cancelling.left))
            except Unreachable:
                cancelling.retry()
        elif cancelling.wire is not None:
            poll.unregister(cancelling.wire)
            cancelling.advance()
        if cancelling.wire is not None:
            poll.register(cancelling.wire, cancelling.wire.events)

    def _take(self, status: Status, running: _Running) -> None:
        self.status = status
        if status.current is not None:
            self._progress = Progress(-1 if status.total is None else status.total, status.current)
            self._callbacks.tell(running, *self._progress)

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(64)

    def _connection(self) -> Wire:
        if self._wire is not None and not self._wire.usable():
            self._hang_up()
        if self._wire is None:
            self._wire = Wire(dial(self.address), self.address)
        return self._wire

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None
            self._methods = Methods()  # another daemon may answer next time
