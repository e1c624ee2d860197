"""What tools have in common: which program it is, what was typed, what may be heard; and who is asked, and who never."""

from __future__ import annotations

import os
import signal
import sys
from signal import SIGUSR1
from typing import TYPE_CHECKING

import pytest
from children import child, wait_until

from pollprog.launch import Command
from pollprog.probes import Target
from pollprog.probes.asking import AnswerFilter, Asker
from pollprog.probes.program import Program, Whole, can_hear, has_option, holds
from pollprog.process import Process, ProcessTree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Python(Program):
    """Knows the interpreter that runs the tests."""

    name = "python"
    programs = frozenset({os.path.basename(os.path.realpath(sys.executable)), os.path.basename(sys.executable)})


class Gzip(Program):
    name = "gzip"
    programs = frozenset({"gunzip"})


@pytest.mark.parametrize(
    ("words", "executable", "known"),
    [
        (["gzip", "a"], None, True),
        (["/bin/gunzip"], None, True),
        (["gunzip"], "/usr/bin/gzip", True),
        (["gunzip"], "/usr/bin/gzip (deleted)", True),
        (["gzip"], "/bin/busybox", True),
        (["busybox", "gzip"], "/bin/busybox", True),
        (["gzip"], "/usr/bin/perl", False),
        (["busybox", "dd"], "/bin/busybox", False),
        (["tar", "gzip"], None, False),
        ([], None, False),
    ],
)
def test_a_program_is_known_by_its_name_and_its_file(words: list[str], executable: str | None, known: bool) -> None:
    assert Gzip().recognise(Command(words, executable=executable)) is known


def test_what_says_nothing_else_is_left_as_it_is() -> None:
    command = Command(["gzip"])
    assert Gzip().prepare(command) is command
    with pytest.raises(NotImplementedError):
        Gzip().probe(None)  # type: ignore[arg-type] # it does not come that far


@pytest.mark.parametrize("words", ["-C", "-C0", "-yC", "a -fC 0", "--info", "--info=x", "--inf", "-x -- -C --info"])
def test_an_option_is_found_however_it_is_typed(words: str) -> None:
    typed = ["prog", *words.split()]
    assert has_option(typed, "C", ["--info"]) is not words.startswith("-x")


@pytest.mark.parametrize("words", ["", "C", "-c", "-", "--", "--information", "--other=C", "info"])
def test_others_are_not_taken_for_it(words: str) -> None:
    assert not has_option(["-C", *words.split()], "C", ["--info"])


def test_only_a_program_that_holds_the_words_knows_the_option(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF... --status-fd ...")
    program.chmod(0o755)
    assert holds(Command([str(program)]), b"--status-fd")
    assert not holds(Command([str(program)]), b"--status-fd", b"--other")
    program.write_bytes(b"#!/bin/sh --status-fd")
    assert not holds(Command([str(program)]), b"--status-fd")
    assert not holds(Command([str(tmp_path / "nothing")]), b"")
    assert not holds(Command([""]), b"")


def test_no_terminal_is_heard_nor_output_into_a_file(tmp_path: Path) -> None:
    saved = os.dup(1)
    reader, writer = os.pipe()
    terminal = os.openpty()
    try:
        os.dup2(writer, 1)
        assert can_hear(1)
        os.dup2(terminal[1], 1)
        assert not can_hear(1)
        with (tmp_path / "out").open("wb") as file:
            os.dup2(file.fileno(), 1)
            assert not can_hear(1)
    finally:
        os.dup2(saved, 1)
        for descriptor in (saved, reader, writer, *terminal):
            os.close(descriptor)


def test_what_is_only_listened_to_passes_whole() -> None:
    through = Whole()
    assert (through.passing(b"a\rb"), through.passing(b""), through.end()) == (b"a\rb", b"", b"")


# --- asking

HANDLES = "import signal; signal.signal(signal.SIGUSR1, lambda *_: os.write(2, b'\\r 5 %\\r\\n'))"


class Asked:
    """An obedient child that is asked, and what may be in the way of that."""

    def __init__(self, pid: int, tool: Program) -> None:
        self.through = AnswerFilter(rb"\r[^\r]*%\r", rb"")
        self.process = Process(pid)
        self.tree = ProcessTree(self.process)
        self.end = os.open(f"/proc/{pid}/fd/2", os.O_RDONLY | os.O_NONBLOCK)
        target = Target(self.tree, self.process, launched=True, claims={2: self.through}, ends={2: self.end})
        self.asker = Asker(target, tool, SIGUSR1, 2, interval=0.0)

    def close(self) -> None:
        os.close(self.end)
        self.tree.close()
        self.process.close()


@pytest.fixture
def asked() -> Callable[..., None]:
    """Ask a child ten times: why not, and how often it was."""

    def run(tool: Program, line: str, because: str, sent: int) -> None:
        with child() as obedient:
            obedient.does(line)
            one = Asked(obedient.pid, tool)
            try:
                for _ in range(10):
                    one.asker.ask()
                assert one.asker.forbidden() == because
                assert one.asker.sent == sent
                assert one.through.expected == sent
            finally:
                one.close()
            obedient.does("pass")

    return run


def test_one_question_is_asked_at_a_time(asked: Callable[..., None]) -> None:
    asked(Python(), f"{HANDLES}; os.dup2(1, 9)", "", 1)


def test_who_has_no_handler_is_never_asked(asked: Callable[..., None]) -> None:
    asked(Python(), "pass", "it has no handler", 0)


def test_another_program_is_never_asked(asked: Callable[..., None]) -> None:
    asked(Gzip(), HANDLES, "it is another program", 0)


def test_who_speaks_elsewhere_is_never_asked() -> None:
    with child() as obedient:
        obedient.does(HANDLES)
        one = Asked(obedient.pid, Python())
        try:
            obedient.does("os.dup2(os.open('/dev/null', os.O_WRONLY), 2)")
            one.asker.ask()
            assert one.asker.forbidden() == "what it says is not heard"
            assert one.asker.sent == 0
        finally:
            one.close()


def test_what_is_attached_to_is_never_asked() -> None:
    with child() as obedient:
        obedient.does(HANDLES)
        process = Process(obedient.pid)
        tree = ProcessTree(process)
        asker = Asker(Target(tree, process, launched=False, signals=True), Python(), signal.SIGUSR1, 2)
        asker.ask()
        assert asker.sent == 0
        tree.close()
        process.close()
        wait_until(lambda: obedient.does("answer = 1") == "1")
