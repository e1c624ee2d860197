"""What is typed: what it asks for, and one line for what cannot be asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from terminals import ENVIRONMENT, pollprog

from pollprog import arguments
from pollprog.arguments import parse
from pollprog.errors import UsageError


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("run cp -a x y", "cp -a x y"),
        ("run -- cp -- x", "cp -- x"),
        ("run --total 4G cp --total 5", "cp --total 5"),
        ("run --total=4G --probe dd -- --odd --name", "--odd --name"),
        ("run --progress log --interval 2 -- -x", "-x"),
        ("run - a", "- a"),
        ("run -- --", "--"),
        ("run --", ""),
        ("run", ""),
        ("run run --help", "run --help"),
    ],
)
def test_options_end_at_the_word_of_the_command(words, command):
    assert parse(words.split()).words == command.split()


def test_what_is_typed_is_what_is_asked_for():
    asked = parse(
        ["run", "--total", "4G", "--probe=dd", "--progress", "none", "--progress-fd", "2", "--interval", "0.5", "x"]
    )
    assert (asked.total, asked.probe, asked.progress, asked.progress_fd, asked.interval) == ("4G", "dd", "none", 2, 0.5)
    assert parse(["attach", "12", "md:md0"]).targets == [12, "md:md0"]
    asked = parse(["copy", "--force", "a", "b", "--preserve"])
    assert (asked.source, asked.destination, asked.force, asked.preserve) == ("a", "b", True, True)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("rum x", "invalid choice: 'rum'"),
        ("--tot run x", "unrecognized arguments: --tot"),
        ("run --tot 4G cp a b", "--tot"),
        ("run --tot=4G cp a b", "--tot=4G"),
        ("run -x cp", "-x"),
        ("run --total", "--total: expected one argument"),
        ("run --progress tty x", "invalid choice: 'tty'"),
        ("run --interval 0 x", "'0' is not a number of seconds from 0.1 to 86400"),
        ("run --interval nan x", "'nan' is not a number of seconds"),
        ("run --interval soon x", "'soon' is not a number of seconds"),
        ("run --progress-fd 1000 x", "'1000' is not a descriptor open for writing; open it as in: 3>progress"),
        ("run --progress-fd -1 x", "'-1' is not a descriptor open for writing"),
        ("run --progress-fd three x", "'three' is not a descriptor"),
        ("run --progress-fd 99999999999999999999 x", "is not a descriptor"),
        ("attach", "required: PID"),
        ("attach x", "'x' is not a process id; pgrep NAME finds one"),
        ("attach 0", "'0' is not a process id"),
        ("attach -- -5", "'-5' is not a process id"),
        ("attach 4294967297", "is not a process id"),
        ("attach 99999999999999999999999", "is not a process id"),
        ("attach ²", "is not a process id"),
        ("top --progress-fd 2", "--progress-fd"),
        ("copy a", "required: DESTINATION"),
        ("copy a b c", "unrecognized arguments: c"),
        ("completion fish", "invalid choice: 'fish'"),
    ],
)
def test_what_cannot_be_asked_for_is_told_with_where_to_look(words, reason):
    with pytest.raises(UsageError, match=re.escape(reason) + ".*; see pollprog ?[a-z]* --help$"):
        parse(words.split())


@pytest.mark.parametrize(
    "word", ["1_0", "\uff12", "\u0662", " 1", "1 ", "+1", "-1", "1e1", "inf", "nan", "", "0x2", "²", "1\n"]
)
def test_only_plain_digits_are_a_number(word):
    for option, reason in (("--interval", "not a number of seconds"), ("--progress-fd", "not a descriptor open")):
        with pytest.raises(UsageError, match=reason):
            parse(["run", f"{option}={word}", "x"])


@pytest.mark.parametrize(("word", "seconds"), [("1", 1), ("0.25", 0.25), (".5", 0.5), ("2.", 2), ("007", 7)])
def test_seconds_may_have_a_fraction(word, seconds):
    assert parse(["top", "--interval", word]).interval == seconds


def test_a_descriptor_that_cannot_be_written_to_is_refused():
    with open(os.devnull, "rb") as file, pytest.raises(UsageError, match="not a descriptor open for writing"):
        parse(["run", "--progress-fd", str(file.fileno()), "x"])


def test_every_command_has_help_that_names_its_options():
    for words in ([], ["run"], ["attach"], ["top"], ["copy"], ["probes"], ["completion"]):
        done = pollprog(*words, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: {' '.join(['pollprog', *words])}")
        assert "exit status" in done.stdout


@pytest.mark.parametrize("words", ["run true", "attach 1", "top", "copy a b", "probes", "completion bash"])
def test_a_command_line_makes_the_parser_of_its_own_command_alone(words, monkeypatch):
    made = []
    make = arguments.Parser.__init__
    monkeypatch.setattr(
        arguments.Parser, "__init__", lambda self, *given, **named: made.append(make(self, *given, **named))
    )
    parse(words.split())
    assert len(made) == 1


@pytest.mark.parametrize("words", ["run --help", "--help"])
def test_help_is_as_wide_as_the_window(words):
    for columns in (60, 120):
        text = pollprog(*words.split(), env={**ENVIRONMENT, "COLUMNS": str(columns)}).stdout
        widest = max(len(line) for line in text.splitlines() if line.startswith("  "))
        assert columns / 2 < widest < columns
    assert "usage" in pollprog(*words.split(), env={**ENVIRONMENT, "COLUMNS": "wide"}).stdout


def test_the_module_can_be_run_by_its_name():
    done = subprocess.run([sys.executable, "-m", "pollprog", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == pollprog("--version").stdout
    assert re.fullmatch(r"pollprog \d+\.\d+.*\n", done.stdout)
