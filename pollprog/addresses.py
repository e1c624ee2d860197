"""Where a daemon is: what is typed after ``--connect``, and where it is if nobody says.

``unix:PATH``, a path alone, or ``ssh://[user@]host[:port][/PATH]``. Without any: ``$POLLPROG_ADDRESS``, else the socket in
``$XDG_RUNTIME_DIR/pollprog/``; without that variable, or where it names somebody else's directory, in ``/run/user/UID/pollprog/``; and
where there is none, as after sudo or under cron, in ``/tmp/pollprog-UID/``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from pollprog.errors import UsageError

__all__ = ["LONGEST", "Ssh", "Unix", "default_path", "parse_address"]

LONGEST = 107
"""Bytes of the path of a socket, as far as the kernel takes it (unix(7))."""
SSH = re.compile(
    r"ssh://(?:(?P<user>[^@/:]+)@)?(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^@/:\[\]]+)(?::(?P<port>\d{1,5}))?(?P<path>/.*)?"
)


@dataclass(frozen=True, slots=True)
class Unix:
    """A socket on this machine."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class Ssh:
    """A daemon on another machine, through its sshd."""

    host: str
    user: str | None = None
    port: int | None = None
    path: str | None = None
    """The socket there; None for where it is if nobody says."""

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{user}{host}{f':{self.port}' if self.port else ''}{self.path or ''}"


def parse_address(text: str | None = None) -> Unix | Ssh:
    """The address that somebody typed; None: that of ``$POLLPROG_ADDRESS``, or of this user's own daemon. UsageError."""
    text = text or os.environ.get("POLLPROG_ADDRESS") or f"unix:{default_path()}"
    if text.startswith("ssh:"):
        found = SSH.fullmatch(text)
        if found is None or found["host"].startswith("-") or (found["user"] or "").startswith("-"):
            raise UsageError(f"{text!r} is no address: it has to be like ssh://user@host:22")
        port = int(found["port"]) if found["port"] else None
        if port is not None and not 0 < port < 65536:
            raise UsageError(f"{text!r} is no address: a port is a number from 1 to 65535")
        path = found["path"] if found["path"] not in (None, "/") else None
        return Ssh(found["host"].strip("[]"), found["user"], port, path)
    path = text.removeprefix("unix:")
    if not path.startswith("/") or "\0" in path:
        raise UsageError(f"{text!r} is no address: it has to be like unix:/run/pollprog/sock or ssh://host")
    if len(os.fsencode(path)) > LONGEST:
        raise UsageError(f"{text!r} is too long: the path of a socket has {LONGEST} bytes at most")
    return Unix(path)


def default_path() -> str:
    """The socket of this user's daemon, if nobody says otherwise."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime.startswith("/") or not is_ours(runtime):
        runtime = f"/run/user/{os.geteuid()}"
        if not os.path.isdir(runtime):
            return f"/tmp/pollprog-{os.geteuid()}/sock"  # noqa: S108 # whoever listens there checks whose directory it is
    return os.path.join(runtime, "pollprog", "sock")


def is_ours(directory: str) -> bool:
    """Whether a directory is not somebody else's: sudo may leave us the variables of whoever we were."""
    try:
        return os.stat(directory).st_uid == os.geteuid()
    except FileNotFoundError:
        return True  # and whoever wants to listen there says what is wrong
    except OSError:
        return False
