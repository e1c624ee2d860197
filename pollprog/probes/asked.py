"""A building block for resources: what a short command says, asked for at one look and read at a later one, so that none waits.

The command writes into files in memory, so it never waits for us either. One that takes longer than `PATIENCE` is killed, and asked
again; it was started by us for this alone. It has no terminal to ask anything on, and speaks English.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pollprog.errors import ProcessError
from pollprog.probes.resource import PATIENCE
from pollprog.status import Outcome, Sample, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["LOST", "Answer", "Asked", "AskedWork", "Said", "found_program", "start"]

log = logging.getLogger("pollprog")

GAP = 1.0
"""Seconds from one question to the next."""
LARGEST = 1 << 20
"""Bytes of an answer that are read."""
SBIN = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))
"""Where root's programs are, which many have not in their PATH."""
DYING = 1.0
"""Seconds for which one that was killed is waited for."""
MISSES = 3
"""Answers in a row that are none, after which nobody knows any more how far the work is: one alone may come of a lock or a full memory."""
LOST = Outcome(State.LOST)


class Answer(NamedTuple):
    """What a command said."""

    code: int
    output: bytes
    errors: str

    def complaint(self) -> str:
        """The first line of its errors, without the word that they begin with."""
        lines = [
            line.strip() for line in self.errors.splitlines() if line.strip() and not line.startswith("  WARNING:")
        ]
        return (
            lines[0].removeprefix("ERROR: ") if lines else f"its answer is not understood, with exit status {self.code}"
        )


def found_program(name: str, package: str) -> str:
    """Where a program is. ProcessError, with the package that has it, if it is not there."""
    path = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), SBIN)))
    if path is None:
        raise ProcessError(
            f"there is no program {name} here, which would be asked; Debian has it in the package {package}"
        )
    return path


def start(
    words: Sequence[str], *, stdin: int, stdout: int, stderr: int, more: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program of our own, beside the terminal. OSError if it cannot be started."""
    environment = {**os.environ, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1", **(more or {})}
    return subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=stderr, cwd="/", env=environment, process_group=0)


def end(process: subprocess.Popen[bytes]) -> None:
    """End one of ours, for good."""
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # it hangs in the kernel, and ends some day
        process.wait(DYING)


class Asked:
    """The newest answer of one command."""

    def __init__(self, words: Sequence[str], *, gap: float | None = None) -> None:
        self._words = words
        self._gap = GAP if gap is None else gap
        self._process: subprocess.Popen[bytes] | None = None
        self._began = float("-inf")
        self._output = os.memfd_create("output", os.MFD_CLOEXEC)
        self._errors = os.memfd_create("errors", os.MFD_CLOEXEC)

    def first(self) -> Answer:
        """The first answer, which is waited for. ProcessError if none comes."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (answer := self.look()) is not None:
                return answer
            time.sleep(0.01)
        raise ProcessError(f"{os.path.basename(self._words[0])} gives no answer")

    def look(self) -> Answer | None:
        """The answer, if one has come since this was last called. Asks again when it is time. OSError if that cannot be."""
        now = time.monotonic()
        if self._process is None:
            if now - self._began >= self._gap:
                self._ask(now)
            return None
        code = self._process.poll()
        if code is None:
            if now - self._began > PATIENCE:
                self._end()
            return None
        self._process = None
        return Answer(code, read(self._output), read(self._errors).decode("utf-8", "replace"))

    def _ask(self, now: float) -> None:
        self._began = now
        for file in (self._output, self._errors):
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
        self._process = start(self._words, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._errors)

    def _end(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None

    def close(self) -> None:
        """End what was asked last, if it is still at it."""
        self._end()
        for file in (self._output, self._errors):
            if file >= 0:
                os.close(file)
        self._output = self._errors = -1


class Said(NamedTuple):
    """What an answer says of the work: how far it is; or that it is over, and how that was. Neither: nothing new."""

    sample: Sample | None = None
    outcome: Outcome | None = None


class AskedWork:
    """A resource that a command is asked about. `parse`: what its answer says; None for what is no answer."""

    def __init__(self, name: str, job: str, words: Sequence[str], parse: Callable[[Answer], Said | None]) -> None:
        self.name = name
        self.job = job
        self.outcome: Outcome | None = None
        self._asked = Asked(words)
        self._parse = parse
        self._misses = 0

    def under_way(self) -> bool:
        """Whether there is anything to watch. ProcessError if that cannot be told."""
        answer = self._asked.first()
        said = self._parse(answer)
        if said is None:
            raise ProcessError(answer.complaint())
        return said.sample is not None

    def sample(self) -> Sample | None:
        """How far it is, if there is a new answer."""
        answer = self._asked.look()
        if answer is None:
            return None
        said = self._parse(answer)
        if said is not None:
            self._misses, self.outcome = 0, said.outcome
            return said.sample
        self._misses += 1
        if self._misses == MISSES:
            log.warning("%s: %s", self.name, answer.complaint())
            self.outcome = LOST
        return None

    def close(self) -> None:
        """Ask no more."""
        self._asked.close()


def read(file: int) -> bytes:
    """What was written."""
    return os.pread(file, LARGEST, 0)
