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
from pollprog.probes.pytest import TOOL
from pollprog.probes.pytest_tally import Tally
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Unit
from pollprog.surroundings import Surroundings, within
from pollprog.tools import find

RECORDINGS = Path(__file__).parent / "data" / "recordings"
TIMES = re.compile(
    rb"(?<= in )[0-9.]+s|(?<=collecting \.\.\. \x1b\[0m)(?:\x1b\[1m\rcollecting [0-9]+ items? *\x1b\[0m)*"
)
"""How long it took, and what it says in a terminal while it collects, if that takes half a second."""
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
        (["python3", "-X", "dev", "-W", "error", "-Werror", "-m", "pytest"], None, True),
        (["python3", "-BmX", "-m", "pytest"], None, False),
        (["python3.12", "-mpytest"], None, True),
        (["python", ".venv/bin/pytest", "-x"], None, True),
        (["python", "-X", "dev", "/venv/bin/py.test"], "/usr/bin/python3.11", True),
        (["python", "-", "/venv/bin/pytest"], None, False),
        (["python", "x.py", "/venv/bin/pytest"], "/usr/bin/python3.11", False),
        (["python", "-m", "black", "/venv/bin/pytest"], "/usr/bin/python3.11", False),
        (["python", "pytest"], None, False),
        (["python", "-m", "pytest_watch"], None, False),
        (["python", "-m", "http.server", "-m", "pytest"], None, False),
        (["python", "-W", "pytest"], None, False),
        (["bash", "-m", "pytest"], None, False),
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


class Pipes(Surroundings):
    """Where both streams are pipes of their own."""

    def is_terminal(self, stream: int) -> bool:
        return False

    def claimable(self, stream: int) -> bool:
        return True

    def together(self, stream: int) -> tuple[int, ...]:
        return (stream,)


@pytest.mark.parametrize(
    ("words", "heard"),
    [
        ("pytest -vv -rs -k so tests", True),
        ("python -m pytest -q", True),
        ("pytest -s", False),
        ("pytest -xvs", False),
        ("pytest --capture=no", False),
        ("python -Im pytest --pdb", False),
        ("python -s -m pytest", True),
        ("python -X dev -W error -m pytest -s", False),
        ("python .venv/bin/pytest -s", False),
        ("pytest -m slow -s", False),
        ("pytest --pdbcls=a:b --collect-only", False),
        ("pytest -h", False),
    ],
)
def test_it_is_heard_where_it_asks_nothing(words: str, monkeypatch: pytest.MonkeyPatch, *, heard: bool) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    command = Command(words.split())
    prepared = within(Pipes(), lambda: TOOL.prepare(command))
    assert prepared.argv == command.argv
    assert list(prepared.claims) == [1] * heard
    monkeypatch.setenv("PYTEST_ADDOPTS", "-v -s")
    assert TOOL.prepare(command) is command


# --- letter by letter

FILES = b"""collecting ... collected 12 items / 2 deselected / 10 selected

a folder/test_a.py ..sF.E                                                [ 50%]
test_b.txt x,u-R.                                                        [ 70%]
.F.                                                                      [100%]

=================================== FAILURES ===================================
E.py ......
"""
IN_A_TERMINAL = (
    b"\x1b[1mcollecting ... \x1b[0m\x1b[1m\rcollected 1 item\x1b[0m\x1b[1m\rcollected 4 items\x1b[0m\r\n\r\n"
    b"test_a.py \x1b[32m.\x1b[0m\x1b[31mF\x1b[0m\x1b[32m.\x1b[0m\x1b[31m     [ 75%]\x1b[0m\r\n"
)
WORKERS = b"created: 2/2 workers\n2 workers [9 items]\n\n....     [ 44%]\n..x"


