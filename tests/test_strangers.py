"""Plugins of other packages: found by their entry points, tried before ours, and trusted no further."""

from __future__ import annotations

import logging
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from children import wait_until

from pollprog import strangers, tools
from pollprog.errors import UsageError
from pollprog.launch import Command
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


def test_it_can_be_named_and_may_prepare_the_command_then(install: Callable[[str], None]) -> None:
    install("[pollprog.probes]\nsnooze = strange_plugin:TOOL\n")
    tools.check("snooze")
    tool = tools.named("snooze")
    assert tool is not None
    assert tool.prepare(Command(["sleep", "9"])).argv == ("sleep", "9", "0")
    assert speaking(named="snooze", until="strange") == "strange"
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
