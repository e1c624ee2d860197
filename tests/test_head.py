"""``head -c``: its words, and the real program."""

from __future__ import annotations

import os
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import target_for, wait_until
from terminals import PATIENCE
from tool_runs import PLACES, gets

from pollprog.launch import Command
from pollprog.probes.head import TOOL, asked
from pollprog.probes.testing import Recording, play

if TYPE_CHECKING:
    from pollprog.status import Sample

MIB = 1 << 20
RECORDINGS = Path(__file__).parent / "data" / "recordings"


def test_a_recording_is_told_to_its_end() -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "head_c"))
    assert {(sample.total, sample.source, sample.bound) for sample in samples} == {(800 * MIB, "head", "exact")}
    assert all(old.current < new.current for old, new in pairwise(samples))
    assert len(samples) >= 10
    assert samples[-1].current > 700 * MIB


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("head -c 100 a", (100, "a")),
        ("head -c100", (100, "")),
        ("head -c 2K -", (2048, "")),
        ("head --bytes=3MB a", (3_000_000, "a")),
        ("head --bytes 3MiB -q -- -a", (3 * MIB, "-a")),
        ("/bin/busybox head -c 1m a", (MIB, "a")),
        ("head -c 1G a", (1 << 30, "a")),
        ("head -c 1kB", (1000, "")),
        ("head -c 2b", (1024, "")),
        ("head -c -100 a", None),
        ("head -c 1X a", None),
        ("head -c", None),
        ("head -c 1 a b", None),
        ("head -n 5 a", None),
        ("head -5 a", None),
        ("head -c 5 -v a", None),
        ("head a", None),
        ("head -c \u0663 a", None),
        ("head", None),
    ],
)
def test_its_words_say_how_many_bytes_of_which_input(words: str, told: tuple[int, str] | None) -> None:
    assert asked(words.split()) == told
    assert TOOL.recognise(Command(words.split())) is (told is not None)


def told_of(running: subprocess.Popen[bytes], sizes: list[int]) -> list[Sample]:
    """What is told of a head while so much at a time is read of what it writes."""
    assert running.stdout is not None
    told = []
    with target_for(running.pid) as target:
        wait_until(lambda: "head" in target.process.argv()[:1])
        probe = TOOL.probe(target)
        for size in sizes:
            for _ in range(size // MIB):
                assert len(running.stdout.read(MIB)) == MIB
            sample = probe.sample()
            if sample is not None:
                told.append(sample)
        probe.close()
    return told


@pytest.mark.tool("head")
@pytest.mark.parametrize(
    ("words", "total"),
    [
        (["-c", "8M", "big"], 8 * MIB),
        (["-c", "1T", "big"], 12 * MIB),
        (["-c", "1G", "/dev/zero"], 1 << 30),
        (["-c", "1T"], 12 * MIB),
    ],
)
def test_what_it_has_written_is_told_of_what_it_will(words: list[str], total: int, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(12 * MIB))
    with (
        open(tmp_path / "big", "rb") as big,
        subprocess.Popen(["head", *words], cwd=tmp_path, stdin=big, stdout=subprocess.PIPE) as running,
    ):
        told = told_of(running, [0, MIB, 2 * MIB, 2 * MIB])
        running.kill()
        running.communicate(timeout=PATIENCE)
    assert [sample.bound for sample in told] == ["exact"] * 4
    assert {sample.total for sample in told} == {total}
    assert all(old.current < new.current for old, new in pairwise(told))
    assert 5 * MIB <= told[-1].current < 7 * MIB


@pytest.mark.tool("head")
def test_of_an_input_that_was_read_before_only_the_rest_is_its_work(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(12 * MIB))
    with open(tmp_path / "big", "rb") as big:
        os.lseek(big.fileno(), 8 * MIB, os.SEEK_SET)
        with subprocess.Popen(["head", "-c", "1T"], stdin=big, stdout=subprocess.PIPE) as running:
            told = told_of(running, [MIB])
            running.kill()
            running.communicate(timeout=PATIENCE)
    (sample,) = told
    assert sample.total is not None
    assert abs(sample.total - 4 * MIB) < MIB


@pytest.mark.tool("head")
def test_of_a_pipe_it_is_an_estimate_once_something_comes() -> None:
    reader, writer = os.pipe()
    words = ["head", "-c", "1G"]
    with subprocess.Popen(words, stdin=reader, stdout=subprocess.PIPE) as running, target_for(running.pid) as target:
        os.close(reader)
        wait_until(lambda: target.process.argv() == words)
        probe = TOOL.probe(target)
        assert probe.sample() is None
        os.write(writer, bytes(20_000))
        wait_until(lambda: probe.sample() is not None)
        sample = probe.sample()
        assert sample is not None
        assert (sample.total, sample.bound) == (1 << 30, "estimate")
        os.close(writer)
        running.communicate(timeout=PATIENCE)


@pytest.mark.tool("head")
def test_what_it_prints_is_as_without_us(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(MIB))
    for place in PLACES[:3]:
        gets("head -c 100000 big", place, tmp_path)
