"""Plugins of strangers that do what no plugin may: the command runs as without them, and what is told is right."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from children import wait_until
from terminals import ENVIRONMENT, PATIENCE, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READER = f"""\
#!{sys.executable} -S
import os, sys, time
with open("input", "rb") as file:
    while not os.path.exists("enough"):
        file.read(1 << 16)
        time.sleep(0.05)
    while file.read(1 << 20):
        pass
print("read")
sys.exit(3)
"""
SIZE = 64 << 20
PLUGIN = """
import time
{before}
from pollprog.status import Sample
from pollprog.probes.records import Records, Rule

class Probe:
    looks = 0
    def __init__(self, target):
        self.target = target
    def sample(self):
        self.looks += 1
        {sample}
    def close(self):
        {close}

class Tool:
    name = "reader"
    def recognise(self, command):
        {recognise}
    def prepare(self, command):
        {prepare}
    def probe(self, target):
        {probe}

TOOL = Tool()
"""
USUAL = {
    "before": "",
    "sample": "return None",
    "close": "pass",
    "recognise": "return True",
    "prepare": "raise ValueError('it was not asked to')",
    "probe": "return Probe(target)",
}
DROPPED = {
    "cannot be imported": {"before": "import no_such_module"},
    "ends the interpreter when it is imported": {"before": "raise SystemExit(3)"},
    "raises when it is asked": {"recognise": "raise KeyError('what')"},
    "has no probe": {"probe": "return None"},
    "has a pattern that may take for ever": {
        "probe": "return Records(target, [Rule(rb'(a+)+(?P<current>.)')], source='bad', streams=(2,))"
    },
    "raises at its third look": {"sample": "return Sample(1 // (self.looks < 3), source='bad')"},
    "counts less than nothing": {"sample": "return Sample(-1, 10, source='bad')"},
    "says what is no number": {"sample": "return Sample(float('nan'), 10, source='bad')"},
    "says that it is true": {"sample": "return Sample(True, True, source='bad')"},
    "has no end of words": {"sample": "return Sample(1, 2, phase='long ' * 1000, source='bad')"},
    "says what is no unit": {"sample": "return Sample(1, 2, 'items', source='bad')"},
    "says what is no sample": {"sample": "return 'half of it'"},
    "hangs": {"sample": "time.sleep(3600)", "close": "time.sleep(3600)"},
}
"""What one of them does: it is left out, with a line in the log, and evidence speaks."""
BELIEVED = {
    "says more than there is": {"sample": "return Sample(20, 10, source='bad')"},
    "goes back and forth": {"sample": "return Sample(5 - self.looks % 3, 10, source='bad')"},
    "is at its end from the start": {"sample": "return Sample(10, 10, source='bad')"},
    "prints": {"before": "print('loaded')", "sample": "print('looked'); return Sample(1, 10, source='bad')"},
    "raises when it is closed": {"sample": "return None", "close": "raise ValueError"},
}
"""What no check finds: the rules of the channel hold all the same."""
PREPARES = {
    "ends the interpreter": {"prepare": "raise SystemExit(3)"},
    "ends it when it is imported": {"before": "raise SystemExit(3)"},
    "interrupts": {"prepare": "raise KeyboardInterrupt"},
    "hangs": {"prepare": "time.sleep(3600)"},
    "never rests": {"prepare": "while True: pass"},
    "hangs when it is imported": {"before": "time.sleep(3600)"},
    "gives nothing": {"prepare": "return None"},
    "gives no words": {"prepare": "return command.with_words(())"},
    "gives another program": {"prepare": "return command.with_words(('false', *command.argv))"},
    "leaves out a word": {"prepare": "return command.with_words(command.argv[:-1])"},
    "gives what is no word": {"prepare": "return command.with_words((*command.argv, 5))"},
    "gives what no word can hold": {"prepare": "return command.with_words((*command.argv, '\\0'))"},
    "has words for its status that leave one out": {"prepare": "return command.with_status(lambda argv, _: argv[:1])"},
}
"""What one of them makes of the command: it is started as it was typed."""


def install(does: dict[str, str], folder: Path) -> dict[str, str]:
    """The environment in which there is a plugin that does this."""
    info = folder / "packages" / "bad-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("[pollprog.probes]\nreader = bad_plugin:TOOL\n")
    (folder / "packages" / "bad_plugin.py").write_text(PLUGIN.format(**{**USUAL, **does}))
    return {**ENVIRONMENT, "PYTHONPATH": str(folder / "packages")}


def run(
    does: dict[str, str], folder: Path, until: Callable[[list[dict[str, Any]], str], bool], options: str = ""
) -> list[dict[str, Any]]:
    """The statuses of a program that reads slowly until these, and what was written into the log, are as they should be."""
    environment = install(does, folder)
    with (folder / "input").open("wb") as file:
        file.truncate(SIZE)
    (folder / "reader").write_text(READER)
    (folder / "reader").chmod(0o755)
    for name in ("lines", "log"):
        (folder / name).touch()
    script = f"pollprog run {options} --progress log --interval 0.1 --progress-fd 3 ./reader >out 3>lines 2>log"
    with subprocess.Popen(["bash", "-c", script], cwd=folder, env=environment) as running:
        try:
            wait_until(lambda: until(statuses(folder), (folder / "log").read_text()))
        finally:
            (folder / "enough").touch()
        assert running.wait(PATIENCE) == 3
    assert (folder / "out").read_text() == "read\n"
    *lines, last = statuses(folder)
    assert (last["state"], last["exit"]) == ("failed", 3)
    return lines


def statuses(folder: Path) -> list[dict[str, Any]]:
    """Those that were told so far."""
    return [
        json.loads(line) for line in (folder / "lines").read_text().splitlines(keepends=True) if line.endswith("\n")
    ]


def assert_sound(lines: list[dict[str, Any]]) -> None:
    """Nothing falls within its phase, and nothing is at its end before it is."""
    assert all(line["fraction"] is None or 0 <= line["fraction"] < 1 for line in lines)
    for old, new in pairwise(lines):
        if (old["phase"], old["total"]) == (new["phase"], new["total"]):
            assert old["current"] <= new["current"]


@pytest.mark.parametrize("what", DROPPED)
def test_one_that_fails_is_named_in_one_line_and_evidence_takes_over(what: str, tmp_path: Path) -> None:
    def taken_over(lines: list[dict[str, Any]], log: str) -> bool:
        own = [line for line in lines if line["source"] == "evidence:input-position" and line["total"] == SIZE]
        return len(own) >= 3 and "bad_plugin" in log

    lines = run(DROPPED[what], tmp_path, taken_over)
    log = (tmp_path / "log").read_text().splitlines()
    assert len([line for line in log if "bad_plugin" in line]) == 1, log
    assert_sound(lines)


def test_one_that_was_named_and_hangs_is_dropped_once(tmp_path: Path) -> None:
    def taken_over(lines: list[dict[str, Any]], _: str) -> bool:
        return sum(line["source"] == "evidence:input-position" for line in lines) >= 3

    does = {"sample": "time.sleep(3600)", "prepare": "return command"}  # one that is named is asked to prepare
    run(does, tmp_path, taken_over, "--probe reader")
    log = (tmp_path / "log").read_text().splitlines()
    assert [line for line in log if "dropped" in line] == [
        "pollprog: the probe reader is dropped: it did not return within 2 seconds"
    ]


def test_in_top_evidence_takes_over_from_one_that_hangs(tmp_path: Path) -> None:
    environment = install(DROPPED["hangs"], tmp_path)
    with (tmp_path / "input").open("wb") as file:
        file.truncate(SIZE)
    (tmp_path / "reader").write_text(READER)
    terminal = Terminal(10, 80)
    with subprocess.Popen(
        ["bash", "-c", f"exec -a reader {sys.executable} -S reader"], cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as reading:
        try:
            terminal.run("pollprog", "top", environment=environment)
            terminal.wait(lambda rows: any("of 64.0 MiB" in row for row in rows))
        finally:
            terminal.close()
            (tmp_path / "enough").touch()
            reading.kill()


@pytest.mark.parametrize("what", BELIEVED)
def test_one_that_says_what_cannot_be_breaks_no_rule_of_the_channel(what: str, tmp_path: Path) -> None:
    lines = run(BELIEVED[what], tmp_path, lambda lines, _: len(lines) >= 5)
    assert "bad_plugin" not in (tmp_path / "log").read_text()
    assert_sound(lines)


@pytest.mark.parametrize("what", PREPARES)
def test_one_that_makes_another_command_of_it_is_left_out_and_the_command_starts(what: str, tmp_path: Path) -> None:
    words = ["pollprog", "run", "--probe", "reader", "--progress", "none", "--", "echo", "one", "two"]
    environment = install(PREPARES[what], tmp_path)
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, "one two\n")
    assert done.stderr.startswith("pollprog: a fault of the plugin for echo, which is left out: ")
    assert len(done.stderr.splitlines()) == 1


def test_evidence_takes_over_from_one_that_raises_and_then_hangs_when_it_is_closed(tmp_path: Path) -> None:
    def taken_over(lines: list[dict[str, Any]], _: str) -> bool:
        return len([line for line in lines if line["source"] == "evidence:input-position"]) >= 3

    assert_sound(run({"sample": "raise ValueError", "close": "time.sleep(3600)"}, tmp_path, taken_over))
