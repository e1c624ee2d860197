"""A tool that a table of the configuration declares, ``[tools.NAME]``: which stream, descriptor or file is read, and what a line is like.

What it adds to a command is told by the words of the table alone, since that is before the start; what is wrong with them adds
nothing. All of the table is checked when the probe is made (`pollprog.probes.declared_probe`): then the error names the file and the
line, and the tool is left out. It knows scripts by their names, too, which others do not: whoever declares it has seen what it runs.
"""

from __future__ import annotations

from pollprog.declared import programs
from pollprog.probes.program import Program, has_option, listening
from pollprog.tools import program_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["FD", "STREAMS", "DeclaredTool"]

STREAMS = {"stdout": 1, "stderr": 2}
FD = "{fd}"
"""Where the number of the status descriptor stands."""


class DeclaredTool(Program):
    """Knows what its table says. `table`: as it stands in the file."""

    def __init__(self, name: str, table: Mapping[str, Any]) -> None:
        self.name = name
        self.programs = frozenset(programs(name, table))
        self._table = table

    def recognise(self, command: Command) -> bool:
        """By any of the names that it may be known by."""
        return any(name in self.programs for name in program_names(command))

    def prepare(self, command: Command) -> Command:
        """The same with a status descriptor, or heard."""
        status, after, stream = (self._table.get(key) for key in ("status", "after", "stream"))
        if isinstance(status, list) and all(isinstance(word, str) for word in status) and FD in "".join(status):
            return with_status(command, status, after if isinstance(after, str) else "")
        number = STREAMS.get(stream) if isinstance(stream, str) else None
        return command if number is None else listening(command, number)

    def probe(self, target: Target) -> Probe:
        """As the table says. ConfigurationError, which names the line, if it cannot be so."""
        from pollprog.probes.declared_probe import made

        return made(self.name, target)


def with_status(command: Command, words: Sequence[str], after: str) -> Command:
    """The command with these words, and the number of a descriptor in them; as it is, if the user has said one of them."""
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    if has_option(command.argv, "", options) or (after and after not in command.argv[1:]):
        return command

    def told(argv: Sequence[str], number: int) -> Sequence[str]:
        at = 1 + (argv.index(after, 1) if after else 0)
        return (*argv[:at], *(word.replace(FD, str(number)) for word in words), *argv[at:])

    return command.with_status(told)
