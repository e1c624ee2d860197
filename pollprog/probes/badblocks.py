"""``badblocks``: its position in the device, between the first and the last block, and with ``-w`` the pass that it is in.

So nothing has to be heard, it is the same with ``-s`` and without, and in every language; the percentage that ``-s`` prints is of the last block, not of the
range. A ``-w`` that is attached to is in a pass that nobody knows: each pass from then on is a phase. With ``-p`` nobody knows how many
passes there will be, and each is a phase, too.
"""

from __future__ import annotations

from pollprog.probes.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.probes.badblocks_probe import BadblocksProbe

__all__ = ["TOOL"]


class Badblocks(Program):
    """Knows badblocks."""

    name = "badblocks"
    launched = "by its position in the device, and with `-w` the pass that it is in"
    attached = "by its position; with `-w` each pass is a phase"
    totals = "the blocks from the first to the last, as often as they are passed"
    wrong = "With `-p` nobody knows how many passes there will be: each is a phase."

    def probe(self, target: Target) -> BadblocksProbe:
        """How to measure it."""
        from pollprog.probes.badblocks_probe import BadblocksProbe

        return BadblocksProbe(target)


TOOL = Badblocks()
