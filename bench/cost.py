"""What pollprog costs: each line a ratio to what stands beside it, or a share of what there is, and the goal for it.

    python bench/cost.py [--only WORD ...]

The two sides of a ratio take turns, and the ratio is the median of those of each round, so that what else the machine does
falls on both. CPU is what the kernel counts, and is steadier than time on the clock, which has to be taken on a machine that
does nothing else. Where bare runs of one command differ among each other, the line says by how much: what is missed by less
than that is called unsure. Two goals are no ratios, the 60 ms and the 3 %; they are meant for a machine on which the pread
that the head line tells takes a microsecond or less. The exit status is 0 whatever the figures are: a goal missed is a reason
to look again, not an error.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import TYPE_CHECKING

import psutil
import trio

import pollprog
from pollprog.counting import Counter
from pollprog.probes.chooser import Chooser
from pollprog.process import Process, ProcessTree
from pollprog.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

MIB = 1 << 20
MEMORY = "/dev/shm"
TREES = 1000
DESCRIPTORS = 12
"""That one tree of two processes may cost while it is watched, with room to spare."""
SCRIPT = Path(sys.executable).with_name("pollprog")
POLLPROG = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "pollprog"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

MEASURED = """
import os, resource, sys, time
from pollprog import cli, launch
reap, told = launch.Launched.reap, []
def noting(self):
    ended = reap(self)
    if ended is not None and not told:
        told.append(time.monotonic() - self.started)
    return ended
launch.Launched.reap = noting
cli.main(sys.argv[2:])
used = [who.ru_utime + who.ru_stime for who in map(resource.getrusage, (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))]
with open(sys.argv[1], "w") as file:
    print(*told, *used, file=file)
"""
"""Runs ``pollprog`` as its script does; then says how long the command ran, its CPU, and our own."""


SLOW_COPY = """
import os, time
while data := os.read(0, 65536):
    os.write(1, data)
    time.sleep(0.03)
"""
"""A job that is at work all the time and needs little CPU for it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds that a process took: on the clock, and of CPU."""

    wall: float
    cpu: float


def spawn(words: list[str]) -> Taken:
    """Run a command without input or output."""
    null = os.open(os.devnull, os.O_RDWR)
    begun = time.perf_counter()
    pid = os.posix_spawnp(
        words[0], words, ENVIRONMENT, file_actions=[(os.POSIX_SPAWN_DUP2, null, stream) for stream in range(3)]
    )
    _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - begun
    os.close(null)
    if status:
        raise SystemExit(f"{' '.join(words)}: ended with wait status {status}")
    return Taken(wall, used.ru_utime + used.ru_stime)


def spawn_measured(words: list[str], told: Path) -> tuple[Taken, float]:
    """The same under pollprog: what the command itself took, and the CPU of pollprog."""
    spawn([sys.executable, "-c", MEASURED, str(told), "run", "--", *words])
    wall, cpu, ours = map(float, told.read_text().split())
    return Taken(wall, cpu), ours


# --- the table


def tell(what: str, figure: str, goal: str, verdict: str, note: str = "") -> None:
    """One line of it."""
    print(f"{what:66} {figure:>9} {goal:>9}  {verdict:7} {note}", flush=True)


def judged(figure: float, goal: float, noise: float = 0.0) -> str:
    if figure <= goal:
        return "met"
    return "unsure" if figure <= goal + noise else "MISSED"


def tell_ratio(what: str, ratio: float, goal: float, note: str = "", *, noise: float = 0.0) -> None:
    tell(what, f"{ratio:.3f}", f"<= {goal:g}", judged(ratio, goal, noise), note)


def tell_fraction(what: str, ratio: float, goal: float, note: str = "") -> None:
    tell(what, f"1/{1 / ratio:.1f}", f"<= 1/{1 / goal:.0f}", judged(ratio, goal), note)


def leave_out(what: str, why: str) -> None:
    print(f"{what:66} {'-':>9} {'':>9}  left out: {why}", flush=True)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


# --- starting


def cost_of_true() -> None:
    ours, theirs = [], []
    for _ in range(31):
        theirs.append(spawn([sys.executable, "-c", "pass"]))
        ours.append(spawn([*POLLPROG, "run", "--", "true"]))
    wall = median(mine.wall / other.wall for mine, other in zip(ours, theirs, strict=True))
    cpu = median(mine.cpu / other.cpu for mine, other in zip(ours, theirs, strict=True))
    note = f"CPU {cpu:.2f}; {milliseconds(median(mine.wall for mine in ours))}"
    tell_ratio("pollprog run -- true / python -c pass", wall, 3, note)


def cost_of_first_instruction() -> None:
    def taken(words: list[str]) -> float:
        begun = time.time()
        return float(subprocess.run(words, env=ENVIRONMENT, check=True, capture_output=True).stdout) - begun

    clock = ["date", "+%s.%N"]
    bare, ours = [], []
    for _ in range(21):
        bare.append(taken(clock))
        ours.append(taken([*POLLPROG, "run", "--progress=none", "--", *clock]))
    figure = median(ours)
    note = f"to the clock that `date` writes; bare {milliseconds(median(bare))}"
    tell(
        "from our start to the command's first instruction",
        milliseconds(figure),
        "<= 60 ms",
        judged(figure, 0.06),
        note,
    )


def cost_of_sleep() -> None:
    """Both sleep at once: neither is in the other's way."""
    ratios, cpu = [], []
    for _ in range(3):
        with ThreadPoolExecutor(2) as threads:
            bare, ours = threads.map(spawn, (["sleep", "5"], [*POLLPROG, "run", "--", "sleep", "5"]))
        ratios.append(ours.wall / bare.wall)
        cpu.append(ours.cpu - bare.cpu)
    tell_ratio("pollprog run -- sleep 5 / bare", median(ratios), 1.02, f"our CPU {milliseconds(median(cpu))}")


