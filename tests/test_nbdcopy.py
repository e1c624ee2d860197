"""nbdcopy: recordings played to its probe, and the real one, wherever its output goes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from tool_runs import PLACES, gets, told

from pollprog.launch import Command
from pollprog.probes.nbdcopy import TOOL
from pollprog.probes.testing import Recording, play

RECORDINGS = Path(__file__).parent / "data" / "recordings"
NBDKIT = "[ nbdkit --exit-with-parent --filter=delay pattern 640M rdelay=1ms ]"


@pytest.mark.parametrize("size", [None, 1, 3])
@pytest.mark.parametrize("name", ["nbdcopy", "nbdcopy_large"])
def test_a_recording_is_told_however_it_is_cut(name: str, size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / name), size=size)
    assert (samples[0].current, samples[-1].current) == (0, 100)
    assert {sample.total for sample in samples} == {100}
    assert all(old.current <= new.current for old, new in pairwise(samples))
    if name == "nbdcopy_large":
        assert len({sample.current for sample in samples}) > 5


def test_what_nbdcopy_never_writes_is_not_believed() -> None:
    data = b"101/100\n5/50\n-1/100\n1,5/100\n \xe2\x96\x88 50%\n50 / 100\n\xff\x00\n"
    assert play(TOOL, Recording(["nbdcopy"], {3: data})) == []


@pytest.mark.tool("nbdcopy")
@pytest.mark.parametrize(
    "words", [["nbdcopy", "a", "b"], ["nbdcopy", "--", "[", "nbdkit", "-p", "1", "]", "--progress"]]
)
def test_a_descriptor_is_added(words: list[str]) -> None:
    command = TOOL.prepare(Command(words))
    assert command.status is not None
    assert list(command.status(command.argv, 9)) == [words[0], "--progress=9", *words[1:]]


@pytest.mark.parametrize("option", ["-p", "--progress", "--progress=5", "--prog"])
def test_the_users_own_option_wins(option: str) -> None:
    assert TOOL.prepare(Command(["nbdcopy", option, "a", "b"])).status is None


def test_a_program_that_does_not_know_it_is_not_given_it() -> None:
    assert TOOL.prepare(Command(["/bin/true", "a", "b"])).status is None


@pytest.mark.tool("nbdcopy", "nbdkit")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("terminal", [False, True])
def test_what_it_prints_and_copies_is_as_without_us(place: str, *, terminal: bool, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"image" * 100_000)
    command = "nbdcopy -- [ nbdkit --exit-with-parent file image ] copy"
    assert b"status 0" in gets(command, place, tmp_path, fresh="rm -f copy", terminal=terminal)[0]
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "image").read_bytes()
    assert b"status 1" in gets("nbdcopy -- missing copy", place, tmp_path, terminal=terminal)[0]


@pytest.mark.tool("nbdcopy", "nbdkit")
def test_a_slow_one_is_told(tmp_path: Path) -> None:
    lines = told(f"nbdcopy --requests=1 --connections=1 -- {NBDKIT} null:", tmp_path, "nbdcopy")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert all(line["bound"] == "upper" for line in lines[:-1])
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))
