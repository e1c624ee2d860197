"""One status to many watchers: the rules of the channel hold for each, and none is in another's way."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from pollprog.channel import Channel, Clock
from pollprog.fan import Fan, Watcher
from pollprog.status import Outcome, Sample, State, Status
from pollprog.wording import json_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BOUND = 20.0
"""Seconds after which what should come counts as lost."""
LATE = 0.011
"""Seconds by which a watcher may be told later than its interval says."""
SUCCESS = Outcome(State.SUCCEEDED, 0)
FAILURE = Outcome(State.FAILED, 1)


class Desk:
    """Encodes a status as a number, by which a sink of this module finds it again."""

    def __init__(self) -> None:
        self.encoded: list[Status] = []

    def encode(self, status: Status) -> bytes:
        self.encoded.append(status)
        return str(len(self.encoded) - 1).encode()

    def sink(self, takes: Callable[[Status], bool] = lambda status: True) -> Page:
        return Page(self, takes)


class Page:
    """A sink that takes down what it is offered, and when."""

    def __init__(self, desk: Desk, takes: Callable[[Status], bool]) -> None:
        self.takes = takes
        self.told: list[tuple[float, Status]] = []
        self.refused: list[tuple[float, Status]] = []
        self._desk = desk

    def offer(self, frame: bytes) -> bool:
        status = self._desk.encoded[int(frame)]
        taken = self.takes(status)
        (self.told if taken else self.refused).append((trio.current_time(), status))
        return taken

    @property
    def times(self) -> list[float]:
        return [when for when, _ in self.told]

    @property
    def states(self) -> list[State]:
        return [status.state for _, status in self.told]

    @property
    def counts(self) -> list[int | None]:
        return [status.current for _, status in self.told]


def desk_and_fan(*, first: float = 1.0) -> tuple[Channel, Desk, Fan]:
    """A channel whose work began now, by the clock of trio, and a fan for it."""
    channel, desk = Channel("job", clock=Clock(trio.current_time), first=first), Desk()
    return channel, desk, Fan(channel, desk.encode)


async def report_every(channel: Channel, interval: float, *, task_status: trio.TaskStatus = trio.TASK_STATUS_IGNORED):
    """Report a growing count, for ever."""
    task_status.started()
    current = 0
    while True:
        current += 1
        channel.report(Sample(current, 1_000_000))
        await trio.sleep(interval)


def gaps(times: Sequence[float]) -> list[float]:
    return [later - sooner for sooner, later in pairwise(times)]


class Steps(trio.abc.Instrument):
    """Counts how often a task named "the fan" runs."""

    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name == "the fan"


@contextmanager
def counted() -> Iterator[Steps]:
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    yield steps
    trio.lowlevel.remove_instrument(steps)


# --- 1. Writers never wait.


async def test_reports_return_while_the_fan_does_nothing() -> None:
    channel = Channel("job")
    fan, desk = Fan(channel, json_line), Desk()

    def work() -> None:
        for current in range(1, 2001):
            channel.report(Sample(current))

    async with trio.open_nursery() as nursery:
        fan.add(desk.sink())
        nursery.start_soon(fan.run)
        await trio.testing.wait_all_tasks_blocked()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(BOUND)  # and trio with it
        assert not thread.is_alive()
        nursery.cancel_scope.cancel()
    assert channel.seq == 2000


async def test_each_report_from_a_thread_reaches_a_watcher_that_waits_for_it() -> None:
    channel, desk = Channel("job", clock=Clock(started=time.monotonic() - 10)), Desk()
    fan, taken = Fan(channel, desk.encode), threading.Semaphore(0)

    def work() -> None:
        for current in range(1, 16):
            channel.report(Sample(current))
            assert taken.acquire(timeout=BOUND)
        channel.finish(SUCCESS)

    def take(status: Status) -> bool:
        taken.release()
        return True

    page = desk.sink(take)
    fan.add(page, interval=0.1)
    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fan.run)
            nursery.start_soon(trio.to_thread.run_sync, work)
    assert page.counts == [*range(1, 16), 15]


# --- 2. No status in the first second of the work; then at most one an interval.


@pytest.mark.parametrize("first", [0.0, 0.3, 1.0, 4.0])
async def test_nobody_is_told_before_the_first_seconds_are_over(first: float, autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan(first=first)
    pages, began = [desk.sink() for _ in range(3)], trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.03)
        nursery.start_soon(fan.run)
        for page in pages:
            fan.add(page, interval=0.1)
            await trio.sleep(0.05)
        await trio.sleep(6)
        nursery.cancel_scope.cancel()
    for number, page in enumerate(pages):
        told_first = page.times[0] - began
        assert first - 1e-5 <= told_first <= max(first, number * 0.05) + 0.05 + LATE


@pytest.mark.parametrize("interval", [0.1, 1 / 3, 1.0, 7.0])
async def test_a_watcher_is_told_once_an_interval_at_most(interval: float, autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    pages = [desk.sink() for _ in range(4)]
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.013)
        nursery.start_soon(fan.run)
        for page in pages:
            fan.add(page, interval=interval)
            await trio.sleep(0.37)
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    for page in pages:
        assert min(gaps(page.times)) >= interval - 1e-5
        assert max(gaps(page.times)) <= interval + 0.014 + LATE


async def test_an_interval_is_100_ms_at_least(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page, deaf = desk.sink(), desk.sink(lambda status: False)
    fan.add(page, interval=0.001)
    fan.add(deaf, interval=-5)
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.001)
        nursery.start_soon(fan.run)
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert min(gaps(page.times)) >= 0.1 - 1e-5
    assert min(gaps([when for when, _ in deaf.refused])) >= 0.1 - 1e-5


async def test_watchers_of_different_intervals_do_not_disturb_each_other(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    often, seldom = desk.sink(), desk.sink()
    fan.add(often, interval=0.25)
    fan.add(seldom, interval=2.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.05)
        nursery.start_soon(fan.run)
        await trio.sleep(21)
        nursery.cancel_scope.cancel()
    assert 70 <= len(often.told) <= 81
    assert 10 <= len(seldom.told) <= 11


async def test_who_comes_late_is_told_at_once(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    channel.report(Sample(5, 10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        await trio.sleep(60)
        page, now = desk.sink(), trio.current_time()
        fan.add(page)
        await trio.testing.wait_all_tasks_blocked()
        assert page.counts == [5]
        assert page.times == [now]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("state", [State.PAUSED, State.CANCELLING])
async def test_a_change_of_state_is_told_at_once_to_everyone(state: State, autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    has_newest, is_behind, was_never_told = desk.sink(), desk.sink(), desk.sink()
    fan.add(has_newest, interval=0.1)
    fan.add(is_behind, interval=60.0)
    channel.report(Sample(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        await trio.sleep(5)
        channel.report(Sample(2))
        await trio.sleep(5)
        watcher = fan.add(was_never_told, interval=60.0, after=2)
        await trio.sleep(5)
        channel.change(state)
        await trio.testing.wait_all_tasks_blocked()
        now = trio.current_time()
        for page in (has_newest, is_behind, was_never_told):
            assert (page.times[-1], page.states[-1]) == (now, state)
        assert watcher.told == 3
        nursery.cancel_scope.cancel()
    assert has_newest.counts == [1, 2, 2]
    assert is_behind.counts == [1, 2]


async def test_who_was_told_of_a_pause_in_the_first_second_gets_no_status_in_it(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page, late, began = desk.sink(), desk.sink(), trio.current_time()
    fan.add(page, interval=0.1)
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.03)
        nursery.start_soon(fan.run)
        await trio.sleep(0.2)
        channel.change(State.PAUSED)
        await trio.sleep(0.3)
        fan.add(late, interval=0.1)  # hears of the pause all the same
        await trio.sleep(4.7)
        assert page.states == late.states == [State.PAUSED]  # 5 seconds, and none of them of the work
        channel.change(State.RUNNING)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    times = [when - began for when in page.times]
    assert times[:2] == pytest.approx([0.2, 5.2])
    assert 6 <= times[2] < 6.2
    assert late.times[0] - began == pytest.approx(0.5, abs=LATE)


def test_the_first_second_of_work_that_stands_is_not_waited_for_by_spinning() -> None:
    steps = Steps()

    async def run() -> None:
        channel, desk, fan = desk_and_fan(first=0.01)
        page = desk.sink()
        fan.add(page)
        channel.report(Sample(1))
        async with trio.open_nursery() as nursery:
            await trio.sleep(0.009)
            channel.clock.pause()
            nursery.start_soon(fan.run, name="the fan")
            await trio.sleep(100)
            assert not page.told
            channel.clock.go_on()
            await trio.sleep(3)
            assert page.counts == [1]
            nursery.cancel_scope.cancel()

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[steps])
    assert steps.count < 400


async def test_a_watcher_falls_in_step_with_a_sampler_of_its_own_pace(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page = desk.sink()
    fan.add(page, interval=1 / 3)
    async with trio.open_nursery() as nursery:
        await trio.sleep(0.05)
        await nursery.start(report_every, channel, 0.34)
        nursery.start_soon(fan.run)
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert len(page.told) > 80
    assert max(status.age for _, status in page.told) < LATE


async def test_an_old_sample_is_told_all_the_same_if_no_newer_one_comes(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page, began = desk.sink(), trio.current_time()
    fan.add(page, interval=0.5)
    channel.report(Sample(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert page.counts == [1]
    assert page.times[0] - began <= 1.25 + LATE


async def test_a_follower_is_told_at_once_even_in_the_first_second_and_then_as_everyone(
    autojump_clock: object,
) -> None:
    channel, desk, fan = desk_and_fan()
    page, began = desk.sink(), trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.02)
        nursery.start_soon(fan.run)
        await trio.sleep(0.31)
        watcher = fan.add(page, interval=0.2, at_once=True)
        assert watcher.told == channel.latest().seq == 16
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    assert page.times[0] - began == pytest.approx(0.31)
    assert page.times[1] - began == pytest.approx(1.0, abs=0.02 + LATE)
    assert min(gaps(page.times)) >= 0.2 - 1e-5


async def test_a_follower_is_told_once_an_interval_from_its_first_status_on(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page = desk.sink()
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.02)
        nursery.start_soon(fan.run)
        await trio.sleep(5)
        fan.add(page, interval=2.0, at_once=True)
        await trio.sleep(9)
        nursery.cancel_scope.cancel()
    assert gaps(page.times) == pytest.approx([2.0] * 4, abs=0.02 + LATE)


async def test_who_has_a_status_is_not_told_it_again(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page, future = desk.sink(), desk.sink()
    for current in range(5):
        channel.report(Sample(current))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        await trio.sleep(5)
        watcher = fan.add(page, after=5)
        fan.add(future, after=1000)  # of another job, or another life of this one
        assert watcher.told == 5
        await trio.sleep(60)
        assert not page.told
        channel.report(Sample(7))
        await trio.testing.wait_all_tasks_blocked()
        assert page.counts == future.counts == [7]
        assert watcher.told == 6
        nursery.cancel_scope.cancel()


# --- 3. The newest is told in the end, and nothing follows the outcome.


async def test_the_newest_sample_is_told_though_no_other_follows(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page = desk.sink()
    await trio.sleep(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        fan.add(page)
        for current in range(1, 5):
            channel.report(Sample(current))
            await trio.sleep(0.02)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert page.counts == [1, 4]


async def test_the_last_status_is_told_at_once_to_those_who_were_told_any_and_nothing_follows(
    autojump_clock: object,
) -> None:
    channel, desk, fan = desk_and_fan()
    told, came_with_one, never_told = desk.sink(), desk.sink(), desk.sink()
    first = fan.add(told, interval=60.0)
    channel.report(Sample(1, 2))
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fan.run)
            await trio.sleep(5)
            fan.add(came_with_one, after=1)
            second = fan.add(never_told, after=0, interval=60.0)
            fan.remove(second)
            third = fan.add(never_told)
            channel.finish(SUCCESS)  # before it is told
            ended = trio.current_time()
    assert trio.current_time() == ended
    assert told.states == [State.RUNNING, State.SUCCEEDED]
    assert told.counts == [1, 2]
    assert came_with_one.states == [State.SUCCEEDED]
    assert not never_told.told
    assert (first.told, second.told, third.told) == (2, 0, 0)
    fan.add(never_told)
    await fan.run()
    assert not never_told.told
    assert len(told.told) == 2


async def test_work_that_is_over_in_the_first_second_is_left_to_the_reply(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page = desk.sink()
    watcher = fan.add(page, interval=0.1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        for current in range(9):
            channel.report(Sample(current, 10))
            await trio.sleep(0.1)
        channel.finish(SUCCESS)
    assert not page.told
    assert watcher.told == 0


async def test_a_follower_who_was_told_that_nothing_is_known_yet_is_told_the_outcome(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page, gone = desk.sink(), desk.sink(lambda status: False)
    watcher = fan.add(page, at_once=True)
    assert (watcher.told, page.counts) == (0, [None])
    fan.add(gone, at_once=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        await trio.sleep(0.5)
        channel.finish(FAILURE)
    assert page.states == [State.RUNNING, State.FAILED]
    assert len(gone.refused) == 1  # it has had nothing, so the reply is all it needs


async def test_a_follower_of_work_that_has_ended_is_told_so_once(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    channel.finish(FAILURE)
    page = desk.sink()
    watcher = fan.add(page, at_once=True)
    await fan.run()
    assert page.states == [State.FAILED]
    assert watcher.told == 1


async def test_a_fan_without_watchers_ends_with_the_work(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fan.run)
            await trio.sleep(50)
            channel.report(Sample(1))
            channel.finish(SUCCESS)
    assert not desk.encoded


# --- who refuses


async def test_who_refuses_is_asked_when_it_is_due_again_and_then_gets_the_newest(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page, other = desk.sink(lambda status: (status.current or 0) >= 100), desk.sink()
    watcher = fan.add(page, interval=1.0)
    fan.add(other, interval=1.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.1)
        nursery.start_soon(fan.run)
        await trio.sleep(8.05)
        assert watcher.told == 0
        assert 7 <= len(page.refused) <= 8
        assert len(page.refused) == len(other.told)
        await trio.sleep(8)
        nursery.cancel_scope.cancel()
    asked = [when for when, _ in (*page.refused, *page.told)]
    assert all(1 - 1e-5 <= gap <= 1.1 + LATE for gap in gaps(asked))
    assert page.counts[0] in range(100, 111)
    assert all(status.age <= 0.1 + LATE for _, status in page.told)
    assert watcher.told == page.told[-1][1].seq


async def test_who_refuses_a_change_of_state_is_told_of_it_when_it_takes_again(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    open_from = 60.0
    page = desk.sink(lambda status: trio.current_time() - began >= open_from)
    began = trio.current_time()
    fan.add(page, interval=2.0)
    channel.report(Sample(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        await trio.sleep(30)
        channel.change(State.PAUSED)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert page.states == [State.PAUSED]
    assert open_from <= page.times[0] - began <= open_from + 2.0 + LATE
    assert min(gaps([when for when, _ in page.refused if when - began > 30])) >= 2.0 - 1e-5


async def test_the_outcome_is_offered_once_and_who_refuses_it_can_be_told_from_what_it_has(
    autojump_clock: object,
) -> None:
    channel, desk, fan = desk_and_fan()
    page = desk.sink(lambda status: status.outcome is None)
    watcher = fan.add(page)
    channel.report(Sample(1, 2))
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fan.run)
            await trio.sleep(5)
            channel.finish(SUCCESS)
    assert page.states == [State.RUNNING]
    assert [status.state for _, status in page.refused] == [State.SUCCEEDED]
    assert watcher.told == 1 < channel.seq


# --- whoever fails


async def test_a_sink_that_raises_is_dropped_with_one_line_in_the_log_and_the_others_are_told(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        calls = 0

        def offer(self, frame: bytes) -> bool:
            self.calls += 1
            raise BrokenPipeError("nobody there")

    channel, desk, fan = desk_and_fan()
    broken, page, follower = Broken(), desk.sink(), Broken()
    fan.add(broken)
    fan.add(page)
    assert fan.add(follower, at_once=True).told == 0
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.1)
        nursery.start_soon(fan.run)
        await trio.sleep(10.05)
        channel.finish(SUCCESS)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert broken.calls == follower.calls == 1
    assert len(page.told) > 8
    assert page.states[-1] is State.SUCCEEDED
    assert [record.getMessage() for record in caplog.records] == ["a watcher of job failed; it is told no more"] * 2


async def test_a_status_that_cannot_be_encoded_drops_those_it_was_for_and_no_others(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    channel, desk = Channel("job", clock=Clock(trio.current_time)), Desk()

    def encode(status: Status) -> bytes:
        if status.phase == "bad":
            raise UnicodeError("no such character")
        return desk.encode(status)

    fan = Fan(channel, encode)
    often, seldom = desk.sink(), desk.sink()
    fan.add(often, interval=1.0)
    fan.add(seldom, interval=20.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        for second in range(60):
            channel.report(Sample(second, phase="bad" if second == 5 else ""))
            await trio.sleep(1)
        fan.add(often, interval=1.0)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert often.counts == [1, 2, 3, 4, 59]
    assert len(seldom.told) >= 2
    assert len(caplog.records) == 1
    assert "cannot be encoded" in caplog.text


# --- who comes and goes


async def test_who_is_removed_is_told_nothing_more(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    has_newest, is_behind, stays = desk.sink(), desk.sink(), desk.sink()
    watchers = [fan.add(has_newest), fan.add(is_behind, interval=9.0)]
    fan.add(stays)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        for second in range(6):
            channel.report(Sample(second))
            await trio.sleep(1)
        told = [len(has_newest.told), len(is_behind.told)]
        for watcher in watchers:
            fan.remove(watcher)
            fan.remove(watcher)
        for second in range(20):
            channel.report(Sample(second))
            await trio.sleep(1)
        channel.finish(SUCCESS)
    assert [len(has_newest.told), len(is_behind.told)] == told
    assert stays.states[-1] is State.SUCCEEDED


async def test_a_sink_may_remove_its_own_watcher_or_another_of_the_same_pass(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    watchers: list[Watcher] = []

    def remove_all(status: Status) -> bool:
        for watcher in watchers:
            fan.remove(watcher)
        return True

    pages = [desk.sink(remove_all) for _ in range(10)]
    watchers += [fan.add(page) for page in pages]
    channel.report(Sample(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        await trio.sleep(10)
        assert not fan._heap
        assert not fan._expecting
        nursery.cancel_scope.cancel()
    assert sum(len(page.told) for page in pages) == 1


@pytest.mark.parametrize("takes", [True, False])
async def test_watchers_that_come_and_go_leave_nothing_behind(takes: bool, autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    stays = desk.sink()
    fan.add(stays, interval=5.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        for second in range(2000):
            fan.remove(fan.add(desk.sink(lambda status: takes), interval=1e6, at_once=True))
            if second % 100 == 0:
                await trio.sleep(1)
        assert len(fan._heap) < 300
        assert len(fan._expecting) <= 1
        channel.report(Sample(1999))
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert stays.counts[-1] == 1999


async def test_a_watcher_leaves_no_times_behind_for_which_it_did_not_wait_to_the_end(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    in_step, patient = desk.sink(), desk.sink()
    fan.add(in_step, interval=1.0)
    fan.add(patient, interval=1e6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        for second in range(300):
            channel.report(Sample(second))
            await trio.sleep(1.002)
            if second % 2:
                channel.change(State.PAUSED if second % 4 == 1 else State.RUNNING)
        assert len(fan._heap) <= 4
        nursery.cancel_scope.cancel()
    assert len(in_step.told) > 290
    assert len(patient.told) >= 150


# --- what it costs: counts, and no times


async def test_a_status_is_encoded_once_for_all_who_are_told_it(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    pages = [desk.sink() for _ in range(1000)]
    for page in pages:
        fan.add(page)
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.5)
        nursery.start_soon(fan.run)
        await trio.sleep(9.9)
        nursery.cancel_scope.cancel()
    assert {len(page.told) for page in pages} == {9}
    assert len(desk.encoded) == 9


async def test_a_status_that_was_encoded_a_while_ago_is_made_anew_with_its_times(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    channel.report(Sample(1))
    await trio.sleep(5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        pages = []
        for _ in range(100):
            pages.append(desk.sink())
            fan.add(pages[-1], interval=60.0)
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert len(desk.encoded) <= 21
    for page in pages:
        ((when, status),) = page.told
        assert 0 <= when - status.elapsed <= 0.05 + 1e-5


async def test_watchers_that_are_due_soon_after_each_other_go_in_one_pass(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    pages = [desk.sink() for _ in range(1000)]
    for number, page in enumerate(pages):
        fan.add(page, interval=0.5 + number / 1000)
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.2)
        nursery.start_soon(fan.run, name="the fan")
        await trio.sleep(3.5)
        before = sum(len(page.told) for page in pages)
        with counted() as steps:
            await trio.sleep(10)
        told = sum(len(page.told) for page in pages) - before
        nursery.cancel_scope.cancel()
    assert told > 10_000
    assert steps.count <= 1100  # a hundred a second, and one for each sample


async def test_watchers_who_have_the_newest_wait_for_no_time(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    pages = [desk.sink() for _ in range(100)]
    for number, page in enumerate(pages):
        fan.add(page, interval=0.5 + number / 100)
    channel.report(Sample(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run, name="the fan")
        await trio.sleep(5)
        with counted() as steps:
            await trio.sleep(10_000)
        assert steps.count == 0
        assert {len(page.told) for page in pages} == {1}
        channel.report(Sample(2))
        await trio.testing.wait_all_tasks_blocked()
        assert {len(page.told) for page in pages} == {2}
        nursery.cancel_scope.cancel()


async def test_watchers_that_wait_for_their_interval_are_not_woken_by_reports(autojump_clock: object) -> None:
    channel, desk, fan = desk_and_fan()
    page = desk.sink()
    fan.add(page, interval=10.0)
    await trio.sleep(1)
    channel.report(Sample(0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run, name="the fan")
        await trio.testing.wait_all_tasks_blocked()
        channel.report(Sample(1))
        await trio.testing.wait_all_tasks_blocked()
        with counted() as steps:
            for current in range(500):
                channel.report(Sample(current))
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
        assert steps.count == 0
        nursery.cancel_scope.cancel()
    assert page.counts == [0]


# --- real sockets


class Socket:
    """A sink on a socket that keeps the bounds of what is sent."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.end = end

    def offer(self, frame: bytes) -> bool:
        try:
            self.end.send(frame)
        except BlockingIOError:
            return False
        return True


