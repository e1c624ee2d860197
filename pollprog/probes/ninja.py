"""``ninja``: how many of how many steps are done, which it prints before each (``[12/345]``), in its usual format.

It is heard wherever it prints, in a terminal if it builds all (or ``install``, ``clean``, ``package``), for another target may want that
terminal for itself; and read in the file into which it prints, from the first look on. How many there are grows and shrinks
while it learns what has changed, and begins anew where it has CMake write its files again. With ``NINJA_STATUS`` of another format, and
where one ninja runs another, evidence speaks.
"""

from __future__ import annotations

from pollprog.probes.program import Program, has_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]


class Ninja(Program):
    """Knows ninja by each of its names."""

    name = "ninja"
    programs = frozenset({"ninja-build", "samu"})
    launched = "by the steps that it counts (`[12/345]`), below `cmake --build` too; else by evidence"
    attached = "by the same, where that goes into a file (`> log`); else by evidence"
    totals = "its own count of steps, which may grow while it runs"
    wrong = (
        "A step counts as much as any other. Nothing is told with another `NINJA_STATUS`, with `--quiet`, where one ninja runs another, "
        "and in a terminal of targets other than `all`, `install`, `clean`, `package`."
    )

    def prepare(self, command: Command) -> Command:
        """The same command; its output is heard."""
        if has_option(command.argv, "nth", ("--quiet", "--version", "--help")):
            return command
        from pollprog.probes.building import heard

        return heard(command, ("-C", "-f", "-j", "-k", "-l", "-d", "-w"))

    def probe(self, target: Target) -> Probe:
        """By its steps."""
        from pollprog.probes.building import Alone
        from pollprog.probes.logged import Logged
        from pollprog.probes.records import Records, Rule
        from pollprog.status import Unit

        rules = [
            Rule(rb"\[[0-9]+/[0-9]+\] Re-(?:running|checking) .*"),
            Rule(rb"\[(?P<current>[0-9]{1,9})/(?P<total>[0-9]{1,9})\] .+", Unit.ITEMS),
        ]
        return Logged(target, Alone(target, Records(target, rules, source="ninja", streams=(1,)), NAMES), (1,))


NAMES = frozenset({"ninja", "ninja-build", "samu"})
TOOL = Ninja()
