"""How true the fraction is that pollprog tells, for the commands that people wait for, and what its peers say meanwhile.

Each command runs under ``pollprog run --progress-fd``, as a user would run it. Beside it, in the same run:

(a) an independent count of the work done, which shares nothing with our probes: the size of the output by its path, the size
    of what stands in the destination tree, the bytes that strace sees being read. The fraction told is compared with it at
    the moment of the sample (a status says how old its sample is).
(b) the fraction is compared with the share of the elapsed time. That is fair only to work of even pace.
(c) ``progress -p`` and ``pv -d`` are asked about the same process, and compared with the same count.

Every figure is a mean absolute error; 0.02 is two percentage points. The inputs are made in a scratch folder, and removed.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MIB = 1 << 20
INTERVAL = "0.1"
STRACE_READ = re.compile(r"^\d+ +(\d+\.\d+) (?:read|pread64)\(\d+<(/[^>]*)>.*= (\d+)$")


@dataclass
class Case:
    """One command."""

    name: str
    argv: list[str]
    worker: str
    """The name of the process that the peers are asked about."""
    count: Callable[[], float] | Path | None
    """The independent count: polled, or a strace log to be read afterwards; None: there is none but the share of the time."""
    cpu_bound: bool = False
    remove: list[Path] = field(default_factory=list)


@dataclass
class Series:
    """Readings over time."""

    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, when: float, value: float) -> None:
        self.times.append(when)
        self.values.append(value)

    def at(self, when: float) -> float:
        """The value at that time, between two readings in proportion."""
        i = bisect.bisect_right(self.times, when)
        if i == 0:
            return self.values[0]
        if i == len(self.times):
            return self.values[-1]
        t0, t1 = self.times[i - 1], self.times[i]
        v0, v1 = self.values[i - 1], self.values[i]
        return v0 + (v1 - v0) * (when - t0) / (t1 - t0) if t1 > t0 else v1


def tree_size(path: Path) -> float:
    """Bytes of the files below, as they are now."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                pass
    return float(total)


def file_size(path: Path) -> Callable[[], float]:
    def look() -> float:
        try:
            return float(os.stat(path).st_size)
        except OSError:
            return 0.0

    return look


def file_blocks(path: Path) -> Callable[[], float]:
    def look() -> float:
        try:
            return float(os.stat(path).st_blocks * 512)
        except OSError:
            return 0.0

    return look


def strace_count(log: Path, below: str) -> Series:
    """The bytes read from files whose path starts so, by the clock of the machine (strace -f -ttt -y)."""
    series, total = Series(), 0
    for line in log.read_text(errors="replace").splitlines():
        found = STRACE_READ.match(line)
        if found and found[2].startswith(below):
            total += int(found[3])
            series.add(float(found[1]), total)
    return series


def find_worker(root: int, name: str) -> int | None:
    """The pid of the process with this name below `root`."""
    pending = [root]
    while pending:
        pid = pending.pop()
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == name and pid != root:
                return pid
            for task in os.listdir(f"/proc/{pid}/task"):
                pending += [int(word) for word in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
        except OSError:
            continue
    return None


class Peers:
    """Asks ``progress`` and ``pv`` about the worker, until told to stop."""

    def __init__(self, root: int, worker: str) -> None:
        self.progress = Series()
        self.pv = Series()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(root, worker))]
        self._threads[0].start()

    def _run(self, root: int, worker: str) -> None:
        pid = None
        while pid is None and not self._stop.wait(0.05):
            pid = find_worker(root, worker)
        if pid is None:
            return
        watcher = threading.Thread(target=self._watch_pv, args=(pid,))
        watcher.start()
        while shutil.which("progress") and not self._stop.wait(0.4):
            said = subprocess.run(["progress", "-p", str(pid)], capture_output=True, text=True).stdout
            if found := re.search(r"([\d.]+)%", said):
                self.progress.add(time.time(), float(found[1]) / 100)
        watcher.join()

    def _watch_pv(self, pid: int) -> None:
        if not shutil.which("pv"):
            return
        pv = subprocess.Popen(["pv", "-f", "-w", "200", "-i", "0.4", "-d", str(pid)], stderr=subprocess.PIPE)
        assert pv.stderr is not None
        reader = threading.Thread(target=self._read_pv, args=(pv.stderr.fileno(),))
        reader.start()
        self._stop.wait()
        pv.terminate()
        pv.wait()
        reader.join()
        pv.stderr.close()

    def _read_pv(self, fd: int) -> None:
        while data := os.read(fd, 65536):
            said = [int(word) for word in re.findall(rb"(\d+)%", data)]
            if said:
                self.pv.add(time.time(), max(said) / 100)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@dataclass
