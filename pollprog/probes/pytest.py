"""``pytest``: the letters that it prints for its tests, of as many as it has collected, and the percentage at the end of each line.

It is heard wherever it prints, as ``pytest`` and as ``python -m pytest``. In the file into which it prints the percentages are read, from the first
look on. Nothing is added, so with ``-q``, which leaves out how many there are, it is told line by line, and nothing between. Not heard
is what may ask something (``--pdb``), or prints what the tests print (``-s``).
"""

from __future__ import annotations

import re

from pollprog.probes.program import Program
from pollprog.surroundings import here
from pollprog.tools import python_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

APART = re.compile(
    r"-[vqxl]*[sh][vqxls]*|--(?:capture|pdb|trace|co|collect-only|help|version|fixtures|markers|setup-(?:plan|only))\b.*"
)
"""Options with which it prints something else, or asks something."""


class Pytest(Program):
    """Knows pytest."""

    name = "pytest"
    programs = frozenset({"py.test"})
    interpreted = True
    launched = (
        "by the letters that it prints, one for each test, and the percentage at the end of each line; else by evidence"
    )
    attached = "by that percentage, or number, where it goes into a file (`> log`); else by evidence"
    totals = "its own, of the tests that it has collected"
    wrong = "Each test counts as much as any other. With `-q`, and in a file, those of a line that is not full do not count yet. Nothing is told with `-s` or `--pdb`, nor of one that a shell or `make` starts."

    def prepare(self, command: Command) -> Command:
        """The same command; its output is heard."""
        from pollprog.probes.pytest_tally import Tally

        words = python_program(command.argv)[1] if command.name.startswith("python") else command.argv[1:]
        words = [*words, *here().environment.get("PYTEST_ADDOPTS", "").split()]
        return command if any(APART.fullmatch(word) for word in words) else command.hearing(1, Tally())

    def probe(self, target: Target) -> Probe:
        """By its letters and its records."""
        from pollprog.probes.pytest_probe import PytestLogged, PytestProbe
        from pollprog.probes.pytest_tally import Tally

        claim = target.claims.get(1)
        return PytestLogged(target, PytestProbe(target, claim if isinstance(claim, Tally) else None), (1,))


TOOL = Pytest()
