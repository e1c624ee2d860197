"""A real command, or a process that somebody else started, watched to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from pollprog import runner
from pollprog.ending import outcome_of
from pollprog.launch import Command, launch
from pollprog.probes.chooser import Chooser
from pollprog.probes.filesize import FileSize
from pollprog.process import Process, ProcessTree, open_process
from pollprog.sampler import Sampler
from pollprog.status import Bound, Outcome, Sample, State, Unit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE = 30.0
KERNEL_TELLS = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2]) >= (6, 15)
FAMILY = """
import os, sys
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    word, number = os.read(reader, 100).split()
    if word == b"kill":
        os.kill(os.getpid(), int(number))
    os._exit(int(number))
print(pid, flush=True)
for line in sys.stdin:
    if line == "reap\\n":
        os.waitpid(pid, 0)
    else:
        os.write(writer, line.encode())
"""


class Heard:
    """What a runner says."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.states: list[State] = []
        self.ended = False

    def report(self, sample: Sample) -> None:
        self.samples.append(sample)

    def change(self, state: State, *, since: float = 0.0) -> None:
        assert since >= 0
        self.states.append(state)

    def end(self) -> None:
        self.ended = True

    async def until(self, condition) -> None:
        while not condition(self):  # noqa: ASYNC110 # what it waits for is often the kernel's to do
            await trio.sleep(0.01)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@asynccontextmanager
async def sampling() -> AsyncIterator[tuple[Sampler, trio.Nursery]]:
    sampler = Sampler()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sampler.run)
            yield sampler, nursery
            nursery.cancel_scope.cancel()


# --- a command that was launched


@pytest.mark.parametrize(("script", "ended"), [("exit 0", (0, None)), ("exit 7", (7, None)), ("kill -9 $$", (None, 9))])
async def test_how_the_command_ended_is_told(heard, script, ended):
    launched = launch(Command(["sh", "-c", script]))
    async with sampling() as (sampler, _):
        assert await runner.run(launched, sampler, heard.report, heard.change) == ended
    launched.close()


async def test_a_command_is_measured_while_it_runs(heard, tmp_path):
    os.mkfifo(tmp_path / "go")
    grow = f"exec > {tmp_path}/out; head -c 2000000 /dev/zero; read x < {tmp_path}/go; exit 3"
    launched = launch(Command(["sh", "-c", grow]))
    async with sampling() as (sampler, nursery):

        async def end() -> None:
            await heard.until(lambda heard: any(sample.current >= 2_000_000 for sample in heard.samples))
            await trio.to_thread.run_sync((tmp_path / "go").write_text, "\n")

        nursery.start_soon(end)
        ended = await runner.run(launched, sampler, heard.report, heard.change, total=1 << 30, interval=0.05)
    assert ended == (3, None)
    assert heard.samples[-1].total == 1 << 30
    assert heard.samples[-1].source.startswith("evidence:")
    launched.close()


async def test_a_total_that_the_end_does_not_fit_is_taken_back(heard, tmp_path):
    grow = (
        f"{{ head -c 3000000 /dev/zero; sleep 0.4; }} > {tmp_path}/out"  # open to the end, so that a late look sees it
    )
    for total, told in ((1 << 40, None), (3_000_000, 3_000_000)):
        launched = launch(Command(["sh", "-c", grow]))
        async with sampling() as (sampler, _):
            ended = await runner.run(launched, sampler, heard.report, heard.change, total=total, interval=0.05)
        assert ended == (0, None)
        assert heard.samples[-1].total == told
        launched.close()


@pytest.mark.parametrize(("unit", "total"), [(Unit.BYTES, None), (Unit.PARTS, 100)])
async def test_a_percentage_of_the_programs_own_stands_though_it_was_last_seen_far_from_its_end(heard, unit, total):
    tree = ProcessTree(Process(os.getpid()))
    watch = runner.Watch(tree, Sampler(), heard.report, interval=1.0, total=None, named=None, launched=True)
    watch._take(Sample(1, 100, unit))
    watch.stop()
    watch.succeeded()
    assert heard.samples[-1].total == total
    tree.close()
    tree.root.close()


