"""``pg_basebackup``: the progress that it prints with ``-P``; without, evidence tells how much has come.

Nothing is added: with ``-P`` the server has to look through all its files first. Where standard error goes into a file, that is read. Words in another
language than English say nothing.
"""

from __future__ import annotations

from pollprog.probes.program import Program, has_option, listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]


class PgBasebackup(Program):
    """Knows pg_basebackup."""

    name = "pg_basebackup"
    launched = "by the progress that it prints with `-P`; without by evidence: what it has written"
    attached = "by its progress, where that goes into a file (`-P 2>log`); else by evidence: what it has written"
    totals = "the server's estimate, which grows at the end to what has come; without `-P` none"
    wrong = "Which files come while it runs, and the log that is streamed beside it, is not in the total. The checkpoint may take minutes: then it waits for that."

    def prepare(self, command: Command) -> Command:
        """The same command; what it says is heard, if it says anything."""
        return listening(command, 2) if has_option(command.argv, "P", ("--progress",)) else command

    def probe(self, target: Target) -> Probe:
        """By its lines."""
        from pollprog.probes.logged import Logged
        from pollprog.probes.pg_basebackup_probe import PgBasebackupProbe

        return Logged(target, PgBasebackupProbe(target), (2,))


TOOL = PgBasebackup()
