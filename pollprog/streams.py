"""The streams of a command that a tool listens to: heard, and passed on to where the user sent them.

Each has a thread of its own, which the command waits for exactly as it would wait for the user's end. Where that end takes
nothing more, the command is told in the way it would have been: its next write fails. Where it is a pipe whose reader has gone, it
is told at once, if all that it writes passes on; else something of it may be ours alone, and must not fail. A filter that raises, or
passes on what is no bytes, is done with, and from then on every byte passes.

What a program writes to a status descriptor of ours is nobody else's, and nothing is passed on: it lies in a file in memory until
somebody looks.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import threading
import time
from collections import deque

from pollprog.backlog import MOST, Backlog
from pollprog.stand_in import Single, Untorn, Window, stand_in
from pollprog.syscalls import punch_hole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from pollprog.launch import Filter, Launched

__all__ = ["Ear", "Splitter", "StatusFile", "listen", "try_listening"]

log = logging.getLogger("pollprog")

DRAIN = 1.0
"""Seconds of silence after the end of the command, after which nobody waits for more: a grandchild may hold the stream open."""
LONGEST = 1 << 16
"""Of a record that does not end, so many bytes are kept."""
QUIET = 0.25
"""Seconds without a word after which a filter may let go of what it holds back."""
MUCH = 1 << 14
"""Bytes that come at once, behind which nothing is cut into records for a while."""
PAUSE = 0.1
"""Seconds of that while."""
KEPT = 1 << 20
"""Bytes of it that were read, and may lie in memory before they are given back."""
SEPARATORS = re.compile(rb"[\r\n\b]+")


class Splitter:
    """Cuts what a program says into records: what stands between newlines, carriage returns, backspaces.

    `whole` says of what was begun whether nothing more of it can come: some programs write the separator before each record, which
    would else be heard when the next one comes.
    """

    __slots__ = ("_whole", "rest")

    def __init__(self, whole: Callable[[bytes], object] | None = None) -> None:
        self._whole = whole
        self.rest = b""
        """What was begun; of what does not end, the last part."""

    def split(self, data: bytes) -> list[bytes]:
        """The records that end with this data."""
        *records, rest = SEPARATORS.split(self.rest + data)
        self.rest = rest[-LONGEST:]
        if rest and self._whole is not None and self._whole(self.rest):
            records.append(self.rest)
            self.rest = b""
        return [record[-LONGEST:] for record in records if record]


class StatusFile:
    """What a program writes to the descriptor that it was given for its status; `descriptor` is ours to close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = self._given_back = 0
        self._splitter = Splitter()

    def records(self) -> list[bytes]:
        """What was written since this was last asked, as far as it has ended; of very much, the last."""
        size = os.fstat(self._descriptor).st_size
        if size < self._at:  # it was begun anew
            self._at = self._given_back = 0
        if size == self._at:
            return []
        start = max(self._at, size - MOST)
        data = os.pread(self._descriptor, size - start, start)
        skipped, self._at = start > self._at, start + len(data)
        if skipped:  # and so the first record is not whole
            self._splitter.rest = b""
            first = SEPARATORS.search(data)
            data = data[first.end() :] if first else b""
        if self._at - self._given_back > KEPT:
            try:
                punch_hole(self._descriptor, 0, self._at)
            except OSError:
                pass
            self._given_back = self._at
        return self._splitter.split(data)

    def close(self) -> None:
        """Look no more."""
        os.close(self._descriptor)


