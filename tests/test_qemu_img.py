"""qemu-img: recordings played to its probe, and the real one, asked and not asked, wherever its output goes."""

from __future__ import annotations

import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from terminals import PATIENCE
from tool_runs import PLACES, gets, looked_at, told

from pollprog.launch import Command
from pollprog.probes.asking import AnswerFilter
from pollprog.probes.qemu_img import ANSWER, TOOL
from pollprog.probes.testing import Recording, play

RECORDINGS = Path(__file__).parent / "data" / "recordings"
REAL = pytest.mark.tool("qemu-img")


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize("name", ["qemu-img_usr1_nop", "qemu-img_p"])
def test_a_recording_is_told_however_it_is_cut(name: str, size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / name), size=size)
    assert samples[-1].current == samples[-1].total == 1_000_000
    assert len(samples) >= 6
    assert all(old.current <= new.current for old, new in pairwise(samples))


def test_what_it_never_prints_is_not_believed() -> None:
    data = b"(50/100%)\n    (101.00/100%)\n    (-1.00/100%)\n    (50.00/200%)\n    (50.00/100%\n\xff(1.00/100%)\n"
    assert play(TOOL, Recording(["qemu-img", "convert", "a", "b"], {2: data})) == []


def test_only_what_was_asked_for_is_left_out() -> None:
    through = AnswerFilter(ANSWER, rb"(?!)")
    line = b"    (37.50/100%)\n"
    assert through.passing(line) == line
    through.expect(1)
    assert through.passing(b"qemu-img: warning\n" + line + line) == b"qemu-img: warning\n" + line
    assert through.end() == b""


@REAL
@pytest.mark.parametrize("words", ["info a", "create -f raw a 1M", "check a", "-V"])
def test_what_does_not_answer_is_not_heard(words: str) -> None:
    assert TOOL.prepare(Command(["qemu-img", *words.split()])).claims == {}


# --- the real one


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with disks' images, and one that is built on another."""
    folder = tmp_path_factory.mktemp("disk")
    (folder / "raw").write_bytes(os.urandom(8 << 20))
    (folder / "big").write_bytes(os.urandom(40 << 20))
    for words in ("convert -O qcow2 raw base", "create -q -f qcow2 -b base -F qcow2 top 64M"):
        subprocess.run(["qemu-img", *words.split()], cwd=folder, check=True, timeout=PATIENCE)
    return folder


@REAL
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("terminal", [False, True])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, *, terminal: bool, disk: Path) -> None:
    gets("qemu-img convert -r 20M -O qcow2 raw new", place, disk, fresh="rm -f new", terminal=terminal)
    assert (disk / "new").stat().st_size > 8 << 20
    gets("qemu-img convert -O qcow2 nothing new", place, disk, fresh="rm -f new", terminal=terminal)


@REAL
@pytest.mark.parametrize(
    ("command", "size", "terminal"),
    [
        ("convert -m 1 -r 14M -O raw big new", 0, False),
        ("commit -q -r 24M top", 64, True),
        ("convert -m 1 -p -r 7M -O qcow2 top new", 20, True),
    ],
)
def test_progress_comes(command: str, size: int, *, terminal: bool, disk: Path) -> None:
    (disk / "new").unlink(missing_ok=True)
    words = ["qemu-io", "-f", "qcow2", "-c", f"write 0 {size}M", "top"]
    subprocess.run(words, cwd=disk, check=True, timeout=PATIENCE, capture_output=True)
    lines = told(f"qemu-img {command}", disk, "qemu-img", terminal=terminal)
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


@REAL
def test_a_rebase_that_runs_already_reads_more_than_it_names_and_has_no_total(disk: Path) -> None:
    with (disk / "empty").open("wb") as file:
        file.truncate(40 << 20)
    words = "qemu-img create -q -f qcow2 -b big -F raw over"
    subprocess.run(words.split(), cwd=disk, check=True, timeout=PATIENCE)
    samples = looked_at("qemu-img rebase -b empty -F raw over", disk, launched=False)
    rebasing = [sample for sample in samples if sample.source == "qemu-img"]
    assert len({sample.current for sample in rebasing}) >= 3
    assert {sample.total for sample in samples if sample.current > 1 << 20} == {None}
