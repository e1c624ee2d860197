"""How true the fraction is that each tool's plugin tells, and whether the command did what it does without us.

Each command runs three times: alone, under ``pollprog run``, and under ``pollprog run --probe evidence``. What is compared is the
fraction with the share of the elapsed time, which is fair to work of even pace: the mean absolute error. ``progress -p`` and ``pv -d`` are asked
about the second run. What the command printed, how it ended and what it made has to be, byte for byte, what it was alone; a speed or a date
in it is left out by a pattern.

A tool more is a line more in `cases`. The goals: 0.10 for a steady tool, 0.15 for one of several phases, whose weights fit no run exactly; none
where the disk sets the pace. Inputs are made in a scratch folder, and removed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import accuracy
from accuracy import MIB, figure, measure, random_file, scratch_folder, text_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOALS = {"steady": 0.10, "phases": 0.15, "disk": None}
ENVIRONMENT = os.environ | {"LC_ALL": "C", "PATH": f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"}


@dataclass(frozen=True)
class Tool:
    """One command of one tool, run in the scratch folder."""

    source: str
    """The name of the plugin: what its statuses say of their source."""
    words: str
    pace: str
    """A key of `GOALS`."""
    made: str = ""
    """What it makes and is compared, if that is the same each time."""
    before: str = ""
    """A script that is run before each run, for what it works on."""
    blurred: str = r"(?!)"
    """What it prints that is another each time."""
    terminal: bool = False
    """Whether it says nothing but in a terminal. What it draws there is not compared."""


def cases() -> Iterator[Tool]:
    """Every tool; those that need a network, or packages to install, are not among them."""
    yield Tool("dd", "dd if=random of=out bs=1M oflag=dsync", "disk", "out", blurred=r"copied.*")
    yield Tool("xz", "xz -1 -T1 -k text", "steady", "text.xz", "rm -f text.xz")
    yield Tool("gpg", "gpg --homedir . --batch --pinentry-mode loopback --passphrase x -o out -z 6 -c text", "steady", before="rm -f out",
        blurred=r"(?m)^gpg: .*\n")  # fmt: skip
    yield Tool(
        "7z", "7z a -mx3 -mmt1 out.7z text", "steady", "out.7z", "rm -f out.7z", r"\d+%.*|[\b ]+|Free.*|Threads.*"
    )
    yield Tool("qemu-img", "qemu-img convert -c -O qcow2 text out", "steady", "out")
    yield Tool("rsync", "rsync -a --bwlimit=100000 random out", "steady", "out", "rm -f out")
    yield Tool("ddrescue", "ddrescue -q --mapfile-interval=1 random out map", "disk", "out", "rm -f out map")
    yield Tool(
        "genisoimage",
        "genisoimage -R -o out tree",
        "disk",
        before="rm -f out",
        blurred=r"estimate finish.*|Max brk.*|.*% done",
    )
    yield Tool(
        "xorriso",
        "xorriso -as mkisofs -o out tree",
        "disk",
        before="rm -f out",
        blurred=r"xorriso : UPDATE.*\n|[\d.]+g free",
    )
    yield Tool(
        "mksquashfs",
        "mksquashfs text out -processors 1 -comp gzip -noappend -all-time 0 -mkfs-time 0",
        "steady",
        "out",
        terminal=True,
    )
    yield Tool("badblocks", "badblocks -s image", "steady", before=IMAGE, blurred=PERCENT)
    yield Tool("badblocks", "badblocks -w image", "disk", "image", "truncate -s 128M image", PERCENT)
    yield Tool(
        "zerofree",
        "zerofree -v image",
        "steady",
        before=f"test -e used || {{ cat random random > used; {MAKE} -b 1024 -E nodiscard used; }}; cp used image",
    )
    yield Tool("mke2fs", f"{MAKE[:-3]} -b 1024 -E lazy_itable_init=0,nodiscard -O ^has_journal,^resize_inode -i 1048576 image", "phases",
        before="rm -f image; truncate -s 400G image", blurred=r"[ \d]+/\d+|\x08+|UUID.*")  # fmt: skip
    yield Tool("e2fsck", "e2fsck -fy image", "phases", before=f"rm -f image; truncate -s 4T image; {MAKE} -i 1048576 "
        "-E lazy_itable_init=1,nodiscard -O ^has_journal,^resize_inode,^64bit image")  # fmt: skip
    yield Tool("resize2fs", "resize2fs -p -M image", "phases", before=f"rm -f image; truncate -s 3G image; {MAKE} -b 1024 -d tree image; "
        "debugfs -w -R 'rm 0' image; e2fsck -fy image; true", blurred=r"(?!)")  # fmt: skip
    yield Tool(
        "partclone",
        "partclone.dd -f 1 -L log -s image -o out",
        "disk",
        "out",
        f"rm -f out; {IMAGE}",
        r"(?s)\r.*Total Time.*?\n",
    )
    yield Tool("ntfsclone", "ntfsclone -s -O out image", "phases", "out",
        "test -e ntfs || { truncate -s 4T ntfs; mkntfs -Q -F -s 512 -p 0 -H 0 -S 0 ntfs; }; rm -f image; ln ntfs image")  # fmt: skip
    yield Tool("git", "git clone --progress --no-local repository out", "phases", before="rm -rf out; test -e repository || "
        "{ git init -q repository && cp text random repository && cd repository && git add . && "
        "git -c user.name=a -c user.email=a@a commit -qm a; }", blurred=r".*\r|Receiving.*|Resolving.*|remote.*")  # fmt: skip
    yield Tool("ninja", "ninja -j1 -f build.ninja", "steady", before="rm -f x*; { echo rule r; echo ' command = sleep 0.05; touch $out'; "
        "for i in $(seq 60); do echo build x$i: r; done; } > build.ninja")  # fmt: skip


IMAGE = "rm -f image; cat random random > image"
MAKE = "mke2fs -F -t ext4 -U 6e1a2b62-1a39-4c5b-8a43-000000000001 -q"
PERCENT = r"[ \d.]+% done.*?errors\)|\x08+"


class Ran:
    """What one run of a command printed; it may be a command under pollprog."""

    def __init__(self, folder: Path, *, terminal: bool) -> None:
        self._folder = folder
        self._terminal = terminal
        self._printed = {1: bytearray(), 2: bytearray()}
        self._threads: list[threading.Thread] = []

    def start(self, argv: list[str], writer: int | None = None) -> subprocess.Popen[bytes]:
        """Start it, its streams into pipes, or both into a terminal."""
        ends = dict([os.openpty()] if self._terminal else [os.pipe(), os.pipe()])
        out, err = (*ends.values(), *ends.values())[:2]
        child = subprocess.Popen(
            ["setsid", "-c", *argv] if self._terminal else argv,  # a terminal of its own: some draw only in the foreground
            stdin=out if self._terminal else subprocess.DEVNULL, stdout=out, stderr=err, cwd=self._folder, env=ENVIRONMENT,
            pass_fds=[] if writer is None else [writer],
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
    """What stands in a file, in short."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare(tool: Tool, folder: Path) -> None:
    subprocess.run(["sh", "-c", tool.before or ":"], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)


