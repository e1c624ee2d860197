"""``genisoimage``: the percentage that it prints of the image, in whatever language the date behind it is.

It is heard on standard error, in a terminal too, unless ``-quiet`` was given; in a log (``2>log``) it is read from the first look on. Nothing is
added. Before it writes it reads the names of all files, and says nothing.
"""

from __future__ import annotations

from pollprog.probes.program import Program, listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]


class Genisoimage(Program):
    """Knows genisoimage and mkisofs."""

    name = "genisoimage"
    programs = frozenset({"mkisofs"})
    launched = "by the percentage that it prints; with `-quiet` by evidence"
    attached = "by the same, where it goes to a file (`2>log`); else by evidence"
    totals = "the image"
    wrong = "While it reads the names of the files it says nothing."

    def prepare(self, command: Command) -> Command:
        """The same command; what it prints is heard, if it prints anything."""
        return command if "-quiet" in command.argv else listening(command, 2)

    def probe(self, target: Target) -> Probe:
        """By its percentage."""
        from pollprog.probes.logged import said
        from pollprog.probes.records import Rule

        rule = Rule(rb" *(?P<percent>[0-9]{1,3}\.[0-9]{2})% done, estimate finish .*")
        return said(target, rule, source="genisoimage", streams=(2,))


TOOL = Genisoimage()
