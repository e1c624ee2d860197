"""When what a build prints of its progress is heard and believed: in a terminal only where it asks nobody anything; one build at a time.

A target may be anything: a menu, a debugger, what was just built. Such a program wants the terminal itself, so it is left to a build
that may be of more than files.
"""

from __future__ import annotations

import os
import re

from pollprog.probes.program import listening
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pollprog.launch import Command
    from pollprog.probes import Target
    from pollprog.probes.records import Records
    from pollprog.process import Process
    from pollprog.status import Sample

__all__ = ["MARKS", "Alone", "Generated", "heard", "targets"]

ANOTHER = re.compile(rb"(?:\x1b\[[0-9;]*m|\[[ 0-9/]+%?\] )*Performing [a-z]+ step (?:\([^)]*\) )?for '.*")
"""CMake's words for a build within this one."""
MARKS = "CMakeFiles/progress.marks"
"""What CMake puts into each folder whose makefile counts."""


PLAIN = frozenset({"all", "install", "clean", "package"})
"""Targets that are of files."""


def heard(command: Command, valued: Collection[str]) -> Command:
    """The same command, its output heard. `valued`: its options that have the next word as their value."""
    if here().is_terminal(1) and not PLAIN.issuperset(targets(command.argv, valued)):
        return command
    return listening(command, 1)


def targets(argv: Sequence[str], valued: Collection[str]) -> list[str]:
    """What is to be built; empty if that is what is always built."""
    found = []
    words = iter(argv[1:])
    for word in words:
        if word in valued:
            next(words, "")
        elif word in ("-t", "--target"):
            found.append(next(words, ""))
        elif word.startswith("--target="):
            found.append(word.partition("=")[2])
        elif not word.startswith("-") and "=" not in word and not word.isdigit():
            found.append(word)
    return found


class Single:
    """What both have in common: the words of a build are passed on until another one is seen within it."""

    def __init__(self, target: Target, said: Records) -> None:
        self._target = target
        self._said = said
        self._mixed = False
        """Two builds print here."""

    def feed(self, stream: int, record: bytes) -> None:
        """A line of the build's."""
        if ANOTHER.match(record[:200]):
            self._mixed = True
        elif not self._mixed:
            self._said.feed(stream, record)

    def sample(self) -> Sample | None:
        """What it said; None where it cannot be believed."""
        return None if self._mixed or not self._believed() else self._said.sample()

    def _believed(self) -> bool:
        raise NotImplementedError

    def close(self) -> None:
        """Give back what is held."""
        self._said.close()


class Alone(Single):
    """Believes a program as long as there is one of it. `names`: of that program."""

    def __init__(self, target: Target, said: Records, names: Collection[str]) -> None:
        super().__init__(target, said)
        self._names = names

    def _believed(self) -> bool:
        process = self._target.process
        for other, told in self._target.tree.look():
            if told.name in self._names and other.pid != process.pid and not same_work(process, other):
                self._mixed = True
        return not self._mixed


def same_work(process: Process, other: Process) -> bool:
    """Whether the other is what this one has just forked off, and has not yet become another program."""
    return (process.argv(), process.link("cwd")) == (other.argv(), other.link("cwd"))


class Generated(Single):
    """Believes a make that runs where CMake has written the makefile."""

    def _believed(self) -> bool:
        return os.path.exists(self._target.process.inside(MARKS))
