"""A job that runs elsewhere, as it was told last."""

from __future__ import annotations

from dataclasses import replace

import trio

from pollprog.mirror import Mirror, status_at_the_end
from pollprog.status import Outcome, State

LOST = status_at_the_end("job", None, Outcome(State.LOST))
HALF = replace(
    LOST, state=State.RUNNING, outcome=None, seq=3, current=5, total=10, fraction=0.5, rate=2.0, remaining=2.5
)


async def test_a_reader_waits_for_a_newer_status(autojump_clock: trio.testing.MockClock) -> None:
    mirror = Mirror("job")
    with trio.move_on_after(1) as waiting:
        await mirror.next(0)
    assert waiting.cancelled_caught
    mirror.take(HALF)
    assert await mirror.next(0) is HALF
    with trio.move_on_after(1) as waiting:
        await mirror.next(HALF.seq)
    assert waiting.cancelled_caught


async def test_a_reader_that_wants_fewer_is_told_the_newest_when_it_is_due(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mirror = Mirror("job", interval=0.25)
    mirror.take(HALF)
    first = await mirror.next(0, interval=1.0)
    told = trio.current_time()
    mirror.take(replace(HALF, seq=4))
    mirror.take(newest := replace(HALF, seq=5))
    assert await mirror.next(first.seq, interval=1.0, last=told) is newest
    assert trio.current_time() == told + 1.0


async def test_a_change_of_state_is_told_at_once(autojump_clock: trio.testing.MockClock) -> None:
    mirror = Mirror("job", interval=0.25)
    mirror.take(HALF)
    told = trio.current_time()
    mirror.take(paused := replace(HALF, seq=4, state=State.PAUSED))
    assert await mirror.next(HALF.seq, interval=1.0, last=told) is paused
    mirror.finish(Outcome(State.SUCCEEDED, 0))
    assert (await mirror.next(4, interval=1.0, last=told)).state is State.SUCCEEDED
    assert trio.current_time() == told


async def test_every_reader_is_told() -> None:
    mirror = Mirror("job")
    told = []

    async def read() -> None:
        told.append(await mirror.next(0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        mirror.take(HALF)
    assert told == [HALF, HALF]


async def test_the_outcome_is_told_again_and_again() -> None:
    mirror = Mirror("job")
    mirror.finish(Outcome(State.FAILED, 1))
    first = await mirror.next(0)
    assert await mirror.next(first.seq) is first
    assert first.outcome == Outcome(State.FAILED, 1)


async def test_what_succeeded_is_whole() -> None:
    mirror = Mirror("job")
    mirror.take(HALF)
    mirror.finish(Outcome(State.SUCCEEDED, 0))
    last = await mirror.next(HALF.seq)
    assert (last.current, last.fraction, last.state, last.remaining) == (10, 1.0, State.SUCCEEDED, None)


async def test_what_failed_stays_where_it_was() -> None:
    mirror = Mirror("job")
    mirror.take(HALF)
    mirror.finish(Outcome(State.CANCELLED))
    last = await mirror.next(HALF.seq)
    assert (last.current, last.fraction, last.state) == (5, 0.5, State.CANCELLED)


async def test_an_outcome_that_came_over_the_wire_stands() -> None:
    mirror = Mirror("job")
    mirror.take(replace(HALF, outcome=Outcome(State.CANCELLED), state=State.CANCELLED))
    mirror.finish(Outcome(State.SUCCEEDED, 0))
    assert (await mirror.next(0)).state is State.CANCELLED
