"""sqlite3: its words, and the real one at work on a database, stopped and looked at between its steps."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tool_runs import gets, looked_at

from pollprog.launch import Command
from pollprog.probes.sqlite3 import TOOL, parse
from pollprog.probes.sqlite3_probe import in_use
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Unit

RECORDINGS = Path(__file__).parent / "data" / "recordings"
DATABASE = b"SQLite format 3\0\x10\0" + bytes(82)
"""How one begins whose pages have 4096 bytes and are all in use."""
ROWS = 6000


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["a.db", ".backup b.db"], ("backup", "a.db", "b.db")),
        (["-readonly", "a.db", '.save  "b c.db" '], ("backup", "a.db", "b c.db")),
        (["a.db", ".backup", "main", "", " 'b c.db", ""], ("backup", "a.db", "b c.db")),
        (["a.db", ".restore", "b.db"], ("backup", "b.db", "a.db")),
        (["a.db", ".backup --async b.db"], ("backup", "a.db", "b.db")),
        (["-batch", "a.db", "Vacuum ;"], ("vacuum", "a.db", "")),
        (["a.db", "pragma cache_size = 7; PRAGMA temp_store=1;\nvacuum main"], ("vacuum", "a.db", "")),
        (["a.db", "vacuum into 'b.db';"], ("vacuum into", "a.db", "")),
        (["a.db"], None),
        (["vacuum"], None),
        ([".backup b.db"], None),
        (["a.db", ".tables", ".backup b.db"], None),
        (["a.db", ".backup temp b.db"], None),
        (["a.db", ".backup 'b.db"], None),
        (["a.db", ".backup"], None),
        (["a.db", "delete from t; vacuum"], None),
        (["a.db", "vacuum; select 1"], None),
        (["a.db", ".dump"], None),
        (["a.db", "vacuum", "vacuum"], ("vacuum", "vacuum", "")),
        ([], None),
    ],
)
def test_what_is_done_is_known_by_the_words_or_not_at_all(words: list[str], meant: tuple[str, str, str] | None) -> None:
    work = parse(["sqlite3", *words])
    assert (work and (work.kind, work.source, work.output)) == meant


def test_nothing_is_added_and_where_nothing_is_known_nothing_is_said() -> None:
    command = Command(["sqlite3", "a.db", "vacuum"])
    assert TOOL.prepare(command) is command
    for words in (["a.db", ".dump"], ["/nowhere/a.db", "vacuum"], ["/etc/passwd", "vacuum"]):
        assert play(TOOL, Recording(["sqlite3", *words], {1: b"a\n"})) == []


def test_of_what_is_no_database_no_page_is_in_use() -> None:
    head = bytearray(b"SQLite format 3\0" + bytes(84))
    head[16:18], head[36:40] = b"\x10\x00", b"\x00\x00\x00\x02"
    assert in_use(bytes(head), 40960) == 32768
    head[16:18] = b"\x00\x01"
    assert in_use(bytes(head), 1 << 20) == (1 << 20) - (2 << 16)
    assert in_use(bytes(head), 4096) == 0
    assert in_use(bytes(head[:50]), 1 << 20) == 0
    assert in_use(bytes(reversed(head)), 1 << 20) == 0


@pytest.mark.parametrize(
    ("name", "phases"), [("sqlite3_backup", [""]), ("sqlite3_vacuum", ["copying", "writing back"])]
)
def test_a_recording_is_told_to_its_end(name: str, phases: list[str]) -> None:
    recording = replace(Recording.load(RECORDINGS / name), contents={"/data/a.db": DATABASE})
    samples = play(TOOL, recording)
    assert list(dict.fromkeys(sample.phase for sample in samples)) == phases
    assert len({(sample.total, sample.source) for sample in samples}) == 1
    fractions = [sample.current / sample.total for sample in samples if sample.total]
    assert fractions == sorted(fractions)
    assert len(set(fractions)) >= 2
    assert fractions[0] < 0.9
    assert fractions[-1] > 0.97


# --- the real one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of 24 megabytes, of which a part is free."""
    folder = tmp_path_factory.mktemp("sqlite3")
    chance = random.Random(1)
    with closing(sqlite3.connect(folder / "a.db", isolation_level=None)) as base:
        base.execute("pragma synchronous=off")
        base.execute("begin")
        base.execute("create table t(a integer primary key, b blob)")
        base.executemany("insert into t(b) values (?)", ((chance.randbytes(3900),) for _ in range(ROWS)))
        base.execute("create index i on t(a)")
        base.execute("delete from t where a < 900 or a % 5 = 0")
        base.execute("commit")
    return folder


@pytest.mark.tool("sqlite3")
@pytest.mark.parametrize(("old", "launched"), [(False, True), (True, True), (True, False)])
def test_a_backup_is_told_to_the_byte_over_an_old_one_too(folder: Path, *, old: bool, launched: bool) -> None:
    if not old:
        (folder / "b.db").unlink(missing_ok=True)
    samples = looked_at("sqlite3 a.db '.backup b.db'", folder, launched=launched)
    samples = [one for one in samples if one.source == "sqlite3"]
    assert len({sample.current for sample in samples}) >= 3
    assert {(one.total, one.unit, one.bound) for one in samples} == {
        ((folder / "a.db").stat().st_size, Unit.BYTES, Bound.EXACT)
    }
    assert all(before.current <= after.current for before, after in pairwise(samples))
    assert samples[-1].current > samples[0].current


@pytest.mark.tool("sqlite3")
def test_a_vacuum_into_another_file_is_told_by_what_it_has_read(folder: Path) -> None:
    (folder / "into.db").unlink(missing_ok=True)
    samples = [one for one in looked_at("sqlite3 a.db \"vacuum into 'into.db'\"", folder) if one.source == "sqlite3"]
    assert len({sample.current for sample in samples}) >= 3
    size = (folder / "a.db").stat().st_size
    assert all(size * 0.6 < (one.total or 0) < size and one.bound is Bound.ESTIMATE for one in samples)


@pytest.mark.tool("sqlite3")
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_vacuum_is_told_in_two_phases_under_one_fraction(mode: str, folder: Path) -> None:
    (folder / "v.db").write_bytes((folder / "a.db").read_bytes())
    with closing(sqlite3.connect(folder / "v.db")) as base:
        base.execute(f"pragma journal_mode={mode}")
    samples = [
        one for one in looked_at("sqlite3 v.db 'pragma temp_store=1; vacuum;'", folder) if one.source == "sqlite3"
    ]
    assert list(dict.fromkeys(one.phase for one in samples)) == ["copying", "writing back"]
    assert all(before.current <= after.current for before, after in pairwise(samples))
    assert samples[-1].current > 350_000


@pytest.mark.tool("sqlite3")
def test_what_it_prints_and_how_it_ends_is_as_without_us(folder: Path) -> None:
    gets("sqlite3 a.db '.backup nowhere/b.db'", "2>err", folder)
    gets("sqlite3 a.db '.backup c.db' 'select count(*) from t'", "", folder, fresh="rm -f c.db")
