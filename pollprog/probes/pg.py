"""``pg:DSN``: what the backends of a PostgreSQL server are at (``pg:dbname=shop``, ``pg:postgresql://host/shop``), one bar each.

It is what the server says of itself in its views ``pg_stat_progress_*``: index builds, VACUUM, ANALYZE, CLUSTER and VACUUM FULL, COPY, base
backups, each by phases, as far as it knows any number of them. One ``psql`` stays connected meanwhile, and asks once a second: it
knows all that a DSN may say, .pgpass and services too, and a server log has one line of it and not one a second. What a DSN leaves out it
takes from the environment. ``pg:DSN#4711`` is one backend alone.

The work of a backend is the statement that it was at: it may go from table to table. How that ended is not told to others.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pollprog.errors import ProcessError, UsageError
from pollprog.probes.asked import end, found_program, start
from pollprog.probes.resource import PATIENCE, Kind
from pollprog.status import Bound, Outcome, Sample, State, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pollprog.probes.resource import Resource

__all__ = ["RESOURCE", "Backend", "Server", "Told", "parse_answer", "sample_of"]

log = logging.getLogger("pollprog")

GAP = 1.0
"""Seconds from one question to the next."""
GOODBYE = 0.5
"""Seconds that psql has for its own end."""
LARGEST = 4 << 20
"""Bytes of an answer that are read."""
END = b"pollprog-end"
VIEWS = (
    "SELECT string_agg(format('SELECT json_build_object(''view'', %L, ''row'', row_to_json(t)) FROM pg_catalog.%I t', viewname, viewname), "
    "' UNION ALL ') FROM pg_catalog.pg_views WHERE schemaname = 'pg_catalog' AND viewname LIKE 'pg_stat_progress_%' \\gexec"
)
"""Whatever views of that kind the server has: each version has more."""
ACTIVE = (
    "SELECT json_build_object('active', pid, 'statement', concat(backend_start, ' ', query_start), "
    "'block', current_setting('block_size')) FROM pg_catalog.pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid();"
)
QUESTION = f"{VIEWS}\n{ACTIVE}\n\\echo {END.decode()}\n".encode()
"""The statements come second: a backend of which there is none by then has ended."""
PASSWORD = re.compile(r"(?:^|[\s?&])(?:ssl)?password\s*=|^[a-z]+://[^/@]*:[^/@]*@")
ONE = re.compile(r"(.*)#([0-9]{1,10})", re.DOTALL)
COUNTS = (
    ("heap_blks_vacuumed", "heap_blks_total", "vacuuming heap"),
    ("heap_blks_scanned", "heap_blks_total", "scanning heap|seq scanning heap"),
    ("indexes_processed", "indexes_total", "vacuuming indexes|cleaning up indexes"),
    ("heap_tuples_written", "heap_tuples_scanned", "writing new heap"),
    ("heap_tuples_scanned", "", "index scanning heap"),
    ("index_rebuild_count", "", "rebuilding index"),
    ("sample_blks_scanned", "sample_blks_total", "acquiring sample rows|acquiring inherited sample rows"),
    ("ext_stats_computed", "ext_stats_total", "computing extended statistics"),
    ("bytes_processed", "bytes_total", ".*"),
    ("backup_streamed", "backup_total", ".*"),
    ("blocks_done", "blocks_total", "(?!.*: sorting ).*"),
    ("tuples_done", "tuples_total", ".*"),
    ("lockers_done", "lockers_total", ".*"),
    ("tuples_processed", "", ".*"),
)
"""(done, total, phases): the columns that count, the best first; of those without a total, what is done. While tuples are sorted, the blocks
stand as they were when the scan before it ended, and tell nothing."""
BYTES = {"bytes_processed", "backup_streamed"}
NAMES = {"basebackup": "BASE BACKUP", "copy": "COPY", "create_index": "CREATE INDEX"}


class Pg(Kind):
    """PostgreSQL."""

    name = "pg"
    argument = "DSN"
    attached = "by the server's views `pg_stat_progress_*`, which `psql` asks once a second; a bar for each backend that is at work"
    totals = "the server's, for each phase that has one; none for COPY TO, or from a pipe"
    wrong = (
        "How a statement ended is not told to others: the outcome is lost. Each phase begins anew. Of what other users do, only "
        "members of pg_read_all_stats see more than that there is something."
    )

    def open(self, argument: str) -> Sequence[Resource]:
        """A bar for each backend that is at something, or the one that is named."""
        named = ONE.fullmatch(argument)
        dsn, pid = (named[1], int(named[2])) if named else (argument, None)
        if PASSWORD.search(dsn):
            raise UsageError("pg: a password in a DSN can be read by everybody; put it into ~/.pgpass or PGPASSWORD")
        if not dsn.isprintable():
            raise UsageError("pg: a DSN is one line, as in pg:dbname=shop")
        server = Server(dsn)
        try:
            told = server.first()
            working = [
                one
                for one, (_, row) in told.rows.items()
                if pid in (None, one) and (one in told.statements or hidden(row))
            ]
            if not working:
                raise ProcessError(f"{called(argument)}: nothing is under way there")
            if all(hidden(told.rows[one][1]) for one in working):
                text = (
                    "others are at work there, and only a superuser, or a member of pg_read_all_stats, may see at what"
                )
                raise ProcessError(f"{called(argument)}: {text}")
            return [Backend(server, told, one) for one in working if one in told.statements]
        finally:
            server.let_go()


def called(argument: str) -> str:
    """What the server is called in a message."""
    return f"pg:{argument}"


class Told(NamedTuple):
    """One answer of the server's."""

    statements: dict[int, str]
    """Of each backend that is at work and that we may see, which statement it is at."""
    rows: dict[int, tuple[str, dict[str, Any]]]
    """Of each that tells how far it is: the view, without what all begin with, and its row."""
    block: int
    """Bytes of a block of the server's."""


