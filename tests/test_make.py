"""make and cmake: a recording of what CMake's makefiles print, and the real ones, wherever their output goes."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from builds import configured
from terminals import ENVIRONMENT, PATIENCE
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes import building
from pollprog.probes.make import TOOL
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Unit
from pollprog.surroundings import Surroundings, within

RECORDINGS = Path(__file__).parent / "data" / "recordings"


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The makefile is CMake's."""
    (tmp_path / "marks").touch()
    monkeypatch.setattr(building, "MARKS", str(tmp_path / "marks"))


@pytest.mark.usefixtures("generated")
@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "cmake_make"), size=size)
    done = list(dict.fromkeys(sample.current // 10_000 for sample in samples))
    assert done == [12, 25, 37, 50, 62, 75, 87, 100]
    assert {(one.total, one.unit, one.bound) for one in samples} == {(1_000_000, Unit.PARTS, Bound.UPPER)}


@pytest.mark.usefixtures("generated")
def test_colours_do_not_matter() -> None:
    data = b"[ 50%] \x1b[32mBuilding C object x.o\x1b[0m\n\x1b[1m[ 75%]\x1b[0m Built target x\n"
    samples = play(TOOL, Recording(["make"], {1: data}))
    assert samples[-1].current == 750_000


def test_of_a_makefile_that_is_not_cmakes_nothing_is_believed() -> None:
    assert play(TOOL, Recording(["make"], {1: b"[ 50%] of the work is done\n"})) == []


@pytest.mark.usefixtures("generated")
def test_a_build_within_the_build_makes_both_unbelievable() -> None:
    data = (
        b"[ 12%] Performing build step for 'other'\n[ 50%] Building C object x.o\n[100%] Built target x\n[ 25%] Built\n"
    )
    assert play(TOOL, Recording(["make"], {1: data})) == []


@pytest.mark.usefixtures("generated")
def test_what_cmake_never_prints_says_nothing() -> None:
    data = b"[12%] a\n[ 12%]\n[ 12 %] a\nx [ 12%] a\n[101%] a\n[ -1%] a\n[\xff\x00%] a\n[ 1.2%] a\n"
    assert play(TOOL, Recording(["make"], {1: data})) == []


class Place(Surroundings):
    """A terminal, or none."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal

    def is_terminal(self, stream: int) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("words", "pipe", "terminal"),
    [
        (["make", "-n"], False, False),
        (["make", "--version"], False, False),
        (["gmake", "-pq"], False, False),
        (["make"], True, False),
        (["make", "-j4", "-C", "cmakes"], True, True),
        (["make", "-Ccmakes", "-j", "4", "V=1", "all", "install"], True, True),
        (["make", "--directory=cmakes", "menuconfig"], True, False),
        (["cmake", "--build", "b", "-j", "4"], True, True),
        (["cmake", "--build", "b", "--target", "install", "--verbose"], True, True),
        (["cmake", "--build", "b", "--target", "run"], True, False),
        (["cmake", "--build", "b", "-t", "edit_cache"], True, False),
        (["cmake", "--build", "b", "--target=run"], True, False),
    ],
)
def test_it_is_heard_where_it_builds_and_in_a_terminal_nothing_but_files(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, pipe: bool, terminal: bool
) -> None:
    monkeypatch.setattr(building, "listening", lambda command, _: command.with_words(["heard"]))
    (tmp_path / "cmakes" / "CMakeFiles").mkdir(parents=True)
    (tmp_path / "cmakes" / building.MARKS).touch()
    monkeypatch.chdir(tmp_path)
    command = Command(words)
    for place, heard in ((Place(terminal=False), pipe), (Place(terminal=True), terminal)):
        assert within(place, lambda: TOOL.prepare(command)).argv == (("heard",) if heard else command.argv)


def test_cmake_is_known_where_it_builds() -> None:
    assert TOOL.recognise(Command(["cmake", "--build", "b"]))
    assert not TOOL.recognise(Command(["cmake", "-E", "touch", "b"]))


# --- the real ones


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    configured(folder, "Unix Makefiles")
    return folder


@pytest.mark.tool("make", "cmake")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, project: Path, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all: a b\na b:\n\t@echo $@; echo to err >&2; touch $@\nbad:\n\tfalse\n")
    gets("make", place, tmp_path, fresh="rm -f a b")
    gets("make -k bad none", place, tmp_path)
    if place == "2>&1 | cat":
        gets(f"make -C {project}/build", place, tmp_path, fresh=f"rm -f {project}/build/o*")


@pytest.mark.tool("make", "cmake")
def test_in_a_terminal_it_prints_what_it_prints_without_us(project: Path) -> None:
    gets("cmake --build build", "", project, fresh="rm -f build/o*", terminal=True)


@pytest.mark.tool("make", "cmake")
def test_a_slow_one_is_told_in_a_terminal(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "WANTED", "make")
    (project / "lines").unlink(missing_ok=True)
    for made in (project / "build").glob("o*"):
        made.unlink()
    lines = told("make -C build", project, "make", terminal=True)
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {1_000_000}
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


@pytest.mark.tool("make", "cmake")
def test_one_that_runs_already_is_told_by_the_file_into_which_it_prints(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "WANTED", "make")
    (project / "lines").unlink(missing_ok=True)
    for made in (project / "build").glob("o*"):
        made.unlink()
    lines = told_of_a_running_one("make -C build > log 2>&1", project, "make")
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {1_000_000}


@pytest.mark.tool("make")
def test_below_another_make_it_has_that_ones_jobs(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n\t+pollprog run --progress none make -f inner\n")
    (tmp_path / "inner").write_text('all: a b\na b:\n\t@echo "$(MAKEFLAGS)" | grep -o jobserver\n')
    done = subprocess.run(
        ["make", "-s", "-j2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=PATIENCE,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("jobserver\njobserver\n", "")