# --- the wrapped command


def cost_to_the_command() -> None:
    needed = 2 * 1024 * MIB
    if psutil.virtual_memory().available < 2 * needed or shutil.disk_usage(MEMORY).free < needed:
        leave_out("wrapped cp, dd, sha256sum / bare", f"2 GiB of free memory are needed in {MEMORY}")
        return
    with TemporaryDirectory(dir=MEMORY, prefix="pollprog-bench-") as directory:
        big, small, copy, told = (Path(directory, name) for name in ("big", "small", "copy", "told"))
        block = os.urandom(MIB)
        for path, blocks in ((big, 1024), (small, 128)):
            with path.open("wb") as file:
                for _ in range(blocks):
                    file.write(block)
        for words, rounds in (
            (["cp", str(big), str(copy)], 5),
            (["dd", f"if={big}", f"of={copy}", "bs=1M"], 5),
            (["sha256sum", str(small)], 5),
        ):
            compare_wrapped(words, rounds, copy, told)


def compare_wrapped(words: list[str], rounds: int, made: Path, told: Path) -> None:
    """A bare run before and after each wrapped one: their mean is what it is held against, their difference the noise."""
    pairs: list[tuple[Taken, Taken, Taken]] = []
    ours = []
    before = bare(words, made)  # warms up
    for _ in range(rounds):
        before = bare(words, made)
        wrapped, watching = spawn_measured(words, told)
        made.unlink(missing_ok=True)
        pairs.append((before, wrapped, bare(words, made)))
        ours.append(watching)
    for name, of in (("CPU", attrgetter("cpu")), ("time", attrgetter("wall"))):
        ratio = median(2 * of(wrapped) / (of(one) + of(two)) for one, wrapped, two in pairs)
        noise = median(abs(of(one) / of(two) - 1) for one, _, two in pairs)
        note = f"bare runs differ by {noise * 100:.1f} %"
        if name == "CPU":
            note += f"; our own CPU {milliseconds(median(ours))}"
        tell_ratio(
            f"{name} of wrapped {words[0]} / bare, {median(of(p[0]) for p in pairs):.2f} s on a tmpfs",
            ratio,
            1.01,
            note,
            noise=noise,
        )


def bare(words: list[str], made: Path) -> Taken:
    taken = spawn(words)
    made.unlink(missing_ok=True)
    return taken


