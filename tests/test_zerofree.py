"""zerofree: the superblock that it is measured by, and the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from struct import pack_into

import pytest
from children import child, target_for
from slowed import slowed
from terminals import PATIENCE
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes.testing import Recording, play
from pollprog.probes.zerofree import TOOL
from pollprog.probes.zerofree_probe import ZerofreeProbe, free_bytes

RECORDINGS = Path(__file__).parent / "data" / "recordings"


def test_a_recording_is_told_to_its_end() -> None:
    head = bytearray(2048)
    pack_into("<I8xI", head, 1024 + 0x0C, 515284, 2)  # so many blocks are free, of 4 KiB
    pack_into("<H", head, 1024 + 0x38, 0xEF53)
    recording = replace(Recording.load(RECORDINGS / "zerofree"), contents={"/data/image": bytes(head)})
    samples = play(TOOL, recording)
    total = 515284 * 4096
    assert {(sample.total, sample.source, sample.bound) for sample in samples} == {(total, "zerofree", "estimate")}
    assert all(old.current < new.current for old, new in pairwise(samples))
    assert len(samples) >= 20
    assert samples[-1].current > total * 0.9


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file system whose free blocks are not zeroed; nobody writes to it."""
    path = tmp_path_factory.mktemp("zerofree") / "whole"
    path.write_bytes(os.urandom(16 << 20))
    make = ["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "64bit", "-E", "nodiscard", str(path)]
    subprocess.run(make, check=True, timeout=PATIENCE)
    return path


@pytest.fixture
def image(whole: Path) -> Path:
    """The same, for one test."""
    return Path(shutil.copy(whole, whole.with_name("image")))


@pytest.mark.tool("mke2fs")
def test_the_superblock_tells_how_much_is_free(image: Path) -> None:
    said = subprocess.run(["/usr/sbin/dumpe2fs", "-h", image], capture_output=True, text=True, timeout=PATIENCE).stdout
    free = next(int(line.split()[-1]) for line in said.splitlines() if line.startswith("Free blocks:"))
    with image.open("rb") as file:
        file.seek(1024)
        superblock = file.read(1024)
    assert free_bytes(superblock, 16 << 20) == free * 1024
    assert free_bytes(superblock, free * 1024 - 1) is None
    assert free_bytes(superblock[:-1], 16 << 20) is None
    assert free_bytes(superblock.replace(b"\x53\xef", b"\x53\xee"), 16 << 20) is None
    assert free_bytes(superblock[:24] + b"\xff\xff\xff\xff" + superblock[28:], 16 << 20) is None


def test_of_what_is_no_file_system_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(os.urandom(4096))
    with child() as worker, target_for(worker.pid) as target:
        worker.does(f"f = open({str(tmp_path / 'image')!r}, 'rb', buffering=0); f.read()")
        probe = ZerofreeProbe(target)
        assert probe.sample() is None
        probe.close()


def test_nothing_is_added_to_it() -> None:
    command = Command(["zerofree", "-v", "a"])
    assert TOOL.recognise(command)
    assert TOOL.prepare(command) is command


# --- the real one


@pytest.mark.tool("zerofree", "mke2fs")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, image: Path) -> None:
    gets("zerofree -v image", place, image.parent, fresh="cp whole image")


@pytest.mark.tool("zerofree", "mke2fs", "gcc")
@pytest.mark.parametrize("words", ["zerofree image", "zerofree -vn image 2>err"])
def test_progress_comes(words: str, image: Path) -> None:
    lines = told(words, image.parent, "zerofree", under=slowed(image.parent, "zerofree", "pread", 50))
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines[:-1]))


@pytest.mark.tool("zerofree", "mke2fs", "gcc")
def test_one_that_is_attached_to_is_told(image: Path) -> None:
    lines = told_of_a_running_one(
        f"{slowed(image.parent, 'zerofree', 'pread', 50)} zerofree image", image.parent, "zerofree"
    )
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
