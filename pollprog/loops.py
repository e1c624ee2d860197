"""One call of one of our own loops: it asks whether to go on, counts, and says in its errors how far it came.

What all loops have in common:

* A loop is a plain function that blocks, and runs whole in one thread. It works in steps of at most `STEP` bytes, a few
  milliseconds each; before each it asks `cancel`, which may also keep it waiting: that is how a loop is paused.
* It stores how far it is into a `Counter`. The main phase is ``""``; what comes before is ``"survey"``, what comes after
  ``"sync"``, which waits for the disk. When it returns, `current` is `total`.
* What goes wrong is raised as an `OperationError`, with what had been written, and where. A `cancel` that said True is raised
  as `Cancelled`. What a loop had made itself is gone then, and nothing else is.
"""

from __future__ import annotations

import select
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pollprog.errors import Cancelled, OperationError, OperationFailed
from pollprog.paths import called, parameter, refusal, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pollprog.counting import Counter

__all__ = ["BUFFER", "STEP", "Loop"]

STEP = 4 << 20
"""Bytes asked of the kernel at a time: a few milliseconds, between which a cancel is heard and the count moves."""
LOOK = 0.1
"""Seconds between two looks at whether a wait has been called off."""
BUFFER = 256 << 10
"""Bytes read and written at a time: what stays in the processor's cache."""


class Loop:
    """One call under way."""

    def __init__(
        self, doing: str, path: bytes, counter: Counter, cancel: Callable[[], bool], *, gone: str = "", offset: int = 0
    ) -> None:
        self.doing = doing
        """As in "copying a to b"."""
        self.path = path
        """What it writes; what it reads, if it writes nothing."""
        self.counter = counter
        self.cancel = cancel
        self.gone = gone
        """What a message says of what had been written, if that does not stay."""
        self.offset = offset
        """Where in `path` it began to write."""
        self.kept = False
        """What it writes stays, whatever happens."""
        self.done = 0
        self.total: int | None = None
        self.published = False
        """All is there, under its name."""
        self.left = b""
        """A temporary that could not be removed."""
        self.touched = path
        """The file that an error would be about now."""
        self.verb = "read"

    def begin(self, phase: str, total: int | None) -> None:
        """A phase begins, of so many bytes; None if nobody knows."""
        self.done, self.total = 0, total
        self.counter.begin(phase, total)

    def check(self) -> None:
        """Stop here if somebody asked for it."""
        if self.cancel():
            raise Cancelled(f"{self.doing} was cancelled")

    def wait_for(self, descriptor: int) -> None:
        """Wait until there is something to read, or an end; stop if somebody asks for it meanwhile."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not poll.poll(LOOK * 1000):
            self.check()

    def count(self, done: int) -> None:
        """Store how far it is, with a total that is never less."""
        self.done = done
        if self.total is not None and done > self.total:  # there was more than anybody knew
            self.total = self.counter.total = done
        self.counter.current = done

    def sync(self) -> None:
        """All is written, and waits for the disk now. `done` stays."""
        self.counter.begin("sync", None)
        self.check()

    def finish(self) -> None:
        """All is done."""
        self.counter.total = self.counter.current = self.done

    def reading(self, path: bytes) -> None:
        """An error would be about reading this file now."""
        self.touched, self.verb = path, "read"

    def writing(self, path: bytes) -> None:
        """An error would be about writing this file now."""
        self.touched, self.verb = path, "write"

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Whatever goes wrong inside says what it was, and how far it had come."""
        try:
            yield
        except OSError as error:
            raise refusal(
                error, self.verb, self.touched, self.how_far(), offset=self.offset, written=self.written, kept=self.kept
            ) from error
        except OperationError as error:
            error.args = (f"{error}{self.how_far()}",)
            if isinstance(error, OperationFailed):
                error.path = error.path or parameter(self.path)
                error.offset, error.written = self.offset, self.written
            raise

    @property
    def written(self) -> int:
        """Bytes written so far; 0 if it only reads."""
        return self.done if self.gone or self.kept else 0

    def how_far(self) -> str:
        """How an error's text goes on: what had been done, and what became of it."""
        if self.published:
            return ""
        far = ""
        if self.done:
            of_total = "" if self.total is None else f" of {size_text(self.total)}"
            fate = f", which stay, from byte {self.offset} on" if self.kept else f"; {self.gone}" if self.gone else ""
            far = f", after {size_text(self.done)}{of_total}{fate}"
        return f"{far}; remove {called(self.left)}, which could not be removed" if self.left else far
