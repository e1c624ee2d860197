"""mysqldump and mysql, which evidence measures as they are: real ones, at a server of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from children import wait_until
from terminals import ENVIRONMENT, PATIENCE
from tool_runs import gets, looked_at, told, told_of_a_running_one

from pollprog.probes.known import KNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = ("skip-networking", "skip-grant-tables", "innodb-log-file-size=8M", "innodb-flush-method=nosync")
"""Without tables of rights none of the server's own are wanted: it starts in an empty folder, at once."""
FILLING = """
CREATE DATABASE other; CREATE DATABASE one; USE one; CREATE TABLE more AS SELECT seq, MD5(seq) a FROM seq_1_to_200;
CREATE TABLE t AS SELECT seq, CONCAT(HEX(RANDOM_BYTES(1024)), HEX(RANDOM_BYTES(1024)), HEX(RANDOM_BYTES(1024))) a
FROM seq_1_to_1500;
"""
SIZE = 1500 * 3 * 2048
"""Bytes in the larger table."""
SLOWLY = "--where 'SLEEP(0.001) = 0'"
"""The server waits at each row, so a dump lasts two seconds or more."""
MORE_SLOWLY = SLOWLY.replace("1)", "2)")

pytestmark = pytest.mark.tool("mysqldump", "mariadb", "mariadbd")


@pytest.fixture(scope="module")
def who() -> Iterator[str]:
    """Options for its clients: a server from when it answers, with a database of 9 MiB."""
    folder = tempfile.mkdtemp(prefix="pollprog-mysql-")
    words = ["mariadbd", "--no-defaults", "--datadir=.", f"--socket={folder}/s", *(f"--{one}" for one in SETTINGS)]
    if os.geteuid() == 0:  # as whom it refuses to run
        shutil.chown(folder, "mysql")
        words.append("--user=mysql")
    who = f"--no-defaults --socket={folder}/s"
    try:
        with (
            open(f"{folder}/log", "wb") as log,
            subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, env=ENVIRONMENT) as server,
        ):
            try:
                wait_until(lambda: server.poll() is not None or asked(who, "SELECT 1"))
                assert asked(who, FILLING)
                yield who
            finally:
                server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def asked(who: str, statements: str) -> bool:
    """Whether the server has done this."""
    words = ["mariadb", *who.split(), "--execute", statements]
    return subprocess.run(words, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE, check=False).returncode == 0


@pytest.mark.parametrize("program", ["mysqldump", "mariadb-dump", "mysql", "mariadb"])
def test_it_has_a_row(program: str) -> None:
    assert [one.name for one in KNOWN if program in one.programs] == ["mysqldump" if "dump" in program else "mysql"]


@pytest.mark.parametrize("place", ["", "2>&1", "> out 2>err"])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, who: str, tmp_path: Path) -> None:
    said = gets(f"mysqldump {who} --skip-dump-date -v one more", place, tmp_path)
    assert any(b"-- Dump completed" in text for text in said)
    gets(f"mysqldump {who} nothing", place, tmp_path)


def test_of_a_dump_it_is_told_how_much_has_come(who: str, tmp_path: Path) -> None:
    lines = told(f"mysqldump {who} {SLOWLY} --all-databases > out", tmp_path, "evidence:output-size")
    assert len({line["current"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines} == {None}
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines))
    assert 0 < lines[0]["current"] <= lines[-1]["current"] <= (tmp_path / "out").stat().st_size
    assert (tmp_path / "out").stat().st_size > SIZE


def test_of_one_that_runs_already_the_same_is_told(who: str, tmp_path: Path) -> None:
    lines = told_of_a_running_one(f"mysqldump {who} {MORE_SLOWLY} one t > out", tmp_path, "evidence:output-size")
    assert len({line["current"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines} == {None}
    assert 0 < lines[0]["current"] <= lines[-1]["current"] <= (tmp_path / "out").stat().st_size


def test_of_one_that_is_packed_it_is_told_what_is_left_of_it(who: str, tmp_path: Path) -> None:
    samples = [one for one in looked_at(f"mysqldump {who} one t | gzip -1 > out", tmp_path) if one.current]
    assert len({one.current for one in samples}) >= 2
    assert {(one.total, one.source) for one in samples} == {(None, "evidence:output-size")}
    assert samples[-1].current <= (tmp_path / "out").stat().st_size


def test_of_its_restoring_it_is_told_how_far_it_is(who: str, tmp_path: Path) -> None:
    with (tmp_path / "dump").open("wb") as file:
        words = ["mysqldump", *who.split(), "one", "t"]
        subprocess.run(words, stdout=file, env=ENVIRONMENT, timeout=PATIENCE, check=True)
    samples = [one for one in looked_at(f"mariadb {who} other < dump", tmp_path) if one.total]
    assert {one.total for one in samples} == {(tmp_path / "dump").stat().st_size}
    assert len({one.current for one in samples}) >= 2
    assert asked(who, "SELECT IF(COUNT(*) = 1500, 1, (SELECT 1 UNION SELECT 2)) FROM other.t")
