"""ddrescue: a recording and its maps, and the real one, wherever its output goes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from children import child, target_for
from slowed import slowed
from terminals import ENVIRONMENT, PATIENCE
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes import ddrescue as tool_module
from pollprog.probes.ddrescue import TOOL, parsed
from pollprog.probes.ddrescue_probe import DdrescueProbe, parse_map
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Sample, Unit

RECORDINGS = Path(__file__).parent / "data" / "recordings"
RUNNING = (RECORDINGS / "ddrescue.map.running").read_bytes()
FINISHED = (RECORDINGS / "ddrescue.map.finished").read_bytes()
DONE, WHOLE = 0x630000, 0x6000000


# --- what it prints


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_by_its_percentage_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "ddrescue"), size=size)
    assert list(dict.fromkeys(sample.current for sample in samples)) == [0, 313_100, 626_300, 939_400, 1_000_000]
    assert {(sample.total, sample.unit, sample.source) for sample in samples} == {(1_000_000, Unit.PARTS, "ddrescue")}


def test_what_ddrescue_never_prints_says_nothing() -> None:
    data = b"pct rescued:   31,31%, x\npct rescued:  131.00%, x\npct rescued:  31.31%\nrescued: 31%\n\xff\x00\r"
    assert play(TOOL, Recording(["ddrescue", "a", "b"], {1: data})) == []


def test_its_output_is_not_heard_if_there_is_a_map_or_nothing_to_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_module, "listening", lambda command, _: command.with_words(["heard"]))
    assert TOOL.prepare(Command(["ddrescue", "a", "b"])).argv == ("heard",)
    for words in (["a", "b", "map"], ["-F?", "a", "b"], ["--gen", "a", "b"], ["--help"], ["-c", "1", "a"]):
        command = Command(["ddrescue", *words])
        assert TOOL.prepare(command) is command


@pytest.mark.parametrize(
    ("words", "options", "operands"),
    [
        (["-d", "-r3", "a", "b", "map"], {"d", "r"}, ["a", "b", "map"]),
        (["-dr", "3", "a", "b", "-s", "4Ki", "map"], {"d", "r", "s"}, ["a", "b", "map"]),
        (["-c64Ki", "-P", "a", "-P5", "b", "map"], {"c", "P"}, ["a", "b", "map"]),
        (["--size=4", "a", "b", "--", "-map"], {"--size"}, ["a", "b", "-map"]),
        (["--mapfile", "1", "--force", "a", "b", "map"], {"--mapfile-interval"}, ["a", "b", "map"]),
        (["--gen", "a", "b", "map", "-"], {"--generate-mode"}, ["a", "b", "map", "-"]),
        (["--domain-m", "dom", "a", "b"], {"--domain-mapfile"}, ["a", "b"]),
        ([], set(), []),
    ],
)
def test_its_words_are_told_from_its_options_and_their_values(
    words: list[str], options: set[str], operands: list[str]
) -> None:
    assert parsed(["ddrescue", *words]) == (options, operands)


# --- its map


def test_a_map_says_how_much_is_rescued_and_what_it_is_at() -> None:
    assert parse_map(RUNNING) == Sample(DONE, WHOLE, phase="copying")
    assert parse_map(FINISHED) == Sample(WHOLE, WHOLE)
    head, rows = FINISHED.rpartition(b"0x00000000")[0], b""
    at = 0
    for mark in b"+?*/-+":
        rows += b"0x%08X  0x00001000  %c\n" % (at, mark)
        at += 0x1000
    for mark, phase in {b"?": "copying", b"*": "trimming", b"/": "scraping", b"-": "retrying"}.items():
        said = parse_map(head.replace(b"+               1", mark + b"               2") + rows)
        assert said == Sample(0x2000, 0x6000, phase=phase)
    old = head.replace(b"Mapfile.", b"Rescue Logfile.").replace(b"+               1", b"+")
    assert parse_map(old + rows) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Mapfile.", b"Kartendatei."),
        (b"0x00630000  0x059D0000", b"0x00640000  0x059D0000"),
        (b"0x059D0000", b"-0x59D0000"),
        (b"0x059D0000", b"0x05_9D000"),
        (b"0x059D0000  ?", b"0x059D0000  !"),
        (b"0x00620000     ?", b"0x00620000     F"),
        (b"0x00620000     ?               1\n", b""),
        (b"0x059D0000  ?\n", b"0x059D0000  ?"),
        (b"0x059D0000", b"0x" + b"F" * 17),
        (b"0x00000000", b"\xff\x00"),
    ],
)
def test_what_is_no_whole_map_says_nothing(old: bytes, new: bytes) -> None:
    assert old in RUNNING
    assert parse_map(RUNNING.replace(old, new, 1)) is None


def test_a_map_that_is_half_written_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "map"
    with child() as worker, target_for(worker.pid) as target:
        probe = DdrescueProbe(target, str(path), whole=True)
        path.write_bytes(RUNNING)
        whole = probe.sample()
        for end in range(len(RUNNING)):
            path.write_bytes(RUNNING[:end])
            half = parse_map(RUNNING[:end])
            assert half is None or (half.total or 0) < WHOLE
        said = probe.sample()
    assert whole is not None
    assert said is not None
    assert (said.current, said.total) == (whole.current, whole.total) == (DONE, WHOLE)


def test_between_two_maps_what_was_written_counts(tmp_path: Path) -> None:
    path = tmp_path / "map"
    path.write_bytes(RUNNING)
    with child() as worker, target_for(worker.pid) as target:
        probe = DdrescueProbe(target, str(path), whole=True)
        samples = [probe.sample()]
        worker.does(f"f = open({str(tmp_path / 'out')!r}, 'wb', buffering=0); f.write(bytes(1000000))")
        samples.append(probe.sample())
        path.write_bytes(RUNNING.replace(b"00630000", b"00730000").replace(b"059D0000", b"058D0000"))
        samples.append(probe.sample())
        worker.does("f.write(bytes(200000000))")
        samples.append(probe.sample())
        path.write_bytes(FINISHED)
        samples.append(probe.sample())
    done = [sample.current for sample in samples if sample is not None]
    assert len(done) == 5
    assert done[0] == DONE
    assert DONE + 1_000_000 <= done[1] < DONE + 1_010_000
    assert done[2] == 0x730000
    assert done[3] == done[4] == WHOLE
    assert {(sample.phase, sample.bound) for sample in samples if sample} == {("copying", Bound.ESTIMATE)}


@pytest.mark.parametrize(("option", "total"), [("-n", WHOLE), ("-s4", None), ("--domain-mapfile=x", None)])
def test_where_only_a_part_is_to_be_rescued_no_total_is_told(option: str, total: int | None, tmp_path: Path) -> None:
    (tmp_path / "map").write_bytes(RUNNING)
    samples = play(TOOL, Recording(["ddrescue", option, "a", "b", str(tmp_path / "map")], {1: b"x\n"}))
    assert {(sample.current, sample.total) for sample in samples} == {(DONE, total)}


# --- the real one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").write_bytes(os.urandom(400_000))
    return tmp_path


@pytest.mark.tool("ddrescue")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, folder: Path) -> None:
    for words in ("-q in out map", "-q in out", "--version", "none out map", "in"):
        gets(f"ddrescue {words}", place, folder, fresh="rm -f out map")
    assert (folder / "in").read_bytes()


@pytest.mark.tool("ddrescue")
@pytest.mark.parametrize("place", ["", "2>err"])
def test_in_a_terminal_it_prints_what_it_prints_without_us(place: str, folder: Path) -> None:
    chance = re.compile(rb" +[0-9]+ [kM]?B/s|time: +[0-9n/as]+")
    gets("ddrescue in out", place, folder, fresh="rm -f out map", terminal=True, blurred=chance)


@pytest.mark.tool("ddrescue")
def test_what_it_prints_of_its_work_passes_whole(folder: Path) -> None:
    results = []
    for before in ("", "pollprog run --progress none --"):
        script = f"cd {shlex.quote(str(folder))}; rm -f out; {before} ddrescue in out | cat"
        done = subprocess.run(["sh", "-c", script], check=True, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE)
        results.append(re.sub(rb"[0-9]+ [kM]?B/s|time: +[0-9n/as]+", b"", done.stdout))
    assert results[0] == results[1]
    assert b"Finished" in results[0]


@pytest.mark.tool("ddrescue")
def test_its_map_is_the_same_but_for_the_time(folder: Path) -> None:
    maps = []
    for before in ("", "pollprog run --progress none --"):
        script = f"cd {shlex.quote(str(folder))}; rm -f out map; {before} ddrescue -q in out map"
        subprocess.run(["sh", "-c", script], check=True, env=ENVIRONMENT, timeout=PATIENCE)
        assert (folder / "out").read_bytes() == (folder / "in").read_bytes()
        maps.append(re.sub(rb"time: .*", b"", (folder / "map").read_bytes()))
    assert maps[0] == maps[1]


@pytest.mark.tool("ddrescue", "gcc")
@pytest.mark.parametrize("words", ["in out map", "in out"])
def test_progress_comes_with_a_map_and_without(words: str, folder: Path) -> None:
    slowly = slowed(folder, "ddrescue", "lseek", 50_000)
    lines = told(f"ddrescue -c 32 {words}", folder, "ddrescue", terminal=words == "in out", under=slowly)
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines))
    assert {line["total"] for line in lines[:-1]} == {400_000 if "map" in words else 1_000_000}


@pytest.mark.tool("ddrescue", "gcc")
@pytest.mark.parametrize("words", ["in out map", "in out >log"])
def test_one_that_runs_already_is_told_by_its_map_or_its_log(words: str, folder: Path) -> None:
    slowly = slowed(folder, "ddrescue", "lseek", 60_000)
    lines = told_of_a_running_one(f"{slowly} ddrescue -c 32 {words}", folder, "ddrescue")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines))
    assert {line["total"] for line in lines[:-1]} == {400_000 if "map" in words else 1_000_000}


@pytest.mark.tool("ddrescue")
def test_bad_sectors_have_phases_and_are_never_done(folder: Path) -> None:
    bad = "# Mapfile.\n0 ? 1\n0 0x20000 +\n0x20000 0x4000 -\n0x24000 0x3DA80 +\n"
    (folder / "test").write_text(bad)
    lines = told(
        "ddrescue --mapfile-interval=1 --pause-on-pass=1 --cpass=5 -b 4096 -H test in out map", folder, "ddrescue"
    )
    assert {line["phase"] for line in lines} & {"trimming", "scraping"}
    assert max(line["current"] for line in lines[:-1]) <= 400_000 - 0x4000 + 10_000
