"""``7z``: the percentage that it prints, in a terminal by itself; elsewhere ``-bsp2`` has it print that on standard error, for us alone.

``run`` adds that where standard output is no terminal and standard error goes elsewhere than that, and takes what it adds out again. Where you gave
``-bsp1`` or ``-bsp2`` yourself, that is listened to; with ``-bd`` or another ``-bs`` evidence speaks. So it does where both streams go to one
place, as with ``2>&1 | cat``.
"""

from __future__ import annotations

import os
import re

from pollprog.probes.program import Program, can_hear, holds, listening
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL", "ProgressFilter"]

WORKING = ("a", "d", "e", "rn", "t", "u", "x")
"""Its commands that take long, and say how far they are."""
USAGE = b"-bs{o|e|p}{0|1|2}"
WRAPPER = re.compile(rb'#! ?/bin/sh\nexec (/[!-~]+) "\$@"\n')
UNIT = re.compile(rb" {0,2}[0-9]+[%M][^\n]*?\x08{4,}( {4,})(\x08{4,})")
"""Something that it printed for a while: a percentage, or what it has scanned, and then as many spaces over it."""
BEGUN = re.compile(rb" {0,2}(?:[0-9]{1,15}(?:[%M][^\n]{0,4000})?)?")
"""What may become one."""


class SevenZip(Program):
    """Knows 7z by each of its names."""

    name = "7z"
    programs = frozenset({"7za", "7zr", "7zz"})
    launched = "by the percentage that it prints in a terminal, or with `-bsp2`, which is added where it can be taken out again; else by evidence"
    attached = "by the percentage that it prints into a file (`-bsp1 > log`); else by evidence: the position in its input, of several bytes read"
    totals = "its own: percent of the bytes that it packs or unpacks"
    wrong = "Of several archives one after the other each is as much as its size says. Where both streams go into one pipe nothing is added."

    def prepare(self, command: Command) -> Command:
        """The same with ``-bsp2``, and a filter that takes out what that adds; or heard as it is."""
        switches, words = split(command.argv)
        if not words or words[0].lower() not in WORKING:
            return command
        chosen = [word for word in switches if word.startswith("-bs")]
        if chosen in (["-bsp1"], ["-bsp2"]):
            return listening(command, int(chosen[0][-1]))
        place = here()
        if chosen or "-bd" in switches or ("-so" in switches and place.is_terminal(1)):
            return command
        if place.is_terminal(1):
            return listening(command, 1)
        alone = place.is_terminal(2) and place.together(2) == (2,)
        if not (alone or can_hear(2)) or not knows(command):
            return command
        return command.with_words((command.argv[0], "-bsp2", *command.argv[1:])).hearing(2, ProgressFilter())

    def probe(self, target: Target) -> Probe:
        """By its percentage."""
        from pollprog.probes.logged import said
        from pollprog.probes.records import Rule

        streams = (2,) if "-so" in split(target.process.argv())[0] else (1, 2)  # there its output is data
        rule = Rule(rb" {0,2}(?P<percent>[0-9]{1,3})%(?: .*)?")
        return said(target, rule, source="7z", streams=streams)


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """(switches, in small letters, for it makes no difference between those and capitals; other words)."""
    end = argv.index("--") if "--" in argv else len(argv)
    switches = [word.lower() for word in argv[1:end] if word.startswith("-")]
    return switches, [word for word in argv[1:end] if not word.startswith("-")]


def knows(command: Command) -> bool:
    """Whether it knows ``-bsp2``; Debian's is behind a script of one line."""
    if holds(command, USAGE):
        return True
    try:
        with open(here().program(command.argv[0]), "rb") as file:
            found = WRAPPER.fullmatch(file.read(1024))
    except Exception:  # noqa: BLE001 # as in holds: that is told where it is started
        return False
    return found is not None and holds(command.with_words((os.fsdecode(found[1]),)), USAGE)


class ProgressFilter:
    """Passes on a stream without the progress in it (a `pollprog.launch.Filter`).

    What is printed of that begins a line, or stands behind another one, and is wiped out by spaces before anything else is printed.
    """

    def __init__(self) -> None:
        self._held = b""
        self._inside = False
        """Of the present line, something has passed."""

    def passing(self, data: bytes) -> bytes:
        """What was written, but the progress."""
        out = b""
        self._held += data
        while self._held:
            found = None if self._inside else UNIT.match(self._held)
            if found is not None and len(found[1]) == len(found[2]):
                self._held = self._held[found.end() :]
            elif not self._inside and BEGUN.fullmatch(self._held):
                break
            else:
                line, newline, self._held = self._held.partition(b"\n")
                out += line + newline
                self._inside = not newline
        return out

    def end(self) -> bytes:
        """Nothing: what was begun is progress that it had no time to wipe out."""
        held, self._held = self._held, b""
        return b"" if re.match(rb" {0,2}[0-9]+[%M]", held) else held


TOOL = SevenZip()
