"""``pollprog record`` and ``pollprog probes --explain``: what a plugin for a new program is written from.

A recording is the run of a command: what it wrote and when, and twenty times a second what /proc said of each of its processes.
The files are described in `pollprog.probes.testing`, which plays them back. The streams pass through pipes here, so a program
may behave as it does with its output in a pipe, not as in a terminal.

An explanation is one run under every probe that there is, side by side.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from contextlib import ExitStack, suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import trio

from pollprog import streams, tools
from pollprog.errors import OperationFailed, visible
from pollprog.launch import Command, launch
from pollprog.probes.contract import STATUS
from pollprog.probes.declared import FD
from pollprog.probes.testing import CWD
from pollprog.process import Process, ProcessTree
from pollprog.runner import Watch
from pollprog.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO, Any

    from pollprog.ending import Ended
    from pollprog.launch import Launched
    from pollprog.probes import Tool
    from pollprog.status import Sample

__all__ = ["explain", "record"]

DIGIT = re.compile(rb"[0-9]")
BEAT = 0.05
"""Seconds between two looks for a recording."""
SHOWN = 0.5
"""Seconds between two lines of an explanation."""
SIDE_BY_SIDE = ("run", "evidence", "fdinfo", "procio")
"""What is compared; the first is what ``run`` would show."""
WIDTH = 34
LONGEST_SHOWN = 100
"""Letters of a line that a plugin took nothing from."""
ENOUGH = 2
"""Lines of an explanation in which a plugin could have spoken."""


class Tape:
    """Where a recording is written: the files of one name."""

    def __init__(self, stack: ExitStack, path: str, argv: Sequence[str]) -> None:
        def new(ending: str) -> IO[bytes]:
            try:
                return stack.enter_context(open(f"{path}.{ending}", "xb", buffering=0))
            except FileExistsError as error:
                said = f"{path}.{ending} is there already; choose another name with -o, or remove it"
                raise OperationFailed(said, path=f"{path}.{ending}") from error
            except OSError as error:
                raise OperationFailed(f"{path}.{ending}: {error.strerror}", path=f"{path}.{ending}") from error

        self.fault: OSError | None = None
        """Why nothing more is written down: the disk is full. The command does not hear of that."""
        with new("cmd") as file:
            self._put(file, os.fsencode(f"{CWD}{shlex.quote(directory())}\n{shlex.join(argv)}\n"))
        if self.fault is not None:
            raise OperationFailed(f"{path}.cmd: {self.fault.strerror}", path=f"{path}.cmd") from self.fault
        self._files = {1: new("stdout"), 2: new("stderr"), STATUS: new("fd3")}
        self._pieces, self._looks = new("output.jsonl"), new("proc.jsonl")
        self._began = time.monotonic()
        self._lock = Lock()

    def wrote(self, stream: int, data: bytes) -> None:
        """The command wrote this. From any thread."""
        if not data:
            return
        with self._lock:
            self._put(self._files[stream], data)
            self._line(self._pieces, {"t": self._now(), "stream": stream, "size": len(data)})

    def look(self, tree: ProcessTree) -> None:
        """What /proc says of each process now."""
        now = self._now()
        for process, told in tree.look():
            with suppress(OSError):
                io = process.io()
                files = {
                    str(file.fd): {
                        "path": process.path(file),
                        "pos": file.position,
                        "flags": f"{file.flags:07o}",
                        "size": file.size,
                        "blk": file.blocks,
                    }
                    for file in process.files()
                }
                caught = sum(1 << (number - 1) for number in range(1, 65) if process.catches(number))
                said = {
                    "t": now, "pid": process.pid, "Name": told.name, "State": told.state, "Threads": str(told.threads), "SigCgt": f"{caught:016x}",
                    "argv": process.argv(), "io": None if io is None else {name: getattr(io, name) for name in io.__slots__}, "fd": files,
                }  # fmt: skip
                self._line(self._looks, said)

    def _now(self) -> float:
        return round(time.monotonic() - self._began, 3)

    def _line(self, file: IO[bytes], said: dict[str, Any]) -> None:
        self._put(file, json.dumps(said, ensure_ascii=True).encode() + b"\n")

    def _put(self, file: IO[bytes], data: bytes) -> None:
        try:
            while data and self.fault is None:
                data = data[file.write(data) :]
        except OSError as error:
            self.fault = error


def directory() -> str:
    """Where we run, as far as that can stand in a line."""
    try:
        here = os.getcwd()
    except OSError:
        return "/"
    return here if here.isprintable() else "/"


class Tee:
    """Writes down what passes; of what a tool's own filter would take out, too (a `pollprog.launch.Filter`)."""

    def __init__(self, tape: Tape, stream: int) -> None:
        self._wrote = partial(tape.wrote, stream)

    def passing(self, data: bytes) -> bytes:
        """All of it."""
        self._wrote(data)
        return data

    def end(self) -> bytes:
        """Nothing is left."""
        return b""


def prepared(words: Sequence[str]) -> tuple[Command, Tool | None]:
    """The command as its tool would have it, and that; or with a status descriptor in the place of ``{fd}``, if somebody typed that."""
    command = Command(words)
    if any(FD in word for word in words):
        return command.with_status(lambda argv, number: [word.replace(FD, str(number)) for word in argv]), None
    return tools.prepare(command)


