"""A client at the far end of a socket: who it is, whether it is still there, and frames that reach it whole or not at all.

The rest of a frame that the kernel took in part is kept, and goes before anything else; whoever was cancelled while sending it leaves
it there. A reader that takes nothing for a while is given up.

A socket of AF_UNIX that is closed at the far end hangs up; one that is only shut down for writing there does not, though both look
the same to who reads. So the kernel is asked for the hang-up alone, and whatever is still unread stays where it is.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

import trio
from trio.lowlevel import wait_readable, wait_writable

from pollprog.errors import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Connection", "HangUps", "Peer", "peer_of"]

logger = logging.getLogger("pollprog")


class Peer(NamedTuple):
    """Who connected, as the kernel knows it. The process may be gone by now, and its number somebody else's."""

    uid: int
    gid: int
    pid: int


class Connection:
    """One client. Made by a service, for a connected stream socket of AF_UNIX, which it sets to its needs."""

    def __init__(self, sock: socket.socket, peer: Peer, *, patience: float, send_buffer: int) -> None:
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer // 2)  # the kernel doubles it
        self.peer = peer
        self.scope = trio.CancelScope()
        """What is cancelled when the client closes while somebody works for it."""
        self.asked: object = None
        """The request that runs, if it may have replies that say `continues`."""
        self.lost = False
        """Whether nothing can be written any more."""
        self.given_up = False
        """Whether nothing is to be read any more either."""
        self._socket = sock
        self._patience = patience
        self._rest = memoryview(b"")
        self._turn = trio.Lock()
        self._awaited = False
        self._hung_up = False

    def offer(self, frame: bytes) -> bool:
        """As `Request.offer`, for whatever call runs."""
        return self.asked is not None and self._take(frame)

    async def flushed(self) -> None:
        """Wait until nothing is left of a frame that was begun, and the kernel may take another. ConnectionLost if it never will."""
        async with self._turn:
            await self._writable()
            await self._flush()
        if self.lost:
            raise ConnectionLost("the client takes nothing any more")

    # --- for the service and its requests

    def hang_up(self) -> None:
        """The client has closed: what runs for it need not go on."""
        self._hung_up = True
        if self._awaited:
            self.scope.cancel()

    def begin(self, *, awaited: bool, asked: object = None) -> None:
        """A call runs from here on. If its reply is `awaited`, it is cancelled when the client closes, or now if it has already."""
        self.asked = asked
        self._awaited = awaited
        if awaited and self._hung_up:
            self.scope.cancel()

    def end(self) -> None:
        """It runs no more."""
        self.asked = None
        self._awaited = False

    async def read(self, size: int) -> bytes:
        """What has come, `size` bytes at most; nothing at the end."""
        while True:
            await wait_readable(self._socket)
            try:
                return self._socket.recv(size)
            except BlockingIOError:
                pass
            except ConnectionError:
                return b""

    async def deliver(self, frame: bytes) -> None:
        """Write a frame, however slowly it is read, unless nobody will. No checkpoint if the kernel takes it at once."""
        if self._take(frame):
            if self._rest:
                async with self._turn:
                    await self._flush()
        else:
            async with self._turn:
                await self._flush()
                if not self.lost:
                    self._rest = memoryview(frame)
                    await self._flush()

    def _take(self, frame: bytes) -> bool:
        """Whether the kernel took this frame now, or the beginning of it."""
        if self._rest:
            self._push()
        if self._rest or self.lost:  # who was given up may read again, but not what follows half a frame
            return False
        try:
            taken = self._socket.send(frame, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:
            self._lose()
            return False
        if taken < len(frame):
            self._rest = memoryview(frame)[taken:]
        return True

    def _push(self) -> None:
        """Give the kernel what it takes of the rest now, if there is any left."""
        try:
            self._rest = self._rest[self._socket.send(self._rest, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            pass
        except OSError:
            self._lose()

    async def _flush(self) -> None:
        while self._rest:
            await self._writable()
            self._push()

    async def _writable(self) -> None:
        with trio.move_on_after(self._patience) as patience:
            await wait_writable(self._socket)
        if patience.cancelled_caught:
            logger.info("user %d reads nothing of what was asked for: its connection is closed", self.peer.uid)
            self.given_up = True
            self._lose()
            self.hang_up()

    def _lose(self) -> None:
        self.lost = True
        self._rest = memoryview(b"")


class HangUps:
    """Tells which of many sockets have been closed at the far end, without reading them.

    An epoll object that asks for no event wakes on a hang-up alone, and is itself something that can be waited for.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._told: dict[int, Callable[[], None]] = {}

    def watch(self, descriptor: int, told: Callable[[], None]) -> None:
        """Call `told` once, when that one hangs up."""
        self._told[descriptor] = told
        self._epoll.register(descriptor, select.EPOLLONESHOT)

    def forget(self, descriptor: int) -> None:
        """Before it is closed."""
        if self._told.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await wait_readable(self._epoll.fileno())
            for descriptor, _ in self._epoll.poll(0):
                self._told[descriptor]()

    def close(self) -> None:
        """When nothing is watched any more."""
        self._epoll.close()


def peer_of(sock: socket.socket) -> Peer:
    """Who connected to this socket of AF_UNIX, as it was then."""
    pid, uid, gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(uid, gid, pid)