def counted(data: bytes, size: int) -> list[tuple[int, int]]:
    """(tests done, tests collected) after each piece of so many bytes."""
    tally = Tally()
    found = []
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        assert tally.passing(piece) == piece
        found.append((tally.done, tally.total))
    assert tally.end() == b""
    return found


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("data", "done", "total"),
    [(FILES, 10, 10), (IN_A_TERMINAL, 3, 4), (WORKERS, 7, 9), (FILES[: FILES.index(b"F")], 3, 10)],
)
def test_each_letter_is_a_test(data: bytes, done: int, total: int, size: int) -> None:
    assert counted(data, size)[-1] == (done, total)


def test_a_line_counts_before_it_ends() -> None:
    found = counted(FILES, 1)
    assert [done for done, _ in found if done] == sorted(done for done, _ in found if done)
    assert set(range(11)) == {done for done, _ in found}


@pytest.mark.parametrize(
    "data",
    [
        b"test_a.py ...",
        b"collected 4 items\n...\n",
        b"collected 4 items\ndownloading ...",
        b"collected 4 items\nx/test_a.py::test_b .",
        b"collected 4 items\ntest_a.py EE,,R",
        b"collected 4 items\n\n=== FAILURES ===\ntest_a.py ...",
        b"collected 4 items\n\xff\x00test_a.py\x00 ...",
        b"collected 4 items\n" + 9000 * b"." + b"\n...",
        b"4 Elemente gesammelt\ntest_a.py ...",
        b"collected 4 items / 4 deselected\ntest_a.py ...",
    ],
)
def test_what_is_no_letter_of_a_test_does_not_count(data: bytes) -> None:
    assert {done for done, _ in counted(data, 1)} == {0}


# --- the real one


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pytest that is run imports no plugins of ours."""
    monkeypatch.setitem(ENVIRONMENT, "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def folder(tmp_path: Path, bare: None) -> Path:
    """Eight tests in eight files."""
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
    collected = [line for line in lines if line["total"]]
    assert {(line["total"], line["unit"]) for line in collected} == {(8, "items")}
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(collected))
    assert collected == lines[-len(collected) :]


@pytest.mark.usefixtures("bare")
def test_the_tests_of_one_line_are_told_one_by_one(tmp_path: Path) -> None:
    test = "import time, pytest\n@pytest.mark.parametrize('a', range(8))\ndef test_a(a):\n    time.sleep(0.2)\n"
    (tmp_path / "test_a.py").write_text(test)
    lines = told(f"{PYTEST} --rootdir . -o console_output_style=count", tmp_path, "pytest", terminal=True)
    assert len({line["current"] for line in lines}) >= 3
    assert {line["total"] for line in lines} <= {None, 8}


def test_what_it_reads_before_it_has_collected_them_is_not_taken_for_its_work(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    script = "import time\nwith open('large', 'rb') as file:\n    file.read(1_000_000)\n    time.sleep(2)\n"
    (tmp_path / "conftest.py").write_text(script)
    (tmp_path / "test_a.py").write_text("def test_a():\n    pass\n")
    *lines, _ = told(f"{PYTEST} --rootdir .", tmp_path, "pytest", terminal=True)
    assert len(lines) >= 2
    assert {(line["current"], line["total"]) for line in lines} <= {(0, None), (0, 1), (1, 1)}
    assert (0, None) in {(line["current"], line["total"]) for line in lines}


def test_one_that_runs_already_is_told_by_the_file_into_which_it_prints(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PAUSE", "0.4")
    lines = told_of_a_running_one(f"{PYTEST} > log", folder, "pytest")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines[:-1]} == {1_000_000}
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


def test_what_a_test_prints_is_not_taken_for_what_pytest_prints(tmp_path: Path) -> None:
    test = "import time\ndef test_a():\n    for _ in range(25):\n        print('test_b.py ...   [ 50%]', flush=True)\n        time.sleep(0.1)\n"
    (tmp_path / "test_a.py").write_text(test)
    lines = told_of_a_running_one(f"{PYTEST} --rootdir . > log", tmp_path, "pytest")
    assert {line["fraction"] for line in lines} <= {0.999999, 1, None}