class Flood:
    """What was heard and not yet cut into records: of much in a short time only the newest is, or the command would wait for that."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._bytes = 0
        self._until = 0.0
        """Till then nothing is cut, for there was much."""
        self._lost = self.cut = False
        """Something was let go of before what is kept, or before what is due: the first record may be no whole one."""

    def due(self, data: bytes, *, now: bool) -> bytes:
        """With this added: what is to be cut by now."""
        self._parts.append(data)
        self._bytes += len(data)
        moment = time.monotonic()
        if not now and moment < self._until:
            while self._bytes - len(self._parts[0]) > MOST:
                self._bytes -= len(self._parts.popleft())
                self._lost = True
            return b""
        due, self._bytes = b"".join(self._parts), 0
        self._parts.clear()
        self._until = moment + PAUSE if len(due) > MUCH else 0.0
        self.cut, self._lost = self._lost, False
        if self.cut:
            first = SEPARATORS.search(due)
            due = due[first.end() :] if first else b""
        return due


class Ear:
    """Hears one claimed stream and passes it on."""

    def __init__(self, stream: int, end: int, through: Filter) -> None:
        self._stream = stream
        self._end = end
        self._through: Filter | None = through
        self._watched = stream if getattr(through, "all_passes", False) and is_pipe(stream) else None
        """The user's end, where it may be seen that nobody reads it any more."""
        self._splitter = Splitter(getattr(through, "whole", None))
        self._flood = Flood()
        self._heard: Callable[[int, bytes], None] | None = None
        self._unheard = Backlog()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pollprog stream {stream}", daemon=True)
        self._thread.start()

    def tell(self, heard: Callable[[int, bytes], None]) -> None:
        """From now on `heard` gets each record, in our thread; and first those that nobody has got yet."""
        with self._lock:
            self._heard = heard
            for stream, record in self._unheard.take():
                heard(stream, record)

    @property
    def alive(self) -> bool:
        """Whether there may be more to pass on."""
        return self._thread.is_alive()

    def finish(self, seconds: float | None = None) -> None:
        """The command has ended: wait until its last words are passed on, so long at the most (None: as long as it takes)."""
        self._over.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while data := self._read():
                self._split(data)
                write_all(self._stream, self._passing(data))
            self._split(b"\n", now=True)
            write_all(self._stream, self._passing(None))
        except OSError as error:
            log.debug("stream %d: %s", self._stream, error)
        finally:
            os.close(self._end)

    def _read(self) -> bytes:
        """What comes next; nothing at the end, and where nobody would get it."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        if self._watched is not None:
            poll.register(self._watched, 0)  # which says only that its reader has gone
        while not (ready := poll.poll(QUIET * 1000)):
            if self._over.is_set():
                return b""
            self._wait()
        if self._watched is not None and any(descriptor == self._watched for descriptor, _ in ready):
            return b""
        return os.read(self._end, 65536)

    def _wait(self) -> None:
        """Nothing has come for a while: what was held back until more would come passes."""
        self._split(b"", now=True)
        write_all(self._stream, self._passing(b""))

    def _passing(self, data: bytes | None) -> bytes:
        """What passes on of this data, or at the end."""
        if self._through is not None:
            try:
                return as_bytes(self._through.end() if data is None else self._through.passing(data))
            except BaseException as error:  # noqa: BLE001 # a plugin may raise anything; the command's words pass on
                self._drop(error)
        return data or b""

    def _drop(self, error: BaseException) -> None:
        log.warning("the filter of stream %d is dropped: %s: %s", self._stream, type(error).__name__, error)
        self._through = None
        self._splitter = Splitter()

    def _records(self, data: bytes) -> list[bytes]:
        try:
            return self._splitter.split(data)
        except BaseException as error:  # noqa: BLE001 # a filter says what is whole
            self._drop(error)
            return []

    def _split(self, data: bytes, *, now: bool = False) -> None:
        due = self._flood.due(data, now=now)
        if not due:
            return
        if self._flood.cut:
            self._splitter.rest = b""
        with self._lock:
            for record in self._records(due):
                if self._heard is None:
                    self._unheard.add(self._stream, record)
                else:
                    self._heard(self._stream, record)


class TerminalEar(Ear):
    """Hears a pseudoterminal in the place of the user's terminal, or of another stream of the user's, and passes that on."""

    def __init__(self, stream: int, end: int, through: Filter, pid: int) -> None:
        self._window = Window(stream, end, pid)
        self._single = Single(end)
        super().__init__(stream, end, Untorn(through))

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._window.close()

    def _read(self) -> bytes:
        self._window.follow()
        try:
            return super()._read()
        except OSError as error:
            if error.errno == errno.EIO:  # so a pseudoterminal ends
                return b""
            raise

    def _wait(self) -> None:
        super()._wait()
        self._window.follow()

    def _passing(self, data: bytes | None) -> bytes:
        if data:
            written = self._single.passing(data)
            return super()._passing(written) if written else b""
        rest = self._single.rest()
        return (super()._passing(rest) if rest else b"") + super()._passing(data)


def try_listening(streams: Iterable[int], terminals: Collection[int] = ()) -> None:
    """Raise where nobody could listen to these: where no thread can be started, or no pseudoterminal be had.

    `terminals`: those that are to be one wherever they go.
    """
    thread = threading.Thread(target=bool)
    thread.start()
    thread.join()
    for stream in streams:
        if stream in terminals or os.isatty(stream):
            for end in stand_in(stream):
                os.close(end)


def listen(launched: Launched) -> None:
    """Give a command that was launched an ear for each stream that was claimed."""
    claims = launched.command.claims
    launched.ears = [
        TerminalEar(stream, os.dup(end), claims[stream], launched.pid)
        if os.isatty(end)
        else Ear(stream, os.dup(end), claims[stream])
        for stream, end in launched.ends.items()
    ]


def is_pipe(descriptor: int) -> bool:
    """Whether this is a pipe, which nobody can begin to read again when its reader has gone: no FIFO with a name."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:[")
    except OSError:
        return False


def as_bytes(passed: object) -> bytes:
    """What a filter passes on; TypeError for what cannot be written."""
    if not isinstance(passed, bytes):
        raise TypeError(f"it passes on {type(passed).__name__}, not bytes")
    return passed


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, waiting as the command itself would have had to."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # the user's end is non-blocking; the command would have had to deal with it
            select.select([], [descriptor], [])
