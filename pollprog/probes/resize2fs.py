"""``resize2fs -p``: the bar that it prints of each pass, under one fraction with weights.

It is heard on standard output, in a terminal too, if ``-p`` was given, or read in a log (``> log``); a bar has 40 places. Nothing is added: without ``-p``, and for what only
grows, which has no bar, evidence speaks. Which passes there will be, nobody knows.
"""

from __future__ import annotations

from pollprog.probes.program import Program, has_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Target
    from pollprog.probes.resize2fs_probe import Resize2fsProbe

__all__ = ["TOOL", "Bar"]


class Resize2fs(Program):
    """Knows resize2fs."""

    name = "resize2fs"
    launched = "with `-p` by the bar that it prints of each pass; else by evidence"
    attached = "with `-p` by the same, where it goes to a file (`> log`); else by evidence: what it has written, without a total"
    totals = "the 40 places of its bar; the passes have weights"
    wrong = "In English only. What grows has no bar. Which passes there will be, nobody knows."

    def prepare(self, command: Command) -> Command:
        """The same command; what it prints is heard, if it prints bars."""
        return command.hearing(1, Bar()) if has_option(command.argv, "p") else command

    def probe(self, target: Target) -> Resize2fsProbe:
        """How to measure it."""
        from pollprog.probes.resize2fs_probe import Resize2fsProbe

        return Resize2fsProbe(target)


class Bar:
    """Passes everything on, and looks at the line that is printed at the moment, which grows by one X after another."""

    LONGEST = 256
    all_passes = True

    def __init__(self) -> None:
        self.line = b""
        """What it has of that line: the name of the pass, the empty bar, backspaces, and the X's."""

    def passing(self, data: bytes) -> bytes:
        """All of it."""
        self.line = (self.line + data).rpartition(b"\n")[2][: self.LONGEST]
        return data

    def end(self) -> bytes:
        """Nothing is left."""
        return b""


TOOL = Resize2fs()
