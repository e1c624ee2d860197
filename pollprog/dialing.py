"""How a client reaches a daemon: an address becomes a connected socket."""

from __future__ import annotations

import os
import socket
import struct

from pollprog.addresses import Ssh, Unix, default_path
from pollprog.errors import Unreachable

__all__ = ["PATIENCE", "dial", "nobody_listens"]

PATIENCE = 5.0
"""Seconds for which a daemon that takes no connection is waited for."""


def dial(address: Unix | Ssh, *, seconds: float | None = None) -> socket.socket:
    """A stream to the daemon at this address, within about so many seconds. Unreachable, UsageError."""
    if isinstance(address, Ssh):
        from pollprog.links import link  # the far side, which passes bytes on, has no use for it

        return link(address, seconds=seconds)
    return dial_unix(address, PATIENCE if seconds is None else seconds)


def dial_unix(address: Unix, seconds: float) -> socket.socket:
    """The socket of a daemon on this machine."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # connect() waits for as long as a send would (unix(7)), if too many others wait to be accepted.
        whole = int(seconds)
        limit = struct.pack("ll", whole, max(1000, int((seconds - whole) * 1e6)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.connect(address.path)
        check_owner(address, sock)
    except OSError as error:
        sock.close()
        raise Unreachable(reason(address, error), address=str(address)) from error
    except BaseException:
        sock.close()
        raise
    return sock


def check_owner(address: Unix, sock: socket.socket) -> None:
    """Raise Unreachable if somebody else listens where this user's own daemon is looked for: it would be told secrets."""
    if address.path == default_path():
        _, uid, _ = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()):
            raise Unreachable(f"{address} belongs to user {uid}, and is not used", address=str(address))


NOBODY = (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)
"""What the kernel says where nobody listens."""


def nobody_listens(error: Unreachable) -> bool:
    """Whether that is all: a daemon that is started may be there in a moment."""
    return isinstance(error.__cause__, NOBODY)


def reason(address: Unix, error: OSError) -> str:
    """Why nobody was reached, and what to do."""
    if isinstance(error, NOBODY):
        return f"nobody listens at {address}; start one with: pollprog daemon"
    if isinstance(error, PermissionError):
        return f"{address} is for somebody else: {error.strerror}"
    if isinstance(error, BlockingIOError | TimeoutError):
        return f"{address} takes no more connections; try again later"
    return f"{address} cannot be reached: {error.strerror or error}"
