"""``make``: the percentage that makefiles of CMake print (``[ 12%]``); of other makefiles nothing is known but that they are at work.

It is heard wherever it prints, in a terminal if the makefile is CMake's and it builds all (or ``install``, ``clean``, ``package``), for
another target may want that terminal for itself; and read in the file into which it prints, from the first look on. What ``make -n`` would print is not
counted: it may run commands, and says nothing of how long they take. The percentage is of what has begun, so it is at most that
much; where one build runs another (``ExternalProject``), both print theirs, and neither is believed.
"""

from __future__ import annotations

import os

from pollprog.probes.program import Program, has_option
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]


class Make(Program):
    """Knows make, and cmake where it builds."""

    name = "make"
    programs = frozenset({"gmake", "cmake"})
    launched = "by the percentage that makefiles of CMake print; else by evidence, which tells of the compilers' files and no total"
    attached = "by the same, where that goes into a file (`> log`); else by evidence"
    totals = "its own percentage; none for other makefiles than CMake's"
    wrong = (
        "The percentage counts files that have begun, each as much as any other. Of a makefile that is not CMake's only life is told, and in "
        "a terminal of targets other than `all`, `install`, `clean`, `package`."
    )

    def recognise(self, command: Command) -> bool:
        """Of cmake only what builds."""
        return super().recognise(command) and (command.name != "cmake" or "--build" in command.argv)

    def prepare(self, command: Command) -> Command:
        """The same command; its output is heard."""
        if has_option(
            command.argv, "nqpv", ("--just-print", "--dry-run", "--recon", "--question", "--version", "--help")
        ):
            return command
        from pollprog.probes.building import MARKS, heard

        if command.name == "cmake":
            return heard(command, ("--build", "-j", "--parallel", "--config", "--preset"))
        if here().is_terminal(1) and not os.path.exists(os.path.join(folder(command.argv), MARKS)):
            return command
        return heard(command, ("-C", "--directory", "-f", "--file", "-I", "-o", "-W"))

    def probe(self, target: Target) -> Probe:
        """By its percentage."""
        from pollprog.probes.building import Generated
        from pollprog.probes.logged import Logged
        from pollprog.probes.records import Records, Rule
        from pollprog.status import Bound

        rules = [Rule(rb"\[(?P<percent>  [0-9]| [1-9][0-9]|100)%\] .+")]
        return Logged(
            target, Generated(target, Records(target, rules, source="make", streams=(1,), bound=Bound.UPPER)), (1,)
        )


def folder(argv: Sequence[str]) -> str:
    """Where it works."""
    place = ""
    for word, after in zip(argv[1:], (*argv[2:], ""), strict=False):
        if word in ("-C", "--directory"):
            place = os.path.join(place, after)
        elif word.startswith(("-C", "--directory=")):
            place = os.path.join(place, word.removeprefix("-C").removeprefix("--directory="))
    return place


TOOL = Make()
