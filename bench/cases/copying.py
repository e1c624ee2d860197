"""What copies files."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch


def cases(scratch: Scratch) -> Iterator[Tool]:
    """From one file, or one folder, to another. Of single files from disk to disk there is a bench of its own, against a count of the work."""
    scratch.random("random", 512)
    yield Tool("dd", "dd if=random of=out bs=16k oflag=dsync", "disk", "out", blurred=r"copied.*")
    yield Tool("rsync", "rsync -a --bwlimit=60000 random out", "steady", "out", "rm -f out")
    with paced(scratch) as file:
        yield Tool("evidence", f"cp {file} out", "steady", "out", "rm -f out")
        yield Tool("evidence", f"install -m 600 {file} out", "steady", "out", "rm -f out")
        yield Tool("evidence", f"cat {file} > out", "steady", "out", "rm -f out", program="cat", script=True)
        yield Tool("ddrescue", f"ddrescue -q --mapfile-interval=1 {file} out map", "steady", "out", "rm -f out map")
        yield Tool("dd", f"dd if={file} of=out bs=64k", "steady", "out", "rm -f out", r"copied.*")
    scratch.sh("mkdir files many; split -a 4 -b 32k random files/")
    scratch.sh("for i in 1 2 3 4 5 6 7; do mkdir many/$i; split -a 4 -b 128k random many/$i/; done")
    elsewhere = Path("/dev/shm") / scratch.path.name
    try:
        yield Tool("evidence", f"cp -r many {elsewhere}", "steady", f"{elsewhere}", f"rm -rf {elsewhere}; sync")
        yield Tool("rsync", "rsync -a --bwlimit=60000 files/ out", "steady", "out", "rm -rf out; sync")
        scratch.sh("rm -rf many; mkdir many; for i in 1 2 3 4 5; do split -b 4M random many/$i; done")
        yield Tool(
            "evidence",
            f"mv moved {elsewhere}",
            "disk",
            before=f"rm -rf {elsewhere} moved; cp -r many moved; sync",
        )
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


@contextmanager
def paced(scratch: Scratch) -> Iterator[str]:
    """A file, the one called ``random``, that is read at an even pace, whatever the disk does."""
    words = ["nbdkit", "-s", "--filter=rate", "file", "random", "rate=600M"]
    (scratch.path / "paced").touch()
    server = subprocess.Popen(["nbdfuse", "paced", "--command", *words], cwd=scratch.path)
    try:
        while not (scratch.path / "paced").stat().st_size:
            time.sleep(0.1)
        yield "paced"
    finally:
        subprocess.run(["fusermount3", "-u", "paced"], cwd=scratch.path, check=True)
        server.wait()
