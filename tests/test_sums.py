"""Checksums that are checked: the lists read, and the real programs."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from terminals import PATIENCE
from test_known import looked_at
from tool_runs import PLACES, gets

from pollprog.launch import Command
from pollprog.probes import chooser
from pollprog.probes.sums import TOOL
from pollprog.probes.sums_probe import names_in, size_of
from pollprog.probes.testing import Recording, play

MIB = 1 << 20
RECORDINGS = Path(__file__).parent / "data" / "recordings"


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_however_it_is_cut(size: int | None) -> None:
    listed = b"".join(b"%0128x  %b\n" % (0, name) for name in (b"one", b"two", b"one", b"two"))
    recording = replace(Recording.load(RECORDINGS / "sha512sum_c"), contents={"/data/list": listed})
    samples = play(TOOL, recording, size=size)
    assert {(sample.total, sample.source) for sample in samples} == {(1000 * MIB, "sums")}
    assert all(old.current < new.current for old, new in pairwise(samples))
    assert len(samples) >= 3
    assert samples[-1].current > 900 * MIB


def test_only_one_that_checks_is_known() -> None:
    for words in (
        ["sha256sum", "-c", "a"],
        ["md5sum", "--check", "a"],
        ["b2sum", "-wc", "a"],
        ["cksum", "--check", "a"],
    ):
        assert TOOL.recognise(Command(words)), words
        assert TOOL.prepare(Command(words)).argv == tuple(words)
    for words in (["sha256sum", "a"], ["md5sum", "--", "-c"], ["sum", "-c"]):
        assert not TOOL.recognise(Command(words)), words


def test_names_are_read_in_both_forms_and_nothing_else_is() -> None:
    told = b"d41d8cd98f00b204e9800998ecf8427e  a b\n" + b"0" * 64 + b" *c\nSHA256 (d (1)) = " + b"f" * 64 + b"\n"
    assert list(names_in(told)) == [b"a b", b"c", b"d (1)"]
    assert list(names_in(b"\n# what\nxyz  a\n\xff\x00  b\n12  c\n")) == []


def test_what_has_no_size_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    assert size_of(str(tmp_path / "a")) == 3
    for path in (str(tmp_path), str(tmp_path / "b"), "a\0b", "/dev/zero"):
        assert size_of(path) == 0, path


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Some files, and lists of their sums; what is read first is small."""
    for number in range(6):
        (tmp_path / f"file {number}").write_bytes(os.urandom(MIB) * (4 + number))
    for program in ("sha256sum", "md5sum --tag", "b2sum"):
        script = f"{program} file* > {program.split()[0]}.list"
        subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True, timeout=PATIENCE)
    return tmp_path


@pytest.mark.tool("sha256sum", "md5sum", "b2sum")
@pytest.mark.parametrize(
    "command", ["sha256sum -c sha256sum.list", "md5sum --check md5sum.list", "b2sum -c b2sum.list"]
)
def test_a_check_is_told_as_one(command: str, listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chooser, "LOOK_AGAIN", 0.0)  # it was a shell a moment ago
    samples = [sample for sample in looked_at(command, listed) if sample.source == "sums" and sample.total]
    assert len({sample.current for sample in samples}) >= 3
    assert {sample.total for sample in samples} == {39 * MIB}
    assert all(old.current <= new.current for old, new in pairwise(samples))
    assert samples[-1].current > 20 * MIB


@pytest.mark.tool("sha256sum")
def test_what_it_prints_is_as_without_us(listed: Path) -> None:
    (listed / "file 3").write_bytes(b"changed")
    for place in PLACES[:3]:
        assert b"file 3: FAILED" in b"".join(gets("sha256sum -c sha256sum.list", place, listed))
