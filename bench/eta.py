"""Scores our estimator of the time remaining against the published ones, on twenty seeds drawn now.

Scenarios, ports of the published estimators and scoring are those of the evaluator, which is not part of this repository;
the recorded runs are its own and ours (`bench/traces/`, made by `bench/record_eta.py`). Lower scores are better. The last
lines are what counts: our score as a ratio to the best published one, and how well true stalls are told.

    python bench/eta.py [--evaluator PATH] [--seeds 1,2,3]      (or $POLLPROG_EVALUATOR)
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
OURS = "pollprog.estimator:Estimator"
REFERENCE = "PROPOSAL"  # the evaluator's own estimator: shown, but not published anywhere
COLUMNS = [
    "SCORE", "perr", "shown%", "jit<=10", "ttf%", "0s%", "frozen%", "stall%", "rec", "fstall%", "SCOREsyn", "SCOREreal", "SCOREnew", "iv%",
]  # fmt: skip
AT_MOST = 0.82


def evaluate(evaluator: Path, seeds: list[int]) -> dict[str, dict[str, str]]:
    """Run the evaluator over the seeds and all recorded runs; return its table, by estimator and column."""
    with tempfile.TemporaryDirectory() as traces:
        for folder in (evaluator.parent / "traces", REPO / "bench" / "traces"):
            for trace in folder.glob("*.csv"):
                shutil.copy(trace, traces)
        words = [evaluator, "--md", "--plugin", OURS, "--traces", traces, "--seeds", ",".join(map(str, seeds))]
        told = subprocess.run(
            [sys.executable, *map(str, words)], cwd=REPO, check=True, capture_output=True, text=True
        ).stdout
    print(told.partition("\n")[0])
    head, _, *rows = [line.strip("|").split("|") for line in told.splitlines() if line.startswith("|")]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def main() -> int:
    parser = argparse.ArgumentParser(description="Scores our estimator against the published ones.")
    usual = os.environ.get("POLLPROG_EVALUATOR") or REPO.parent / "shared" / "eta" / "evaluate.py"
    parser.add_argument("--evaluator", type=Path, default=Path(usual))
    parser.add_argument("--seeds", help="comma-separated, instead of twenty drawn now")
    arguments = parser.parse_args()
    if not arguments.evaluator.is_file():
        print(f"eta: nothing measured: there is no evaluator at {arguments.evaluator}", file=sys.stderr)
        return 2
    drawn = random.SystemRandom().sample(range(1_000_000), 20)
    seeds = [int(seed) for seed in arguments.seeds.split(",")] if arguments.seeds else drawn
    print("seeds:", ",".join(map(str, seeds)))

    table = evaluate(arguments.evaluator.resolve(), seeds)
    print("estimator".ljust(30), *(column.rjust(9) for column in COLUMNS))
    for name, row in table.items():
        print(name.ljust(30), *(row[column].rjust(9) for column in COLUMNS))

    ours, reference = table[OURS], table[REFERENCE]
    published = {name: float(row["SCORE"]) for name, row in table.items() if name not in (OURS, REFERENCE)}
    best = min(published, key=published.__getitem__)
    ratio = float(ours["SCORE"]) / published[best]
    for column, meaning in (("stall%", "true stalls told"), ("fstall%", "stalls told where none was")):
        print(f"{meaning}: {ours[column]} % (reference {reference[column]} %)")
    print(f"ratio to the best published ({best}): {ratio:.3f} (at most {AT_MOST})")
    told_as_well = float(ours["stall%"]) >= float(reference["stall%"])
    no_more_false = float(ours["fstall%"]) <= float(reference["fstall%"])
    return 0 if ratio <= AT_MOST and told_as_well and no_more_false else 1


if __name__ == "__main__":
    sys.exit(main())