def record(words: Sequence[str], path: str) -> Ended:
    """Run a command and write down what it does, in files whose names begin with `path`; how it ended. OperationFailed if one of them is there."""
    with ExitStack() as stack:
        command, _ = prepared(words)
        tape = Tape(stack, path, command.argv)
        heard = Command(command.argv, claims={stream: Tee(tape, stream) for stream in (1, 2)}, status=command.status)
        launched = launch(heard)
        streams.listen(launched)
        written = None if launched.status is None else os.dup(launched.status)
        at = 0
        tree = None
        with suppress(OSError):
            tree = ProcessTree(Process(launched.pid))
        while True:
            ended = launched.reap()
            if tree is not None and ended is None:
                tape.look(tree)
            if written is not None:
                data = os.pread(written, 1 << 24, at)
                at += len(data)
                tape.wrote(STATUS, data)
            if ended is not None:
                break
            time.sleep(BEAT)
        for ear in launched.ears:
            ear.finish()
        if tree is not None:
            tree.close()
            tree.root.close()
        if written is not None:
            os.close(written)
        launched.close()
    if tape.fault is not None:
        sys.stderr.write(f"pollprog: the recording {path} is not whole: {tape.fault.strerror}\n")
    return ended


# --- side by side


def explain(words: Sequence[str]) -> Ended:
    """Run a command under every probe, and print what each of them says of it, a line each half second; how it ended."""
    command, tool = prepared(words)
    launched = launch(command)
    streams.listen(launched)
    return trio.run(_explain, launched, tool)


class Silent:
    """What a tool heard while it had nothing to say: for whoever writes its patterns."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self._spoke = False
        self._rows = 0
        self._heard = 0
        self._last = b""

    def heard(self, record: bytes) -> None:
        """One record. From any thread."""
        if record.strip():
            self._heard += 1
            if DIGIT.search(record) or not self._last:
                self._last = record

    def told(self, sample: Sample | None) -> None:
        """What ``run`` shows."""
        self._rows += 1
        self._spoke |= sample is not None and not sample.source.startswith("evidence")

    def tell(self, status: int | None, *, listens: bool) -> None:
        """Say so at the end, on standard error. `status`: what was written to the descriptor was heard, too. `listens`: anything was."""
        if self._spoke or self._rows < ENOUGH:  # of a short run it may have had no time to
            return
        for record in [] if status is None else os.pread(status, 1 << 24, 0).splitlines():
            self.heard(record)
        last = visible(self._last.decode("utf-8", "replace").strip()[:LONGEST_SHOWN])
        what = f"it heard {self._heard} lines, and took nothing from them; the last with a number: {last}"
        if not self._heard:
            what = "it heard nothing" if listens else "it was not listened to, or not told to say anything"
        sys.stderr.write(f"the plugin for {self._tool.name} said nothing: {what}\n")


async def _explain(launched: Launched, tool: Tool | None) -> Ended:
    newest: dict[str, Sample] = {}
    silent = None if tool is None else Silent(tool)
    sampler = Sampler()
    watches = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sampler.run)
        for name in SIDE_BY_SIDE:
            with suppress(OSError):
                watches.append(
                    Watch(
                        ProcessTree(Process(launched.pid)),
                        sampler,
                        partial(newest.__setitem__, name),
                        interval=SHOWN / 2,
                        status=launched.status,
                        named=None if name == "run" else name,
                        launched=True,
                        claims=launched.command.claims,
                        ends=launched.ends,
                        aside=launched.aside,
                        before=launched.before,
                    )
                )

        def heard(stream: int, record: bytes) -> None:
            for watch in watches:
                watch.heard(stream, record)
            if silent is not None:
                silent.heard(record)

        for ear in launched.ears:
            ear.tell(heard)
        print_line("elapsed", SIDE_BY_SIDE)
        while (ended := launched.reap()) is None:
            await trio.sleep(SHOWN)
            said = [described(newest[name]) if name in newest else "-" for name in SIDE_BY_SIDE]
            print_line(f"{time.monotonic() - launched.started:.1f} s", said)
            if silent is not None:
                silent.told(newest.get("run"))
        for watch in watches:
            watch.stop()
        nursery.cancel_scope.cancel()
    for ear in launched.ears:
        await trio.to_thread.run_sync(ear.finish)
    if silent is not None:
        silent.tell(launched.status, listens=bool(launched.ears) or launched.status is not None)
    launched.close()
    return ended


def print_line(first: str, rest: Sequence[str]) -> None:
    """One row of the table, on standard error: standard output is the command's."""
    sys.stderr.write(f"{first:>9}  {'  '.join(f'{text:{WIDTH}}' for text in rest).rstrip()}\n")


def described(sample: Sample) -> str:
    """A sample in a few words."""
    total = (
        sample.total if sample.total and sample.current <= sample.total else None
    )  # more than there is: run believes none
    share = f"{100 * sample.current / total:.1f} %" if total else f"{sample.current} {sample.unit}"
    return f"{share} {sample.phase or sample.source}"[:WIDTH]
