"""badblocks: where it stands, in the passes that its words ask for; and the real one."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from children import child, target_for
from slowed import slowed
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes.badblocks import TOOL
from pollprog.probes.badblocks_probe import BadblocksProbe, Plan, plan_of
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound

RECORDINGS = Path(__file__).parent / "data" / "recordings"


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(
    ("name", "total"), [("badblocks_s", 192 << 20), ("badblocks_s_pty", 192 << 20), ("badblocks_ws", 8 * (192 << 20))]
)
def test_a_recording_is_told_however_it_is_cut(name: str, total: int, size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / name), size=size)
    assert {(sample.total, sample.source) for sample in samples} == {(total, "badblocks")}
    assert len({sample.current for sample in samples}) >= 3
    assert all(old.current <= new.current for old, new in pairwise(samples))
    assert samples[0].current < total / 10
    assert samples[-1].current > total * 0.7  # of eight passes one may be over between two looks


@pytest.mark.parametrize(
    ("words", "plan"),
    [
        ("-sv a", Plan("a", 0, None, 1)),
        ("-b 4096 a 9 2", Plan("a", 2 * 4096, 10 * 4096, 1)),
        ("a -ws 9", Plan("a", 0, 10 * 1024, 8)),
        ("-wt 0xaa -t random a", Plan("a", 0, None, 4)),
        ("-n -t 1 -t 2 -t 3 a", Plan("a", 0, None, 3)),
        ("-p 2 -w a", Plan("a", 0, None, None)),
        ("", None),
        ("a b", None),
        ("a 1 2 3", None),
        ("-b 0 a", None),
        ("-Q a", None),
        ("a 9 -- -1", None),
    ],
)
def test_its_words_say_what_is_passed_and_how_often(words: str, plan: Plan | None) -> None:
    assert plan_of(["badblocks", *words.split()]) == plan


def look_at(folder: Path, words: list[str], places: list[int], *, launched: bool) -> list[tuple[object, ...]]:
    """What is said of a badblocks that stands in these places of a file of 1000 KiB, one after the other."""
    device = folder / "device"
    device.write_bytes(bytes(1_024_000))
    with child(*words, str(device)) as worker, target_for(worker.pid) as target:
        target.launched = launched
        probe = BadblocksProbe(target)
        probe._plan = plan_of(["badblocks", *words, str(device)])
        worker.does(f"f = open({str(device)!r}, 'r+b', buffering=0)")
        told_of = []
        for place in places:
            worker.does(f"f.seek({place * 1024})")
            sample = probe.sample()
            told_of.append(sample and (sample.current >> 10, (sample.total or 0) >> 10, sample.phase, sample.bound))
        probe.close()
        return told_of


def test_with_w_each_pass_counts(tmp_path: Path) -> None:
    told_of = look_at(tmp_path, ["-w", "-t", "0"], [0, 600, 500, 900, 0, 400], launched=True)
    assert [(one[0], one[1]) for one in told_of] == [
        (0, 2000),
        (600, 2000),
        (600, 2000),
        (900, 2000),
        (1000, 2000),
        (1400, 2000),
    ]
    assert {one[3] for one in told_of} == {Bound.LOWER}


def test_more_passes_than_there_can_be_are_not_told(tmp_path: Path) -> None:
    assert look_at(tmp_path, [], [900, 0, 900], launched=True)[1:] == [(1000, 1000, "", Bound.EXACT), None]


@pytest.mark.parametrize("words", [["-w"], ["-p", "3"]])
def test_where_nobody_knows_how_many_passes_there_are_each_is_a_phase(words: list[str], tmp_path: Path) -> None:
    told_of = look_at(tmp_path, words, [900, 10], launched=False)
    assert [one[:3] for one in told_of] == [(900, 1000, "pass 1 seen"), (10, 1000, "pass 2 seen")]


def test_nothing_is_added_to_it() -> None:
    command = Command(["badblocks", "-s", "a"])
    assert TOOL.recognise(command)
    assert TOOL.prepare(command) is command


# --- the real one


@pytest.mark.tool("badblocks")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, tmp_path: Path) -> None:
    (tmp_path / "device").write_bytes(os.urandom(1 << 20))
    gets("badblocks -v device", place, tmp_path)
    gets("badblocks -w device", place, tmp_path)


@pytest.mark.tool("badblocks", "gcc")
@pytest.mark.parametrize(
    ("words", "passes"), [("-c 8 device 30000 10000", 1), ("-wc 16 device", 8), ("-nc 32 device", 1)]
)
def test_progress_comes(words: str, passes: int, tmp_path: Path) -> None:
    size = 32 << 20 if passes == 1 else 10 << 20
    (tmp_path / "device").write_bytes(os.urandom(size))
    lines = told(f"badblocks {words}", tmp_path, "badblocks", under=slowed(tmp_path, "badblocks", "lseek", 300))
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines[:-1]} == {20001 * 1024 if "10000" in words else size * passes}
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines[:-1]))


@pytest.mark.tool("badblocks", "gcc")
def test_one_that_is_attached_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "device").write_bytes(os.urandom(32 << 20))
    lines = told_of_a_running_one(
        f"{slowed(tmp_path, 'badblocks', 'lseek', 300)} badblocks -c 8 device", tmp_path, "badblocks"
    )
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
