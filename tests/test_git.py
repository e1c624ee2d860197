"""git: recordings of its progress, and the real one, wherever its output goes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import wait_until
from slowed import slowed
from terminals import ENVIRONMENT, PATIENCE
from tool_runs import PLACES, gets, told, told_of_a_running_one

from pollprog.launch import Command
from pollprog.probes import git as tool_module
from pollprog.probes.git import TOOL
from pollprog.probes.git_lines import LINES, Without
from pollprog.probes.git_words import PHASES, phases, subcommand
from pollprog.probes.testing import Recording, play
from pollprog.spawning import spawn
from pollprog.status import Unit
from pollprog.surroundings import Surroundings, within

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORDINGS = Path(__file__).parent / "data" / "recordings"
PROGRESS = re.compile(rb"(?:(?:remote: )?(?:[A-Z][a-z]+ [a-z]+:|Total) +[0-9]+[^\r\n]*[\r\n]+)+")
"""How often git says how far it is, and how fast, is chance."""
SLOW = """\
import subprocess, sys, time
with subprocess.Popen(["git-upload-pack", *sys.argv[1:]], stdout=subprocess.PIPE) as served:
    while data := served.stdout.read1(25_000):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        time.sleep(0.02)
"""
"""What it serves comes in small pieces."""


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_clone_is_told_under_one_fraction_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "git_clone_progress"), size=size)
    told = list(dict.fromkeys(sample.phase for sample in samples))
    assert told[-1] == "receiving objects"
    assert set(told) <= set(PHASES["clone"])
    assert (samples[-1].current, samples[-1].total, samples[-1].unit) == (820_000, 1_000_000, Unit.PARTS)
    assert all(old.current <= new.current for old, new in pairwise(samples))


@pytest.mark.parametrize("name", ["git_gc_pty", "git_repack_progress"])
@pytest.mark.parametrize("size", [None, 1])
def test_what_packs_is_told_too(name: str, size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / name), size=size)
    assert samples[-1].current == {"git_gc_pty": 800_000, "git_repack_progress": 550_000}[name]
    assert samples[-1].phase == {"git_gc_pty": "writing objects", "git_repack_progress": "compressing objects"}[name]


def test_with_several_of_them_each_phase_begins_anew() -> None:
    data = b"Receiving objects:  50% (1/2)\rReceiving objects: 100% (2/2), done.\nUpdating files:  25% (1/4)\r"
    samples = play(TOOL, Recording(["git", "clone", "--recursive", "x"], {2: data}), size=1)
    assert list(dict.fromkeys((one.phase, one.current, one.total, one.unit) for one in samples)) == [
        ("receiving objects", 1, 2, Unit.ITEMS),
        ("receiving objects", 2, 2, Unit.ITEMS),
        ("updating files", 1, 4, Unit.ITEMS),
    ]


def test_a_rebase_is_told_by_its_commits() -> None:
    samples = play(
        TOOL, Recording(["git", "rebase", "x"], {2: b"Rebasing (1/3)\rRebasing (2/3)\rRebasing (4/3)\r"}), size=1
    )
    assert [(one.current, one.total) for one in samples] == [(1, 3), (2, 3), (2, 3)]


def test_what_is_translated_or_no_progress_says_nothing() -> None:
    data = (
        "Empfange Objekte:  50% (1/2)\rRéception d'objets:  50% (1/2)\rRecibiendo objetos:  50% (1/2)\r".encode()
        + b"Receiving objects:  50% (3/2)\rreceiving objects:  50% (1/2)\rReceiving objects: 50%\rReceiving objects: 12\r"
        b"remote: Finding sources:  50% (1/2)\rhook: Receiving objects:  50% (1/2)\r\xff\x00: 50% (1/2)\r"
    )
    assert play(TOOL, Recording(["git", "clone", "x"], {2: data})) == []


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["clone", "x"], "clone"),
        (["-C", "clone", "fetch"], "fetch"),
        (["-c", "a=b", "--git-dir=x", "-p", "gc", "--prune"], "gc"),
        (["--git-dir", "push", "status"], "status"),
        (["--version"], ""),
        ([], ""),
    ],
)
def test_its_command_is_found_behind_its_options(words: list[str], name: str) -> None:
    assert subcommand(["git", *words]) == name
    assert TOOL.recognise(Command(["git", *words])) is (name in PHASES)


@pytest.mark.parametrize(
    ("words", "longest", "last"),
    [
        ("clone x", "receiving objects", "updating files"),
        ("clone --bare x", "receiving objects", "resolving deltas"),
        ("clone -n x", "receiving objects", "resolving deltas"),
        ("fetch --all", "receiving objects", "resolving deltas"),
        ("gc", "compressing objects", "removing duplicate objects"),
        ("gc --aggressive", "compressing objects", "writing objects"),
        ("repack -adf", "compressing objects", "writing objects"),
    ],
)
def test_a_command_has_the_phases_that_its_options_leave_it(words: str, longest: str, last: str) -> None:
    plan = phases(["git", *words.split()])
    assert (max(plan, key=plan.__getitem__), list(plan)[-1]) == (longest, last)


def test_a_few_objects_that_are_unpacked_as_they_come_are_received() -> None:
    data = b"Unpacking objects:  40% (2/5), 200.00 MiB | 2.00 MiB/s\r"
    (sample,) = play(TOOL, Recording(["git", "fetch"], {2: data}))
    assert sample.phase == "receiving objects"


def test_what_it_starts_itself_is_not_looked_at() -> None:
    assert not TOOL.recognise(Command(["git", "index-pack", "--stdin"], executable="/usr/lib/git-core/git"))
    assert TOOL.recognise(Command(["git", "clone", "x"], executable="/usr/bin/git"))
    assert not TOOL.recognise(Command(["git", "clone", "x"], executable="/bin/sh"))


class Place(Surroundings):
    """A terminal, or none."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal

    def is_terminal(self, stream: int) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("words", "elsewhere", "terminal"),
    [
        (["clone", "x"], False, True),
        (["clone", "--progress", "x"], True, True),
        (["pull"], False, False),
        (["pull", "--ff-only"], False, True),
        (["rebase", "x"], True, True),
        (["rebase", "-i", "x"], True, False),
        (["merge", "--progress", "x"], True, False),
        (["checkout", "-p", "x"], False, False),
        (["gc"], False, True),
        (["submodule", "foreach", "x"], False, False),
        (["submodule", "update"], False, True),
    ],
)
def test_it_is_heard_where_it_says_something_and_opens_no_editor(
    words: list[str], monkeypatch: pytest.MonkeyPatch, *, elsewhere: bool, terminal: bool
) -> None:
    monkeypatch.setattr(tool_module, "listening", lambda command, _: command.with_words(["heard"]))
    command = Command(["git", *words])
    for place, heard in ((Place(terminal=False), elsewhere), (Place(terminal=True), terminal)):
        assert within(place, lambda: TOOL.prepare(command)).argv == (("heard",) if heard else command.argv)


