"""How each program is measured, in a row of words: the docs' table is made of them, and ``pollprog probes NAME`` shows one.

A tool says it of itself (`pollprog.probes.program.Program`). Programs that have no tool of their own, because evidence measures
them as it is, are in `pollprog.probes.known`. Nothing here is imported to measure.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pollprog import strangers
from pollprog.declared import all_tables, path
from pollprog.errors import OperationFailed, fault
from pollprog.probes.known import KNOWN
from pollprog.probes.row import COLUMNS, Row
from pollprog.tools import OURS, PROBES, RESOURCES, check

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COLUMNS", "Row", "listed", "page", "page_of", "row", "rows", "table"]

HEAD = """\
# Which programs are known, and how each is measured

This page is made from what the tools say of themselves, by `python docs/generate.py`. `pollprog probes` lists them, and
`pollprog probes NAME` says more of one. What stands in none of these tables is measured by evidence: see [How a command is
measured](measuring.md). How a tool is made: [From an unknown tool to a plugin](write-a-plugin.md).
"""
PLUGINS = """\
## Known by name

At launch is `pollprog run`, on attach `pollprog attach` and `top`. With `run --no-prepare` nothing is added to a command: then it
is measured as on attach. So is a program that another one starts, as `sudo`, `xargs`, `ssh` or a shell do: nothing is
added there, and what it prints is not heard. To have that, put `pollprog run` behind them: `sudo pollprog run e2fsck ...`.
"""
WITHOUT = """\
## Work that no process stands for

The kernel's, or a server's: `pollprog attach md:md0`, beside processes or alone, on another machine with `--connect`. What is idle is
not watched. How it ended is told where that can be known; else the exit status is 123.
"""
MEASURED = """\
## Measured by evidence as they are

These have no plugin, and need none. What is said here was seen of each; with other options, and for programs that are like them, it
may hold, too.
"""


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
    return [*tool_rows(), *resource_rows(), *KNOWN]


def row(name: str) -> Row | None:
    """The row of this name, or of the program that is called so; None if there is none."""
    found = rows()
    return next((one for one in found if one.name == name), next((one for one in found if name in one.programs), None))


def places() -> dict[str, str]:
    """The module of each probe, and of each kind of work that no process stands for."""
    return {**PROBES, **{kind: f"pollprog.probes.{kind}" for kind in RESOURCES}}


def listed() -> str:
    """A line for each of them, and for each tool that the configuration declares."""
    lines = {name: said(name).partition("\n")[0] for name in places()}
    lines |= dict.fromkeys(all_tables(), "declared in the configuration")
    lines |= {
        name: f"a plugin of another package: {place}" for name, place in strangers.find().items() if name not in lines
    }
    wide = max(map(len, lines))
    return "".join(f"{name:{wide}}  {line}\n" for name, line in sorted(lines.items())).replace("`", "")


def page_of(name: str) -> str:
    """All that there is to say of one of them. UsageError if there is none; ConfigurationError if it cannot be."""
    if name not in places() and name in all_tables():
        return page_of_declared(name)
    found = row(name)
    parts = [f"{title}:\n{words}" for title, words in found.said()] if found is not None else []
    if found is None or found.name in places():
        parts.insert(0, said(name if found is None else found.name))
    if name == "evidence":
        parts.append(f"known to be right for:\n{', '.join(program for one in KNOWN for program in one.programs)}")
    return ("\n\n".join(parts) + "\n").replace("`", "")


def page_of_declared(name: str) -> str:
    """What the configuration says of a tool, once it is checked."""
    from pollprog.config import load
    from pollprog.probes.declared_probe import checked

    file = load(path())
    checked(name, file.tools[name], file)
    lines = [f"{key} = {value!r}\n" for key, value in all_tables()[name].items()]
    return f"Declared in {file.path}:\n\n{''.join(lines)}"


def said(name: str) -> str:
    """What the module of a probe says of itself. UsageError if there is none."""
    place = places().get(name)
    if place is None:
        check(name)
        return said_by_stranger(name)
    return (import_module(place).__doc__ or "").strip()


def said_by_stranger(name: str) -> str:
    """What the module of another package's tool says of itself. OperationFailed if it cannot be used."""
    place = strangers.find()[name]
    try:
        module = type(strangers.load(place)).__module__
        doc = (import_module(module).__doc__ or "").strip()
    except (Exception, SystemExit) as error:  # a stranger's module may raise anything when it is imported
        raise OperationFailed(f"the plugin for {name}, {place}, cannot be used: {fault(error)}") from error
    return doc or f"{name}: by a plugin, {place}, that says nothing of itself: its module has no docstring."


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
    return f"{HEAD}\n{PLUGINS}\n{table(tool_rows())}\n{MEASURED}\n{table(list(KNOWN))}\n{WITHOUT}\n{resources}"
