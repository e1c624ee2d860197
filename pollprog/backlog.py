"""What a command has said, and nobody has listened to yet.

It is bounded by its bytes, not by a number of records: some programs print ten thousand short ones in their first second, and among the
first is the one that says what the others count.
"""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["MOST", "Backlog"]

MOST = 1 << 18
"""Bytes that are kept: of more, the oldest are let go."""


class Backlog:
    """Records, each with the stream that it came on, in their order. Any thread may add one, and any take them."""

    def __init__(self) -> None:
        self._records: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, stream: int, record: bytes) -> None:
        """One more; the oldest go if there are too many."""
        with self._lock:
            self._records.append((stream, record))
            self._bytes += len(record) + 1
            while self._bytes > MOST:
                self._bytes -= len(self._records.popleft()[1]) + 1

    def take(self) -> list[tuple[int, bytes]]:
        """All of them, which are nobody else's then."""
        with self._lock:
            records = list(self._records)
            self._records.clear()
            self._bytes = 0
        return records
