"""``nbdcopy``: its percentage, in whole numbers, which it writes to a descriptor (``--progress=N``).

The descriptor is added by ``run``, in a terminal too, unless the command says anything of ``--progress``. nbdcopy counts what it has
handed out to its threads, in pieces of 128 MiB, so at most that much is done; what is smaller than that is told as 0 and 100 alone.
"""

from __future__ import annotations

from pollprog.probes.program import Program, has_option, holds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]


class Nbdcopy(Program):
    """Knows nbdcopy."""

    name = "nbdcopy"
    launched = "by its percentage, which it writes to a descriptor (`--progress=N`)"
    attached = "by evidence: the files that it reads and writes"
    totals = "its own: percent of the image, in whole numbers"
    wrong = "It counts what it has handed out to its threads, in pieces of 128 MiB: at most that much is done. A smaller image is told as 0 and 100 alone."

    def prepare(self, command: Command) -> Command:
        """The same, with a descriptor for its progress."""
        if has_option(own_words(command.argv), "p", ("--progress",)) or not holds(command, b"--progress=FD"):
            return command
        return command.with_status(lambda argv, number: (argv[0], f"--progress={number}", *argv[1:]))

    def probe(self, target: Target) -> Probe:
        """By its records: so many of a hundred."""
        from pollprog.probes.contract import STATUS
        from pollprog.probes.records import Records, Rule
        from pollprog.status import Bound

        rule = Rule(rb"(?P<current>[0-9]{1,3})/(?P<total>100)")
        return Records(target, [rule], source="nbdcopy", streams=(STATUS,), bound=Bound.UPPER)


def own_words(argv: Sequence[str]) -> Sequence[str]:
    """The words before those of a server that it is to start: ``[ nbdkit … ]``."""
    return argv[: argv.index("[")] if "[" in argv else argv


TOOL = Nbdcopy()
