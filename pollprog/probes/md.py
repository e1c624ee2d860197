"""``md:DEVICE``: the resync, recovery, check, repair or reshape of an array (``md:md0``, ``md:/dev/md/home``).

The kernel says how far it is in /proc/mdstat. Where that cannot be read, its file ``sync_completed`` is, which it brings up to date only
each sixteenth of the way, or every five minutes: at least that much is done. What it is at, and that it is over, stands in ``sync_action``.

How it ended is known of a resync, a recovery and a reshape, if nothing is left to do afterwards; of a check, a repair, and what
was broken off, it is not. Nothing has to run for this, and anybody may look.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pollprog.errors import ProcessError, UsageError
from pollprog.probes.keptfile import read_kept
from pollprog.probes.resource import Kind
from pollprog.status import Bound, Outcome, Sample, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.probes.resource import Resource

__all__ = ["RESOURCE", "Array", "parse_completed", "parse_mdstat"]

ACTIONS = {"resync": "resync", "recover": "recovery", "check": "check", "repair": "repair", "reshape": "reshape"}
"""What ``sync_action`` may say while something is under way, and how we call it."""
LEFT = {"resync": ("resync_start", "none"), "recovery": ("degraded", "0"), "reshape": ("reshape_position", "none")}
"""The file that says afterwards whether anything is left to do, and what it says if not."""
NAME = re.compile(r"[A-Za-z0-9_.-]{1,31}")
WORKS = re.compile(rb"\[[=>.]+\]\s+[a-z]+\s*=\s*[0-9.]+%\s+\(([0-9]{1,18})/([0-9]{1,18})\)\s.*")
COMPLETED = re.compile(rb"([0-9]{1,18}) / ([0-9]{1,18})")
KIB, SECTOR = 1024, 512


class Md(Kind):
    """The kernel's software RAID."""

    name = "md"
    argument = "DEVICE"
    attached = "by /proc/mdstat, and by the array's own files under /sys"
    totals = "the kernel's: what has to be gone through of each device"
    wrong = (
        "How a check or a repair ended is not told by the kernel, nor how one that was broken off: the outcome is lost. "
        "Captured and documented, not run here."
    )

    def open(self, argument: str, *, sys: str = "/sys", proc: str = "/proc", dev: str = "/dev") -> Sequence[Resource]:
        """The array, if anything is under way there."""
        array = Array(device_of(argument, sys=sys, dev=dev), sys=sys, proc=proc)
        if array.action() is None:
            raise ProcessError(f"{array.name}: nothing is under way there")
        return [array]


def device_of(argument: str, *, sys: str, dev: str) -> str:
    """The kernel's name of an array. UsageError, ProcessError."""
    name = argument
    if argument.startswith("/"):
        name = os.path.basename(os.path.realpath(argument))
    elif NAME.fullmatch(argument) and not os.path.exists(f"{sys}/block/{argument}"):
        name = os.path.basename(os.path.realpath(f"{dev}/md/{argument}"))
    if not NAME.fullmatch(name):
        raise UsageError(f"md:{argument} names no array; write md:md0, or md:/dev/md/NAME")
    if not os.path.isdir(f"{sys}/block/{name}"):
        raise ProcessError(f"there is no array {argument}; cat /proc/mdstat lists them")
    if not os.path.isdir(f"{sys}/block/{name}/md"):
        raise ProcessError(f"{name} is no array of md; cat /proc/mdstat lists them")
    return name


class Array:
    """The work on one array."""

    def __init__(self, name: str, *, sys: str = "/sys", proc: str = "/proc") -> None:
        self.name = name
        self.job = f"md-{name}"
        self.outcome: Outcome | None = None
        self._files = f"{sys}/block/{name}/md"
        self._mdstat = f"{proc}/mdstat"
        self._phase = ""
        self._idle = 0
        """Looks in a row that found nothing under way."""

    def _says(self, name: str) -> str | None:
        data = read_kept(f"{self._files}/{name}", 4096)
        return None if data is None else data.decode("ascii", "replace").strip()

    def action(self) -> str | None:
        """What is under way."""
        return ACTIONS.get(self._says("sync_action") or "")

    def sample(self) -> Sample | None:
        """How far it is. None where nothing is told, or nothing is under way any more."""
        action = self.action()
        if action is None:
            self._idle += 1
            if self._idle > 1:  # one follows another after a moment, as with two spares
                self.outcome = self._ended()
            return None
        self._idle, self._phase = 0, action
        done, bound = parse_mdstat(read_kept(self._mdstat) or b"", self.name), Bound.EXACT
        if done is None:
            completed = (self._says("sync_completed") or "").encode()
            if completed == b"delayed":
                return Sample(0, phase=f"{action}, delayed", source="md")
            done, bound = parse_completed(completed), Bound.LOWER
        if done is None:
            return None
        return Sample(*done, phase=action, source="md", bound=bound)

    def _ended(self) -> Outcome:
        name, nothing = LEFT.get(self._phase, ("", None))
        whole = name != "" and self._says(name) == nothing
        return Outcome(State.SUCCEEDED, 0) if whole else Outcome(State.LOST)

    def close(self) -> None:
        """Nothing is held."""


def parse_mdstat(data: bytes, name: str) -> tuple[int, int] | None:
    """How many bytes of how many /proc/mdstat says are done of an array's work; None if it says nothing of that."""
    _, found, rest = b"\n".join((b"", data)).partition(f"\n{name} : ".encode())
    lines = rest.split(b"\n")[1:] if found else []
    for line in lines:
        if not line.startswith(b" "):
            break
        if said := WORKS.fullmatch(line.strip()):
            return counted(said, KIB)
    return None


def parse_completed(data: bytes) -> tuple[int, int] | None:
    """The same from ``sync_completed``."""
    said = COMPLETED.fullmatch(data)
    return None if said is None else counted(said, SECTOR)


def counted(said: re.Match[bytes], unit: int) -> tuple[int, int] | None:
    """Bytes of bytes; None for what no work can be."""
    done, total = int(said[1]) * unit, int(said[2]) * unit
    return (done, total) if total and done <= total else None


RESOURCE = Md()
