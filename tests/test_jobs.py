"""Jobs: who may see them, how they end, whatever an operation does, and how many are remembered."""

from __future__ import annotations

import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
from doors import PATIENCE

from pollprog import errors
from pollprog.config import Service
from pollprog.jobs import Job, Jobs, as_ours
from pollprog.notify import notify_progress
from pollprog.operations import declare
from pollprog.status import State
from pollprog.work import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

QUICK = Service(initial_delay=0.0, interval=0.1, grace=1.0)


class Said(msgspec.Struct, frozen=True):
    """A result."""

    words: list[str]


@asynccontextmanager
async def jobs_with(settings: Service = QUICK) -> AsyncIterator[Jobs]:
    jobs = Jobs(settings)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(jobs.run)
            yield jobs
            nursery.cancel_scope.cancel()


def start(jobs: Jobs, function: Callable[..., Any], uid: int = 1000, **rest: Any) -> Job:
    """Start a function as an operation; `job` and the function's own parameters come from `rest`."""
    operation = declare(function)
    known = {"detached", "directory", "environment"}
    given = operation.struct(**{name: value for name, value in rest.items() if name not in known})
    return jobs.start(operation, given, uid, **{name: value for name, value in rest.items() if name in known})


def nothing() -> None:
    """Do nothing."""


def loop() -> None:
    """Go on until told to stop."""
    while True:
        notify_progress(1, 2)


async def wait() -> None:
    """Wait until told to stop."""
    await trio.sleep_forever()


# --- names and owners


async def test_a_job_has_an_id_an_owner_a_title_and_a_state() -> None:
    async with jobs_with() as jobs:
        job = start(jobs, wait, uid=1234)
        told = job.message()
        assert told.id == job.id
        assert told.id.startswith("wait-")
        assert (told.uid, told.method, told.title, told.state) == (1234, "Wait", "Wait", "running")
        assert abs(told.started - time.time()) < PATIENCE


async def test_a_name_can_be_picked_once() -> None:
    async with jobs_with() as jobs:
        job = start(jobs, nothing, job="my.own-1")
        assert job.id == "my.own-1"
        for _ in range(2):  # also when it is over
            with pytest.raises(errors.JobExists) as raised:
                start(jobs, nothing, job="my.own-1")
            assert raised.value.job == "my.own-1"
            await job.over.wait()


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "x" * 65, "é", "a\n"])
async def test_a_name_that_is_none_is_refused(name: str) -> None:
    async with jobs_with() as jobs:
        with pytest.raises(errors.InvalidParameter) as raised:
            start(jobs, nothing, job=name)
        assert raised.value.parameter == "job"
        assert jobs.all() == []


async def test_jobs_of_others_are_not_there_but_for_root() -> None:
    async with jobs_with() as jobs:
        mine, theirs = start(jobs, wait, uid=1000), start(jobs, wait, uid=1001)
        assert jobs.get(mine.id, 1000) is mine
        with pytest.raises(errors.NoSuchJob) as raised:
            jobs.get(theirs.id, 1000)
        assert raised.value.job == theirs.id
        assert jobs.get(theirs.id, 0) is theirs
        assert jobs.seen_by(1000) == [mine]
        assert jobs.seen_by(1001) == [theirs]
        assert jobs.seen_by(0) == [theirs, mine]


@pytest.mark.parametrize("interval", [0.0, 0.09, 86401.0, -1.0])
async def test_an_interval_that_nobody_can_keep_is_refused_and_nothing_begins(interval: float) -> None:
    async with jobs_with() as jobs:
        with pytest.raises(errors.InvalidParameter) as raised:
            start(jobs, nothing, interval=interval)
        assert raised.value.parameter == "interval"
        assert jobs.all() == []


# --- outcomes


async def test_what_an_operation_returns_is_the_result() -> None:
    def speak() -> Said:
        """Say something."""
        return Said(["a", "word"])

    async with jobs_with() as jobs:
        job = start(jobs, speak)
        await job.over.wait()
        assert (job.state, job.error) == (State.SUCCEEDED, None)
        assert job.message().result == Said(["a", "word"])
        assert job.message(brief=True).result is None
        assert job.ended is not None


