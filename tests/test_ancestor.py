"""docs/ancestor.md: each of its claims names the tests that show it, and they are there."""

from __future__ import annotations

import re
from pathlib import Path

REPO = Path(__file__).parent.parent
ROWS = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", (REPO / "docs/ancestor.md").read_text(), re.MULTILINE)


def test_every_weak_point_is_in_the_table() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 14))


def test_every_claim_names_tests_that_are_there() -> None:
    known = {
        name
        for path in REPO.glob("tests/test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    for number, tests in ROWS:
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, number
        assert set(named) <= known, number
