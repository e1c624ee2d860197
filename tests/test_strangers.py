"""Plugins of other packages: found by their entry points, tried before ours, and trusted no further."""

from __future__ import annotations

import logging
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from children import wait_until
from terminals import ENVIRONMENT, pollprog

from pollprog import strangers, tools
from pollprog.errors import UsageError
from pollprog.launch import Command
from pollprog.probes import chooser as chooser_module
from pollprog.probes.chooser import Chooser
from pollprog.process import Process, ProcessTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.tool("sleep")

PLUGIN = """
from pollprog.status import Sample

class Says:
    def sample(self):
        return Sample(7, 9, source="strange")
    def close(self):
        pass

class Tool:
    name = "sleep"
    def recognise(self, command):
        return command.name == "sleep"
    def prepare(self, command):
        return command.with_words([*command.argv, "0"])
    def probe(self, target):
        return Says()

TOOL = Tool()
NONE = object()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a package with these entry points, and a module `strange_plugin`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "strange_plugin.py").write_text(dedent(PLUGIN))

    def put(text: str) -> None:
        folder = tmp_path / "strange-1.0.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "entry_points.txt").write_text(dedent(text))
        strangers.find.cache_clear()

    yield put
    sys.modules.pop("strange_plugin", None)
    strangers.find.cache_clear()


def speaking(seconds: str = "60", *, named: str | None = None, until: str) -> str:
    """Who speaks for a sleep, as soon as it is who should."""
    with subprocess.Popen(["sleep", seconds]) as running:
        try:
            wait_until(lambda: Process(running.pid).argv()[:1] == ["sleep"])
            chooser = Chooser(ProcessTree(Process(running.pid)), launched=True, named=named)
            found = []

            def speaks() -> bool:
                sample = chooser.sample()
                found.append("" if sample is None else sample.source)
                return found[-1].startswith(until)

            wait_until(speaks)
            chooser.close()
        finally:
            running.kill()
    return found[-1]


def test_a_strangers_tool_speaks(install: Callable[[str], None]) -> None:
    install(
        "[console_scripts]\nx = y:z\n[pollprog.probes]\n# sleep = nothing\nsleep = strange_plugin:TOOL [extra]\n\n[other]\na = b\n"
    )
    assert strangers.find()["sleep"] == "strange_plugin:TOOL"
    assert speaking(until="strange") == "strange"


def test_it_comes_before_ours(install: Callable[[str], None]) -> None:
    install("[pollprog.probes]\nxz = strange_plugin:TOOL\n")
    assert [name for name, _ in tools.offers(Command(["xz", "a"]))] == ["strange_plugin:TOOL", "xz"]


FAULTS = {
    "not importable": (
        "import no_such_module",
        "ModuleNotFoundError: No module named 'no_such_module' (strange_plugin.py, line 1)",
    ),
    "a class": ("TOOL = Tool", "strange_plugin:TOOL is a class, and has to be a tool made of it: write TOOL = Tool()"),
    "ending the interpreter": ("raise SystemExit(3)", "SystemExit: 3 (strange_plugin.py, line "),
    "missing": ("del TOOL", "AttributeError: module 'strange_plugin' has no attribute 'TOOL'"),
}


@pytest.mark.parametrize(("line", "said"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_with_one_is_said_once_with_its_place(
    line: str, said: str, install: Callable[[str], None], tmp_path: Path
) -> None:
    install("[pollprog.probes]\nsleep = strange_plugin:TOOL\n")
    before, behind = (line, "") if line.startswith("import") else ("", line)
    (tmp_path / "strange_plugin.py").write_text(f"{before}\n{PLUGIN}{behind}\n")
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}
    page = pollprog("probes", "sleep", env=environment)
    assert page.returncode == 1
    assert page.stderr.startswith("pollprog: the plugin for sleep, strange_plugin:TOOL, cannot be used: ")
    assert said in page.stderr
    for words in ([], ["--probe", "sleep"]):
        run = pollprog("run", "--progress", "log", *words, "sleep", "1", env=environment)
        (told,) = [line for line in run.stderr.splitlines() if line.startswith("pollprog: ")]
        assert said in told
        assert run.returncode == 0


def test_what_prepares_nothing_is_said_so(install: Callable[[str], None], tmp_path: Path) -> None:
    install("[pollprog.probes]\nsleep = strange_plugin:TOOL\n")
    (tmp_path / "strange_plugin.py").write_text(PLUGIN.replace("return command.with_words", "command.with_words"))
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}
    run = pollprog("run", "--probe", "sleep", "sleep", "1", env=environment)
    assert "left out: TypeError: prepare() returned NoneType, not a Command\n" in run.stderr
    assert run.returncode == 0


def test_those_that_are_installed_are_listed(install: Callable[[str], None], tmp_path: Path) -> None:
    install("[pollprog.probes]\nsleep = strange_plugin:TOOL\nxz = strange_plugin:TOOL\n")
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}
    lines = [line.split(maxsplit=1) for line in pollprog("probes", env=environment).stdout.splitlines()]
    assert ["sleep", "a plugin of another package: strange_plugin:TOOL"] in lines
    assert "has no docstring" in pollprog("probes", "sleep", env=environment).stdout


def test_a_script_that_is_not_said_to_be_one_is_asked_about(
    install: Callable[[str], None], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("[pollprog.probes]\nsnooze = strange_plugin:TOOL\n")
    monkeypatch.setattr(chooser_module, "UNFOUND", 0.0)
    (tmp_path / "snooze").write_text("#!/bin/sh\necho begun\nread line\n")
    (tmp_path / "snooze").chmod(0o755)
    with subprocess.Popen([tmp_path / "snooze"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"begun\n"
        chooser = Chooser(ProcessTree(Process(running.pid)), launched=True, named="snooze")
        assert chooser.sample() is None
        chooser.close()
        running.communicate()
    assert "interpreted = True" in caplog.text


@pytest.mark.parametrize(
    "place", ["no_such_module:TOOL", "strange_plugin:MISSING", "strange_plugin:NONE", "strange_plugin:", "="]
)
def test_a_broken_one_costs_a_line_in_the_log(
    place: str, install: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    install(f"[pollprog.probes]\nsleep = {place}\n")
    if place == "strange_plugin:":
        assert speaking(until="strange") == "strange"  # TOOL is what is meant
        return
    assert speaking(until="evidence").startswith("evidence")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_it_can_be_named_and_may_prepare_the_command_then(install: Callable[[str], None], tmp_path: Path) -> None:
    install("[pollprog.probes]\nsnooze = strange_plugin:TOOL\n")
    tools.check("snooze")
    tool = tools.named("snooze")
    assert tool is not None
    assert tool.prepare(Command(["sleep", "9"])).argv == ("sleep", "9", "0")
    assert speaking(named="snooze", until="strange") == "strange"
    folder = tmp_path / "later-1.0.dist-info"
    folder.mkdir()
    (folder / "entry_points.txt").write_text("[pollprog.probes]\ndoze = strange_plugin:TOOL\n")
    tools.check("doze")  # installed beside a daemon that runs
    for wrong in ("snooze:1", "snoozer"):
        with pytest.raises(UsageError):
            tools.check(wrong)


def test_nobody_looks_for_them_before_a_command_starts() -> None:
    code = (
        "import sys; from pollprog import tools; from pollprog.launch import Command;"
        "tools.find(Command(['cp', 'a', 'b'])); tools.named('evidence'); tools.check('dd'); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pollprog.strangers" not in loaded
    assert "importlib.metadata" not in loaded
