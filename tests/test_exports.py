"""The public names: two lists, each true."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import pollprog
from pollprog import probes

HEAVY = {"trio", "psutil", "msgspec", "rich", "wcwidth", "asyncio", "dataclasses", "typing", "inspect", "logging"}


@pytest.mark.parametrize("module", [pollprog, probes], ids=lambda module: module.__name__)
def test_every_public_name_is_there_and_documented(module) -> None:
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        assert name.startswith("__") or value.__doc__, name


def test_each_public_name_is_the_one_of_the_module_where_it_lives() -> None:
    assert set(pollprog.__all__) == {*pollprog.HOMES, "__version__"}
    for name, home in pollprog.HOMES.items():
        module = import_module(f"pollprog.{home}")
        assert getattr(pollprog, name) is getattr(module, name)
        assert name in module.__all__


def test_every_module_lists_only_names_that_it_has() -> None:
    for name in (
        "arguments",
        "channel",
        "cli",
        "display",
        "ending",
        "foreground",
        "launch",
        "process",
        "runner",
        "tools",
    ):
        module = import_module(f"pollprog.{name}")
        for public in getattr(module, "__all__", ()):
            assert hasattr(module, public), f"{name}.{public}"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pollprog.nothing
    assert set(pollprog.__all__) <= set(dir(pollprog))


@pytest.mark.parametrize("module", ["pollprog", "pollprog.cli"])
def test_importing_it_imports_nothing_heavy(module: str) -> None:
    code = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
    brought = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert module in brought
    assert not HEAVY & set(brought)
