"""How long a cancel takes, for each operation: until the job says `cancelling`, and until its work has really ended.

    python bench/cancel.py [--rounds N] [--folder DIRECTORY]

Each call runs on one connection of a daemon, and is cancelled from another once it has told how far it is. The first column is
the time from the request to its reply, which says `cancelling`; the second from the request to the error that ends the call, which
comes when no process of it lives and nothing is written any more. What was made is removed within that time. Medians, in ms.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from pollprog.catalogue import ours
from pollprog.varlink import OPERATIONS, Framer, encode_call, parse_reply

MIB = 1 << 20
CONFIGURATION = "[daemon]\ninitial_delay = 0.1\ninterval = 0.1\ngrace = 2.0\n"
GOAL = 200.0
"""Milliseconds within which a cancel has to be heard."""
STUBBORN = "Run, SIGTERM ignored"


class Line:
    """One connection to the daemon."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.framer = Framer()

    def send(self, method: str, *, more: bool, **parameters: Any) -> None:
        self.socket.sendall(encode_call(f"{OPERATIONS}.{method}", parameters, more=more))

    def reply(self) -> tuple[dict[str, Any], bool, str | None]:
        while (message := self.framer.next()) is None:
            data = self.socket.recv(1 << 16)
            assert data, "the daemon has hung up"
            self.framer.feed(data)
        told = parse_reply(message)
        return json.loads(bytes(told.parameters)), told.continues, told.error


class Folder:
    """Work that would last, whichever operation does it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "tree").mkdir()
        (path / "sparse").mkdir()
        block = os.urandom(MIB)
        with (path / "tree" / "dense").open("wb") as file:
            file.writelines(block for _ in range(1024))
        with (path / "sparse" / "file").open("wb") as file:
            file.truncate(1 << 36)
        with tarfile.open(path / "archive", "w:gz", compresslevel=1) as archive:
            member = tarfile.TarInfo("zeroes")
            member.size = 1024 * MIB
            archive.addfile(member, io.BufferedReader(Zeroes(), MIB))
        quietly(
            "mke2fs",
            "-F",
            "-t",
            "ext4",
            "-O",
            "^metadata_csum,^uninit_bg",
            "-E",
            "lazy_itable_init=0",
            path / "checked",
            "1T",
        )
        with (path / "ntfs").open("wb") as file:
            file.truncate(1280 * MIB)
        quietly("mkntfs", "--quick", "--force", path / "ntfs")
        quietly("ntfscp", "--force", path / "ntfs", path / "tree" / "dense", "data")
        quietly("mke2fs", "-F", "-t", "ext4", "-d", path / "tree", path / "disk", "1200M")
        make_disk(path / "disk")
        self.sleeper = subprocess.Popen(["sleep", "1000"])

    def parameters(self, name: str) -> dict[str, Any]:
        dense, sparse = str(self.path / "tree" / "dense"), str(self.path / "sparse" / "file")
        new = str(self.path / f"new-{time.monotonic_ns()}")
        if name == "TarIn":
            os.mkdir(new)
        if name in ("ResizeFilesystem", "ZeroFree"):
            quietly("mke2fs", "-F", "-t", "ext4", new, "128G")
        return {
            "CopyFile": {"source": dense, "destination": new},
            "CopyTree": {"source": os.path.dirname(dense), "destination": new},
            "CopySize": {"source": dense, "destination": new},
            "Fill": {"path": new, "size": 4096 * MIB, "pattern": "abc"},
            "Zero": {"path": new, "size": 4096 * MIB},
            "ZeroDevice": {"device": sparse},
            "Checksum": {"path": sparse, "algorithm": "sha512"},
            "Run": {"argv": ["sleep", "1000"]},
            STUBBORN: {"argv": ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]},
            "Dd": {"source": "/dev/zero", "destination": new, "count": 4096},
            "TarIn": {"archive": str(self.path / "archive"), "directory": new},
            "TarOut": {"directory": os.path.dirname(sparse), "archive": new, "compression": "gzip"},
            "CompressOut": {"source": sparse, "destination": new},
            "Rsync": {"source": os.path.dirname(dense), "destination": new, "limit": 64 * MIB},
            "CheckFilesystem": {"device": str(self.path / "checked"), "force": True},
            "MakeFilesystem": {"device": new, "size": 1 << 42, "block_size": 1024, "lazy": False},
            "ResizeFilesystem": {"device": new, "size": 1 << 36},
            "ZeroFree": {"device": new},
            "ConvertImage": {"source": dense, "destination": new, "compress": True},
            "NtfsClone": {"source": str(self.path / "ntfs"), "destination": new},
            "ResizeImage": {"source": str(self.path / "disk"), "destination": new, "size": 2048 * MIB},
            "Observe": {"pid": self.sleeper.pid},
        }[name]

    def clear(self) -> None:
        subprocess.run(["rm", "-rf", *self.path.glob("new-*")], check=True)
        with (self.path / "sparse" / "file").open("wb") as file:
            file.truncate(1 << 36)


def quietly(*words: str | Path) -> None:
    """Run a program that has to end well, and is not worth reading."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, "PATH": path})


