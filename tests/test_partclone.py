"""partclone: a recording played to its probe, and the real one, wherever its output goes."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes.partclone import BLOCKS, MAP, TOOL
from pollprog.probes.testing import Recording, play

RECORDINGS = Path(__file__).parent / "data" / "recordings"
DD = "partclone.dd -f 1 -L log.txt -s source"


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_phase_by_phase_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "partclone_ext4"), size=size)
    told_of = dict.fromkeys((sample.phase, sample.current) for sample in samples)
    assert (MAP, 30_000) in told_of
    assert list(told_of)[-1] == (BLOCKS, 1_000_000)
    assert not any(30_000 < current < 1_000_000 for _, current in told_of)  # its first 1 %, which is none


@pytest.mark.parametrize(
    "data",
    [
        b"Elapsed: 00:00:01, Remaining: 00:01:39, Completed:   1.00%,   0.00byte/min,\n",
        b"Elapsed: 00:00:01, Remaining: 00:01:39, Completed: 101.00%, Rate: 1GB/min,\n",
        b"Verstrichen: 00:00:01, Verbleibend: 00:01:39, Fertig: 10.00%\n",
        b"Elapsed: 00:00:01, Remaining: 00:01:39, Completed:\n\xff\x00 10.00%\n",
    ],
)
def test_what_is_no_percentage_is_not_told(data: bytes) -> None:
    assert play(TOOL, Recording(["partclone.xfs"], {2: data})) == []


@pytest.mark.parametrize("option", ["-N", "-qc", "--ncurses", "--quiet"])
def test_one_that_draws_or_is_quiet_is_not_heard(option: str) -> None:
    command = Command(["partclone.ext4", option, "-s", "a"])
    assert TOOL.prepare(command) is command


# --- the real one


@pytest.mark.tool("partclone.dd")
@pytest.mark.parametrize(("place", "terminal"), [*((place, False) for place in PLACES), ("", True)])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, *, terminal: bool, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(os.urandom(1 << 17))
    times = re.compile(rb"(?:\x1b\[A|\r *|\n|Elapsed[^\r\n]*|current block[^\r\n]*|Total Time[^\r\n]*)+")
    gets(f"{DD} -o copy", place, tmp_path, fresh="rm -f copy", terminal=terminal, blurred=times)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "source").read_bytes()


@pytest.mark.tool("partclone.dd", "pv")
def test_progress_comes_and_its_image_is_whole(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(os.urandom(32 << 20))
    lines = told(f"{DD} -o - > >(pv -qL 8m > copy)", tmp_path, "partclone")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


@pytest.mark.tool("partclone.dd", "pv")
def test_one_that_is_attached_to_is_told_by_its_log(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(os.urandom(32 << 20))
    lines = told_of_a_running_one(f"{DD} -o - 2>err > >(pv -qL 8m > copy)", tmp_path, "partclone")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
