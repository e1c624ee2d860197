"""cryptsetup: recordings of its progress, what `JsonFilter` leaves, and the real one on a file, wherever its output goes."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from terminals import ENVIRONMENT, PATIENCE
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes import cryptsetup as tool_module
from pollprog.probes.cryptsetup import TOOL, JsonFilter
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Unit
from pollprog.surroundings import Surroundings, within

RECORDINGS = Path(__file__).parent / "data" / "recordings"
PATH = f"{ENVIRONMENT['PATH']}:/usr/sbin:/sbin"
CHEAP = "--key-file key --pbkdf pbkdf2 --pbkdf-force-iterations 1000"
REENCRYPT = f"cryptsetup reencrypt --force-offline-reencrypt {CHEAP}"
ZONES = ("32K", "16K", "8K", "4K")
"""The smaller they are, the longer it takes: on a fast disk the first ones may be done within the second before it says anything."""
SPEED = re.compile(rb"(\x1b\[2K\rProgress: [^\r]*)+|time 00m0[0-9]s|speed +[0-9.]+ [KMG]?i?B/s")
"""What it prints is another each time."""
LINE = b'{"device":"a","device_bytes":"1","device_size":"2","speed":"3","eta_ms":"4","time_ms":"5"}\n'


@pytest.mark.parametrize("size", [None, 1, 7])
def test_its_text_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "cryptsetup_reencrypt_text"), size=size)
    done = list(dict.fromkeys(sample.current for sample in samples))
    assert done[-1] == 690_000
    assert {(one.total, one.unit, one.bound) for one in samples} == {(1_000_000, Unit.PARTS, Bound.LOWER)}


@pytest.mark.parametrize("size", [None, 1, 7])
def test_its_lines_of_json_are_told_to_the_byte(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "cryptsetup_reencrypt_json"), size=size)
    assert {(one.current, one.total, one.unit) for one in samples} == {(402653184, 402653184, Unit.BYTES)}


@pytest.mark.parametrize(
    ("line", "done", "total"),
    [
        (b"\x1b[2K\rProgress:  19.6%, ETA 00m18s,   20 MiB written, speed   4.5 MiB/s", 196_000, 1_000_000),
        (
            b'{"device":"/tmp/img","device_bytes":"10485760","device_size":"107184128","speed":"9250968","eta_ms":"10452","time_ms":"1133"}',
            10485760,
            107184128,
        ),
    ],
)
def test_what_luksformat_prints_with_integrity_is_told(line: bytes, done: int, total: int) -> None:
    words = ["cryptsetup", "luksFormat", "--integrity", "hmac-sha256", "a"]
    samples = play(TOOL, Recording(words, {1: b"Wiping device to initialize integrity checksum.\n" + line + b"\n"}))
    assert {(one.current, one.total) for one in samples} == {(done, total)}


def test_what_it_never_prints_is_not_believed() -> None:
    data = (
        b"Fortschritt:  69,0%, ETA 00m02s\nProgress: 101.0%, ETA x\nProgress:  69.0%\nProgress:  69%, ETA 1\n"
        b'{"device":"a","device_bytes":5,"device_size":9,"x\n{"device":"a","device_bytes":"5","device_size":"4","x\n'
        b'{"device":"a","device_bytes":"","device_size":"9","x\n{"device_bytes":"5","device_size":"9"}\n\xff\x00\n'
    )
    assert play(TOOL, Recording(["cryptsetup", "reencrypt", "a"], {1: data})) == []


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize(
    ("printed", "passes"),
    [
        (LINE + LINE, b""),
        (b"Yes?\n" + LINE + b"{}\n" + LINE + b"no", b"Yes?\n{}\nno"),
        (b"Yes? " + LINE, b"Yes? " + LINE),
        (LINE[:-1], LINE[:-1]),
        (LINE.replace(b"4", b"x"), LINE.replace(b"4", b"x")),
        (b"{" + LINE, b"{" + LINE),
        (LINE[:11] + 9000 * b"a", LINE[:11] + 9000 * b"a"),
    ],
)
def test_only_its_lines_are_left_out_however_they_are_cut(printed: bytes, passes: bytes, size: int) -> None:
    through = JsonFilter()
    pieces = [through.passing(printed[start : start + size]) for start in range(0, len(printed), size)]
    assert b"".join([*pieces, through.passing(b""), through.end()]) == passes


def test_a_question_passes_at_once() -> None:
    assert JsonFilter().passing(b"Are you sure? ") == b"Are you sure? "


class Pipes(Surroundings):
    """Where both streams are pipes."""

    def is_terminal(self, stream: int) -> bool:
        return False

    def claimable(self, stream: int) -> bool:
        return True

    def together(self, stream: int) -> tuple[int, ...]:
        return (stream,)


@pytest.mark.parametrize(
    ("words", "knows", "heard", "added"),
    [
        ("reencrypt a", True, True, False),
        ("-q reencrypt a", True, True, True),
        ("reencrypt --batch a", True, True, True),
        ("luksFormat --integrity hmac-sha256 -q a", True, True, True),
        ("-q reencrypt a", False, False, False),
        ("-q reencrypt --progress-json a", True, True, False),
        ("-q reencrypt --progress-frequency 5 a", True, False, False),
        ("open a b", True, False, False),
        ("-q close b", True, False, False),
    ],
)
def test_it_is_heard_where_it_prints_or_can_be_told_to(
    words: str, monkeypatch: pytest.MonkeyPatch, *, knows: bool, heard: bool, added: bool
) -> None:
    monkeypatch.setattr(tool_module, "holds", lambda *_: knows)
    command = within(Pipes(), lambda: TOOL.prepare(Command(["cryptsetup", *words.split()])))
    assert list(command.claims) == [1] * heard
    assert command.argv[1:] == (*(("--progress-json", "--progress-frequency=1") if added else ()), *words.split())


# --- the real one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images with LUKS, of one MiB and of twelve."""
    folder = tmp_path_factory.mktemp("cryptsetup")
    (folder / "key").write_bytes(os.urandom(32))
    for name, size in (("small", 17 << 20), ("large", 28 << 20)):
        with (folder / name).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        words = ["cryptsetup", "-q", "luksFormat", *CHEAP.split(), name]
        subprocess.run(words, cwd=folder, check=True, env={"PATH": PATH}, timeout=PATIENCE)
    return folder


