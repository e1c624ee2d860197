"""``sort``: what it has read of its files, and what it has written since, which is as much again, under one fraction.

What is sorted in memory is read at once, then nothing can be seen until it is written: meanwhile it stands. What is larger than its
memory is sorted part by part as it is read, and put by in temporary files; that goes on evenly. Nothing is added. With ``-m``, which
writes as it reads, and with ``-c``, which only reads, evidence speaks.
"""

from __future__ import annotations

from pollprog.probes.program import Program, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL", "parse"]

VALUED = "ktoST"
LONG = {
    "--key", "--field-separator", "--output", "--buffer-size", "--temporary-directory", "--batch-size", "--compress-program",
    "--parallel", "--random-source", "--sort",
}  # fmt: skip
"""Options with a value, which may be the next word."""
OTHERWISE = {"c", "C", "m", "--check", "--merge", "--files0-from", "--help", "--version"}
"""With one of these it does not sort, or its words do not say what."""


class Sort(Program):
    """Knows sort where it sorts."""

    name = "sort"
    launched = "by evidence's counts: bytes read of its files, then bytes written, under one fraction"
    attached = "the same"
    totals = "the sizes of the files that are named, or of the one that it reads as its input; of a pipe there is none"
    wrong = (
        "What is sorted in memory is seen while it is read and written, and stands between. With `-u` it ends before the whole. What is put by "
        "and then written to a pipe stands when all is read."
    )

    def recognise(self, command: Command) -> bool:
        """One that sorts, and whose words name what it reads."""
        return super().recognise(command) and not parse(command.argv)[0] & OTHERWISE

    def probe(self, target: Target) -> Probe:
        """By what it reads and writes."""
        from pollprog.probes.sort_probe import SortProbe

        return SortProbe(target)


def parse(argv: Sequence[str]) -> tuple[set[str], list[str]]:
    """(options that are given, files); of options the letters, of long ones all of those that it may be short for."""
    options: set[str] = set()
    files: list[str] = []
    for option, value in options_of(argv, VALUED, LONG):
        if not option:
            files.append(value)
        elif option.startswith("--"):
            options |= {meant for meant in (*OTHERWISE, *LONG) if meant.startswith(option)}
        else:
            options.add(option)
    return options, files


TOOL = Sort()
