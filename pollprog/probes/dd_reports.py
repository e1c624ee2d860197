"""What dd says on standard error, passed on without the reports that we asked for.

Asked by a signal, dd writes a report: records in, records out, and in most builds a line that says bytes. At its end it
writes one more by itself. All look alike, in any language, so which is which is told by what comes after. A report that comes
while one is asked for is held back. If another follows, the held one was the answer, and is left out; if the stream ends, or
dd is seen to be gone, it was dd's own last one, which always passes. If dd is seen to have gone on since, it is left out too.
Hence:

- One report is asked for at a time, so at most one is ever held back.
- What comes unasked, a report too (somebody else may ask), passes at once, and so does every other line, whole or not.
- Where the signal was not answered, dd's last report is the one that is held back, and it is not lost.
- If dd is killed in the moment after an answer, that answer passes: a line too many, where one too few would be a lie.

The program is heard in one thread, and asked in another.
"""

from __future__ import annotations

import re
from _thread import allocate_lock  # threading itself is not loaded before a command is started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Report", "ReportFilter"]

Asked = tuple[int, int]
"""Who was asked: pid and start of the process."""

RECORDS = re.compile(rb"[\x80-\xff ]*([0-9]+)\+([0-9]+)[^0-9+\r\n][^0-9\r\n]*")
"""``2+1 records in``, ``2+1 Datensätze ein``; Chinese has words before the numbers."""
BYTES = re.compile(rb"[\x80-\xff ]*([0-9]+)[^0-9+\r\n][^\r\n]*/s")
"""``3000000 bytes (3.0 MB, 2.9 MiB) copied, 0.0186 s, 161 MB/s``; Ukrainian has a word before the number."""
BEGINNING = re.compile(rb"[\x80-\xff ]*([0-9][^\r\n]*)?")
"""What may yet become one of these two; a prompt does not."""
LONGEST = 256
"""No line of a report has more bytes."""

PASS, HOLD, LEAVE_OUT = "pass", "hold", "leave out"


class Report:
    """One report: (whole, partial) blocks, and the bytes written, where dd says them."""

    __slots__ = ("copied", "number", "read", "written")

    def __init__(self, number: int, read: tuple[int, int], written: tuple[int, int]) -> None:
        self.number = number
        """Counts all reports that were heard, from 1."""
        self.read = read
        self.written = written
        self.copied: int | None = None


