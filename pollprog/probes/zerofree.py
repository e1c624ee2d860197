"""``zerofree``: how many bytes it has read, of the free blocks that the file system's superblock tells.

It reads every block that is free, and no other, and writes those that are not zeroed. So nothing has to be heard, and it is the same
with ``-n``, with ``-v`` and without, and on attach. Its maps of blocks, which it reads too, are few: an estimate.
"""

from __future__ import annotations

from pollprog.probes.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.probes.zerofree_probe import ZerofreeProbe

__all__ = ["TOOL"]


class Zerofree(Program):
    """Knows zerofree."""

    name = "zerofree"
    launched = "by what it has read, which is the free blocks and little else"
    attached = "by the same"
    totals = "the free blocks, which the superblock counts"
    wrong = "Nothing is said where the file system may not be read."

    def probe(self, target: Target) -> ZerofreeProbe:
        """How to measure it."""
        from pollprog.probes.zerofree_probe import ZerofreeProbe

        return ZerofreeProbe(target)


TOOL = Zerofree()