# --- watching


class Trees:
    """Commands that do nothing, each a shell and its child. What was started here is ended here, by its group."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def start(self, count: int, words: list[str], streams: tuple[int, int, int]) -> None:
        actions = [(os.POSIX_SPAWN_DUP2, ours, stream) for stream, ours in enumerate(streams)]
        for _ in range(count):
            self.pids.append(os.posix_spawnp(words[0], words, ENVIRONMENT, setpgroup=0, file_actions=actions))
        patience = time.monotonic() + 60
        for pid in self.pids:
            while not Path(f"/proc/{pid}/task/{pid}/children").read_text():
                if time.monotonic() > patience:
                    raise SystemExit(f"{' '.join(words)}: its child does not start")
                time.sleep(0.01)

    def end(self, count: int | None = None) -> None:
        """The last so many of them, or all."""
        ended = self.pids[-count:] if count else self.pids[:]
        del self.pids[len(self.pids) - len(ended) :]
        for pid in ended:
            os.killpg(pid, signal.SIGKILL)
        for pid in ended:
            os.waitpid(pid, 0)


@contextmanager
def trees(count: int, command: str, *words: str, files: tuple[int, int] | None = None) -> Iterator[Trees]:
    """So many shells that wait for `command`, which reads and writes `files`, or nothing."""
    started = Trees()
    null = os.open(os.devnull, os.O_RDWR)
    try:
        started.start(count, ["sh", "-c", f"{command}; :", *words], (*(files or (null, null)), null))
        yield started
    finally:
        started.end()
        os.close(null)


def watched(pid: int) -> Chooser:
    return Chooser(ProcessTree(Process(pid)), launched=True)


def cost_of_one() -> None:
    """The same tree is watched by turns: two seconds our way, two seconds with psutil."""

    def look(process: psutil.Process) -> None:
        for each in (process, *process.children(recursive=True)):
            each.cpu_times()
            each.io_counters()
            for file in each.open_files():
                os.stat(file.path)

    async def with_psutil(process: psutil.Process) -> None:
        while True:
            look(process)
            await trio.sleep(1 / 3)

    async def with_ours(pid: int) -> None:
        async with trio.open_nursery() as nursery:
            sampler = Sampler()
            nursery.start_soon(sampler.run)
            sampler.add(watched(pid), lambda _: None, interval=1 / 3)
            await trio.sleep_forever()

    async def used(way: Callable[[], Awaitable[None]]) -> float:
        """CPU of six looks; the first, which finds everything out, is over by then."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way)
            await trio.sleep(0.5)
            begun = time.process_time()
            await trio.sleep(2)
            taken = time.process_time() - begun
            nursery.cancel_scope.cancel()
        return taken

    async def take_turns(pid: int) -> list[tuple[float, float]]:
        process = psutil.Process(pid)
        return [(await used(partial(with_ours, pid)), await used(partial(with_psutil, process))) for _ in range(6)]

    with NamedTemporaryFile() as source, NamedTemporaryFile() as destination:
        source.truncate(1024 * MIB)
        files = source.fileno(), destination.fileno()
        with trees(1, '"$0" -I -S -c "$1"', sys.executable, SLOW_COPY, files=files) as started:
            pairs = trio.run(take_turns, started.pids[0])
    processes = len(psutil.pids())
    note = f"{median(ours for ours, _ in pairs) / 6 * 1e6:.0f} us of ours a look; {processes} processes on this machine"
    tell_fraction("CPU of watching one job at 3 Hz / psutil", median(a / b for a, b in pairs), 1 / 4, note)


