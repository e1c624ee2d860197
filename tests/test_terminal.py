import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import select
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator

import pyte
import pytest

from pollprog import terminal
from pollprog.terminal import (
    LineWriter,
    Mode,
    Screen,
    choose,
    colour_wanted,
    taskbar_understood,
    terminal_path,
    unicode_understood,
)

PATIENCE = 20.0


class Emulator:
    """A pseudoterminal and what a person sees in it. `slave` is what a command would write to."""

    def __init__(self, rows: int, columns: int) -> None:
        self.master, self.slave = os.openpty()
        self.path = os.ttyname(self.slave)
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._syncs = 0
        self._ahead = b""
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self.slave, (rows, columns))
        self.screen.resize(rows, columns)

    def command(self, text: str) -> None:
        """What the command writes."""
        os.write(self.slave, text.encode())

    def read(self) -> bytes:
        """What has been written since the last call, all of it, and shown: a window title marks the end."""
        self._syncs += 1
        mark = f"\x1b]2;{self._syncs}\x07".encode()
        os.write(self.slave, mark)
        return self.read_to(mark)

    def read_to(self, mark: bytes, meanwhile: Callable[[], None] = lambda: None) -> bytes:
        """What has been written before this mark; `meanwhile` is done after each look."""
        data, end = self._ahead, time.monotonic() + PATIENCE
        while mark not in data:
            assert time.monotonic() < end, f"{mark!r} did not come behind {data[-500:]!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                data += os.read(self.master, 65536)
            meanwhile()
        before, self._ahead = data.split(mark, 1)
        self._stream.feed(before + mark)
        return before

    def rows(self) -> list[str]:
        self.read()
        return [row.rstrip() for row in self.screen.display]

    def close(self) -> None:
        os.close(self.slave)
        if self.master >= 0:
            os.close(self.master)


@pytest.fixture
def window() -> Iterator[Emulator]:
    emulator = Emulator(rows=8, columns=40)
    yield emulator
    emulator.close()


@pytest.fixture
def bottom(window: Emulator) -> Iterator[Screen]:
    with Screen(window.path, bottom=True) as screen:
        yield screen


@pytest.fixture
def cursor_line(window: Emulator) -> Iterator[Screen]:
    with Screen(window.path, bottom=False) as screen:
        yield screen


# --- the bottom row


def test_the_bar_stays_in_the_bottom_row_while_the_command_scrolls(window, bottom):
    for number in range(30):
        window.command(f"line {number}\n")
        bottom.draw([f"{number} %"])
    assert window.rows() == [*(f"line {number}" for number in range(24, 30)), "", "29 %"]


def test_no_line_of_the_command_is_lost_when_the_bar_appears_in_a_full_window(window, bottom):
    window.command("".join(f"line {number}\n" for number in range(20)) + "overwrite? ")
    bottom.draw(["50 %"])
    assert window.rows() == [*(f"line {number}" for number in range(14, 20)), "overwrite?", "50 %"]
    window.command("y")
    assert window.rows()[6] == "overwrite? y"


def test_the_cursor_stays_where_the_command_left_it(window, bottom):
    window.command("overwrite? ")
    bottom.draw(["50 %"])
    window.read()
    assert (window.screen.cursor.x, window.screen.cursor.y) == (11, 0)
    bottom.take_back()
    window.read()
    assert (window.screen.cursor.x, window.screen.cursor.y) == (11, 0)


def test_taking_back_leaves_the_terminal_as_if_nobody_had_been_there(window, bottom):
    window.command("".join(f"line {number}\n" for number in range(20)))
    bottom.draw(["50 %"])
    bottom.take_back()
    assert window.rows() == [*(f"line {number}" for number in range(14, 20)), "", ""]
    assert window.screen.margins is None
    bottom.take_back()
    assert window.read() == b""
    window.command("more\nand\nmore\n")
    assert window.rows() == [*(f"line {number}" for number in range(16, 20)), "more", "and", "more", ""]


