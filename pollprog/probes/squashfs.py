r"""``mksquashfs``, ``unsquashfs``: by the bar that they draw in a terminal, which is listened to, and all of it passed on.

What they count are inodes and blocks of data. While mksquashfs scans the tree the total grows and nothing is done yet, so nothing is
told. Of an archive (``-tar``) the total grows to the end, so there evidence speaks; and so it does where they draw no bar, as into a
pipe or a file and with ``-no-progress``, and where names or contents are printed (``-info``, ``-ls``, ``-cat``), which may look like
anything. No signal is ever sent: at SIGUSR1 mksquashfs deletes its output.
"""

from __future__ import annotations

from pollprog.probes.program import Program, listening
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

GROWING = {"-tar", "-cpiostyle", "-cpiostyle0"}
PRINTING = {"-info", "-i", "-li", "-linfo", "-ls", "-l", "-ll", "-lls", "-lln", "-llnumeric", "-lc", "-llc", "-cat"}
"""With one of these, the names or the contents of files are printed."""


class Squashfs(Program):
    """Knows both programs."""

    name = "squashfs"
    programs = frozenset({"mksquashfs", "unsquashfs"})
    launched = "by the bar that they draw, in a terminal; else by evidence"
    attached = "by evidence: mksquashfs reads far ahead of its work"
    totals = "the inodes and blocks that they have counted before they begin"
    wrong = "Where their output goes to a pipe or a file they draw no bar, and evidence speaks. The last blocks may take longer than the first."

    def prepare(self, command: Command) -> Command:
        """The same command, heard where it draws a bar of a total that is known."""
        if not here().is_terminal(1) or (GROWING | PRINTING) & set(command.argv[1:]):
            return command
        return listening(command, 1)

    def probe(self, target: Target) -> Probe:
        """By its bar: ``[====/      ]  494/664  74%``; it stands at 0 while the tree is scanned."""
        from pollprog.probes.records import Records, Rule

        rule = Rule(rb"\[=*[-\\|/] *\] +(?P<current>[1-9][0-9]*)/(?P<total>[0-9]+) +[0-9]{1,3}%")
        return Records(target, [rule], source="squashfs", streams=(1,))


TOOL = Squashfs()
