"""What loops say of themselves: who hears it, what is refused, and that several steps make one fraction that never falls."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from pollprog.channel import Channel, Clock
from pollprog.errors import Cancelled
from pollprog.notify import Notices, hearer, notify_progress, steps
from pollprog.phases import WHOLE, Steps
from pollprog.status import Outcome, Sample, State, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def hearing(notices: Notices) -> Iterator[Notices]:
    """What is said in this block is heard."""
    token = hearer.set(notices)
    try:
        yield notices
    finally:
        hearer.reset(token)


@pytest.fixture
def heard() -> Iterator[Notices]:
    """What is said in a test is heard."""
    with hearing(Notices()) as notices:
        yield notices


# --- who hears it


def test_where_nobody_hears_it_nothing_happens() -> None:
    notify_progress(1, 2)
    plan = steps(copy=1, verify=1)
    plan.begin("verify")
    with pytest.raises(ValueError, match="the last one has begun"):
        plan.begin("copy")


def test_the_newest_notice_is_the_sample(heard: Notices) -> None:
    assert heard.sample() is None
    for current in range(5):
        notify_progress(current, 10)
    assert heard.sample() == Sample(4, 10, Unit.ITEMS, source="notified")
    notify_progress(1 << 20, unit=Unit.BYTES)
    assert heard.sample() == Sample(1 << 20, None, Unit.BYTES, source="notified")
    heard.close()


@pytest.mark.parametrize("total", [None, 0, -1])
def test_a_total_of_nothing_is_none(heard: Notices, total: int | None) -> None:
    notify_progress(3, total)
    assert heard.sample() == Sample(3, None, Unit.ITEMS, source="notified")


def test_a_unit_may_be_said_in_its_word(heard: Notices) -> None:
    notify_progress(1, 2, unit="bytes")
    sample = heard.sample()
    assert sample is not None
    assert sample.unit is Unit.BYTES


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"current": 0.5, "total": 1}, TypeError),
        ({"current": 1, "total": 1.5}, TypeError),
        ({"current": "1"}, TypeError),
        ({"current": None}, TypeError),
        ({"current": 1, "unit": "furlongs"}, ValueError),
        ({"current": 1, "unit": None}, ValueError),
    ],
)
@pytest.mark.parametrize("somebody", [True, False])
def test_what_is_no_count_is_refused_whoever_hears_it(
    arguments: dict[str, Any], error: type[Exception], somebody: bool
) -> None:
    with hearing(Notices()) as notices:
        if not somebody:
            hearer.set(None)
        with pytest.raises(error):
            notify_progress(**arguments)
        assert notices.sample() is None


def test_a_notice_asks_whether_to_go_on() -> None:
    asked = []

    def check() -> None:
        asked.append(True)
        if len(asked) == 3:
            raise Cancelled("it was cancelled")

    with hearing(Notices(check)):
        plan = steps(one=1)
        plan.begin("one")
        notify_progress(1, 2)
        with pytest.raises(Cancelled):
            notify_progress(2, 2)


async def test_tasks_and_threads_of_trio_are_heard_where_they_were_started(heard: Notices) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, notify_progress, 7, 8)
    assert heard.said is not None
    assert heard.said[0].current == 7


def test_a_plain_thread_is_heard_in_the_context_that_it_is_given(heard: Notices) -> None:
    for target, current in ((notify_progress, None), (copy_context().run, 7)):
        arguments = (7,) if current is None else (notify_progress, 7)
        thread = threading.Thread(target=target, args=arguments)
        thread.start()
        thread.join()
        sample = heard.sample()
        assert current == (sample and sample.current)


def test_the_threads_of_a_pool_are_heard_by_their_initializer(heard: Notices) -> None:
    with ThreadPoolExecutor(4, initializer=hearer.set, initargs=(hearer.get(),)) as pool:
        list(pool.map(notify_progress, [5] * 100))
    assert heard.said is not None
    assert heard.said[0].current == 5


# --- steps


@pytest.mark.parametrize(
    "weights",
    [{}, {"a": 0}, {"a": 1, "b": -1}, {"a": float("nan")}, {"a": float("inf")}, {"a": 1e308, "b": 1e308}, {"": 1}],
)
def test_steps_without_a_share_each_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a name and a weight above 0"):
        steps(**weights)


def test_steps_come_in_their_order() -> None:
    plan = Steps({"a": 1, "b": 1, "c": 1})
    plan.begin("b")
    for name in "a", "b", "d", "":
        with pytest.raises(ValueError, match="is not one of the steps to come: to come are c"):
            plan.begin(name)
    plan.begin("c")
    assert plan.name == "c"


def test_steps_are_announced_once(heard: Notices) -> None:
    steps(a=1)
    with pytest.raises(ValueError, match="announced already"):
        steps(b=1)


def test_each_step_has_its_share_of_one_fraction(heard: Notices) -> None:
    plan = steps(copy=3, verify=1)
    assert heard.sample() is None
    told = []
    for name in "copy", "verify":
        plan.begin(name)
        told.append(heard.sample())
        for current in 5, 10:
            notify_progress(current, 10, unit="bytes")
            told.append(heard.sample())
    assert [(sample.phase, sample.current / WHOLE) for sample in told if sample is not None] == [
        ("copy", 0.0),
        ("copy", 0.375),
        ("copy", 0.75),
        ("verify", 0.75),
        ("verify", 0.875),
        ("verify", 1.0),
    ]
    assert {(sample.total, sample.unit) for sample in told if sample is not None} == {(WHOLE, Unit.PARTS)}


def test_a_step_without_a_total_stands_at_its_beginning_and_shows_life(heard: Notices) -> None:
    plan = steps(one=1, two=1)
    plan.begin("two")
    told = []
    for current in 1, 2:
        notify_progress(current)
        sample = heard.sample()
        assert sample is not None
        told.append((sample.current, sample.activity))
    assert told == [(WHOLE // 2, 1), (WHOLE // 2, 2)]


def test_what_a_command_says_of_its_own_phases_is_within_the_step() -> None:
    plan = Steps({"pack": 1, "sum": 1})
    assert plan.of(Sample(1, 2)) == Sample(1, 2)
    plan.begin("pack")
    inner = plan.of(Sample(1, 2, Unit.BYTES, "sync", "dd", activity=5))
    assert (inner.current, inner.total, inner.phase, inner.source, inner.activity) == (
        250_000,
        WHOLE,
        "pack: sync",
        "dd",
        6,
    )


def test_a_late_look_at_a_step_that_is_over_takes_nothing_from_the_next_one(heard: Notices) -> None:
    plan = steps(one=1, two=1)
    plan.begin("one")
    notify_progress(10, 10)
    late, announced = heard.said, heard.steps
    plan.begin("two")
    assert late is not None
    assert announced is not None
    assert announced.of(*late).current == WHOLE // 2


COUNTS = st.integers(-(2**70), 2**70) | st.integers(0, 10)
ACTIONS = st.lists(
    st.tuples(st.just("begin"), st.integers(0, 4))
    | st.tuples(st.just("say"), COUNTS, st.none() | COUNTS)
    | st.tuples(st.just("look"), st.floats(0, 20)),
    max_size=40,
)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5), ACTIONS, st.booleans())
@settings(deadline=None)
def test_the_fraction_of_several_steps_never_falls_whatever_is_said(
    weights: list[float], actions: list[tuple[Any, ...]], well: bool
) -> None:
    told = []

    async def listen() -> None:
        now = 0.0
        channel = Channel("job", clock=Clock(lambda: now))
        plan = steps(**{f"step{number}": weight for number, weight in enumerate(weights)})
        begun = -1
        for action, *arguments in actions:
            match action:
                case "begin":
                    if begun < arguments[0] < len(weights):
                        begun = arguments[0]
                        plan.begin(f"step{begun}")
                case "say" if begun >= 0:
                    notify_progress(*arguments)
                case "look":
                    now += arguments[0]
                    if (sample := notices.sample()) is not None:
                        channel.report(sample)
                        told.append(channel.latest())
                        assert told[-1].phase.startswith(f"step{begun}")
        channel.finish(Outcome(State.SUCCEEDED if well else State.FAILED))
        told.append(channel.latest())

    with hearing(Notices()) as notices:
        trio.run(listen)
    fractions = [status.fraction for status in told if status.fraction is not None]
    assert all(before <= after for before, after in pairwise(fractions))
    assert all(fraction < 1 for fraction in fractions[:-1])
    assert not fractions or (fractions[-1] == 1) is well