def test_after_a_stop_the_bar_is_drawn_anew(window, bottom):
    bottom.draw(["50 %"])
    bottom.take_back()
    window.command("[1]+  Stopped\n")
    bottom.resume()
    bottom.draw(["50 %"])
    assert window.rows() == ["[1]+  Stopped", *[""] * 6, "50 %"]


def test_after_a_stop_that_nobody_heard_of_the_bottom_row_is_made_free_again(window, bottom):
    bottom.draw(["50 %"])
    window.command("\x1b[r" + "".join(f"prompt {number}\n" for number in range(9)) + "$ fg")
    bottom.resume()
    bottom.draw(["50 %"])
    assert window.rows()[-3:] == ["prompt 8", "$ fg", "50 %"]


def test_a_region_that_the_command_did_away_with_comes_back_with_the_next_frame(window, bottom):
    bottom.draw(["50 %"])
    window.command("\x1b[r")
    bottom.draw(["51 %"])
    window.command("line\n" * 20)
    assert window.rows() == [*["line"] * 6, "", "51 %"]


def test_an_unchanged_frame_is_not_written_again(window, bottom):
    bottom.draw(["50 %"])
    assert b"50 %" in window.read()
    bottom.draw(["50 %"])
    assert window.read() == b""
    bottom.draw(["51 %"])
    assert window.read().count(b"51 %") == 1


def test_a_bar_follows_a_window_that_grows(window, bottom):
    window.command("one\ntwo")
    bottom.draw(["50 %"])
    window.read()
    window.resize(12, 60)
    bottom.draw(["50 %"])
    assert window.rows() == ["one", "two", *[""] * 9, "50 %"]
    assert window.screen.margins == (0, 10)
    window.resize(14, 60)
    bottom.take_back()
    assert window.rows() == ["one", "two", *[""] * 12]
    assert window.screen.margins is None


def test_in_a_window_of_few_rows_the_bar_is_a_line_at_the_cursor(window, bottom):
    bottom.draw(["50 %"])
    window.read()
    window.resize(4, 40)
    window.screen.cursor.y = 0
    bottom.draw(["51 %"])
    assert window.rows() == ["51 %", "", "", ""]
    assert window.screen.margins is None
    window.resize(8, 40)
    bottom.draw(["52 %"])
    assert window.rows() == [*[""] * 7, "52 %"]


def test_the_bottom_row_shows_only_the_first_of_several_lines(window, bottom):
    bottom.draw(["50 %", "60 %"])
    assert window.rows() == [*[""] * 7, "50 %"]


# --- at the cursor


def test_a_line_at_the_cursor_is_overdrawn_and_taken_off(window, cursor_line):
    window.command("$ run\n")
    cursor_line.draw(["a longer line"])
    cursor_line.draw(["50 %"])
    assert window.rows()[:2] == ["$ run", "50 %"]
    cursor_line.take_back()
    assert window.rows()[:2] == ["$ run", ""]
    assert (window.screen.cursor.x, window.screen.cursor.y) == (0, 1)


def test_a_block_shrinks_and_grows_in_place_even_at_the_bottom_of_the_window(window, cursor_line):
    window.command("x\n" * 7)
    cursor_line.draw(["one", "two", "three"])
    assert window.rows() == [*["x"] * 5, "one", "two", "three"]
    cursor_line.draw(["two", "three"])
    assert window.rows() == [*["x"] * 5, "two", "three", ""]
    cursor_line.draw(["two"])
    cursor_line.draw(["two", "three", "four"])
    assert window.rows() == [*["x"] * 5, "two", "three", "four"]
    cursor_line.take_back()
    assert window.rows() == [*["x"] * 5, "", "", ""]


def test_a_block_leaves_a_row_free_and_counts_what_it_does_not_show(window, cursor_line):
    cursor_line.draw([f"job {number}" for number in range(13)])
    assert window.rows() == [*(f"job {number}" for number in range(6)), "+7 more", ""]


