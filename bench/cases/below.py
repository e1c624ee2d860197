"""What is not the command itself, but below it: started by a shell, by sudo, by another program; in a pipeline; far away."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cases import Scratch

TIMES = r".*(elapsed|pagefaults).*\n"


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Of programs that are measured well by themselves."""
    scratch.text("text", 96)
    scratch.random("random", 1024)
    packing = {"made": "text.gz", "before": "rm -f text.gz"}
    xz = {"made": "text.xz", "before": "rm -f text.xz"}
    yield Tool("evidence", "sh -c 'gzip -k text'", "steady", **packing)
    yield Tool("evidence", ": before; xz -1 -k text; true", "steady", **xz, program="xz", script=True)
    yield Tool("evidence", "sudo sha256sum random random", "steady", program="sha256sum")
    yield Tool("xz", "nice -n 5 xz -1 -T1 -k text", "steady", **xz, program="xz")
    yield Tool("evidence", "time gzip -k text", "steady", **packing, blurred=TIMES, program="gzip")
    yield Tool("evidence", "xargs -a list sha256sum", "steady", before="echo random random > list", program="sha256sum")
    yield Tool("evidence", "cat text | xz -1 | cat > out", "steady", "out", program="cat", script=True)
    yield Tool(
        "evidence", "gzip -dc text.gz | xz -1 > out", "steady", "out", "gzip -k text; true", program="gzip", script=True
    )
    with far(scratch.path):
        ssh = "ssh -F config far"
        to = f"{scratch.path}/out"
        yield Tool("evidence", f"{ssh} 'cat > {to}' < random", "disk", "out", program="ssh", script=True)
        yield Tool("evidence", f"{ssh} 'pv -q -L 150m > {to}' < random", "steady", "out", program="ssh", script=True)
        yield Tool(
            "evidence", f"tar c random | {ssh} 'pv -q -L 150m > {to}'", "steady", "out", program="tar", script=True
        )


@contextmanager
def far(folder: Path) -> Iterator[None]:
    """A machine that is called ``far`` for ssh with the file ``config``: this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "config").write_text(
        f"Host far\n HostName 127.0.0.1\n Port {port}\n IdentityFile {folder}/key\n IdentitiesOnly yes\n"
        " StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n"
    )
    os.makedirs("/run/sshd", exist_ok=True)
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host_key",
        "AuthorizedKeysFile": folder / "key.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", "/dev/null", *options])
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()
