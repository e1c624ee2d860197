r"""``mksquashfs``, ``unsquashfs``: by the bar that they draw, which is listened to, and all of it passed on, or read in a log (``> log``).

What they count are inodes and blocks of data. While mksquashfs scans the tree the total grows and nothing is done yet, so nothing is
told. Into a pipe or a file it draws a bar only now and then; until the first one evidence speaks. So it does of an archive (``-tar``),
where the total grows to the end, with ``-no-progress``, and where names or contents are printed (``-info``, ``-ls``, ``-cat``), which may
look like anything. No signal is ever sent: at SIGUSR1 mksquashfs deletes its output.
"""

from __future__ import annotations

from pollprog.probes.program import Program, listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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
    launched = "by the bar that they draw; with `-no-progress` by evidence"
    attached = (
        "by the same, where it goes to a file (`> log`); else by evidence: mksquashfs reads far ahead of its work"
    )
    totals = "the inodes and blocks that they have counted before they begin"
    wrong = (
        "Into a pipe or a file mksquashfs draws a bar only where what it has done is a multiple of 100, so seldom: until the first one, "
        "what it has written is told, without a total, and then each for a while. The last blocks may take longer than the first."
    )

    def prepare(self, command: Command) -> Command:
        """The same command, heard where it draws a bar of a total that is known."""
        return listening(command, 1) if draws(command.argv) else command

    def probe(self, target: Target) -> Probe:
        """By its bar: ``[====/      ]  494/664  74%``; it stands at 0 while the tree is scanned."""
        from pollprog.probes.logged import Logged
        from pollprog.probes.records import Records, Rule

        rule = Rule(rb"\[=*[-\\|/] *\] +(?P<current>[1-9][0-9]*)/(?P<total>[0-9]+) +[0-9]{1,3}%")
        records = Records(target, [rule], source="squashfs", streams=(1,))
        return Logged(target, records, (1,)) if draws(target.process.argv()) else records


def draws(argv: Sequence[str]) -> bool:
    """Whether it draws a bar of a total that is known, and nothing that might look like one."""
    return not (GROWING | PRINTING) & set(argv[1:])


TOOL = Squashfs()
