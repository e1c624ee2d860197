"""shred: a recording of what the kernel said of it, its words, and the real one."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tool_runs import gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes.shred import TOOL, parse
from pollprog.probes.testing import Recording, play

RECORDINGS = Path(__file__).parent / "data" / "recordings"
SIZE = 2 << 30
MIB = 1 << 20
SLOW = "--random-source=<(while head -c 20000 /dev/zero; do sleep 0.015; done)"
"""So it gets what it writes a bit at a time."""


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_pass_by_pass_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "shred_v"), size=size)
    assert list(dict.fromkeys(sample.phase for sample in samples)) == ["pass 1 of 2", "pass 2 of 2"]
    assert {sample.total for sample in samples} == {2 * SIZE}
    assert all(old.current <= new.current for old, new in pairwise(samples))
    assert 2 * SIZE * 0.9 < samples[-1].current <= 2 * SIZE


def look(position: int, written: int, *, size: int = 8192, flags: str = "0140001") -> dict[str, Any]:
    """What /proc says of a shred that is there, and has written so much in all."""
    file = {"path": "/a", "pos": position, "flags": flags, "size": size}
    return {"pid": 1, "io": {"rchar": 0, "wchar": written, "read_bytes": 0, "write_bytes": 0}, "fd": {"3": file}}


def played(words: str, *looks: dict[str, Any]) -> list[tuple[int, int | None, str]]:
    """What is told of one of these words while it is seen so."""
    recording = Recording(
        ["shred", *words.split()],
        {1: bytes(20)},
        looks=[((number + 1) / 20, [look]) for number, look in enumerate(looks)],
    )
    samples = play(TOOL, recording)
    return list(dict.fromkeys((sample.current, sample.total, sample.phase) for sample in samples))


def test_what_v_prints_does_not_count_and_neither_does_going_back() -> None:
    seen = [look(4096, 4150), look(8192, 8246), look(0, 8300), look(4096, 12400), look(8192, 16500), look(0, 16550)]
    assert played("-v -n2 a", *seen) == [
        (4096, 16384, "pass 1 of 2"),
        (8192, 16384, "pass 1 of 2"),
        (8192, 16384, "pass 2 of 2"),
        (12288, 16384, "pass 2 of 2"),
        (16384, 16384, "pass 2 of 2"),
    ]


def test_whole_blocks_are_written_unless_told_otherwise() -> None:
    assert [total for _, total, _ in played("-n1 a", look(4096, 4096, size=4097))] == [8192]
    assert [total for _, total, _ in played("-n1 -x a", look(4096, 4096, size=4097))] == [4097]
    assert [total for _, total, _ in played("-n1 -z -s 1M a", look(4096, 4096, size=4097))] == [2 << 20]


@pytest.mark.parametrize("words", ["-n0 a", "-n x a", "-s 1q a", "", "--r a", "a /nowhere"])
def test_what_is_not_understood_or_not_there_says_nothing(words: str) -> None:
    assert played(words, look(4096, 4096)) == []


def test_a_file_that_is_empty_or_only_read_says_nothing() -> None:
    assert played("a", look(0, 0, size=0)) == []
    assert played("a", look(4096, 4096, flags="0100000")) == []


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("a b", (3, "", False, ["a", "b"])),
        ("-fuvz a -n 7", (8, "", False, ["a"])),
        ("-zn7 -s1G -- -a", (8, "1G", True, ["-a"])),
        ("--zero --iter=2 --rem=wipe --siz 5kB a", (3, "5kB", True, ["a"])),
        ("--random-source x -x -", (3, "", True, ["-"])),
        ("-vns a", None),
        ("--e a --r x", None),
        ("-s 010 a", None),
    ],
)
def test_its_words_are_understood_or_say_nothing(words: str, meant: tuple[int, str, bool, list[str]] | None) -> None:
    assert parse(["shred", *words.split()]) == meant


def test_nothing_is_added() -> None:
    command = Command(["shred", "-v", "a"])
    assert TOOL.prepare(command) is command


# --- the real one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, the second of them with a few bytes more than whole blocks."""
    for name, size in (("a", MIB), ("b", MIB + 7)):
        with (tmp_path / name).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    return tmp_path


@pytest.mark.tool("shred")
@pytest.mark.parametrize("place", ["2>err", "2>&1"])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, folder: Path) -> None:
    said = gets("shred -v -n1 -s 100k a nothing", place, folder)
    assert b"status 1" in said[0]


@pytest.mark.tool("shred")
def test_several_files_are_told_under_one_fraction(folder: Path) -> None:
    lines = told(f"shred {SLOW} -u -z -n 1 a b", folder, "shred")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines[:-1]} == {(2 * MIB + 4096) * 2}
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines))
    assert {line["phase"].partition(" ")[0] for line in lines} <= {"a,", "b,"}
    assert sorted(path.name for path in folder.iterdir()) == ["lines"]


@pytest.mark.tool("shred")
def test_one_that_runs_already_is_told_too(folder: Path) -> None:
    lines = told_of_a_running_one(f"shred {SLOW} -x -n 2 b", folder, "shred")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines[:-1]} == {(MIB + 7) * 2}
