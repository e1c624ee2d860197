"""``ffmpeg``: how much time of its output is written, which it tells on a descriptor (``-progress``).

The descriptor is added by ``run``, in a terminal too, unless the command has one, or has ffmpeg write down its own options. The total is the
``Duration`` that ffmpeg prints of its input, cut by ``-ss``, ``-t`` and ``-to``: so there is one only if ffmpeg prints that, there is
one input, and no option makes the output longer or shorter in another way. Of the filters those are known that do not, as ``scale``.
``ffprobe`` is not run. Nothing is taken away: the line of figures on standard error stays.
"""

from __future__ import annotations

from itertools import pairwise

from pollprog.probes.program import Program, holds, listening
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Target
    from pollprog.probes.ffmpeg_probe import FfmpegProbe

__all__ = ["TOOL"]

QUIET = frozenset({"quiet", "panic", "fatal", "error", "warning", "info", "-8", "0", "8", "16", "24", "32"})
"""Levels of its log at which it says nothing of its options."""


class Ffmpeg(Program):
    """Knows ffmpeg."""

    name = "ffmpeg"
    launched = "by the time of its output that is written, which it tells on a descriptor (`-progress`)"
    attached = "by evidence: the position in its input"
    totals = "the `Duration` that it prints of its input, cut by `-ss`, `-t` and `-to`"
    wrong = "No total for several inputs, and none with options that make the output longer or shorter in another way, or with filters that may (`setpts`, `atempo`, `trim`), or are not known not to, or have branches (`-filter_complex`)."

    def prepare(self, command: Command) -> Command:
        """The same, with a descriptor for its progress; and its standard error is heard, if it may be."""
        words = command.argv[1:]
        if "-i" not in words or "-progress" in words or "-report" in words or "FFREPORT" in here().environment:
            return command
        levels = [after for word, after in pairwise(words) if word in ("-v", "-loglevel")]
        if not QUIET.issuperset(levels) or not holds(command, b"out_time_us="):
            return command
        command = command.with_status(lambda argv, number: (argv[0], "-progress", f"pipe:{number}", *argv[1:]))
        return listening(command, 2)

    def probe(self, target: Target) -> FfmpegProbe:
        """How to measure it."""
        from pollprog.probes.ffmpeg_probe import FfmpegProbe

        return FfmpegProbe(target)


TOOL = Ffmpeg()
