"""A Varlink service on trio. It knows methods and connections, and nothing of jobs.

One task serves one connection: it reads a call, runs the method's handler, writes the reply, and only then reads on. So calls are
answered in their order, what a client has sent ahead waits in the kernel, and nothing is queued here. The rules:

1. Whatever a client sends and whatever a handler raises stays in that connection. Only cancellation and KeyboardInterrupt pass.
2. A frame goes out whole. The rest of one that the kernel took in part is kept, and goes before anything else; a sender that is
   cancelled leaves it there. A reader that takes nothing for `Limits.patience` seconds loses the connection.
3. A client that closes its connection is not interested any more: the handler is cancelled. The kernel tells it, whatever is still
   unread: a connection that is closed hangs up, one that is shut down for writing only does not, and gets its replies. A oneway
   call is not cancelled, because nobody would have waited for it anyhow. What has to outlive the connection is done elsewhere.
4. Nothing follows the reply: an offer that comes later is refused.
5. `upgrade` is answered with MethodNotImplemented, and the connection stays what it is; `more`, where the method has only one
   answer, is as good as not said. Descriptors that a client sends along are never received.
6. One connection too many is told TooBusy in reply to its first call, and closed; sixteen too many are closed at once.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import trio
from msgspec import Struct
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled, wait_readable

from pollprog.connection import Connection, HangUps, peer_of
from pollprog.errors import (
    ConnectionLost,
    ExpectedMore,
    InterfaceNotFound,
    InternalError,
    MethodNotFound,
    MethodNotImplemented,
    PollprogError,
    ProtocolError,
    TooBusy,
    leaves,
)
from pollprog.varlink import LIMIT, SERVICE, Framer, decode, encode_error, encode_reply, error_reply, parse_call

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable

    from pollprog.connection import Peer
    from pollprog.varlink import Call, Parameters

__all__ = ["Interface", "Limits", "Method", "NoParameters", "Request", "Service"]

logger = logging.getLogger("pollprog")

P = TypeVar("P", bound=Struct)

CHUNK = 1 << 16
"""Bytes read at a time."""
NO_LISTENER = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP}
"""What accept says of something that nobody can connect to. All else passes, as do descriptors of which there are too few."""
EXHAUSTED_PAUSE = 0.1
"""Seconds until it is asked again, where it could not take a client that waits."""
TURNED_AWAY = 16
"""How many connections too many may wait to be told so, and for how many seconds."""
TURNED_AWAY_PATIENCE = 1.0


class NoParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of a method that takes none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one service bears."""

    connections: int = 512
    message: int = LIMIT
    """Bytes that a call may have."""
    patience: float = 30.0
    """Seconds for which a reader may leave no room for what is to be written."""
    send_buffer: int = 1 << 15
    """Bytes that the kernel keeps of what a reader has not taken (it counts some 600 for a short message): a slow one is not far behind."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method: what it takes, and who answers it."""

    name: str
    handler: Callable[[Request[Any]], Awaitable[Parameters]]
    """Returns the parameters of the reply. What it raises is the reply too: a PollprogError as itself, all else as InternalError."""
    parameters: type[Struct] = NoParameters
    more: Literal["no", "may", "must"] = "no"
    """Whether there are replies that say `continues`: never, if the call says `more`, or always, so that it has to say it."""


@dataclass(frozen=True, slots=True)
class Interface:
    """Methods under one name, with the text that describes them in Varlink's own language."""

    name: str
    description: str
    methods: tuple[Method, ...]


class Request(Generic[P]):
    """One call, as its handler sees it."""

    __slots__ = ("connection", "method", "more", "parameters")

    def __init__(self, method: str, parameters: P, connection: Connection, *, more: bool) -> None:
        self.method = method
        """The whole name, as it was called."""
        self.parameters = parameters
        self.connection = connection
        self.more = more
        """Whether the client wants more than the one reply, and the method has them."""

    @property
    def peer(self) -> Peer:
        """Who asks."""
        return self.connection.peer

    async def send(self, parameters: Parameters) -> None:
        """A reply that says `continues`, for what must not be lost: it waits for the reader.

        ConnectionLost if there is none any more; the call is cancelled then anyhow. Cancelled itself, it may still arrive.
        """
        if not self.more:
            raise RuntimeError("the call did not ask for more than one reply")
        await checkpoint_if_cancelled()
        await self.connection.deliver(encode_reply(parameters, continues=True))
        await cancel_shielded_checkpoint()
        if self.connection.lost:
            raise ConnectionLost("the client takes nothing any more")

    def offer(self, frame: bytes) -> bool:
        """Give the kernel a frame that says `continues`, made by `encode_reply`, now or not at all; whether it took it.

        For what may be left out because something newer follows; it never waits, and one frame may go to many. False also after
        the end of the call.
        """
        return self.connection.asked is self and self.connection.offer(frame)