def test_after_a_stop_that_nobody_heard_of_a_block_does_not_overdraw_what_the_shell_wrote(window, cursor_line):
    cursor_line.draw(["one", "two"])
    window.command("\n[1]+  Stopped\n")
    cursor_line.resume()
    cursor_line.draw(["one", "two"])
    assert window.rows()[:5] == ["one", "two", "[1]+  Stopped", "one", "two"]


def test_nothing_to_show_draws_nothing(window, cursor_line):
    cursor_line.draw([])
    assert window.read() == b""


def test_a_terminal_that_does_not_tell_its_size_gets_a_line(window):
    window.resize(0, 0)
    with Screen(window.path, bottom=True) as screen:
        assert screen.size() == (80, 0)
        screen.draw(["50 %"])
        assert window.read() == b"\r50 %\x1b[K"


# --- notes


def test_a_note_is_a_line_above_the_bar(window, bottom):
    window.command("first\n")
    bottom.draw(["50 %"])
    bottom.say("a note")
    window.command("unfinished")
    bottom.say("another")
    assert window.rows() == ["first", "a note", "unfinished", "another", "", "", "", "50 %"]


def test_a_note_is_above_a_line_at_the_cursor_too(window, cursor_line):
    cursor_line.draw(["50 %", "60 %"])
    cursor_line.say("a note")
    cursor_line.draw(["50 %", "60 %"])
    cursor_line.say("bad\x1b[2Jnews\udce9")
    assert window.rows()[:4] == ["a note", "bad[2Jnews?", "", ""]


# --- the icon


def test_the_icon_is_told_and_cleared(window):
    with Screen(window.path, bottom=True, taskbar=True) as screen:
        screen.draw(["42 %"], taskbar="1;42")
        assert window.read().endswith(b"\x1b]9;4;1;42\x1b\\")
        screen.draw(["42 %"], taskbar="4;42")
        screen.draw(["failed"], taskbar="2;42")
    assert re.findall(rb"\]9;4;([\d;]+)", window.read()) == [b"4;42", b"2;42", b"0"]


def test_the_icon_is_told_again_before_the_terminal_forgets_it(window, monkeypatch):
    with Screen(window.path, bottom=True, taskbar=True) as screen:
        screen.draw(["paused"], taskbar="4;42")
        screen.draw(["paused"], taskbar="4;42")
        assert window.read().count(b"]9;4;4;42") == 1
        monkeypatch.setattr(terminal, "_REFRESH", 0.0)
        screen.draw(["paused"], taskbar="4;42")
        assert window.read().count(b"]9;4;4;42") == 1


def test_a_terminal_that_is_not_known_to_have_an_icon_is_told_nothing(window, bottom):
    bottom.draw(["42 %"], taskbar="1;42")
    bottom.take_back()
    assert b"]9;4" not in window.read()


# --- a terminal that takes nothing


def fill(fd: int) -> None:
    """Write until nothing more is taken."""
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"." * 100)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b".")


def test_a_terminal_that_nobody_reads_blocks_nothing_and_later_gets_whole_frames(window, bottom):
    for number in range(20_000):
        bottom.draw([f"frame {number}"])
        if bottom._frame != ((40, 8), (f"frame {number}",), ""):
            break
    else:
        pytest.fail("the terminal never refused a frame")
    shown = window.read_to(b"the last frame", meanwhile=lambda: bottom.draw(["the last frame"]))
    shown += b"the last frame" + window.read()
    frames = rb"(\x1b7\x1b\[1;7r\x1b\[8;1H(frame \d+|the last frame)\x1b\[K\x1b8)+"
    assert re.fullmatch(rb"\x1bD\x1b\[A" + frames, shown)
    assert window.rows()[-1] == "the last frame"


