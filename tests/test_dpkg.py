"""dpkg: a recording played to its probe, and the real one, in a root of its own."""

from __future__ import annotations

import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from terminals import PATIENCE
from tool_runs import PLACES, gets, told, told_of_a_running_one, waiting

from pollprog.launch import Command
from pollprog.probes.dpkg import TOOL
from pollprog.probes.dpkg_log import record_of
from pollprog.probes.testing import Recording, play

RECORDINGS = Path(__file__).parent / "data" / "recordings"
DATE = "2026-01-02 03:04:05"
CONTROL = """Package: {name}
Version: 1
Architecture: all
Maintainer: Nobody <nobody@example.org>
Description: nothing
"""


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "dpkg_status_fd"), size=size)
    assert {sample.total for sample in samples} == {3}
    assert list(dict.fromkeys(sample.current for sample in samples))[-3:] == [1, 2, 3]


def test_without_files_there_is_no_total() -> None:
    data = b"processing: remove: a\nstatus: a: half-configured\nstatus: a: half-installed\nstatus: a: config-files\n"
    samples = play(TOOL, Recording(["dpkg", "-r", "a"], {3: data}), size=1)
    assert [(sample.current, sample.total) for sample in samples] == [(0, None), (0, None), (1, None), (3, None)]


def test_more_packages_than_files_raise_the_total() -> None:
    data = b"processing: install: a\nprocessing: install: b:amd64\n"
    samples = play(TOOL, Recording(["dpkg", "-i", "a.deb"], {3: data}), size=1)
    assert [sample.total for sample in samples] == [3, 6]


def test_what_dpkg_never_writes_is_not_believed() -> None:
    data = b"status: a: installed\nBearbeiten: install: a\nprocessing: bake: a\nprocessing: install: \xe4\n\xff\x00\n"
    assert play(TOOL, Recording(["dpkg", "-i", "a.deb"], {3: data})) == []


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b"install a:all <none> 1", b"processing: install: a:all"),
        (b"configure libc6:amd64 2.36-9 <none>", b"processing: configure: libc6:amd64"),
        (b"status half-installed a:all 1", b"status: a:all: half-installed"),
        (b"status a:all", b""),
        (b"startup archives unpack", b"processing: startup: archives"),
        (b"conffile /etc/a keep", b""),
        (b"\xff\x00", b""),
        (b"", b""),
    ],
)
def test_a_line_of_its_log_is_a_record_of_its_descriptor(line: bytes, record: bytes) -> None:
    assert record_of(DATE.encode() + b" " + line) == record
    assert record_of(line) == b""


@pytest.mark.tool("dpkg")
@pytest.mark.parametrize("words", [["dpkg", "-i", "a.deb"], ["/usr/bin/dpkg", "--root=x", "--purge", "a"]])
def test_a_descriptor_is_added(words: list[str]) -> None:
    command = TOOL.prepare(Command(words))
    assert command.status is not None
    assert list(command.status(command.argv, 9)) == [words[0], "--status-fd", "9", *words[1:]]


@pytest.mark.parametrize("words", [["--status-fd", "2", "-i"], ["--status-fd=2", "-i"], ["-l"], ["--info"], ["-c"]])
def test_the_users_own_option_wins_and_what_changes_nothing_is_left_alone(words: list[str]) -> None:
    assert TOOL.prepare(Command(["dpkg", *words, "a.deb"])).status is None


def test_a_program_that_does_not_know_it_is_not_given_it() -> None:
    assert TOOL.prepare(Command(["/bin/true", "-i", "a.deb"])).status is None


# --- the real one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packages to install, and what makes a root where nothing is installed."""
    if os.geteuid() != 0:
        pytest.skip("dpkg wants to be root")
    folder = tmp_path_factory.mktemp("dpkg")
    for name in ("first", "second"):
        packed(folder, name)
    (folder / "fresh").write_text(
        "rm -rf root; mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates; : > root/var/lib/dpkg/status\n"
    )
    return folder


def packed(folder: Path, name: str, *, script: str = "") -> None:
    """A package, and what it runs when it is installed."""
    place = folder / name
    (place / "DEBIAN").mkdir(parents=True)
    (place / "DEBIAN" / "control").write_text(CONTROL.format(name=f"pollprog-{name}"))
    (place / f"file-{name}").write_text("data\n")
    if script:
        (place / "DEBIAN" / "postinst").write_text(script)
        (place / "DEBIAN" / "postinst").chmod(0o755)
    words = ["dpkg-deb", "-b", str(place), str(folder / f"{name}.deb")]
    subprocess.run(words, check=True, capture_output=True, timeout=PATIENCE)


@pytest.fixture
def dpkg(folder: Path) -> str:
    """The words that come before its action."""
    return f"dpkg --root={folder}/root --log={folder}/log --force-not-root --force-unsafe-io"


@pytest.mark.tool("dpkg", "dpkg-deb")
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_how_it_ends_is_as_without_us(
    place: str, *, terminal: bool, dpkg: str, folder: Path
) -> None:
    gets(f"{dpkg} -i first.deb second.deb", place, folder, fresh="sh fresh", terminal=terminal)
    assert (folder / "root" / "file-first").read_text() == "data\n"
    gets(f"{dpkg} -i first.deb missing.deb", place, folder, terminal=terminal)
    gets(f"{dpkg} -P pollprog-first pollprog-third", place, folder, fresh=f"{dpkg} -i first.deb", terminal=terminal)


@pytest.mark.tool("dpkg", "dpkg-deb")
def test_a_slow_one_is_told(dpkg: str, folder: Path) -> None:
    for number, name in enumerate(("slow", "slower"), 1):
        packed(folder, name, script=waiting(folder, "dpkg", number))
    (folder / "lines").unlink(missing_ok=True)
    subprocess.run(["sh", "fresh"], cwd=folder, check=True, timeout=PATIENCE)
    lines = told(f"{dpkg} --force-script-chrootless -i slow.deb slower.deb", folder, "dpkg")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert (lines[-2]["current"], lines[-2]["total"]) == (5, 6)
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))


@pytest.mark.tool("dpkg", "dpkg-deb")
def test_one_that_runs_already_is_told_by_its_part_of_its_log(dpkg: str, folder: Path) -> None:
    for number, name in enumerate(("long", "longer"), 1):
        packed(folder, name, script=waiting(folder, "dpkg", number))
    (folder / "lines").unlink(missing_ok=True)
    subprocess.run(["sh", "fresh"], cwd=folder, check=True, timeout=PATIENCE)
    (folder / "log").write_text(f"{DATE} startup archives unpack\n{DATE} install other:all <none> 1\n")
    lines = told_of_a_running_one(f"{dpkg} --force-script-chrootless -i long.deb longer.deb", folder, "dpkg")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert (lines[-2]["current"], lines[-2]["total"]) == (5, 6)
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines[:-1]))
