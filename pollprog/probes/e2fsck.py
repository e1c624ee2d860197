"""``e2fsck``: what it writes to a status descriptor (``-C``), pass by pass, under one fraction with the weights that its own bar has.

The descriptor is added by ``run``, in a terminal too, unless ``-C`` was given. Pass 2 of a large file system is quick, and so
are 3 and 4; where e2fsck begins again from the start, the fraction stands until it has come as far as it was. One that runs
already is told by what it has read, without a total.
"""

from __future__ import annotations

from pollprog.probes.program import Program, has_option, holds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

PASSES = {
    "inodes, blocks and sizes": 70,
    "directory structure": 20,
    "directory connectivity": 2,
    "reference counts": 3,
    "group summaries": 5,
}
"""Each pass with its share of the time."""


class E2fsck(Program):
    """Knows e2fsck by each of its names."""

    name = "e2fsck"
    programs = frozenset({"fsck.ext2", "fsck.ext3", "fsck.ext4"})
    launched = "by what it writes to a status descriptor (`-C`), its five passes under one fraction"
    attached = "by what it has read, without a total: of a device it reads only what it checks"
    totals = "what it says for each pass; the weights of the passes are those of its own bar"
    wrong = "The weights fit no file system exactly; where it begins again from the start, the fraction stands until it is as far as it was. Started by another program, evidence speaks, which is poor here."

    def prepare(self, command: Command) -> Command:
        """The same, with a status descriptor."""
        if has_option(command.argv, "C") or not holds(command, b"[-C fd]"):
            return command
        return command.with_status(lambda argv, number: (argv[0], "-C", str(number), *argv[1:]))

    def probe(self, target: Target) -> Probe:
        """By its records: pass, current, total, device. Of one that runs already, by what it has read: how much it will read, nobody knows."""
        if not target.launched:
            from pollprog.probes.procio import ProcIo

            return ProcIo(target, "rchar")
        from pollprog.probes.contract import STATUS
        from pollprog.probes.records import Records, Rule

        rule = Rule(rb"(?P<phase>[1-5]) (?P<current>\d+) (?P<total>\d+) .+")
        names = {str(number): name for number, name in enumerate(PASSES, 1)}
        return Records(target, [rule], source="e2fsck", streams=(STATUS,), weights=PASSES, names=names)


TOOL = E2fsck()
