"""PostgreSQL: what its views say, and a real server, whose statements are watched from beside."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from children import descriptors, wait_until
from doors import door
from postgres import Postgres, postgres
from terminals import PATIENCE, started

from pollprog.errors import ProcessError, UsageError
from pollprog.probes.pg import RESOURCE, Told, parse_answer, sample_of
from pollprog.status import Bound, Outcome, Sample, State, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

DATA = Path(__file__).parent / "data/resources"
NUMBER = re.compile(r"-?[0-9]+")
needs_postgres = pytest.mark.tool("psql", "initdb")


def recorded(view: str) -> dict[str, Any]:
    """A row as psql -x prints it, as the server gives it in JSON."""
    lines = (DATA / f"pg_stat_progress_{view}.stdout").read_text().splitlines()
    pairs = [line.split(" | ", 1) for line in lines if " | " in line]
    return {name.strip(): int(value) if NUMBER.fullmatch(value.strip()) else value.strip() for name, value in pairs}


def line(**values: Any) -> bytes:
    return json.dumps(values).encode() + b"\n"


# --- what a view says


def test_an_index_build_is_told_by_what_its_phase_counts() -> None:
    row = recorded("create_index")
    phase = "building index: loading tuples in tree"
    assert sample_of("create_index", row, 8192) == Sample(69162, 300000, Unit.ITEMS, phase, "pg")
    scanning = row | {
        "phase": "building index: scanning table",
        "blocks_total": 12500,
        "blocks_done": 500,
        "tuples_total": 0,
    }
    said = sample_of("create_index", scanning, 8192)
    assert (said.current, said.total, said.unit) == (500 * 8192, 12500 * 8192, Unit.BYTES)
    for sorting in (
        "building index: sorting live tuples",
        "index validation: sorting tuples",
    ):  # of which it has no count
        said = sample_of("create_index", scanning | {"phase": sorting, "blocks_done": 12500, "tuples_done": 0}, 8192)
        assert (said.current, said.total, said.phase) == (0, None, sorting)
    waiting = {
        "phase": "waiting for old snapshots",
        "lockers_total": 3,
        "lockers_done": 1,
        "blocks_total": 0,
        "blocks_done": 0,
    }
    said = sample_of("create_index", waiting, 8192)
    assert (said.current, said.total, said.unit, said.phase) == (1, 3, Unit.ITEMS, "waiting for old snapshots")


def test_a_copy_out_has_no_total() -> None:
    row = recorded("copy")
    assert sample_of("copy", row, 8192) == Sample(256419474, None, Unit.BYTES, "", "pg")
    assert sample_of("copy", row | {"bytes_total": 512838948}, 8192).total == 512838948


def test_the_total_of_a_base_backup_is_an_estimate() -> None:
    row = recorded("basebackup")
    said = sample_of("basebackup", row, 8192)
    assert said == Sample(34048512, 213861376, Unit.BYTES, "streaming database files", "pg", Bound.ESTIMATE)
    assert sample_of("basebackup", row | {"backup_total": None}, 8192).total is None


@pytest.mark.parametrize(
    ("phase", "current", "total"),
    [
        ("initializing", 0, None),
        ("scanning heap", 30, 100),
        ("vacuuming indexes", 0, None),
        ("vacuuming heap", 20, 100),
        ("cleaning up indexes", 0, None),
        ("truncating heap", 0, None),
    ],
)
def test_a_vacuum_counts_blocks_in_two_of_its_phases(phase: str, current: int, total: int | None) -> None:
    row = {
        "phase": phase,
        "heap_blks_total": 100,
        "heap_blks_scanned": 30,
        "heap_blks_vacuumed": 20,
        "index_vacuum_count": 1,
    }
    said = sample_of("vacuum", row, 1)
    assert (said.current, said.total) == (current, total)
    newer = sample_of("vacuum", row | {"indexes_total": 4, "indexes_processed": 3}, 1)
    assert (newer.current, newer.total) == ((3, 4) if "indexes" in phase else (current, total))


@pytest.mark.parametrize(
    ("phase", "current", "total", "unit"),
    [
        ("seq scanning heap", 8192, 81920, Unit.BYTES),
        ("index scanning heap", 500, None, Unit.ITEMS),
        ("writing new heap", 40, 500, Unit.ITEMS),
        ("rebuilding index", 2, None, Unit.ITEMS),
    ],
)
def test_a_cluster_counts_something_else_in_each_phase(phase: str, current: int, total: int | None, unit: Unit) -> None:
    row = {
        "phase": phase,
        "heap_tuples_scanned": 500,
        "heap_tuples_written": 40,
        "heap_blks_total": 10,
        "heap_blks_scanned": 1,
    }
    said = sample_of("cluster", row | {"index_rebuild_count": 2}, 8192)
    assert (said.current, said.total, said.unit) == (current, total, unit)


def test_an_analyze_counts_the_blocks_of_its_sample() -> None:
    row = {"phase": "acquiring sample rows", "sample_blks_total": 10, "sample_blks_scanned": 4, "ext_stats_total": 0}
    assert sample_of("analyze", row, 1).total == 10


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"phase": None, "blocks_done": 5, "blocks_total": 4},
        {"phase": 7, "blocks_done": "5", "blocks_total": 10},
        {"blocks_done": -1, "blocks_total": 10},
        {"blocks_done": True, "blocks_total": 10},
        {"blocks_done": 1.5, "blocks_total": 10},
        {"bytes_processed": 1 << 80, "bytes_total": 1 << 90},
    ],
)
def test_what_no_server_says_has_no_number(row: dict[str, Any]) -> None:
    said = sample_of("create_index", row, 8192)
    assert (said.current, said.total) == (0, None)


# --- an answer


def test_an_answer_has_the_statements_and_the_rows() -> None:
    data = (
        line(view="pg_stat_progress_copy", row={"pid": 7, "bytes_processed": 5})
        + line(active=7, statement="yesterday now", block="8192")
        + line(active=8, statement=" ", block="8192")
    )
    whole = Told({7: "yesterday now"}, {7: ("copy", {"pid": 7, "bytes_processed": 5})}, 8192)
    assert parse_answer(data) == whole
    for end in range(len(data)):
        cut = parse_answer(data[:end])
        assert cut.rows.items() <= whole.rows.items()
        assert cut.statements.items() <= whole.statements.items()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"FEHLER:  nein\n",
        b"\xff\x00\n" * 3,
        b"[" * 100_000,
        b"[1]\nnull\n7\n",
        line(view=1, row={"pid": 1}),
        line(view="pg_stat_progress_copy", row={"pid": "1"}),
        line(view="pg_stat_progress_copy", row=[]),
        line(active="1", statement="x", block="8192"),
        line(active=1, statement=None, block=8192),
    ],
)
def test_what_is_no_answer_of_ours_says_nothing(data: bytes) -> None:
    assert parse_answer(data) == Told({}, {}, 0)


# --- a DSN


@pytest.mark.parametrize(
    "dsn",
    [
        "dbname=x password=y",
        "password = y",
        "postgresql://me:y@host/x",
        "postgresql://host/x?password=y",
        "host=h sslpassword=y",
        "a\nb",
    ],
)
def test_a_dsn_with_a_secret_or_of_several_lines_is_refused(dsn: str) -> None:
    with pytest.raises(UsageError, match=r"put it into ~/\.pgpass|is one line") as refused:
        RESOURCE.open(dsn)
    assert "y" not in str(refused.value).split("DSN")[0]


def test_without_psql_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ProcessError, match=r"no program psql here.* postgresql-client"):
        RESOURCE.open("dbname=x")


# --- the real one


SLOW = """
CREATE TABLE t (c text);
ALTER TABLE t ALTER c SET STORAGE PLAIN;
INSERT INTO t SELECT repeat('x', 3000) FROM generate_series(1, 2000);
CREATE FUNCTION slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_sleep(0.02); RETURN left($1, 9); END';
CREATE TABLE u (c text);
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END';
CREATE TRIGGER slowly BEFORE INSERT ON u FOR EACH ROW EXECUTE FUNCTION slowly();
CREATE ROLE somebody LOGIN;
"""
INDEX = "CREATE INDEX ON t (slow(c))"
INDEXES = "pg_stat_progress_create_index"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as one:
        one.does(SLOW)
        yield one


@contextmanager
def attached(*words: str) -> Iterator[tuple[Popen[str], list[dict[str, Any]]]]:
    """An attach, once it has told two statuses."""
    with started("attach", "--interval", "0.1", "--progress-fd", "1", *words) as process:
        assert process.stdout is not None
        lines = []
        while len([line for line in lines if line["current"]]) < 2:
            text = process.stdout.readline()
            assert text, process.stderr.read() if process.stderr else ""
            lines.append(json.loads(text))
        yield process, lines


@needs_postgres
def test_an_index_build_is_shown_to_its_end(server: Postgres) -> None:
    with server.doing(INDEX, INDEXES) as pid, attached(f"pg:{server.dsn}") as (process, lines):
        server.cancel(pid)
        assert process.wait(PATIENCE) == 123
        assert process.stdout is not None
        assert process.stderr is not None
        last = json.loads(process.stdout.read().splitlines()[-1])
        assert re.search(
            rf"^CREATE INDEX \({pid}\): ended, exit status unknown, after", process.stderr.read(), re.MULTILINE
        )
    assert (last["state"], last["exit"]) == ("lost", None)
    assert {(one["job"], one["phase"], one["source"]) for one in lines} == {
        (f"pg-{pid}", "building index: scanning table", "pg")
    }
    assert all(0 < one["current"] < one["total"] == 1000 * 8192 for one in lines if one["current"])


@needs_postgres
def test_each_backend_has_a_bar_and_one_can_be_named(server: Postgres) -> None:
    file = Path(server.folder) / "rows"
    file.write_text("one\n" * 3000)
    file.chmod(0o644)
    copy = f"COPY u FROM '{file}'"
    with server.doing(INDEX, INDEXES) as index, server.doing(copy, "pg_stat_progress_copy") as copying:
        (backend,) = RESOURCE.open(f"{server.dsn}#{copying}")
        wait_until(lambda: (said := backend.sample()) and (said.total, said.unit) == (12000, Unit.BYTES))
        backend.close()
        with attached(f"pg:{server.dsn}") as (process, _):
            server.cancel(index)
            server.cancel(copying)
            assert process.wait(PATIENCE) == 123
            assert process.stderr is not None
            text = process.stderr.read()
    assert f"CREATE INDEX ({index}): ended" in text
    assert f"COPY FROM ({copying}): ended" in text


@needs_postgres
def test_a_server_that_lets_go_of_us_is_told(server: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    with server.doing(INDEX, INDEXES):
        (backend,) = RESOURCE.open(server.dsn)
        server.does("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pollprog'")
        wait_until(lambda: backend.sample() is None and backend.outcome)
        backend.close()
    assert backend.outcome == Outcome(State.LOST)
    assert "terminating connection due to administrator command" in caplog.text


@needs_postgres
def test_nothing_of_ours_is_left_behind(server: Postgres) -> None:
    before = descriptors()
    with server.doing(INDEX, INDEXES):
        (backend,) = RESOURCE.open(server.dsn)
        wait_until(lambda: backend.sample() is not None)
        backend.close()
        wait_until(lambda: server.does("SELECT 1 FROM pg_stat_activity WHERE application_name = 'pollprog'") == "")
    assert descriptors() == before


@needs_postgres
def test_what_cannot_be_watched_is_told_in_a_line(server: Postgres) -> None:
    before = descriptors()
    for dsn, text in (
        (server.dsn, "nothing is under way there"),
        ("host=/nowhere", "connection to server on socket .* failed: No such file or directory"),
        (f"host={server.folder} user=nobody dbname=postgres", 'role "nobody" does not exist'),
        ("nonsense=1", 'invalid connection option "nonsense"'),
    ):
        with pytest.raises(ProcessError, match=text) as refused:
            RESOURCE.open(dsn)
        assert str(refused.value).startswith("pg:")
        assert "\n" not in str(refused.value)
    with server.doing(INDEX, INDEXES):
        with pytest.raises(ProcessError, match="a member of pg_read_all_stats, may see at what"):
            RESOURCE.open(f"host={server.folder} user=somebody dbname=postgres")
        with pytest.raises(ProcessError, match="nothing is under way there"):
            RESOURCE.open(f"{server.dsn}#1")
    assert descriptors() == before


@needs_postgres
def test_a_daemon_watches_it_too(server: Postgres, tmp_path: Path) -> None:
    with (
        door(tmp_path) as served,
        server.doing(INDEX, INDEXES) as pid,
        attached("--connect", f"unix:{served.path}", f"pg:{server.dsn}") as (process, lines),
    ):
        server.cancel(pid)
        assert process.wait(PATIENCE) == 123
    assert {(line["source"], line["total"]) for line in lines if line["current"]} == {("pg", 1000 * 8192)}