class Job(Surroundings):
    """Those of a daemon's job, with this environment."""

    ours = True

    def __init__(self, **environment: str) -> None:
        self._environment = environment

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment


@pytest.mark.parametrize(
    ("words", "added"),
    [
        (["-C", "clone", "clone", "x"], ["-C", "clone", "clone", "--progress", "x"]),
        (["pull"], ["pull", "--progress"]),
        (["clone", "--progress", "x"], None),
        (["clone", "-q", "x"], None),
        (["fetch", "--no-progress"], None),
        (["gc"], None),
    ],
)
def test_a_job_shows_its_progress_to_us(words: list[str], added: list[str] | None) -> None:
    command = Command(["git", *words])
    for place in (Job(), Job(LANG="en_GB.UTF-8"), Job(LANG="C.UTF-8", LANGUAGE="de"), Job(LANG="de_DE", LC_ALL="C")):
        assert within(place, lambda: TOOL.prepare(command)).argv == ("git", *(added or words))
    for place in (Job(LANG="de_DE.UTF-8"), Job(LANG="en_US.UTF-8", LANGUAGE="de:en")):
        assert within(place, lambda: TOOL.prepare(command)).argv == command.argv


@pytest.mark.parametrize("size", [1, 7, 9999])
def test_of_a_job_people_read_the_rest(size: int) -> None:
    shown = (RECORDINGS / "git_clone_progress.stderr").read_bytes() + (
        RECORDINGS / "git_repack_progress.stderr"
    ).read_bytes()
    rest = b"remote: Open requests: 3\nwarning: x\rremote: \n\nTotal 3\nfatal: y"
    data, through = shown + rest, Without()
    passed = b"".join(through.passing(data[at : at + size]) for at in range(0, len(data), size)) + through.end()
    assert passed == b"Cloning into 'gr2'...\n" + rest


class Elsewhere(Place):
    """Standard error goes into a file, standard output into a terminal as wide as this one has it or elsewhere."""

    def __init__(self, **environment: str) -> None:
        super().__init__(terminal=False)
        self._environment = environment

    def claimable(self, stream: int) -> bool:
        return True

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment


@pytest.mark.tool("git")
@pytest.mark.parametrize(
    ("line", "terminal"),
    [
        ("git gc", True),
        ("git -C x repack -ad", True),
        ("git fsck", False),
        ("git -C x fsck --full", False),
        ("git gc -q", None),
        ("git gc --auto", None),
        ("git fsck --no-progress", None),
        ("git fsck -v", None),
        ("git maintenance run", None),
        ("git pull", None),
        ("git checkout x", None),
    ],
)
def test_what_works_alone_shows_its_progress_to_us_where_nobody_else_sees_it(
    line: str, *, terminal: bool | None
) -> None:
    command = Command(line.split())
    prepared = within(Elsewhere(), lambda: TOOL.prepare(command))
    assert set(prepared.claims) == (set() if terminal is None else {2})
    assert prepared.terminals == ({2} if terminal else set())
    assert [word for word in prepared.argv if word != "--progress"] == line.split()
    assert ("--progress" in prepared.argv) is (terminal is False)
    for place in (Elsewhere(LANG="de_DE.UTF-8"), Elsewhere(COLUMNS="40"), Place(terminal=True), Job()):
        other = within(place, lambda: TOOL.prepare(command))
        assert (other.argv, other.terminals) == (command.argv, set()) or place.ours


