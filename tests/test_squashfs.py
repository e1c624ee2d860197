"""mksquashfs and unsquashfs: recordings of a terminal, and the real ones, wherever their output goes."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from slowed import slowed
from terminals import ENVIRONMENT, PATIENCE
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes import squashfs as tool_module
from pollprog.probes.squashfs import TOOL
from pollprog.probes.testing import Recording, play

RECORDINGS = Path(__file__).parent / "data" / "recordings"
BARS = re.compile(rb"^(?:\r\[[^\]\r\n]*\] +[0-9]+/[0-9]+ +[0-9]+%)*", re.MULTILINE)
"""How many of them are drawn is another number each time; into a file it may be none."""


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(
    ("name", "told"), [("mksquashfs_pty", [494, 606, 664]), ("unsquashfs_pty", [1086])], ids=["make", "unpack"]
)
def test_a_recording_is_told_however_it_is_cut(name: str, told: list[int], size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / name), size=size)
    assert list(dict.fromkeys(one.current for one in samples)) == told
    assert {one.total for one in samples} == {told[-1]}


def test_while_the_tree_is_scanned_nothing_is_told() -> None:
    data = b"\r[/     ]   0/533   0%\r[-     ]   0/1388   0%\r[==\\   ]  600/1388  43%\r"
    samples = play(TOOL, Recording(["mksquashfs", "tree", "image"], {1: data}))
    assert {(one.current, one.total) for one in samples} == {(600, 1388)}


def test_what_is_no_bar_says_nothing() -> None:
    data = b"494/664 74%\n[=/ ] 5/4 125%\n[=/ ] 1/2\n[=x ] 1/2 50%\n[=/ ] 1/2 50% x\nx[=/ ] 1/2 50%\n[=/ ] -1/2 50%\n\xff\0\n"
    assert play(TOOL, Recording(["mksquashfs", "tree", "image"], {1: data})) == []


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        ("mksquashfs tree image -noappend", True),
        ("unsquashfs -d tree image", True),
        ("mksquashfs - image -tar", False),
        ("mksquashfs - image -cpiostyle", False),
        ("mksquashfs tree image -info -progress", False),
        ("unsquashfs -cat image name", False),
        ("unsquashfs -ll image", False),
    ],
)
def test_it_is_heard_where_a_bar_of_a_known_total_is_drawn(
    line: str, monkeypatch: pytest.MonkeyPatch, *, heard: bool
) -> None:
    monkeypatch.setattr(tool_module, "listening", lambda command, _: command.with_words(["heard"]))
    command = Command(line.split())
    assert TOOL.prepare(command).argv == (("heard",) if heard else command.argv)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree that xz takes a moment for."""
    (tmp_path / "tree").mkdir()
    for name in range(4):
        (tmp_path / "tree" / str(name)).write_bytes(os.urandom(3 << 20))
    return tmp_path


@pytest.mark.tool("mksquashfs", "unsquashfs")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("terminal", [False, True])
def test_what_they_print_is_as_without_us(place: str, *, terminal: bool, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/words").write_bytes(b"some words " * 50_000)
    for command in (
        "mksquashfs tree image -noappend -processors 1",
        "unsquashfs -processors 1 -force -dest copy image",
    ):
        said = gets(command, place, tmp_path, terminal=terminal, blurred=BARS)
        assert b"status 0" in said[0]
    assert (tmp_path / "copy/words").read_bytes() == (tmp_path / "tree/words").read_bytes()
    assert b"status 1" in gets("unsquashfs missing", place, tmp_path, terminal=terminal)[0]


@pytest.mark.tool("mksquashfs")
def test_a_slow_one_is_told(tree: Path) -> None:
    lines = told("mksquashfs tree image -noappend -comp xz -processors 1", tree, "squashfs", terminal=True)
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {4 * 24}
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


@pytest.mark.tool("mksquashfs", "unsquashfs", "gcc")
@pytest.mark.parametrize("way", ["in a terminal", "into a pipe", "into a file", "attached"])
def test_a_slow_unpacking_is_told(way: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for name in range(100):
        (tmp_path / "tree" / str(name)).write_bytes(b"some words")
    pack = "mksquashfs tree image -noappend -no-progress"
    subprocess.run(pack.split(), cwd=tmp_path, check=True, env=ENVIRONMENT, capture_output=True, timeout=PATIENCE)
    place = "" if way in ("in a terminal", "into a pipe") else ">log"
    command, under = f"unsquashfs -d copy image {place}", slowed(tmp_path, "unsquashfs", "open", 20_000)
    if way == "attached":
        lines = told_of_a_running_one(f"env {under} {command}", tmp_path, "squashfs")
    else:
        lines = told(command, tmp_path, "squashfs", terminal=way == "in a terminal", under=under)
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))
