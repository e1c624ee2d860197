"""The public names: two lists, each true, and each written down."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import pollprog
from pollprog import probes

REPO = Path(__file__).parent.parent
MODULES = sorted(
    ".".join(path.relative_to(REPO).with_suffix("").parts)
    for path in (*REPO.glob("pollprog/*.py"), *REPO.glob("pollprog/probes/*.py"))
    if path.stem not in {"__init__", "__main__"}
)
HEAVY = {"trio", "psutil", "msgspec", "rich", "wcwidth", "asyncio", "dataclasses", "typing", "inspect", "logging"}


def documented(package: str) -> set[str]:
    """The names that docs/architecture.md promises."""
    section = (REPO / "docs/architecture.md").read_text().partition("## What may be imported")[2].partition("\n## ")[0]
    found = re.search(rf"^`{re.escape(package)}`: ([^.]+)\.$", section, re.MULTILINE)
    assert found
    return set(re.findall(r"\w+", found[1]))


@pytest.mark.parametrize("package", [pollprog, probes], ids=lambda package: package.__name__)
def test_every_public_name_is_there_once_and_says_what_it_is(package) -> None:
    assert len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        value = getattr(package, name)
        assert name.startswith("__") or value.__doc__, name


@pytest.mark.parametrize("package", [pollprog, probes], ids=lambda package: package.__name__)
def test_the_public_names_are_those_that_are_written_down(package) -> None:
    assert {name for name in package.__all__ if not name.startswith("__")} == documented(package.__name__)


def test_each_public_name_is_the_one_of_the_module_where_it_lives() -> None:
    assert set(pollprog.__all__) == {*pollprog.HOMES, "__version__"}
    for name, home in pollprog.HOMES.items():
        module = import_module(f"pollprog.{home}")
        assert getattr(pollprog, name) is getattr(module, name)
        assert name in module.__all__


def test_all_public_names_can_be_imported_with_a_star() -> None:
    there: dict[str, object] = {}
    exec("from pollprog import *", there)
    assert set(pollprog.__all__) <= set(there)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_lists_names_that_it_has(name: str) -> None:
    module = import_module(name)
    assert module.__all__
    for public in module.__all__:
        assert hasattr(module, public), public


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pollprog.nothing
    assert set(pollprog.__all__) <= set(dir(pollprog))


def brought(module: str) -> set[str]:
    """The modules that are there after this one was imported, and were not before."""
    code = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert module in run.stdout.split()
    return set(run.stdout.split())


@pytest.mark.parametrize("module", ["pollprog", "pollprog.cli"])
def test_importing_it_imports_nothing_heavy(module: str) -> None:
    assert not HEAVY & brought(module)


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    assert {name for name in brought("pollprog") if name.startswith("pollprog")} == {"pollprog"}
