"""The main job on real input: a plain ``cp`` of a large file, which says nothing of itself, under a live bar.

``make demo`` runs this. It makes a file of several GiB, or less where the disk has less, copies it, and removes both.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

GIB = 1 << 30
MOST = 4 * GIB


def stop(number: int, _frame: object) -> None:
    """Leave by the way that removes what was made."""
    sys.exit(128 + number)


def main() -> int:
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    folder = Path(tempfile.mkdtemp(prefix="pollprog-demo-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    try:
        size = min(MOST, shutil.disk_usage(folder).free // 4)
        if size < 64 << 20:
            print(
                f"pollprog: {folder.parent} has too little room for a demonstration; name another folder with TMPDIR="
            )
            return 1
        source, copy = folder / "disk.img", folder / "copy.img"
        pollprog = [sys.executable, "-m", "pollprog"]
        steps = [
            (
                "a disk image, made by dd",
                ["dd", "if=/dev/urandom", f"of={source}", "bs=1M", f"count={size >> 20}", "status=none"],
            ),
            ("its copy, made by cp, which says nothing of itself", ["cp", str(source), str(copy)]),
            ("the checksum of the copy", ["sha256sum", str(copy)]),
        ]
        for what, command in steps:
            print(f"\n# {what}\n$ pollprog run -- {' '.join(command)}", flush=True)
            status = subprocess.run([*pollprog, "run", "--", *command], check=False).returncode
            if status:
                return status
        print("\nThe same for any command of yours:  .venv/bin/pollprog run -- COMMAND ...")
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
