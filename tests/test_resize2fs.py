"""resize2fs: its bar, however it is cut, and the real one, wherever its output goes."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from children import child, target_for
from slowed import slowed
from terminals import ENVIRONMENT, PATIENCE
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes.resize2fs import TOOL, Bar
from pollprog.probes.resize2fs_probe import PASSES, Resize2fsProbe

RECORDING = Path(__file__).parent / "data" / "recordings" / "resize2fs_p_shrink.stdout"
PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
SHRINK = "resize2fs -p -M image"


def fractions(data: bytes, size: int) -> list[tuple[int, str]]:
    """What is said of this output, in pieces of so many bytes."""
    with child() as worker, target_for(worker.pid) as target:
        bar = Bar()
        target.claims = {1: bar}
        probe = Resize2fsProbe(target)
        told_of = []
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            assert bar.passing(piece) == piece
            if (sample := probe.sample()) is not None:
                told_of.append((sample.current, sample.phase))
        assert bar.end() == b""
        return told_of


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_recording_is_told_place_by_place_however_it_is_cut(size: int) -> None:
    told_of = fractions(RECORDING.read_bytes(), size)
    if size == 1000:
        assert told_of == []  # all of it in one piece: it is over
        return
    assert all(old[0] <= new[0] for old, new in pairwise(told_of))
    assert list(dict.fromkeys(phase for _, phase in told_of)) == ["Relocating blocks", "Scanning inode table"]
    if size == 1:
        assert told_of[-1] == (900_000, "Scanning inode table")
        assert len({current for current, _ in told_of}) > 60


@pytest.mark.parametrize(
    "data",
    [
        b"Bl\xf6cke werden verlegt  " + b"-" * 40 + b"\b" * 40 + b"XX",
        b"Relocating blocks  " + b"-" * 39 + b"\b" * 40 + b"XX",
        b"Something else  " + b"-" * 40 + b"\b" * 40 + b"XX",
        b"\xff\x00" * 4000,
    ],
)
def test_what_is_no_bar_is_not_told(data: bytes) -> None:
    assert fractions(data, 5) == []


def test_it_is_heard_only_if_it_prints_bars() -> None:
    command = Command(["resize2fs", "-M", "a"])
    assert TOOL.prepare(command) is command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`whole`: a file system of which the end is in use, and the beginning is not."""
    folder = tmp_path_factory.mktemp("resize2fs")
    (folder / "tree").mkdir()
    for number in range(8):
        (folder / "tree" / str(number)).write_bytes(os.urandom(3_000_000))
    script = (
        "truncate -s 32M whole; mke2fs -q -F -t ext4 -b 1024 -O ^has_journal -d tree whole && "
        "for i in 0 1 2 3 4 5; do debugfs -w -R 'rm '$i whole; done; e2fsck -fy whole; test -s whole"
    )
    environment = ENVIRONMENT | {"PATH": PATH}
    subprocess.run(["sh", "-c", script], cwd=folder, check=True, env=environment, capture_output=True, timeout=PATIENCE)
    return folder


@pytest.mark.tool("resize2fs", "mke2fs")
@pytest.mark.parametrize(("place", "terminal"), [*((place, False) for place in PLACES), ("", True), ("2>err", True)])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, *, terminal: bool, folder: Path) -> None:
    gets(SHRINK, place, folder, fresh="cp whole image", terminal=terminal)
    if not terminal:
        gets("resize2fs -p tree 3", place, folder)


@pytest.mark.tool("resize2fs", "mke2fs", "gcc")
@pytest.mark.parametrize("way", ["heard", "in a log", "attached"])
def test_progress_comes(way: str, folder: Path) -> None:
    shutil.copy(folder / "whole", folder / "image")
    under = slowed(folder, "resize2fs", "pread", 300_000, least=65_536)  # so are read the blocks that it moves
    if way == "attached":
        lines = told_of_a_running_one(f"env {under} {SHRINK} >log", folder, "resize2fs")
    else:
        lines = told(SHRINK + " >log" * (way == "in a log"), folder, "resize2fs", under=under)
    moving = [line["fraction"] for line in lines[:-1] if line["phase"] == "Relocating blocks"]
    assert len(set(moving)) >= 2
    assert {line["phase"] for line in lines[:-1]} <= set(PASSES)
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


def test_what_a_log_holds_of_an_earlier_run_is_not_told(tmp_path: Path) -> None:
    def bar(places: int) -> bytes:
        return b"Begin pass 2 (max = 9)\nRelocating blocks             " + b"-" * 40 + b"\b" * 40 + b"X" * places

    log = tmp_path / "log"
    log.write_bytes(bar(30))
    told_of = []
    with (
        log.open("ab", buffering=0) as output,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=output) as cat,
        target_for(cat.pid) as target,
    ):
        probe = Resize2fsProbe(target)
        for piece in (b"", b"\nResizing the filesystem\n", bar(0), b"XXXX", b"X" * 36 + b"\n"):
            output.write(piece)
            sample = probe.sample()
            told_of.append(sample and (sample.current, sample.phase))
        cat.kill()
    moving = [(50_000 + places * 17_500, "Relocating blocks") for places in (0, 4)]
    assert told_of[:4] == [None, None, *moving]
    assert told_of[4] is not None
