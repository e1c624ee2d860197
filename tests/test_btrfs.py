"""btrfs: what its program says of a scrub and a balance, and a file system of our own, where there may be one."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import descriptors, wait_until
from terminals import ENVIRONMENT, PATIENCE, pollprog, started

from pollprog.errors import ProcessError, UsageError
from pollprog.probes import asked
from pollprog.probes.asked import LOST, Answer, Said
from pollprog.probes.btrfs import RESOURCE, parse_balance, parse_scrub
from pollprog.status import Bound, Outcome, Sample, State, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parent / "data/resources"
RUNNING = (DATA / "scrub.running").read_bytes()
FINISHED = (DATA / "scrub.finished").read_bytes()
BALANCE = (DATA / "balance.running").read_bytes()
DONE, WHOLE = 125435904, 401231872
WRONG = b"Error summary:    csum=8\n  Corrected:      %d\n  Uncorrectable:  %d\n  Unverified:     0\n"


def answer(output: bytes, code: int = 0) -> Answer:
    return Answer(code, output, "")


# --- what the program says


def test_a_scrub_that_runs_says_how_much_it_has_read() -> None:
    assert parse_scrub(answer(RUNNING)) == Said(Sample(DONE, WHOLE, source="btrfs", bound=Bound.ESTIMATE))
    begun = parse_scrub(answer((DATA / "scrub.begun").read_bytes()))
    assert begun == Said(Sample(0, WHOLE, source="btrfs", bound=Bound.ESTIMATE))
    assert parse_scrub(answer((DATA / "scrub.none").read_bytes())) == Said(outcome=LOST)
    assert parse_scrub(answer(RUNNING, -9)) is None


def test_more_than_there_is_has_no_total() -> None:
    said = parse_scrub(answer(RUNNING.replace(b"125435904", b"401231873")))
    assert said is not None
    assert said.sample is not None
    assert said.sample.total is None


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (b"", b"", Outcome(State.SUCCEEDED, 0)),
        (b"Error summary:    no errors found\n", WRONG % (8, 0), Outcome(State.SUCCEEDED, 0)),
        (b"Error summary:    no errors found\n", WRONG % (0, 8), Outcome(State.FAILED, 3)),
        (b"Error summary:    no errors found\n", b"Fehler: keine\n", LOST),
        (b"finished", b"aborted", Outcome(State.CANCELLED, 1)),
        (b"finished", b"interrupted", Outcome(State.FAILED, 1)),
    ],
)
def test_how_a_scrub_ended_is_told(old: bytes, new: bytes, outcome: Outcome) -> None:
    assert parse_scrub(answer(FINISHED.replace(old, new, 1))) == Said(outcome=outcome)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"scrub status for 804f\n\tscrub started at Thu Nov 26, running for 00:00:05\n\ttotal bytes scrubbed: 1.2GiB\n",
        RUNNING.replace(b"Status:  ", b"Zustand: "),
        RUNNING.replace(b"running", b"l\xe4uft"),
        RUNNING.replace(b"running", b"delayed"),
        b"\xff\x00\n" * 10,
    ],
)
def test_what_is_no_status_of_a_scrub_says_nothing(data: bytes) -> None:
    assert parse_scrub(answer(data)) is None


def test_what_is_cut_says_less() -> None:
    for end in range(len(RUNNING)):
        said = parse_scrub(answer(RUNNING[:end]))
        if said is not None:
            assert said.sample is not None
            assert (said.sample.current, said.sample.total) in {(0, None), (0, WHOLE), (DONE, WHOLE)}


def test_a_balance_counts_chunks() -> None:
    assert parse_balance(answer(BALANCE)) == Said(Sample(1, 6, Unit.ITEMS, "", "btrfs", Bound.ESTIMATE))
    paused = parse_balance(answer(BALANCE.replace(b"running", b"paused")))
    assert paused == Said(Sample(1, 6, Unit.ITEMS, "paused", "btrfs", Bound.ESTIMATE))
    assert parse_balance(answer(BALANCE.replace(b"running", b"running, pause requested"))) == parse_balance(
        answer(BALANCE)
    )
    more = parse_balance(answer(BALANCE.replace(b"1 out", b"7 out")))
    assert more is not None
    assert more.sample is not None
    assert (more.sample.current, more.sample.total) == (7, None)


@pytest.mark.parametrize("end", range(len(BALANCE)))
def test_what_is_no_status_of_a_balance_says_nothing(end: int) -> None:
    whole, none = parse_balance(answer(BALANCE)), (DATA / "balance.none").read_bytes()
    assert parse_balance(answer(BALANCE[:end])) in (None, whole)
    assert parse_balance(answer(none[: min(end, len(none) - 1)])) is None
    assert parse_balance(answer(none)) == Said(outcome=LOST)
    assert parse_balance(answer(BALANCE, 2)) is None
    assert parse_balance(answer(BALANCE[:end].replace(b"chunks", b"Bl\xf6cke"))) is None


# --- a program that says so


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands in for btrfs: it says what is in the files ``scrub`` and ``balance``."""
    file = tmp_path / "bin/btrfs"
    file.parent.mkdir()
    file.write_text(f'#!/bin/sh\ncat "{tmp_path}/$1"\n')
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")
    (tmp_path / "scrub").write_bytes(RUNNING)
    (tmp_path / "balance").write_bytes((DATA / "balance.none").read_bytes())
    return tmp_path


