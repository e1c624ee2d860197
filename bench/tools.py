"""How true the fraction is that is told of each tool, and whether the command did what it does without us.

Each command runs four times: alone, under ``pollprog run``, under ``pollprog run --probe evidence`` where it has a plugin, and with ``pollprog attach``.
What is compared is the fraction with the share of the elapsed time, which is fair to work of even pace: the mean absolute error. ``progress -p`` and
``pv -d`` are asked about the second run. What the command printed, how it ended and what it made has to be, byte for byte, what it was
alone; a speed or a date in it is left out by a pattern.

The commands are in `cases`. The goals: 0.10 for a steady tool, 0.15 for one of several phases, whose weights fit no run exactly; none where the
disk sets the pace. Inputs are made in a scratch folder, and removed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import termios
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import accuracy
from accuracy import figure, measure, scratch_folder
from cases import ENVIRONMENT, FAMILIES, GOALS, Scratch, Tool, family

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ALONE, RUN, EVIDENCE, ATTACH = "alone", "run", "evidence", "attach"
"""The ways in which each command is run."""


class Ran:
    """What one run of a command printed; it may be a command under pollprog."""

    def __init__(self, folder: Path, *, terminal: bool) -> None:
        self._folder = folder
        self._terminal = terminal
        self._printed = {1: bytearray(), 2: bytearray()}
        self._threads: list[threading.Thread] = []

    def start(self, argv: list[str], inherited: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        """Start it, its streams into pipes, or both into a terminal; `inherited`: descriptors that it gets besides."""
        ends = dict([os.openpty()] if self._terminal else [os.pipe(), os.pipe()])
        out, err = (*ends.values(), *ends.values())[:2]
        if self._terminal:
            termios.tcsetwinsize(out, (24, 80))  # some draw nothing where there is no room
        child = subprocess.Popen(
            ["setsid", "-c", *argv] if self._terminal else argv,  # a terminal of its own: some draw only in the foreground
            stdin=out if self._terminal else subprocess.DEVNULL, stdout=out, stderr=err, cwd=self._folder, env=ENVIRONMENT,
            pass_fds=inherited,
        )  # fmt: skip
        for stream, (reader, end) in enumerate(ends.items(), 1):
            os.close(end)
            self._threads.append(threading.Thread(target=self._read, args=(reader, self._printed[stream])))
            self._threads[-1].start()
        return child

    def _read(self, reader: int, into: bytearray) -> None:
        try:
            while data := os.read(reader, 65536):
                into += data
        except OSError:
            pass  # a terminal that everybody has closed
        finally:
            os.close(reader)

    def printed(self, blurred: str) -> list[str]:
        """What it printed, without what is another each time."""
        for thread in self._threads:
            thread.join()
        return [
            "" if self._terminal else re.sub(blurred, "", bytes(text).decode(errors="replace"))
            for text in self._printed.values()
        ]


def digest(path: Path) -> str:
    """What stands in a file, or in the files of a folder, in short."""
    if path.is_dir():
        return " ".join(f"{file.relative_to(path)} {digest(file)}" for file in sorted(path.rglob("*")))
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(tool: Tool, scratch: Scratch) -> bool:
    """Run one tool in each way, print a line; whether every goal was met."""
    case = accuracy.Case(tool.source, tool.argv, tool.worker[:15], None)
    ways = [ALONE, RUN]
    ways += [EVIDENCE] if tool.source != EVIDENCE else []
    ways += [ATTACH] if tool.attach else []
    runs: dict[str, tuple[list[str], str, int]] = {}
    results: dict[str, accuracy.Result] = {}
    for way in ways:
        scratch.sh(tool.before or ":")
        ran = Ran(scratch.path, terminal=tool.terminal)
        if way == ALONE:
            status = ran.start(tool.argv).wait()
        else:
            options = ("--probe", EVIDENCE) if way == EVIDENCE else ()
            results[way] = measure(case, options, ran.start, attach=way == ATTACH)
            status = results[way].exit
        runs[way] = (ran.printed(tool.blurred), digest(scratch.path / tool.made) if tool.made else "", status)
    said, evidence, attached = (results.get(way) for way in (RUN, EVIDENCE, ATTACH))
    assert said is not None
    goal = GOALS[tool.pace]
    alone = runs[ALONE]
    wrong = {
        f"exit {alone[2]}": alone[2] != 0,
        "its plugin said nothing": tool.source not in said.kinds,
    }
    for way, result in results.items():
        wrong |= {
            f"{way}: fell": result.fell_within or (result.fell and way == RUN and tool.pace != "parts"),
            f"{way}: 1.0 too early": result.early,
            f"{way}: a fraction of what nobody knows": tool.pace == "unknown" and result.statuses > 0,
            f"{way}: output differs": runs[way][0] != alone[0],
            f"{way}: result differs": runs[way][1:] != alone[1:],
        }
    found = [what for what, so in wrong.items() if so]
    missed = goal is not None and (said.time_error is None or said.time_error > goal)
    told = said.told if tool.pace == "unknown" else said.statuses
    few = "few statuses" if told < 5 else ""
    print(
        f"{tool.words[:30]:30} {tool.pace:7} {said.seconds:6.1f} {told:5d} {figure(said.time_error, goal):>7} "
        f"{error_of(evidence):>9} {error_of(attached):>7} {figure(said.progress_error):>9} {figure(said.pv_error):>7}  "
        f"{'+'.join(said.sources)} {'; '.join(filter(None, [*found, few]))}",
        flush=True,
    )
    return not found and not missed


def error_of(result: accuracy.Result | None) -> str:
    """Of a run that has no goal."""
    return figure(None if result is None else result.time_error)


@contextmanager
def preparing(words: str, failed: list[str]) -> Iterator[None]:
    """If what is done here cannot be prepared, say so, and go on."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        failed.append(words)
        print(f"{words[:30]:30} cannot be prepared: {error.stderr.decode(errors='replace').strip()[-200:]}")


def compare_family(name: str, scratch: Scratch, only: str) -> tuple[int, list[str]]:
    """How many cases of a family failed or missed a goal, and what is not installed."""
    failed: list[str] = []
    missing: list[str] = []
    with preparing(name, failed):
        for tool in family(name)(scratch):
            if only not in tool.words:
                continue
            if not shutil.which(tool.worker, path=ENVIRONMENT["PATH"]):
                missing.append(tool.worker)
                continue
            with preparing(tool.words, failed):
                if not compare(tool, scratch):
                    failed.append(tool.words)
    return len(failed), missing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", help="where to make the inputs (default: the folder for temporary files)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the inputs; 1 is up to 4 GiB at a time")
    parser.add_argument("--family", choices=FAMILIES, help="only these commands")
    parser.add_argument("--only", default="", help="only the commands with this in them")
    arguments = parser.parse_args()
    failed, missing = 0, []
    print(
        "mean absolute error of the fraction against the elapsed time; ! is above the goal (0.10 steady, 0.15 phases)"
    )
    print(
        f"{'command':30} {'pace':7} {'s':>6} {'told':>5} {'error':>7} {'evidence':>9} {'attach':>7} {'progress':>9} {'pv -d':>7}  says"
    )
    for name in [arguments.family] if arguments.family else FAMILIES:
        with scratch_folder(arguments.scratch) as folder:
            found = compare_family(name, Scratch(folder, arguments.scale), arguments.only)
        failed, missing = failed + found[0], missing + found[1]
    if missing:
        print(f"not installed: {', '.join(missing)}")
    print("every goal met" if not failed and not missing else f"{failed} failed or missed a goal")
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