class ReportFilter:
    """Passes on a dd's standard error (a `pollprog.launch.Filter`), and reads what passes."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self.report: Report | None = None
        """The newest, whoever asked for it. Its bytes may come a moment later."""
        self._asked: Asked | None = None
        """Whose answer is to come."""
        self._owner: Asked | None = None
        """Who was asked last, and so has written what is held back."""
        self._unread: Callable[[], int | None] = lambda: None
        self._held = b""
        self._held_number = 0
        self._due = b""
        """What passes with the next bytes, before them."""
        self._first = b""
        """One line of records that is held back until the next line shows whether this is a report."""
        self._first_count: tuple[int, int] | None = None
        self._closed = True
        """No line can follow that belongs to the newest report."""
        self._goes = PASS
        """Where the lines of the newest report go."""
        self._behind = b""
        """What came after what is held back, and is held up until the bytes are read that stand behind it."""
        self._begun = b""
        """The beginning of the present line, as far as it has passed already."""
        self._rest = b""
        """The beginning of the present line, held back."""

    # -- asking

    def ask(self, whom: Asked, unread: Callable[[], int | None]) -> None:
        """From now on a report is expected of `whom`. Called just before the signal is sent.

        `unread` says, from any thread, how many bytes of the stream are unread, once that process has ended; until then None.
        """
        with self._lock:
            if whom != self._owner:  # another dd, in the same stream: what is held was the last of the one before
                self._due += self._let_go(PASS)
            self._owner = self._asked = whom
            self._unread = unread

    def unask(self) -> None:
        """The signal was not sent after all. What came since `ask` was no answer, and passes."""
        with self._lock:
            if self._asked is None:
                self._due += self._let_go(PASS)
            self._asked = None

    def expects(self, whom: Asked) -> bool:
        """Whether `whom` was asked, and has not answered."""
        return self._asked == whom

    @property
    def holding(self) -> int:
        """The number of the report that is held back; 0: none is."""
        return self._held_number

    def went_on(self, number: int) -> None:
        """After the report of this number its dd has gone on: if it is held back, it was an answer."""
        with self._lock:
            if number == self._held_number:
                self._let_go(LEAVE_OUT)

    # -- passing on

    def passing(self, data: bytes) -> bytes:
        """Take what was written; give what passes. Without data: what passes because nothing has come for a while."""
        with self._lock:
            out = [self._due, self._behind]
            behind = 1 if self._behind else None  # where in `out` the first thing stands that came after what is held
            self._due = self._behind = b""
            *lines, rest = (self._rest + data).split(b"\n")
            self._rest = b""
            for line in lines:
                held, passed = self._held_number, len(out)
                self._take(line, out)
                if self._held_number != held or not held:
                    behind = None
                elif behind is None and len(out) > passed:
                    behind = passed
            if rest and self._may_be_held(rest):
                self._rest = rest
            elif rest:
                behind = len(out) if behind is None else behind
                if self._first:
                    out.append(self._give_up_first())
                out.append(rest)
                self._begun = (self._begun + rest)[:LONGEST]
            if self._held and (behind is not None or not data):
                self._settle(out, len(out) if behind is None else behind)
            return b"".join(out)

    def _settle(self, out: list[bytes], behind: int) -> None:
        """Put what is held before what came after it, if it was the last: if dd has ended, and nothing of it is unread."""
        unread = self._unread()
        if unread == 0:
            out.insert(behind, self._let_go(PASS))
        elif unread:
            self._behind = b"".join(out[behind:])
            del out[behind:]

    def end(self) -> bytes:
        """The stream has ended: what is held back now was the last that dd said."""
        with self._lock:
            left = self._due + self._let_go(PASS) + self._behind + self._give_up_first() + self._rest
            self._due = self._behind = self._rest = b""
            return left

    def _let_go(self, goes: str) -> bytes:
        """What was held back is not any more; should more of it come, that goes the same way."""
        held, self._held, self._held_number = self._held, b"", 0
        if held:
            self._goes = goes
        return held

    def _may_be_held(self, rest: bytes) -> bool:
        """Whether a line that begins like this may have to be held back."""
        if self._begun or not BEGINNING.fullmatch(rest):
            return False
        return bool(self._first or self._asked or (not self._closed and self._goes != PASS))

    def _give_up_first(self) -> bytes:
        """What looked like the first line of a report was none."""
        first, self._first = self._first, b""
        self._first_count = None
        return first

    def _take(self, line: bytes, out: list[bytes]) -> None:
        """Take one line, without its newline; append what passes."""
        text, raw = (self._begun + line)[:LONGEST], line + b"\n"
        whole, self._begun = not self._begun, b""
        records = RECORDS.fullmatch(text)
        counts = (int(records[1]), int(records[2])) if records else None
        if counts and self._first_count:
            self._begin_report(self._first_count, counts, raw, out)
            return
        if not self._closed and self.report is not None and (told := BYTES.fullmatch(text)):
            self.report.copied = int(told[1])
            self._closed = True
            if self._goes == HOLD:
                self._held += raw
            elif self._goes == PASS:
                out.append(raw)
            return
        self._closed = True
        if first := self._give_up_first():
            out.append(first)
        self._first_count = counts
        if counts and self._asked and whole:
            self._first = raw
        else:
            out.append(raw)

    def _begin_report(
        self, read: tuple[int, int], written: tuple[int, int], second_line: bytes, out: list[bytes]
    ) -> None:
        """Two lines of records: a report. What was held back before it was not the last."""
        number = self.report.number + 1 if self.report else 1
        self.report = Report(number, read, written)
        self._closed = False
        self._let_go(LEAVE_OUT)
        first = self._give_up_first()
        if first:
            self._held, self._held_number, self._goes = first + second_line, number, HOLD
            self._asked = None
        else:
            self._goes = PASS
            out.append(second_line)
