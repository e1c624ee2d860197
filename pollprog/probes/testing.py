"""Tests of a tool, without its program: a recording is played to its probe, as fast as it goes.

A recording is what ``pollprog record`` writes: ``NAME.cmd``, the command, and where it ran; ``NAME.stdout``, ``.stderr`` and ``.fd3``, what it
wrote there, the last one being its status descriptor; ``NAME.proc.jsonl``, what /proc said of each of its processes, and when;
and ``NAME.output.jsonl``, when which bytes were written. The last two need not be there.

`play` gives the samples of a probe, in the same pieces as recorded, or however finely cut. What a probe may say whatever it
hears is checked on the way: `unsound` says what is wrong.
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from pollprog.probes import Hears, Surveys, Target
from pollprog.probes.contract import STATUS
from pollprog.probes.trust import check
from pollprog.process import Process, ProcessTree
from pollprog.streams import Splitter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from pollprog.probes import Tool
    from pollprog.status import Sample

__all__ = ["FakeProc", "Recording", "play", "unsound"]

STREAMS = {1: "stdout", 2: "stderr", STATUS: "fd3"}
"""How the file of each stream ends."""
FIELDS = "{pid} ({name}) {state} {parent} {pid} {pid} 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 {threads} 0 {start}" + 30 * " 0"
"""A line of /proc/PID/stat, as far as anybody reads it."""
CWD = "# cwd "
SETTINGS = ("env", "nice", "LC_ALL=C")


@dataclass(frozen=True, slots=True)
class Recording:
    """One run of a program."""

    argv: Sequence[str]
    output: Mapping[int, bytes] = field(default_factory=dict)
    """What was written, by stream."""
    pieces: Sequence[tuple[float, int, int]] = ()
    """(seconds, stream, bytes) of each write, in their order."""
    looks: Sequence[tuple[float, Sequence[dict[str, Any]]]] = ()
    """(seconds, what /proc says of each process)."""
    directory: str = "/"
    """Where it was started."""
    contents: Mapping[str, bytes] = field(default_factory=dict)
    """What the files that it had open begin with, by path; it is not recorded, and else they are holes."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """Read one: `path` without the endings."""
        path = os.fspath(path)
        output = {stream: read(f"{path}.{ending}") for stream, ending in STREAMS.items()}
        looks = [json.loads(line) for line in read(f"{path}.proc.jsonl").splitlines()]
        pieces = [json.loads(line) for line in read(f"{path}.output.jsonl").splitlines()]
        command = read(f"{path}.cmd").decode()
        return cls(
            words_of(command),
            {stream: data for stream, data in output.items() if data},
            [(piece["t"], piece["stream"], piece["size"]) for piece in pieces],
            [(time, list(group)) for time, group in groupby(looks, key=lambda look: look["t"])],
            directory_of(command),
        )

    def cut(self, size: int | None) -> Iterator[tuple[float, int, bytes]]:
        """(seconds, stream, bytes): what was written, as it was, or in pieces of so many bytes; of what wrote nothing, each look."""
        if not self.output:
            yield from ((time, 1, b"") for time, _ in self.looks)
        end = self.looks[-1][0] if self.looks else 1.0
        pieces = self.pieces or [
            (end * (number + 1) / 20, stream, -(-len(data) // 20))
            for number in range(20)
            for stream, data in self.output.items()
        ]
        at = dict.fromkeys(self.output, 0)
        for time, stream, length in pieces:
            data = self.output[stream][at[stream] : at[stream] + length]
            at[stream] += length
            for start in range(0, len(data), size or max(len(data), 1)):
                yield time, stream, data[start : start + (size or len(data))]


def read(path: str) -> bytes:
    """A file of a recording; nothing if it is not there."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def directory_of(text: str) -> str:
    """Where the command ran, which a comment in a ``.cmd`` file says."""
    said = (line.removeprefix(CWD) for line in text.splitlines() if line.startswith(CWD))
    return next((shlex.split(line)[0] for line in said if line.strip()), "/")


