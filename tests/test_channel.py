"""The seven rules of the channel, one after the other, and what holds whatever happens."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from pollprog.channel import Channel, Clock
from pollprog.phases import WHOLE, Steps
from pollprog.slot import Slot
from pollprog.status import Bound, Outcome, Sample, State, Status, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 20.0
"""Seconds after which what should come counts as lost."""
SUCCESS = Outcome(State.SUCCEEDED, 0)
FAILURE = Outcome(State.FAILED, 1)


class Job:
    """A channel whose time is a number."""

    def __init__(self) -> None:
        self.now = 0.0
        self.channel = Channel("job", clock=Clock(lambda: self.now))

    def at(self, now: float, current: int, total: int | None = None, **more: object) -> Status:
        """Report that at this time; what is told then."""
        self.now = now
        self.channel.report(Sample(current, total, **more))  # type: ignore[arg-type] # a shorthand
        return self.channel.latest()

    def ends(self, outcome: Outcome = SUCCESS) -> Status:
        """What is told in the end."""
        self.channel.finish(outcome)
        return self.channel.latest()


def on_trios_clock() -> Channel:
    """A channel whose work began now, by the clock of trio, which may be a mock."""
    return Channel("job", clock=Clock(trio.current_time))


async def report_every(channel: Channel, interval: float, *, task_status: trio.TaskStatus = trio.TASK_STATUS_IGNORED):
    """Report a growing count, for ever."""
    task_status.started()
    current = 0
    while True:
        current += 1
        channel.report(Sample(current, 1_000_000))
        await trio.sleep(interval)


async def follow(channel: Channel, interval: float, told: list[tuple[float, Status]], *, pause: float = 0.0) -> None:
    """Take down each status that a reader of this interval is told, with the time, to the outcome."""
    after, last = 0, None
    while True:
        status = await channel.next(after, interval=interval, last=last)
        told.append((trio.current_time(), status))
        if status.outcome is not None:
            return
        after, last = status.seq, trio.current_time()
        await trio.sleep(pause)


# --- 1. Writers never wait.


async def test_reports_return_while_the_readers_thread_does_nothing() -> None:
    channel = Channel("job")

    def work() -> None:
        for current in range(1, 2001):
            channel.report(Sample(current))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.next, 0)
        await trio.testing.wait_all_tasks_blocked()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(BOUND)  # and trio with it, so nobody can be told meanwhile
        assert not thread.is_alive()
        nursery.cancel_scope.cancel()
    assert channel.latest().current == 2000


async def test_reports_from_many_threads_all_count_and_the_newest_is_told() -> None:
    channel = Channel("job", clock=Clock(started=time.monotonic() - 10))
    barrier = threading.Barrier(8)

    def work(first: int) -> None:
        barrier.wait(BOUND)
        for activity in range(500):
            channel.report(Sample(0, activity=first + activity))

    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(trio.to_thread.run_sync, work, 1000 * number)
        assert channel.latest().seq == 4000
        await trio.to_thread.run_sync(channel.report, Sample(77))
        status = await channel.next(4000)
    assert (status.seq, status.current) == (4001, 77)


async def test_a_report_from_a_thread_always_wakes_the_reader_that_waits_for_it() -> None:
    channel = Channel("job", clock=Clock(started=time.monotonic() - 10))
    taken = threading.Semaphore(0)

    def work() -> None:
        for current in range(1, 16):
            channel.report(Sample(current))
            assert taken.acquire(timeout=BOUND)

    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, work)
            after, last = 0, None
            for current in range(1, 16):
                status = await channel.next(after, interval=0.1, last=last)
                assert status.current == current
                after, last = status.seq, trio.current_time()
                taken.release()


async def test_a_reader_that_waits_for_its_interval_is_not_woken_by_reports(autojump_clock: object) -> None:
    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += task.name == "the reader"

    channel, steps = on_trios_clock(), Steps()
    await trio.sleep(1)
    channel.report(Sample(0))
    first = await channel.next(0)
    channel.report(Sample(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_one(channel, first.seq, last=trio.current_time()), name="the reader")
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        for current in range(500):
            channel.report(Sample(current))
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
    assert steps.count == 0


def follow_one(channel: Channel, after: int, *, last: float) -> Callable[[], object]:
    async def wait() -> None:
        await channel.next(after, last=last)

    return wait


async def test_a_report_after_the_readers_are_gone_is_no_error() -> None:
    channels = []

    async def elsewhere() -> None:
        channel = Channel("job")
        channels.append(channel)
        with trio.move_on_after(0.01):
            await channel.next(0)

    await trio.to_thread.run_sync(trio.run, elsewhere)
    channels[0].report(Sample(1))
    channels[0].finish(SUCCESS)
    assert channels[0].latest().state is State.SUCCEEDED


# --- 2. No status in the first second of the work; then at most one an interval.


async def test_nobody_is_told_anything_in_the_first_second(autojump_clock: object) -> None:
    channel, told, began = on_trios_clock(), [], trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.03)
        with trio.move_on_after(1.2):
            await follow(channel, 0.1, told)
        nursery.cancel_scope.cancel()
    assert told
    assert told[0][0] - began >= 1
    assert told[0][0] - began < 1.1


@pytest.mark.parametrize("first", [0.0, 0.2, 5.0])
async def test_the_channel_may_be_given_another_delay_before_the_first_status(
    first: float, autojump_clock: object
) -> None:
    channel, began = Channel("job", clock=Clock(trio.current_time), first=first), trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.03)
        await channel.next(0, interval=0.1)
        assert first - 1e-5 <= trio.current_time() - began <= first + 0.1
        nursery.cancel_scope.cancel()


async def test_who_was_told_of_a_pause_in_the_first_second_gets_no_status_in_it(autojump_clock: object) -> None:
    channel, told, began = on_trios_clock(), [], trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.03)
        nursery.start_soon(follow, channel, 0.1, told)
        await trio.sleep(0.2)
        channel.change(State.PAUSED)
        await trio.sleep(5)
        assert [status.state for _, status in told] == [State.PAUSED]  # 5 seconds, and none of them of the work
        channel.change(State.RUNNING)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    times = [when - began for when, _ in told]
    assert times[:2] == pytest.approx([0.2, 5.2])
    assert 6 <= times[2] < 6.2


@pytest.mark.parametrize("first", [0.01, 1.0])
def test_a_reader_that_waits_for_the_first_second_of_work_that_stands_does_not_spin(first: float) -> None:
    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += 1

    async def run() -> None:
        channel = Channel("job", clock=Clock(trio.current_time), first=first)
        channel.report(Sample(1))
        await trio.sleep(0.99 * first)
        channel.clock.pause()
        with trio.move_on_after(100) as waited:
            await channel.next(0)
        assert waited.cancelled_caught
        channel.clock.go_on()
        assert (await channel.next(0)).elapsed >= first - 1e-5

    steps = Steps()
    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[steps])
    assert steps.count < 1000


async def test_work_that_is_over_in_the_first_second_sends_the_outcome_alone(autojump_clock: object) -> None:
    channel, told = on_trios_clock(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, channel, 0.1, told)
        for current in range(9):
            channel.report(Sample(current, 10))
            await trio.sleep(0.1)
        channel.finish(SUCCESS)
    assert [status.state for _, status in told] == [State.SUCCEEDED]


@pytest.mark.parametrize("interval", [0.1, 1 / 3, 1.0, 7.0])
async def test_a_reader_is_told_once_an_interval_at_most(interval: float, autojump_clock: object) -> None:
    channel, told = on_trios_clock(), []
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.013)
        with trio.move_on_after(30):
            await follow(channel, interval, told)
        nursery.cancel_scope.cancel()
    gaps = [later - sooner for (sooner, _), (later, _) in pairwise(told)]
    assert min(gaps) >= interval - 1e-5
    assert max(gaps) <= interval + 0.02


async def test_an_interval_is_100_ms_at_least(autojump_clock: object) -> None:
    channel, told = on_trios_clock(), []
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.001)
        with trio.move_on_after(3):
            await follow(channel, 0.001, told)
        nursery.cancel_scope.cancel()
    assert min(later - sooner for (sooner, _), (later, _) in pairwise(told)) >= 0.1 - 1e-5


async def test_readers_of_different_intervals_do_not_disturb_each_other(autojump_clock: object) -> None:
    channel = on_trios_clock()
    often: list[tuple[float, Status]] = []
    seldom: list[tuple[float, Status]] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.05)
        nursery.start_soon(follow, channel, 0.25, often)
        nursery.start_soon(follow, channel, 2.0, seldom)
        await trio.sleep(21)
        nursery.cancel_scope.cancel()
    assert 70 <= len(often) <= 81
    assert 10 <= len(seldom) <= 11


async def test_who_comes_late_is_told_at_once(autojump_clock: object) -> None:
    channel = on_trios_clock()
    channel.report(Sample(5, 10))
    await trio.sleep(60)
    now = trio.current_time()
    status = await channel.next(0)
    assert (status.current, status.age) == (5, 60)
    assert trio.current_time() == now


@pytest.mark.parametrize("state", [State.PAUSED, State.CANCELLING])
async def test_a_change_of_state_is_told_at_once(state: State, autojump_clock: object) -> None:
    channel = on_trios_clock()
    channel.report(Sample(1))
    async with trio.open_nursery() as nursery:
        told: list[tuple[float, Status]] = []
        nursery.start_soon(follow, channel, 60.0, told)
        await trio.sleep(5)
        assert len(told) == 1
        channel.change(state)
        await trio.testing.wait_all_tasks_blocked()
        assert told[1][1].state is state
        assert told[1][0] == trio.current_time()
        nursery.cancel_scope.cancel()


async def test_the_outcome_is_told_at_once(autojump_clock: object) -> None:
    channel, told = on_trios_clock(), []
    channel.report(Sample(1, 2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, channel, 60.0, told)
        await trio.sleep(5)
        channel.finish(SUCCESS)
        ended = trio.current_time()
    assert [status.state for _, status in told] == [State.RUNNING, State.SUCCEEDED]
    assert told[1][0] == ended


async def test_a_reader_falls_in_step_with_a_sampler_of_its_own_pace(autojump_clock: object) -> None:
    channel, told = on_trios_clock(), []
    async with trio.open_nursery() as nursery:
        await trio.sleep(0.05)  # so that reader and sampler are out of step when the first second is over
        await nursery.start(report_every, channel, 0.34)
        nursery.start_soon(follow, channel, 1 / 3, told)
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert len(told) > 80
    assert max(status.age for _, status in told) < 0.01


async def test_an_old_sample_is_told_all_the_same_if_no_newer_one_comes(autojump_clock: object) -> None:
    channel, began = on_trios_clock(), trio.current_time()
    channel.report(Sample(1))
    status = await channel.next(0, interval=0.5)
    assert status.current == 1
    assert trio.current_time() - began <= 1.25 + 1e-5


# --- 3. The newest is told in the end, and nothing follows the outcome.


async def test_the_newest_sample_is_told_though_no_other_follows(autojump_clock: object) -> None:
    channel, told = on_trios_clock(), []
    await trio.sleep(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, channel, 1.0, told)
        for current in range(1, 5):
            channel.report(Sample(current))
            await trio.sleep(0.01)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert [status.current for _, status in told] == [1, 4]


async def test_a_slow_reader_skips_what_it_missed(autojump_clock: object) -> None:
    channel, told = on_trios_clock(), []
    async with trio.open_nursery() as nursery:
        await nursery.start(report_every, channel, 0.1)
        with trio.move_on_after(40):
            await follow(channel, 1.0, told, pause=7.3)
        nursery.cancel_scope.cancel()
    assert 5 <= len(told) <= 6
    assert all(status.age <= 0.11 for _, status in told)


async def test_the_sample_before_the_outcome_is_in_the_outcome() -> None:
    job = Job()
    job.at(1, 1, 10)
    job.channel.report(Sample(7, 10))
    status = job.ends(FAILURE)
    assert (status.current, status.total, status.outcome) == (7, 10, FAILURE)


async def test_success_ends_with_all_of_it() -> None:
    job = Job()
    job.at(1, 3, 10)
    status = job.ends()
    assert (status.current, status.total, status.fraction) == (10, 10, 1.0)


async def test_success_without_a_total_ends_with_what_was_done() -> None:
    job = Job()
    job.at(1, 3)
    status = job.ends()
    assert (status.current, status.total, status.fraction) == (3, None, None)


async def test_success_without_a_sample_says_nothing_of_an_amount() -> None:
    status = Job().ends()
    assert (status.current, status.total, status.fraction, status.phase) == (None, None, None, "")


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, State.LOST])
async def test_every_other_outcome_ends_with_what_was_true(state: State) -> None:
    job = Job()
    job.at(1, 3, 10)
    status = job.ends(Outcome(state))
    assert (status.current, status.total, status.fraction) == (3, 10, 0.3)


async def test_success_while_a_smaller_source_is_held_back_ends_with_all_of_it() -> None:
    job = Job()
    job.at(1, 990, 1000, source="dd")
    job.at(2, 12, None, source="evidence:wchar")  # dd has ended, and its shell with it
    status = job.ends()
    assert (status.current, status.total, status.fraction) == (1000, 1000, 1.0)


async def test_nothing_follows_the_outcome(autojump_clock: object) -> None:
    channel = on_trios_clock()
    channel.report(Sample(1, 2))
    await trio.sleep(3)
    channel.finish(FAILURE)
    last = channel.latest()
    await trio.sleep(3)
    channel.report(Sample(2, 2))
    channel.change(State.PAUSED)
    channel.finish(SUCCESS)
    channel.clock.go_on()
    assert channel.latest() == last
    assert await channel.next(last.seq) == last


async def test_who_asks_again_and_again_after_the_outcome_lets_others_run() -> None:
    channel = on_trios_clock()
    channel.finish(SUCCESS)
    others = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.checkpoint)

        async def other() -> None:
            others.append(True)

        nursery.start_soon(other)
        for _ in range(10_000):
            await channel.next(0)
            if others:
                break
        assert others


async def test_an_outcome_and_a_state_are_not_mistaken_for_each_other() -> None:
    channel = on_trios_clock()
    with pytest.raises(ValueError, match="finish"):
        channel.change(State.SUCCEEDED)
    with pytest.raises(ValueError, match="change"):
        channel.finish(Outcome(State.RUNNING))


# --- for one who tells many


async def test_what_comes_between_a_look_and_the_wait_for_news_ends_the_wait() -> None:
    channel = Channel("job")
    seq = channel.seq
    thread = threading.Thread(target=channel.report, args=(Sample(1),))
    thread.start()
    thread.join(BOUND)
    with trio.fail_after(BOUND):
        await channel.newer(seq)
    assert (channel.seq, channel.changed) == (1, 0)
    seq = channel.seq
    thread = threading.Thread(target=channel.change, args=(State.PAUSED,))
    thread.start()
    thread.join(BOUND)
    with trio.fail_after(BOUND):
        await channel.newer(None)
    assert channel.changed == channel.seq == seq + 1


async def test_who_waits_for_a_change_of_state_is_not_woken_by_reports(autojump_clock: object) -> None:
    channel = on_trios_clock()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(10) as waited:
            await nursery.start(report_every, channel, 0.1)
            await channel.newer(None)
        assert waited.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_the_wait_of_a_reader_says_how_long_it_is_and_whether_news_end_it(autojump_clock: object) -> None:
    channel = on_trios_clock()
    assert channel.wait(0, 1.0, None) == (float("inf"), True)
    channel.report(Sample(1))
    await trio.sleep(0.4)
    wait, newer = channel.wait(0, 1.0, None)
    assert (wait, newer) == (pytest.approx(0.6), False)
    await trio.sleep(0.7)
    channel.report(Sample(2))
    assert channel.wait(1, 1.0, None) == (0.0, False)
    assert channel.wait(1, 1.0, trio.current_time() - 0.25) == (pytest.approx(0.75), False)
    await trio.sleep(0.6)  # more than half an interval: the next sample cannot be far
    assert channel.wait(1, 1.0, trio.current_time() - 1.1) == (pytest.approx(0.4), True)
    assert channel.wait(1, 1.0, trio.current_time() - 1.5) == (0.0, False)
    channel.change(State.PAUSED)
    assert channel.wait(2, 60.0, trio.current_time()) == (0.0, False)
    assert channel.wait(3, 60.0, trio.current_time()) == (float("inf"), True)
    channel.finish(SUCCESS)
    assert channel.wait(4, 60.0, trio.current_time()) == (0.0, False)


# --- 4. current stays between 0 and total, and does not fall within a phase.


async def test_a_count_below_nothing_is_nothing() -> None:
    assert Job().at(1, -5, 10).current == 0


async def test_a_total_of_nothing_is_no_total() -> None:
    for total in (0, -1):
        status = Job().at(1, 5, total)
        assert (status.current, status.total, status.fraction) == (5, None, None)


async def test_no_count_is_too_large_to_be_told() -> None:
    status = Job().at(1, 10**400, 10**500)
    assert status.total == 2**63 - 1
    assert status.current == 2**63 - 2


async def test_a_source_that_takes_over_and_says_less_waits_until_it_has_passed() -> None:
    job = Job()
    job.at(1, 500, 1000, source="evidence")
    assert job.at(2, 300, 1000, source="dd").current == 500
    assert job.at(9, 480, 1000, source="dd").current == 500
    passed = job.at(10, 510, 1000, source="dd")
    assert (passed.current, passed.phase, passed.source) == (510, "", "dd")


async def test_a_source_that_says_less_for_ten_seconds_begins_a_phase() -> None:
    job = Job()
    job.at(1, 500, 1000, source="evidence")
    assert job.at(2, 100, 1000, source="dd").current == 500
    assert job.at(11.9, 150, 1000, source="dd").current == 500
    begun = job.at(12, 160, 1000, source="dd")
    assert (begun.current, begun.phase, begun.source) == (160, "dd, part 2", "dd")
    assert job.at(13, 170, 1000, source="dd").phase == "dd, part 2"


async def test_the_wait_is_over_in_time_though_nobody_reports() -> None:
    job = Job()
    job.at(1, 500, 1000, source="evidence")
    job.at(2, 100, 1000, source="dd")
    job.now = 12.5
    assert (job.channel.latest().current, job.channel.latest().phase) == (100, "dd, part 2")


async def test_a_source_with_a_total_takes_over_from_one_without() -> None:
    job = Job()
    job.at(1, 500, source="evidence")
    held = job.at(2, 300, 1000, source="dd")
    assert (held.current, held.total, held.fraction) == (500, 1000, 0.5)
    assert job.at(5, 600, 1000, source="dd").fraction == 0.6


async def test_a_source_with_another_total_does_not_take_the_fraction_down() -> None:
    job = Job()
    job.at(1, 500, 1000, source="a")
    held = job.at(2, 600, 3000, source="b")
    assert (held.current, held.total) == (500, 1000)
    passed = job.at(9, 1600, 3000, source="b")
    assert (passed.current, passed.total, passed.phase) == (1600, 3000, "")


async def test_a_source_on_another_scale_begins_a_phase() -> None:
    job = Job()
    job.at(1, 500, 1000, source="a")
    status = job.at(2, 6, 10, source="b")
    assert (status.current, status.total, status.phase) == (6, 10, "b, part 2")


async def test_another_unit_begins_a_phase() -> None:
    job = Job()
    job.at(1, 500, 1000)
    status = job.at(2, 6, 10, unit=Unit.ITEMS)
    assert (status.current, status.unit, status.phase) == (6, Unit.ITEMS, "part 2")


async def test_a_probe_that_stumbles_is_not_followed() -> None:
    job = Job()
    job.at(1, 500, 1000)
    assert job.at(2, 0, 1000).current == 500  # a child has ended, and is not reaped yet
    assert job.at(3, 510, 1000).current == 510


async def test_a_probe_that_stumbles_again_has_ten_seconds_again() -> None:
    job = Job()
    job.at(1, 500, 1000)
    job.at(2, 0, 1000)
    job.at(3, 510, 1000)
    job.at(10, 0, 1000)
    assert job.at(13, 0, 1000).current == 510


async def test_a_source_that_takes_back_both_counts_is_not_followed() -> None:
    job = Job()
    job.at(1, 500, 1000)
    held = job.at(2, 400, 500)
    assert (held.current, held.total, held.phase) == (500, 1000, "")
    assert job.at(3, 501, 600).total == 600


async def test_the_phases_of_a_tool_are_told_by_its_names() -> None:
    job = Job()
    assert job.at(1, 500, 1000, phase="read").phase == "read"
    status = job.at(2, 10, 1000, phase="write")
    assert (status.current, status.phase) == (10, "write")
    again = job.at(3, 5, 1000, phase="read")
    assert (again.current, again.phase) == (5, "read")


async def test_a_phase_that_came_again_while_nobody_looked_has_another_name() -> None:
    job = Job()
    job.at(1, 500, 1000, phase="read")
    job.channel.report(Sample(1000, 1000, phase="write"))
    again = job.at(3, 5, 1000, phase="read")
    assert (again.current, again.phase) == (5, "read, part 2")


async def test_a_phase_of_ours_is_not_called_like_one_of_the_tool() -> None:
    job = Job()
    job.at(1, 500, 1000, source="x")
    assert job.at(2, 6, 10, source="dd").phase == "dd, part 2"
    status = job.at(3, 2, 10, source="dd", phase="dd, part 2")
    assert (status.current, status.phase) == (2, "dd, part 3")


async def test_a_total_that_grows_is_told_as_it_is_and_no_phase_begins() -> None:
    job = Job()
    told = [job.at(1 + step / 2, 100 + step, 200 + 100 * step) for step in range(18)]
    assert [(status.current, status.total) for status in told] == [(100 + n, 200 + 100 * n) for n in range(18)]
    assert {status.phase for status in told} == {""}


async def test_a_total_that_has_grown_is_told_in_the_end() -> None:
    job = Job()
    job.at(1, 100, 200)
    job.at(2, 110, 1000)
    assert (job.ends().current, job.channel.latest().total) == (1000, 1000)


async def test_a_total_may_shrink_and_be_forgotten() -> None:
    job = Job()
    job.at(1, 100, 1000)
    assert job.at(2, 100, 500).total == 500
    assert job.at(3, 100, None).total is None


async def test_what_nobody_was_told_binds_nobody() -> None:
    job = Job()
    job.channel.report(Sample(900, 1000, source="evidence"))
    status = job.at(0.5, 100, 1000, source="dd")
    assert (status.current, status.phase) == (100, "")


# --- 5. Nobody's ratio reaches 1 before the work has ended.


@pytest.mark.parametrize("done", [10, 11, 10**30])
async def test_what_is_all_done_says_finishing_and_stays_below_its_total(done: int) -> None:
    job = Job()
    status = job.at(1, done, 10)
    assert (status.current, status.total, status.finishing) == (9, 10, True)
    assert (status.rate, status.remaining, status.low, status.high) == (None, None, None, None)


async def test_the_ratio_of_the_largest_counts_is_below_1_too() -> None:
    status = Job().at(1, 2**63 - 2, 2**63 - 1)
    assert status.fraction is not None
    assert status.fraction < 1


async def test_failure_does_not_say_that_all_was_done() -> None:
    job = Job()
    job.at(1, 10, 10)
    status = job.ends(FAILURE)
    assert (status.current, status.finishing) == (9, False)


async def test_more_to_do_is_the_end_of_finishing() -> None:
    job = Job()
    assert job.at(1, 10, 10).finishing
    assert not job.at(2, 10, 20).finishing


async def test_finishing_goes_on_while_a_smaller_source_is_held_back() -> None:
    job = Job()
    job.at(1, 1000, 1000, source="dd")
    assert job.at(2, 12, None, source="evidence").finishing


# --- 6. No total is None; the work moves, or stalls.


async def test_no_total_is_not_0_percent() -> None:
    status = Job().at(1, 0)
    assert (status.current, status.total, status.fraction, status.remaining) == (0, None, None, None)


async def test_before_the_first_sample_nothing_is_known() -> None:
    job = Job()
    job.now = 3600
    status = job.channel.latest()
    assert (status.current, status.total, status.fraction, status.age, status.seq) == (None, None, None, 0.0, 0)
    assert (status.moving, status.stalled, status.finishing) == (False, False, False)


async def test_the_work_moves_if_the_count_does_or_the_activity() -> None:
    job = Job()
    job.at(1, 5, activity=1)
    assert not job.at(2, 5, activity=1).moving
    assert job.at(3, 6, activity=1).moving
    assert job.at(4, 6, activity=2).moving
    held = job.at(5, 3, activity=2)
    assert held.moving
    assert not job.at(6, 3, activity=2).moving  # what is held back is no movement


async def test_work_stalls_where_neither_moves_and_says_since_when() -> None:
    job = Job()
    for second in range(20):
        assert not job.at(second, second, 100, activity=second).stalled
    for second in range(20, 60):
        status = job.at(second, 19, 100, activity=19)
    assert status.stalled
    assert status.idle == 40
    assert (status.rate, status.remaining, status.low, status.high) == (0.0, None, None, None)
    assert not job.at(60, 20, 100, activity=19).stalled


async def test_work_that_is_active_does_not_stall_though_its_count_stands() -> None:
    job = Job()
    for second in range(20):
        job.at(second, second, 100)
    for second in range(20, 90):
        status = job.at(second, 19, 100, activity=second)
    assert not status.stalled
    assert status.rate == 0
    assert status.remaining is None


async def test_work_that_has_not_begun_to_move_is_given_time_before_it_is_called_stalled() -> None:
    job = Job()
    told = [job.at(second, 0, 100) for second in range(40)]
    assert not any(status.stalled for status in told[:15])
    assert told[-1].stalled
    assert all(status.rate is None for status in told)


async def test_what_is_not_looked_at_is_not_called_stalled() -> None:
    job = Job()
    for second in range(20):
        job.at(second, second, 100)
    job.now = 600
    status = job.channel.latest()
    assert (status.stalled, status.age, status.idle) == (False, 581, 581)


async def test_paused_work_is_not_called_stalled() -> None:
    job = Job()
    for second in range(20):
        job.at(second, second, 100)
    job.channel.change(State.PAUSED)
    status = job.at(600, 19, 100)
    assert (status.state, status.stalled, status.idle) == (State.PAUSED, False, 0)


# --- 7. The clock.


async def test_time_counts_from_the_start_of_the_work() -> None:
    now = 1000.0
    clock = Clock(lambda: now, started=990.0)
    assert clock() == 10


async def test_a_clock_that_has_not_started_says_nothing_rather_than_less() -> None:
    assert Clock(lambda: 10.0, started=11.0)() == 0


async def test_time_in_which_the_work_stood_does_not_count() -> None:
    job = Job()
    job.at(10, 1)
    job.channel.change(State.PAUSED)
    job.now = 500
    assert job.channel.latest().elapsed == 10
    job.channel.change(State.RUNNING)
    job.now = 505
    assert job.channel.latest().elapsed == 15


async def test_a_stop_that_is_heard_of_late_counts_from_when_it_began() -> None:
    job = Job()
    job.at(10, 1)
    job.now = 100
    job.channel.change(State.PAUSED, since=88)
    assert job.channel.latest().elapsed == 12
    job.channel.change(State.RUNNING)
    assert job.channel.latest().elapsed == 12


async def test_pausing_twice_and_going_on_twice_is_as_good_as_once() -> None:
    job = Job()
    clock = job.channel.clock
    job.now = 10
    clock.pause()
    job.now = 20
    job.channel.change(State.PAUSED)
    clock.pause()
    assert clock() == 10
    assert clock.stands
    job.now = 30
    clock.go_on()
    job.now = 35
    job.channel.change(State.RUNNING)
    clock.go_on()
    assert clock() == 15
    assert not clock.stands


async def test_of_two_stops_the_earlier_one_counts() -> None:
    job = Job()
    clock = job.channel.clock
    job.now = 20
    clock.pause(since=2)
    clock.pause(since=5)
    clock.pause()
    assert clock() == 15
    clock.pause(since=1000)
    assert clock() == 0


async def test_after_a_stop_that_was_heard_of_late_all_goes_on_as_before() -> None:
    job = Job()
    for second in range(20):
        job.at(second, 10 * second, 1000)
    late = job.at(300, 191, 1000)  # the first look after the stop, before it was heard of
    assert late.elapsed == 300
    job.channel.clock.pause(since=280)
    job.channel.clock.go_on()
    told = [job.at(300 + second, 190 + 10 * second, 1000) for second in range(1, 30)]
    assert [status.elapsed for status in told] == list(range(21, 50))
    assert told[-1].rate == pytest.approx(10, rel=0.2)
    assert told[-1].remaining == pytest.approx(52, rel=0.3)
    assert not any(status.stalled for status in told)


async def test_the_clock_stands_when_the_work_has_ended() -> None:
    job = Job()
    job.now = 10
    job.channel.finish(SUCCESS)
    job.channel.clock.go_on()
    job.now = 99
    assert job.channel.latest().elapsed == 10


async def test_work_that_ends_while_it_is_paused_took_as_long_as_it_ran() -> None:
    job = Job()
    job.now = 10
    job.channel.change(State.PAUSED)
    job.now = 99
    assert job.ends(Outcome(State.CANCELLED)).elapsed == 10


async def test_being_cancelled_outlasts_a_pause() -> None:
    job = Job()
    job.now = 10
    job.channel.change(State.CANCELLING)
    job.channel.change(State.PAUSED)
    job.now = 50
    assert (job.channel.latest().state, job.channel.latest().elapsed) == (State.CANCELLING, 10)
    job.channel.change(State.RUNNING)
    job.now = 51
    assert (job.channel.latest().state, job.channel.latest().elapsed) == (State.CANCELLING, 11)


async def test_a_state_that_is_said_again_is_no_news() -> None:
    job = Job()
    job.channel.change(State.RUNNING)
    assert job.channel.latest().seq == 0
    job.channel.change(State.PAUSED)
    job.channel.change(State.PAUSED)
    assert job.channel.latest().seq == 1


def test_the_clock_does_not_go_back_while_another_thread_pauses_it() -> None:
    clock, over = Clock(), threading.Event()

    def pause() -> None:
        while not over.is_set():
            clock.pause()
            clock.go_on()

    thread = threading.Thread(target=pause)
    thread.start()
    try:
        readings = [clock() for _ in range(20_000)]
    finally:
        over.set()
        thread.join(BOUND)
    assert all(sooner <= later for sooner, later in pairwise(readings))


# --- what follows from the numbers


async def test_rate_and_remaining_are_those_of_the_work() -> None:
    job = Job()
    for second in range(30):
        status = job.at(second, 10 * second, 1000)
    assert status.rate == pytest.approx(10)
    assert status.remaining is not None
    assert status.low <= status.remaining <= status.high
    assert status.remaining == pytest.approx(71, rel=0.1)


async def test_no_time_is_told_while_no_total_is() -> None:
    job = Job()
    for second in range(20):
        job.at(second, 10 * second, None, source="a")
    for second in range(20, 28):
        status = job.at(second, 10 * (second - 20), None, source="b")
    assert (status.total, status.remaining) == (None, None)


async def test_another_source_on_the_same_scale_keeps_the_rate() -> None:
    job = Job()
    for second in range(20):
        status = job.at(second, 10 * second, 1000, source=f"evidence:{second % 2}")
    assert status.rate == pytest.approx(10)


async def test_a_stumble_does_not_lose_the_rate() -> None:
    job = Job()
    for second in range(20):
        job.at(second, 10 * second, 1000)
    job.at(20, 0, 1000)
    assert job.at(21, 210, 1000).rate == pytest.approx(10, rel=0.1)


async def test_a_source_that_takes_over_and_says_less_has_a_rate_of_its_own() -> None:
    job = Job()
    for second in range(20):
        job.at(second, 10 * second, 1000, source="a")
    for second in range(20, 29):
        status = job.at(second, 3 * (second - 20), 1000, source="b")
    assert (status.current, status.rate) == (190, pytest.approx(3))


async def test_a_source_that_takes_back_what_it_said_has_a_new_rate_when_it_is_believed() -> None:
    job = Job()
    for second in range(20):
        job.at(second, 10 * second, 1000)
    for second in range(20, 40):
        status = job.at(second, 3 * (second - 20), 1000)
    assert (status.current, status.phase, status.rate) == (57, "part 2", pytest.approx(3))


async def test_no_time_is_told_of_work_in_steps_before_a_tenth_of_it_is_done() -> None:
    job, steps = Job(), Steps({"counting": 7, "receiving": 93})
    steps.begin("counting")
    for second in range(1, 21):
        status = job.at(second, **fields(steps.of(Sample(second, 20))))
        assert status.remaining is None
        assert status.total is not None
    steps.begin("receiving")
    told = {}
    for second in range(21, 60):
        status = job.at(second, **fields(steps.of(Sample(second - 20, 100))))
        assert status.fraction is not None
        told[status.fraction] = status.remaining
    assert {remaining is None for fraction, remaining in told.items() if fraction < 0.1} == {True}
    assert {remaining is None for fraction, remaining in told.items() if fraction > 0.1} == {False}


async def test_a_percentage_of_a_programs_own_has_a_time_from_the_first_on() -> None:
    for phase in ("", "7z, part 2"):
        job = Job()
        for second in range(1, 9):
            status = job.at(second, 1000 * second, WHOLE, unit=Unit.PARTS, phase=phase)
        assert status.remaining == pytest.approx(992, rel=0.01)


def fields(sample: Sample) -> dict[str, Any]:
    """Of a sample, what `Job.at` takes."""
    names = ("current", "total", "unit", "phase", "source", "bound", "activity")
    return {name: getattr(sample, name) for name in names}


async def test_no_time_is_told_of_a_source_that_is_held_back_when_all_seems_done() -> None:
    job = Job()
    job.at(0, 1000, 1000, source="a")
    for second in range(1, 9):
        status = job.at(second, 10 * second, 1000, source="b")
    assert (status.finishing, status.remaining) == (True, None)


async def test_a_new_phase_has_a_rate_of_its_own() -> None:
    job = Job()
    for second in range(20):
        job.at(second, 10 * second, 1000, phase="read")
    assert job.at(20, 0, 1000, phase="write").rate is None
    for second in range(21, 40):
        status = job.at(second, 3 * (second - 20), 1000, phase="write")
    assert status.rate == pytest.approx(3)


# --- whatever happens

COUNTS = st.one_of(st.integers(-3, 30), st.integers(0, 2**62), st.integers(2**63 - 3, 2**65))
REPORTS = st.builds(
    Sample,
    COUNTS,
    st.none() | st.sampled_from([0, 1, 10, 20, 1000]) | COUNTS,
    unit=st.sampled_from([Unit.BYTES, Unit.BYTES, Unit.BYTES, Unit.ITEMS]),
    phase=st.sampled_from(["", "", "", "a", "a, part 2", "b"]),
    source=st.sampled_from(["x:y", "x:y", "x:z", "w"]),
    bound=st.sampled_from(Bound),
    activity=st.integers(0, 3),
)
CHANGES = st.sampled_from([State.RUNNING, State.PAUSED, State.PAUSED, State.CANCELLING])
STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.001, 0.3, 1.0, 4.0, 20.0]), st.one_of(REPORTS, REPORTS, CHANGES), st.booleans()),
    max_size=40,
)


def is_true_in_itself(status: Status) -> None:
    """What every status has to be, whatever was said before."""
    current, total, fraction = status.current, status.total, status.fraction
    over = status.outcome is not None
    if current is not None:
        assert current >= 0
    if total is not None:
        assert total > 0
        assert current is not None
        assert current == total if status.state is State.SUCCEEDED else current < total
    assert (fraction is None) == (total is None)
    if fraction is not None:
        assert fraction == 1 if status.state is State.SUCCEEDED else 0 <= fraction < 1
    assert status.rate is None or 0 <= status.rate < float("inf")
    assert (status.remaining is None) == (status.low is None) == (status.high is None)
    if status.remaining is not None:
        assert total is not None
        assert not over
        assert not status.finishing
        assert 0 < status.low <= status.remaining <= status.high < float("inf")
    assert not (status.stalled and status.state is not State.RUNNING)
    assert not (over and (status.moving or status.stalled or status.finishing))
    assert min(status.elapsed, status.age, status.idle) >= 0
    assert status.state.over == over


def follows(new: Status, old: Status) -> None:
    """What has to hold between a status and the next."""
    assert new.seq >= old.seq
    assert new.elapsed >= old.elapsed
    if new.phase == old.phase and old.current is not None:
        assert new.unit == old.unit
        assert new.current >= old.current
        if None not in (new.fraction, old.fraction) and new.fraction < old.fraction:
            assert new.source == old.source
            assert new.total > old.total


@settings(deadline=None, max_examples=150)
@given(steps=STEPS, outcome=st.sampled_from([state for state in State if state.over]))
def test_whatever_is_reported_the_rules_hold(steps: list[tuple[float, Sample | State, bool]], outcome: State) -> None:
    async def run() -> None:
        job = Job()
        old = job.channel.latest()
        is_true_in_itself(old)
        for passed, step, looked_at in steps:
            job.now += passed
            job.channel.report(step) if isinstance(step, Sample) else job.channel.change(step)
            if looked_at:
                new = job.channel.latest()
                is_true_in_itself(new)
                follows(new, old)
                old = new
        last = job.ends(Outcome(outcome))
        is_true_in_itself(last)
        follows(last, old)
        assert last.seq > old.seq
        for _, step, _ in steps:
            job.now += 20
            job.channel.report(step) if isinstance(step, Sample) else job.channel.change(step)
            assert job.channel.latest() == last

    trio.run(run)


@settings(deadline=None, max_examples=40)
@given(
    steps=st.lists(st.tuples(st.sampled_from([0.0, 0.04, 0.1, 0.5, 1.5]), st.one_of(REPORTS, CHANGES)), max_size=30),
    intervals=st.lists(st.sampled_from([0.01, 0.1, 1 / 3, 1.0, 3.0]), min_size=1, max_size=3),
)
def test_every_reader_is_told_in_time_and_in_order(
    steps: list[tuple[float, Sample | State]], intervals: list[float]
) -> None:
    async def run() -> None:
        channel = on_trios_clock()
        told: list[list[tuple[float, Status]]] = [[] for _ in intervals]
        changes = []
        async with trio.open_nursery() as nursery:
            for interval, heard in zip(intervals, told, strict=True):
                nursery.start_soon(follow, channel, interval, heard)
            await trio.testing.wait_all_tasks_blocked()
            for passed, step in steps:
                await trio.sleep(passed)
                before = channel.latest()
                channel.report(step) if isinstance(step, Sample) else channel.change(step)
                if isinstance(step, State) and channel.latest().seq != before.seq:
                    changes.append((trio.current_time(), channel.latest()))
                await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(10)
            newest = channel.latest()
            channel.finish(FAILURE)
        for interval, heard in zip(intervals, told, strict=True):
            sequence = [status.seq for _, status in heard]
            assert sequence == sorted(set(sequence))
            assert [status.outcome is not None for _, status in heard] == [False] * (len(heard) - 1) + [True]
            at_once = {status.seq for _, status in changes} | {heard[-1][1].seq}
            for when, status in changes:
                assert (when, status.seq, status.state) in [(at, s.seq, s.state) for at, s in heard]
            for (sooner, _), (later, status) in pairwise([(float("-inf"), None), *heard]):
                if status.seq not in at_once:
                    assert later - sooner >= max(0.1, interval) - 1e-5
                    assert status.elapsed >= 1 - 1e-5
            if newest.current is not None and newest.elapsed >= 10:
                assert newest.seq in sequence

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_source_of_which_more_was_told_than_there_is_begins_a_phase_at_once() -> None:
    slot = Slot()
    slot.take(Sample(19_000, None, source="evidence:output-position"), 1.0)
    first = slot.tell(1.0)
    slot.take(Sample(2_000, 12_000, source="tool"), 1.1)
    second = slot.tell(1.1)
    assert first is not None
    assert second is not None
    assert (second.current, second.total) == (2_000, 12_000)
    assert second.phase != first.phase
