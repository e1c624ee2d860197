"""What a git prints, passed on without what it shows of its progress: for those who read the last lines of a job, and in a redirected stream."""

from __future__ import annotations

import re

__all__ = ["LINES", "Without"]

SHOWN = re.compile(
    rb"(?:remote: )?(?:[A-Z][a-z]+(?: [a-z]+){1,3}: +[0-9]{1,3}% \([0-9]|(?:Enumerating|Counting) objects: [0-9]"
    rb"|Total [0-9]+ \(delta |Delta compression using )"
)
"""How a line of that begins."""
LINES = re.compile(
    rb"(?![^:]*commit graph)[A-Z][a-z]+(?: [a-z-]+){1,5}: +(?:[0-9]{1,3}% \([0-9]+/[0-9]+\)|[0-9]+)(?:, done\.)? *[\r\n]"
    rb"|Delta compression using up to [0-9]+ threads?\n"
    rb"|Total [0-9]+ \(delta [0-9]+\), reused [0-9]+ \(delta [0-9]+\), pack-reused [0-9]+(?: \(from [0-9]+\))?\n"
)
"""All that gc, repack and fsck say only where they show their progress, line by line. What a commit graph takes, gc shows anywhere."""
ENDS = re.compile(rb"[\r\n]")
LONGEST = 1024
"""Bytes that are held back until a line ends."""


class Without:
    """A filter (`pollprog.launch.Filter`). `shown`: what a line that is left out begins with, or the whole of it."""

    def __init__(self, shown: re.Pattern[bytes] = SHOWN) -> None:
        self._shown = shown
        self._rest = b""

    def passing(self, data: bytes) -> bytes:
        """Take what was written; give what passes. Without data: what passes because nothing has come for a while."""
        out = b""
        self._rest += data
        while found := ENDS.search(self._rest):
            line, self._rest = self._rest[: found.end()], self._rest[found.end() :]
            if not self._shown.match(line):
                out += line
        if not data or len(self._rest) > LONGEST:
            out, self._rest = out + self._rest, b""
        return out

    def end(self) -> bytes:
        """What is left."""
        return self.passing(b"")
