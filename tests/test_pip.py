"""pip: a recording of its bar, and the real one, wherever its output goes."""

from __future__ import annotations

import io
import os
import re
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import child, target_for
from tool_runs import gets, told, told_of_a_running_one
from web import web

from pollprog.launch import Command
from pollprog.probes import pip as tool_module
from pollprog.probes.pip import TOOL
from pollprog.probes.pip_probe import PipProbe
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDINGS = Path(__file__).parent / "data" / "recordings"
WHEEL = "paced-1.0-py3-none-any.whl"
SPEEDS = re.compile(rb"[0-9.]+ [kMG]?B/s eta [0-9:]+|\? eta -:--:--")
BEGIN = b"  Downloading http://x/a/big-1.0.whl (5.0 MB)\n"


@pytest.mark.parametrize("size", [None, 1, 7])
def test_its_bar_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "pip_pty"), size=size)
    assert len(samples) > 10
    assert samples[-1].current == 5_000_000 or (size is None and samples[-1].current > 4_000_000)
    assert {(one.total, one.unit, one.phase, one.bound) for one in samples} == {
        (5_000_000, Unit.BYTES, WHEEL, Bound.ESTIMATE)
    }


def test_the_exact_count_of_newer_ones_is_heard() -> None:
    data = BEGIN + b"Progress 0 of 5012345\nProgress 2000000 of 5012345\n"
    samples = play(TOOL, Recording(["pip", "install", "big"], {1: data}), size=1)
    assert [(one.current, one.total, one.bound) for one in samples] == [
        (0, 5_012_345, Bound.EXACT),
        (2_000_000, 5_012_345, Bound.EXACT),
    ]


def test_while_it_builds_or_installs_no_file_is_told() -> None:
    data = BEGIN + b"Progress 5 of 5\nInstalling collected packages: big\nProgress 5 of 5\n"
    recording = Recording(["pip", "install", "big"], {1: data})
    assert play(TOOL, recording, size=1) == play(TOOL, Recording(["pip", "install", "big"], {1: data[:-48]}), size=1)


def test_what_pip_never_prints_says_nothing() -> None:
    data = (
        b"Progress 1 of 2\n   --- 1.0/5.0 MB 2 MB/s\nDownloading big (5,0 MB)\n Downloading big-1.0.whl (5 MiB)\n"
        + BEGIN
        + b"Progress 3 of 2\nProgress 1 of 0\n   --- 6.0/5.0 MB 2 MB/s\n   --- 1.0/5.0 XB\nProgress -1 of 2\n\xff\x00\n"
    )
    assert play(TOOL, Recording(["pip", "install", "big"], {1: data})) == []


def test_the_size_of_the_file_that_it_writes_counts(tmp_path: Path) -> None:
    with child() as worker, target_for(worker.pid) as target:
        probe = PipProbe(target)
        probe.feed(1, BEGIN.rstrip())
        assert probe.sample() is None
        worker.does(f"f = open({str(tmp_path / 'big-1.0.whl')!r}, 'wb', buffering=0); f.write(bytes(4000000))")
        samples = [probe.sample()]
        worker.does("f.write(bytes(1040000))")
        samples.append(probe.sample())
    assert [(one.current, one.total, one.bound) for one in samples if one] == [
        (4_000_000, 5_000_000, Bound.ESTIMATE),
        (5_000_000, 5_000_000, Bound.ESTIMATE),
    ]


@pytest.mark.parametrize(
    ("words", "known", "heard"),
    [
        ("pip install x", True, True),
        ("pip3 --no-cache-dir download x", True, True),
        ("python3 -m pip --isolated wheel x", True, True),
        ("pip install -q x", True, False),
        ("pip list", False, False),
        ("python3 -m pip uninstall x", False, False),
    ],
)
def test_it_is_heard_where_it_gets_something(
    words: str, monkeypatch: pytest.MonkeyPatch, *, known: bool, heard: bool
) -> None:
    monkeypatch.setattr(tool_module, "listening", lambda command, stream: command.with_words(["heard", str(stream)]))
    command = Command(words.split())
    assert TOOL.recognise(command) is known
    if known:
        assert TOOL.prepare(command).argv == (("heard", "1") if heard else command.argv)


# --- the real one


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a package is to be had of three megabytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as package:
        package.writestr("paced/data", os.urandom(3_000_000))
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: paced\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            package.writestr(f"paced-1.0.dist-info/{name}", text)
    with web(**{WHEEL: packed.getvalue()}) as where:
        yield where


def download(url: str) -> str:
    """The command that gets it from there."""
    options = "--isolated --disable-pip-version-check download --no-cache-dir --no-deps -d got"
    return f"{sys.executable} -m pip {options} {url}/0/{WHEEL}"


@pytest.mark.parametrize("place", ["", "> out 2>err", "2>&1 | cat"])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, address: str, tmp_path: Path) -> None:
    gets(download(address), place, tmp_path, fresh="rm -rf got", blurred=SPEEDS)
    assert (tmp_path / "got" / WHEEL).exists()


def test_in_a_terminal_it_prints_what_it_prints_without_us(address: str, tmp_path: Path) -> None:
    command = f"{download(address)} --progress-bar off"
    gets(command, "", tmp_path, fresh="rm -rf got", terminal=True)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_slow_one_is_told(address: str, tmp_path: Path, *, terminal: bool) -> None:
    lines = told(download(f"{address}/slow"), tmp_path, "pip", terminal=terminal)
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {3_000_000}
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines[:-1]))


def test_one_that_runs_already_is_told_where_it_prints_into_a_file(address: str, tmp_path: Path) -> None:
    lines = told_of_a_running_one(f"{download(f'{address}/slow')} > out", tmp_path, "pip")
    assert len({line["current"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines[:-1]} == {3_000_000}
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines[:-1]))
