"""Connections to a daemon on another machine, through the system's own ``ssh``: no port of ours, no key of ours.

``ssh`` runs ``pollprog dial-stdio`` over there, which passes bytes on between its standard streams and the daemon's socket. Ours
are one end of a socket pair, so a client has a plain stream, as on this machine. The rules:

1. Closing that end ends the ssh. So does the end of this process, as long as it can do anything about it.
2. Ctrl-C is for us, not for ssh: it would take away the link while the work is being cancelled. So it finds SIGINT and SIGQUIT
   ignored, and leaves them so; as does what it starts, a ProxyCommand in a shell included, which blocked signals would not be for.
3. ssh may ask for a passphrase where somebody sits at a terminal, and nowhere else. What it says on standard error is kept, and told
   as the reason, in one line, when nothing comes of it.
4. A link counts once the far side has said who it is: before that, whatever fails is told as what it is.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import socket
import threading
import weakref
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from pollprog.errors import ProtocolError, Unreachable, UsageError
from pollprog.varlink import OPERATIONS, SERVICE, decode_reply, encode_call, parse_reply

if TYPE_CHECKING:
    from typing import NoReturn

    from pollprog.addresses import Ssh

__all__ = ["Link", "command_of", "link"]

PATIENCE = 30.0
"""Seconds that it may take to get in, and for the far side to say who it is."""
PATIENCE_WITH_A_PERSON = 180.0
"""The same where somebody may have to type a passphrase."""
OPTIONS = (
    "-T", "-x", "-e", "none",
    "-o", "ConnectTimeout=10",
    "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3",  # a link that is dead is noticed
    "-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none",    # what the user's configuration says for logins
    "-o", "ControlMaster=no",                                       # others would lose their link with ours; to use theirs is fine
)  # fmt: skip
DEAF = ("/bin/sh", "-c", 'trap "" INT QUIT; exec "$@"', "sh")
"""Runs a command that ignores them."""
MOMENT = 2.0
"""Seconds until an ssh that was told to end is killed, and for which its reason is waited for."""
LINES, LONGEST = 10, 300
"""What is kept of what it says: so many lines, of so many letters."""
LIMIT = 1 << 16
"""Bytes of the answer to who it is."""
NOT_FOUND, WRONG_USAGE = 127, 2
"""Exit statuses of the shell there, and of a pollprog there that does not know the command."""
HINTS = {
    "Host key verification failed": "if its key is right, accept it by logging in once: {login}",
    "Permission denied": "this has to get in first: {login}",
}


def command_of(address: Ssh, *, batch: bool) -> list[str]:
    """What is run to get there. UsageError for a ``$POLLPROG_SSH`` that cannot be split."""
    return [*program(), *OPTIONS, *(("-o", "BatchMode=yes") if batch else ()), *target(address), remote(address)]


def program() -> list[str]:
    """ssh, or what ``$POLLPROG_SSH`` says instead, with arguments."""
    try:
        return shlex.split(os.environ.get("POLLPROG_SSH", "")) or ["ssh"]
    except ValueError as error:
        raise UsageError(f"POLLPROG_SSH: {error}") from error


def target(address: Ssh) -> list[str]:
    """Where to, as ssh is told."""
    words = ["-p", str(address.port)] if address.port else []
    words += ["-l", address.user] if address.user else []
    return [*words, "--", address.host]


def remote(address: Ssh) -> str:
    """What is run there, by whatever shell."""
    return "pollprog dial-stdio" + (f" --socket {shlex.quote(address.path)}" if address.path else "")


def link(address: Ssh, *, seconds: float | None = None) -> Link:
    """A stream to the daemon at this address. Unreachable with the reason, UsageError."""
    asks = os.isatty(0)
    limit = seconds or (PATIENCE_WITH_A_PERSON if asks else PATIENCE)
    words = command_of(address, batch=not asks)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sock = Link(ours, started(address, words, theirs.fileno()))
    try:
        greet(address, sock, limit)
    except BaseException:
        sock.close()
        raise
    return sock


class Link(socket.socket):
    """Our end. It is a socket like any other, but for the ssh that ends when it is closed."""

    def __init__(self, sock: socket.socket, process: Process) -> None:
        super().__init__(fileno=sock.detach())
        self.process = process
        self._finalizer = weakref.finalize(self, process.end)

    def reason(self) -> str:
        """Why it has ended, as ssh tells it."""
        return self.process.reason() or "ssh has ended"

    def close(self) -> None:
        """Close it, and end the ssh. In the child of a fork only the former."""
        super().close()
        self.process.end()


class Process:
    """A running ssh. A thread listens to what it says, and takes in how it ended."""

    def __init__(self, pid: int, errors: int) -> None:
        self.status: int | None = None
        """Its exit status once it has ended; None as well if nobody knows."""
        self.over = threading.Event()
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._owner = os.getpid()
        self._lines: deque[str] = deque(maxlen=LINES)
        self._ending = False
        self._lock = threading.Lock()
        threading.Thread(target=self._mind, args=(errors,), name=f"pollprog ssh {pid}", daemon=True).start()

    def end(self) -> None:
        """Have it ended; returns at once."""
        if os.getpid() == self._owner:
            self._ending = True
            self._send(signal.SIGTERM)
            self._send(signal.SIGCONT)

    def reason(self) -> str:
        """The last thing that it said, if it has ended, or does within a moment."""
        self.over.wait(MOMENT)
        return self._lines[-1] if self._lines else ""

    def _send(self, number: int) -> None:
        with self._lock:
            if not self.over.is_set():
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, number)

    def _mind(self, errors: int) -> None:
        """Take what it says until it has ended: others may hold its standard error open for longer."""
        os.set_blocking(errors, False)
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.register(errors, select.POLLIN)
        rest = b""
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(MOMENT * 1000)}
            if not ready and self._ending:
                self._send(signal.SIGKILL)
            if errors in ready:
                data = read(errors)
                rest = self._take(rest + data)
                if data:
                    continue
                poll.unregister(errors)
            if self._pidfd in ready:
                break
        self._take(rest + read(errors) + b"\n")
        with suppress(ChildProcessError):  # somebody else has taken it
            self.status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        with self._lock:
            self.over.set()
            os.close(self._pidfd)
        os.close(errors)

    def _take(self, data: bytes) -> bytes:
        """Keep the lines that are whole; the rest."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            if text := readable(line):
                self._lines.append(text)
        return rest[-4096:]