def words_of(text: str) -> list[str]:
    """The words of the command in a ``.cmd`` file, whose other lines begin with #."""
    line = next(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    words = shlex.split(line)
    while words and words[0] in SETTINGS:
        words = words[1:]
    return [word for word in words if word[:2] not in ("3>", "2>")]


class FakeProc:
    """A folder that says what /proc said; the files that a process had open are there, under the same path below ``root``."""

    def __init__(
        self, folder: str, argv: Sequence[str], *, directory: str = "/", contents: Mapping[str, bytes] | None = None
    ) -> None:
        self.folder = folder
        self._argv = argv
        self._contents = contents or {}
        self._files: dict[str, str] = {}
        self._directory = self._below(directory)
        os.makedirs(self._directory, exist_ok=True)

    def lay_out(self, files: Iterable[Mapping[str, Mapping[str, Any]]]) -> None:
        """Have those files there, as each was when it was first seen."""
        for told in (told for group in files for told in group.values() if told["path"] not in self._files):
            os.truncate(self._place(told["path"]), told["size"])

    def show(self, pid: int, look: Mapping[str, Any], *, children: Sequence[int] = (), ticks: int = 0) -> None:
        """From now on this is what one process is like; `look` as in ``.proc.jsonl``."""
        place = f"{self.folder}/{pid}"
        for name in ("fd", "fdinfo", f"task/{pid}"):
            os.makedirs(f"{place}/{name}", exist_ok=True)
        name, state = look.get("Name", self._argv[0]), look.get("State", "R")[0]
        fields = FIELDS.format(
            pid=pid, name=name, state=state, parent=1, ticks=ticks, threads=look.get("Threads", 1), start=pid
        )
        io = look.get("io") or dict.fromkeys(("rchar", "wchar", "read_bytes", "write_bytes"), 0)
        texts = {
            "stat": f"{fields}\n",
            "status": f"Name:\t{name}\nSigCgt:\t{look.get('SigCgt', '0')}\n",
            "io": "".join(f"{key}: {value}\n" for key, value in io.items()),
            "cmdline": "".join(f"{word}\0" for word in look.get("argv") or self._argv),
            "environ": "",
            f"task/{pid}/children": " ".join(map(str, children)),
        }
        for name, text in texts.items():
            with open(f"{place}/{name}", "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
        if not os.path.islink(f"{place}/cwd"):
            os.symlink(self._directory, f"{place}/cwd")
        self._show_files(place, look.get("fd") or {})

    def _show_files(self, place: str, files: Mapping[str, Mapping[str, Any]]) -> None:
        for name in os.listdir(f"{place}/fd"):
            os.unlink(f"{place}/fd/{name}")
        for name, told in files.items():
            path = self._place(told["path"])
            os.truncate(path, told["size"])
            with open(f"{place}/fdinfo/{name}", "w", encoding="ascii") as file:
                file.write(f"pos:\t{told['pos']}\nflags:\t{told['flags']}\nmnt_id:\t1\n")
            os.symlink(path, f"{place}/fd/{name}")

    def _below(self, path: str) -> str:
        return f"{self.folder}/root{os.path.normpath(f'/{path}')}"

    def _place(self, path: str) -> str:
        """The file of ours for one that was open; for what is none, as a pipe, it has a name of ours."""
        if path not in self._files:
            ours = self._below(path) if path.startswith("/") else ""
            try:
                os.makedirs(os.path.dirname(ours), exist_ok=True)
                os.mknod(ours)
            except OSError:
                ours = f"{self.folder}/file {len(self._files)}"
            with open(ours, "wb") as file:
                file.write(self._contents.get(path, b""))
            self._files[path] = ours
        return self._files[path]


@contextmanager
def stage(recording: Recording) -> Iterator[tuple[FakeProc, Target]]:
    """A /proc of our own, and the target in it: the process that was first seen."""
    with tempfile.TemporaryDirectory(prefix="pollprog-play-") as folder:
        proc = FakeProc(folder, recording.argv, directory=recording.directory, contents=recording.contents)
        pids = sorted({look["pid"] for _, looks in recording.looks for look in looks}) or [1000]
        proc.lay_out(look.get("fd") or {} for _, looks in recording.looks for look in looks)
        for pid in pids:
            proc.show(pid, {}, children=[other for other in pids if other != pid] if pid == pids[0] else ())
        process = Process(pids[0], root=folder)
        tree = ProcessTree(process, proc=folder)
        try:
            yield proc, Target(tree, process, launched=True)
        finally:
            tree.close()
            process.close()


def play(tool: Tool, recording: Recording, *, size: int | None = None) -> list[Sample]:
    """The samples of the tool's probe while a recording is played; `size`: output comes in pieces of so many bytes. A survey is over at once.

    AssertionError if the tool does not know the command, or its probe says what no probe may.
    """
    from pollprog.launch import Command

    assert tool.recognise(Command(recording.argv)), f"{tool.name} does not recognise {recording.argv}"
    samples: list[Sample] = []
    with stage(recording) as (proc, target):
        probe = tool.probe(target)
        if isinstance(probe, Surveys):
            deque(probe.survey() or (), maxlen=0)
        splitters = {stream: Splitter() for stream in recording.output}
        looks = list(recording.looks)
        pids = sorted({look["pid"] for _, group in looks for look in group})
        for ticks, (time, stream, data) in enumerate(recording.cut(size)):
            while looks and looks[0][0] <= time:
                for look in looks.pop(0)[1]:
                    others = [pid for pid in pids if pid != look["pid"]] if look["pid"] == pids[0] else ()
                    proc.show(look["pid"], look, children=others, ticks=ticks)
            records = splitters[stream].split(data) if data else []
            for record in records:
                if isinstance(probe, Hears):
                    probe.feed(stream, record)
            if (records or not data or size is None) and (sample := check(probe.sample())) is not None:
                samples.append(sample)
        probe.close()
    wrong = unsound(samples)
    assert not wrong, wrong
    return samples


def unsound(samples: Sequence[Sample]) -> str:
    """What no probe may say, if it was said; else nothing."""
    for sample in samples:
        if sample.total is not None and sample.current > sample.total:
            return f"more than there is: {sample}"
    for old, new in pairwise(samples):
        if (new.phase, new.total, new.unit, new.source) == (old.phase, old.total, old.unit, old.source):
            if new.current < old.current:
                return f"it falls: {old}, then {new}"
            if new.activity < old.activity:
                return f"the activity falls: {old}, then {new}"
    return ""
