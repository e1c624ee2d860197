"""``pytest``: the percentage of tests, or their number, that it prints at the end of each line, or behind each test with ``-v``.

It is heard wherever it prints, as ``pytest`` and as ``python -m pytest``, and read in the file into which it prints, from the first look
on. Nothing is added, so with ``-q`` it is told line by line too, and nothing between. Not heard is what may ask something
(``--pdb``), or prints what the tests print (``-s``).
"""

from __future__ import annotations

import re

from pollprog.probes.program import Program, listening
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

APART = re.compile(
    r"-[vqxl]*[sh][vqxls]*|--(?:capture|pdb|trace|co|collect-only|help|version|fixtures|markers|setup-(?:plan|only))\b.*"
)
"""Options with which it prints something else, or asks something."""
SHARE = rb"\[(?P<percent>  [0-9]| [1-9][0-9]|100)%\]"
COUNT = rb"\[ *(?P<current>[0-9]{1,9})/(?P<total>[0-9]{1,9})\]"
LINES = (
    rb"(?:\S.{0,500} )?[.,FEsxXR]+ *",
    rb"\S.{0,800}(?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS|RERUN)(?: \([^)]{0,200}\))? *",
)
"""What stands before: dots, behind a file if there is one; a test and how it went."""


class Pytest(Program):
    """Knows pytest."""

    name = "pytest"
    programs = frozenset({"py.test"})
    interpreted = True
    launched = "by the percentage, or number, of tests that it prints at the end of each line; else by evidence"
    attached = "by the same, where that goes into a file (`> log`); else by evidence"
    totals = "its own, of the tests that it has collected"
    wrong = "Each test counts as much as any other, and those of a line that is not full not yet. Nothing is told with `-s` or `--pdb`, and with another `console_output_style`."

    def prepare(self, command: Command) -> Command:
        """The same command; its output is heard."""
        words = [*command.argv[1:], *here().environment.get("PYTEST_ADDOPTS", "").split()]
        words = words[words.index("pytest") + 1 :] if "pytest" in words[:4] else words
        return command if any(APART.fullmatch(word) for word in words) else listening(command, 1)

    def probe(self, target: Target) -> Probe:
        """By its records."""
        from pollprog.probes.logged import Logged
        from pollprog.probes.records import Records, Rule
        from pollprog.status import Bound, Unit

        rules = [Rule(line + SHARE) for line in LINES] + [Rule(line + COUNT, Unit.ITEMS) for line in LINES]
        rules += [Rule(rb"\[gw[0-9]+\] " + SHARE + rb" [A-Z]+ \S.*")]
        return Logged(target, Records(target, rules, source="pytest", streams=(1,), bound=Bound.LOWER), (1,))


TOOL = Pytest()
