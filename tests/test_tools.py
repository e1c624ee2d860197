"""How a plugin is found: by the names that a program may be known by."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pollprog import tools
from pollprog.errors import UsageError
from pollprog.launch import Command
from pollprog.tools import MODULES, PROBES, TOOLS, candidates, check, find, load, program_names

PROBE_FILES = sorted(Path(tools.__file__).parent.glob("probes/*.py"))


@pytest.mark.parametrize(
    ("words", "executable", "names"),
    [
        (["dd"], None, ["dd"]),
        (["/usr/bin/dd", "if=a"], None, ["dd"]),
        (["dd"], "/usr/bin/busybox", ["dd", "busybox"]),
        (["gzip-copy"], "/opt/bin/gzip", ["gzip-copy", "gzip"]),
        (["dd"], "/usr/bin/dd (deleted)", ["dd", "dd"]),
        (["busybox", "dd", "if=a"], None, ["busybox", "dd"]),
        (["/bin/busybox", "dd"], "/bin/busybox", ["busybox", "busybox", "dd"]),
        (["busybox"], None, ["busybox"]),
        (["coreutils", "--coreutils-prog=dd", "if=a"], None, ["coreutils", "dd"]),
        (["toybox", "dd"], None, ["toybox", "dd"]),
        (["env", "dd"], None, ["env"]),
        ([], "", [""]),
    ],
)
def test_a_program_is_known_by_its_words_and_by_its_file(words: list[str], executable: str, names: list[str]) -> None:
    assert list(program_names(Command(words, executable=executable))) == names


def test_candidates_are_those_that_have_a_plugin_each_once() -> None:
    assert candidates(Command(["busybox", "dd"], executable="/usr/bin/dd")) == ["dd"]
    assert candidates(Command(["nothing", "dd"])) == []
    assert candidates(Command([])) == []


def test_our_tool_is_found() -> None:
    for words in (["dd", "if=a", "of=b"], ["/usr/bin/dd"], ["busybox", "dd", "if=a"]):
        tool = find(Command(words))
        assert tool is not None
        assert tool.name == "dd"
    assert find(Command(["cp", "a", "b"])) is None


def test_a_tool_that_does_not_recognise_the_command_is_not_taken() -> None:
    assert find(Command(["dd", "if=a"], executable="/usr/bin/perl")) is None


def test_the_first_that_recognises_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, knows in {"first": False, "second": True}.items():
        module: Any = ModuleType(f"a_tool_called_{name}")
        module.TOOL = type("Made", (), {"name": name, "recognise": lambda _, command, knows=knows: knows})()
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(TOOLS, name, module.__name__)
    tool = find(Command(["first"], executable="/usr/bin/second"))
    assert tool is not None
    assert tool.name == "second"


WORDS = {
    "cmake": ("--build", "a"),
    "git": ("clone", "a"),
    "head": ("-c", "1", "a"),
    "pip": ("install", "a"),
    "pip3": ("install", "a"),
} | dict.fromkeys(tools.OURS["sums"].split(), ("-c", "a"))
"""Of those that are known by their words, too."""


@pytest.mark.parametrize("name", TOOLS)
def test_each_tool_keeps_the_contract(name: str) -> None:
    tool = load(name)
    assert TOOLS[name] == MODULES[tool.name]
    assert tool.recognise(Command([name, *WORDS.get(name, ("if=a",))]))
    assert all(callable(getattr(tool, method)) for method in ("recognise", "prepare", "probe"))
    assert tool.name in PROBES, "what is found by itself can be asked for too"


@pytest.mark.parametrize("name", PROBES)
def test_each_probe_can_be_asked_for_and_says_what_it_is(name: str) -> None:
    module = import_module(PROBES[name])
    assert callable(module.probe if hasattr(module, "probe") else module.TOOL.probe)
    assert (module.__doc__ or "").splitlines()[0]


def test_no_probe_is_forgotten() -> None:
    able = {
        f"pollprog.probes.{path.stem}"
        for path in PROBE_FILES
        if re.search(r"^(def probe\(target|TOOL = )", path.read_text(), re.MULTILINE)
    }
    assert able == set(PROBES.values())


@pytest.mark.parametrize(
    "named",
    [
        "dd",
        "evidence",
        "fdinfo",
        "fdinfo:3",
        "filesize:out",
        "filesize:a:b\nc",
        "procio",
        "procio:wchar",
        "treesize:/tmp",
    ],
)
def test_what_can_be_meant_passes(named: str) -> None:
    check(named)


@pytest.mark.parametrize(
    "named",
    [
        *("", ":", "nosuch", "DD", "dd:x", "dd:", "evidence:x", "fdinfo:", "fdinfo:x", "fdinfo:-1", "fdinfo:99999999"),
        *("filesize", "filesize:", "procio:", "procio:syscr", "treesize"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_hint(named: str) -> None:
    with pytest.raises(UsageError, match=r"there are: .*dd, |see pollprog probes") as refused:
        check(named)
    assert "\n" not in str(refused.value)


def test_of_each_probe_it_is_known_what_may_stand_behind_its_name() -> None:
    assert set(tools.ARGUMENTS) == set(PROBES)


def test_looking_for_a_plugin_imports_none_that_does_not_match() -> None:
    code = (
        "import sys; from pollprog import tools; from pollprog.launch import Command;"
        "tools.find(Command(['cp', 'a', 'b'])); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.startswith("pollprog.probes")]
