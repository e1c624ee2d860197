"""Jobs on a terminal or in a log, as one reader among others of their channels."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest
import trio
from terminals import PATIENCE, Terminal

from pollprog import display, terminal
from pollprog.channel import Channel, Clock
from pollprog.display import Display, JsonLines
from pollprog.status import Outcome, Sample, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger("pollprog")


@contextlib.contextmanager
def standard_error(path: Path) -> Iterator[None]:
    """Standard error in a file."""
    saved = os.dup(2)
    with open(path, "wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@pytest.fixture
def window(monkeypatch):
    """A terminal that is the one to draw on."""
    emulator = Terminal(rows=8, columns=80)
    monkeypatch.setattr(terminal, "terminal_path", lambda _: os.ttyname(emulator.slave))
    monkeypatch.setenv("TERM", "xterm")
    yield emulator
    emulator.close()


def running(name: str, current: int) -> Channel:
    """A job that began long enough ago to be shown."""
    channel = Channel(name, clock=Clock(started=time.monotonic() - 10))
    channel.report(Sample(current, 100))
    return channel


async def until(condition) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 # a terminal tells nobody that it has been written to
            await trio.sleep(0.01)


async def test_several_jobs_are_a_block_that_shrinks_to_how_they_ended(window):
    one, two = running("one", 10), running("two", 20)
    with Display("auto", interval=0.1, shares_terminal=False) as shown:
        async with trio.open_nursery() as nursery:
            for channel in (one, two):
                shown.enter(channel.job, channel)
            for channel in (two, one):
                nursery.start_soon(lambda channel=channel: shown.follow(channel.job, channel, ending=True))
            await until(lambda: "10 %" in window.rows()[0] and "20 %" in window.rows()[1])
            one.finish(Outcome(State.SUCCEEDED, 0))
            await until(lambda: window.rows()[0].startswith("one: done") and "20 %" in window.rows()[1])
            two.finish(Outcome(State.FAILED, 3))
    rows = [row for row in window.rows() if row]
    assert len(rows) == 2
    assert rows[1].startswith("two: failed with exit status 3")


async def test_what_is_logged_by_any_thread_is_a_line_above_the_bar(window):
    channel = running("job", 10)
    with Display("auto", interval=0.1, shares_terminal=False) as shown:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: shown.follow("job", channel, ending=False))
            await until(lambda: "10 %" in window.rows()[0])
            thread = threading.Thread(target=log.warning, args=("a note for %s", "you"))
            thread.start()
            thread.join()
            channel.report(Sample(50, 100))
            await until(lambda: window.rows()[0] == "pollprog: a note for you" and "50 %" in window.rows()[1])
            channel.finish(Outcome(State.SUCCEEDED, 0))
    assert [row for row in window.rows() if row] == ["pollprog: a note for you"]


async def test_taken_back_it_is_gone_and_afterwards_it_comes_again(window):
    channel = running("job", 10)
    with Display("auto", interval=0.1, shares_terminal=False) as shown:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: shown.follow("job", channel, ending=False))
            await until(lambda: "10 %" in window.rows()[0])
            shown.take_back()
            assert not any(window.rows())
            shown.resume()
            channel.report(Sample(11, 100))
            await until(lambda: "11 %" in window.rows()[0])
            channel.finish(Outcome(State.SUCCEEDED, 0))


async def test_a_terminal_that_cannot_be_opened_is_a_log(monkeypatch):
    monkeypatch.setattr(terminal, "terminal_path", lambda _: "/nowhere/at/all")
    monkeypatch.setenv("TERM", "xterm")
    with Display("bar", interval=0.1, shares_terminal=True) as shown:
        assert shown.mode is terminal.Mode.LOG
        assert display.open_screen(bottom=True) is None
        shown.take_back()
        shown.resume()


async def test_a_log_tells_of_work_that_was_told_of_before(tmp_path):
    long, short = running("long", 10), Channel("short")
    errors = tmp_path / "errors"
    with standard_error(errors), Display("log", interval=0.1, shares_terminal=False) as shown:
        async with trio.open_nursery() as nursery:
            for channel in (long, short):
                nursery.start_soon(lambda channel=channel: shown.follow(channel.job, channel, ending=False))
            await until(errors.read_text)
            log.warning("a note")
            log.info("not for users")
            short.finish(Outcome(State.SUCCEEDED, 0))
            long.finish(Outcome(State.SUCCEEDED, 0))
    first, note, last = errors.read_text().splitlines()
    assert first.startswith("long: 10 %")
    assert note == "pollprog: a note"
    assert last.startswith("long: done")


async def test_nothing_is_shown_where_nothing_is_wanted(tmp_path):
    channel = running("job", 10)
    with standard_error(tmp_path / "errors"), Display("none", interval=0.1, shares_terminal=False) as shown:
        await shown.follow("job", channel, ending=True)
    assert (tmp_path / "errors").read_text() == ""


async def test_lines_of_json_end_with_the_outcome():
    channel = running("job", 10)
    reader, writer = os.pipe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(JsonLines(writer, 0.1).follow, channel)
        await trio.testing.wait_all_tasks_blocked()
        channel.finish(Outcome(State.SUCCEEDED, 0))
    os.close(writer)
    with open(reader) as file:  # noqa: ASYNC230 # a pipe with nobody at the other end
        first, last = file.read().splitlines()
    assert '"state":"running","current":10' in first
    assert '"state":"succeeded","exit":0' in last
