"""``btrfs:PATH``: the scrub and the balance of a mounted file system, a bar each (``btrfs:/mnt``).

The command that started them may have ended long ago; ``btrfs scrub status`` and ``btrfs balance status`` are run once a second and
say how far the kernel is. Only root may look. A scrub says nothing of itself in its first seconds.

How a scrub ended is told: well, or with errors that could not be corrected (exit status 3, as ``btrfs scrub start -B`` has it), or it was
cancelled, or cut off (1). Of a balance that is gone nobody can tell whether it was done or cancelled. One that is paused is shown, and
stands still.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pollprog.errors import ProcessError, UsageError
from pollprog.probes.asked import LOST, AskedWork, Said, found_program
from pollprog.probes.resource import Kind
from pollprog.status import Bound, Outcome, Sample, State, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.probes.asked import Answer
    from pollprog.probes.resource import Resource

__all__ = ["RESOURCE", "parse_balance", "parse_scrub"]

STATUS = re.compile(rb"^Status:[ ]+(running|finished|aborted|interrupted)$", re.MULTILINE)
NO_STATUS = re.compile(rb"^\tno stats available$", re.MULTILINE)
BEGUN = re.compile(rb"^Time left:", re.MULTILINE)
"""With no status, a scrub in its first seconds; without this, there is none."""
TOTAL = re.compile(rb"^Total to scrub:[ ]+([0-9]{1,18})$", re.MULTILINE)
SCRUBBED = re.compile(rb"^Bytes scrubbed:[ ]+([0-9]{1,18})(?: .*)?$", re.MULTILINE)
CLEAN = re.compile(rb"^Error summary:[ ]+no errors found$", re.MULTILINE)
WRONG = re.compile(rb"^ +Uncorrectable:[ ]+([0-9]{1,18})$", re.MULTILINE)
NO_BALANCE = re.compile(rb"^No balance found on '.*'$", re.MULTILINE)
BALANCE = re.compile(rb"^Balance on '.*' is (running|paused)(?:, [a-z]+ requested)?$", re.MULTILINE)
CHUNKS = re.compile(
    rb"^([0-9]{1,18}) out of about ([0-9]{1,18}) chunks balanced \([0-9]+ considered\), .*$", re.MULTILINE
)
UNCORRECTED = 3


class Btrfs(Kind):
    """The btrfs file system."""

    name = "btrfs"
    argument = "PATH"
    attached = "by `btrfs scrub status` and `btrfs balance status`, run once a second"
    totals = "of a scrub, the bytes that are in use; of a balance, about so many chunks"
    wrong = "A scrub says nothing of itself for some seconds. How a balance ended is not told: the outcome is lost."

    def open(self, argument: str) -> Sequence[Resource]:
        """The scrub and the balance, whichever is under way."""
        if not argument or "\0" in argument:
            raise UsageError("btrfs: names no file system; write where it is mounted, as in btrfs:/mnt")
        path = os.path.abspath(argument)
        program = found_program("btrfs", "btrfs-progs")
        working: list[AskedWork] = []
        try:
            for name, options, parse in (("scrub", ["--raw"], parse_scrub), ("balance", [], parse_balance)):
                words = [program, name, "status", *options, path]
                working.append(AskedWork(f"{name} of {path}", f"btrfs-{name}", words, parse))
                if not working[-1].under_way():
                    working.pop().close()
        except BaseException as error:
            for one in working:
                one.close()
            if isinstance(error, ProcessError):
                raise ProcessError(f"btrfs:{argument}: {error}") from error
            raise
        if not working:
            raise ProcessError(f"btrfs:{argument}: nothing is under way there")
        return working


def whole_lines(data: bytes) -> bytes:
    """Without a last line that has no end."""
    return data[: data.rfind(b"\n") + 1]


def parse_scrub(answer: Answer) -> Said | None:
    """What ``btrfs scrub status --raw`` says."""
    data = whole_lines(answer.output)
    status = STATUS.search(data)
    if answer.code or (status is None and not NO_STATUS.search(data)):
        return None
    begins = status is None and BEGUN.search(data)
    match status[1] if status else b"running" if begins else b"":
        case b"running":
            done, total = SCRUBBED.search(data), TOTAL.search(data)
            current, whole = int(done[1]) if done else 0, int(total[1]) if total else 0
            known = whole if whole and current <= whole else None
            return Said(Sample(current, known, source="btrfs", bound=Bound.ESTIMATE))
        case b"finished":
            wrong = WRONG.search(data)
            if CLEAN.search(data) or (wrong and not int(wrong[1])):
                return Said(outcome=Outcome(State.SUCCEEDED, 0))
            return Said(outcome=Outcome(State.FAILED, UNCORRECTED) if wrong else LOST)
        case b"aborted":
            return Said(outcome=Outcome(State.CANCELLED, 1))
        case b"interrupted":
            return Said(outcome=Outcome(State.FAILED, 1))
    return Said(outcome=LOST)


def parse_balance(answer: Answer) -> Said | None:
    """What ``btrfs balance status`` says."""
    data = whole_lines(answer.output)
    found, chunks = BALANCE.search(data), CHUNKS.search(data)
    if answer.code not in (0, 1):  # 1: there is one
        return None
    if found is None or chunks is None:
        return Said(outcome=LOST) if NO_BALANCE.search(data) else None
    done, total = int(chunks[1]), int(chunks[2])
    phase = "paused" if found[1] == b"paused" else ""
    known = total if total and done <= total else None
    return Said(Sample(done, known, Unit.ITEMS, phase, "btrfs", Bound.ESTIMATE))


RESOURCE = Btrfs()
