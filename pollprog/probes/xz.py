"""``xz``: its own count, which it tells on standard error when it gets SIGUSR1; where it may not be asked, evidence speaks.

It is asked once a second, if ``run`` starts it by name, its standard error is a stream of its own (``2>log``) and no terminal,
and files are named: of what it reads from a pipe it knows no percentage. The answers are left out of what goes on to the log. With
``-v`` it is listened to in a terminal, where it then says that by itself.
What it says is right with threads, too, where the position in the input is far ahead of the work. An interrupted read is begun
again, so a signal shortens nothing.
"""

from __future__ import annotations

from pollprog.probes.asking import AnswerFilter
from pollprog.probes.program import Program, can_hear, has_option, listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Target
    from pollprog.probes.xz_probe import XzProbe

__all__ = ["TOOL"]

ANSWER = rb"\r *(?:[0-9]{1,3}(?:[.,][0-9])?|---) % [^\r\n]*\r"
"""``  4.2 %           1.4 MiB / 4.0 MiB = 0.350``, between two carriage returns."""
TITLE = rb"[^\r\n]* \([0-9]+(?:/[0-9]+)?\)"
"""``big.img (1/2)``: which file it is at."""


class Xz(Program):
    """Knows xz by each of its names."""

    name = "xz"
    programs = frozenset({"unxz", "xzcat", "lzma", "unlzma", "lzcat"})
    launched = (
        "by its own count, for which it is asked with SIGUSR1 where its standard error is a stream of its own and no terminal, and "
        "files are named; with `-v` in a terminal by what it prints; else by evidence"
    )
    attached = "by evidence: the position in its input"
    totals = "the sizes of the files that are named"
    wrong = "Where it is not asked and has threads, it reads far ahead of its work: at most that much is done."

    def prepare(self, command: Command) -> Command:
        """The same command, its standard error heard, if it is one that may be asked."""
        typed = [word for word in command.argv[1:] if not word.startswith("-")]
        if not typed or any(not word.isprintable() for word in typed):
            return command
        if not can_hear(2):
            return listening(command, 2) if has_option(command.argv, "v", ("--verbose",)) else command
        return command.claiming(2, AnswerFilter(ANSWER, TITLE))

    def probe(self, target: Target) -> XzProbe:
        """How to measure it."""
        from pollprog.probes.xz_probe import XzProbe

        return XzProbe(target)


TOOL = Xz()
