"""``shred``: what it has written of as many times the size as it goes over each file; which time it is at, by its position in the file.

Nothing is added to the command line: what the kernel counts as written tells it all, of one that already runs, too. That ``-v`` prints a percentage
only each five seconds does not matter.
"""

from __future__ import annotations

import re

from pollprog.probes.program import Program, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.probes import Probe, Target

__all__ = ["TOOL", "parse"]

PASSES = 3
"""Without ``-n``."""
LONG = {
    "--iterations": "n",
    "--size": "s",
    "--random-source": "r",
    "--remove": "u",
    "--zero": "z",
    "--exact": "x",
    "--force": "f",
    "--verbose": "v",
}
VALUED = "nsr"
VALUED_LONG = [option for option, letter in LONG.items() if letter in VALUED]
SIZE = re.compile(r"[1-9][0-9]{0,17}(?:[kKMGTPE](?:i?B)?)?")


class Shred(Program):
    """Knows shred."""

    name = "shred"
    launched = "by what it has written, pass by pass"
    attached = "the same"
    totals = "the sizes of the files and devices that are named, times the passes: `-n` (3 without it), and one more with `-z`"
    wrong = "Where one of several files cannot be opened, the passes of the next ones are not told apart. Of one that runs already, and has removed files, evidence tells what it has written."

    def probe(self, target: Target) -> Probe:
        """By what it has written."""
        from pollprog.probes.shred_probe import ShredProbe

        return ShredProbe(target)


def parse(argv: Sequence[str]) -> tuple[int, str, bool, list[str]] | None:
    """(passes, size or '', whether sizes are exact, files); None for words that are not understood."""
    options: dict[str, str] = {}
    files: list[str] = []
    for option, value in options_of(argv, VALUED, VALUED_LONG):
        if not option:
            files.append(value)
            continue
        meant = [letter for long, letter in LONG.items() if long.startswith(option)] if len(option) > 1 else [option]
        if len(meant) != 1:
            return None
        options[meant[0]] = value
    number, size = options.get("n", str(PASSES)), options.get("s", "")
    if not (number.isascii() and number.isdigit() and len(number) < 10) or (size and not SIZE.fullmatch(size)):
        return None
    return int(number) + ("z" in options), size, "x" in options or bool(size), files


TOOL = Shred()
