"""``btrfs:PATH``: the scrub and the balance of a mounted file system, a bar each (``btrfs:/mnt``).

The command that started them may have ended long ago; ``btrfs scrub status`` and ``btrfs balance status`` are run once a second and
say how far the kernel is. Only root may look. A scrub says nothing of itself in its first seconds.

How a scrub ended is told: well, or with errors that could not be corrected (exit status 3, as ``btrfs scrub start -B`` has it), or it was
cancelled, or cut off (1). Of a balance that is gone nobody can tell whether it was done or cancelled. One that is paused is shown, and
stands still.
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from pollprog.errors import ProcessError, UsageError
from pollprog.probes.asked import Asked, found_program
from pollprog.probes.resource import Kind
from pollprog.status import Bound, Outcome, Sample, State, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pollprog.probes.asked import Answer
    from pollprog.probes.resource import Resource

    Parse = Callable[[bytes], "Said"]

__all__ = ["RESOURCE", "Work", "parse_balance", "parse_scrub"]

log = logging.getLogger("pollprog")

STATUS = re.compile(rb"^Status:[ ]+(running|finished|aborted|interrupted)$", re.MULTILINE)
BEGINS = re.compile(rb"^\tno stats available$(?s:.*)^Time left:", re.MULTILINE)
"""A scrub in its first seconds; without the time, there has never been one."""
TOTAL = re.compile(rb"^Total to scrub:[ ]+([0-9]{1,18})$", re.MULTILINE)
SCRUBBED = re.compile(rb"^Bytes scrubbed:[ ]+([0-9]{1,18})(?: .*)?$", re.MULTILINE)
CLEAN = re.compile(rb"^Error summary:[ ]+no errors found$", re.MULTILINE)
WRONG = re.compile(rb"^ +Uncorrectable:[ ]+([0-9]{1,18})$", re.MULTILINE)
BALANCE = re.compile(rb"^Balance on '.*' is (running|paused)(?:, [a-z]+ requested)?$", re.MULTILINE)
CHUNKS = re.compile(
    rb"^([0-9]{1,18}) out of about ([0-9]{1,18}) chunks balanced \([0-9]+ considered\), .*$", re.MULTILINE
)
UNCORRECTED = 3
LOST = Outcome(State.LOST)


class Said(NamedTuple):
    """What an answer says: how far the work is, or how it ended. Neither: there is none."""

    sample: Sample | None = None
    outcome: Outcome | None = None


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
        working: list[Work] = []
        for name, options, parse in (("scrub", ["--raw"], parse_scrub), ("balance", [], parse_balance)):
            work = Work(name, path, Asked([program, name, "status", *options, path]), parse)
            working.append(work)
            try:
                if not work.under_way():
                    working.pop().close()
            except BaseException:
                for one in working:
                    one.close()
                raise
        if not working:
            raise ProcessError(f"btrfs:{argument}: nothing is under way there")
        return working


class Work:
    """A scrub or a balance."""

    def __init__(self, name: str, path: str, asked: Asked, parse: Parse) -> None:
        self.name = f"{name} of {path}"
        self.job = f"btrfs-{name}"
        self.outcome: Outcome | None = None
        self._path = path
        self._asked = asked
        self._parse = parse

    def under_way(self) -> bool:
        """Whether there is anything to watch. ProcessError if that cannot be told."""
        answer = self._asked.first()
        said = self._parse(answer.output)
        if said.sample is None and said.outcome is None and not is_none(answer):
            raise ProcessError(f"btrfs:{self._path}: {answer.complaint()}")
        return said.sample is not None

    def sample(self) -> Sample | None:
        """How far it is, if there is a new answer."""
        answer = self._asked.look()
        if answer is None:
            return None
        said = self._parse(answer.output)
        if said.sample is None:
            self.outcome = said.outcome or LOST
            if said.outcome is None and not is_none(answer):
                log.warning("%s: %s", self.name, answer.complaint())
        return said.sample

    def close(self) -> None:
        """Ask no more."""
        self._asked.close()


def is_none(answer: Answer) -> bool:
    """Whether it says that there is no such work, and not that something is wrong."""
    return answer.code == 0


def whole_lines(data: bytes) -> bytes:
    """Without a last line that has no end."""
    return data[: data.rfind(b"\n") + 1]


def parse_scrub(data: bytes) -> Said:
    """What ``btrfs scrub status --raw`` says."""
    data = whole_lines(data)
    status = STATUS.search(data)
    state = b"running" if status is None and BEGINS.search(data) else status[1] if status else b""
    if state == b"running":
        done, total = SCRUBBED.search(data), TOTAL.search(data)
        current, whole = int(done[1]) if done else 0, int(total[1]) if total else 0
        return Said(
            Sample(current, whole if whole and current <= whole else None, source="btrfs", bound=Bound.ESTIMATE)
        )
    if state == b"finished":
        wrong = WRONG.search(data)
        if CLEAN.search(data) or (wrong and not int(wrong[1])):
            return Said(outcome=Outcome(State.SUCCEEDED, 0))
        return Said(outcome=Outcome(State.FAILED, UNCORRECTED) if wrong else LOST)
    if state:
        return Said(outcome=Outcome(State.CANCELLED if state == b"aborted" else State.FAILED, 1))
    return Said()


def parse_balance(data: bytes) -> Said:
    """What ``btrfs balance status`` says."""
    data = whole_lines(data)
    found, chunks = BALANCE.search(data), CHUNKS.search(data)
    if found is None or chunks is None:
        return Said()
    done, total = int(chunks[1]), int(chunks[2])
    phase = "paused" if found[1] == b"paused" else ""
    whole = total if total and done <= total else None
    return Said(Sample(done, whole, Unit.ITEMS, phase, "btrfs", Bound.ESTIMATE))


RESOURCE = Btrfs()
