"""7z: recordings of its percentage, what `ProgressFilter` leaves, and the real one, wherever its output goes."""

from __future__ import annotations

import os
import random
import re
from itertools import pairwise
from pathlib import Path

import pytest
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes import sevenzip as tool_module
from pollprog.probes.sevenzip import TOOL, ProgressFilter
from pollprog.probes.testing import Recording, play
from pollprog.status import Unit
from pollprog.surroundings import Surroundings, within

RECORDINGS = Path(__file__).parent / "data" / "recordings"
PROGRESS = re.compile(rb"( {0,2}[0-9]+[%M][^\x08\n]*\x08+ +\x08+)+")
"""How often 7z prints its percentage in a terminal is chance."""
SLOWLY = ">(while [ $(head -c 100000 | wc -c) -gt 0 ]; do sleep 0.015; done)"
"""Somebody who takes what it writes a bit at a time."""
BACK = b"\x08" * 8
WARNING = b"\nWARNING: errno=2 : No such file or directory\nnothere\n\n"


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(
    ("name", "last"), [("7z_bsp1", 980_000), ("7z_bsp2_file", 970_000), ("7z_pty", 970_000), ("7z_x", 920_000)]
)
def test_a_recording_is_told_however_it_is_cut(name: str, last: int, size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / name), size=size)
    done = list(dict.fromkeys(sample.current for sample in samples))
    assert done[-1] == last
    assert done == sorted(done)
    assert {(sample.total, sample.unit) for sample in samples} == {(1_000_000, Unit.PARTS)}


def test_what_7z_never_prints_is_not_believed() -> None:
    data = b"12 %\b\b 101% + a\b\b\n12,5% + a\b-12%\b x 12%\b\xff\x00%\n 12%+ a\b1000% 5\n  0M Scan \b\b 4M 12% Scan\b"
    assert play(TOOL, Recording(["7z", "a", "x.7z", "a"], {1: data, 2: data})) == []


def test_where_its_output_is_data_that_is_not_read() -> None:
    output = {1: b" 12% of all\n", 2: b""}
    assert play(TOOL, Recording(["7z", "x", "-SO", "a.7z"], output)) == []
    assert len(play(TOOL, Recording(["7z", "x", "-so", "a.7z"], {1: output[1], 2: b" 13% 1 + b\b"}))) > 0


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize(
    ("printed", "passes"),
    [
        ((RECORDINGS / "7z_bsp2_file.stderr").read_bytes(), b""),
        (b"  0M Scan " + BACK + 8 * b" " + BACK + WARNING + b" 12% 1 + a", WARNING),
        (b" 12% 1 +" + BACK + 8 * b" " + BACK + b"ERROR: CRC Failed : a\n 13% a", b"ERROR: CRC Failed : a\n"),
        (
            b"1234M 1 Scan" + BACK + 8 * b" " + BACK + b"  0%\b\b\b\b    \b\b\b\b\n\nBreak signaled\n",
            b"\n\nBreak signaled\n",
        ),
        (b" 12% + a\b\b\b\b" + BACK + 8 * b" " + BACK + b"bad\xff\n", b"bad\xff\n"),
        (b" 12 of 20\n%12%\n  ", b" 12 of 20\n%12%\n  "),
        (b"ERROR: 12% of it\b\b\b\b    \b\b\b\b\n 12", b"ERROR: 12% of it\b\b\b\b    \b\b\b\b\n 12"),
        (b" 12% is no progress\nand 13%\n", b" 12% is no progress\nand 13%\n"),
        (b" 12%" + 5000 * b"x", b" 12%" + 5000 * b"x"),
    ],
)
def test_what_is_no_progress_passes_to_the_byte_however_it_is_cut(printed: bytes, passes: bytes, size: int) -> None:
    through = ProgressFilter()
    pieces = [through.passing(printed[start : start + size]) for start in range(0, len(printed), size)]
    pieces.append(through.passing(b""))
    assert b"".join([*pieces, through.end()]) == passes


def test_what_begins_no_progress_passes_at_once() -> None:
    through = ProgressFilter()
    assert through.passing(b"Enter password: ") == b"Enter password: "
    assert through.passing(b" 12%") == b" 12%"


class Place(Surroundings):
    """Where standard output is a terminal, and standard error, or one is none."""

    def __init__(self, *terminals: int) -> None:
        self._terminals = terminals

    def is_terminal(self, stream: int) -> bool:
        return stream in self._terminals

    def claimable(self, stream: int) -> bool:
        return True

    def together(self, stream: int) -> tuple[int, ...]:
        return self._terminals if stream in self._terminals else (stream,)


