"""The page that leads from an unknown tool to a plugin: what it shows is so."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from pollprog.arguments import parser
from pollprog.launch import Command
from pollprog.probes.e2fsck import TOOL

REPO = Path(__file__).parents[1]
PAGE = (REPO / "docs/write-a-plugin.md").read_text()


def blocks(language: str) -> list[str]:
    """What stands between the fences of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.tool("e2fsck")
def test_the_plugin_that_is_shown_is_one_and_does_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"/usr/sbin:/sbin:{os.environ['PATH']}")
    module = ModuleType("shown")
    exec(blocks("python")[0], module.__dict__)  # it is our own page
    for words in (["e2fsck", "-fy", "a"], ["e2fsck", "-C0", "a"]):
        shown, ours = (tool.prepare(Command(words)) for tool in (module.TOOL, TOOL))
        assert (shown.status is None) == (ours.status is None)
        if shown.status is not None and ours.status is not None:
            assert list(shown.status(words, 7)) == list(ours.status(words, 7))
    assert module.TOOL.recognise(Command(["fsck.ext4"]))
    assert type(TOOL).prepare.__globals__["PASSES"] == module.PASSES


def test_the_package_that_is_shown_is_the_example() -> None:
    point = blocks("toml")[-1]
    lines = [line.partition("#")[0].strip() for line in point.splitlines()]
    assert "\n".join(lines) in (REPO / "examples/pollprog-borg/pyproject.toml").read_text()


@pytest.mark.parametrize(
    "line", [line.split("  ")[0] for line in re.findall(r"^(?:    )?(pollprog .*)$", PAGE, re.MULTILINE)]
)
def test_each_line_that_is_typed_is_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    words = words[: words.index("--")] if "--" in words else words
    assert parser().parse_args(words).command in ("run", "probes", "record")


def test_every_file_that_it_names_is_there() -> None:
    for name in re.findall(r"`(\w+\.py)`", PAGE):
        assert (REPO / "pollprog/probes" / name).exists(), name
    for name in re.findall(r"`((?:tests|pollprog)/[\w/]+(?:\.py)?)`", PAGE):
        assert (REPO / name).exists(), name
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (REPO / "docs" / link).exists(), link
