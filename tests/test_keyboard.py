"""Keys, where somebody types and where nobody does. What a person sees of it is in the tests of top."""

from __future__ import annotations

import os
import signal

import pytest
import trio
import trio.testing
from terminals import PATIENCE, POLLPROG, Terminal

from pollprog import keyboard
from pollprog.keyboard import Keyboard


@pytest.fixture
def pipe(monkeypatch):
    """Standard input is a pipe, in which there is a q."""
    reader, writer = os.pipe()
    os.write(writer, b"q")
    monkeypatch.setattr(keyboard, "STDIN", reader)
    yield reader
    os.close(reader)
    os.close(writer)


async def test_a_pipe_is_not_typed_by_anybody(pipe, autojump_clock):
    with Keyboard() as keys, trio.move_on_after(3600) as waited:
        await keys.key(b"q")
    assert waited.cancelled_caught
    assert os.read(pipe, 10) == b"q"


@pytest.fixture
def other(monkeypatch):
    """Standard input is a terminal, and not ours."""
    terminal = Terminal()
    monkeypatch.setattr(keyboard, "STDIN", terminal.slave)
    yield terminal
    terminal.close()


async def test_a_terminal_of_somebody_else_is_left_alone(other, autojump_clock):
    before = other.settings()
    with Keyboard() as keys, trio.move_on_after(3600) as waited:
        assert other.settings() == before
        other.type("q\n")
        await keys.key(b"q")
    assert waited.cancelled_caught
    assert os.read(other.slave, 10) == b"q\n"


async def test_keys_that_nobody_wants_to_hear_are_left_alone(other, autojump_clock, monkeypatch):
    monkeypatch.setattr(keyboard, "in_foreground", lambda: True)
    before = other.settings()
    with Keyboard(wanted=False) as keys, trio.move_on_after(3600) as waited:
        assert other.settings() == before
        await keys.key(b"q")
    assert waited.cancelled_caught


async def test_any_of_the_keys_will_do_and_others_will_not(other, monkeypatch):
    monkeypatch.setattr(keyboard, "in_foreground", lambda: True)
    before = other.settings()
    with Keyboard() as keys:
        hidden = other.settings()
        keys.resume()
        assert other.settings() == hidden != before
        other.type("ab")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keys.key, b"q", b"x")
            await trio.testing.wait_all_tasks_blocked(0.01)
            other.type("x")
        keys.take_back()
        assert other.settings() == before
        keys.resume()
        assert other.settings() == hidden
    assert other.settings() == before


def test_a_window_that_is_closed_ends_the_view_without_a_word(tmp_path):
    terminal = Terminal(24, 100)
    try:
        before = terminal.settings()
        with open(tmp_path / "errors", "wb") as errors:
            viewing = terminal.run(POLLPROG, "top", stderr=errors)
        terminal.wait(lambda _: terminal.settings() != before)
        terminal.hang_up()
        assert viewing.wait(PATIENCE) == 128 + signal.SIGHUP
        assert (tmp_path / "errors").read_bytes() == b""
    finally:
        terminal.close()
