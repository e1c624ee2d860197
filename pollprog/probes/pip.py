"""``pip install`` and ``pip download``: how much has come of each file whose size pip prints; in a terminal its own bar.

Of a file it is the size of what pip writes, of the size that it prints (``(24.0 MB)``), which is rounded; with ``--progress-bar=raw``, which
newer ones know, its exact count is heard instead. Nothing is added: what that prints would be another output. Each file is a phase, and so
is the installation at the end, of which nothing is known.
"""

from __future__ import annotations

from pollprog.probes.program import Program, has_option, listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL", "gets"]

GETTING = frozenset({"install", "download", "wheel"})


class Pip(Program):
    """Knows pip where it gets something."""

    name = "pip"
    programs = frozenset({"pip3"})
    interpreted = True
    launched = "by the size of the file that it gets, of the size that it prints, or by its bar; else by evidence"
    attached = (
        "by the same, for what it begins to get from then on, where it prints into a file (`> log`); else by evidence"
    )
    totals = "the size that it prints of each file, which is rounded; with `--progress-bar=raw` exact"
    wrong = "Each file is a phase, and how many there will be nobody knows. Of building and installing only life is told. Nothing is told with `-q`."

    def recognise(self, command: Command) -> bool:
        """By its command, too."""
        return super().recognise(command) and gets(command.argv)

    def prepare(self, command: Command) -> Command:
        """The same command; its output is heard."""
        return command if has_option(command.argv, "qh", ("--quiet", "--help")) else listening(command, 1)

    def probe(self, target: Target) -> Probe:
        """By its words and its file."""
        from pollprog.probes.logged import Logged
        from pollprog.probes.pip_probe import PipProbe

        return Logged(target, PipProbe(target), (1,))


def gets(argv: Sequence[str]) -> bool:
    """Whether these words are for a command that gets something."""
    return not GETTING.isdisjoint(argv[1:7])


TOOL = Pip()
