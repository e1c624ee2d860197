"""What an operation sees of its job: loops that stop and stand still, and commands with all that descends from them."""

from __future__ import annotations

import os
import threading
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from children import descriptors
from doors import PATIENCE, is_alive, pids_in

from pollprog.errors import Cancelled, CommandFailed, CommandNotFound, InternalError
from pollprog.launch import is_stopped
from pollprog.notify import notify_progress, steps
from pollprog.process import open_process
from pollprog.sampler import Sampler
from pollprog.status import Outcome, Sample, State
from pollprog.work import Work, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Desk:
    """A work, and what it says."""

    def __init__(self, sampler: Sampler, nursery: trio.Nursery, **rest: Any) -> None:
        self.samples: list[Sample] = []
        self.states: list[State] = []
        environment = {"PATH": os.environ["PATH"]}
        told: dict[str, Any] = {"environment": environment, "interval": 0.05, "grace": 5.0, **rest}
        self.work = Work(sampler, self.samples.append, self.change, **told)
        self.nursery = nursery
        self.limiter = trio.CapacityLimiter(5)
        self.outcome: Any = None
        self.over = trio.Event()

    def change(self, state: State, *, since: float = 0.0) -> None:
        if self.states[-1:] != [state]:  # one that is said again is no news, as for a channel
            self.states.append(state)

    def start(self, function: Callable[[], Any], *, plain: bool = False) -> None:
        """Run an operation's function, as a job does."""

        async def run() -> None:
            try:
                run = partial(self.work.run, within=self.limiter) if plain else self.work.run_async
                self.outcome = await run(function)
            except Exception as error:
                self.outcome = error
            self.over.set()

        self.nursery.start_soon(run)

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():  # noqa: ASYNC110 # what it waits for is the kernel's to do, or a thread's
            await trio.sleep(0.005)


@asynccontextmanager
async def at_desk(**rest: Any) -> AsyncIterator[Desk]:
    sampler = Sampler()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sampler.run)
            desk = Desk(sampler, nursery, **rest)
            try:
                yield desk
            finally:
                desk.work.stop()  # a test that fails ends, too: nothing else ends its command
            nursery.cancel_scope.cancel()


def begin(folder: Path, script: str) -> Callable[[], Any]:
    """An operation that runs a script, which writes its pids to a file there."""
    words = ["sh", "-c", script]

    async def operation() -> str:
        return await running().command(words, environment={"PATH": os.environ["PATH"], "PIDS": str(folder / "pids")})

    return operation


async def pids(folder: Path, count: int = 1) -> list[int]:
    return await trio.to_thread.run_sync(pids_in, folder / "pids", count)


