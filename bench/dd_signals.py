"""Ask many dd's for reports, far too often: none may be killed, none may copy a byte less, and nobody may see that we asked.

500 runs of random length, GNU dd and busybox dd, started directly and through a shell that execs them, are asked every 5 ms
instead of every second. Each has to end with status 0, an output equal to its input, and exactly one report of its own on
standard error.

::

    python bench/dd_signals.py [--runs N] [--seed N]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import select
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter

from pollprog.launch import Command, launch
from pollprog.probes import Target
from pollprog.probes.dd import TOOL
from pollprog.probes.dd_probe import DdProbe
from pollprog.process import Process, ProcessTree

INTERVAL = 0.005
LONGEST = 0.3
BLOCK = 128
INPUT = 32 << 20
LEAST_SENT, LEAST_ANSWERED = 2000, 500

ONE_REPORT = re.compile(rb"(\d+)\+0 records in\n(\d+)\+0 records out\n(\d+ bytes? .*copied, .*/s\n)?")


class Run:
    """One dd, asked until it ends."""

    def __init__(self, argv: list[str], log: int) -> None:
        self.log = log
        self.sent = self.answered = 0
        command = TOOL.prepare(Command(argv))
        assert 2 in command.claims, "standard error could not be claimed"
        self.launched = launch(command)
        self.through = command.claims[2]
        self.end = self.launched.ends[2]
        ear = threading.Thread(target=self.pass_on)
        ear.start()
        self.ask()
        ear.join()
        self.code, self.signal = self.launched.reap() or (None, None)
        self.launched.close()

    def pass_on(self) -> None:
        while True:
            ready, _, _ = select.select([self.end], [], [], 0.05)
            data = os.read(self.end, 65536) if ready else b""
            if ready and not data:
                break
            os.write(self.log, self.through.passing(data))
        os.write(self.log, self.through.end())

    def ask(self) -> None:
        process = Process(self.launched.pid)
        tree = ProcessTree(process)
        probe = None
        while process.stat().state not in "ZX":
            if probe is not None:
                probe.sample()
            elif TOOL.recognise(Command(process.argv(), executable=process.link("exe"))):
                target = Target(tree, process, launched=True, claims={2: self.through}, ends={2: self.end})
                probe = DdProbe(target, interval=INTERVAL)
            if (
                probe is not None and probe.sent
            ):  # until then as often as can be: a dd that has just begun is the frailest
                time.sleep(INTERVAL)
        if probe is not None:
            self.sent = probe.sent
        report = self.through.report
        self.answered = max(report.number - 1, 0) if report is not None else 0
        tree.close()
        process.close()


def kinds() -> dict[str, list[str]]:
    """How a dd is started, by a name for it; ``{}`` is where its operands go."""
    found = {"dd": ["dd", "{}"], "sh -c 'exec dd'": ["sh", "-c", "exec dd {}"]}
    found["sh -c 'sleep; exec dd'"] = ["sh", "-c", "sleep 0.01; exec dd {}"]
    if shutil.which("busybox"):
        found["busybox dd"] = ["busybox", "dd", "{}"]
        found["sh -c 'exec busybox dd'"] = ["sh", "-c", "exec busybox dd {}"]
    else:
        print("no busybox here: its dd is left out")
    return found


def words(kind: list[str], operands: list[str]) -> list[str]:
    """The words of one run."""
    return [word for part in kind for word in (operands if part == "{}" else [part.replace("{}", " ".join(operands))])]


def blocks_per_second(kind: list[str], folder: str) -> float:
    """How fast this dd is here, unasked."""
    argv = words(kind, [f"if={folder}/in", f"of={folder}/out", f"bs={BLOCK}", "count=40000", "status=none"])
    began = time.monotonic()
    launched = launch(Command(argv))
    select.select([launched.pidfd], [], [])
    launched.reap()
    launched.close()
    return 40000 / (time.monotonic() - began)


def judge(run: Run, count: int, source: bytes, folder: str) -> str:
    """What went wrong; '' if nothing did."""
    with open(f"{folder}/out", "rb") as file:
        copied = file.read()
    with open(f"{folder}/dd.log", "rb") as file:
        said = file.read()
    if run.signal is not None:
        return f"killed by signal {run.signal}"
    if copied != source[: count * BLOCK]:
        return f"short: {len(copied)} bytes of {count * BLOCK}"
    if run.code != 0:
        return f"exit status {run.code}"
    report = ONE_REPORT.fullmatch(said)
    if report is None or int(report[1]) != count or int(report[2]) != count:
        return f"standard error is not one report: {said!r}"
    return ""


def main() -> int:
    """Run them all; 0 if the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    wrong: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    began = time.monotonic()
    errors = os.dup(2)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        source = os.urandom(INPUT)
        with open(f"{folder}/in", "wb") as file:
            file.write(source)
        speeds = {name: blocks_per_second(kind, folder) for name, kind in kinds().items()}
        for _ in range(arguments.runs):
            name, kind = chance.choice(list(kinds().items()))
            count = min(int(speeds[name] * chance.uniform(0, LONGEST)), INPUT // BLOCK)
            log = os.open(f"{folder}/dd.log", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
            os.dup2(log, 2)
            os.close(log)
            try:
                run = Run(words(kind, [f"if={folder}/in", f"of={folder}/out", f"bs={BLOCK}", f"count={count}"]), 2)
            finally:
                os.dup2(errors, 2)
            sent[name] += run.sent
            answered[name] += run.answered
            if fault := judge(run, count, source, folder):
                wrong[fault.split(":")[0].rsplit(" ", 1)[0]] += 1
                print(f"{name}, {count} blocks: {fault}")
    killed = sum(number for fault, number in wrong.items() if fault.startswith("killed"))
    print(f"runs      {arguments.runs} in {time.monotonic() - began:.0f} s, seed {arguments.seed}")
    print(f"sent      {sent.total()} (goal {LEAST_SENT})")
    print(f"answered  {answered.total()} (goal {LEAST_ANSWERED})")
    print(f"killed    {killed} (goal 0)")
    print(f"short     {wrong['short']} (goal 0)")
    print(f"otherwise {sum(wrong.values()) - killed - wrong['short']} (goal 0)")
    for name in sent:
        print(f"          {name}: {sent[name]} sent, {answered[name]} answered")
    enough = sent.total() >= LEAST_SENT and answered.total() >= LEAST_ANSWERED and all(answered.values())
    return 0 if enough and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