def test_what_must_not_be_lost_waits_for_room(window, bottom):
    bottom.draw(["50 %"])
    window.read()
    fd = os.open(window.path, os.O_WRONLY | os.O_NOCTTY)
    fill(fd)
    os.close(fd)
    bottom.say("a note")
    bottom.draw(["51 %"])
    for _ in range(300):
        bottom.say("too many notes")
    bottom.take_back()
    assert len(bottom._rest) < 2 * terminal._MOST_WAITING
    window.read_to(b"\x1b[r\x1b[8;1H\x1b[K\x1b8", meanwhile=bottom.take_back)
    assert window.screen.margins is None
    assert window.rows()[-3] == "too many notes"
    assert window.rows()[-1] == ""


def test_closing_gives_up_on_a_terminal_that_stays_full(window):
    screen = Screen(window.path, bottom=True)
    screen.draw(["50 %"])
    fill(screen._fd)
    screen.close(seconds=0.05)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(screen._fd)
    screen.close()
    screen.draw(["51 %"])
    screen.say("nothing")
    screen.take_back()


def test_closing_waits_for_a_terminal_that_is_read_again(window):
    with Screen(window.path, bottom=True) as screen:
        screen.draw(["50 %"])
        fill(screen._fd)
        reader = threading.Thread(target=window.read_to, args=(b"\x1b[r\x1b[8;1H\x1b[K\x1b8",))
        reader.start()
        screen.close(seconds=PATIENCE)
        reader.join(PATIENCE)
        assert not reader.is_alive()


def test_a_terminal_that_hung_up_harms_nothing(window, bottom):
    bottom.draw(["50 %"])
    os.close(window.master)
    window.master = -1
    bottom.draw(["51 %"])
    bottom.say("a note")
    bottom.take_back()
    bottom.close()


# --- job control

SESSION = """
import fcntl, os, sys, termios
from pollprog.terminal import LineWriter, Screen

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
screen, line, other = (Screen("/dev/tty", bottom=bottom) for bottom in (True, False, False))
screen.draw(["in front"])
line.draw(["a line"])
other.draw(["another"])
child = os.fork()
if not child:
    os.setpgid(0, 0)
    screen.draw(["behind"])
    line.say("a note from behind")
    other.close()
    screen.close()
    LineWriter(0).write("a line from behind")
    os._exit(0)
ended = os.waitpid(child, os.WUNTRACED)[1]
assert os.WIFEXITED(ended), "stopped"
screen.draw(["in front again"])
screen.close()
os.write(0, b"<end>")
"""


def session(window: Emulator) -> bytes:
    """What `SESSION` wrote, in a session of its own with the window as its controlling terminal."""
    with subprocess.Popen([sys.executable, "-c", SESSION], stdin=window.slave, start_new_session=True) as process:
        data = window.read_to(b"<end>")
    assert process.returncode == 0
    return data


def test_in_the_background_nothing_is_drawn_but_what_was_is_taken_back(window):
    data = session(window)
    assert b"in front" in data
    assert b"behind" not in data.replace(b"a note from behind", b"").replace(b"a line from behind", b"")
    assert b"a note from behind" in data
    assert b"a line from behind" in data
    behind = data.split(b"another\x1b[K")[1].split(b"a line from behind")[0]
    assert b"\x1b[r" in behind
    assert b"\x1b[J" not in behind


def test_a_terminal_that_stops_background_writers_is_left_alone_there(window):
    settings = termios.tcgetattr(window.slave)
    settings[3] |= termios.TOSTOP
    termios.tcsetattr(window.slave, termios.TCSANOW, settings)
    data = session(window)
    assert b"behind" not in data
    assert b"in front again" in data


# --- what to do, by environment


def test_a_bar_is_for_a_terminal_and_a_log_for_everything_else(window):
    xterm = {"TERM": "xterm-256color"}
    for progress in ("auto", "bar"):
        assert choose(progress, xterm, window.slave, shares_terminal=True) is Mode.BOTTOM
        assert choose(progress, xterm, window.slave, shares_terminal=False) is Mode.LINE
        for poor in ({}, {"TERM": ""}, {"TERM": "dumb"}):
            assert choose(progress, poor, window.slave, shares_terminal=True) is Mode.LOG
    assert choose("log", xterm, window.slave, shares_terminal=True) is Mode.LOG
    assert choose("none", xterm, window.slave, shares_terminal=True) is Mode.NONE


