"""A tool's program, run with pollprog and without, wherever its output goes: what people get has to be the same bytes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

from terminals import ENVIRONMENT, PATIENCE, Terminal

from pollprog.probes.chooser import Chooser
from pollprog.process import Process, ProcessTree

if TYPE_CHECKING:
    import re
    from pathlib import Path

    from pollprog.status import Sample

PLACES = ["", "2>&1", "2>err", "> out 2>err", "> out", "2>&1 | cat"]
"""Where a command's output may go, so that the order of what it writes is its own."""
BEFORE = ("", "pollprog run --progress none --")
LONG_PATIENCE = 60.0
"""Seconds after which a command that is stopped again and again counts as stuck."""
STEP = 0.002
"""Seconds for which it goes on between two looks."""


def gets(
    command: str,
    place: str,
    folder: Path,
    *,
    fresh: str = "",
    terminal: bool = False,
    line_ends: bool = True,
    apart: re.Pattern[bytes] | None = None,
    blurred: re.Pattern[bytes] | None = None,
) -> list[bytes]:
    """What somebody gets of this command, without us and with us: equal, and so one of the two; `fresh`: run before each.

    Without `line_ends`, ``\\r\\n`` and ``\\n`` are one, where somebody else sets the terminal while it is written. What matches
    `apart` is compared by itself, and so is the rest: where two processes write, and which comes first is chance. What matches
    `blurred` is not compared, only that it is there: a time, a speed.
    """
    results = []
    for before in BEFORE:
        if fresh:
            words = ["sh", "-c", fresh]
            subprocess.run(words, cwd=folder, check=True, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE)
        for name in ("out", "err"):
            (folder / name).unlink(missing_ok=True)
        script = f"cd {shlex.quote(str(folder))}; set -o pipefail; {before} {command} {place}; echo status $?"
        results.append([*said(script, terminal=terminal), *files(folder)])
    if not line_ends:
        results = [[text.replace(b"\r\n", b"\n") for text in texts] for texts in results]
    if blurred is not None:
        results = [[blurred.sub(b"#", text) for text in texts] for texts in results]
    if apart is not None:
        results = [
            [part for text in texts for part in (apart.sub(b"", text), *apart.findall(text))] for texts in results
        ]
    assert results[0] == results[1], f"without us: {results[0]}; with us: {results[1]}"
    return results[0]


def said(script: str, *, terminal: bool) -> list[bytes]:
    """What a script of bash writes to a terminal, or to pipes."""
    if not terminal:
        words = ["bash", "-c", script]
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE, check=True
        )
        return [done.stdout, done.stderr]
    screen = Terminal()
    try:
        screen.run("bash", "-c", script)
        screen.wait_end()
        return [screen.seen]
    finally:
        screen.close()


def files(folder: Path) -> list[bytes]:
    """What went into files."""
    return [path.read_bytes() if (path := folder / name).exists() else b"" for name in ("out", "err")]


def told(command: str, folder: Path, source: str, *, terminal: bool = False, under: str = "") -> list[dict[str, Any]]:
    """The statuses of one source, and behind them the last of all, while the command runs to its good end; `under`: what runs us."""
    script = f"cd {shlex.quote(str(folder))}; {under} pollprog run --interval 0.1 --progress-fd 3 {command} 3>lines"
    said(script, terminal=terminal)
    lines = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
    assert lines[-1]["state"] == "succeeded"
    assert all(line["fraction"] is None or line["fraction"] < 1 for line in lines[:-1])
    return [*(line for line in lines[:-1] if line["source"] == source), lines[-1]]


def waiting(folder: Path, source: str, number: int) -> str:
    """A script of sh that waits until this source has told so many different things in the file ``lines``."""
    return f"""#!/bin/sh
tries=0
until [ "$(grep -s '"source":"{source}"' '{folder}/lines' | grep -o '"current":[0-9]*' | sort -u | wc -l)" -ge {number} ] ||
  [ $((tries += 1)) -gt 200 ]; do sleep 0.1; done
"""


def told_of_a_running_one(command: str, folder: Path, source: str) -> list[dict[str, Any]]:
    """The statuses of one source, and behind them the last of all, of a command that was started by somebody else."""
    script = (
        f"cd {shlex.quote(str(folder))}; {command} & pollprog attach --interval 0.1 --progress-fd 3 $! 3>lines; wait $!"
    )
    words = ["bash", "-c", script]
    subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE, check=True)
    lines = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
    assert all(line["fraction"] is None or line["fraction"] < 1 for line in lines[:-1])
    return [*(line for line in lines[:-1] if line["source"] == source), lines[-1]]


def looked_at(script: str, folder: Path, *, launched: bool = True) -> list[Sample]:
    """What is said of a script while it runs to its good end, stopped for each look. It goes on only a little at a time."""
    words = ["sh", "-c", script if "|" in script or "=" in script.split(maxsplit=1)[0] else f"exec {script}"]
    with subprocess.Popen(
        words, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True, stdin=subprocess.DEVNULL
    ) as running:
        process = Process(running.pid)
        chooser = Chooser(ProcessTree(process), launched=launched)
        found = []
        until = time.monotonic() + LONG_PATIENCE
        try:
            while words[-1].startswith("exec ") and process.argv()[:1] in ([], ["sh"]) and running.poll() is None:
                assert time.monotonic() < until, script
            while running.poll() is None:
                assert time.monotonic() < until, script
                os.killpg(running.pid, signal.SIGSTOP)
                sample = chooser.sample()
                for _ in chooser.survey() or ():
                    pass
                os.killpg(running.pid, signal.SIGCONT)
                if sample is not None:
                    found.append(sample)
                time.sleep(STEP)
        finally:
            chooser.close()
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode in (0, 1), script
    return found
