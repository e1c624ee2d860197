"""ntfsclone: a recording played to its probe, and the real one, wherever its output goes."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from slowed import slowed
from terminals import PATIENCE
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes.ntfsclone import COPY, SCAN, TOOL, image_to_output
from pollprog.probes.testing import Recording, play

RECORDINGS = Path(__file__).parent / "data" / "recordings"


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_phase_by_phase_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "ntfsclone_save"), size=size)
    assert all(old.current <= new.current for old, new in pairwise(samples))
    assert (samples[-1].phase, samples[-1].current) == (COPY, 1_000_000)
    if size is not None:
        assert {(SCAN, 0), (SCAN, 30_000), (COPY, 418_776)} <= {(one.phase, one.current) for one in samples}


@pytest.mark.parametrize(
    "data",
    [
        b" 12.00 percent completed\r",
        b"Scanning volume ...\n112.00 percent completed\r",
        b"Examen du volume ...\n 12,00 pour cent\r",
        b"Saving NTFS to image\n\xff\x00 percent completed\n",
    ],
)
def test_what_it_never_prints_is_not_believed(data: bytes) -> None:
    assert all(sample.current == 0 for sample in play(TOOL, Recording(["ntfsclone"], {1: data})))


@pytest.mark.parametrize(
    ("words", "expected"),
    [("-s -o - a", True), ("-so- a", True), ("-s --output=- a", True), ("-o copy a", False), ("-r -O a b", False)],
)
def test_where_the_image_goes_is_known(words: str, expected: bool) -> None:  # a table
    assert image_to_output(["ntfsclone", *words.split()]) is expected


def test_one_that_is_quiet_is_not_heard() -> None:
    command = Command(["ntfsclone", "-q", "-s", "-o", "b", "a"])
    assert TOOL.prepare(command) is command


# --- the real one


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small volume."""
    folder = tmp_path_factory.mktemp("volume")
    with (folder / "volume").open("wb") as file:
        file.truncate(16 << 20)
    make = ["/usr/sbin/mkntfs", "-Q", "-F", "-s", "512", "-p", "0", "-H", "0", "-S", "0", "volume"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
    return folder


@pytest.mark.tool("ntfsclone", "mkntfs")
@pytest.mark.parametrize(("place", "terminal"), [*((place, False) for place in PLACES), ("", True), ("2>err", True)])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, *, terminal: bool, volume: Path) -> None:
    gets("ntfsclone -s -O image volume", place, volume, terminal=terminal)
    gets("ntfsclone -r -O copy image", place, volume, terminal=terminal)
    assert (volume / "copy").read_bytes()[: 15 << 20] == (volume / "volume").read_bytes()[: 15 << 20]
    if place == "> out 2>err":
        gets("ntfsclone -s -o - volume", place, volume)
        assert (volume / "out").read_bytes() == (volume / "image").read_bytes()


@pytest.mark.tool("ntfsclone", "mkntfs", "gcc")
@pytest.mark.parametrize("words", ["-s -O image volume", "-s -o - volume >image"])
def test_progress_comes(words: str, volume: Path) -> None:
    lines = told(f"ntfsclone {words}", volume, "ntfsclone", under=slowed(volume, "ntfsclone", "lseek", 5_000))
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


@pytest.mark.tool("ntfsclone", "mkntfs", "gcc")
@pytest.mark.parametrize("attached", [False, True])
def test_what_it_prints_into_a_log_is_told_though_its_phase_stood_there_before(volume: Path, *, attached: bool) -> None:
    command, under = "ntfsclone -s -O image volume >log", slowed(volume, "ntfsclone", "lseek", 5_000)
    if attached:
        lines = told_of_a_running_one(f"env {under} {command}", volume, "ntfsclone")
    else:
        lines = told(command, volume, "ntfsclone", under=under)
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["phase"] for line in lines[:-1]} == {COPY}
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))
