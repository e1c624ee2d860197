"""``ntfsclone``: the percentage that it prints, first of the scan, then of what it saves, clones or restores, with weights.

It is heard on standard output, in a terminal too, or on standard error where the image itself goes to standard output; in a log (``> log``) it is
read. Nothing is added. The percentage is of the clusters in use.
"""

from __future__ import annotations

from itertools import pairwise

from pollprog.probes.program import Program, has_option, listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

SCAN, COPY = "scanning the volume", "copying clusters"
WORDS = {
    "Scanning volume": SCAN,
    "Saving NTFS to image": COPY,
    "Cloning NTFS": COPY,
    "Restoring NTFS from image": COPY,
}


class Ntfsclone(Program):
    """Knows ntfsclone."""

    name = "ntfsclone"
    launched = "by the percentage that it prints, of the scan and then of the copy; with `-q` by evidence"
    attached = "by the same, where it goes to a file (`> log`); else by evidence: the position in the volume"
    totals = "the clusters in use; the two phases have weights"
    wrong = "What it syncs at the end has no percentage."

    def prepare(self, command: Command) -> Command:
        """The same command; what it prints is heard, but never the image itself."""
        if has_option(command.argv, "q", ("--quiet",)):
            return command
        return listening(command, 2 if image_to_output(command.argv) else 1)

    def probe(self, target: Target) -> Probe:
        """By its percentages, and the line before them."""
        from pollprog.probes.logged import said
        from pollprog.probes.records import Rule

        rules = [
            Rule(rb"(?P<phase>" + "|".join(WORDS).encode() + rb") \.\.\."),
            Rule(rb" *(?P<percent>[0-9]{1,3}\.[0-9]{2}) percent completed"),
        ]
        streams = (2,) if image_to_output(target.process.argv()) else (1, 2)
        weights = {SCAN: 3, COPY: 97}
        return said(target, *rules, source="ntfsclone", streams=streams, weights=weights, names=WORDS, remember=True)


def image_to_output(argv: Sequence[str]) -> bool:
    """Whether the image may go to standard output: ``-o -``, in any way that this can be said."""
    words = argv[1:]
    return any(word == "-" and before.startswith("-") for before, word in pairwise(words)) or any(
        word.startswith("-") and word.endswith(("o-", "O-", "=-")) for word in words
    )


TOOL = Ntfsclone()
