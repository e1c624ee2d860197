"""Records how real commands progress, as traces for `bench/eta.py`.

Each recording runs one command on data taken from /usr, looks at it in /proc a few times a second, as a probe would, and
writes what it saw: seconds, current, total; the true end; and when the command was stopped on purpose. Everything made on
the way lies in one temporary folder (about 1.2 GB at the most) and is removed.

    python bench/record_eta.py [--only NAME] [FOLDER]       (default: bench/traces; takes some four minutes)
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
PART_SIZES = [90, 10, 60, 5, 120, 30, 2, 45, 80, 15, 100, 43]  # MiB: 600 together, small and large files mixed


def input_position(pid: int) -> int:
    """Return how far the command has read its standard input."""
    return int(Path(f"/proc/{pid}/fdinfo/0").read_text().split()[1])


def io_counter(name: str) -> Callable[[int], int]:
    """Return a look at one of the kernel's counters of bytes read or written."""

    def look(pid: int) -> int:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))

    return look


@dataclass(frozen=True, slots=True)
class Recording:
    """One command to be run, and how it is looked at."""

    name: str
    command: list[str]
    look: Callable[[int], int]
    total: int
    stdin: Path | None = None
    hertz: float = 3.0
    stopped: tuple[float, float] | None = None
    """Seconds from the start at which the command gets SIGSTOP, and SIGCONT."""
    taken: Callable[[float], float] | None = None
    """How many bytes a second the reader of its output takes, by seconds from the start."""


def make_parts(folder: Path) -> list[Path]:
    """Write files of real data: what tar makes of /usr, over again where that is not enough."""
    sizes, parts = [size * MIB for size in PART_SIZES], []
    stream = "while tar cf - /usr/share /usr/lib /usr/bin 2>/dev/null; [ $? -lt 3 ]; do :; done"
    with subprocess.Popen(["sh", "-c", stream], stdout=subprocess.PIPE, start_new_session=True) as source:
        assert source.stdout is not None
        for number, size in enumerate(sizes):
            parts.append(folder / f"part{number:02}")
            parts[-1].write_bytes(source.stdout.read(size))
        os.killpg(source.pid, signal.SIGKILL)
    return parts


def recordings(folder: Path) -> list[Recording]:
    """Return what is recorded, with its inputs made."""
    parts = make_parts(folder)
    size = {part: part.stat().st_size for part in parts}
    names, everything = [str(part) for part in parts], sum(size.values())
    joined = folder / "joined"
    with joined.open("wb") as target:
        for part in parts[:9]:
            target.write(part.read_bytes())
    length = joined.stat().st_size
    return [
        Recording("gzip_input", ["gzip", "-6", "-c"], input_position, length, stdin=joined),
        Recording("xz_stopped_12s", ["xz", "-0", "-T1", "-c"], input_position, length, stdin=joined, stopped=(9.0, 21.0)),
        Recording("zstd_1hz", ["zstd", "-12", "-q", "--single-thread", "-c"], input_position, length, joined, hertz=1.0),
        Recording("bzip2_files", ["bzip2", "-c", *names[:4]], io_counter("rchar"), sum(size[part] for part in parts[:4])),
        Recording("sha512sum_files", ["sha512sum", *names * 12], io_counter("rchar"), 12 * everything),
        Recording(
            "tar_slower_reader", ["tar", "cf", "-", *names], io_counter("wchar"), everything,
            taken=lambda now: (40 if now < 8 else 15) * MIB,
        ),
        Recording(
            "dd_dsync", ["dd", f"if={joined}", f"of={folder / 'copy'}", "bs=8k", "oflag=dsync"], io_counter("wchar"), length
        ),
    ]  # fmt: skip


def take(output: int, pace: Callable[[float], float] | None) -> None:
    """Read a command's output away, as fast as it comes or at a pace."""
    started, taken, allowed, last = time.monotonic(), 0, 0.0, 0.0
    while chunk := os.read(output, 1 << 16):
        taken += len(chunk)
        while pace is not None and taken > allowed:
            now = time.monotonic() - started
            allowed, last = allowed + pace(now) * (now - last), now
            time.sleep(0.01)


def record(recording: Recording, folder: Path) -> float:
    """Run one command, write its trace, and return the seconds that it took."""
    rows, told = [], list(recording.stopped or ())
    with (recording.stdin or Path(os.devnull)).open("rb") as stdin:
        started = time.monotonic()
        child = subprocess.Popen(
            recording.command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
        )
    assert child.stdout is not None
    reader = threading.Thread(target=take, args=(child.stdout.fileno(), recording.taken))
    reader.start()
    ended, looks = os.pidfd_open(child.pid), 0
    try:
        while True:
            due = looks / recording.hertz
            if told:
                due = min(due, told[0])
            if select.select([ended], [], [], max(0.0, started + due - time.monotonic()))[0]:
                end = time.monotonic() - started
                break
            now = time.monotonic() - started
            if told and now >= told[0]:
                child.send_signal(signal.SIGSTOP if len(told) == 2 else signal.SIGCONT)
                del told[0]
            if now >= looks / recording.hertz:
                looks += 1
                try:
                    rows.append(f"{now:.3f},{recording.look(child.pid)},{recording.total}\n")
                except OSError:  # ended since
                    continue
    finally:
        child.kill()  # only if this was interrupted: otherwise it has ended
    status = child.wait()
    reader.join()
    child.stdout.close()
    os.close(ended)
    if status:
        raise SystemExit(f"{recording.name}: exit status {status}")
    command = " ".join(os.path.basename(word) for word in recording.command)
    head = [f"# cmd: {command[:150]}\n", f"# end: {end:.3f} rc={status}\n"]
    if recording.stopped:
        head.append("# stall: {:.3f} {:.3f}\n".format(*recording.stopped))
    (folder / f"new_{recording.name}.csv").write_text("".join([*head, "t,current,total\n", *rows]))
    return end


def main() -> None:
    parser = argparse.ArgumentParser(description="Records how real commands progress.")
    parser.add_argument("--only", help="this recording alone")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "traces")
    arguments = parser.parse_args()
    arguments.folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="record-eta-") as scratch:
        for recording in recordings(Path(scratch)):
            if arguments.only in (None, recording.name):
                seconds = record(recording, arguments.folder)
                print(f"{recording.name:20} {seconds:6.1f} s{'' if 15 <= seconds <= 60 else '   (not 15 to 60 s)'}")


if __name__ == "__main__":
    main()
