"""Arrays of md: what the kernel says of them, as files; and attach, as it is typed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from terminals import ENVIRONMENT, pollprog

from pollprog import runner
from pollprog.errors import ProcessError, UsageError
from pollprog.probes.md import RESOURCE, Array, parse_completed, parse_mdstat
from pollprog.sampler import Sampler
from pollprog.status import Bound, Outcome, Sample, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.probes.resource import Resource

MDSTAT = (Path(__file__).parent / "data/resources/mdstat.resync").read_bytes()
KIB = 1024
LOST, WELL = Outcome(State.LOST), Outcome(State.SUCCEEDED, 0)


class Kernel:
    """A /sys, a /proc and a /dev of our own, with one array."""

    def __init__(self, folder: Path, name: str = "md1") -> None:
        self.folder = folder
        self.name = name
        self.files = folder / "sys/block" / name / "md"
        self.files.mkdir(parents=True)
        (folder / "proc").mkdir()
        (folder / "dev/md").mkdir(parents=True)
        (folder / f"dev/{name}").touch()
        (folder / "dev/md/home").symlink_to(f"../{name}")
        self.says(sync_action="resync", sync_completed="none", degraded="0", resync_start="0", reshape_position="none")
        self.shows(MDSTAT)

    def says(self, **files: str) -> None:
        for name, text in files.items():
            (self.files / "new").write_text(f"{text}\n")
            (self.files / "new").rename(self.files / name)

    def shows(self, mdstat: bytes) -> None:
        (self.folder / "proc/mdstat").write_bytes(mdstat)

    @property
    def places(self) -> dict[str, str]:
        return {name: str(self.folder / name) for name in ("sys", "proc", "dev")}

    def open(self, argument: str) -> Sequence[Resource]:
        return RESOURCE.open(argument, **self.places)

    def array(self) -> Array:
        return Array(self.name, sys=self.places["sys"], proc=self.places["proc"])


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


# --- what the kernel says


def test_of_each_array_that_is_told_which_is_its_own() -> None:
    assert parse_mdstat(MDSTAT, "md1") == (100223808 * KIB, 3897063424 * KIB)
    assert parse_mdstat(MDSTAT, "md10") == (141593344 * KIB, 488254976 * KIB)
    assert parse_mdstat(MDSTAT, "md127") is None
    assert parse_mdstat(MDSTAT, "md0") is None
    assert parse_mdstat(b"", "md1") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"100223808/3897063424", b"3897063425/3897063424"),
        (b"100223808/3897063424", b"0/0"),
        (b"100223808/", b"-1/"),
        (b"100223808/", b"\xd9\xa1/"),
        (b"3897063424) ", b"9999999999999999999) "),
        (b"resync =  2.5%", b"resync = zwei %"),
        (b"resync =  2.5% (", b"resync =PENDING ("),
        (b"[>....................]", b"bitmap:"),
    ],
)
def test_what_no_kernel_says_says_nothing(old: bytes, new: bytes) -> None:
    assert old in MDSTAT
    assert parse_mdstat(MDSTAT.replace(old, new, 1), "md1") is None


def test_what_is_cut_says_less_and_nothing_else() -> None:
    whole = parse_mdstat(MDSTAT, "md1")
    said = {parse_mdstat(MDSTAT[:length], "md1") for length in range(len(MDSTAT))}
    assert said == {None, whole}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"1024 / 4096", (1024 * 512, 4096 * 512)),
        (b"none", None),
        (b"delayed", None),
        (b"5 / 4", None),
        (b"0 / 0", None),
        (b"1024/4096", None),
        (b"1024 / ", None),
        (b"\xff", None),
    ],
)
def test_the_arrays_own_file_is_read_as_strictly(text: bytes, said: tuple[int, int] | None) -> None:
    assert parse_completed(text) == said


# --- a look


def test_the_kernels_count_is_told_with_what_it_is_at(kernel: Kernel) -> None:
    array = kernel.array()
    assert array.sample() == Sample(100223808 * KIB, 3897063424 * KIB, phase="resync", source="md")
    kernel.says(sync_action="recover")
    said = array.sample()
    assert said is not None
    assert said.phase == "recovery"
    assert array.outcome is None


def test_without_mdstat_at_least_so_much_is_done(kernel: Kernel) -> None:
    array = kernel.array()
    (kernel.folder / "proc/mdstat").unlink()
    assert array.sample() is None
    kernel.says(sync_completed="2048 / 8192")
    assert array.sample() == Sample(2048 * 512, 8192 * 512, phase="resync", source="md", bound=Bound.LOWER)


def test_what_waits_for_another_array_says_so(kernel: Kernel) -> None:
    kernel.shows(MDSTAT.replace(b"md1 :", b"md2 :"))
    kernel.says(sync_completed="delayed")
    assert kernel.array().sample() == Sample(0, phase="resync, delayed", source="md")


def test_a_file_that_would_make_us_wait_says_nothing(kernel: Kernel) -> None:
    (kernel.folder / "proc/mdstat").unlink()
    os.mkfifo(kernel.folder / "proc/mdstat")
    assert kernel.array().sample() is None


# --- its end


@pytest.mark.parametrize(
    ("action", "afterwards", "outcome"),
    [
        ("resync", {"resync_start": "none"}, WELL),
        ("resync", {"resync_start": "100223808"}, LOST),
        ("recover", {"degraded": "0"}, WELL),
        ("recover", {"degraded": "1"}, LOST),
        ("reshape", {"reshape_position": "none"}, WELL),
        ("reshape", {"reshape_position": "4096"}, LOST),
        ("check", {"resync_start": "none"}, LOST),
        ("repair", {"degraded": "0"}, LOST),
    ],
)
def test_it_ended_well_only_if_nothing_is_left_to_do(
    kernel: Kernel, action: str, afterwards: dict[str, str], outcome: Outcome
) -> None:
    kernel.says(sync_action=action, **afterwards)
    array = kernel.array()
    assert array.sample() is not None
    kernel.says(sync_action="idle")
    assert array.sample() is None
    assert array.outcome is None, "another may follow"
    kernel.says(sync_action=action)
    array.sample()
    kernel.says(sync_action="idle")
    array.sample()
    array.sample()
    assert array.outcome == outcome


def test_an_array_that_is_stopped_is_lost(kernel: Kernel) -> None:
    array = kernel.array()
    array.sample()
    kernel.files.rename(kernel.folder / "gone")
    array.sample()
    array.sample()
    assert array.outcome == LOST


async def test_it_is_watched_to_its_end(kernel: Kernel) -> None:
    heard: list[Sample] = []

    def report(sample: Sample) -> None:
        heard.append(sample)
        kernel.says(sync_action="idle", resync_start="none")

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            sampler = Sampler()
            nursery.start_soon(sampler.run)
            outcome = await runner.follow(kernel.array(), sampler, report, interval=0.1)
            nursery.cancel_scope.cancel()
    assert (outcome, len(heard)) == (WELL, 1)


async def test_a_resource_that_fails_is_lost(kernel: Kernel) -> None:
    array = kernel.array()
    array._mdstat = "\0"

    def fail() -> None:
        raise ValueError("out of order")

    array.sample = fail  # type: ignore[assignment, method-assign] # as a fault of ours would
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            sampler = Sampler()
            nursery.start_soon(sampler.run)
            assert await runner.follow(array, sampler, lambda _: None, interval=60) == LOST
            nursery.cancel_scope.cancel()


# --- which array


@pytest.mark.parametrize("argument", ["md1", "/dev/md1", "/dev/md/home", "home"])
def test_an_array_has_several_names(kernel: Kernel, argument: str) -> None:
    name = argument.replace("/dev", kernel.places["dev"])
    assert [resource.name for resource in kernel.open(name)] == ["md1"]


@pytest.mark.parametrize(
    ("argument", "error", "text"),
    [
        ("", UsageError, "md: names no array"),
        ("../md1", UsageError, "names no array"),
        ("md 1", UsageError, "names no array"),
        ("md9", ProcessError, "there is no array md9; cat /proc/mdstat lists them"),
        ("/dev/null", ProcessError, "there is no array /dev/null"),
        ("sda", ProcessError, "sda is no array of md"),
    ],
)
def test_what_is_no_array_is_told_in_a_line(kernel: Kernel, argument: str, error: type[Exception], text: str) -> None:
    (kernel.folder / "sys/block/sda").mkdir()
    with pytest.raises(error, match=re.escape(text)) as raised:
        kernel.open(argument)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("action", ["idle", "frozen", "", "laufend"])
def test_an_array_at_rest_is_not_watched(kernel: Kernel, action: str) -> None:
    kernel.says(sync_action=action)
    with pytest.raises(ProcessError, match="md1: nothing is under way there"):
        kernel.open("md1")


# --- as it is typed


def attach(kernel: Kernel, *words: str, ends: int = 0, **options: Any) -> Any:
    """Attach to what this kernel has, until it has all ended; with the array, the process `ends`."""
    text = (
        "import functools, os\nfrom pollprog.probes import md\n"
        f"md.Md.open = functools.partialmethod(md.Md.open, **{kernel.places!r})\n"
        "class Ends(md.Array):\n"
        "    def sample(self):\n"
        "        self.looks = getattr(self, 'looks', 0) + 1\n"
        "        if self.looks == 20:\n"
        f"            {ends} and os.kill({ends}, 15)\n"
        "            open(self._files + '/sync_action', 'w').write('idle')\n"
        "        return super().sample()\n"
        "md.Array = Ends\n"
    )
    (kernel.folder / "sitecustomize.py").write_text(text)
    environment = {**ENVIRONMENT, "PYTHONPATH": str(kernel.folder)}
    return pollprog("attach", "--interval", "0.1", *words, env=environment, **options)


def test_attach_shows_an_array_to_its_end(kernel: Kernel) -> None:
    kernel.says(resync_start="none")
    done = attach(kernel, "--progress-fd", "1", "md:md1")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, lines[-1]["state"], lines[-1]["exit"]) == (0, "succeeded", 0)
    assert len(lines) >= 3
    assert {line["job"] for line in lines} == {"md-md1"}
    assert {(line["phase"], line["source"], line["total"]) for line in lines[:-1]} == {
        ("resync", "md", 3897063424 * KIB)
    }
    assert re.search(r"^md1: done, watched for ", done.stderr, re.MULTILINE)


def test_attach_has_another_exit_status_where_the_end_is_not_known(kernel: Kernel) -> None:
    done = attach(kernel, "md:md1", "md:md1", "md:md2")
    assert done.returncode == 123
    assert "there is no array md2; cat /proc/mdstat lists them\n" in done.stderr
    assert "md1: ended, exit status unknown" in done.stderr


def test_a_process_and_an_array_are_shown_side_by_side(kernel: Kernel) -> None:
    kernel.says(resync_start="none")
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        try:
            done = attach(kernel, "--progress-fd", "1", "md:md1", str(sleeper.pid), ends=sleeper.pid)
        finally:
            sleeper.kill()
    jobs = {line["job"]: line["state"] for line in map(json.loads, done.stdout.splitlines())}
    assert jobs == {"md-md1": "succeeded", f"sleep-{sleeper.pid}": "failed"}
    assert done.returncode == 128 + signal.SIGTERM
    assert f"sleep {sleeper.pid}: killed by SIGTERM" in done.stderr
    assert "md1: done" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["mdd:md0"], 2, "there is no resource 'mdd:md0'; there are: "),
        (["1", "md:a b"], 2, "names no array"),
        (["md:nosuch"], 1, "there is no array nosuch"),
        (["md:md0", "--probe", "dd"], 2, "--probe and --total are for processes"),
        (["md0"], 2, "'md0' is not a process id"),
    ],
)
def test_what_cannot_be_watched_is_one_line(words: list[str], status: int, text: str) -> None:
    done = pollprog("attach", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert text in done.stderr