@pytest.mark.parametrize(
    ("reached", "current", "told"),
    [
        (True, 96, (100, Bound.EXACT)),
        (None, 99, (100, Bound.ESTIMATE)),
        (None, 43, (None, Bound.ESTIMATE)),
        (True, 10, (None, Bound.ESTIMATE)),
    ],
)
async def test_a_total_that_nobody_saw_reached_is_an_estimate_or_none(heard, monkeypatch, reached, current, told):
    tree = ProcessTree(Process(os.getpid()))
    monkeypatch.setattr(runner.Chooser, "reached", lambda *_: reached)
    watch = runner.Watch(tree, Sampler(), heard.report, interval=1.0, total=None, named=None, launched=True)
    watch._take(Sample(current, 100, bound=Bound.ESTIMATE))
    watch.stop()
    watch.succeeded()
    assert (heard.samples[-1].total, heard.samples[-1].bound) == told
    tree.close()
    tree.root.close()


@pytest.mark.parametrize(("given", "told"), [(None, 100), (100, None)])
async def test_a_program_that_tells_how_far_it_is_once_a_second_may_be_far_on_at_its_end(
    heard, monkeypatch, autojump_clock, given, told
):
    tree = ProcessTree(Process(os.getpid()))
    monkeypatch.setattr(runner.Chooser, "reached", lambda *_: True)
    watch = runner.Watch(tree, Sampler(), heard.report, interval=0.1, total=given, named=None, launched=True)
    await trio.sleep(1)
    for _ in range(10):  # looks that find what it said last
        watch._take(Sample(50, 100))
        await trio.sleep(0.1)
    watch.stop()
    watch.succeeded()
    assert heard.samples[-1].total == told
    tree.close()
    tree.root.close()


class Lines:
    """Passes everything on, and hears nothing itself."""

    def passing(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


async def test_what_a_command_says_on_a_claimed_stream_is_heard_by_its_probe_and_passed_on(heard, monkeypatch):
    fed: list[tuple[int, bytes]] = []
    monkeypatch.setattr(Chooser, "feed", lambda _, stream, record: fed.append((stream, record)))
    reader, writer = os.pipe()
    saved = os.dup(2)
    os.dup2(writer, 2)
    try:
        words = ["sh", "-c", "echo one >&2; printf 'two\rthree' >&2; while :; do sleep 0.05; done"]
        launched = launch(Command(words, claims={2: Lines()}))
        async with sampling() as (sampler, nursery):

            async def end() -> None:
                await heard.until(lambda _: len(fed) == 2)
                launched.send(signal.SIGTERM)

            nursery.start_soon(end)
            await runner.run(launched, sampler, heard.report, heard.change, interval=0.05)
    finally:
        os.dup2(saved, 2)
        os.close(saved)
    assert fed == [(2, b"one"), (2, b"two")]
    os.close(writer)
    with open(reader, "rb") as file:  # noqa: ASYNC230 # a pipe with nobody at the other end
        assert file.read() == b"one\ntwo\rthree"
    launched.close()


async def test_a_probe_that_hangs_gives_way_to_the_next_best(heard, monkeypatch):
    held = threading.Event()

    def hang(*_: object) -> None:
        held.wait(PATIENCE)

    monkeypatch.setattr("pollprog.sweep.PATIENCE", 0.1)
    monkeypatch.setattr(FileSize, "sample", hang)
    launched = launch(Command(["sleep", "600"]))
    async with sampling() as (sampler, nursery):

        async def end() -> None:
            await heard.until(lambda heard: any("evidence" in sample.source for sample in heard.samples))
            launched.send(signal.SIGTERM)

        nursery.start_soon(end)
        await runner.run(launched, sampler, heard.report, heard.change, probe=f"filesize:{__file__}", interval=0.05)
        held.set()
    launched.close()


async def test_a_stop_and_its_end_are_told(heard):
    launched = launch(Command(["sleep", "600"]))
    async with sampling() as (sampler, nursery):

        async def stop_and_go() -> None:
            launched.send(signal.SIGSTOP)
            await heard.until(lambda heard: heard.states == [State.PAUSED])
            launched.send(signal.SIGCONT)
            await heard.until(lambda heard: heard.states == [State.PAUSED, State.RUNNING])
            launched.send(signal.SIGTERM)

        nursery.start_soon(stop_and_go)
        assert await runner.run(launched, sampler, heard.report, heard.change) == (None, signal.SIGTERM)
    launched.close()


async def test_a_stop_that_nobody_saw_is_told_if_we_stood_still_ourselves(autojump_clock):
    told: list[tuple[State, float]] = []

    def change(state: State, *, since: float = 0.0) -> None:
        told.append((state, round(since, 3)))

    looks = iter([False, True, True, False])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.tell_stops, lambda: False, lambda: next(looks, False), change)
        await trio.sleep(0.1)
        assert told == []
        await trio.sleep(0.2)
        assert told == []  # it stood still for less than a look takes
        autojump_clock.jump(10)
        await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    (paused, since), running = told
    assert paused is State.PAUSED
    assert 9.5 < since < 10
    assert running == (State.RUNNING, 0)


