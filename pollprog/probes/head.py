"""``head -c N``: what it has written of as many bytes, or of its input, if there are fewer in that. Without ``-c`` evidence speaks.

Nothing is added. Of a pipe nobody knows whether so much comes: an estimate.
"""

from __future__ import annotations

import os

from pollprog.probes.program import Program
from pollprog.tools import MULTI_CALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL", "asked"]

LETTERS = "kMGTPE"
BINARY = {"": 1, "b": 512} | {
    f"{letter}{i}": 1024**power
    for power, both in enumerate(LETTERS, 1)
    for letter in {both.lower(), both.upper()}
    for i in ("", "iB")
}
UNITS = BINARY | {f"{letter}B": 1000**power for power, both in enumerate(LETTERS, 1) for letter in {both, both.upper()}}
"""What may stand behind its number, and how many bytes that is."""


class Head(Program):
    """Knows head where it counts bytes, of one input."""

    name = "head"
    launched = "with `-c N` by the bytes that it has written; else by evidence: the position in its input"
    attached = "the same"
    totals = "with `-c N` that number, or the size of its input; else that size"
    wrong = "Of lines (`-n`) nobody knows how long they are: it ends before the end of its input. Less may come through a pipe."

    def recognise(self, command: Command) -> bool:
        """One that counts bytes from the beginning."""
        return super().recognise(command) and asked(command.argv) is not None

    def probe(self, target: Target) -> Probe:
        """By what it has written."""
        from pollprog.probes.head_probe import HeadProbe

        return HeadProbe(target, asked(target.process.argv()) or (0, ""))


def asked(argv: Sequence[str]) -> tuple[int, str] | None:
    """(bytes that it is to write, its input: empty for the standard one); None if that is not what these words say."""
    words = list(argv[2:] if argv and os.path.basename(argv[0]) in MULTI_CALL else argv[1:])
    count, files = "", []
    while words:
        word = words.pop(0)
        if word == "--":
            files += words
            break
        if word in ("-c", "--bytes"):
            count = words.pop(0) if words else ""
        elif word.startswith("--bytes="):
            count = word.removeprefix("--bytes=")
        elif word.startswith("-c"):
            count = word.removeprefix("-c")
        elif word == "-" or not word.startswith("-"):
            files.append("" if word == "-" else word)
        elif word not in ("-q", "--quiet", "--silent"):
            return None
    number = count.rstrip("kmgtpeKMGTPEBbi")
    unit = UNITS.get(count[len(number) :])
    if not number.isascii() or not number.isdigit() or len(number) > 18 or unit is None or len(files) > 1:
        return None
    return int(number) * unit, (files or [""])[0]


TOOL = Head()