class Mute(Exception):
    """One that fails to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


RAISED: list[tuple[BaseException, type[errors.PollprogError], State]] = [
    (ValueError("of theirs"), errors.InternalError, State.FAILED),
    (Mute(), errors.InternalError, State.FAILED),
    (SystemExit(3), errors.InternalError, State.FAILED),
    (KeyboardInterrupt(), errors.InternalError, State.FAILED),
    (GeneratorExit(), errors.InternalError, State.FAILED),
    (errors.NoSpace("full", path="/x", errno="ENOSPC"), errors.NoSpace, State.FAILED),
    (errors.Cancelled("by itself"), errors.Cancelled, State.CANCELLED),
    (errors.CommandFailed("ended", exit=3), errors.CommandFailed, State.FAILED),
    (errors.CommandFailed("who knows"), errors.CommandFailed, State.LOST),
    (ExceptionGroup("one", [errors.NoSuchFile("gone", path="/x")]), errors.NoSuchFile, State.FAILED),
    (ExceptionGroup("two", [errors.Cancelled("a"), errors.NoSpace("b")]), errors.NoSpace, State.FAILED),
    (ExceptionGroup("deep", [ExceptionGroup("er", [OSError("c")]), errors.NoSpace("d")]), errors.InternalError, State.FAILED),
    (BaseExceptionGroup("all", [SystemExit(1), ValueError("e")]), errors.InternalError, State.FAILED),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
@pytest.mark.parametrize(("raised", "error", "state"), RAISED, ids=lambda value: getattr(value, "__name__", None))
async def test_whatever_an_operation_raises_is_its_outcome_and_harms_no_other(
    raised: BaseException, error: type[errors.PollprogError], state: State, kind: str
) -> None:
    def fail() -> None:
        """Fail."""
        raise raised

    async def fail_later() -> None:
        """Fail."""
        await trio.lowlevel.checkpoint()
        raise raised

    async with jobs_with() as jobs:
        other = start(jobs, wait)
        job = start(jobs, fail if kind == "plain" else fail_later)
        await job.over.wait()
        assert type(job.error) is error
        assert job.state is state
        told = job.message()
        assert told.error is not None
        assert told.message
        assert "\n" not in told.message
        msgspec.json.encode(told)
        assert other.state is State.RUNNING


async def test_a_fault_is_logged_and_told_with_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        """Fail."""
        raise KeyError("a key")

    async with jobs_with() as jobs:
        job = start(jobs, fail, job="faulty")
        await job.over.wait()
        assert str(job.error) == "Fail failed: KeyError: 'a key'"
        assert "job faulty failed" in caplog.text
        assert "Traceback" in caplog.text


async def test_a_result_that_was_not_declared_fails_the_job_alone() -> None:
    def promise() -> int:
        """Promise a number."""
        return "a word"  # type: ignore[return-value]

    async with jobs_with() as jobs:
        job = start(jobs, promise)
        await job.over.wait()
        assert isinstance(job.error, errors.InternalError)
        msgspec.json.encode(job.message())


def test_one_cause_among_many_cancellations_is_what_is_told() -> None:
    cause = errors.NoSpace("full")
    told = as_ours(ExceptionGroup("", [errors.Cancelled("a"), cause, errors.Cancelled("b")]), "X")
    assert told is cause


# --- cancelling


@pytest.mark.parametrize("operation", [loop, wait])
async def test_a_job_that_is_cancelled_says_so_at_once_and_is_over_when_its_work_has_ended(
    operation: Callable[[], Any],
) -> None:
    async with jobs_with() as jobs:
        job = start(jobs, operation)
        job.cancel()
        assert job.state is State.CANCELLING
        job.cancel()
        await job.over.wait()
        assert job.state is State.CANCELLED
        assert isinstance(job.error, errors.Cancelled)
        job.cancel()
        assert job.state is State.CANCELLED


async def test_a_job_is_not_over_before_its_work_has_ended_however_long_that_takes() -> None:
    ended = threading.Event()

    def deaf() -> None:
        """Hear nothing."""
        ended.wait(PATIENCE)

    async with jobs_with() as jobs:
        job = start(jobs, deaf)
        await trio.sleep(0.01)
        job.cancel()
        await trio.sleep(0.1)
        assert not job.over.is_set()
        assert job.state is State.CANCELLING
        ended.set()
        await job.over.wait()
        assert job.state is State.SUCCEEDED, "it had done all its work, whatever was asked"


async def test_who_stops_the_jobs_waits_for_their_work() -> None:
    ended: list[str] = []

    async def slow() -> None:
        """Take a while to end."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.1)
            ended.append("slow")

    async with jobs_with() as jobs:
        job = start(jobs, slow)
        await trio.sleep(0.01)
    assert ended == ["slow"]
    assert job.state is State.CANCELLED
    assert job.over.is_set()