def cost_of_many() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = TREES * DESCRIPTORS + 100
    if hard != resource.RLIM_INFINITY and hard < wanted:
        leave_out(f"evidence on {TREES} trees", f"{wanted} descriptors are needed, and {hard} are allowed (ulimit -Hn)")
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with trees(TREES, "sleep 300") as started:
        shares = trio.run(share_of_core, started.pids)
        figure = median(shares)
        note = f"{figure / TREES * 1e6:.1f} us a tree and second; {min(shares) * 100:.2f} to {max(shares) * 100:.2f} %"
        tell(
            f"evidence on {TREES} trees of two processes at 1 Hz, of one core",
            f"{figure * 100:.2f} %",
            "<= 3 %",
            judged(figure, 0.03),
            note,
        )
        started.end(TREES // 2)
        compare_with_progress(started.pids)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def share_of_core(pids: list[int]) -> list[float]:
    """CPU seconds a second, timers and all, over windows of two seconds; the first looks do not count."""
    shares = []
    sampler = Sampler()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sampler.run)
        for pid in pids:
            sampler.add(watched(pid), lambda _: None, interval=1.0)
        await trio.sleep(2.5)
        for _ in range(5):
            begun, used = time.monotonic(), time.process_time()
            await trio.sleep(2)
            shares.append((time.process_time() - used) / (time.monotonic() - begun))
        nursery.cancel_scope.cancel()
    return shares


def compare_with_progress(pids: list[int]) -> None:
    what = f"one sweep of {2 * len(pids)} processes / one `progress -q`"
    if shutil.which("progress") is None:
        leave_out(what, "there is no progress; apt install progress")
        return
    pairs = []
    choosers = [watched(pid) for pid in pids]
    for chooser in choosers:
        chooser.sample()
    for _ in range(5):
        theirs = spawn(["progress", "-q"]).cpu
        time.sleep(1)
        begun = time.thread_time()
        for chooser in choosers:
            chooser.sample()
        pairs.append((time.thread_time() - begun, theirs))
    for chooser in choosers:
        chooser.close()
    ours, theirs = (median(pair[side] for pair in pairs) for side in (0, 1))
    note = f"CPU: {milliseconds(ours)}, {milliseconds(theirs)}"
    tell_fraction(what, median(a / b for a, b in pairs), 1 / 20, note)


# --- reporting


def cost_of_reporting() -> None:
    what = "one store into a Counter / tqdm.update"
    try:
        tqdm = import_module("tqdm").tqdm
    except ImportError:
        leave_out(what, "there is no tqdm; pip install tqdm")
        return
    calls = 300_000
    counter = Counter()

    def nothing() -> None:
        for _ in range(calls):
            pass

    def store() -> None:
        for number in range(calls):
            counter.current = number

    def update() -> None:
        with open(os.devnull, "w") as null, tqdm(total=calls, file=null) as shown:
            tell_it = shown.update
            for _ in range(calls):
                tell_it(1)

    def timed(loop: Callable[[], None]) -> float:
        begun = time.thread_time()
        loop()
        return time.thread_time() - begun

    rounds = [(timed(nothing), timed(store), timed(update)) for _ in range(9)]
    ratio = median((ours - empty) / (theirs - empty) for empty, ours, theirs in rounds)
    each = [median(row[side] - row[0] for row in rounds) / calls * 1e9 for side in (1, 2)]
    tell_ratio(what, ratio, 0.25, f"{each[0]:.0f} ns, {each[1]:.0f} ns; the loop itself is taken off both")


def one_pread() -> float:
    """Microseconds of CPU for a read of /proc/self/io: how fast this machine is at this moment."""
    with open("/proc/self/io", "rb") as file:
        rounds = []
        for _ in range(9):
            begun = time.thread_time()
            for _ in range(1000):
                os.pread(file.fileno(), 4096, 0)
            rounds.append((time.thread_time() - begun) * 1e3)
    return median(rounds)


ROWS = {
    "true": cost_of_true,
    "first": cost_of_first_instruction,
    "sleep": cost_of_sleep,
    "wrapped": cost_to_the_command,
    "one": cost_of_one,
    "many": cost_of_many,
    "counter": cost_of_reporting,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What pollprog costs.")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="these lines alone")
    arguments = parser.parse_args()
    compileall.compile_dir(Path(pollprog.__file__).parent, quiet=2)  # as an installed one is
    load = os.getloadavg()[0]
    print(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} processors, load {load:.1f}, a pread {one_pread():.2f} us"
    )
    print(f"{'':66} {'measured':>9} {'goal':>9}")
    for name in arguments.only:
        ROWS[name]()


if __name__ == "__main__":
    main()