@contextmanager
def sockets(count: int) -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(count)]
    ours, theirs = [list(ends) for ends in zip(*pairs, strict=True)]
    try:
        yield ours, theirs
    finally:
        for end in ours + theirs:
            end.close()


def fill(end: socket.socket) -> int:
    """Send until it holds no more; how many messages that were."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    end.setblocking(False)
    count = 0
    try:
        while True:
            end.send(b"-" * 600)
            count += 1
    except BlockingIOError:
        return count


def received(end: socket.socket) -> list[bytes]:
    """All that is there to read."""
    found = []
    try:
        while frame := end.recv(65536, socket.MSG_DONTWAIT):
            found.append(frame)
    except BlockingIOError:
        pass
    return found


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(BOUND):
        while not condition():  # noqa: ASYNC110 # a socket sets no event
            await trio.sleep(0.005)


def on_real_time() -> tuple[Channel, Fan]:
    channel = Channel("job", clock=Clock(started=time.monotonic() - 10))
    return channel, Fan(channel, lambda status: b"%d %s" % (status.seq, status.state.encode()))


async def test_a_socket_that_is_full_gets_the_newest_when_there_is_room() -> None:
    channel, fan = on_real_time()
    with sockets(2) as ((full, empty), (reader, other)):
        filled = fill(full)
        late, swift = fan.add(Socket(full), interval=0.1), fan.add(Socket(empty), interval=0.1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fan.run)
            for current in range(1, 4):
                channel.report(Sample(current))
                await until(lambda: swift.told == channel.seq)
            assert late.told == 0
            assert received(other) == [b"1 running", b"2 running", b"3 running"]
            assert received(reader) == [b"-" * 600] * filled
            await until(lambda: late.told == 3)
            channel.finish(SUCCESS)
        assert received(reader) == [b"3 running", b"4 succeeded"]
        assert received(other) == [b"4 succeeded"]


async def test_a_socket_whose_reader_is_gone_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    channel, fan = on_real_time()
    with sockets(2) as ((broken, whole), (gone, reader)):
        dropped, kept = fan.add(Socket(broken), interval=0.1), fan.add(Socket(whole), interval=0.1)
        gone.close()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fan.run)
            for current in range(1, 4):
                channel.report(Sample(current))
                await until(lambda: kept.told == channel.seq)
            channel.finish(SUCCESS)
        assert dropped.told == 0
        assert len(received(reader)) == 4
    assert len(caplog.records) == 1
    assert "a watcher of job failed" in caplog.text


async def test_a_thousand_watchers_are_told_though_a_hundred_more_never_read() -> None:
    channel, fan = on_real_time()
    with sockets(1100) as (ours, theirs):
        for end in ours[1000:]:
            fill(end)
        watchers = [fan.add(Socket(end), interval=0.1 + number % 50 / 100) for number, end in enumerate(ours)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fan.run)
            for current in range(1, 4):
                channel.report(Sample(current))
                await until(lambda: all(watcher.told == channel.seq for watcher in watchers[:1000]))
            channel.finish(SUCCESS)
        frames = [b"1 running", b"2 running", b"3 running", b"4 succeeded"]
        assert all(received(end) == frames for end in theirs[:1000])
        assert {watcher.told for watcher in watchers[1000:]} == {0}


# --- whatever happens

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.004, 0.04, 0.1, 0.5, 1.5]),
        st.sampled_from([None, None, None, State.RUNNING, State.PAUSED, State.CANCELLING]),
    ),
    max_size=40,
)
WATCHERS = st.lists(
    st.tuples(
        st.sampled_from([0.01, 0.1, 1 / 3, 1.0, 3.0]),  # its interval
        st.sampled_from([0.0, 0.0, 0.05, 0.7, 2.0]),  # when it comes
        st.booleans(),  # whether at once
        st.sampled_from([0, 0, 0, 2, 3]),  # each of so many offers is refused
    ),
    min_size=1,
    max_size=4,
)


@dataclass
class Offer:
    """One that a sink was made."""

    when: float
    elapsed: float
    """On the clock of the job."""
    had: int
    """The newest that the watcher had."""
    status: Status
    taken: bool


@settings(deadline=None, max_examples=80)
@given(steps=STEPS, kinds=WATCHERS, first=st.sampled_from([0.0, 1.0]))
def test_every_watcher_is_told_in_time_and_in_order(
    steps: list[tuple[float, State | None]], kinds: list[tuple[float, float, bool, int]], first: float
) -> None:
    async def run() -> None:
        channel, desk, fan = desk_and_fan(first=first)
        offers: list[list[Offer]] = [[] for _ in kinds]
        changes: list[tuple[float, int]] = []

        def sink(made: list[Offer], refuses: int) -> Page:
            def take(status: Status) -> bool:
                had = max((offer.status.seq for offer in made if offer.taken), default=0)
                taken = status.outcome is not None or not refuses or len(made) % refuses != 0
                made.append(Offer(trio.current_time(), channel.clock(), had, status, taken))
                return taken

            return desk.sink(take)

        async def come(page: Page, interval: float, after: float, at_once: bool) -> None:
            await trio.sleep(after)
            fan.add(page, interval=interval, at_once=at_once)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fan.run)
            for (interval, comes, at_once, refuses), made in zip(kinds, offers, strict=True):
                nursery.start_soon(come, sink(made, refuses), interval, comes, at_once)
            for number, (passed, state) in enumerate(steps):
                await trio.sleep(passed)
                before = channel.changed
                channel.report(Sample(number, 1000)) if state is None else channel.change(state)
                if channel.changed != before:
                    changes.append((trio.current_time(), channel.changed))
                await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(15)
            newest = channel.latest()
            channel.finish(FAILURE)
            changes.append((trio.current_time(), channel.changed))
        for (interval, comes, at_once, _), made in zip(kinds, offers, strict=True):
            told = [offer.status for offer in made if offer.taken]
            assert [status.seq for status in told] == sorted({status.seq for status in told})
            for sooner, later in pairwise(made):
                if later.when not in [when for when, _ in changes]:
                    assert later.when - sooner.when >= max(0.1, interval) - 1e-5
            for number, offer in enumerate(made):
                assert offer.status.elapsed >= offer.elapsed - 0.05 - 1e-5
                news = [seq for when, seq in changes if when <= offer.when and seq > offer.had]
                if not news and not (at_once and number == 0):
                    assert offer.elapsed >= first - 1e-5
            here = [seq for when, seq in changes if when > comes]
            assert set(here[:-1]) <= {offer.status.seq for offer in made}
            assert [offer.status.seq for offer in made].count(here[-1]) == bool(told)
            assert [status.outcome is not None for status in told] == [False] * (len(told) - 1) + [True] * bool(told)
            if newest.elapsed >= first + 10 and newest.seq:
                assert newest.seq in [status.seq for status in told]

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
