"""What is printed arrives whole, or one line says why not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from terminals import PATIENCE, shell

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


def test_bytes_are_shown_as_they_are(capfdbinary):
    from pollprog.output import show

    show(b"\xff\n")
    assert capfdbinary.readouterr().out == b"\xff\n"
