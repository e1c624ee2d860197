"""``qemu-img``: its own percentage, which it tells on standard error when it gets SIGUSR1, or prints with ``-p``; else evidence speaks.

It is asked at each look, if ``run`` starts it, a command of it that converts, commits, rebases, amends or compares, and its standard
error goes anywhere but into the same pipe as its output. The answers are left out of what goes on. With ``-p`` that is listened
to, and no signal is sent. Of what it reads and writes little can be seen from outside: it seeks to the end of its input first, and
its output has its full size from the start.
"""

from __future__ import annotations

from pollprog.probes.asking import AnswerFilter
from pollprog.probes.program import Program, can_hear, has_option, listening
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

ANSWERING = ("amend", "commit", "compare", "convert", "rebase")
ANSWER = rb" {4}\([0-9]{1,3}\.[0-9]{2}/100%\)"


class QemuImg(Program):
    """Knows qemu-img."""

    name = "qemu-img"
    launched = (
        "by its own percentage, for which it is asked with SIGUSR1, and which it prints with `-p`; else by evidence"
    )
    attached = "by evidence: what it has read and what is allocated of its output; of `rebase` what it has written, without a total"
    totals = "its own: percent of what it has to read"
    wrong = (
        "Where an image is mostly empty the percentage runs unevenly; so it does where evidence speaks, by far more."
    )

    def prepare(self, command: Command) -> Command:
        """The same command, heard where it answers, or where it prints its progress."""
        if not set(command.argv[1:3]) & set(ANSWERING):
            return command
        if has_option(command.argv, "p", ("--progress",)):
            return listening(command, 1)
        if can_hear(2) or here().is_terminal(2):
            return command.hearing(2, AnswerFilter(ANSWER, rb"(?!)"))
        return command

    def probe(self, target: Target) -> Probe:
        """By what it answers or prints."""
        from pollprog.probes.qemu_img_probe import QemuImgProbe

        return QemuImgProbe(target)


TOOL = QemuImg()