class Server:
    """One psql that is connected to a server, and its newest answer; for all who are watched there."""

    def __init__(self, dsn: str) -> None:
        self._name = called(dsn)
        program = found_program("psql", "postgresql-client")
        words = [program, "-X", "-w", "-A", "-t", "-q", "--set=ON_ERROR_STOP=1", f"--dbname={dsn}"]
        if not dsn:
            words.pop()
        more = {"PGAPPNAME": "pollprog", "PGCLIENTENCODING": "UTF8"}
        more["PGCONNECT_TIMEOUT"] = os.environ.get("PGCONNECT_TIMEOUT", str(int(PATIENCE)))
        self._errors = os.memfd_create("errors", os.MFD_CLOEXEC)
        self._psql = start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, more=more)
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        self._asks, self._answers = self._psql.stdin.fileno(), self._psql.stdout.fileno()
        for end_of in (self._asks, self._answers):
            os.set_blocking(end_of, False)
        self._users = 1
        self._asked = float("-inf")
        self._waiting = False
        self._heard = b""
        self.gone = ""
        """Why there are no more answers."""
        self.number = 0
        """How many there were."""
        self.told: Told | None = None
        """The newest."""

    def first(self) -> Told:
        """The first answer, which is waited for. ProcessError if none comes."""
        deadline = time.monotonic() + PATIENCE + 1.0  # libpq's own words come first
        while not self.gone and (left := deadline - time.monotonic()) > 0:
            self.look()
            if self.told is not None:
                return self.told
            select.select([self._answers], [], [], left)
        raise ProcessError(f"{self._name}: {self.gone or 'the server gives no answer'}")

    def look(self) -> None:
        """Take what has come, and ask again when it is time. Waits for nobody."""
        self._hear()
        if self.gone:
            return
        answer, found, rest = self._heard.partition(END + b"\n")
        if found:
            self._heard, self._waiting = rest, False
            self.told = parse_answer(answer)
            self.number += 1
        now = time.monotonic()
        if not self._waiting and now - self._asked >= GAP:
            try:
                os.write(self._asks, QUESTION)
                self._waiting, self._asked = True, now
            except OSError:
                self._leave("")

    def _hear(self) -> None:
        if self.gone:
            return
        with suppress(BlockingIOError):
            while len(self._heard) <= LARGEST and (chunk := os.read(self._answers, 65536)):
                self._heard += chunk
            self._leave("its answer is too long" if len(self._heard) > LARGEST else "")

    def _leave(self, why: str) -> None:
        said = os.pread(self._errors, 4096, 0).decode("utf-8", "replace").strip().splitlines()
        self.gone = why or (said[0].removeprefix("psql: error: ").strip() if said else "the connection has ended")
        if self.told is not None:
            log.warning("%s: %s", self._name, self.gone)

    def share(self) -> Server:
        """The same, for one more, who lets go of it too."""
        self._users += 1
        return self

    def let_go(self) -> None:
        """One less needs it; the last one ends psql."""
        self._users -= 1
        if not self._users:
            self.gone = self.gone or "closed"
            assert self._psql.stdin is not None
            assert self._psql.stdout is not None
            self._psql.stdin.close()  # at which it says goodbye to the server
            with suppress(subprocess.TimeoutExpired):
                self._psql.wait(GOODBYE)
            end(self._psql)
            self._psql.stdout.close()
            os.close(self._errors)


