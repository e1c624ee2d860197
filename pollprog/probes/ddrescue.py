"""``ddrescue``: the map of what is rescued, which it keeps in a file (its third word), and what it has written since.

The map is written at the start, then every 30 seconds or more, or as ``--mapfile-interval`` says. Nothing is added: the command
line stands in the map, which would become another. Between, what the kernel counts as written is added to what the map says.
Without a map, it is the percentage that ddrescue prints, in a terminal too; in a log (``> log``) it is read. With ``-q`` evidence speaks.
"""

from __future__ import annotations

from pollprog.probes.program import Program, listening, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

VALUED = "abceEFHiKmorsTxXZ"
"""Options that have a value, which may be the next word."""
LONG = (
    "--min-read-rate", "--sector-size", "--cluster-size", "--max-bad-areas", "--max-error-rate", "--fill-mode", "--test-mode",
    "--input-position", "--skip-size", "--domain-mapfile", "--output-position", "--retry-passes", "--size", "--timeout",
    "--extend-outfile", "--max-read-errors", "--max-read-rate", "--cpass", "--delay-slow", "--log-events", "--log-rates",
    "--log-reads", "--mapfile-interval", "--max-slow-reads", "--pause-on-error", "--pause-on-pass",
)  # fmt: skip
"""The same in full. They may be abbreviated."""
PART = {"i", "s", "m", "--input-position", "--size", "--domain-mapfile"}
"""With one of these, not all that is in the map is to be rescued."""
OTHER_WORK = {"F", "G", "--fill-mode", "--generate-mode"}
"""With one of these, the map tells of something else than what is rescued."""


class Ddrescue(Program):
    """Knows ddrescue."""

    name = "ddrescue"
    launched = (
        "by the map that it keeps in a file, and what it has written since; without a map by the percentage that it prints; with `-q` "
        "by evidence"
    )
    attached = "by its map, and what it has written since; without a map by its percentage, where that goes to a file (`> log`); else by evidence"
    totals = "the map; none with `-i`, `-s` or `-m`"
    wrong = (
        "The map is written every 30 seconds or more: what is written between is an estimate, and low with `-S`. "
        "What cannot be read stays undone. With `-F` and `-G` evidence speaks."
    )

    def prepare(self, command: Command) -> Command:
        """The same command; its output is heard, if it has no map."""
        options, operands = parsed(command.argv)
        return command if len(operands) != 2 or options & OTHER_WORK else listening(command, 1)

    def probe(self, target: Target) -> Probe:
        """By its map, or by what it prints."""
        options, operands = parsed(target.process.argv())
        if len(operands) == 3 and not options & OTHER_WORK:
            from pollprog.probes.ddrescue_probe import DdrescueProbe

            return DdrescueProbe(target, operands[2], whole=not options & PART)
        from pollprog.probes.logged import said
        from pollprog.probes.records import Rule

        rule = Rule(rb"pct rescued: +(?P<percent>[0-9]{1,3}\.[0-9]{2})%,.*")
        return said(target, rule, source="ddrescue", streams=(1,))


def parsed(argv: Sequence[str]) -> tuple[set[str], list[str]]:
    """The options, by letter or in full, and the other words; of an abbreviation, all that it may mean."""
    options: set[str] = set()
    operands: list[str] = []
    for option, value in options_of(argv, VALUED, LONG, optional="P"):
        if not option:
            operands.append(value)
        elif option.startswith("--") and option not in LONG:
            options.update(meant for meant in (*LONG, *OTHER_WORK) if meant.startswith(option))
        else:
            options.add(option)
    return options, operands


TOOL = Ddrescue()
