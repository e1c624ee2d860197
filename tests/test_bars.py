"""A bar for other people's loops: drawn while the block runs, given back on every way out, and never in the way."""

from __future__ import annotations

import re
import sys
import termios
import threading
from typing import TYPE_CHECKING

import pytest
import trio
from services import PATIENCE
from terminals import Terminal, shell

import pollprog
from pollprog import bars
from pollprog.config import Service
from pollprog.jobs import Jobs
from pollprog.notify import hearer
from pollprog.operations import declare

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """
import signal, sys, time, threading
from pollprog import notify_progress, progress_bar, steps
def until_drawn():
    sys.stdin.readline()
"""
"""A program waits for a line of input where the test has to see something first."""


@pytest.fixture
def window() -> Iterator[Terminal]:
    terminal = Terminal(rows=8, columns=90)
    settings = termios.tcgetattr(terminal.slave)
    settings[3] &= ~termios.ECHO  # what is typed shall not move the bar
    termios.tcsetattr(terminal.slave, termios.TCSANOW, settings)
    yield terminal
    terminal.close()


def run(window: Terminal, program: str) -> None:
    window.run(sys.executable, "-X", "dev", "-c", HEAD + program)


def logged(program: str) -> tuple[int, str, str]:
    """Exit status, output and log of a program without a terminal."""
    told = shell('exec "$@"', sys.executable, "-X", "dev", "-c", HEAD + program)
    return told.returncode, told.stdout, told.stderr


def test_it_draws_what_the_loop_says_and_how_it_ended(window) -> None:
    run(
        window,
        """
with progress_bar("backup"):
    notify_progress(25, 100)
    until_drawn()
    notify_progress(50, 100)
    until_drawn()
    notify_progress(100, 100)
print("after")
""",
    )
    window.wait(lambda rows: any(re.match(r"backup .*25 %.*25 of 100 items", row) for row in rows))
    window.type("\n")
    window.wait(lambda rows: any(re.match(r"backup .*50 %", row) for row in rows))
    window.type("\n")
    rows = window.wait(lambda rows: "after" in rows)
    assert window.wait_end() == 0
    assert any(re.match(r"backup: done, 100 items in", row) for row in rows)
    assert not any("%" in row for row in rows)  # the bar itself has gone


def test_it_says_a_hundred_per_cent_only_at_the_end(window) -> None:
    run(
        window,
        """
with progress_bar():
    notify_progress(100, 100)
    until_drawn()
print("after")
""",
    )
    rows = window.wait(lambda rows: any("finishing" in row for row in rows))
    assert any("99 %" in row for row in rows)
    window.type("\n")
    window.wait(lambda rows: "after" in rows)
    assert b"100 %" not in window.seen
    assert any("done, 100 items" in row for row in window.rows())


def test_without_a_total_it_pulses(window) -> None:
    run(window, "with progress_bar():\n    notify_progress(7)\n    until_drawn()\n")
    window.wait(lambda rows: any("7 items" in row for row in rows))
    window.type("\n")
    assert window.wait_end() == 0
    assert b"%" not in window.seen


def test_an_exception_inside_is_told_as_failed_and_passes_on(window) -> None:
    run(
        window,
        """
try:
    with progress_bar("backup"):
        notify_progress(30, 100)
        until_drawn()
        raise LookupError("what")
except LookupError as error:
    print("caught", error)
""",
    )
    window.wait(lambda rows: any("30 %" in row for row in rows))
    window.type("\n")
    rows = window.wait(lambda rows: "caught what" in rows)
    assert any(re.match(r"backup: failed after .*30", row) for row in rows)


def test_ctrl_c_gives_the_terminal_back(window) -> None:
    settings = window.settings()
    run(
        window,
        """
try:
    with progress_bar("backup"):
        notify_progress(30, 100)
        while True:
            time.sleep(0.05)
except KeyboardInterrupt:
    print("interrupted")
""",
    )
    window.wait(lambda rows: any("30 %" in row for row in rows))
    window.type("\x03")
    rows = window.wait(lambda rows: any("interrupted" in row for row in rows))
    assert window.wait_end() == 0
    assert any("backup: cancelled after" in row for row in rows)
    assert window.settings() == settings


def test_a_program_that_is_killed_leaves_no_more_than_a_line(window) -> None:
    run(window, "with progress_bar():\n    notify_progress(30, 100)\n    until_drawn()\n")
    window.wait(lambda rows: any("30 %" in row for row in rows))
    process = window._process
    assert process is not None
    process.kill()
    process.wait()
    window.read()
    assert not re.search(rb"\x1b\[\d*;\d*r|\x1b\[\?", window.seen)  # no scroll region, and no mode of the terminal's