class Backend:
    """What one backend is at: one statement."""

    def __init__(self, server: Server, told: Told, pid: int) -> None:
        self._server = server.share()
        self._pid = pid
        self._statement = told.statements[pid]
        view, row = told.rows[pid]
        self.name = f"{name_of(view, row)} ({pid})"
        self.job = f"pg-{pid}"
        self.outcome: Outcome | None = None
        self._number = 0
        self._row: dict[str, Any] = {}
        self._activity = 0

    def sample(self) -> Sample | None:
        """What it says, if there is a new answer. The end is when it is at that statement no more, or nobody answers any more."""
        self._server.look()
        told = self._server.told
        if self._server.gone or told is None:
            self.outcome = Outcome(State.LOST)
            return None
        if self._server.number == self._number:
            return None
        self._number = self._server.number
        if told.statements.get(self._pid) != self._statement:
            self.outcome = Outcome(State.LOST)
            return None
        if self._pid not in told.rows:
            return None  # between two tables
        view, row = told.rows[self._pid]
        self._activity += row != self._row
        self._row = row
        return sample_of(view, row, told.block, self._activity)

    def close(self) -> None:
        """It needs the connection no more."""
        self._server.let_go()


def parse_answer(data: bytes) -> Told:
    """An answer, a row a line; what is no row of ours is not there."""
    statements: dict[int, str] = {}
    rows: dict[int, tuple[str, dict[str, Any]]] = {}
    block = 0
    for line in objects(data):
        match line:
            case {"active": int(pid), "statement": str(statement), "block": str(size)} if statement.strip():
                statements[pid] = statement
                block = int(size) if size.isdecimal() and len(size) < 8 else 0
            case {"view": str(view), "row": {"pid": int(pid)} as row}:
                rows.setdefault(pid, (view.removeprefix("pg_stat_progress_"), row))
    return Told(statements, rows, block)


def objects(data: bytes) -> Iterator[Any]:
    """Each line that is JSON."""
    for line in data.splitlines():
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            continue


def hidden(row: dict[str, Any]) -> bool:
    """Whether the server does not tell us what this backend is at."""
    return all(value is None for name, value in row.items() if name not in ("pid", "datid", "datname"))


def name_of(view: str, row: dict[str, Any]) -> str:
    """What the work is called: as its statement is."""
    command = row.get("command")
    return command if isinstance(command, str) and command else NAMES.get(view, view.replace("_", " ").upper())


def sample_of(view: str, row: dict[str, Any], block: int, activity: int = 0) -> Sample:
    """How far a row says that its backend is, in its present phase."""
    said = row.get("phase")
    phase = said if isinstance(said, str) else ""
    bound = Bound.ESTIMATE if view == "basebackup" else Bound.EXACT  # its total is raised as it goes
    best = Sample(0, None, Unit.ITEMS, phase, "pg", bound, activity)
    for done, whole, phases in COUNTS:
        current, total = count(row.get(done)), count(row.get(whole))
        if current is None or not re.fullmatch(phases, phase) or (total and current > total):
            continue
        if total or (current and not best.current):
            blocks = block if "blks" in done or "blocks" in done else 0
            unit = Unit.BYTES if blocks or done in BYTES else Unit.ITEMS
            scale = blocks or 1
            best = replace(best, current=current * scale, total=total * scale if total else None, unit=unit)
        if total:
            break
    return best


def count(value: object) -> int | None:
    """A count, as a server has them."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62 else None


RESOURCE = Pg()
