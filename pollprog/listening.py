"""The sockets that a daemon listens on: its own, in a directory that nobody else may enter, or those that systemd hands over."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pollprog.addresses import LONGEST
from pollprog.errors import PollprogError

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

__all__ = ["ListenError", "handed_over", "listening", "notify"]

FIRST = 3
"""The first descriptor that systemd hands over (sd_listen_fds(3))."""
BACKLOG = 1024


class ListenError(PollprogError):
    """Nobody can be listened to at this address."""

    exit_status = 1


@contextmanager
def listening(path: str) -> Iterator[socket.socket]:
    """A listening socket at `path`, while it is entered. ListenError says why not.

    Its directory is made if it is not there, and has to be ours and closed to others. A lock beside the socket says that
    somebody listens; so what a daemon that was killed has left behind is told from one that lives.
    """
    if len(os.fsencode(path)) > LONGEST:
        raise ListenError(
            f"{path}: too long for a socket, which has {LONGEST} bytes at most; choose another place with --socket"
        )
    name = os.path.basename(path)
    directory = private_directory(os.path.dirname(path))
    try:
        lock = take_lock(f"{name}.lock", directory, path)
        try:
            make_way(name, directory, path)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                os.fchmod(sock.fileno(), 0o600)  # before it has a name: what bind makes has this mode, less the umask
                sock.bind(through(directory, name))
                made = os.stat(name, dir_fd=directory, follow_symlinks=False)
                try:
                    sock.listen(BACKLOG)
                    yield sock
                finally:
                    sock.close()
                    with suppress(OSError):
                        if os.path.samestat(os.stat(name, dir_fd=directory, follow_symlinks=False), made):
                            os.unlink(name, dir_fd=directory)
            finally:
                sock.close()
        finally:
            os.close(lock)
    except OSError as error:
        raise ListenError(f"{path}: cannot be listened to: {error.strerror or error}") from error
    finally:
        os.close(directory)


def through(directory: int, name: str) -> str:
    """A path that leads into this very directory, whatever has its name by now."""
    return f"/proc/self/fd/{directory}/{name}"


def private_directory(path: str) -> int:
    """A descriptor of this directory, which is ours, and closed to others."""
    try:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise ListenError(
            f"{path}: no directory for the socket: {error.strerror}; choose another with --socket"
        ) from error
    info = os.fstat(directory)
    if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
        os.close(directory)
        whose = f"belongs to uid {info.st_uid}" if info.st_uid != os.geteuid() else "is open to others (chmod 700 it)"
        raise ListenError(f"{path}: {whose}; choose another place with --socket")
    return directory


def take_lock(name: str, directory: int, path: str) -> int:
    """A descriptor that holds the lock until it is closed."""
    lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=directory)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno != errno.EWOULDBLOCK:
            raise
        raise ListenError(f"{path}: another daemon listens there already") from error
    return lock


def make_way(name: str, directory: int, path: str) -> None:
    """Remove what a daemon has left behind that was killed. ListenError for anything else of that name."""
    try:
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise ListenError(f"{path}: something else has that name; remove it, or choose another --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(0)
        try:
            sock.connect(through(directory, name))
        except ConnectionRefusedError:
            os.unlink(name, dir_fd=directory)
            return
        except BlockingIOError:
            pass  # it has no time for us
    # Somebody who knows nothing of our lock.
    raise ListenError(f"{path}: another program listens there; end it, or choose another --socket")


def handed_over(environment: MutableMapping[str, str]) -> tuple[list[socket.socket], list[socket.socket]]:
    """The sockets that systemd gave us, those that listen and those that are connected; the variables are taken away.

    None, if they are not meant for us. ListenError for descriptors that are no sockets of AF_UNIX.
    """
    pid, count = environment.get("LISTEN_PID", ""), environment.get("LISTEN_FDS", "")
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"):
        environment.pop(name, None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return [], []
    descriptors = list(range(FIRST, FIRST + int(count)))
    ours = [number for number, name in zip(descriptors, names, strict=False) if name == "varlink"] or descriptors
    listeners: list[socket.socket] = []
    connected: list[socket.socket] = []
    for number in descriptors:
        try:
            os.set_inheritable(number, False)  # noqa: FBT003 # it takes no keyword
            if number not in ours:
                continue
            sock = socket.socket(fileno=number)
            if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
                raise OSError(errno.EAFNOSUPPORT, "not a stream socket of AF_UNIX")
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise ListenError(
                f"descriptor {number}, which systemd should have handed over: {error.strerror}"
            ) from error
        (listeners if listens else connected).append(sock)
    return listeners, connected


def notify(text: str, address: str) -> None:
    """Tell systemd, if it wants to know: ``READY=1`` (sd_notify(3)). `address`: what it has said in ``NOTIFY_SOCKET``."""
    if address.startswith(("/", "@")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
            sock.settimeout(0)
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.send(text.encode())