def started(address: Ssh, words: list[str], stream: int) -> Process:
    """Run this, with a socket as its standard input and output."""
    if shutil.which(words[0]) is None:
        text = f"{words[0]}: command not found; the way to {address} needs it (in Debian: apt install openssh-client)"
        raise Unreachable(text, address=str(address))
    reader, writer = os.pipe()
    try:
        pid = os.posix_spawn(
            DEAF[0],
            [*DEAF, *words],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, *pair) for pair in ((stream, 0), (stream, 1), (writer, 2))],
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    except OSError as error:
        os.close(reader)
        text = f"{address}: no way there: {DEAF[0]}: {error.strerror}"
        raise Unreachable(text, address=str(address)) from error
    finally:
        os.close(writer)
    return Process(pid, reader)


def greet(address: Ssh, sock: Link, seconds: float) -> None:
    """Ask the far side who it is, and wait for the answer. Unreachable if it is nobody for us."""
    until = monotonic() + seconds
    said = b""
    sock.settimeout(seconds)
    try:
        sock.sendall(encode_call(f"{SERVICE}.GetInfo"))
        while not said.endswith(b"\0"):
            if len(said) > LIMIT or said[:1] not in (b"", b"{"):
                raise ProtocolError("no message")
            sock.settimeout(max(0.001, until - monotonic()))
            data = sock.recv(1 << 12)
            if not data:
                refused(address, sock)
            said += data
        info = decode_reply(parse_reply(said[:-1]), dict[str, Any])
    except TimeoutError as error:
        text = f"{address} has not answered within {seconds:.0f} seconds; try again later"
        raise Unreachable(text, address=str(address)) from error
    except ConnectionError:
        refused(address, sock)
    except ProtocolError as error:
        words = readable(said)[:80]
        text = (
            f"{address} says {words!r} before pollprog says anything; start-up files of the shell there have to be silent "
            "where nobody reads them"
        )
        raise Unreachable(text, address=str(address)) from error
    if info.get("product") != "pollprog" or OPERATIONS not in (info.get("interfaces") or ()):
        who = f"{info.get('product') or 'somebody'} {info.get('version') or ''}".strip()[:60]
        text = f"{address}: {who} answers, and has no {OPERATIONS}; the versions do not fit: update the older one"
        raise Unreachable(text, address=str(address))


def refused(address: Ssh, sock: Link) -> NoReturn:
    """Raise Unreachable: the link has ended before anybody said who is there."""
    process = sock.process
    reason = process.reason()
    login = shlex.join([*program(), *target(address)]).replace(" -- ", " ")
    if process.status == NOT_FOUND:
        text = (
            f"{address}: pollprog: command not found there; install it, or link it to where `{login} 'echo $PATH'` says that "
            "it would be found"
        )
    elif process.status == WRONG_USAGE:
        text = f"{address}: the pollprog there is another version, which cannot do this: update it ({reason})"
    else:
        hint = next((hint for part, hint in HINTS.items() if part in reason), "")
        why = reason.removeprefix("pollprog: ").rstrip(".") or f"{program()[0]} ended without a word"
        text = f"{address} cannot be reached: {why}{'; ' if hint else ''}{hint.format(login=login)}"
    raise Unreachable(text, address=str(address))


def readable(data: bytes) -> str:
    """A line as it can be shown."""
    text = data[:LONGEST].decode("utf-8", "replace").replace("\0", " ")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def read(descriptor: int) -> bytes:
    """What has come; nothing at the end, or if nothing has."""
    try:
        return os.read(descriptor, 1 << 12)
    except OSError:
        return b""
