"""``cryptsetup reencrypt``, ``luksFormat``: the progress that it prints, as text or, with ``--progress-json``, in lines of JSON.

It prints text wherever its output goes, but for ``-q``: then nothing, and ``run`` adds ``--progress-json`` for itself alone, where what that adds to
standard output can be taken out again. Titles in another language than English say nothing.
"""

from __future__ import annotations

import re

from pollprog.probes.program import Program, can_hear, has_option, holds, listening
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL", "JsonFilter"]

WORKING = {"reencrypt", "luksFormat"}
ADDED = ("--progress-json", "--progress-frequency=1")
JSON = re.compile(
    rb'\{"device":".*","device_bytes":"[0-9]+","device_size":"[0-9]+","speed":"[0-9]+","eta_ms":"[0-9]+","time_ms":"[0-9]+"\}\n'
)
BEGIN = b'{"device":"'
LONGEST = 8192
"""Bytes of the longest line that is held back."""


class Cryptsetup(Program):
    """Knows cryptsetup."""

    name = "cryptsetup"
    launched = "by the progress that it prints, or with `-q` by `--progress-json`, which is added where it can be taken out again; else by evidence"
    attached = "by its progress, where that goes into a file (`> log`); else by evidence: what it has written"
    totals = "its own: the size of the data on the device"
    wrong = "It tells of whole hot zones, which may have 1 GiB: at least so much is done. Of what is too small for a second nothing is told."

    def prepare(self, command: Command) -> Command:
        """The same command, heard; with ``-q`` it is told to print what is left out again."""
        if not WORKING & set(command.argv):
            return command
        if not has_option(command.argv, "q", ("--batch-mode",)) or has_option(command.argv, "", ("--progress-json",)):
            return listening(command, 1)
        if not (can_hear(1) or here().is_terminal(1)) or not holds(command, b"progress-json"):
            return command
        heard = command.hearing(1, JsonFilter())
        if 1 not in heard.claims or has_option(command.argv, "", ("--progress-frequency",)):
            return command
        return heard.with_words((command.argv[0], *ADDED, *command.argv[1:]))

    def probe(self, target: Target) -> Probe:
        """By its lines."""
        from pollprog.probes.logged import said
        from pollprog.probes.records import Rule
        from pollprog.status import Bound, Unit

        rules = [
            Rule(rb"Progress: +(?P<percent>[0-9]{1,3}\.[0-9])%, ETA .*"),
            Rule(
                rb'\{"device":".*","device_bytes":"(?P<current>[0-9]+)","device_size":"(?P<total>[0-9]+)",.*',
                Unit.BYTES,
            ),
        ]
        return said(target, *rules, source="cryptsetup", streams=(1,), bound=Bound.LOWER)


class JsonFilter:
    """Passes on a stream without the lines that ``--progress-json`` adds (a `pollprog.launch.Filter`)."""

    def __init__(self) -> None:
        self._held = b""
        self._inside = False
        """Of the present line, something has passed."""

    def passing(self, data: bytes) -> bytes:
        """What was written, but these lines."""
        out = b""
        self._held += data
        while self._held:
            line, newline, rest = self._held.partition(b"\n")
            if not newline and not self._inside and len(line) < LONGEST and BEGIN.startswith(line[: len(BEGIN)]):
                break  # it may become one
            if self._inside or not JSON.fullmatch(line + newline):
                out += line + newline
            self._held, self._inside = rest, not newline
        return out

    def end(self) -> bytes:
        """What is left."""
        held, self._held = self._held, b""
        return held


TOOL = Cryptsetup()
