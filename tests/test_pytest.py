"""pytest: recordings of what it prints, and the real one, wherever its output goes."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from terminals import ENVIRONMENT
from tool_runs import gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes import pytest as tool_module
from pollprog.probes.pytest import TOOL
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Unit
from pollprog.tools import find

RECORDINGS = Path(__file__).parent / "data" / "recordings"
TIMES = re.compile(rb"(?<= in )[0-9.]+s")
PYTEST = f"{sys.executable} -m pytest -p no:cacheprovider"


@pytest.mark.parametrize("size", [None, 1, 7])
def test_each_test_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "pytest_v"), size=size)
    shares = list(dict.fromkeys(sample.current // 10_000 for sample in samples))
    every = [100 * number // 30 for number in range(1, 31)]
    assert shares == every if size else set(shares) <= set(every)
    assert shares[-1] == 100
    assert {(one.total, one.unit, one.bound) for one in samples} == {(1_000_000, Unit.PARTS, Bound.LOWER)}


@pytest.mark.parametrize("size", [None, 1])
def test_each_line_of_a_quiet_one_is_told(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "pytest_q"), size=size)
    assert {sample.current for sample in samples} == {1_000_000}


def test_its_other_styles_are_understood() -> None:
    for line, told_then in {
        b"tests/test_a.py ..sF.                       [ 37%]": (370_000, 1_000_000),
        b"a folder/test_a.py ,x                [  3%]": (30_000, 1_000_000),
        b"\x1b[32m.\x1b[0m\x1b[32m.\x1b[0m\x1b[33m              [ 50%]\x1b[0m": (500_000, 1_000_000),
        b"test_a.py ...                       [ 3/12]": (3, 12),
        b"test_a.py::test_b SKIPPED (no such thing)   [ 40%]": (400_000, 1_000_000),
        b"[gw1] [ 10%] PASSED test_a.py::test_b": (100_000, 1_000_000),
    }.items():
        samples = play(TOOL, Recording(["pytest"], {1: line + b"\n"}))
        assert (samples[-1].current, samples[-1].total) == told_then, line


def test_what_pytest_never_prints_says_nothing() -> None:
    data = b"[ 37%]\ndownloaded [ 37%]\n... [37%]\n... [137%]\n... [ 37%] x\nok ... done [ 3/12]\n... [4/3]\n... [\xff\x00%]\n"
    assert play(TOOL, Recording(["pytest"], {1: data})) == []


@pytest.mark.parametrize(
    ("words", "executable", "known"),
    [
        (["pytest", "-x"], None, True),
        (["python3", "-m", "pytest"], None, True),
        (["/usr/bin/python3", "-Im", "pytest", "-x"], "/usr/bin/python3.11", True),
        (["/usr/bin/python3", "-B", "-m", "pytest"], "/usr/bin/python3.11", True),
        (["/venv/bin/python", "/venv/bin/pytest", "-x"], "/usr/bin/python3.11", True),
        (["python3", "-c", "-m", "pytest"], None, False),
        (["python3", "x.py", "-m", "pytest"], "/usr/bin/python3", False),
        (["python3", "-m", "dd"], None, False),
        (["python3", "-m"], None, False),
        (["pytest"], "/usr/bin/dash", True),
        (["pytest"], "/usr/bin/cat", False),
    ],
)
def test_it_is_known_as_a_script_and_as_a_module(words: list[str], executable: str | None, *, known: bool) -> None:
    assert (find(Command(words, executable=executable)) is TOOL) is known


@pytest.mark.parametrize(
    ("words", "heard"),
    [
        ("pytest -vv -rs -k so tests", True),
        ("python -m pytest -q", True),
        ("pytest -s", False),
        ("pytest -xvs", False),
        ("pytest --capture=no", False),
        ("python -Im pytest --pdb", False),
        ("pytest --pdbcls=a:b --collect-only", False),
        ("pytest -h", False),
    ],
)
def test_it_is_heard_where_it_asks_nothing(words: str, monkeypatch: pytest.MonkeyPatch, *, heard: bool) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setattr(tool_module, "listening", lambda command, stream: command.with_words(["heard", str(stream)]))
    command = Command(words.split())
    assert TOOL.prepare(command).argv == (("heard", "1") if heard else command.argv)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-v -s")
    assert TOOL.prepare(command) is command


# --- the real one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight tests, of which one fails, in eight files."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for number in range(8):
        test = f"import os, time\ndef test_a():\n    time.sleep(float(os.environ.get('PAUSE', 0)))\n    assert {number} != 9\n"
        (tmp_path / f"test_{number}.py").write_text(test)
    return tmp_path


@pytest.mark.parametrize("place", ["", "> out 2>err", "2>&1 | cat"])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, folder: Path) -> None:
    (folder / "test_7.py").write_text("def test_a():\n    assert 0\n")
    gets(f"{PYTEST} -v" if place else PYTEST, place, folder, blurred=TIMES)


def test_in_a_terminal_it_prints_what_it_prints_without_us(folder: Path) -> None:
    gets(PYTEST, "", folder, blurred=TIMES, terminal=True)


def test_a_slow_one_is_told_in_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PAUSE", "0.3")
    lines = told(PYTEST, folder, "pytest", terminal=True)
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {1_000_000}
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


def test_one_that_runs_already_is_told_by_the_file_into_which_it_prints(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PAUSE", "0.4")
    lines = told_of_a_running_one(f"{PYTEST} > log", folder, "pytest")
    assert len(lines) >= 2
    assert {line["total"] for line in lines[:-1]} == {1_000_000}
