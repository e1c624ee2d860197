"""pg_basebackup: recordings of its lines, and the real one; and its neighbours, which evidence measures: pg_dump and pg_restore."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from postgres import Postgres, postgres
from slowed import slowed
from terminals import ENVIRONMENT
from tool_runs import gets, looked_at, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes import pg_basebackup as tool_module
from pollprog.probes.pg_basebackup import TOOL
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDINGS = Path(__file__).parent / "data" / "recordings"
PROGRESS = re.compile(rb"(?: *[0-9]+/[0-9]+ kB \([0-9]+%\), [01]/1 tablespace[^\r\n]*[\r\n]+)+")
"""How often it says how far it is is chance, and how much the server has to say of itself."""
SCRIPT = 20_000
"""Bytes of Debian's script that becomes one of these programs, and counts as one more input."""


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "pg_basebackup_P"), size=size)
    assert (samples[0].current, samples[0].total, samples[0].phase) == (0, None, "waiting for checkpoint")
    said = list(dict.fromkeys((sample.current >> 10, sample.total) for sample in samples[1:] if sample.total))
    assert said[0] == (30754, 208849 << 10)
    assert said[-1] == (208859, 208859 << 10)
    assert {(sample.unit, sample.bound) for sample in samples} == {(Unit.BYTES, Bound.ESTIMATE)}
    assert {sample.phase for sample in samples if sample.total} == {""}


def test_in_a_terminal_it_says_first_that_it_waits() -> None:
    samples = play(
        TOOL, Recording(["pg_basebackup", "-P"], {2: b"waiting for checkpoint\r  4/9 kB (44%), 0/1 tablesp"})
    )
    assert {(one.current, one.total, one.phase) for one in samples} == {(0, None, "waiting for checkpoint")}


def test_with_v_it_names_a_file_behind() -> None:
    data = b"pg_basebackup: initiating base backup, waiting for checkpoint to complete\n  4/9 kB (44%), 0/2 tablespaces (...a/b)\r"
    samples = play(TOOL, Recording(["pg_basebackup", "-Pv"], {2: data}))
    assert {(one.current, one.total) for one in samples} == {(4096, 9216)}


def test_what_it_never_prints_is_not_believed() -> None:
    data = (
        b"warte auf Checkpoint\n 4/9 kB (44%), 0/1 Tablespace\n 9/4 kB (44%), 0/1 tablespace\n 4/9 MB (44%), 0/1 tablespace\n"
        b"4/9 kB (44%)\n4/ kB (44%), 0/1 tablespace\nx 4/9 kB (44%), 0/1 tablespace\n\xff\x00\n"
    )
    assert play(TOOL, Recording(["pg_basebackup", "-P"], {1: b"4/9 kB (4%), 0/1 tablespace\n", 2: data})) == []


def test_only_with_its_option_is_it_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_module, "listening", lambda command, stream: command.with_words(["heard", str(stream)]))
    for words in (["-P"], ["-vP", "-D", "a"], ["--progress"], ["--prog"]):
        assert TOOL.prepare(Command(["pg_basebackup", *words])).argv == ("heard", "2")
    command = Command(["pg_basebackup", "-D", "a", "--", "-P"])
    assert TOOL.prepare(command) is command


# --- the real one


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as one:
        one.does("CREATE TABLE t AS SELECT g a, md5(g::text) || md5((g + 1)::text) b FROM generate_series(1, 60000) g")
        yield one


@pytest.fixture
def backup(server: Postgres) -> str:
    """A command that takes one, as fast as it goes."""
    return f"pg_basebackup -h {server.folder} -U postgres -c fast -X none -N -D copy"


needs_server = pytest.mark.tool("initdb", "psql", "pg_basebackup")


@needs_server
@pytest.mark.parametrize(("place", "terminal"), [("2>err", False), ("2>&1", False), ("", True)])
def test_what_it_prints_and_how_it_ends_is_as_without_us(
    place: str, backup: str, tmp_path: Path, *, terminal: bool
) -> None:
    said = gets(f"{backup} -P", place, tmp_path, fresh="rm -rf copy", blurred=PROGRESS, terminal=terminal)
    assert any(b"#" in text for text in said)
    assert (tmp_path / "copy" / "PG_VERSION").exists()


@needs_server
def test_its_progress_is_told(backup: str, tmp_path: Path) -> None:
    lines = told(f"{backup} -P -r 8M 2>err", tmp_path, "pg_basebackup")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["bound"] for line in lines[:-1]} == {"estimate"}
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines))


@needs_server
def test_one_that_runs_already_is_told_by_the_file_into_which_it_prints(backup: str, tmp_path: Path) -> None:
    lines = told_of_a_running_one(f"{backup} -P -r 8M 2>err", tmp_path, "pg_basebackup")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["unit"] for line in lines} == {"bytes"}


# --- its neighbours


@pytest.mark.tool("initdb", "psql", "pg_dump", "pg_dumpall", "pg_restore")
def test_of_a_dump_it_is_told_how_much_has_come_and_of_its_restoring_how_far_it_is(
    server: Postgres, tmp_path: Path
) -> None:
    who = f"-h {server.folder} -U postgres"
    for script in (f"pg_dump {who} -Z 9 -Fc -f dump postgres", f"pg_dumpall {who} > all"):
        samples = looked_at(script, tmp_path)
        assert samples[-1].total is None
        size = (tmp_path / script.split()[-1 if "all" in script else -2]).stat().st_size
        assert 0 < samples[-1].current <= size + 8192
    server.does("DROP DATABASE IF EXISTS other")
    server.does("CREATE DATABASE other")
    samples = [one for one in looked_at(f"pg_restore {who} -d other dump", tmp_path) if one.total]
    size = (tmp_path / "dump").stat().st_size
    assert all(size <= (one.total or 0) <= size + SCRIPT for one in samples)
    assert len({one.current for one in samples}) >= 2


@pytest.mark.tool("initdb", "psql", "pg_dump", "pg_restore", "gcc")
@pytest.mark.parametrize("kind", ["c", "d"])
def test_those_that_run_already_are_told_too(
    server: Postgres, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PGHOST", server.folder)
    monkeypatch.setitem(ENVIRONMENT, "PGUSER", "postgres")
    under = slowed(tmp_path, "pg_dump", "recv", 4_000)
    lines = told_of_a_running_one(f"env {under} pg_dump -F{kind} -f dump postgres", tmp_path, "evidence:output-size")
    assert len({line["current"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines} == {None}
    server.does("DROP DATABASE IF EXISTS other")
    server.does("CREATE DATABASE other")
    under = slowed(tmp_path, "pg_restore", "send", 4_000)
    source = "evidence:input-position" if kind == "c" else "evidence:rchar"
    lines = told_of_a_running_one(f"env {under} pg_restore -d other dump", tmp_path, source)
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    dump = tmp_path / "dump"
    size = sum(file.stat().st_size for file in ([dump] if kind == "c" else dump.iterdir()))
    assert all(size <= line["total"] <= size + SCRIPT for line in lines[:-1])
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))
