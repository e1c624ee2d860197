"""``nice``, ``ionice``, ``time``: what they start is prepared as if it stood alone, and measured as that.

It runs in the place of the first two, and below the third, which adds its own line at the end.
"""

from __future__ import annotations

from pollprog import tools
from pollprog.probes.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL", "place_of"]

VALUED = {
    "nice": ("n", ("--adjustment",)),
    "ionice": ("cnpPu", ("--class", "--classdata", "--pid", "--pgid", "--uid")),
    "time": ("fo", ("--format", "--output")),
}
"""The options that have a value: their letters, and in full."""


class Nice(Program):
    """Knows them as long as they have not started the other program."""

    name = "nice"
    programs = frozenset({"ionice", "time"})
    launched = "as the program behind it would be, if that stood alone"
    attached = "as that program"
    totals = "that program's"

    def recognise(self, command: Command) -> bool:
        """What is yet to be started; once it runs, the other program is found."""
        return command.executable is None and command.name in VALUED

    def prepare(self, command: Command) -> Command:
        """The same, with what is added to the program behind it."""
        place = place_of(command.argv)
        before, inner = command.argv[:place], command.behind(place)
        tool = tools.find(inner)
        return command if tool is None else tools.prepared(tool, inner).below(before)

    def probe(self, target: Target) -> Probe:
        """By evidence, whoever asks for it."""
        from pollprog.probes.evidence import Evidence

        return Evidence(target.tree, total=target.total)


def place_of(argv: Sequence[str]) -> int:
    """Where the words of the program begin that is to be started."""
    letters, options = VALUED[argv[0].rpartition("/")[2]]
    place = 1
    while place < len(argv) and argv[place].startswith("-"):
        word = argv[place]
        place += 1
        if word == "--":
            break
        if word.startswith("--"):
            place += "=" not in word and any(option.startswith(word) for option in options)
        else:
            place += word[-1] in letters
    return place


TOOL = Nice()