@pytest.mark.tool("cryptsetup")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_how_it_ends_is_as_without_us(
    place: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PATH", PATH)
    gets(f"{REENCRYPT} -q small", place, folder)
    if place == "2>err":
        gets("cryptsetup -q reencrypt nothing", place, folder)


@pytest.mark.tool("cryptsetup")
def test_in_a_terminal_it_prints_what_it_prints_without_us(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PATH", PATH)
    said = gets(f"{REENCRYPT} small", "", folder, blurred=SPEED, terminal=True)
    assert b"Finished" in said[0]
    gets(f"{REENCRYPT} -q small", "", folder, terminal=True)


@pytest.mark.tool("cryptsetup")
def test_what_it_says_for_us_alone_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PATH", PATH)
    for zone in ZONES:
        lines = told(f"{REENCRYPT} -q --hotzone-size {zone} large", folder, "cryptsetup")
        if len({line["fraction"] for line in lines[:-1]}) >= 2:
            break
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines} == {12 << 20}
    assert {line["bound"] for line in lines[:-1]} == {"lower"}
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines))


@pytest.mark.tool("cryptsetup")
def test_one_that_runs_already_is_told_by_the_file_into_which_it_prints(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PATH", PATH)
    for zone in ZONES:
        lines = told_of_a_running_one(f"{REENCRYPT} --hotzone-size {zone} large > log", folder, "cryptsetup")
        if len({line["fraction"] for line in lines[:-1]}) >= 2:
            break
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