def test_standard_error_in_a_file_leaves_the_controlling_terminal_and_without_one_a_log(window):
    script = "import fcntl, sys, termios\nfrom pollprog.terminal import *\n"
    ask = "print(terminal_path(2), choose('bar', {'TERM': 'xterm'}, 2, shares_terminal=True))\n"
    control = "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    for extra, answer in (("", "None log\n"), (control, "/dev/tty bottom\n")):
        done = subprocess.run(
            [sys.executable, "-c", script + extra + ask],
            stdin=window.slave,
            capture_output=True,
            text=True,
            check=True,
            start_new_session=True,
        )
        assert done.stdout == answer


def test_the_terminal_of_standard_error_is_opened_afresh(window):
    path = terminal_path(window.slave)
    assert path
    with Screen(path, bottom=False) as screen:
        screen.draw(["50 %"])
        assert window.rows()[0] == "50 %"
        assert os.get_blocking(window.slave)


@pytest.mark.parametrize(
    ("environ", "understood"),
    [
        ({"LANG": "en_GB.UTF-8"}, True),
        ({"LC_ALL": "C.utf8"}, True),
        ({"LC_CTYPE": "de_DE.utf-8@euro", "LANG": "C"}, True),
        ({"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, False),
        ({"LC_ALL": "", "LANG": "en_GB.ISO-8859-1"}, False),
        ({}, False),
        ({"LANG": "en_GB.UTF-8", "TERM": "linux"}, False),
    ],
)
def test_unicode_is_for_a_locale_that_has_it(environ: dict[str, str], understood: bool):
    assert unicode_understood(environ) is understood


@pytest.mark.parametrize(
    ("environ", "on_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"NO_COLOR": ""}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "0"}, True, False),
    ],
)
def test_colour_is_for_terminals_unless_the_user_says_otherwise(environ, on_terminal, elsewhere):
    assert colour_wanted(environ) is on_terminal
    assert colour_wanted(environ, terminal=False) is elsewhere


@pytest.mark.parametrize(
    ("environ", "understood"),
    [
        ({}, False),
        ({"TERM_PROGRAM": "iTerm.app"}, False),
        ({"TERM_FEATURES": "T3CwLrMSc7UUw9Ts3BFGsSyHNoSxFP"}, True),
        ({"TERM_FEATURES": "T3Pq"}, False),
        ({"TERM_PROGRAM": "WezTerm"}, True),
        ({"TERM_PROGRAM": "ghostty"}, True),
        ({"TERM_PROGRAM": "ghostty", "TMUX": "/tmp/tmux-0/default,1,0"}, False),
        ({"WT_SESSION": "x", "STY": "1.pts"}, False),
        ({"WT_SESSION": "x"}, True),
        ({"ConEmuANSI": "ON"}, True),
        ({"PTYXIS_VERSION": "47.9"}, False),
        ({"PTYXIS_VERSION": "48.1"}, True),
        ({"PTYXIS_VERSION": "next"}, False),
    ],
)
def test_the_icon_is_for_terminals_that_are_known_to_have_one(environ: dict[str, str], understood: bool):
    assert taskbar_understood(environ) is understood


# --- lines to a descriptor that others share


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def object_line(number: int) -> bytes:
    return json.dumps({"seq": number, "padding": "x" * 900}).encode() + b"\n"


def no_nowait(*_arguments: object) -> int:
    raise OSError(errno.EOPNOTSUPP, "as kernels before 6.4 say of a pipe")


@pytest.mark.parametrize("kernel", ["new", "old"])
def test_a_full_pipe_drops_lines_but_never_the_last_one(pipe, monkeypatch, kernel):
    if kernel == "old":
        monkeypatch.setattr(os, "pwritev", no_nowait)
    reader, writer = pipe
    lines = LineWriter(writer)
    taken = [lines.write(object_line(number)) for number in range(200)]
    assert taken[0]
    assert not taken[-1]
    assert os.get_blocking(writer)
    data = b""

    def read() -> None:
        nonlocal data
        while b"the end" not in data:
            data += os.read(reader, 65536)

    thread = threading.Thread(target=read)
    thread.start()
    lines.write_last("the end", seconds=PATIENCE)
    thread.join(PATIENCE)
    whole = data.split(b"\n")
    assert whole[-2:] == [b"the end", b""]
    assert [json.loads(line)["seq"] for line in whole[:-2]] == [number for number in range(200) if taken[number]]


def test_a_last_line_that_nobody_reads_is_given_up(pipe):
    lines = LineWriter(pipe[1])
    while lines.write(object_line(1)):
        pass
    lines.write_last("the end", seconds=0.05)


def test_a_line_longer_than_a_pipe_takes_at_once_is_finished_before_the_next(pipe, monkeypatch):
    monkeypatch.setattr(os, "pwritev", no_nowait)
    reader, writer = pipe
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    lines = LineWriter(writer)
    assert lines.write("a" * 6000)
    assert not lines.write("dropped")
    data = os.read(reader, 4096)
    assert not lines.write("dropped, but with it goes the rest")
    data += os.read(reader, 4096)
    assert lines.write("next")
    data += os.read(reader, 4096)
    assert data == b"a" * 6000 + b"\nnext\n"


def test_a_reader_that_went_away_harms_nothing(pipe):
    os.close(pipe[0])
    lines = LineWriter(pipe[1])
    lines.write("a line")
    lines.write_last("the end")


def test_a_full_disk_harms_nothing():
    with open("/dev/full", "wb", buffering=0) as full:
        lines = LineWriter(full.fileno())
        lines.write("a line")
        lines.write_last("the end")


def test_a_descriptor_that_is_none_harms_nothing():
    lines = LineWriter(os.sysconf("SC_OPEN_MAX") - 1)
    lines.write("a line")
    lines.write_last("the end")
    lines.close()


def test_lines_go_to_the_end_of_a_file_shared_with_the_command(tmp_path):
    with open(tmp_path / "log", "wb", buffering=0) as log:
        lines = LineWriter(log.fileno())
        log.write(b"the command\n")
        lines.write("a line")
        log.write(b"the command again\n")
        lines.write_last(b"the end\n")
        lines.close()
    assert (tmp_path / "log").read_text() == "the command\na line\nthe command again\nthe end\n"


def test_a_full_socket_drops_lines():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lines = LineWriter(ours.fileno())
        while lines.write(object_line(1)):
            pass
        assert ours.getblocking()
        assert theirs.recv(65536).startswith(b'{"seq"')


def test_a_terminal_that_nobody_reads_drops_lines_of_log(window):
    lines = LineWriter(window.slave)
    try:
        assert lines.write("caf\udce9")
        assert window.rows()[0] == "caf?"
        while lines.write("a line"):
            pass
        assert os.get_blocking(window.slave)
    finally:
        lines.close()
        lines.close()
    os.fstat(window.slave)


# --- in a real terminal multiplexer


class Tmux:
    """A tmux of our own with one window, in which nothing runs that writes."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        self._base = ["tmux", "-L", f"pollprog-test-{os.getpid()}-{next(self._numbers)}", "-f", "/dev/null"]
        self.run("new-session", "-d", "-x", "40", "-y", "8", "sleep 600")
        self.run("set-option", "-g", "status", "off")
        self.run("set-option", "-g", "window-size", "manual")
        self.resize(40, 8)
        self.path = self.run("display-message", "-p", "#{pane_tty}").strip()
        self.tty = os.open(self.path, os.O_WRONLY | os.O_NOCTTY)

    def run(self, *arguments: str) -> str:
        return subprocess.run([*self._base, *arguments], capture_output=True, text=True, check=True).stdout

    def resize(self, columns: int, rows: int) -> None:
        self.run("resize-window", "-x", str(columns), "-y", str(rows))

    def command(self, text: str) -> None:
        os.write(self.tty, text.encode())

    def wait(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """The rows as soon as they are as they should be."""
        end = time.monotonic() + PATIENCE
        while not condition(rows := self.run("capture-pane", "-p").split("\n")[:-1]):
            assert time.monotonic() < end, rows
            time.sleep(0.02)
        return rows

    def wait_size(self, columns: int, rows: int) -> None:
        end = time.monotonic() + PATIENCE
        while os.get_terminal_size(self.tty) != (columns, rows):
            assert time.monotonic() < end
            time.sleep(0.02)

    def close(self) -> None:
        os.close(self.tty)
        socket_path = self.run("display-message", "-p", "#{socket_path}").strip()
        self.run("kill-server")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket_path)


@pytest.fixture
def tmux() -> Iterator[Tmux]:
    session = Tmux()
    yield session
    session.close()


@pytest.mark.tool("tmux")
def test_in_tmux_the_command_scrolls_above_the_bar_and_gets_its_row_back(tmux):
    with Screen(tmux.path, bottom=True) as screen:
        for number in range(30):
            tmux.command(f"line {number}\n")
            screen.draw([f"{number} %"])
        screen.say("a note")
        rows = tmux.wait(lambda rows: "a note" in rows)
        assert rows == [*(f"line {number}" for number in range(25, 30)), "a note", "", "29 %"]
    tmux.command("one\ntwo\nthree")
    rows = tmux.wait(lambda rows: "three" in rows)
    assert rows == [*(f"line {number}" for number in range(26, 30)), "a note", "one", "two", "three"]
    history = tmux.run("capture-pane", "-p", "-S", "-").split("\n")
    assert [row for row in history if row.startswith("line")] == [f"line {number}" for number in range(30)]
    assert not any("%" in row for row in history)


@pytest.mark.tool("tmux")
@pytest.mark.parametrize(("columns", "rows"), [(40, 12), (40, 6), (20, 8), (60, 10), (30, 4)])
def test_in_tmux_a_resize_leaves_one_bar_and_every_line(tmux, columns, rows):
    lines = [f"line {number}" for number in range(20)]
    with Screen(tmux.path, bottom=True) as screen:
        tmux.command("".join(f"{line}\n" for line in lines) + "overwrite? ")
        screen.draw(["50 % " + "." * 30])
        tmux.wait(lambda shown: shown[-1].startswith("50 %"))
        tmux.resize(columns, rows)
        tmux.wait_size(columns, rows)
        screen.draw(["51 % " + "." * (columns - 7)])
        shown = tmux.wait(lambda shown: any("51 %" in row for row in shown))
        assert len(shown) == rows
        assert "50 %" not in "".join(shown)
        assert rows < 5 or shown[-1].startswith("51 %")
    tmux.command("y\n")
    tmux.wait(lambda shown: not any("51 %" in row for row in shown))
    history = tmux.run("capture-pane", "-p", "-S", "-").split("\n")
    assert [row for row in history if row.startswith("line")] == lines
    assert "%" not in "".join(history)


@pytest.mark.tool("tmux")
def test_in_tmux_a_block_at_the_bottom_of_the_window_stays_in_place(tmux):
    tmux.command("x\n" * 10)
    with Screen(tmux.path, bottom=False) as screen:
        screen.draw(["one", "two", "three"])
        screen.draw(["two", "three"])
        screen.draw(["two", "three", "four"])
        assert tmux.wait(lambda rows: "four" in rows) == [*["x"] * 5, "two", "three", "four"]
    assert tmux.wait(lambda rows: "four" not in rows) == [*["x"] * 5, "", "", ""]
