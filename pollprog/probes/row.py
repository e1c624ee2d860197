"""A row of the docs' table: how one program, or several that are alike, are measured, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COLUMNS", "Row"]

COLUMNS = {
    "launched": "how it is measured at launch",
    "attached": "on attach",
    "totals": "where the total comes from",
    "wrong": "what is known to be wrong",
}
"""What is said of each tool, and how that is called."""


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
