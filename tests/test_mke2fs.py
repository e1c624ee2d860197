"""mke2fs: a recording played to its probe, and the real one, wherever its output goes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from slowed import slowed
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes.mke2fs import PHASES, TOOL
from pollprog.probes.testing import Recording, play

RECORDINGS = Path(__file__).parent / "data" / "recordings"
MAKE = "mke2fs -F -t ext4 -U 6e1a2b62-1a39-4c5b-8a43-000000000001 -E lazy_itable_init=0,discard"


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_phase_by_phase_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "mke2fs"), size=size)
    assert all(old.current <= new.current for old, new in pairwise(samples))
    if size is not None:
        tables = [sample.current for sample in samples if sample.phase == "Writing inode tables"]
        assert [round(current / 10_000) for current in tables[:5]] == [6, 9, 28, 48, 66]
    assert samples[-1].phase == list(PHASES)[-1]


@pytest.mark.parametrize(
    "data",
    [
        b" 12/64\n13/64\n",
        b"Inodetabellen werden geschrieben:  1/24\b\b\b 2/24\n",
        b"Writing inode tables:  9/3\b",
        b"Writing inode tables: \xff/\x00\b",
        b"Writing inode tables:  1",
    ],
)
def test_what_it_never_prints_is_not_believed(data: bytes) -> None:
    assert play(TOOL, Recording(["mkfs.ext4"], {1: data})) == []


def test_one_that_prints_nothing_is_not_heard() -> None:
    command = Command(["mke2fs", "-qF", "a"])
    assert TOOL.prepare(command) is command


# --- the real one


@pytest.mark.tool("mke2fs")
@pytest.mark.parametrize(("place", "terminal"), [*((place, False) for place in PLACES), ("", True), ("2>err", True)])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, *, terminal: bool, tmp_path: Path) -> None:
    gets(f"{MAKE} image", place, tmp_path, fresh="rm -f image; truncate -s 32M image", terminal=terminal)
    gets(f"{MAKE} -n -q nothing 9", place, tmp_path, terminal=terminal)
    assert b"status 1" in gets(f"{MAKE} nowhere/nothing 9M", place, tmp_path, terminal=terminal)[0]


@pytest.mark.tool("mke2fs", "gcc")
@pytest.mark.parametrize("way", ["heard", "in a log", "attached"])
def test_progress_comes(way: str, tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    command, under = f"{MAKE.replace('discard', 'nodiscard')} image 8G", slowed(tmp_path, "mke2fs", "fallocate", 60_000)
    if way == "attached":
        lines = told_of_a_running_one(f"env {under} {command} >log", tmp_path, "mke2fs")
    else:
        lines = told(command + " >log" * (way == "in a log"), tmp_path, "mke2fs", under=under)
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["phase"] for line in lines[:-1]} <= set(PHASES)
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))
