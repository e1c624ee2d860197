"""``xorriso``: the percentage that it prints of an image that it writes, once a second.

It is heard on standard error, in a terminal too; in a log (``2>log``) it is read from the first look on. Nothing is added. While it collects files, and
where it takes files out of an image, it counts without a total: then evidence speaks.
"""

from __future__ import annotations

from pollprog.probes.program import Program, listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]


class Xorriso(Program):
    """Knows xorriso, and xorrisofs, which is ``xorriso -as mkisofs``."""

    name = "xorriso"
    programs = frozenset({"xorrisofs"})
    launched = "by the percentage that it prints of an image; with `-quiet` by evidence"
    attached = "by the same, where it goes to a file (`2>log`); else by evidence"
    totals = "the image"
    wrong = "What it takes out of an image, or writes to a disc at several times, has no total."

    def prepare(self, command: Command) -> Command:
        """The same command; what it prints is heard, if it prints anything; not where it is asked questions."""
        if {"-quiet", "-dialog"}.intersection(command.argv) or len(command.argv) < 2:
            return command
        return listening(command, 2)

    def probe(self, target: Target) -> Probe:
        """By its percentage."""
        from pollprog.probes.logged import said
        from pollprog.probes.records import Rule

        rule = Rule(rb"xorriso : UPDATE : +(?P<percent>[0-9]{1,3}\.[0-9]{1,2})% done(?:, .*)?")
        return said(target, rule, source="xorriso", streams=(2,))


TOOL = Xorriso()
