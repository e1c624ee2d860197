"""``rsync``: what it says with ``--info=progress2``, which is added where it can be taken out again; else evidence speaks.

``run`` adds it in a terminal, and where rsync's standard output and standard error are pipes or the like (``| tee log``, ``2>log``), no
file that the output goes to and not one for both; unless something typed is about what rsync prints of its progress. Where you gave
``--info=progress2``, ``--progress`` or ``-P`` yourself, that is listened to, and all of it passed on. While rsync still looks
for files (``ir-chk``) it knows no total. What it need not transfer does not count, so the percentage is the least that may be
true. No signal is ever sent: SIGVTALRM has it print a line of progress on its own standard output, where we do not hear it, and
SIGUSR1 ends it.
"""

from __future__ import annotations

import re

from pollprog.probes.program import Program, can_hear, has_option, holds
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Target
    from pollprog.probes.rsync_probe import RsyncProbe

__all__ = ["TOOL"]

UNSAFE = ("--server", "--daemon", "--list-only", "--quiet", "--stderr", "--msgs2stderr", "--out-format", "--log-format")
"""Who is given one of these prints nothing, prints to another place, or may print what looks like progress."""
PROGRESS = ("--progress", "--info", "--no-progress")
OTHER = re.compile(
    r"--info=(?:(?:backup|copy|del|misc|mount|name|nonreg|remove|skip|stats|symsafe)[0-9]?(?:,(?!$)|$))+", re.IGNORECASE
)
"""An ``--info`` that is about other things than progress, and does not take the added one back."""


class Rsync(Program):
    """Knows rsync."""

    name = "rsync"
    launched = "by the lines of `--info=progress2`, which is added where they can be taken out again; else by evidence"
    attached = "by evidence: the bytes that its sending process has read"
    totals = "its own, worked out from its percentage, none while it still looks for files; on attach the sizes of what it is told to copy"
    wrong = (
        "What needs no transfer does not count as done: at least that much is. Where its output goes to a file, or both streams into one "
        "pipe, nothing is added; say `--info=progress2` yourself there."
    )

    def prepare(self, command: Command) -> Command:
        """The same with ``--info=progress2``, and filters that take out what that adds; or heard as it is."""
        if has_option(command.argv, "q", UNSAFE):
            return command
        from pollprog.probes.rsync_lines import Listened, filter_joined, filters

        if has_option([word for word in command.argv if not OTHER.fullmatch(word)], "P", PROGRESS):
            return command.hearing(1, Listened())
        apart, joined = can_hear(1, 2), here().is_terminal(1) and set(here().together(1)) == {1, 2}
        if not (apart or joined) or not holds(command, b"PROGRESS", b"total transfer progress"):
            return command
        command = command.with_words((command.argv[0], "--info=progress2", *command.argv[1:]))
        if joined:
            return command.hearing(1, filter_joined())
        output, errors = filters()
        return command.claiming(1, output).claiming(2, errors)

    def probe(self, target: Target) -> RsyncProbe:
        """How to measure it."""
        from pollprog.probes.rsync_probe import RsyncProbe

        return RsyncProbe(target)


TOOL = Rsync()
