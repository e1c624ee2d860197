"""``sha256sum -c`` and its like: bytes read, of the sizes of the files that stand in their lists. Without ``-c`` evidence speaks.

Nothing is added. The lists are read as they are when it begins; one that comes from a pipe cannot be, and files that it does not
find count for nothing.
"""

from __future__ import annotations

from pollprog.probes.program import Program, has_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]


class Sums(Program):
    """Knows the programs for checksums where they check."""

    name = "sums"
    programs = frozenset({
        "md5sum", "sha1sum", "sha224sum", "sha256sum", "sha384sum", "sha512sum", "b2sum", "cksum",
    })  # fmt: skip
    launched = "by evidence: the position in one input, of several bytes read; with `-c` bytes read, of the files that are listed"
    attached = "the same"
    totals = "the sizes of the files that are named, each as often as it is; with `-c` of those that stand in the lists"
    wrong = "A list that comes from a pipe is not known: then each file is a phase of its own."

    def recognise(self, command: Command) -> bool:
        """One that checks."""
        return super().recognise(command) and has_option(command.argv, "c", ("--check",))

    def probe(self, target: Target) -> Probe:
        """By what it has read."""
        from pollprog.probes.sums_probe import SumsProbe

        return SumsProbe(target)


TOOL = Sums()
