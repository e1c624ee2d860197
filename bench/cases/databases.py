"""What saves databases, puts them back, and makes them anew."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases import ENVIRONMENT, Tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cases import Scratch

PATIENCE = 60.0
"""Seconds until a server answers, or has ended."""
POSTGRES = ("listen_addresses=", "fsync=off", "autovacuum=off", "max_wal_senders=2", "max_wal_size=4GB")
MARIADB = ("skip-networking", "skip-grant-tables", "innodb-flush-method=nosync", "innodb-log-file-size=512M")
SQL = {
    "postgres": "CREATE TABLE t AS SELECT i, md5(i::text) a, md5((-i)::text) b FROM generate_series(1, {rows}) i; CHECKPOINT",
    "mariadb": "CREATE DATABASE d; USE d; CREATE TABLE t AS SELECT seq, MD5(seq) a, MD5(-seq) b FROM seq_1_to_{rows}",
    "sqlite": "CREATE TABLE t(a); INSERT INTO t SELECT randomblob(3000) FROM generate_series(1, {rows})",
}
"""What fills a database, by the number of rows."""


@contextmanager
def server(user: str, words: Sequence[str], asked: Sequence[str], sign: int, folder: str) -> Iterator[None]:
    """A database server, as that user if we are root, from when `asked` succeeds; ended by that signal."""
    who: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    with (
        open(f"{folder}/log", "wb") as log,
        subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, env=ENVIRONMENT, **who) as process,
    ):
        try:
            deadline = time.monotonic() + PATIENCE
            while subprocess.run(asked, capture_output=True, env=ENVIRONMENT).returncode:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise subprocess.CalledProcessError(1, words, stderr=Path(folder, "log").read_bytes())
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(sign)
            process.wait(PATIENCE)


@contextmanager
def folder_of(user: str) -> Iterator[str]:
    """A folder for a server: its path is short enough for a socket."""
    folder = tempfile.mkdtemp(prefix="pollprog-bench-")
    if os.geteuid() == 0:
        shutil.chown(folder, user, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Of one table each."""
    yield from of_sqlite(scratch)
    yield from of_postgres(scratch)
    yield from of_mariadb(scratch)


def of_sqlite(scratch: Scratch) -> Iterator[Tool]:
    """Without a server."""
    for name, rows in (("db", 400_000), ("small", 100_000)):
        scratch.sh(f"sqlite3 {name} '{SQL['sqlite'].format(rows=int(rows * scratch.scale))}'")
    yield Tool("sqlite3", "sqlite3 db '.backup out'", "disk", "out", "rm -f out")
    yield Tool("sqlite3", "sqlite3 out VACUUM", "phases", "out", "cp small out")


def of_postgres(scratch: Scratch) -> Iterator[Tool]:
    """With one on a socket."""
    programs = [path.removesuffix("/initdb") for path in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    if not programs:
        yield Tool("pg_basebackup", "initdb", "steady")
        return
    with folder_of("postgres") as folder:
        make = [f"{max(programs)}/initdb", "-D", "data", "--no-sync", "-A", "trust", "-U", "postgres"]
        who: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        subprocess.run(make, cwd=folder, check=True, capture_output=True, env=ENVIRONMENT, **who)
        words = [f"{max(programs)}/postgres", "-D", "data", "-k", folder]
        words += [word for one in POSTGRES for word in ("-c", one)]
        with server("postgres", words, ["psql", "-h", folder, "-U", "postgres", "-c", ""], signal.SIGQUIT, folder):
            client = f"-h {folder} -U postgres"
            sql = f"psql {client} -c"
            scratch.sh(f"{sql} '{SQL['postgres'].format(rows=int(8_000_000 * scratch.scale))}'")
            yield Tool("evidence", f"pg_dump -f out {client}", "unknown", before="rm -f out")
            yield Tool("evidence", f"pg_dump -Fc -Z 1 -f archive {client}", "unknown", before="rm -f archive")
            yield Tool(
                "evidence", f"pg_restore -d postgres {client} archive", "steady", "", f"{sql} 'DROP TABLE IF EXISTS t'"
            )
            backup = f"pg_basebackup -X none -c fast -D copy -r {int(100 * scratch.scale)}M {client}"
            yield Tool("pg_basebackup", f"{backup} -P", "steady", before="rm -rf copy", blurred=r".*kB \(.*\n")
            yield Tool("evidence", backup, "unknown", before="rm -rf copy")


def of_mariadb(scratch: Scratch) -> Iterator[Tool]:
    """With one on a socket, which makes all it needs."""
    if not shutil.which("mariadbd", path=ENVIRONMENT["PATH"]):
        yield Tool("evidence", "mariadbd", "unknown")
        return
    with folder_of("mysql") as folder:
        client = f"--no-defaults --socket={folder}/s"
        words = ["mariadbd", "--no-defaults", "--datadir=.", f"--socket={folder}/s", *(f"--{one}" for one in MARIADB)]
        words += ["--user=mysql"] if os.geteuid() == 0 else []
        with server("mysql", words, ["mysql", *client.split(), "-e", ""], signal.SIGKILL, folder):
            scratch.sh(f"mysql {client} -e '{SQL['mariadb'].format(rows=int(4_000_000 * scratch.scale))}'")
            yield Tool("evidence", f"mysqldump {client} --skip-dump-date -r dump d", "unknown", "dump", "rm -f dump")
            part = int(500_000 * scratch.scale)
            scratch.sh(f"mysqldump {client} --where 'seq <= {part}' -r dump d")
            yield Tool("evidence", f"mysql {client} d < dump", "steady", program="mysql", script=True)