def test_one_within_another_has_a_row_of_its_own(window) -> None:
    run(
        window,
        """
with progress_bar("outer"):
    notify_progress(1, 4)
    with progress_bar("inner"):
        notify_progress(1, 2)
        until_drawn()
    notify_progress(3, 4)
    until_drawn()
""",
    )
    window.wait(
        lambda rows: any("outer" in row and "25 %" in row for row in rows) and any("50 %" in row for row in rows)
    )
    window.type("\n")
    rows = window.wait(lambda rows: any("outer" in row and "75 %" in row for row in rows))
    assert any("inner: done" in row for row in rows)
    window.type("\n")
    window.wait(lambda rows: any("outer: done" in row for row in rows))
    assert window.wait_end() == 0


def test_two_threads_may_have_a_bar_each(window) -> None:
    run(
        window,
        """
go = threading.Event()
def work(name):
    with progress_bar(name):
        notify_progress(1, 2)
        go.wait(30)
threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
for thread in threads: thread.start()
until_drawn()
go.set()
for thread in threads: thread.join()
print("after")
""",
    )
    window.wait(lambda rows: all(any(name in row and "50 %" in row for row in rows) for name in ("one", "two")))
    window.type("\n")
    rows = window.wait(lambda rows: "after" in rows)
    assert any("one: done" in row for row in rows)
    assert any("two: done" in row for row in rows)


def test_steps_are_one_bar(window) -> None:
    run(
        window,
        """
with progress_bar():
    work = steps(copy=3, verify=1)
    work.begin("copy")
    notify_progress(50, 50)
    work.begin("verify")
    notify_progress(2, 10)
    until_drawn()
""",
    )
    window.wait(lambda rows: any("80 %" in row and "verify" in row for row in rows))
    window.type("\n")
    assert window.wait_end() == 0


def test_without_a_terminal_it_is_a_log() -> None:
    status, output, log = logged(
        """
with progress_bar("backup"):
    for number in range(15):
        notify_progress(number, 100)
        time.sleep(0.1)
print("after")
"""
    )
    assert (status, output) == (0, "after\n")
    assert re.search(r"^backup: 1?\d %, \d+ of 100 items", log, re.MULTILINE)
    assert re.search(r"^backup: done, 100 items in", log, re.MULTILINE)


def test_what_is_over_at_once_needs_no_words() -> None:
    told = logged("for _ in range(3):\n    with progress_bar():\n        notify_progress(1, 1)\nprint('after')")
    assert told == (0, "after\n", "")


def test_it_works_inside_of_trio() -> None:
    told = logged(
        """
import trio
async def main():
    with progress_bar("one"):
        await trio.to_thread.run_sync(notify_progress, 1, 2)
    with trio.move_on_after(0), progress_bar("two"):
        await trio.sleep(1)
    print("after")
trio.run(main)
"""
    )
    assert told == (0, "after\n", "")


def test_a_child_of_a_fork_leaves_the_bar_to_its_parent() -> None:
    told = logged(
        """
import os, warnings
warnings.simplefilter("ignore")
with progress_bar():
    notify_progress(1, 2)
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
if not child:
    with progress_bar():
        notify_progress(1, 2)
    os._exit(0)
print("after")
"""
    )
    assert told == (0, "after\n", "")


def drawing() -> bool:
    return "pollprog bars" in {thread.name for thread in threading.enumerate()}


def test_the_thread_that_draws_ends_with_the_last_bar() -> None:
    with pollprog.progress_bar():
        with pollprog.progress_bar():
            assert drawing()
        assert drawing()
        assert isinstance(hearer.get(), bars.Bar)
    assert not drawing()
    assert hearer.get() is None


def test_outside_of_everything_notify_progress_does_nothing() -> None:
    assert hearer.get() is None
    pollprog.notify_progress(1, 2)
    pollprog.steps(one=1).begin("one")
    assert not drawing()


async def test_inside_an_operation_it_feeds_the_channel_of_the_job() -> None:
    """And a bar there draws nothing: the job is told."""
    go = threading.Event()

    def work() -> None:
        """Work."""
        with pollprog.progress_bar():
            pollprog.notify_progress(3, 10)
            assert go.wait(PATIENCE)

    operation = declare(work)
    jobs = Jobs(Service(initial_delay=0.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(jobs.run)
        job = jobs.start(operation, operation.struct(), 0)
        with trio.fail_after(PATIENCE):
            status = job.channel.latest()
            while status.current is None:
                status = await job.channel.next(status.seq, interval=0.1)
            assert (status.current, status.total, status.unit) == (3, 10, pollprog.Unit.ITEMS)
            assert not drawing()
            go.set()
            await job.over.wait()
        assert job.channel.latest().fraction == 1.0
        nursery.cancel_scope.cancel()


def test_a_loop_that_was_cancelled_is_told_so() -> None:
    status, _, log = logged(
        """
from pollprog import Cancelled
try:
    with progress_bar("backup"):
        for number in range(12):
            notify_progress(number, 100)
            time.sleep(0.1)
        raise Cancelled("stop")
except Cancelled:
    pass
"""
    )
    assert status == 0
    assert "backup: cancelled after" in log
