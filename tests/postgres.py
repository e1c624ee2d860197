"""A PostgreSQL server of the tests' own: in a folder of its own, on a Unix socket, gone behind them."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from children import wait_until
from terminals import ENVIRONMENT, PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = ("listen_addresses=", "fsync=off", "shared_buffers=4MB", "autovacuum=off", "max_wal_senders=2")


class Postgres:
    """The server; whoever connects is believed to be who he says."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.dsn = f"host={folder} user=postgres dbname=postgres"

    def does(self, statement: str, *, user: str = "postgres") -> str:
        """Run a statement to its end; what it gives."""
        words = ["psql", "-XAtq", "--set=ON_ERROR_STOP=1", f"--dbname=host={self.folder} user={user} dbname=postgres"]
        done = subprocess.run(
            words, input=statement, capture_output=True, text=True, check=True, env=ENVIRONMENT, timeout=PATIENCE
        )
        return done.stdout.strip()

    @contextmanager
    def doing(self, statement: str, view: str) -> Iterator[int]:
        """A statement that lasts: the backend that is at it, from when it tells of itself. What is left of it is cancelled."""
        words = ["psql", "-XAtq", f"--dbname={self.dsn}", "--command", statement]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as psql:
            try:
                told: list[str] = []
                wait_until(
                    lambda: psql.poll() is not None or told.extend(self.does(f"SELECT pid FROM {view}").split()) or told
                )
                assert told, f"{statement} was over before anything was told of it"
                yield int(told[0])
            finally:
                assert psql.stdin is not None
                psql.stdin.close()
                self.cancel(int(told[0]) if told else 0)
                psql.wait(PATIENCE)

    def cancel(self, pid: int) -> None:
        """End what a backend is at."""
        self.does(f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = {pid}")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server, from when it answers."""
    programs = max(glob.glob("/usr/lib/postgresql/*/bin/initdb")).removesuffix("/initdb")
    folder = tempfile.mkdtemp(prefix="pollprog-pg-")
    options: dict[str, Any] = {"cwd": folder, "env": ENVIRONMENT}
    if os.geteuid() == 0:  # as whom it refuses to run
        shutil.chown(folder, "postgres")
        options |= {"user": "postgres", "group": "postgres", "extra_groups": []}
    try:
        make = [f"{programs}/initdb", "-D", "data", "--no-sync", "-A", "trust", "-U", "postgres"]
        subprocess.run(make, check=True, capture_output=True, timeout=PATIENCE, **options)
        words = [
            f"{programs}/postgres",
            "-D",
            "data",
            "-k",
            folder,
            *(word for one in SETTINGS for word in ("-c", one)),
        ]
        with open(f"{folder}/log", "wb") as log, subprocess.Popen(words, stdout=log, stderr=log, **options) as server:
            try:
                said = Path(folder, "log")
                wait_until(lambda: server.poll() is not None or b"ready to accept" in said.read_bytes())
                assert server.poll() is None
                yield Postgres(folder)
            finally:
                server.send_signal(signal.SIGQUIT)
                server.wait(PATIENCE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
