"""How each program is measured, in a row of words: the docs' table is made of them, and ``pollprog probes NAME`` shows one.

A tool says it of itself (`pollprog.probes.program.Program`). Programs that have no tool of their own, because evidence measures
them as it is, are in `pollprog.probes.known`. Nothing here is imported to measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from pollprog.tools import OURS, PROBES, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["COLUMNS", "Row", "page", "row", "rows", "table"]

COLUMNS = {
    "launched": "how it is measured at launch",
    "attached": "on attach",
    "totals": "where the total comes from",
    "wrong": "what is known to be wrong",
}
"""What is said of each tool, and how that is called."""
HEAD = """\
# Which programs are known, and how each is measured

This page is made from what the tools say of themselves, by `python docs/generate.py`. `pollprog probes` lists them, and
`pollprog probes NAME` says more of one. What stands in none of these tables is measured by evidence: see [How a command is
measured](measuring.md). How a tool is made: [From an unknown tool to a plugin](write-a-plugin.md).
"""
PLUGINS = """\
## Known by name

At launch is `pollprog run`, on attach `pollprog attach` and `top`. With `run --no-prepare` nothing is added to a command: then it
is measured as on attach.
"""
WITHOUT = """\
## Work that no process stands for

The kernel's, or a server's: `pollprog attach md:md0`, beside processes or alone, on another machine with `--connect`. What is idle is
not watched. How it ended is told where that can be known; else the exit status is 123.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """How one program, or several that are alike, are measured."""

    name: str
    """How the row is found; of a tool, its name."""
    programs: tuple[str, ...]
    launched: str
    attached: str
    totals: str
    wrong: str = ""

    def said(self) -> Iterator[tuple[str, str]]:
        """(what, in words) for each column that says something."""
        for name, title in COLUMNS.items():
            if text := getattr(self, name):
                yield title, text


def tool_rows() -> list[Row]:
    """A row for each tool of ours."""
    found = []
    for name in sorted(OURS):
        tool = import_module(PROBES[name]).TOOL
        words = {column: getattr(tool, column) for column in COLUMNS}
        found.append(Row(name, tuple(OURS[name].split()), **words))
    return found


def resource_rows() -> list[Row]:
    """A row for each kind of work that no process stands for."""
    found = []
    for name, argument in sorted(RESOURCES.items()):
        kind = import_module(f"pollprog.probes.{name}").RESOURCE
        found.append(Row(name, (f"{name}:{argument}",), "", kind.attached, kind.totals, kind.wrong))
    return found


def rows() -> list[Row]:
    """All rows, by name."""
    return tool_rows() + resource_rows()


def row(name: str) -> Row | None:
    """The row of this name, or of the program that is called so; None if there is none."""
    found = rows()
    return next((one for one in found if one.name == name), next((one for one in found if name in one.programs), None))


def table(some: list[Row], columns: Sequence[str] = tuple(COLUMNS), *, head: str = "tool") -> str:
    """These rows, as Markdown."""
    lines = [
        f"| {head} | " + " | ".join(COLUMNS[column] for column in columns) + " |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for one in some:
        cells = [", ".join(f"`{program}`" for program in one.programs), *(getattr(one, column) for column in columns)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    resources = table(resource_rows(), ("attached", "totals", "wrong"), head="resource")
    return f"{HEAD}\n{PLUGINS}\n{table(tool_rows())}\n{WITHOUT}\n{resources}"
