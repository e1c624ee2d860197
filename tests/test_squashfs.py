"""mksquashfs and unsquashfs: recordings of a terminal, and the real ones, wherever their output goes."""

from __future__ import annotations

import json
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from terminals import Terminal
from tool_runs import PLACES, gets

from pollprog.launch import Command
from pollprog.probes.squashfs import TOOL
from pollprog.probes.testing import Recording, play
from pollprog.surroundings import Surroundings, within

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


class Window(Surroundings):
    """All streams are one terminal, or none is any."""

    def __init__(self, *, terminal: bool = True) -> None:
        self.terminal = terminal

    def is_terminal(self, stream: int) -> bool:
        return self.terminal

    def together(self, stream: int) -> tuple[int, ...]:
        return (1, 2)


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
def test_it_is_heard_where_a_bar_of_a_known_total_is_drawn(line: str, *, heard: bool) -> None:
    command = Command(line.split())
    in_window = within(Window(), lambda: TOOL.prepare(command))
    assert (in_window.argv, bool(in_window.claims)) == (command.argv, heard)
    assert within(Window(terminal=False), lambda: TOOL.prepare(command)) is command


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
    terminal = Terminal(12, 80)
    try:
        command = "mksquashfs tree image -noappend -comp xz -processors 1"
        terminal.run("bash", "-c", f"cd {tree}; pollprog run --interval 0.1 --progress-fd 9 {command} 9>lines")
        assert terminal.wait_end() == 0, terminal.rows()
    finally:
        terminal.close()
    lines = [json.loads(line) for line in (tree / "lines").read_text().splitlines()]
    told = [line for line in lines[:-1] if line["source"] == "squashfs"]
    assert lines[-1]["state"] == "succeeded"
    assert len(told) >= 2
    assert {line["total"] for line in told} == {4 * 24}
    assert all(old["fraction"] <= new["fraction"] < 1 for old, new in pairwise(told))
