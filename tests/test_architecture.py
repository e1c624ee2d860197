"""The import table of docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
PACKAGE = REPO / "pollprog"
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
FRONT, DOOR = PACKAGE / "__init__.py", PACKAGE / "__main__.py"
FILES = sorted({*PACKAGE.glob("*.py"), *PACKAGE.glob("probes/*.py")} - {FRONT, DOOR})


def table() -> dict[str, set[str]]:
    """Each part, in the order of the table, with the parts that it imports."""
    section = (REPO / "docs/architecture.md").read_text().partition("## Who imports whom")[2].partition("\n## ")[0]
    return {name: set(re.findall(r"\w+", others)) for name, others in ROW.findall(section)}


def part_of(path: Path) -> str:
    """The row that a file belongs to: the folder of probes is one."""
    return "probes" if path.parent.name == "probes" else path.stem


def modules(path: Path, *, for_type_checkers: bool = False) -> set[str]:
    """What a file imports of ours when it runs, wherever in it the import stands, or what it imports for type checkers."""
    found: set[str] = set()
    pending: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text()), False)]
    while pending:
        node, typed = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += [(child, True) for child in node.body] + [(child, typed) for child in node.orelse]
            continue
        if typed is for_type_checkers:
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: imports are absolute"
                module = node.module or ""
                # What is imported from a package may be a module of it, or a name.
                found |= {f"{module}.{alias.name}" for alias in node.names} if module == "pollprog" else {module}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        pending += [(child, typed) for child in ast.iter_child_nodes(node)]
    return {name for name in found if name.startswith("pollprog.") and not name.startswith("pollprog.__")}


def parts(path: Path, *, for_type_checkers: bool = False) -> set[str]:
    """The other rows that a file imports."""
    return {name.split(".")[1] for name in modules(path, for_type_checkers=for_type_checkers)} - {part_of(path)}


def test_every_part_is_in_the_table_and_the_table_has_no_other() -> None:
    assert {part_of(path) for path in FILES} == set(table())


@pytest.mark.parametrize("part", table())
def test_a_part_imports_what_the_table_says_all_of_it_and_nothing_else(part: str) -> None:
    imported = set().union(*(parts(path) for path in FILES if part_of(path) == part))
    assert table()[part] in (imported, {"all"})


def test_imports_point_up_the_table_only() -> None:
    order = list(table())
    for number, (name, others) in enumerate(table().items()):
        assert others <= {*order[:number], "all"}, f"{name} imports what stands below it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_knows_the_foreground_and_nobody_the_command_line(path: Path) -> None:
    known = parts(path) | parts(path, for_type_checkers=True)
    assert not known & ({"cli"} if path.stem == "cli" else {"cli", "foreground"})


def test_the_front_of_the_package_imports_nothing_by_itself_and_its_door_the_command_line() -> None:
    assert modules(FRONT) == set()
    assert modules(DOOR) == {"pollprog.cli"}


def test_the_contract_of_the_probes_imports_nothing_of_ours() -> None:
    assert modules(PACKAGE / "probes/__init__.py") == set()


def test_no_probe_knows_the_chooser() -> None:
    for path in PACKAGE.glob("probes/*.py"):
        assert "pollprog.probes.chooser" not in modules(path) | modules(path, for_type_checkers=True)


def test_an_import_is_found_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "part.py"
    file.write_text(
        "import os, pollprog.one\n"
        "from pollprog import two, __version__\n"
        "from pollprog.three.deeper import name\n"
        "if TYPE_CHECKING:\n    from pollprog.typed import name\nelse:\n    import pollprog.four\n"
        "def f():\n    with x:\n        from pollprog import five\n"
    )
    assert parts(file) == {"one", "two", "three", "four", "five"}
    assert parts(file, for_type_checkers=True) == {"typed"}