@pytest.mark.parametrize(
    ("words", "place", "heard"),
    [
        (["a", "x.7z", "a"], Place(), ["-bsp2", 2]),
        (["-y", "X", "x.7z"], Place(2), ["-bsp2", 2]),
        (["a", "x.7z", "a"], Place(1), [1]),
        (["a", "x.7z", "a"], Place(1, 2), [1]),
        (["a", "-BSP1", "x.7z", "a"], Place(), [1]),
        (["a", "-bsp2", "x.7z", "a"], Place(1), [2]),
        (["a", "-bso2", "x.7z", "a"], Place(), []),
        (["a", "-bsp0", "x.7z", "a"], Place(1), []),
        (["a", "-bsp2", "-bse1", "x.7z", "a"], Place(), []),
        (["a", "-bd", "x.7z", "a"], Place(), []),
        (["a", "x.7z", "--", "-bd"], Place(), ["-bsp2", 2]),
        (["x", "-so", "x.7z"], Place(1, 2), []),
        (["x", "-so", "x.7z"], Place(), ["-bsp2", 2]),
        (["l", "x.7z"], Place(), []),
        (["b"], Place(1), []),
        ([], Place(), []),
    ],
)
def test_it_is_heard_where_it_prints_or_can_be_told_to(
    words: list[str], place: Surroundings, heard: list[str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_module, "knows", lambda _: True)
    command = within(place, lambda: TOOL.prepare(Command(["7z", *words])))
    assert [*(command.argv[1:2] if command.argv != ("7z", *words) else ()), *command.claims] == heard
    assert [word for word in command.argv[1:] if word != "-bsp2"] == [word for word in words if word != "-bsp2"]


@pytest.mark.parametrize("text", ["#!/bin/sh\necho $*\n", '#! /bin/sh\nexec /nowhere/7z "$@"\n', "\x7fELF -bs", ""])
def test_what_may_not_know_it_is_not_given_it(text: str, tmp_path: Path) -> None:
    program = tmp_path / "7z"
    program.write_text(text)
    program.chmod(0o755)
    command = Command([str(program), "a", "x.7z", "a"])
    assert within(Place(), lambda: TOOL.prepare(command)) is command


# --- the real one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files with names of any kind in `few`; `large`, which nothing makes smaller; and `letters`, which take their time."""
    folder = tmp_path_factory.mktemp("7z")
    (folder / "few").mkdir()
    for name in (b" 12% + a", b"\xc3\xbc\xff" * 20, b"c\n\bd"):
        Path(os.fsdecode(os.path.join(bytes(folder / "few"), name))).write_bytes(os.urandom(50_000))
    (folder / "large").write_bytes(os.urandom(10_000_000))
    (folder / "letters").write_bytes(bytes(random.Random(1).choices(b"ab", k=2_400_000)))
    return folder


@pytest.mark.tool("7z")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, folder: Path) -> None:
    gets("7z a -mx0 x.7z few nothere", place, folder, fresh="rm -f x.7z")
    gets("7z x -y -ocopy x.7z", place, folder, fresh="printf x | dd of=x.7z bs=1 seek=70000 conv=notrunc")
    assert sorted(path.name for path in (folder / "copy" / "few").iterdir()) == [
        path.name for path in sorted((folder / "few").iterdir())
    ]


@pytest.mark.tool("7z")
def test_in_a_terminal_it_prints_what_it_prints_without_us(folder: Path) -> None:
    said = gets("7z a -mx0 x.7z few", "", folder, fresh="rm -f x.7z", blurred=PROGRESS, terminal=True)
    assert b"#" in said[0]
    gets("7z a -mx0 x.7z few nothere", "> out", folder, fresh="rm -f x.7z", terminal=True)


@pytest.mark.tool("7z")
@pytest.mark.parametrize("terminal", [True, False])
def test_its_percentage_is_told(folder: Path, *, terminal: bool) -> None:
    lines = told(f"7z a -an -tgzip -so -mx1 large > {SLOWLY}", folder, "7z", terminal=terminal)
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


@pytest.mark.tool("7z")
def test_in_a_terminal_it_is_told_by_what_7z_prints_there(folder: Path) -> None:
    (folder / "x.7z").unlink(missing_ok=True)
    lines = told("7z a -mx9 -mmt1 x.7z letters", folder, "7z", terminal=True)
    assert len({line["fraction"] for line in lines[:-1]}) >= 2


@pytest.mark.tool("7z")
def test_one_that_runs_already_is_told_by_the_file_into_which_it_prints(folder: Path) -> None:
    lines = told_of_a_running_one(f"7z a -an -tgzip -so -mx1 -bsp2 large 2>log > {SLOWLY}", folder, "7z")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
