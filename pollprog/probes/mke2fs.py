"""``mke2fs``: the counts that it prints of its groups, phase by phase, under one fraction with weights.

It is heard on standard output, in a terminal too, unless ``-q`` was given; in a log (``> log``) it is read. Nothing is
added. The journal has no count, and where the kernel clears the inode tables by itself later (``lazy_itable_init``), that is not seen.
"""

from __future__ import annotations

from pollprog.probes.program import Program, has_option, listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

PHASES = {
    "Discarding device blocks": 5,
    "Allocating group tables": 1,
    "Writing inode tables": 74,
    "Writing superblocks and filesystem accounting information": 20,
}
"""Each phase with its share of the time, if all of them take any."""


class Mke2fs(Program):
    """Knows mke2fs by each of its names."""

    name = "mke2fs"
    programs = frozenset({"mkfs.ext2", "mkfs.ext3", "mkfs.ext4"})
    launched = "by the counts of groups that it prints, phase by phase; with `-q` by evidence"
    attached = "by the same, where they go to a file (`> log`); else by evidence: what it has written, without a total"
    totals = "its groups; the phases have weights"
    wrong = "In English only. The journal has no count; with `-c` it is `badblocks` that is told."

    def prepare(self, command: Command) -> Command:
        """The same command; what it prints is heard, if it prints anything."""
        return command if has_option(command.argv, "qnSV") else listening(command, 1)

    def probe(self, target: Target) -> Probe:
        """By its counts: the first of a phase has its name, those after it have none."""
        from pollprog.probes.logged import said
        from pollprog.probes.records import Rule

        counts = rb" *(?P<current>[0-9]+)/(?P<total>[0-9]+)"
        named = rb"(?P<phase>" + "|".join(PHASES).encode() + rb"):" + counts
        rules = (Rule(named), Rule(counts))
        return said(target, *rules, source="mke2fs", streams=(1,), weights=PHASES, remember=True)


TOOL = Mke2fs()
