"""Another machine, as far as ssh can tell: a real sshd on loopback, with keys and a home of its own, and pollprog in its PATH.

What it starts (daemons of pollprog, sessions) is ended behind the test, by pid: all of it is found by a mark in its environment.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from terminals import ENVIRONMENT, PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARK = "POLLPROG_TEST_FAR_SIDE"
USER = pwd.getpwuid(os.getuid()).pw_name
SSHD_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
UseDNS no
SetEnv {mark}={folder} HOME={folder} PATH={folder}/bin:/usr/bin:/bin XDG_RUNTIME_DIR={folder}/run XDG_CONFIG_HOME={folder} LC_ALL=C.UTF-8
LogLevel ERROR
"""
SSH_CONFIG = """\
Host far
  HostName 127.0.0.1
  Port {port}
Host *
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""


class FarSide:
    """A machine that can be reached by ssh."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"ssh://127.0.0.1:{self.port}"
        (folder / "empty").touch()
        for name in ("bin", "run"):
            (folder / name).mkdir(mode=0o700)
        for name in ("key", "host_key", "other_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        (folder / "authorized_keys").write_text((folder / "key.pub").read_text())
        fields = {"port": self.port, "folder": folder, "mark": MARK}
        (folder / "sshd_config").write_text(SSHD_CONFIG.format(**fields))
        (folder / "config").write_text(SSH_CONFIG.format(**fields))
        self.know_its_key()
        self.install()
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        words = ["/usr/sbin/sshd", "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")]
        self.process = subprocess.Popen(words, start_new_session=True)
        self.environment = {**ENVIRONMENT, "POLLPROG_SSH": f"ssh -F {folder}/config"}
        """For a client that is to get there."""
        wait(self.answers)

    def answers(self) -> bool:
        """Whether sshd listens."""
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def know_its_key(self) -> None:
        """As after a first login."""
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def install(self, *, idle: float = 60.0, script: str = "") -> None:
        """Have pollprog there; a daemon that is started there ends when it has been idle for so many seconds."""
        wrapper = self.folder / "bin/pollprog"
        text = script or (
            f'#!/bin/sh\n[ "$1" = dial-stdio ] && set -- "$@" --idle {idle}\nexec {sys.executable} -m pollprog "$@"\n'
        )
        wrapper.write_text(text)
        wrapper.chmod(0o700)

    def uninstall(self) -> None:
        (self.folder / "bin/pollprog").unlink()

    def close_the_door(self) -> None:
        """Let nobody in any more."""
        (self.folder / "authorized_keys").rename(self.folder / "put_away")

    def open_the_door(self) -> None:
        (self.folder / "put_away").rename(self.folder / "authorized_keys")

    def processes(self, *words: str) -> list[int]:
        """Those that run there with all of these words in their command line."""
        found = []
        mark = f"{MARK}={self.folder}".encode()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    line = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
                    if all(word.encode() in line for word in words):
                        found.append(int(name))
        return found

    def sessions(self) -> list[int]:
        """The processes of sshd that serve one login each."""
        return [pid for pid in below(self.process.pid) if b"sshd" in Path(f"/proc/{pid}/comm").read_bytes()]

    def close(self) -> None:
        """End it, and all that it has started."""
        sessions = below(self.process.pid)
        self.process.terminate()
        self.process.wait(PATIENCE)
        for pid in [*sessions, *self.processes()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def below(pid: int) -> list[int]:
    """The processes that this one has started, and those below them."""
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split()):
                found += [child, *below(child)]
    return found


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait(condition: Callable[[], object]) -> None:
    """Wait until it is so, with a bound."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


@contextlib.contextmanager
def far_side() -> Iterator[FarSide]:
    """One, while it is entered; in a folder with a short name, for it has a socket in it."""
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        far = FarSide(Path(folder))
        try:
            yield far
        finally:
            far.close()
