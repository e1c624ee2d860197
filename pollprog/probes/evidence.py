"""How far a command is that nobody knows: what the kernel shows of its whole tree, and the rule that picks what moves.

Each thing that can be looked at lies somewhere. Positions and counters stand still inside one copy_file_range, where only
the output grows (cp, cat). A position is at its end from the start for a program that seeks there to learn the size and then
reads with pread (qemu-img). It jumps over holes (cp of a sparse file), and runs ahead of the work where threads read
(zstd). An output may be full-sized from the start, be deleted, or be mapped and never written through a descriptor.
So the rule, at each look:

* The **reader** is the process that moves and has the most to read: the files and folders that its words name and that it has
  been seen to read, or the file that it reads unnamed (``< file``). What it has been seen to write is no input.
* One input: its position; the size of the output while that grows and both positions stand together (copy_file_range); the
  allocated size of the output where the input has holes and the output, its copy, has them too; `rchar` where the position says
  nothing (pread). Where the position goes to and fro, or began in the middle, and where the input may be mapped, as nothing is
  read through it, there is no total. Several inputs, or one that is named several times, or folders: `rchar`, and what grows beyond the position of the
  present output. An input that is read once more without being named again has no total from then on: `rchar` alone.
  One that was read to its end, by a program that reads what it has put by meanwhile (sort), is done: the rest is finishing.
* No input: the size of what grows, or its allocated size where that is what moves; failing that, `wchar` or `write_bytes`.
  There is no total then, but the user's.

A reader that ends and is followed by another begins a new phase. One that goes from one large file to another, and was told to read
neither, has no total from then on.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.errors import UsageError
from pollprog.phases import part
from pollprog.probes.seen import HEAD, Files, Reader, Way, written_by
from pollprog.probes.treesize import survey_tree
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pollprog.inherited import Before
    from pollprog.probes import Target
    from pollprog.probes.seen import Key
    from pollprog.process import Io, OpenFile, Process, ProcessTree, Stat

__all__ = ["Evidence", "probe"]

IDLE = 5.0
"""Seconds after which a reader that does not move gives way to one that does."""
SETTLING = 2.0
"""Seconds within which the choice of the reader is still open: nobody has been told much yet."""
SMALLEST = 1 << 16
"""Less than this to read is a script, a list, a configuration: nobody waits for its end."""
CHATTER = 1 << 20
"""Less than this, written to no file or to standard error, is what a command says, and not what it does. Where the user's total
is small, a hundredth of that."""
MARKS = 4
"""Counts that are remembered, as the newest may not be told before the end."""
BUFFER = 4 << 20
"""Bytes by which the output of a copy may be behind its input."""
DISBELIEF = 4 << 20
"""Bytes read beyond twice the total after which that total is no longer believed."""


class Evidence:
    """The probe for what nobody recognises.

    `total`: what the user says the work amounts to, in bytes. `aside`: files that are not looked at, by device and inode.
    `before`: what stood in the files that the tree has inherited; work begins there.
    """

    def __init__(
        self,
        tree: ProcessTree,
        *,
        total: int | None = None,
        aside: frozenset[Key] = frozenset(),
        before: Before | None = None,
    ) -> None:
        self._tree = tree
        self.present: list[tuple[Process, Stat]] | None = None
        """What somebody has just found in the tree, which the next sample need not look at again then."""
        self._total = total
        self._files = Files(before)
        self._seen: dict[Process, tuple[Stat, Io, list[OpenFile]]] = {}
        """What each process was seen with at the last look."""
        self._readers: dict[tuple[int, int], Reader] = {}
        self._chosen: Reader | None = None
        self._chosen_at = 0.0
        self._beside = False
        """Another process reads something else at the same time: what the chosen one reads is not all."""
        self._turned: Reader | None = None
        """Whose going on to another file has begun a phase."""
        self._phase = ""
        self._phases = 0
        self._last: Sample | None = None
        self._marks: deque[tuple[int, int]] = deque(maxlen=MARKS)
        """What was said last, and what the whole tree had read when that was seen first."""
        self._aside = aside | own_log()

    def close(self) -> None:
        """Nothing to give back: the tree is its owner's."""

    def sample(self) -> Sample | None:
        """Look at every process of the tree and say what moves."""
        present, self.present = self.present, None
        now = time.monotonic()
        seen = {}
        activity = rchar = wchar = write_bytes = 0
        for process, told in self._tree.look() if present is None else present:
            activity += told.ticks
            looked = self._look(process, told)
            if looked is not None:
                seen[process] = looked
                io = looked[1]
                activity += io.rchar + io.wchar + io.write_bytes
                rchar, wchar, write_bytes = rchar + io.rchar, wchar + io.wchar, write_bytes + io.write_bytes
        before, self._seen = self._seen, seen
        if not seen:
            return None
        if self._stands(before, activity):
            return self._last
        self._files.follow((process, files) for process, (_, _, files) in seen.items())
        self._choose(now)
        by_reading = self._of_reader()
        by_writing = self._of_output(wchar, write_bytes)
        best = by_reading or by_writing
        if self._total is not None and by_reading is not None:
            best = max(by_reading, by_writing, key=lambda sample: sample.current)
        total = best.total if self._total is None else self._total
        if self._beside and best is by_reading:
            best = replace(best, bound=Bound.ESTIMATE)
        source = f"evidence:{best.source}"
        self._last = Sample(best.current, total, best.unit, self._phase, source, best.bound, activity)
        if not self._marks or self._marks[-1][0] != best.current:
            self._marks.append((best.current, rchar))
        return self._last

    def reached(self, sample: Sample, rchar: int) -> bool:
        """Whether what was still to be read at this sample was read by the end, when the root had `rchar`.

        That has in it what its children read, once it has waited for them.
        """
        at = next((read for current, read in reversed(self._marks) if current == sample.current), None)
        if at is None or sample.total is None or self._chosen is None or self._beside:
            return False
        slack = SMALLEST if sample.source.endswith(Way.HOLES.value) else 0  # blocks are whole, what is read is not
        return rchar - at >= sample.total - sample.current - slack

    def survey(self) -> Iterator[int] | None:
        """Walk the folders that the present reader was seen to read."""
        reader = self._chosen
        if reader is None or not reader.reads_folder or self._total is not None:
            return None
        pending = [folder for folder, size in reader.folders.items() if size is None]
        return survey_folders(reader, pending) if pending else None

    def _look(self, process: Process, told: Stat) -> tuple[Stat, Io, list[OpenFile]] | None:
        last = self._seen.get(process)
        if last is not None and last[0] is told:  # it waits: others may have moved its files, and nothing else
            files = [self._files.since_start(file) for file in process.again(last[2])]
            return last if files == last[2] else (told, last[1], files)
        io = process.io()
        if io is None:
            return None
        files = [file for file in process.files() if file.key not in self._aside]
        return told, io, [self._files.since_start(file) for file in files]

    def _stands(self, before: dict[Process, tuple[Stat, Io, list[OpenFile]]], activity: int) -> bool:
        """Nothing of the tree has moved since the last look, nor can a survey have: what was said holds."""
        if self._last is None or activity != self._last.activity or len(before) != len(self._seen):
            return False
        if self._chosen is not None and self._chosen.reads_folder:
            return False
        return all(before.get(process) is looked for process, looked in self._seen.items())

    # -- which process

    def _choose(self, now: float) -> None:
        present = {}
        for process, (told, _, _) in self._seen.items():
            identity = process.pid, process.start
            reader = self._readers.get(identity)
            if reader is None or reader.name != told.name:  # it has become another program, or has words now
                reader = Reader.of(process, told.name)
            present[identity] = reader
        self._readers = present
        looks = list(zip(present.values(), self._seen.values(), strict=True))
        written = written_by((reader, files) for reader, (_, _, files) in looks)
        for reader, (told, io, files) in looks:
            reader.look(
                files, self._files, written.get(reader.typed, ()), rchar=io.rchar, threads=told.threads, now=now
            )
        chosen = self._chosen
        if chosen is not None and not any(reader is chosen for reader in present.values()):
            chosen = self._chosen = None
        moving = [
            reader
            for reader in present.values()
            if reader.moved_at == now and credible(reader) and not hands_on(reader, present.values())
        ]
        best = max(moving, key=lambda reader: (weight(reader), reader.rchar), default=None)
        if chosen is not None and chosen in moving:
            self._beside = self._beside or any(not same_input(reader, chosen) for reader in moving)
        if best is None or best is chosen:
            if chosen is not None and not credible(chosen):
                self._chosen = None
            return
        settling = now - self._chosen_at < SETTLING and self._phases <= 1
        handed = chosen is not None and hands_on(chosen, [best])
        if chosen is None or handed or now - chosen.moved_at > IDLE or (settling and weight(best) > weight(chosen)):
            if chosen is None or not (settling or handed or goes_on(chosen, best)):
                self._begin_phase(best)
            self._chosen, self._chosen_at = best, now
            self._beside = any(not same_input(reader, best) for reader in moving)

    def _begin_phase(self, reader: Reader) -> None:
        self._phases += 1
        if self._phases > 1:
            self._phase = part(reader.name, self._phases)
        elif reader.process is not self._tree.root:
            self._phase = reader.name

    # -- which number

    def _of_reader(self) -> Sample | None:
        reader = self._chosen
        if reader is None or reader.largest is None:
            return None
        if reader.turned and not reader.several:
            if self._turned is not reader:
                self._turned = reader
                self._begin_phase(reader)
            return Sample(reader.rchar, source="rchar", bound=Bound.ESTIMATE)
        if reader.repeats:
            return Sample(reader.rchar, source="rchar", bound=Bound.ESTIMATE)
        if reader.several:
            return Sample(
                reader.rchar + reader.in_flight(self._files), reader.total(), source="rchar", bound=Bound.ESTIMATE
            )
        source = next((file for file in reader.inputs if file.key == reader.largest.key), None)
        if source is None and reader.done and reader.way in (Way.POSITION, Way.ONE_CALL):
            return Sample(reader.largest.size, reader.largest.size, source=reader.way.value, bound=bound_of(reader))
        if source is None:  # closed: nothing more to be seen of it
            return replace(self._last, source=self._last.source.partition(":")[2]) if self._last else None
        return self._of_single(reader, source)

    def _of_single(self, reader: Reader, source: OpenFile) -> Sample | None:
        seen = self._files.by_key[source.key]
        beside = [file for file in reader.outputs if stands_beside(file, source)]
        reader.way = self._way(reader, source, beside)
        if reader.way is Way.POSITION and (reader.again or (reader.jumps and not beside)):
            return Sample(reader.rchar, source="rchar", bound=Bound.ESTIMATE)
        match reader.way:
            case Way.ONE_CALL:
                reader.copied = max((file.size for file in beside if self._grew(file)), default=reader.copied)
                # the position of what has holes jumps over them
                done = reader.copied if seen.sparse else max(reader.copied, source.position)
                return Sample(done, source.size, source=reader.way.value)
            case Way.HOLES:
                reader.copied = max((file.blocks for file in beside if self._grew(file)), default=reader.copied)
                return Sample(reader.copied, source.blocks, source=reader.way.value, bound=Bound.ESTIMATE)
            case Way.PREAD:
                total = min(source.size, source.blocks or source.size)
                return Sample(reader.rchar, total, source=reader.way.value, bound=Bound.ESTIMATE)
        if source.position <= HEAD:
            return None  # nothing is read through it yet, or ever: it may be mapped, once its head is read
        if not seen.moved and any(
            file.size > file.position and not self._files.by_key[file.key].grew for file in beside
        ):
            return None  # a copy inside one call, or an old file written over: the next look tells
        done = source.position if not seen.sparse else min([source.position, *(file.size for file in beside)])
        return Sample(done, source.size, source=reader.way.value, bound=bound_of(reader))

    def _grew(self, file: OpenFile) -> bool:
        seen = self._files.by_key[file.key]
        return seen.grew or seen.filled

    def _way(self, reader: Reader, source: OpenFile, beside: list[OpenFile]) -> Way:
        seen = self._files.by_key[source.key]
        if seen.sparse and beside and reader.way is not Way.PREAD:
            if any(file.blocks > source.blocks + source.blocks // 16 + BUFFER for file in beside):
                reader.fills = True
            if not reader.fills and any(keeps_holes(file) for file in beside):
                return Way.HOLES
            if reader.way is Way.HOLES:
                return Way.POSITION
        if reader.way is not Way.POSITION:
            return reader.way
        if any(file.size > file.position == source.position and self._files.by_key[file.key].grew for file in beside):
            return Way.ONE_CALL
        unread = reader.rchar < source.size * 0.9
        if (
            unread
            and not seen.moved
            and (
                source.position == source.size
                or (not source.position and reader.rchar > max(reader.first_rchar, reader.since) + SMALLEST)
            )
        ):
            return Way.PREAD
        return Way.POSITION

    def _of_output(self, wchar: int, write_bytes: int) -> Sample:
        # who says of how little the work consists waits for that little
        chatter = CHATTER if self._total is None else min(CHATTER, self._total // 100)
        written, how, bound = self._files.output(chatter=chatter)
        if written * 8 >= wchar and written:
            return Sample(written, source=how, bound=bound)
        much, how = max((wchar, "wchar"), (write_bytes, "write_bytes"), key=lambda way: way[0])
        return Sample(much if much >= chatter else 0, source=how, bound=Bound.ESTIMATE)


def own_log() -> frozenset[Key]:
    """The file into which we write lines of log ourselves, if any: what grows there is not the command's work."""
    try:
        info, output = os.fstat(2), os.fstat(1)
    except OSError:
        return frozenset()
    shared = os.path.samestat(info, output)  # then the command's own output is in it
    return frozenset({(info.st_dev, info.st_ino)} if stat.S_ISREG(info.st_mode) and not shared else ())


def stands_beside(output: OpenFile, source: OpenFile) -> bool:
    """Whether this output is where the input is, or one buffer behind: it is a copy, and not something made of it."""
    behind = source.position - output.position
    return 0 <= behind <= min(BUFFER, source.position // 16)


def keeps_holes(output: OpenFile) -> bool:
    """Whether this output has holes where its input has some: most copies that are not made by cp are written in full."""
    return output.blocks < max(output.size, output.position) * 0.9 - SMALLEST


def bound_of(reader: Reader) -> Bound:
    """How far a position is to be trusted: what reads with threads is ahead of its work."""
    return Bound.UPPER if reader.threads > 1 and reader.way is Way.POSITION else Bound.EXACT


def credible(reader: Reader) -> bool:
    """Whether what this process reads is what it is waited for."""
    total = reader.total()
    if not reader.reads:
        return False
    more = reader.again or (reader.done and reader.puts_by)
    return total is None or (total >= SMALLEST and (more or reader.rchar <= 2 * total + DISBELIEF))


def hands_on(shell: Reader, readers: Iterable[Reader]) -> bool:
    """Whether this is a shell that has its command's input open, and reads nothing of it, as some do for `command < file`."""
    if not shell.shell or shell.largest is None:
        return False
    key = shell.largest.key
    for reader in readers:
        reads = not reader.shell and reader.rchar >= SMALLEST  # a sleep has it open, too
        if reads and reader.largest is not None and reader.largest.key == key:
            shell.handed_on.add(key)
    return key in shell.handed_on


def same_input(one: Reader, other: Reader) -> bool:
    """Whether two processes read the same file, as those that share a descriptor do."""
    if one is other or one.largest is None or other.largest is None:
        return True
    return one.largest.key == other.largest.key


def goes_on(one: Reader, other: Reader) -> bool:
    """Whether the other reads where the first one stands: a shell has opened the file that its command reads."""
    if one.largest is None or other.largest is None:
        return False
    return (one.largest.key, one.largest.position) == (other.largest.key, other.largest.position)


def weight(reader: Reader) -> float:
    """How much it has to read; a tree that is not surveyed yet is more than any file."""
    total = reader.total()
    return float("inf") if total is None else float(total)


def survey_folders(reader: Reader, folders: list[str]) -> Iterator[int]:
    """Walk each folder; what is found goes to the reader."""
    for folder in folders:
        size = 0
        for size in survey_tree(folder):
            yield size
        if folder in reader.folders:  # it may have been seen to be written to meanwhile
            reader.folders[folder] = size


def probe(target: Target, argument: str | None) -> Evidence:
    """The probe behind ``--probe evidence``."""
    if argument is not None:
        raise UsageError("evidence takes no argument; write --probe evidence")
    return Evidence(target.tree, total=target.total)
