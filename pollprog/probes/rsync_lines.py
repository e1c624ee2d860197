r"""What rsync prints, passed on without what ``--info=progress2`` adds.

That adds pieces to standard output which begin with a carriage return, as nothing else of rsync's does (it escapes those in names):
``\r     1,500,000   1%  279.85MB/s    0:00:00 (xfr#1, to-chk=460/462)``. And before the message that comes next, it adds one newline, on
standard output or on standard error, wherever that message goes. So

- a newline that follows a piece on standard output is the added one, unless standard error has had it;
- an empty line on standard error is the added one, if pieces were written that still lack theirs.

The two streams come through two threads, and either may be behind. So an empty line on standard error waits a moment for standard
output; and on standard output, a newline before what may be rsync's summary, which begins with an empty line of its own, waits
for standard error. Any other newline there is the added one, if it is there at all.

Where both go to one terminal, the newline behind a piece is the added one. (To one pipe they come in no such order.)
"""

from __future__ import annotations

import re
import time
from _thread import allocate_lock  # threading itself is not loaded before a command is started

from pollprog.probes.program import Whole

__all__ = ["Listened", "filter_joined", "filters"]

PIECE = re.compile(
    rb"\r {0,20}[0-9][0-9.,]{0,30}[KMGTP]? {1,5}[0-9]{1,3}% {1,9}[0-9.,]{1,12}[kMGTP]?B/s {1,9}[0-9?]{1,6}:[0-9?]{2}:[0-9?]{2}"
    rb"(?:  | \(xfr#[0-9]{1,12}, (?:ir|to)-chk=[0-9]{1,12}/[0-9]{1,12}\)) *"
)
BEGUN = re.compile(rb"\r[ 0-9.,KMGTPkBs%/:?]*(?:\([a-z]*#?[0-9]*,? ?[a-z-]*=?[0-9/]*)?")
"""What may yet become one."""
LONGEST = 256
CLOSING = (b"sent ", b"Number of files: ")
"""What rsync's summary may begin with, behind a newline of its own."""
MOMENT = 0.25
"""Seconds for which the end of one stream waits for the other."""


def is_whole(record: bytes) -> bool:
    """Whether this, which came behind a carriage return, is a whole piece, of which no more can come but spaces."""
    return len(record) < LONGEST and PIECE.fullmatch(b"\r" + record) is not None


class Listened(Whole):
    """Passes everything on, where it was the user who wanted to see it."""

    whole = staticmethod(is_whole)


class Shared:
    """What both streams know: whether a newline is due, and who has had it."""

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.due = False
        """Pieces were written on standard output, and nothing since on either stream, as far as was seen."""
        self.owed = 0
        """Newlines that were written on standard error, for standard output did not get them, and have not been seen there."""
        self.waits = False
        """Standard error holds back an empty line."""

    def take(self) -> bool:
        """Standard error has an empty line: whether it is an added one."""
        if self.owed:
            self.owed -= 1
        elif self.due:
            self.due = False
        else:
            return False
        return True


class Stream:
    """What both streams have in common: what is taken out of one shows what belongs to the other."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._rest = b""

    def passing(self, data: bytes) -> bytes:
        """Take what was written; give what passes. Without data: what passes because nothing has come for a while."""
        with self._shared.lock:
            self._rest += data
            out = []
            while self._rest and (passed := self._next(quiet=not data)) is not None:
                out.append(passed)
            return b"".join(out)

    def _next(self, *, quiet: bool) -> bytes | None:
        """What passes of what is there, some at a time; None where that cannot be told yet."""
        raise NotImplementedError


class Output(Stream):
    """Standard output (a `pollprog.launch.Filter`). `joined`: standard error goes to the same place, and comes with it, in order."""

    whole = staticmethod(is_whole)

    def __init__(self, shared: Shared, *, joined: bool = False) -> None:
        super().__init__(shared)
        self._joined = joined
        self._padded = False
        """What was taken out last may go on, with spaces."""

    def end(self) -> bytes:
        """What is left."""
        return self.passing(b"")

    def _next(self, *, quiet: bool) -> bytes | None:
        """What passes of what is there, some at a time; None where that cannot be told yet."""
        if self._padded:
            self._rest = self._rest.lstrip(b" ")
            self._padded = not self._rest
            if self._padded:
                return b""
        if self._shared.due and not self._rest.startswith(b"\r"):
            return self._settle(quiet=quiet)
        if not self._rest.startswith(b"\r"):
            text, mark, behind = self._rest.partition(b"\r")
            self._rest = mark + behind
            return text
        piece = PIECE.match(self._rest)
        if piece is not None:
            self._rest = self._rest[piece.end() :]
            self._padded = not self._rest
            self._shared.due = True
            return b""
        if not quiet and len(self._rest) < LONGEST and BEGUN.fullmatch(self._rest):
            return None
        self._rest = self._rest[1:]
        return b"\r"

    def _settle(self, *, quiet: bool) -> bytes | None:
        """Something follows a piece: where its newline is."""
        shared, behind = self._shared, self._rest[1:]
        if self._joined:
            shared.due = False
            self._rest = self._rest.removeprefix(b"\n")
            return b""
        if not self._rest.startswith(b"\n"):
            shared.due = False
            shared.owed += 1
            return b""
        closes = any(words.startswith(behind[: len(words)]) for words in CLOSING)
        if closes and not quiet:
            return None
        shared.due = False
        self._rest = behind
        if closes and shared.waits:
            shared.owed += 1
            return b"\n"
        return b""


class Errors(Stream):
    """Standard error (a `pollprog.launch.Filter`)."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._within = False
        """Of the present line, a part has passed."""

    def end(self) -> bytes:
        """What is left, once standard output had time to come."""
        until = time.monotonic() + MOMENT
        while self._shared.waits and not (self._shared.due or self._shared.owed) and time.monotonic() < until:
            time.sleep(0.01)
        return self.passing(b"")

    def _next(self, *, quiet: bool) -> bytes | None:
        line, newline, behind = self._rest.partition(b"\n")
        if line or self._within:
            self._within = not newline
            self._rest = behind
            return line + newline
        self._shared.waits = False
        if self._shared.take():
            self._rest = behind
            return b""
        if not quiet:
            self._shared.waits = True
            return None
        self._rest = behind
        return b"\n"


def filter_joined() -> Output:
    """That of both streams, where they go to one terminal."""
    return Output(Shared(), joined=True)


def filters() -> tuple[Output, Errors]:
    """Those of standard output and standard error, which know of each other."""
    shared = Shared()
    return Output(shared), Errors(shared)
