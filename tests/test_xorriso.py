"""xorriso: a recording played to its probe, and the real one, wherever its output goes."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes.testing import Recording, play
from pollprog.probes.xorriso import TOOL

RECORDINGS = Path(__file__).parent / "data" / "recordings"
BLURRED = re.compile(rb"directory '/'='[^']*'(?:\r?\nxorriso : UPDATE[^\r\n]*)*|[0-9.]+g free")


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "xorriso"), size=size)
    assert all(old.current <= new.current for old, new in pairwise(samples))
    assert (samples[-1].current, samples[-1].total) == (605900, 1_000_000)
    assert 177900 in {sample.current for sample in samples} or size is None


@pytest.mark.parametrize(
    "data",
    [
        b"xorriso : UPDATE :       3 files added in 1 seconds\n",
        b"xorriso : UPDATE : 101.00% done\n",
        b"xorriso : AKTUELL : 10.00% fertig\n",
        b"\xff\x00 : UPDATE : 10.00% done\n",
    ],
)
def test_what_is_no_percentage_is_not_told(data: bytes) -> None:
    assert play(TOOL, Recording(["xorriso"], {2: data})) == []


def test_one_that_is_quiet_is_not_heard() -> None:
    command = Command(["xorriso", *["-as", "mkisofs", "-quiet"], "a"])
    assert TOOL.prepare(command) is command


# --- the real one


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Something to put into an image, a little of it and more."""
    folder = tmp_path_factory.mktemp("tree")
    for name, size in (("little", 1 << 16), ("tree", 6 << 20)):
        (folder / name).mkdir()
        for number in range(4):
            (folder / name / str(number)).write_bytes(os.urandom(size))
    return folder


@pytest.mark.tool("xorriso")
@pytest.mark.parametrize(("place", "terminal"), [*((place, False) for place in PLACES), ("", True), ("2>err", True)])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, *, terminal: bool, tree: Path) -> None:
    for what in ("little", "nothing"):
        command = f"xorriso -as mkisofs -o image {what}"
        gets(command, place, tree, fresh="rm -f image", terminal=terminal, blurred=BLURRED)


@pytest.mark.tool("xorriso", "pv")
def test_progress_comes_and_its_image_is_whole(tree: Path) -> None:
    lines = told("xorriso -as mkisofs -o - tree > >(pv -qL 6m > image)", tree, "xorriso")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))
    assert b"CD001" in (tree / "image").read_bytes()[: 1 << 16]


@pytest.mark.tool("xorriso", "pv")
def test_one_that_is_attached_to_is_told_by_its_log(tree: Path) -> None:
    lines = told_of_a_running_one("xorriso -as mkisofs -o - tree 2>err > >(pv -qL 6m > image)", tree, "xorriso")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