class Result:
    """What one run showed."""

    statuses: int
    """How many with a fraction."""
    told: int
    """How many in all."""
    seconds: float
    count_error: float | None
    time_error: float | None
    progress_error: float | None
    pv_error: float | None
    sources: list[str]
    """Who said it, without its kind."""
    kinds: list[str]
    """Who said it: a plugin's name, ``evidence``."""
    bounds: list[str]
    fell: bool
    """Over all of its phases."""
    fell_within: bool
    """Within one of them."""
    """The fraction, or within a phase of one source what is done."""
    early: bool
    exit: int


def start_silent(argv: list[str], inherited: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a command whose output nobody wants; `inherited`: descriptors that it gets besides."""
    return subprocess.Popen(argv, pass_fds=inherited, stdout=subprocess.DEVNULL)


def measure(
    case: Case,
    options: tuple[str, ...] = (),
    start: Callable[[list[str], Sequence[int]], subprocess.Popen[bytes]] = start_silent,
    *,
    attach: bool = False,
) -> Result:
    """Run one command, and compare. `options`: more words for ``pollprog run``; or for ``attach``, if that is to watch it."""
    reader, writer = os.pipe()
    counted = Series()
    stop = threading.Event()

    def poll() -> None:
        assert callable(case.count)
        while not stop.wait(0.02):
            counted.add(time.time(), case.count())

    shown = ["--progress", "none", "--progress-fd", str(writer), "--interval", INTERVAL, *options]
    pollprog = [sys.executable, "-m", "pollprog"]
    began = time.time()
    if attach:
        command = start(case.argv, ())
        child = subprocess.Popen([*pollprog, "attach", *shown, str(command.pid)], pass_fds=[writer])
    else:
        child = command = start([*pollprog, "run", *shown, "--", *case.argv], (writer,))
    os.close(writer)
    peers = Peers(child.pid, case.worker)
    poller = threading.Thread(target=poll)
    if callable(case.count):
        poller.start()
    told: list[tuple[float, dict[str, object]]] = []
    with os.fdopen(reader) as printed:
        told.extend((time.time(), json.loads(line)) for line in printed)
    command.wait()
    child.wait()
    stop.set()
    peers.stop()
    if callable(case.count):
        poller.join()
    elif isinstance(case.count, Path):
        counted = strace_count(case.count, str(case.count.parent))
    if not told:  # it had ended before it was attached to
        told = [(time.time(), {"elapsed": 0.0})]
    *running, (ended, last) = told
    seconds = float(str(last["elapsed"]))
    whole = max(counted.values, default=0.0)
    lines = [line for _, line in running]
    running = [(when, line) for when, line in running if line["fraction"] is not None]
    saying = [line for _, line in running] or lines
    fractions = [float(str(line["fraction"])) for _, line in running]

    def error(pairs: list[tuple[float, float]]) -> float | None:
        return sum(abs(a - b) for a, b in pairs) / len(pairs) if pairs else None

    known = whole > 0

    def truth(when: float) -> float:
        return counted.at(when) / whole if known else (when - began) / (ended - began)

    return Result(
        statuses=len(running),
        told=len(lines),
        seconds=seconds,
        count_error=error(
            [(f, truth(when - float(str(line["age"])))) for (when, line), f in zip(running, fractions, strict=True)]
        )
        if known
        else None,
        time_error=error(
            [(f, (when - began) / (ended - began)) for (when, _), f in zip(running, fractions, strict=True)]
        ),
        progress_error=error([(v, truth(t)) for t, v in zip(peers.progress.times, peers.progress.values, strict=True)]),
        pv_error=error([(v, truth(t)) for t, v in zip(peers.pv.times, peers.pv.values, strict=True)]),
        sources=sorted({str(line["source"]).partition(":")[2] or str(line["source"]) for line in saying}),
        kinds=sorted({str(line["source"]).partition(":")[0] for line in saying}),
        bounds=sorted({str(line["bound"]) for line in saying}),
        fell=any(later < earlier for earlier, later in pairwise(fractions)),
        fell_within=any(
            (before["source"], before["phase"]) == (line["source"], line["phase"])
            and float(str(before["current"] or 0)) > float(str(line["current"] or 0))
            for before, line in pairwise(lines)
        ),
        early=any(f >= 1 for f in fractions),
        exit=command.returncode,
    )


# --- the commands, and what they work on


def text_file(path: Path, size: int) -> None:
    """Even, compressible text."""
    words = [f"{(i * 2654435761) % 4294967296:x}" for i in range(1 << 16)]
    block = "\n".join(" ".join(words[i : i + 8]) for i in range(0, len(words), 8)).encode()
    with path.open("wb") as file:
        i = 0
        while file.tell() < size:
            file.write(block[(i * 7919) % 1000 :] + os.urandom(len(block) // 16).hex().encode())
            i += 1
        file.truncate(size)


def random_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // (16 * MIB)):
            file.write(os.urandom(16 * MIB))


def inputs(scratch: Path, scale: float) -> None:
    random_file(scratch / "big", int(4096 * MIB * scale))
    random_file(scratch / "mid", int(1024 * MIB * scale))
    text_file(scratch / "text", int(512 * MIB * scale))
    with (scratch / "long").open("wb") as long:  # for what reads some 30 MiB ahead, whatever the size
        for _ in range(5):
            long.write((scratch / "text").read_bytes())
    tree = scratch / "tree"
    for i in range(24):
        (tree / f"d{i}").mkdir(parents=True)
        for k in range(12):
            text_file(tree / f"d{i}" / f"f{k}", int((2 + 3 * ((i * k) % 7)) * MIB * scale))
    subprocess.run(["tar", "cf", scratch / "tree.tar", "-C", scratch, "tree"], check=True)


def cases(s: Path, shm: Path) -> Iterator[Case]:
    """Every command of the table."""
    out = s / "out"
    yield Case("cp (ext4)", ["cp", f"{s}/big", f"{out}"], "cp", file_size(out), remove=[out])
    yield Case("cat > (ext4)", ["sh", "-c", f"exec cat {s}/big > {out}"], "cat", file_size(out), remove=[out])
    yield Case("cp (to tmpfs)", ["cp", f"{s}/big", f"{shm}/out"], "cp", file_size(shm / "out"), remove=[shm / "out"])
    into = s / "into"
    into.mkdir()
    yield Case(
        "cp -r",
        ["cp", "-r", f"{s}/tree", f"{s}/big", f"{s}/mid", f"{into}"],
        "cp",
        lambda: tree_size(into),
        remove=[into],
    )
    yield Case(
        "dd bs=1M",
        ["dd", f"if={s}/big", f"of={out}", "bs=1M", "oflag=dsync", "count=2k"],
        "dd",
        file_size(out),
        remove=[out],
    )
    yield Case(
        "sh -c dd count=",
        ["sh", "-c", f"dd if=/dev/zero of={out} bs=128KiB count=48k conv=fsync; true"],
        "dd",
        file_size(out),
        remove=[out],
    )
    tar = s / "out.tar"
    yield Case("tar c", ["tar", "cf", f"{tar}", f"{s}/tree", f"{s}/mid"], "tar", file_size(tar), remove=[tar])
    tgz = s / "out.tgz"
    yield Case(
        "tar cz",
        ["tar", "czf", f"{tgz}", f"{s}/tree/d0", f"{s}/tree/d1", f"{s}/tree/d2"],
        "tar",
        file_size(tgz),
        cpu_bound=True,
        remove=[tgz],
    )
    (s / "x").mkdir()
    yield Case(
        "tar x", ["tar", "xf", f"{s}/tree.tar", "-C", f"{s}/x"], "tar", lambda: tree_size(s / "x"), remove=[s / "x"]
    )
    packed = s / "text.packed"
    yield Case(
        "gzip", ["sh", "-c", f"gzip -c {s}/text > {packed}"], "gzip", file_size(packed), cpu_bound=True, remove=[packed]
    )
    yield Case(
        "xz", ["sh", "-c", f"xz -1 -c {s}/text > {packed}"], "xz", file_size(packed), cpu_bound=True, remove=[packed]
    )
    zst = s / "text.zst"
    yield Case(
        "zstd",
        ["zstd", "-q", "-5", "-f", f"{s}/long", "-o", f"{zst}"],
        "zstd",
        file_size(zst),
        cpu_bound=True,
        remove=[zst],
    )
    log = s / "strace"
    traced = ["strace", "-f", "-y", "-ttt", "-e", "trace=read", "-o", f"{log}"]
    yield Case(
        "sha256sum",
        [*traced, "sha256sum", f"{s}/mid", f"{s}/text", f"{s}/tree.tar"],
        "sha256sum",
        log,
        cpu_bound=True,
        remove=[log],
    )
    image = s / "out.qcow2"
    yield Case(
        "qemu-img convert",
        ["qemu-img", "convert", "-O", "qcow2", f"{s}/big", f"{image}"],
        "qemu-img",
        file_blocks(image),
        remove=[image],
    )


@contextmanager
def scratch_folder(where: str | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pollprog-bench-", dir=where))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # an agent of gpg's may take its socket away meanwhile


def figure(value: float | None, goal: float | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + ("!" if goal is not None and value > goal else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", help="where to make the inputs (default: the folder for temporary files)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the inputs; 1 is about 7 GiB in all")
    parser.add_argument("--only", default="", help="only the commands with this in their name")
    arguments = parser.parse_args()
    failed = 0
    print(
        "mean absolute error of the fraction; ! is above the goal (0.02 against the count, 0.05 against time if CPU-bound)"
    )
    print(f"{'command':18} {'s':>6} {'told':>5} {'count':>7} {'time':>7} {'progress':>9} {'pv -d':>7}  says")
    with scratch_folder(arguments.scratch) as scratch, scratch_folder("/dev/shm") as shm:
        inputs(scratch, arguments.scale)
        for case in cases(scratch, shm):
            if arguments.only not in case.name:
                continue
            if not shutil.which(case.worker):
                print(f"{case.name:18} is not installed")
                failed += 1
                continue
            result = measure(case)
            wrong = [
                text
                for text, is_so in {
                    "fell": result.fell or result.fell_within,
                    "1.0 too early": result.early,
                    f"exit {result.exit}": result.exit != 0,
                    "fewer than five": result.statuses < 5,
                }.items()
                if is_so
            ]
            goal = 0.05 if case.cpu_bound else None
            failed += bool(wrong) or (result.count_error is None or result.count_error > 0.02)
            failed += bool(goal and (result.time_error is None or result.time_error > goal))
            print(
                f"{case.name:18} {result.seconds:6.1f} {result.statuses:5d} {figure(result.count_error, 0.02):>7} "
                f"{figure(result.time_error, goal):>7} {figure(result.progress_error):>9} {figure(result.pv_error):>7}  "
                f"{'+'.join(result.sources)} ({'+'.join(result.bounds)}) {'; '.join(wrong)}",
                flush=True,
            )
            for path in case.remove:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    print("every goal met" if not failed else f"{failed} goals missed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