def compare(tool: Tool, folder: Path) -> bool:
    """Run one tool three times, print a line; whether every goal was met."""
    words = tool.words.split()
    case = accuracy.Case(tool.source, words, words[0][:15], None)
    runs: list[tuple[list[str], str, int]] = []
    results = []
    for options in (None, (), ("--probe", "evidence")):
        prepare(tool, folder)
        ran = Ran(folder, terminal=tool.terminal)
        if options is None:
            status = ran.start(words).wait()
        else:
            results.append(measure(case, options, ran.start))
            status = results[-1].exit
        runs.append((ran.printed(tool.blurred), digest(folder / tool.made) if tool.made else "", status))
    said, evidence = results
    goal = GOALS[tool.pace]
    wrong = {
        "fell": said.fell,
        "1.0 too early": said.early,
        "output differs": any(run[0] != runs[0][0] for run in runs),
        "result differs": any(run[1:] != runs[0][1:] for run in runs),
        f"exit {runs[0][2]}": runs[0][2] != 0,
        "its plugin said nothing": not any(source.partition(":")[0] == tool.source for source in said.sources),
    }
    found = [what for what, so in wrong.items() if so]
    missed = goal is not None and (said.time_error is None or said.time_error > goal)
    few = "" if said.statuses >= 5 else "few statuses"
    print(
        f"{' '.join(words[:3])[:24]:24} {tool.pace:7} {said.seconds:6.1f} {said.statuses:5d} {figure(said.time_error, goal):>7} "
        f"{figure(evidence.time_error):>9} {figure(said.progress_error):>9} {figure(said.pv_error):>7}  "
        f"{'+'.join(said.sources)} {'; '.join(filter(None, [*found, few]))}",
        flush=True,
    )
    return not found and not missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", help="where to make the inputs (default: the folder for temporary files)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the inputs; 1 is about 3 GiB in all")
    parser.add_argument("--only", default="", help="only the tools with this in their name")
    arguments = parser.parse_args()
    failed, missing = 0, []
    print(
        "mean absolute error of the fraction against the elapsed time; ! is above the goal (0.10 steady, 0.15 phases)"
    )
    print(
        f"{'command':24} {'pace':7} {'s':>6} {'told':>5} {'error':>7} {'evidence':>9} {'progress':>9} {'pv -d':>7}  says"
    )
    with scratch_folder(arguments.scratch) as folder:
        random_file(folder / "random", int(512 * MIB * arguments.scale))
        text_file(folder / "text", int(96 * MIB * arguments.scale))
        (folder / "tree").mkdir()
        for number in range(4):
            shutil.copyfile(folder / "random", folder / "tree" / str(number))
        for tool in cases():
            if arguments.only not in tool.source:
                continue
            if not shutil.which(tool.words.split()[0], path=ENVIRONMENT["PATH"]):
                missing.append(tool.words.split()[0])
                continue
            try:
                failed += not compare(tool, folder)
            except subprocess.CalledProcessError as error:
                failed += 1
                print(f"{tool.source:24} cannot be prepared: {error.stderr.decode(errors='replace').strip()[-200:]}")
    if missing:
        print(f"not installed: {', '.join(missing)}")
    print("every goal met" if not failed and not missing else f"{failed} failed or missed a goal")
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
