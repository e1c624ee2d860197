"""gpg: a recording played to its probe, and the real one, wherever its output goes."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from terminals import PATIENCE
from tool_runs import gets, told

from pollprog.launch import Command
from pollprog.probes.gpg import TOOL
from pollprog.probes.testing import Recording, play
from pollprog.status import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDINGS = Path(__file__).parent / "data" / "recordings"
GPG = "gpg --homedir home --batch --s2k-count 65536 --pinentry-mode loopback --passphrase x"


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "home"))


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "gpg_progress"), size=size)
    told_of = dict.fromkeys((sample.current, sample.total, sample.unit, sample.phase) for sample in samples)
    whole = 98304 << 10
    assert list(told_of)[-1] == (whole, whole, Unit.BYTES, "rnd.bin")
    assert (8192, whole, Unit.BYTES, "rnd.bin") in told_of


def test_of_a_pipe_no_total_is_told_and_its_count_never_falls_as_its_unit_changes() -> None:
    lines = [b"0 0 B", b"8192 0 B", b"7812 0 KiB", b"9 0 MiB"]
    data = b"".join(b"[GNUPG:] PROGRESS stdin ? " + line + b"\n" for line in lines)
    samples = play(TOOL, Recording(["gpg"], {3: data}), size=1)
    assert all(sample.total is None for sample in samples)
    assert samples[-1].current == 9 << 20
    assert all(old.current <= new.current for old, new in pairwise(samples))


def test_each_file_is_a_phase_of_its_own() -> None:
    data = b"[GNUPG:] PROGRESS a%20b ? 9 9 MiB\n[GNUPG:] PROGRESS c ? 1 9 MiB\n"
    samples = play(TOOL, Recording(["gpg"], {3: data}), size=1)
    assert [(sample.phase, sample.current >> 20) for sample in samples] == [("a%20b", 9), ("c", 1)]


def test_what_is_no_progress_of_a_file_is_not_told() -> None:
    data = (
        b"[GNUPG:] PROGRESS primegen . 0 0\n[GNUPG:] PROGRESS need_entropy X 30 120\n[GNUPG:] PROGRESS tick ? 0 0\n"
        b"[GNUPG:] PROGRESS a ? 5 4 KiB\n[GNUPG:] PROGRESS a.sig ? 438 438 B\n[GNUPG:] PROGRESS a ? 1 2 Kio\n"
        b"PROGRESS a ? 1 2 KiB\n[GNUPG:] GOODSIG 1 \xff\n\x00\n"
    )
    assert play(TOOL, Recording(["gpg"], {3: data})) == []


@pytest.mark.tool("gpg")
@pytest.mark.parametrize("words", [["gpg", "-c", "a"], ["gpg", "--verify", "a"], ["/usr/bin/gpg", "-abs", "a"]])
def test_a_descriptor_is_added(words: list[str]) -> None:
    command = TOOL.prepare(Command(words))
    assert command.status is not None
    added = [words[0], "--status-fd", "9", "--enable-progress-filter", *words[1:]]
    assert list(command.status(command.argv, 9)) == added


@pytest.mark.parametrize(
    "words",
    [
        ["--status-fd", "2", "-c"],
        ["--status-file=x", "-c"],
        ["--options", "x", "-d"],
        ["--list-keys"],
        ["-k"],
        ["--version"],
    ],
)
def test_the_users_own_option_wins_and_what_is_about_no_file_is_left_alone(words: list[str]) -> None:
    assert TOOL.prepare(Command(["gpg", *words, "a"])).status is None


@pytest.mark.tool("gpg")
@pytest.mark.parametrize("place", ["environment", "--homedir", "--homedir="])
def test_the_users_own_configuration_wins(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "gpg.conf").write_text("status-fd 2\n")
    words = {"environment": [], "--homedir": ["--homedir", str(tmp_path / "home")]}.get(
        place, [f"{place}{tmp_path}/home"]
    )
    if place != "environment":
        monkeypatch.setenv("GNUPGHOME", "/nonexistent")
    assert TOOL.prepare(Command(["gpg", *words, "-c", "a"])).status is None
    (tmp_path / "home" / "gpg.conf").write_text("armor\n")
    assert TOOL.prepare(Command(["gpg", *words, "-c", "a"])).status is not None


def test_a_program_that_does_not_know_it_is_not_given_it() -> None:
    assert TOOL.prepare(Command(["/bin/true", "-c", "a"])).status is None


# --- the real one


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A file, encrypted, signed; and the keys."""
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "a").write_bytes(b"plain text\n" * 2_000)
    script = f"{GPG} -q --passphrase '' --quick-gen-key somebody ed25519 default never && {GPG} -c a && {GPG} -b a && {GPG} --check-trustdb"
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE)
    try:
        yield tmp_path
    finally:
        subprocess.run(["gpgconf", "--homedir", "home", "--kill", "all"], cwd=tmp_path, check=False, timeout=PATIENCE)


@pytest.mark.tool("gpg", "gpg-agent", "gpgconf")
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("place", ["", "2>&1", "> out 2>err", "2>&1 | cat"])
def test_what_it_prints_and_how_it_ends_is_as_without_us(place: str, *, terminal: bool, folder: Path) -> None:
    for words in ("--verify a.sig a", "-d a.gpg", "--yes -c a", "-d a.sig", "--yes -s a"):
        gets(f"{GPG} {words}", place, folder, terminal=terminal)
    gets(f"{GPG} --yes -o copy -d a.gpg", place, folder, terminal=terminal)
    assert (folder / "copy").read_bytes() == (folder / "a").read_bytes()


@pytest.mark.tool("gpg", "gpg-agent")
def test_a_slow_one_is_told(folder: Path) -> None:
    with (folder / "a").open("wb") as file:
        file.truncate(200 << 20)
    lines = told(f"{GPG} --yes -z 9 --bzip2-compress-level 9 --compress-algo bzip2 -o null -c a", folder, "gpg")
    assert len({line["fraction"] for line in lines[:-1]}) >= 2
    assert {line["total"] for line in lines[:-1]} == {200 << 20}
    assert all(old["current"] <= new["current"] for old, new in pairwise(lines))