@pytest.mark.parametrize("size", [1, 7, 9999])
def test_all_of_its_progress_is_taken_out_and_nothing_else(size: int) -> None:
    shown = (RECORDINGS / "git_gc_pty.stderr").read_bytes().replace(b"\r\n", b"\n")
    shown += b"Building bitmaps:   1% (1/60)\rEnumerating cruft objects: 12, done.\nRemoving duplicate objects: 100% (256/256), done.\n"
    rest = (
        b"error: bad ref: 5% (1/2)\nExpanding reachable commits in commit graph: 100% (4/4), done.\nTotal 3\r\nChecking objects: x\n"
        b"warning: there are too many unreachable loose objects\nCounting objects: 1% (1/2), lost\n\n\r\xff\x00\nfatal: y"
    )
    data, through = rest[:30] + rest[30:] + b"\n" + shown + rest, Without(LINES)
    passed = b"".join(through.passing(data[at : at + size]) for at in range(0, len(data), size)) + through.end()
    assert passed == rest + b"\n" + rest


# --- the real one


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of two megabytes, of which nothing can be packed."""
    folder = tmp_path_factory.mktemp("source")
    for number in range(40):
        (folder / f"file {number}").write_bytes(os.urandom(50_000))
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, env=ENVIRONMENT, timeout=PATIENCE)
    return folder


@pytest.mark.tool("git")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, source: Path, tmp_path: Path) -> None:
    words = f"git clone --progress --no-local {source} copy"
    gets(words, place, tmp_path, fresh="rm -rf copy", blurred=PROGRESS)
    assert (tmp_path / "copy" / "file 7").read_bytes() == (source / "file 7").read_bytes()
    if place == "2>err":
        gets("git -C copy fetch --progress ../nothing", place, tmp_path)


@pytest.mark.tool("git")
def test_in_a_terminal_it_prints_what_it_prints_without_us(source: Path, tmp_path: Path) -> None:
    words = f"git clone --no-local {source} copy"
    gets(words, "", tmp_path, fresh="rm -rf copy", blurred=PROGRESS, terminal=True)


def slow_clone(source: Path, tmp_path: Path, options: str = "") -> str:
    """The command of a clone that takes its time."""
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    python = shutil.which("python3", path=ENVIRONMENT["PATH"])
    return f"git clone {options} --no-local -u '{python} {script}' {source} copy"


@pytest.mark.tool("git")
def test_a_slow_clone_is_told_in_a_terminal(source: Path, tmp_path: Path) -> None:
    lines = told(slow_clone(source, tmp_path), tmp_path, "git", terminal=True)
    assert len(lines) >= 3
    assert "receiving objects" in {line["phase"] for line in lines}
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


@pytest.mark.tool("git")
@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("gc --aggressive --prune=now", "2>err"),
        ("gc", "2>&1 | cat"),
        ("repack -adf", "> out 2>err"),
        ("fsck --full", "2>err"),
    ],
)
def test_what_works_alone_prints_what_it_prints_without_us(
    words: str, place: str, source: Path, tmp_path: Path
) -> None:
    copied = f"rm -rf copy; cp -r {source} copy; cd copy; echo lost | git hash-object -w --stdin"
    gets(f"git -C copy {words}", place, tmp_path, fresh=copied)
    said = b"".join(gets(f"git -C copy {words}", place, tmp_path, fresh="echo 12 >copy/.git/refs/heads/bad"))
    assert b"refs/heads/bad" in said
    assert b"status 0" not in said


@pytest.mark.tool("git", "gcc")
def test_what_works_alone_is_told_where_it_prints_nothing(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "copy")
    under = slowed(tmp_path, "git", "open", 60_000)
    lines = told("git -C copy gc --aggressive 2>err", tmp_path, "git", under=under)
    assert len({line["fraction"] for line in lines[:-1]}) >= 3
    assert {line["phase"] for line in lines[:-1]} <= set(PHASES["gc"])
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


@pytest.mark.tool("git")
def test_one_that_runs_already_is_told_by_the_file_into_which_it_prints(source: Path, tmp_path: Path) -> None:
    lines = told_of_a_running_one(slow_clone(source, tmp_path, "--progress 2>err"), tmp_path, "git")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines[:-1]} == {1_000_000}


@pytest.mark.tool("git")
def test_a_job_is_told_and_its_last_words_are_those_without_us(source: Path, tmp_path: Path) -> None:
    words = ["git", "clone", "--no-local", str(source), "copy"]
    spawned = spawn(words, directory=str(tmp_path), environment=ENVIRONMENT)
    try:
        wait_until(spawned.launched.reap)
        assert spawned.launched.printed is not None
        records = spawned.launched.printed.records()
        assert any(record.startswith(b"Receiving objects: 100%") for _, record in records)
        assert spawned.printed() == "Cloning into 'copy'...\n"
    finally:
        spawned.close()
