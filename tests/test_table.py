"""The docs' table of tools: what each says of itself, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from terminals import pollprog

from pollprog.probes.table import COLUMNS, Row, page, row, rows, table
from pollprog.tools import OURS

REPO = Path(__file__).parents[1]


def test_the_page_is_what_the_tools_say() -> None:
    assert (REPO / "docs/tools.md").read_text() == page(), "docs/tools.md is not up to date: run `make docs`"


@pytest.mark.parametrize("name", OURS)
def test_every_tool_says_how_it_is_measured_and_where_its_total_comes_from(name: str) -> None:
    found = row(name)
    assert found is not None
    assert found.programs == tuple(OURS[name].split())
    assert all(getattr(found, column) for column in COLUMNS if column != "wrong")


def test_what_is_said_is_short_and_fits_a_table() -> None:
    for found in rows():
        for column in COLUMNS:
            text = getattr(found, column)
            assert "\n" not in text, f"{found.name}: {column}"
            assert text == text.strip(), f"{found.name}: {column}"
            assert len(text) <= 300, f"{found.name}: {column}"
            assert text.count("`") % 2 == 0, f"{found.name}: {column}"


def test_every_tool_has_a_line_of_its_own() -> None:
    lines = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(lines) == len(rows())
    for found in rows():
        assert sum(f"`{found.programs[0]}`" in line.split(" | ")[0] for line in lines) == 1


def test_nothing_that_is_said_breaks_the_table() -> None:
    line = table([Row("odd", ("odd",), "a | b", "`c|d`", "e")]).splitlines()[-1]
    assert len(re.split(r"(?<!\\)\|", line)) == 1 + 5 + 1


def test_a_row_is_found_by_the_program_too() -> None:
    assert row("fsck.ext4") == row("e2fsck")
    assert row("evidence") is None


def test_probes_shows_the_row_of_a_tool() -> None:
    said = pollprog("probes", "e2fsck").stdout
    found = row("e2fsck")
    assert found is not None
    for title, text in found.said():
        assert f"\n{title}:\n{text.replace('`', '')}\n" in said
    assert next(iter(COLUMNS.values())) not in pollprog("probes", "filesize").stdout


def test_what_is_only_said_is_not_imported_to_measure() -> None:
    code = "import sys, pollprog.foreground, pollprog.probes.e2fsck; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pollprog.probes.table" not in loaded