def left_of(folder: Path) -> list[int]:
    """The live processes that were told of this folder."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):  # it has ended meanwhile
            if os.fsencode(folder) in Path(f"/proc/{name}/environ").read_bytes() and is_alive(int(name)):
                found.append(int(name))
    return found


# --- loops


async def test_a_loop_runs_in_a_thread_and_finds_its_work() -> None:
    async with at_desk() as desk:
        here = threading.get_ident()
        desk.start(lambda: (running(), threading.get_ident()), plain=True)
        await desk.over.wait()
        work, there = desk.outcome
        assert work is desk.work
        assert there != here


def test_outside_of_an_operation_there_is_no_work() -> None:
    with pytest.raises(LookupError):
        running()


async def test_a_loop_that_is_told_to_stop_hears_it_at_its_next_step() -> None:
    async with at_desk() as desk:
        asked = threading.Event()

        def loop() -> None:
            while not running().stopped():
                asked.set()
            raise Cancelled("so it was")

        desk.start(loop, plain=True)
        await desk.until(asked.is_set)
        desk.work.stop()
        await desk.over.wait()
        assert isinstance(desk.outcome, Cancelled)


async def test_a_loop_stands_still_while_it_is_paused() -> None:
    async with at_desk() as desk:
        count = 0

        def loop() -> None:
            nonlocal count
            while count < 1_000_000_000 and not running().stopped():
                count += 1

        desk.start(loop, plain=True)
        await desk.until(lambda: count)
        desk.work.pause()
        assert desk.states == [State.PAUSED]
        stood = count
        await trio.sleep(0.1)
        assert count <= stood + 1, "but for the step that was under way"
        desk.work.resume()
        await desk.until(lambda: count > stood)
        assert desk.states == [State.PAUSED, State.RUNNING]
        desk.work.pause()
        desk.work.stop()
        await desk.over.wait()
        desk.work.pause()
        assert desk.states[2:] == [State.PAUSED], "what is to stop is not paused any more"


async def test_what_a_loop_says_is_sampled_and_its_last_word_is_told_in_any_case() -> None:
    async with at_desk() as desk:
        desk.start(lambda: notify_progress(7, 9), plain=True)
        await desk.over.wait()
        assert [(sample.current, sample.total) for sample in desk.samples][-1] == (7, 9)

    async with at_desk() as desk:

        def count() -> None:
            desk.work.counter.begin("", 5)
            desk.work.counter.current = 3
            raise ValueError("in the middle")

        desk.start(count, plain=True)
        await desk.over.wait()
        assert isinstance(desk.outcome, ValueError)
        assert [(sample.current, sample.total) for sample in desk.samples][-1] == (3, 5)


async def test_one_who_says_how_far_it_is_is_thrown_out_once_it_is_to_stop() -> None:
    async with at_desk() as desk:

        def loop() -> None:
            while True:
                notify_progress(1)

        desk.start(loop, plain=True)
        await desk.until(lambda: desk.samples)
        desk.work.stop()
        await desk.over.wait()
        assert isinstance(desk.outcome, Cancelled)


async def test_a_coroutine_that_says_how_far_it_is_while_it_is_paused_holds_up_nobody() -> None:
    async with at_desk() as desk:

        async def loop() -> None:
            while True:
                notify_progress(1)
                await trio.lowlevel.checkpoint()

        desk.start(loop)
        await desk.until(lambda: desk.samples)
        desk.work.pause()
        await trio.sleep(0.01)
        desk.work.stop()
        await desk.over.wait()
        assert isinstance(desk.outcome, Cancelled)


async def test_a_loop_that_does_not_stop_can_be_left_behind() -> None:
    ended = threading.Event()
    async with at_desk() as desk:
        desk.start(ended.wait, plain=True)
        await trio.sleep(0.01)
        desk.work.stop()
        desk.work.abandon()
        await desk.over.wait()
        assert isinstance(desk.outcome, InternalError)
    ended.set()


# --- commands


async def test_a_command_that_ends_well_gives_what_it_printed(tmp_path: Path) -> None:
    async with at_desk() as desk:
        desk.start(begin(tmp_path, "echo some words"))
        await desk.over.wait()
        assert desk.outcome == "some words\n"


@pytest.mark.parametrize(
    ("script", "exit_", "number", "text"),
    [
        ("echo why >&2; exit 7", 7, None, "sh ended with exit status 7: why"),
        ("kill -9 $$", None, 9, "sh was ended by signal 9"),
    ],
)
async def test_a_command_that_ends_badly_says_how(
    tmp_path: Path, script: str, exit_: int | None, number: int | None, text: str
) -> None:
    async with at_desk() as desk:
        desk.start(begin(tmp_path, script))
        await desk.over.wait()
        error = desk.outcome
        assert isinstance(error, CommandFailed)
        assert (error.exit, error.signal, str(error)) == (exit_, number, text)


async def test_a_command_is_told_where_it_runs_by_the_job_if_nobody_else_does(tmp_path: Path) -> None:
    async with at_desk(directory=str(tmp_path), environment={"PATH": os.environ["PATH"], "WORD": "x"}) as desk:
        desk.start(lambda: running().command(["sh", "-c", "pwd; echo $WORD"]))
        await desk.over.wait()
        assert desk.outcome == f"{tmp_path}\nx\n"


async def test_a_command_is_measured_by_its_work_and_not_by_what_it_says(tmp_path: Path) -> None:
    talk = "echo $$ >> $PIDS; for i in $(seq 20); do echo a line of words; sleep 0.02; done"
    async with at_desk() as desk:
        desk.start(begin(tmp_path, talk))
        await desk.over.wait()
        assert desk.samples
        assert {sample.current for sample in desk.samples} == {0}


async def test_a_stop_before_a_command_starts_none(tmp_path: Path) -> None:
    async with at_desk() as desk:
        desk.work.stop()
        desk.start(begin(tmp_path, "echo $$ >> $PIDS"))
        await desk.over.wait()
        assert isinstance(desk.outcome, Cancelled)
        assert not (tmp_path / "pids").exists()


@pytest.mark.parametrize("stands", [False, True])
async def test_a_stop_ends_all_of_a_command_before_it_is_told(tmp_path: Path, stands: bool) -> None:
    async with at_desk() as desk:
        desk.start(begin(tmp_path, "sleep 100 & echo $! >> $PIDS; echo $$ >> $PIDS; wait"))
        started = await pids(tmp_path, 2)
        if stands:
            desk.work.pause()
            await desk.until(lambda: all(map(is_stopped, started)))
        desk.work.stop()
        await desk.over.wait()
        assert isinstance(desk.outcome, Cancelled)
        assert not any(map(is_alive, started))


async def test_a_stop_right_after_the_start_ends_the_command(tmp_path: Path) -> None:
    async with at_desk() as desk:
        desk.start(begin(tmp_path, "echo $$ >> $PIDS; exec sleep 100"))
        await trio.lowlevel.checkpoint()
        desk.work.stop()
        await desk.over.wait()
        assert isinstance(desk.outcome, Cancelled)
        told = (
            (tmp_path / "pids").read_text() if (tmp_path / "pids").exists() else ""
        )  # it may have ended before its word
        assert not any(is_alive(int(pid)) for pid in told.split())


async def test_who_has_no_patience_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    async with at_desk(grace=1000.0) as desk:
        desk.start(begin(tmp_path, "trap '' TERM; echo $$ >> $PIDS; while :; do sleep 0.1; done"))
        started = await pids(tmp_path)
        desk.work.stop()
        await trio.sleep(0.1)
        assert all(map(is_alive, started))
        desk.work.hurry()
        await desk.over.wait()
        assert not any(map(is_alive, started))


async def test_a_paused_command_stands_still_and_goes_on(tmp_path: Path) -> None:
    async with at_desk() as desk:
        desk.start(begin(tmp_path, "sleep 1000 & echo $! >> $PIDS; echo $$ >> $PIDS; wait"))
        started = await pids(tmp_path, 2)
        desk.work.pause()
        assert desk.states == [State.PAUSED]
        await desk.until(lambda: all(map(is_stopped, started)))
        desk.work.resume()
        assert desk.states == [State.PAUSED, State.RUNNING]
        await desk.until(lambda: not any(map(is_stopped, started)))
        desk.work.stop()
        await desk.over.wait()


async def test_a_command_that_begins_while_the_job_is_paused_stands_still_at_once(tmp_path: Path) -> None:
    async with at_desk() as desk:
        desk.work.pause()
        desk.start(begin(tmp_path, "echo $$ >> $PIDS; exec sleep 100"))
        await desk.until(lambda: desk.work._spawned)
        (spawned,) = desk.work._spawned
        await desk.until(spawned.launched.is_stopped)
        desk.work.resume()
        await pids(tmp_path)
        desk.work.stop()
        await desk.over.wait()


async def test_a_command_that_cannot_be_started_is_the_outcome_and_nothing_stays_open() -> None:
    async with at_desk() as desk:
        before = descriptors()
        desk.start(lambda: running().command(["no-such-program"]))
        await desk.over.wait()
        assert isinstance(desk.outcome, CommandNotFound)
        await desk.until(lambda: descriptors() <= before)


async def test_what_an_operation_says_of_itself_comes_before_what_its_commands_do(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(bytes(1 << 20))
    async with at_desk() as desk:

        async def operation() -> None:
            notify_progress(1, 3)
            await begin(tmp_path, f"exec < {tmp_path}/input; sleep 0.3; head -c 600000 > /dev/null; sleep 0.3")()

        desk.start(operation)
        await desk.over.wait()
        assert {(sample.current, sample.total, sample.source) for sample in desk.samples} == {(1, 3, "notified")}


async def test_the_steps_of_an_operation_are_its_phases_and_the_whole_never_falls(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(bytes(1 << 20))
    async with at_desk() as desk:

        async def operation() -> None:
            parts = steps(read=3, rest=1)
            parts.begin("read")
            await begin(tmp_path, f"exec < {tmp_path}/input; sleep 0.2; head -c 600000 > /dev/null; sleep 0.2")()
            parts.begin("rest")
            await begin(tmp_path, "sleep 0.2")()

        desk.start(operation)
        await desk.over.wait()
        told = [sample.current for sample in desk.samples]
        assert told == sorted(told)
        assert {sample.total for sample in desk.samples} == {1_000_000}
        phases = list(dict.fromkeys(sample.phase.partition(":")[0] for sample in desk.samples))
        assert phases == ["read", "rest"]


# --- processes that are not ours


async def test_what_only_watches_leaves_nothing_behind_when_it_is_cancelled() -> None:
    async with at_desk() as desk, trio.open_nursery() as nursery:
        sleeper = await nursery.start(partial(trio.run_process, ["sleep", "100"], check=False))
        before = descriptors()
        process = open_process(sleeper.pid)
        with trio.move_on_after(0.3):
            await desk.work.observe(process)
        process.close()
        assert desk.work.observes
        assert is_alive(sleeper.pid)
        count = len(desk.samples)
        assert count
        await desk.until(lambda: descriptors() <= before)
        await trio.sleep(0.2)
        assert len(desk.samples) == count, "nobody looks any more"
        nursery.cancel_scope.cancel()


async def test_what_is_watched_ends_as_the_kernel_says_or_nobody_knows() -> None:
    async with at_desk() as desk:
        async with trio.open_nursery() as nursery:
            child = await nursery.start(partial(trio.run_process, ["sh", "-c", "sleep 0.2; exit 7"], check=False))
            process = open_process(child.pid)
            outcome = await desk.work.observe(process)
            process.close()
        assert outcome in (Outcome(State.FAILED, 7), Outcome(State.LOST))
