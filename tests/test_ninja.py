"""ninja: recordings of what it prints, and the real one, wherever its output goes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from builds import configured
from children import child, target_for, wait_until
from terminals import ENVIRONMENT
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes import building
from pollprog.probes.ninja import TOOL
from pollprog.probes.testing import Recording, play
from pollprog.status import Sample, Unit
from pollprog.surroundings import Surroundings, within

RECORDINGS = Path(__file__).parent / "data" / "recordings"


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(("name", "first"), [("ninja", 1), ("ninja_pty", 0)])
def test_a_recording_is_told_however_it_is_cut(name: str, first: int, size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / name), size=size)
    assert list(dict.fromkeys(sample.current for sample in samples)) == list(range(first, 13))
    assert {(sample.total, sample.unit) for sample in samples} == {(12, Unit.ITEMS)}


def test_its_format_of_the_users_own_says_nothing() -> None:
    assert play(TOOL, Recording.load(RECORDINGS / "ninja_status"), size=1) == []


def test_its_total_may_grow_and_what_it_does_for_itself_is_no_step() -> None:
    data = b"[0/1] Re-running CMake...\n-- Configuring done\n[1/4] a\n[2/4] b\n[3/9] c\n[0/1] Re-checking globbed directories...\n"
    samples = play(TOOL, Recording(["ninja"], {1: data}), size=1)
    assert list(dict.fromkeys((one.current, one.total) for one in samples)) == [(1, 4), (2, 4), (3, 9)]


def test_a_build_within_the_build_makes_both_unbelievable() -> None:
    data = b"[3/10] Performing build step for 'other'\n[1/2] a\n[2/2] b\n[4/10] c\n"
    assert play(TOOL, Recording(["ninja"], {1: data})) == []


def test_what_ninja_never_prints_says_nothing() -> None:
    data = b"[1/2]\n[3/2] a\n[1/0] a\n[a/b] a\nx [1/2] a\n[1_0/20] a\n[1/2 a\n[\xff/\x00] a\n[ 1/2] a\n[-1/2] a\n"
    assert play(TOOL, Recording(["ninja"], {1: data})) == []


def test_what_it_has_forked_off_and_is_no_other_program_yet_is_no_other_ninja() -> None:
    with child() as worker, target_for(worker.pid) as target:
        probe = TOOL.probe(target)
        worker.does("open('/proc/self/comm', 'w').write('ninja'); r, w = os.pipe()")
        worker.does("p = os.fork() or (os.close(w), os.read(r, 1), os._exit(0))")
        probe.feed(1, b"[1/2] a")
        assert len(target.tree.look()) == 2
        assert isinstance(probe.sample(), Sample)
        worker.does("os.close(w); os.waitpid(p, 0)")


def test_where_one_ninja_runs_another_neither_is_believed(tmp_path: Path) -> None:
    with child() as worker, target_for(worker.pid) as target:
        probe = TOOL.probe(target)
        worker.does("open('/proc/self/comm', 'w').write('ninja')")
        probe.feed(1, b"[1/2] a")
        assert isinstance(probe.sample(), Sample)
        worker.does(
            f"p = subprocess.Popen(['sh', '-c', 'printf ninja > /proc/$$/comm; touch {tmp_path}/x; read a'], stdin=-1)"
        )
        wait_until((tmp_path / "x").exists)
        assert probe.sample() is None
        worker.does("p.communicate()")
        assert probe.sample() is None


class Place(Surroundings):
    """A terminal, or none."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal

    def is_terminal(self, stream: int) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("words", "pipe", "terminal"),
    [
        (["ninja", "-n"], False, False),
        (["ninja", "-t", "clean"], False, False),
        (["ninja", "--version"], False, False),
        (["ninja", "--quiet"], False, False),
        (["ninja"], True, True),
        (["ninja", "-C", "build", "-j", "4", "install"], True, True),
        (["ninja", "menuconfig"], True, False),
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


# --- the real one


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    configured(folder, "Ninja")
    return folder


@pytest.mark.tool("ninja", "cmake")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, project: Path) -> None:
    gets("ninja -C build -j1", place, project, fresh="rm -f build/o*")
    gets("ninja -C build nothing", place, project)


@pytest.mark.tool("ninja", "cmake")
def test_in_a_terminal_it_prints_what_it_prints_without_us(project: Path) -> None:
    gets("ninja -C build -j1", "", project, fresh="rm -f build/o*", terminal=True)


@pytest.mark.tool("ninja", "cmake")
def test_a_slow_one_is_told_in_a_terminal(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "WANTED", "ninja")
    (project / "lines").unlink(missing_ok=True)
    for made in (project / "build").glob("o*"):
        made.unlink()
    lines = told("cmake --build build -j1", project, "ninja", terminal=True)
    assert len(lines) >= 3
    assert {(line["total"], line["unit"]) for line in lines[:-1]} == {(8, "items")}
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines[:-1]))


@pytest.mark.tool("ninja", "cmake")
def test_one_that_runs_already_is_told_by_the_file_into_which_it_prints(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "WANTED", "ninja")
    (project / "lines").unlink(missing_ok=True)
    for made in (project / "build").glob("o*"):
        made.unlink()
    lines = told_of_a_running_one("ninja -C build -j1 > log 2>&1", project, "ninja")
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {8}
