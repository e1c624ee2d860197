"""The streams of a command that a tool listens to: heard, and passed on to where the user sent them.

Each has a thread of its own, which the command waits for exactly as it would wait for the user's end. Where that end takes
nothing more, the command is told in the way it would have been: its next write fails. A filter that raises is done with,
and from then on every byte passes.
"""

from __future__ import annotations

import logging
import os
import re
import select
import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pollprog.launch import Filter, Launched

__all__ = ["Ear", "listen", "try_thread"]

log = logging.getLogger("pollprog")

DRAIN = 1.0
"""Seconds of silence after the end of the command, after which nobody waits for more: a grandchild may hold the stream open."""
LONGEST = 1 << 16
"""Of a record that does not end, so many bytes are kept."""
UNHEARD = 256
"""Records that wait for somebody who listens; of more, the oldest are let go."""
QUIET = 0.25
"""Seconds without a word after which a filter may let go of what it holds back."""
SEPARATORS = re.compile(rb"[\r\n\b]+")


class Ear:
    """Hears one claimed stream and passes it on."""

    def __init__(self, stream: int, end: int, through: Filter) -> None:
        self._stream = stream
        self._end = end
        self._through: Filter | None = through
        self._rest = b""
        self._heard: Callable[[int, bytes], None] | None = None
        self._unheard: deque[bytes] = deque(maxlen=UNHEARD)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pollprog stream {stream}", daemon=True)
        self._thread.start()

    def tell(self, heard: Callable[[int, bytes], None]) -> None:
        """From now on `heard` gets each record, in our thread; and first those that nobody has got yet."""
        with self._lock:
            self._heard = heard
            while self._unheard:
                heard(self._stream, self._unheard.popleft())

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
            self._split(b"\n")
            write_all(self._stream, self._passing(None))
        except OSError as error:
            log.debug("stream %d: %s", self._stream, error)
        finally:
            os.close(self._end)

    def _read(self) -> bytes:
        """What comes next; nothing at the end."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        while not poll.poll(QUIET * 1000):
            if self._over.is_set():
                return b""
            write_all(self._stream, self._passing(b""))  # what was held back until more would come
        return os.read(self._end, 65536)

    def _passing(self, data: bytes | None) -> bytes:
        """What passes on of this data, or at the end."""
        if self._through is not None:
            try:
                return self._through.end() if data is None else self._through.passing(data)
            except Exception as error:  # noqa: BLE001 # a plugin may raise anything; the command's words pass on
                log.warning("the filter of stream %d is dropped: %s: %s", self._stream, type(error).__name__, error)
                self._through = None
        return data or b""

    def _split(self, data: bytes) -> None:
        *records, rest = SEPARATORS.split(self._rest + data)
        self._rest = rest[-LONGEST:]
        with self._lock:
            for record in filter(None, records):
                if self._heard is None:
                    self._unheard.append(record)
                else:
                    self._heard(self._stream, record)


def try_thread() -> None:
    """Raise RuntimeError where no thread can be started: then nobody could listen."""
    thread = threading.Thread(target=bool)
    thread.start()
    thread.join()


def listen(launched: Launched) -> None:
    """Give a command that was launched an ear for each stream that was claimed."""
    launched.ears = [Ear(stream, os.dup(end), launched.command.claims[stream]) for stream, end in launched.ends.items()]


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, waiting as the command itself would have had to."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # the user's end is non-blocking; the command would have had to deal with it
            select.select([], [descriptor], [])