async def test_when_they_are_to_end_no_job_begins() -> None:
    async with jobs_with() as jobs:
        job = start(jobs, loop)
        jobs.stop()
        with pytest.raises(errors.TooBusy, match="ending"):
            start(jobs, nothing)
        await jobs.wait()
        assert job.state is State.CANCELLED


async def test_who_is_in_a_hurry_leaves_behind_what_does_not_stop() -> None:
    ended = threading.Event()

    def deaf() -> None:
        """Hear nothing."""
        ended.wait(PATIENCE)

    async with jobs_with() as jobs:
        job = start(jobs, deaf)
        await trio.sleep(0.01)
        jobs.stop()
        await jobs.hurry()
        await jobs.wait()
        assert job.state is State.FAILED
        assert "left behind" in str(job.error)
    ended.set()


# --- standing still


async def test_a_paused_job_stands_and_so_does_its_clock() -> None:
    async with jobs_with() as jobs:
        job = start(jobs, loop)
        await trio.sleep(0.05)
        job.pause()
        stood = job.channel.latest()
        assert stood.state is State.PAUSED
        await trio.sleep(0.1)
        assert job.channel.latest().elapsed == stood.elapsed
        job.resume()
        assert job.state is State.RUNNING
        await trio.sleep(0.05)
        assert job.channel.latest().elapsed > stood.elapsed


async def test_what_is_over_can_neither_be_paused_nor_resumed() -> None:
    async with jobs_with() as jobs:
        job = start(jobs, nothing)
        await job.over.wait()
        for order in (job.pause, job.resume):
            with pytest.raises(errors.JobOver) as raised:
                order()
            assert raised.value.job == job.id


async def test_what_only_watches_cannot_be_paused() -> None:
    async def look() -> None:
        """Watch something."""
        running().observes = True
        await trio.sleep_forever()

    async with jobs_with() as jobs:
        job = start(jobs, look)
        await trio.sleep(0.01)
        with pytest.raises(errors.OperationError, match="only watches"):
            job.pause()
        assert job.state is State.RUNNING


# --- how many


async def test_so_many_jobs_run_at_a_time_and_no_more() -> None:
    async with jobs_with(Service(jobs=2)) as jobs:
        first, _ = start(jobs, wait), start(jobs, loop)
        with pytest.raises(errors.TooBusy) as raised:
            start(jobs, nothing)
        assert raised.value.limit == 2
        first.cancel()
        await first.over.wait()
        await start(jobs, nothing).over.wait()


async def test_those_that_ended_last_are_remembered_whenever_they_began() -> None:
    async with jobs_with(Service(finished=2)) as jobs:
        long = start(jobs, wait, job="long")
        for number in range(4):
            await start(jobs, nothing, job=f"short-{number}").over.wait()
        assert [job.id for job in jobs.all()] == ["short-3", "short-2", "long"]
        long.cancel()
        await long.over.wait()
        assert [job.id for job in jobs.all()] == ["short-3", "long"]
        with pytest.raises(errors.NoSuchJob):
            jobs.get("short-2", 0)


async def test_other_limits_hold_from_the_next_job_on() -> None:
    async with jobs_with(Service(jobs=1)) as jobs:
        start(jobs, loop)
        jobs.configure(Service(jobs=2, finished=0))
        job = start(jobs, nothing)
        await job.over.wait()
        assert job not in jobs.all()


async def test_who_watches_is_woken_when_a_job_begins_changes_its_state_and_ends() -> None:
    async with jobs_with() as jobs:
        for order in ("start", "pause", "resume", "cancel", "end"):
            event = jobs.changed
            assert not event.is_set()
            if order == "start":
                job = start(jobs, loop)
            elif order == "end":
                await job.over.wait()
            else:
                getattr(job, order)()
            assert event.is_set()
