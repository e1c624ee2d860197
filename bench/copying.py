"""Our copy loop beside cp: dense and sparse files, in memory and on a disk.

    python bench/copying.py [--size MIB] [--rounds N] [--disk DIRECTORY] [--memory DIRECTORY]

Each round runs every command once, in turn, into a new file; a ratio is that of one round, and the table has the medians.
Ours always syncs, so on a disk cp is followed by ``sync FILE``: both then promise the same. The time of ours is that of
the call in this process; of cp, that of the process. A step is the time between two chances to cancel.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from pollprog.copying import copy_file
from pollprog.counting import Counter

MIB = 1 << 20


def write_dense(path: Path, size: int) -> None:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(block)
        os.fsync(file.fileno())


def write_sparse(path: Path, size: int) -> None:
    """One MiB of data in each ten."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for offset in range(0, size, 10 * MIB):
            file.seek(offset)
            file.write(block)
        file.truncate(size)
        os.fsync(file.fileno())


class Steps:
    """A `cancel` that never cancels, and keeps the longest time between two of its calls."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.last = time.perf_counter()

    def __call__(self) -> bool:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self.last)
        self.last = now
        return False


def ours(source: Path, destination: Path, steps: list[float]) -> None:
    counter, cancel = Counter(), Steps()

    def until_sync() -> bool:  # fsync is one call, and no step
        return False if counter.phase else cancel()

    copy_file(source, destination, counter=counter, cancel=until_sync)
    steps.append(cancel.longest)


def theirs(options: list[str], source: Path, destination: Path, *, sync: bool) -> None:
    subprocess.run(["cp", *options, source, destination], check=True)
    if sync:
        subprocess.run(["sync", destination], check=True)


def compare(directory: Path, source: Path, rounds: int, *, sync: bool) -> None:
    times: dict[str, list[float]] = {"pollprog": [], "cp": [], "cp --reflink=never": []}
    work: dict[str, list[float]] = {name: [] for name in times}
    steps: list[float] = []
    destination = directory / "copy"
    for number in range(rounds + 1):  # the first warms up
        for name in turned(list(times), number):
            if sync:
                os.sync()
            begun, worked = time.perf_counter(), processor()
            if name == "pollprog":
                ours(source, destination, steps)
            else:
                theirs(name.split()[1:], source, destination, sync=sync)
            if number:
                times[name].append(time.perf_counter() - begun)
                work[name].append(processor() - worked)
            destination.unlink()
    for name, taken in times.items():
        ratios = [
            median(mine / other for mine, other in zip(kind["pollprog"], kind[name], strict=True))
            for kind in (times, work)
        ]
        longest = f"{median(steps[1:]) * 1e3:5.1f} / {max(steps[1:]) * 1e3:5.1f}" if name == "pollprog" else ""
        command = f"{name} + sync" if sync and name != "pollprog" else name
        print(
            f"  {command:26} {median(taken) * 1e3:8.1f} {min(taken) * 1e3:8.1f} {ratios[0]:8.2f} {ratios[1]:8.2f}   {longest}"
        )


def processor() -> float:
    """CPU time of this process and of those that it has waited for: what a busy machine changes least."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def turned(names: list[str], number: int) -> list[str]:
    """Another goes first in each round: the one after a pause finds other memory than the one after a copy."""
    first = number % len(names)
    return names[first:] + names[:first]


def available() -> int:
    with Path("/proc/meminfo").open() as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Our copy loop beside cp.")
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="of each file, at most 1024 (default 512)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", default="/dev/shm", metavar="DIRECTORY", help="on a tmpfs")
    parser.add_argument("--disk", default="/var/tmp", metavar="DIRECTORY", help="on a disk")
    arguments = parser.parse_args()
    size = min(arguments.size, 1024) * MIB
    if 2 * size > available() / 4:
        sys.exit("two files of this size would fill more than a quarter of the memory: choose a smaller --size")
    for where, parent, sync in (("memory", arguments.memory, False), ("disk", arguments.disk, True)):
        for kind, write in (("dense", write_dense), ("sparse, a tenth data", write_sparse)):
            with TemporaryDirectory(dir=parent, prefix="pollprog-bench-") as directory:
                source = Path(directory, "source")
                write(source, size)
                print(f"{kind}, {size // MIB} MiB, {where} ({parent}), {arguments.rounds} rounds")
                print(f"  {'':26} {'ms med':>8} {'min':>8} {'ours/it':>8} {'its CPU':>8}   longest step ms, med / max")
                compare(Path(directory), source, arguments.rounds, sync=sync)


if __name__ == "__main__":
    main()
