"""The import table of docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
PACKAGE = REPO / "pollprog"
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
UNLISTED = {"__init__", "__main__"}
"""The lazy front of the package, and its door; anything may be named there."""


def table() -> dict[str, set[str]]:
    """Each part, in the order of the table, with the parts that it may import."""
    section = (REPO / "docs/architecture.md").read_text().partition("## Who imports whom")[2]
    return {name: set(re.findall(r"\w+", allowed)) for name, allowed in ROW.findall(section)}


def part_of(path: Path) -> str:
    """The row that a file belongs to: the folder of probes is one."""
    return "probes" if path.parent.name == "probes" else path.stem


def imported(path: Path) -> set[str]:
    """The parts that a file imports when it runs, wherever in it the import stands."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "pollprog":
            found |= {alias.name for alias in node.names if not alias.name.startswith("__")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pollprog."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("pollprog.")}
        pending += ast.iter_child_nodes(node)
    return found - {part_of(path)}


FILES = sorted({*PACKAGE.glob("*.py"), *PACKAGE.glob("probes/*.py")})


def test_every_part_is_in_the_table_and_the_table_has_no_other() -> None:
    assert {part_of(path) for path in FILES if path.parent.name == "probes" or path.stem not in UNLISTED} == set(
        table()
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_are_those_of_the_table(path: Path) -> None:
    part = part_of(path)
    if part in UNLISTED:
        assert part == "__main__" or not imported(path), "the front of the package imports nothing by itself"
        return
    allowed = table()[part]
    assert "all" in allowed or imported(path) <= allowed, f"{part} imports {imported(path) - allowed}"


def test_imports_point_up_the_table_only() -> None:
    rows = table()
    order = list(rows)
    for name, allowed in rows.items():
        for other in allowed - {"all"}:
            assert order.index(other) < order.index(name), f"{name} stands above {other}, which it imports"
