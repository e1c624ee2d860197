"""A connection to a daemon for programs on trio. Whoever leaves its block closes it, which cancels what runs on it.

Nothing runs behind its back: a call is sent when it is first awaited or iterated, and what comes is read by whoever waits for it.
Of the statuses that have come meanwhile the newest is told, so who takes them slowly skips some, and is never behind.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio

from pollprog.addresses import Ssh, Unix, parse_address
from pollprog.conversation import DESCRIBE, Failure, Methods, Part, Result, prepared
from pollprog.dialing import dial
from pollprog.errors import Busy, Cancelled, InterfaceNotFound, MethodNotFound, PollprogError, Unreachable
from pollprog.status import Status
from pollprog.wire import NO_DAEMON, Cancelling, Wire, stranger

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
    from typing import Self

    from pollprog.conversation import Asked, Event

__all__ = ["Call", "Client", "open_client"]

T = TypeVar("T")


@asynccontextmanager
async def open_client(address: str | Unix | Ssh | None = None) -> AsyncIterator[Client]:
    """A client of the daemon at this address, as for `pollprog.connect`, for the length of an ``async with`` block.

    Raises Unreachable, UsageError.
    """
    client = Client(address if isinstance(address, Unix | Ssh) else parse_address(address))
    await client.connection()
    try:
        yield client
    finally:
        client.hang_up()
        client.closed = True


class Client:
    """A connection to a daemon, as `open_client` gives it. One call at a time: for several, open several."""

    def __init__(self, address: Unix | Ssh) -> None:
        self.address = address
        self.methods = Methods()
        self.running: Call | None = None
        """The call that has begun, and has not ended."""
        self.closed = False
        self._wire: Wire | None = None

    def call(self, method: str, /, *, more: bool | None = None, **parameters: Any) -> Call:
        """Something to be asked for, with parameters as for `Handle.call`. It begins when it is awaited or iterated."""
        local = not isinstance(self.address, Ssh)
        return Call(self, method, prepared(parameters, local=local), more=more)

    # -- for its calls

    async def connection(self) -> Wire:
        """The connection, made anew if there is none any more. Unreachable."""
        if self._wire is not None and not self._wire.usable():
            self.hang_up()
        if self._wire is None:
            self._wire = Wire(await reached(self.address), self.address)
        return self._wire

    def hang_up(self) -> None:
        """Close the connection; the next call makes another."""
        wire, self._wire, self.running = self._wire, None, None
        self.methods = Methods()  # another daemon may answer next time
        if wire is not None:
            trio.lowlevel.notify_closing(wire)
            wire.close()


class Call:
    """One call. Iterate it for its statuses, and await it, or `result`, for what it returns; in either order, or only one of them.

    What it ends with, if that is an error, is raised by both. An await that is cancelled loses nothing: it may be tried again. To
    end the call, `cancel` it, or leave the client's block.
    """

    def __init__(self, client: Client, method: str, parameters: Mapping[str, Any], *, more: bool | None) -> None:
        self.status: Status | None = None
        """The newest status."""
        self._client = client
        self._method = method
        self._parameters = parameters
        self._more = more
        self._asked: Asked | None = None
        """What was asked for, once it has been."""
        self._wire: Wire | None = None
        self._come: deque[Event] = deque()
        self._reply: Result | Failure | None = None
        self._cancelled = False

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.result().__await__()

    async def result(self) -> Any:
        """What it returns, as `Handle.call` has it. Raises what that raises."""
        while self._reply is None:
            await self._next()
        if isinstance(self._reply, Failure):
            raise self._reply.error
        return self._reply.value

    def __aiter__(self) -> AsyncIterator[Status]:
        return _Told(self, self._next_status)

    def replies(self) -> AsyncIterator[dict[str, Any]]:
        """What a method such as Watch tells bit by bit, all of it; each the parameters of one reply."""
        return _Told(self, self._next_part)

    async def cancel(self) -> None:
        """Have it stopped: it then ends with Cancelled. From any task; returns when the daemon has heard it.

        A call of something that is no operation is only not waited for any more. If the daemon does not hear it within two
        seconds, the connection is closed, which cancels too, and the call ends with ConnectionLost.
        """
        self._cancelled = True
        if self._reply is not None or self._client.running is not self:
            return
        if self._asked is None or self._asked.job is None:
            self._fail(Cancelled("the call was cancelled, and is not waited for any more"))
            return
        cancelling = Cancelling(self._asked.job, self._client.address)
        try:
            while not cancelling.heard and self._reply is None:
                if late := cancelling.overdue():
                    self._fail(late)
                    return
                with trio.move_on_after(cancelling.left if cancelling.due else cancelling.wait or 0):
                    await say(cancelling, self._client.address)
        finally:
            cancelling.close()

    # -- inside

    async def _next_status(self) -> Status | None:
        event = await self._next()
        return event if isinstance(event, Status) else None

    async def _next_part(self) -> dict[str, Any] | None:
        event = await self._next()
        return event.parameters if isinstance(event, Part) else None

    async def _next(self) -> Event | None:
        """Wait for what comes next. None: it has been overtaken by something newer."""
        try:
            wire = self._wire or await self._begin()
            while not self._come:
                self._come.extend(await heard(wire))
        except (trio.ClosedResourceError, PollprogError) as error:
            if self._reply is not None:
                return None  # cancel() has closed the connection, and said why
            if self._client.closed:
                raise trio.ClosedResourceError("this client has been closed") from error
            if isinstance(error, PollprogError) and self._client.running is self:
                self._fail(error)
            raise
        event = self._come.popleft()
        if isinstance(event, Status):
            if self._come and isinstance(self._come[0], Status):
                return None
            self.status = event
        elif isinstance(event, Result | Failure):
            self._reply, self._client.running = event, None
        return event

    async def _begin(self) -> Wire:
        """Make the call."""
        client = self._client
        if self._cancelled:
            raise Cancelled(f"{self._method} was cancelled before it began")
        if client.closed:
            raise trio.ClosedResourceError("this client has been closed")
        if client.running is not None:
            raise Busy(f"a call runs on this client of {client.address} already: wait for it, or open another")
        client.running = self
        try:
            wire = await client.connection()
            if self._cancelled:
                raise Cancelled(f"{self._method} was cancelled before it began")
            if not client.methods.knows(self._method):
                client.methods.learn(await described(wire, client.address))
            asked = client.methods.ask(self._method, self._parameters, more=self._more)
            wire.ask(asked)
        except BaseException:  # nothing has begun: it may be awaited again
            if client.running is self:
                client.hang_up()
            raise
        self._asked, self._wire = asked, wire
        return wire

    def _fail(self, error: PollprogError) -> None:
        """End without a reply."""
        self._reply = Failure(error)
        self._client.hang_up()


class _Told(Generic[T]):
    """What a call tells, until its reply."""

    def __init__(self, call: Call, next_: Callable[[], Awaitable[T | None]]) -> None:
        self._call = call
        self._next = next_

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while self._call._reply is None:  # noqa: SLF001 # a part of it
            told = await self._next()
            if told is not None:
                return told
        await self._call.result()
        raise StopAsyncIteration


async def reached(address: Unix | Ssh, *, seconds: float | None = None) -> socket.socket:
    """A stream to the daemon. Who stops waiting for one through ssh leaves it behind, to be closed when it is there."""
    return await trio.to_thread.run_sync(
        partial(dial, address, seconds=seconds), abandon_on_cancel=isinstance(address, Ssh)
    )


async def heard(wire: Wire) -> list[Event]:
    """Send what is left to be sent, and wait until something comes, which may be nothing whole yet."""
    while wire.writing:
        await trio.lowlevel.wait_writable(wire)
        wire.push()
    await trio.lowlevel.wait_readable(wire)
    return wire.advance()


async def described(wire: Wire, address: Unix | Ssh) -> Any:
    """What the daemon says of its operations."""
    wire.ask(DESCRIBE)
    while not (events := await heard(wire)):
        pass
    reply = events[0]
    if isinstance(reply, Failure):
        if isinstance(reply.error, MethodNotFound | InterfaceNotFound):
            raise stranger(address, NO_DAEMON) from reply.error
        raise reply.error
    assert isinstance(reply, Result), "more was not asked for"
    return reply.value


async def say(cancelling: Cancelling, address: Unix | Ssh) -> None:
    """Go on with it."""
    if cancelling.due:
        try:
            cancelling.begin(await reached(address, seconds=cancelling.left))
        except Unreachable:
            cancelling.retry()
    elif cancelling.wire is None:
        await trio.sleep_forever()  # as long as the caller lets us
    else:
        await trio.lowlevel.wait_readable(cancelling.wire)
        cancelling.advance()