def is_ours_or_root(peer: Peer) -> bool:
    """Whether that is us, or somebody who may do everything anyhow."""
    return peer.uid in (os.geteuid(), 0)


class Service:
    """Interfaces behind one door, and ``org.varlink.service``, which tells of them."""

    def __init__(
        self,
        interfaces: Iterable[Interface],
        *,
        vendor: str,
        product: str,
        version: str,
        url: str,
        limits: Limits | None = None,
        allowed: Callable[[Peer], bool] = is_ours_or_root,
    ) -> None:
        self._limits = limits or Limits()
        self._allowed = allowed
        self._open = 0
        self._info = {"vendor": vendor, "product": product, "version": version, "url": url}
        self.offer(interfaces)

    @property
    def connections(self) -> int:
        """How many there are now."""
        return self._open

    def offer(self, interfaces: Iterable[Interface]) -> None:
        """Serve these interfaces from now on, and no others. A call that runs is not disturbed."""
        own = Method("GetInfo", self._get_info), Method("GetInterfaceDescription", self._describe, _Described)
        self._interfaces = {i.name: i for i in (Interface(SERVICE, _DESCRIPTION, own), *interfaces)}
        self._methods = {f"{i.name}.{method.name}": method for i in self._interfaces.values() for method in i.methods}

    async def serve(self, listeners: Iterable[socket.socket]) -> None:
        """Serve all who connect to these sockets of AF_UNIX, which listen already and stay open, until cancelled."""
        with closing(HangUps()) as hang_ups:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hang_ups.run)
                for listener in listeners:
                    nursery.start_soon(self._accept, listener, nursery, hang_ups)

    async def serve_connection(self, sock: socket.socket, peer: Peer | None = None) -> None:
        """Serve one who has connected already, to the end, and close. `peer` is who it is, if the kernel is not to be asked."""
        with closing(HangUps()) as hang_ups:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hang_ups.run)
                self._open += 1
                await self._attend(sock, hang_ups, peer)
                nursery.cancel_scope.cancel()

    async def _accept(self, listener: socket.socket, nursery: trio.Nursery, hang_ups: HangUps) -> None:
        listener.settimeout(0)
        exhausted = False
        while True:
            await wait_readable(listener)
            try:
                sock, _ = listener.accept()
            except OSError as error:
                if error.errno in NO_LISTENER:
                    raise
                if isinstance(error, BlockingIOError | ConnectionError):  # whoever it was has gone already
                    continue
                if not exhausted:
                    logger.warning("no other connection can be taken for the moment: %s", error.strerror)
                exhausted = True
                await trio.sleep(EXHAUSTED_PAUSE)
                continue
            exhausted = False
            if self._open >= self._limits.connections + TURNED_AWAY:
                sock.close()
                continue
            self._open += 1
            nursery.start_soon(self._attend, sock, hang_ups, None)

    async def _attend(self, sock: socket.socket, hang_ups: HangUps, peer: Peer | None) -> None:
        """One connection, from its first byte to its last. Nothing that happens in it gets out."""
        descriptor = sock.fileno()
        try:
            peer = peer or peer_of(sock)
            if not self._allowed(peer):
                logger.info("user %d is not served here", peer.uid)
                return
            connection = Connection(sock, peer, patience=self._limits.patience, send_buffer=self._limits.send_buffer)
            if self._open > self._limits.connections:
                await self._turn_away(connection)
                return
            hang_ups.watch(descriptor, connection.hang_up)
            framer = Framer(self._limits.message)
            over = False
            # A call that was cancelled may have others behind it that want no reply, so there is another round. A scope for each
            # call would be simpler, and costs more than all else that it takes to answer one.
            while not over:
                with trio.CancelScope() as connection.scope:
                    await self._converse(connection, framer)
                    over = True
        except* Exception:
            logger.exception("a connection ended by a fault")
        finally:
            self._open -= 1
            hang_ups.forget(descriptor)
            trio.lowlevel.notify_closing(sock)
            sock.close()

    async def _turn_away(self, connection: Connection) -> None:
        limit = self._limits.connections
        busy = TooBusy(f"{limit} connections are open already, and no more may be: try again later", limit=limit)
        with trio.move_on_after(TURNED_AWAY_PATIENCE):
            await connection.read(CHUNK)
            await connection.deliver(encode_error(*error_reply(busy)))

    async def _converse(self, connection: Connection, framer: Framer) -> None:
        try:
            while not connection.given_up:
                message = framer.next()
                if message is not None:
                    await self._answer(connection, parse_call(message))
                    if framer.unread:
                        await checkpoint()  # whoever sends many calls ahead is not the only one
                elif data := await connection.read(CHUNK):
                    framer.feed(data)
                else:
                    break
        except ProtocolError as error:  # not one of a handler's: those have been answered
            logger.info("a connection of user %d is closed: %s", connection.peer.uid, error)

    async def _answer(self, connection: Connection, call: Call) -> None:
        try:
            frame = await self._run(connection, call)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a reply
            frame = encode_error(*error_reply(_told(error, call.method)))
        except BaseExceptionGroup as group:  # something failed while it was cancelled, and nobody is left to be told
            failed, others = group.split(Exception)
            if failed is not None:
                _told(failed, call.method)
            raise others or group from None
        if not call.oneway:
            await connection.deliver(frame)

    async def _run(self, connection: Connection, call: Call) -> bytes:
        """The reply to a call."""
        method = self._methods.get(call.method)
        if method is None:
            raise self._not_found(call.method)
        if call.upgrade:
            raise MethodNotImplemented(f"{call.method} cannot be upgraded", method=call.method)
        if method.more == "must" and not call.more:
            raise ExpectedMore(f"{call.method} answers with several messages, and has to be called with 'more'")
        parameters = decode(call.parameters, method.parameters)
        request = Request(call.method, parameters, connection, more=call.more and method.more != "no")
        connection.begin(awaited=not call.oneway, asked=request if request.more else None)
        try:
            return encode_reply(await method.handler(request))
        finally:
            connection.end()

    def _not_found(self, name: str) -> PollprogError:
        interface = name.rpartition(".")[0]
        if not interface or interface in self._interfaces:
            return MethodNotFound("there is no such method", method=name)
        return InterfaceNotFound("there is no such interface", interface=interface)

    async def _get_info(self, _: Request[NoParameters]) -> Parameters:
        return {**self._info, "interfaces": list(self._interfaces)}

    async def _describe(self, request: Request[_Described]) -> Parameters:
        interface = self._interfaces.get(request.parameters.interface)
        if interface is None:
            raise InterfaceNotFound("there is no such interface", interface=request.parameters.interface)
        return {"description": interface.description}


def _told(error: Exception, method: str) -> PollprogError:
    """What a client is told of what a handler raised."""
    raised = list(leaves(error))
    ours = [leaf for leaf in raised if isinstance(leaf, PollprogError)]
    if len(ours) == len(raised):
        return ours[0]
    logger.error("%s failed by a fault of ours", method, exc_info=error)
    return InternalError(f"{method} failed by a fault of the service, whose log says more")


class _Described(Struct, frozen=True, forbid_unknown_fields=True):
    interface: str


_DESCRIPTION = """\
# What every Varlink service tells of itself.
interface org.varlink.service

# Who made this, and which interfaces there are.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# One interface as a text like this one.
method GetInterfaceDescription(interface: string) -> (description: string)

# There is no such interface here.
error InterfaceNotFound (interface: string)

# The interface has no such method.
error MethodNotFound (method: string)

# The method is described, and cannot be called here, or not so.
error MethodNotImplemented (method: string)

# This parameter is missing, unknown, or not what it has to be.
error InvalidParameter (parameter: string)

# This is for somebody else.
error PermissionDenied ()

# The method has to be called with 'more'.
error ExpectedMore ()

# The method has to be called with 'upgrade'.
error ExpectedUpgrade ()
"""
