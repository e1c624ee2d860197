"""Every figure, one after the other: how true, how cheap, how safe. ``make bench`` runs this; some minutes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
BENCHES = {
    "accuracy.py": "the fraction, against an independent count, time, progress and pv",
    "tools.py": "what each tool's plugin says, against time, evidence, progress and pv; and that nothing else is another",
    "eta.py": "the remaining time, against published estimators",
    "dd_signals.py": "dd under SIGUSR1: nothing killed, nothing short",
    "copying.py": "our copy loop, against cp",
    "cost.py": "what watching costs",
    "client.py": "what it costs to be asked and to be called back, against without, and a bare echo",
    "cancel.py": "how long a cancel takes, for each operation",
    "fan.py": "one job's status to a thousand watchers, against asyncio",
}


def main() -> int:
    failed = []
    for name, what in BENCHES.items():
        print(f"\n=== {name}: {what}", flush=True)
        began = time.monotonic()
        status = subprocess.run([sys.executable, HERE / name], check=False).returncode
        print(f"=== {name}: exit status {status}, {time.monotonic() - began:.0f} s", flush=True)
        if status:
            failed.append(name)
    print(
        f"\nfailed, or missed a goal: {', '.join(failed)}"
        if failed
        else "\nnone failed; the tables say which goals were met"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
