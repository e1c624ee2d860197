"""What is printed arrives whole, or one line says why not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from terminals import PATIENCE, POLLPROG, Terminal, shell

PRINTING = ["--version", "--help", "run --help", "probes", "probes dd", "completion bash", "completion zsh"]
SHOW = "import os,sys;from pollprog.output import show;show(sys.argv[1]*int(sys.argv[2]))"


@pytest.mark.parametrize("words", PRINTING)
@pytest.mark.parametrize(
    ("where", "reason"),
    [("/dev/full", "No space left on device"), ("&-", "Bad file descriptor")],
    ids=["full", "closed"],
)
def test_words_that_find_no_room_are_told_in_one_line(words, where, reason):
    done = shell(f"pollprog {words} >{where}")
    assert (done.returncode, done.stderr) == (1, f"pollprog: cannot write to standard output: {reason}\n")


@pytest.mark.parametrize("words", PRINTING)
def test_a_reader_that_went_away_is_told_nothing(words):
    reader, writer = os.pipe()
    os.close(reader)
    done = shell(f"pollprog {words}", stdout=writer, stderr=subprocess.PIPE, capture_output=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_nothing_is_lost_to_a_slow_reader_of_a_stream_that_never_waits():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen([sys.executable, "-c", SHOW, "ü\udcff", "100000"], stdout=writer) as process:
        os.close(writer)
        with open(reader, "rb") as file:
            assert file.read() == "ü?".encode() * 100_000
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("line", "fits"),
    [
        ("CopyFile  Copy a file: all of it.", ["CopyFile  Copy a", "          file: all", "          of it."]),
        ("  a  path: File to copy.", ["  a  path: File to", "     copy."]),
        ("words that are no table", ["words that are no", "table"]),
        ("  and more of those, too", ["  and more of", "  those, too"]),
        ("short", ["short"]),
        ("/a/name/longer/than/the/window", None),
        ("", [""]),
    ],
)
def test_a_line_too_long_for_the_window_goes_on_below_its_last_column(line, fits):
    from pollprog.output import fitted

    told = fitted(f"{line}\n", 20).splitlines()
    assert "".join(told).replace(" ", "") == line.replace(" ", "")
    assert fits is None or told == fits


def test_a_table_in_a_terminal_is_broken_between_words():
    terminal = Terminal(rows=300, columns=60)
    try:
        terminal.run(POLLPROG, "probes")
        assert terminal.wait_end() == 0
        rows = terminal.rows()
    finally:
        terminal.close()
    assert max(map(len, rows)) < 60
    assert " ".join(" ".join(rows).split()) == " ".join(shell("pollprog probes").stdout.split())
    assert any(row.startswith("             ") for row in rows)


def test_bytes_are_shown_as_they_are(capfdbinary):
    from pollprog.output import show

    show(b"\xff\n")
    assert capfdbinary.readouterr().out == b"\xff\n"