def make_disk(path: Path) -> None:
    """Make of an image of a file system that of a disk with nothing else in it."""
    inner = path.with_suffix(".part")
    path.rename(inner)
    subprocess.run(["dd", f"if={inner}", f"of={path}", "bs=1M", "seek=1", "status=none"], check=True)
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + MIB)
    subprocess.run(
        ["/usr/sbin/sfdisk", "--quiet", path], input=b"label: gpt\nstart=2048\n", check=True, capture_output=True
    )
    inner.unlink()


class Zeroes(io.RawIOBase):
    """A file of nothing but zeroes."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def cancelled(path: Path, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """Seconds from the request until it is heard, and until all has ended."""
    call, other, job = Line(path), Line(path), f"job-{time.monotonic_ns()}"
    call.send(name.partition(",")[0], more=True, job=job, **parameters)
    _, continues, error = call.reply()
    assert continues, f"{name} was too quick: {error}"
    began = time.perf_counter()
    other.send("Cancel", more=False, job=job)
    told, _, error = other.reply()
    heard = time.perf_counter() - began
    assert told.get("state") == "cancelling", f"{name} was too quick: {error}"
    while continues:
        _, continues, error = call.reply()
    ended = time.perf_counter() - began
    assert error == f"{OPERATIONS}.Cancelled", error
    call.socket.close()
    other.socket.close()
    return heard, ended


def main() -> int:
    parser = argparse.ArgumentParser(description="How long a cancel takes, for each operation.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default="/dev/shm", metavar="DIRECTORY", help="where to work (default: in memory)")
    arguments = parser.parse_args()
    late = []
    with TemporaryDirectory(prefix="pollprog-bench-", dir=arguments.folder) as work, TemporaryDirectory() as home:
        folder, sock, config = Folder(Path(work)), Path(home) / "sock", Path(home) / "config.toml"
        config.write_text(CONFIGURATION)
        daemon = subprocess.Popen(
            [sys.executable, "-m", "pollprog", "daemon", "--socket", str(sock), "--config", str(config)],
            stderr=subprocess.DEVNULL,
        )
        try:
            while not sock.exists():
                time.sleep(0.05)
            print(f"{arguments.rounds} rounds in {arguments.folder}")
            print(f"  {'':22} {'cancelling':>10} {'max':>7} {'ended':>9} {'max':>9}   ms")
            for name in [*ours(), STUBBORN]:
                times = []
                for _ in range(arguments.rounds):
                    times.append(cancelled(sock, name, folder.parameters(name)))
                    folder.clear()
                heard, ended = ([1e3 * one[part] for one in times] for part in (0, 1))
                print(f"  {name:22} {median(heard):10.1f} {max(heard):7.1f} {median(ended):9.1f} {max(ended):9.1f}")
                if max(heard) > GOAL:
                    late.append(name)
        finally:
            daemon.terminate()
            daemon.wait()
            folder.sleeper.kill()
            folder.sleeper.wait()
    print(f"goal: heard within {GOAL:g} ms, {'missed by ' + ', '.join(late) if late else 'met by all'}")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
