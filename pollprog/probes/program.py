"""What the tools have in common: a program that is known by its name, and is measured by what it says of itself.

A tool is an instance of a `Program`: its names, what it adds to the command line, and the probe. This module is imported before
the command starts, and so imports what the interpreter has loaded anyhow; a tool imports its building block where it makes its
probe.

What `prepare` adds changes nothing that the user gets. So: an option of the user's wins (`has_option`); a program that does not
know an option is not given it (`holds`); and a stream is heard only where the program cannot tell (`can_hear`).
"""

from __future__ import annotations

import os

from pollprog.surroundings import here
from pollprog.tools import INTERPRETER, MULTI_CALL, program_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["Program", "Whole", "can_hear", "has_option", "holds", "listening", "options_of"]

LARGEST = 64 << 20
"""Bytes of the largest program that is searched for a word."""


class Program:
    """A tool (`pollprog.probes.Tool`) for a program, or for several that are alike. Subclasses say how it is measured."""

    name = ""
    """What it is called in the log, and after ``--probe``."""
    programs: frozenset[str] = frozenset()
    """The names of the programs, if there are others than that."""
    interpreted = False
    """It is a script: what runs is an interpreter."""
    launched = ""
    """How it is measured when we start it. This and what follows is said in the docs' table, and by ``pollprog probes NAME``."""
    attached = ""
    """How it is measured when we look at one that already runs."""
    totals = ""
    """Where the total comes from."""
    wrong = ""
    """What is known to be wrong with that, or is not covered; nothing, if nothing is."""

    def recognise(self, command: Command) -> bool:
        """By the names that it may be known by; what runs must be that program, and no script of that name, unless it is one."""
        names = self.programs | {self.name}
        if command.executable is not None:
            program = os.path.basename(command.executable.removesuffix(" (deleted)"))
            interpreted = self.interpreted and INTERPRETER.fullmatch(program)
            if program not in names | MULTI_CALL and not interpreted:
                return False
        return any(name in names for name in program_names(command))

    def prepare(self, command: Command) -> Command:
        """What to launch instead: nothing else."""
        return command

    def probe(self, target: Target) -> Probe:
        """How to measure it."""
        raise NotImplementedError


def has_option(argv: Sequence[str], short: str = "", long: Sequence[str] = ()) -> bool:
    """Whether one of these options may be among the words. `short`: letters; `long`: with their dashes, as in ``--info``.

    On the safe side: an option that is abbreviated, or stands among others behind one dash, counts; the value of an option that
    begins with a dash may count too.
    """
    for word in argv[1:]:
        if word == "--":
            return False
        if word.startswith("--"):
            typed = word.partition("=")[0]
            if any(option.startswith(typed) or typed == option for option in long):
                return True
        elif word.startswith("-") and (set(word[1:]) & set(short) or word in long):
            return True
    return False


def options_of(
    argv: Sequence[str], valued: str, long: Iterable[str], *, optional: str = ""
) -> Iterator[tuple[str, str]]:
    """Each option among the words, and its value if it has one; and each word that is none, as the value of the option ``""``.

    `valued`: letters of those that have a value; `optional`: of those that may, in the same word. `long`: those in full that have one, with
    their dashes; such an option is told as it was typed, which may be only its beginning.
    """
    words = iter(argv[1:])
    for word in words:
        if word == "--":
            yield from (("", other) for other in words)
        elif word.startswith("--"):
            typed, equals, value = word.partition("=")
            follows = not equals and any(option.startswith(typed) for option in long)
            yield typed, next(words, "") if follows else value
        elif word.startswith("-") and len(word) > 1:
            for at, letter in enumerate(word[1:], 2):
                if letter in valued:
                    yield letter, word[at:] or next(words, "")
                    break
                yield letter, word[at:] if letter in optional else ""
                if letter in optional:
                    break
        else:
            yield "", word


def holds(command: Command, *words: bytes) -> bool:
    """Whether the program that is about to be started holds all these words: what does not hold its options knows none.

    An older version, or another program of that name (a script, busybox), would refuse an option that it does not know.
    """
    try:
        with open(here().program(command.argv[0]), "rb") as file:
            if os.fstat(file.fileno()).st_size > LARGEST:
                return False
            data = file.read()
    except Exception:  # noqa: BLE001 # it cannot be started either, which is told where that is tried
        return False
    return data.startswith(b"\x7fELF") and all(word in data for word in words)


def can_hear(*streams: int) -> bool:
    """Whether all these streams may be heard (`pollprog.surroundings`), and none is a terminal, where a program behaves otherwise."""
    surroundings = here()
    return all(surroundings.claimable(stream) and not surroundings.is_terminal(stream) for stream in streams)


def listening(command: Command, stream: int) -> Command:
    """The same command, with what it prints on this stream listened to and passed on as it is, wherever that goes but into a file.

    In a terminal, too; where both streams go to one place, what is heard of either is told as of `stream`.
    """
    return command.hearing(stream, Whole())


class Whole:
    """Passes everything on: for a stream that is only listened to (a `pollprog.launch.Filter`)."""

    all_passes = True
    """All that is written is what the command would have written without us, and may fail as it would have."""

    def passing(self, data: bytes) -> bytes:
        """All of it."""
        return data

    def end(self) -> bytes:
        """Nothing is left."""
        return b""