def test_what_is_under_way_is_opened_and_watched_to_its_end(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    monkeypatch.setattr(asked, "GAP", 0)
    (scrub,) = RESOURCE.open("/mnt/x")
    assert scrub.name == "scrub of /mnt/x"
    (program / "balance").write_bytes(BALANCE)
    both = RESOURCE.open("/mnt/x")
    assert [one.name for one in both] == ["scrub of /mnt/x", "balance of /mnt/x"]
    wait_until(lambda: (said := scrub.sample()) and said.current == DONE)
    (program / "new").write_bytes(FINISHED)
    (program / "new").rename(program / "scrub")
    wait_until(lambda: scrub.sample() is None and scrub.outcome)
    (program / "balance").unlink()
    wait_until(lambda: both[1].sample() is None and both[1].outcome)
    for one in (scrub, *both):
        one.close()
    assert (scrub.outcome, both[1].outcome) == (Outcome(State.SUCCEEDED, 0), LOST)
    assert descriptors() == before


def test_what_is_at_rest_or_cannot_be_asked_is_told_in_a_line(program: Path) -> None:
    before = descriptors()
    with pytest.raises(UsageError, match="names no file system"):
        RESOURCE.open("")
    (program / "scrub").write_bytes(FINISHED)
    with pytest.raises(ProcessError, match="btrfs:/mnt/x: nothing is under way there"):
        RESOURCE.open("/mnt/x")
    (program / "scrub").write_bytes(b"scrub status for 804f\n\ttotal bytes scrubbed: 1.2GiB\n")
    with pytest.raises(ProcessError, match="its answer is not understood, with exit status 0"):
        RESOURCE.open("/mnt/x")
    (program / "scrub").write_bytes(RUNNING)
    (program / "balance").unlink()
    with pytest.raises(ProcessError, match=r"btrfs:/mnt/x: cat: .*: No such file or directory"):
        RESOURCE.open("/mnt/x")
    assert descriptors() == before


# --- the real one


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A small file system, mounted; where that may not be, the test is skipped."""
    folder = tmp_path_factory.mktemp("btrfs")
    (folder / "mnt").mkdir()
    with (folder / "image").open("wb") as file:
        file.truncate(512 << 20)
    does("mkfs.btrfs", "-q", str(folder / "image"))
    made = subprocess.run(["mount", "-o", "loop", "image", "mnt"], cwd=folder, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no btrfs to be had: {made.stderr.strip()}")
    try:
        (folder / "mnt/file").write_bytes(os.urandom(60 << 20))
        does("btrfs", "filesystem", "sync", str(folder / "mnt"))
        yield str(folder / "mnt")
    finally:
        uuid = uuid_of(str(folder / "mnt"))
        subprocess.run(["umount", str(folder / "mnt")], check=True, timeout=PATIENCE)
        for file in Path("/var/lib/btrfs").glob(f"scrub.*.{uuid}"):
            file.unlink()


def uuid_of(mounted: str) -> str:
    found = re.search(r"[0-9a-f-]{36}", does("btrfs", "filesystem", "show", mounted))
    assert found is not None
    return found[0]


def does(*words: str) -> str:
    path = f"{ENVIRONMENT['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(
        words, check=True, capture_output=True, text=True, env={**ENVIRONMENT, "PATH": path}, timeout=PATIENCE
    )
    return done.stdout


@pytest.mark.tool("btrfs", "mkfs.btrfs", "mount", "umount")
def test_a_real_scrub_is_shown_to_its_end(mounted: str) -> None:
    limit = slowly(mounted, 1 << 20)
    # what goes on behind it holds its output
    subprocess.run(["btrfs", "scrub", "start", mounted], stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE)
    with started("attach", "--interval", "0.1", "--progress-fd", "1", f"btrfs:{mounted}") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        limit.write_text("0\n")
        assert process.wait(PATIENCE) == 0
        last = json.loads(process.stdout.read().splitlines()[-1])
        assert f"scrub of {mounted}: done" in process.stderr.read()
    assert all((line["source"], line["total"] >= 60 << 20) == ("btrfs", True) for line in lines)
    assert (last["state"], last["exit"], last["fraction"]) == ("succeeded", 0, 1.0)


def slowly(mounted: str, speed: int) -> Path:
    """Let a scrub read so many bytes a second; what that was written to."""
    (device,) = Path(f"/sys/fs/btrfs/{uuid_of(mounted)}/devinfo").iterdir()
    limit = device / "scrub_speed_max"
    limit.write_text(f"{speed}\n")
    return limit


@pytest.mark.tool("btrfs", "mkfs.btrfs", "mount", "umount")
def test_a_real_balance_is_shown_until_it_is_cancelled(mounted: str) -> None:
    def paused() -> bool:
        does("btrfs", "balance", "start", "--full-balance", "--bg", mounted)
        pause = ["btrfs", "balance", "pause", mounted]
        return any(not subprocess.run(pause, capture_output=True, timeout=PATIENCE).returncode for _ in range(9))

    wait_until(paused)
    with started("attach", "--interval", "0.1", "--progress-fd", "1", f"btrfs:{mounted}") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = json.loads(process.stdout.readline())
        assert (line["phase"], line["unit"], line["source"]) == ("paused", "items", "btrfs")
        assert 0 <= line["current"] < line["total"]
        does("btrfs", "balance", "cancel", mounted)
        assert process.wait(PATIENCE) == 123
        assert f"balance of {mounted}: ended" in process.stderr.read()
    assert "nothing is under way there" in pollprog("attach", f"btrfs:{mounted}").stderr
    assert "not a btrfs filesystem" in pollprog("attach", "btrfs:/proc").stderr
