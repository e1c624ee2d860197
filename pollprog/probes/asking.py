"""A building block for tools: a program that says how far it is when it gets a signal, is asked, and its answer taken out.

A signal does harm in the wrong place: who has no handler for it is killed by it, and some programs end in order, or worse, by one that
others answer. So one is sent only

- to a program whose tool says that it answers, recognised by its words and its file at that moment;
- that has a handler for it at that moment (the last thing that is looked up: an exec takes handlers away), through a pidfd;
- whose answer is heard by us and passed on without it: `AnswerFilter`;
- once at a time: while one is unanswered no second one follows.

`dd` has guards of its own, and reports that cannot be told apart: see `pollprog.probes.dd`.
"""

from __future__ import annotations

import os
import re
import time
from _thread import allocate_lock  # threading itself is not loaded before a command is started

from pollprog.launch import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.probes import Target, Tool
    from pollprog.process import Process

__all__ = ["AnswerFilter", "Asker", "command_of"]

LONGEST = 4096
"""Bytes of the longest line that is held back."""


class AnswerFilter:
    """Passes on a stream without the answers that were asked for (a `pollprog.launch.Filter`).

    `answer`: the pattern of a line that is one, whole, without its newline, and that nothing else looks like. `title`: of a line that
    a program writes before its first answer only; it is left out if an answer follows it at once.
    """

    def __init__(self, answer: bytes, title: bytes) -> None:
        self._lock = allocate_lock()
        self._answer = re.compile(answer)
        self._title = re.compile(title)
        self.expected = 0
        """How many answers are to come."""
        self._held = b""
        self._rest = b""
        self._begun = False
        """Of the present line, a part has passed."""

    def expect(self, number: int) -> None:
        """So many more are to come: 1 just before the signal is sent, -1 if it was not sent after all."""
        with self._lock:
            self.expected = max(0, self.expected + number)

    def passing(self, data: bytes) -> bytes:
        """Take what was written; give what passes. Without data: what passes because nothing has come for a while."""
        with self._lock:
            *lines, self._rest = (self._rest + data).split(b"\n")
            out = b"".join(self._take(line) for line in lines)
            if self._rest and (not data or not self.expected or self._begun or len(self._rest) > LONGEST):
                out += self._let_go() + self._rest
                self._rest, self._begun = b"", True
            return out if data else out + self._let_go()

    def end(self) -> bytes:
        """What is left."""
        with self._lock:
            left, self._rest = self._let_go() + self._rest, b""
            return left

    def _let_go(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def _take(self, line: bytes) -> bytes:
        """What passes with this line."""
        whole, self._begun = not self._begun, False
        if whole and self.expected and self._answer.fullmatch(line):
            self.expected -= 1
            self._held = b""
            return b""
        passed = self._let_go()
        if whole and self.expected and self._title.fullmatch(line):
            self._held = line + b"\n"
            return passed
        return passed + line + b"\n"


class Asker:
    """Asks one process. `interval`: the least number of seconds between two signals."""

    def __init__(self, target: Target, tool: Tool, number: int, stream: int, *, interval: float = 1.0) -> None:
        self._process = target.process
        self._tool = tool
        self._number = number
        self._stream = stream
        self._interval = interval
        claim = target.claims.get(stream)
        self._ear = claim if isinstance(claim, AnswerFilter) else None
        self._pipe = pipe_of(target.ends.get(stream)) if self._ear is not None else None
        self._asked_at = float("-inf")
        self.sent = 0
        """How many signals were sent."""

    def ask(self) -> None:
        """Ask, if it is time, and nothing is in the way."""
        now = time.monotonic()
        if self._ear is None or self._ear.expected or now - self._asked_at < self._interval:
            return
        self._asked_at = now
        self._ear.expect(1)
        try:
            if self.forbidden():
                self._ear.expect(-1)
            else:
                self._process.send(self._number)
                self.sent += 1
        except OSError:
            self._ear.expect(-1)

    def forbidden(self) -> str:
        """Why no signal may be sent at this moment; '' if one may. The order matters: the handler is looked up last."""
        heard = self._process.stream(self._stream)
        if self._pipe is None or heard is None or (heard.st_dev, heard.st_ino) != self._pipe:
            return "what it says is not heard"
        if not self._tool.recognise(command_of(self._process)):
            return "it is another program"
        if not self._process.catches(self._number):
            return "it has no handler"
        return ""


def pipe_of(end: int | None) -> tuple[int, int] | None:
    """Device and inode of the pipe that we hear, or of the pseudoterminal."""
    try:
        if end is not None and os.isatty(end):
            from pollprog.stand_in import other_end

            info = other_end(end)
        else:
            info = os.fstat(-1 if end is None else end)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def command_of(process: Process) -> Command:
    """What runs in a process at this moment. Its words are those of a new program only once the old one's handlers are gone."""
    return Command(process.argv(), executable=process.link("exe").removesuffix(" (deleted)"))
