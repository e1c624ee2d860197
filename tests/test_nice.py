"""nice, ionice and time: what is added to the program behind them, and that it is measured as that."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from lasting import program
from tool_runs import PLACES, gets, told

from pollprog import tools
from pollprog.launch import Command
from pollprog.probes.nice import TOOL, place_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("nice dd if=a", 1),
        ("nice -n 5 dd", 3),
        ("nice -n -5 dd", 3),
        ("nice -n5 dd", 2),
        ("nice -5 dd", 2),
        ("nice --adjustment 5 dd", 3),
        ("nice --adj=5 -- dd -n", 3),
        ("ionice -c3 -tn 7 dd", 4),
        ("ionice -c 3 nice -n 5 dd", 3),
        ("/usr/bin/ionice --class idle --ignore dd", 4),
        ("nice", 1),
        ("nice -n", 3),
        ("time -vf %e --out log dd -f", 5),
    ],
)
def test_where_the_program_behind_it_begins(words: str, place: int) -> None:
    assert place_of(words.split()) == place


def test_what_runs_is_no_longer_nice() -> None:
    assert TOOL.recognise(Command(["nice", "dd"]))
    assert not TOOL.recognise(Command(["nice", "dd"], executable="/usr/bin/nice"))


@pytest.mark.tool("dpkg", "ionice")
def test_what_is_added_is_added_to_the_program_behind_it() -> None:
    made = tools.prepared(TOOL, Command(["ionice", "-c", "3", "nice", "dpkg", "-i", "a.deb"]))
    assert made.status is not None
    assert made.status(made.argv, 7) == ("ionice", "-c", "3", "nice", "dpkg", "--status-fd", "7", "-i", "a.deb")


@pytest.mark.parametrize("words", ["nice sleep 1", "nice", "nice -n", "ionice -p 1", "nice -n 5 nobody-knows -x"])
def test_where_nobody_knows_the_program_nothing_is_added(words: str) -> None:
    command = Command(words.split())
    assert tools.prepared(TOOL, command) is command


@pytest.mark.tool("rsync", "ionice", "time")
@pytest.mark.parametrize("before", ["ionice -c 3 nice -n 5", "time -f took"])
def test_the_program_behind_it_is_told_by_what_it_says(before: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(20):
        (tmp_path / "tree" / str(number)).write_bytes(os.urandom(1_000_000))
    lines = told(f"{before} rsync -a --bwlimit=9000 tree/ copy/", tmp_path, "rsync")
    assert len({line["current"] for line in lines[:-1]}) >= 2
    assert lines[-1]["state"] == "succeeded"


@pytest.mark.tool("rsync")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(bytes(100_000))
    gets("nice rsync -a tree/ copy/", place, tmp_path, fresh="rm -rf copy")
    gets("nice rsync -a nothing/ copy/", place, tmp_path)
    gets("nice -n nothing rsync -a tree/ copy/", place, tmp_path)


@pytest.mark.tool("rsync", "e2fsck", "mke2fs", "time")
@pytest.mark.parametrize("place", PLACES)
def test_what_time_adds_stands_where_it_would(place: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(bytes(100_000))
    subprocess.run([program("mke2fs"), "-q", "-F", tmp_path / "image", "8M"], check=True, capture_output=True)
    gets(r"\time -f 'status %x' rsync -a tree/ copy/", place, tmp_path, fresh="rm -rf copy")
    gets(r"\time -f 'status %x' rsync -a nothing/ copy/", place, tmp_path)
    gets(r"\time -f 'status %x' e2fsck -fn image", place, tmp_path)
