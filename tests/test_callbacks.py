"""Callbacks: the newest of each call, in a thread of their own, which nobody waits for."""

from __future__ import annotations

import logging
import threading

import pytest
from services import PATIENCE, wait

from pollprog.callbacks import Callbacks


@pytest.fixture
def callbacks():
    ours = Callbacks()
    yield ours
    ours.close()


def test_there_is_no_thread_before_the_first_callback(callbacks) -> None:
    before = threading.active_count()
    callbacks.tell("call", 100, 1)
    assert threading.active_count() == before
    callbacks.add(print)
    callbacks.add(print)
    assert threading.active_count() == before + 1


def test_each_is_called_with_total_and_current(callbacks) -> None:
    told: list[tuple[int, tuple[int, int]]] = []
    for number in range(2):
        callbacks.add(lambda *values, number=number: told.append((number, values)))
    callbacks.tell("call", 100, 7)
    wait(lambda: len(told) == 2)
    assert told == [(0, (100, 7)), (1, (100, 7))]


def test_what_is_taken_away_is_told_nothing_more(callbacks) -> None:
    gone: list[int] = []
    there: list[int] = []
    remove = callbacks.add(lambda _, current: gone.append(current))
    callbacks.add(lambda _, current: there.append(current))
    callbacks.tell("call", 100, 1)
    wait(lambda: there)
    remove()
    remove()
    callbacks.tell("call", 100, 2)
    wait(lambda: len(there) == 2)
    assert gone == [1]


def test_one_may_take_itself_away(callbacks) -> None:
    told: list[int] = []
    there: list[int] = []
    remove = callbacks.add(lambda _, current: (told.append(current), remove()))
    callbacks.add(lambda _, current: there.append(current))
    for number in (1, 2):
        callbacks.tell("call", 100, number)
        wait(lambda number=number: number in there)
    assert told == [1]


def test_a_slow_one_gets_the_newest_and_the_last_of_each_call(callbacks) -> None:
    entered, go = threading.Event(), threading.Event()
    told: list[int] = []

    def slow(_: int, current: int) -> None:
        entered.set()
        assert go.wait(PATIENCE)
        told.append(current)

    callbacks.add(slow)
    callbacks.tell("first", 100, 0)
    assert entered.wait(PATIENCE)
    for number in range(1, 50):
        callbacks.tell("first", 100, number)
    for number in range(50, 100):
        callbacks.tell("second", 100, number)
    go.set()
    callbacks.close()
    assert told == [0, 49, 99]


def test_one_that_raises_is_logged_each_time_and_stays(callbacks, caplog) -> None:
    told: list[int] = []
    raised: list[int] = []

    def raising(_: int, current: int) -> None:
        raised.append(current)
        raise SystemExit("oh") if current == 1 else ValueError("no")

    callbacks.add(raising)
    callbacks.add(lambda _, current: told.append(current))
    with caplog.at_level(logging.ERROR, "pollprog"):
        for number in (1, 2):
            callbacks.tell("call", 100, number)
            wait(lambda number=number: number in told)
    assert raised == [1, 2]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_close_waits_for_what_is_left_to_be_told(callbacks) -> None:
    told: list[int] = []
    callbacks.add(lambda _, current: told.append(current))
    for number in range(100):
        callbacks.tell(number, 100, number)
    callbacks.close()
    assert told == list(range(100))


def test_close_does_not_wait_for_one_that_takes_for_ever(callbacks) -> None:
    entered, never = threading.Event(), threading.Event()
    callbacks.add(lambda *_: (entered.set(), never.wait(PATIENCE)))
    callbacks.tell("call", 100, 1)
    assert entered.wait(PATIENCE)
    callbacks.close()
    assert not never.is_set()  # it is still in there
    never.set()


def test_it_may_be_closed_from_within(callbacks) -> None:
    closed = threading.Event()
    callbacks.add(lambda *_: (callbacks.close(), closed.set()))
    callbacks.tell("call", 100, 1)
    assert closed.wait(PATIENCE)


def test_it_knows_when_it_is_inside_one(callbacks) -> None:
    told: list[bool] = []
    callbacks.add(lambda *_: told.append(callbacks.inside()))
    assert not callbacks.inside()
    callbacks.tell("call", 100, 1)
    wait(lambda: told)
    assert told == [True]


def test_what_cannot_be_called_is_refused(callbacks) -> None:
    with pytest.raises(TypeError, match="cannot be called"):
        callbacks.add(5)