async def test_what_stands_still_is_told_once(autojump_clock):
    told: list[State] = []
    stands = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            runner.tell_stops, lambda: stands, lambda: False, lambda state, since=0.0: told.append(state)
        )
        await trio.sleep(5)
        assert told == [State.PAUSED]
        stands = False
        await trio.sleep(5)
        assert told == [State.PAUSED, State.RUNNING]
        nursery.cancel_scope.cancel()


# --- a process of somebody else


class Family:
    """A process, and the parent that asks how it ended only when it is told to."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen([sys.executable, "-ISc", FAMILY], stdin=-1, stdout=-1, text=True, bufsize=1)
        self.pid = int(self.popen.stdout.readline())

    def say(self, word: str) -> None:
        self.popen.stdin.write(f"{word}\n")
        self.popen.stdin.flush()

    def close(self) -> None:
        self.popen.stdin.close()
        self.popen.wait(PATIENCE)
        self.popen.stdout.close()


@pytest.fixture
def family():
    parent = Family()
    yield parent
    parent.close()


@pytest.mark.parametrize(("last", "told"), [("exit 7", (7, None)), ("exit 0", (0, None)), ("kill 9", (None, 9))])
async def test_how_a_process_ended_is_told_once_its_parent_has_asked(heard, family, last, told):
    process = open_process(family.pid)
    async with sampling() as (sampler, nursery):

        async def end() -> None:
            family.say(last)
            await heard.until(lambda heard: heard.ended)
            family.say("reap")

        nursery.start_soon(end)
        outcome = await runner.attach(process, sampler, heard.report, heard.change, heard.end)
    process.close()
    assert outcome == (outcome_of(told) if KERNEL_TELLS else Outcome(State.LOST))


async def test_a_process_of_which_nobody_tells_how_it_ended_is_lost_after_a_while(heard, family, monkeypatch):
    monkeypatch.setattr(runner, "REAPED", 0.05)
    monkeypatch.setattr(Process, "outcome", lambda _: None)
    process = open_process(family.pid)
    async with sampling() as (sampler, _):
        family.say("exit 0")
        assert await runner.attach(process, sampler, heard.report, heard.change, heard.end) == Outcome(State.LOST)
    process.close()
    assert heard.ended


async def test_a_process_that_is_gone_before_it_is_watched_raises(heard, family):
    process = open_process(family.pid)
    family.say("exit 0")
    family.say("reap")
    async with sampling() as (sampler, _):
        await heard.until(lambda _: not os.path.exists(f"/proc/{family.pid}"))
        with pytest.raises(ProcessLookupError):
            await runner.attach(process, sampler, heard.report, heard.change, heard.end)
    process.close()


def test_a_process_is_opened_again_only_if_it_is_the_same(family):
    process = open_process(family.pid)
    same = runner.reopened(process)
    assert (same.pid, same.start) == (process.pid, process.start)
    same.close()
    process.start += 1
    with pytest.raises(ProcessLookupError):
        runner.reopened(process)
    process.close()
