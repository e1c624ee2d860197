"""What a command's tree was seen to do with files, over time: the memory behind the evidence probe.

One `FileSeen` a file, over all descriptors that the tree has on it; one `Reader` a process, with the files and folders that
its words name. A file that the whole tree has closed is forgotten, but for the sum of what was written: the next command of
a script may read what the last one wrote.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import accumulate
from typing import TYPE_CHECKING

from pollprog.probes.naming import ELSEWHERE, WANDERERS, key_at, named, script_among, started_in
from pollprog.process import block_device_size
from pollprog.status import Bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pollprog.inherited import Before
    from pollprog.process import OpenFile, Process

__all__ = ["HEAD", "FileSeen", "Files", "Key", "Reader", "Way", "written_by"]

Key = tuple[int, int]
"""Device and inode."""

MOST_WORDS = 20_000
"""Words of a command that are looked up as names of files."""
FILTERS = re.compile(r"cat|tac|head|tail|wc|sort|paste|cksum|b2sum|(md5|sha\d+)sum")
"""Programs for which ``-`` among their words is their standard input; for others it may be their output."""
LIBRARY = re.compile(r"\.so(?:\.[0-9.]+)?$")
MODULE = re.compile(r"\.(?:pyc?|pm)$")
HEAD = 4096
"""Bytes of a file that are read before the rest is mapped, as of a library."""
SHELLS = frozenset({"bash", "dash", "ksh93", "mksh", "sh", "zsh", "zsh5"})
SCRIPTS = 10
"""The number from which on shells open what is theirs: the script that they read."""
SOME = 1 << 16
"""Bytes of a file that somebody may wait for."""
AHEAD = 4 << 20
"""Bytes by which a position may be ahead of what was counted as read a moment before."""
BACK = 1 << 16
"""Bytes by which a program may go back in what it reads, and has not begun again."""


@dataclass(slots=True)
class FileSeen:
    """One open file, as it is now and as it was at first sight. Sizes and positions are bytes."""

    path: str
    size: int
    blocks: int
    position: int
    first_size: int
    first_blocks: int
    first_position: int
    reads: bool = False
    written: bool = False
    appends: bool = False
    grew: bool = False
    """Its size grew at some look."""
    filled: bool = False
    """What is allocated of it grew while its size stood."""
    moved: bool = False
    """Its position moved at some look."""
    temporary: bool = False
    """It has no name any more, or one that nobody gave it, where such files are kept: it comes and goes within the work."""
    writing: bool = False
    """Somebody has it open for writing at this look."""
    says: bool = False
    """It is somebody's standard error: a few lines in it are words, and no work."""
    present: bool = True

    @property
    def sparse(self) -> bool:
        """It has holes, or is compressed: much less is allocated than it is long."""
        return 0 < self.blocks < self.size * 0.9

    @property
    def output(self) -> tuple[int, str]:
        """How much was written to it, and what says so; 0 for what does not move."""
        if not self.written:
            return 0, ""
        if self.grew:
            return self.size - (self.first_size if self.appends else 0), "output-size"
        if self.filled:
            return self.blocks, "output-blocks"
        if self.moved:
            return self.position, "output-position"
        return 0, ""


class Files:
    """Every file that the tree has open. `before`: what stood in those that it has inherited."""

    def __init__(self, before: Before | None = None) -> None:
        self.by_key: dict[Key, FileSeen] = {}
        self.closed = 0
        """Bytes written to files that have been closed since, as far as was seen."""
        self._temporary = False
        """Temporary files are among them."""
        self._said = 0
        """The same for what was somebody's standard error."""
        self._before = before or {}

    def since_start(self, file: OpenFile) -> OpenFile:
        """The file as if it began where the tree was given it: what stood before that is none of its work."""
        begins, _, blocks = self._before.get(file.key, (0, 0, 0))
        if not begins:
            return file
        return replace(
            file,
            size=max(0, file.size - begins),
            position=max(0, file.position - begins),
            blocks=max(0, file.blocks - (blocks if file.writes else min(blocks, begins))),
        )

    def follow(self, present: Iterable[tuple[Process, list[OpenFile]]]) -> None:
        """Take in one look at all processes of the tree."""
        for seen in self.by_key.values():
            seen.present = seen.writing = False
        for process, files in present:
            for file in files:
                self._take(process, file)
        for key in [key for key, seen in self.by_key.items() if not seen.present]:
            seen = self.by_key.pop(key)
            if seen.says:
                self._said += seen.output[0]
            else:
                self.closed += seen.output[0]
                self._temporary = self._temporary or bool(seen.temporary and seen.output[0])

    def _take(self, process: Process, file: OpenFile) -> None:
        seen = self.by_key.get(file.key)
        if seen is None:
            seen = self.by_key[file.key] = self._first_sight(process, file)
        # of several descriptors on one file the furthest counts
        position = max(file.position, seen.position) if seen.present else file.position
        seen.grew = seen.grew or file.size > seen.size
        seen.filled = seen.filled or (file.blocks > seen.blocks and file.size == seen.size)
        seen.moved = seen.moved or position != seen.position
        seen.size, seen.blocks, seen.position = file.size, file.blocks, position
        seen.present = True
        seen.reads = seen.reads or file.reads
        seen.written = seen.written or file.writes
        seen.writing = seen.writing or file.writes
        seen.says = seen.says or file.fd == 2
        seen.appends = seen.appends or bool(file.writes and file.flags & os.O_APPEND)

    def _first_sight(self, process: Process, file: OpenFile) -> FileSeen:
        """An inherited output is known from before the start, any other file from now on."""
        size, blocks, position = file.size, file.blocks, file.position
        if file.writes and file.key in self._before:
            begins, size, _ = self._before[file.key]
            size, position = max(0, size - begins), 0
        path = process.path(file)
        temporary = file.fd > 2 and file.key not in self._before and is_temporary(process, path)
        return FileSeen(path, size, blocks, position, size, blocks, position, temporary=temporary)

    def output(self, *, chatter: int = 0) -> tuple[int, str, Bound]:
        """How much the whole tree has written to files, what says so of the largest, and how far to trust it.

        Less than `chatter` on standard error does not count.
        """
        done, said, largest = self.closed, self._said, (0, "")
        unseen, temporary = bool(done), self._temporary
        for seen in self.by_key.values():
            part = seen.output
            done, said = (done, said + part[0]) if seen.says else (done + part[0], said)
            largest = max(largest, part)
            unseen = unseen or bool(part[0] and seen.appends and seen.first_size)
            temporary = temporary or bool(part[0] and seen.temporary)
        bound = Bound.ESTIMATE if temporary else Bound.LOWER if unseen else Bound.EXACT
        return done + (said if said >= chatter else 0), largest[1] or "output-size", bound


class Way(Enum):
    """What tells how far a process is with the one file that it reads."""

    POSITION = "input-position"
    ONE_CALL = "output-size"
    """A copy inside one system call: the output grows from where both positions stand."""
    HOLES = "output-blocks"
    """A copy of a file with holes, which takes no time for them."""
    PREAD = "rchar"
    """Reads that leave the position alone."""


@dataclass(slots=True)
class Reader:
    """One process, and what it has to read."""

    process: Process
    name: str
    """As the kernel tells it; empty as long as it has no words."""
    files: dict[Key, int] = field(default_factory=dict)
    """The regular files that its words name, with their sizes."""
    folders: dict[str, int | None] = field(default_factory=dict)
    """The folders that its words name, with the bytes in them; None until surveyed."""
    words: list[Key | str] = field(default_factory=list)
    """The files, and folders, in the order of its words, each as often as it is named."""
    typed: tuple[str, ...] = ()
    """All its words, if they name a folder: who has the same is another process of the same program."""
    inputs: list[OpenFile] = field(default_factory=list)
    """What it has open for reading at this look."""
    outputs: list[OpenFile] = field(default_factory=list)
    reads_named: bool = False
    """It was seen to read a file that its words name."""
    reads_folder: bool = False
    """It was seen to read below a folder that its words name."""
    fills: bool = False
    """Its output has no holes where the input has some."""
    way: Way = Way.POSITION
    """How its reading of a single file can be told. What was seen once holds for good."""
    copied: int = 0
    """Bytes in the output of a copy when it was last open: it may be closed before the input."""
    largest: OpenFile | None = None
    """The largest file that it was seen to read, as it was last seen."""
    furthest: int = 0
    """The furthest position at which that was seen."""
    again: bool = False
    """It was seen further on before, and all of that was read: this is another pass, and nobody knows of how many."""
    done: bool = False
    """It was read to its end."""
    puts_by: bool = False
    """It makes temporary files, or reads what it has written itself, as sort does."""
    made: set[Key] = field(default_factory=set)
    """What it was seen to write: no input of this process, though it may be one of the next."""
    last_rchar: int = 0
    """`rchar` when the largest was last seen open."""
    since: int = 0
    """`rchar` when the largest was first seen."""
    jumps: bool = False
    """It began in the middle of the largest, or goes to and fro in it: where it stands there says nothing."""
    turned: bool = False
    """It has gone from one large file that its words do not name to another: nobody knows how many there are."""
    unknown: bool = False
    """A pipe is among what it is to read: nobody knows how much comes."""
    script: Key | None = None
    """What an interpreter runs, which it reads, too."""
    shell: bool = False
    """It is a shell, which has its script open, and reads on in it while it works."""
    handed_on: set[Key] = field(default_factory=set)
    """What a shell has opened for its commands, which were seen to read it."""
    handed: int = 0
    """Where its standard input stood when it was first seen: somebody else has read that far."""
    threads: int = 1
    rchar: int = 0
    first_rchar: int = 0
    moved_at: float = -1e9

    @classmethod
    def of(cls, process: Process, name: str) -> Reader:
        """Look up which files and folders the words of this process name.

        Within an exec it has its new name a moment before its new words: the reader then has no name, and is made again.
        """
        words = process.argv()
        reader = cls(process, name if words else "")
        program = os.path.basename(process.link("exe"))
        reader.shell = program in SHELLS
        if script := script_among(program, words):
            reader.script = key_at(process.inside(words[script]))
            del words[:script]
        folders = [process.link("cwd") or "/"]
        if name in WANDERERS:
            folders += started_in(folders[0], words[1:]), process.environ().get("PWD", "/")
        for word, place in named(words[1 : MOST_WORDS + 1], elsewhere=name in ELSEWHERE):
            if word == "-":
                before = len(reader.words)
                reader._add(process.stream(0), "")
                reader.unknown = len(reader.words) == before and FILTERS.fullmatch(name) is not None
            for path in {word, word.partition("=")[2]} - {""}:
                any(reader._look_up(os.path.join(folder, place, path)) for folder in folders)
        if reader.folders:
            reader.typed = tuple(words)
        return reader

    def _look_up(self, path: str) -> bool:
        """Take in what has that name, if anything has."""
        try:
            self._add(os.stat(path), path)
        except (OSError, ValueError):
            return False
        return True

    def _add(self, info: os.stat_result | None, path: str) -> None:
        """Take in what a word names."""
        if info is None:
            return
        if stat.S_ISREG(info.st_mode):
            self.files[info.st_dev, info.st_ino] = info.st_size
            self.words.append((info.st_dev, info.st_ino))
        elif stat.S_ISBLK(info.st_mode):
            self.files[info.st_rdev, 0] = block_device_size(info.st_rdev)
            self.words.append((info.st_rdev, 0))
        elif stat.S_ISDIR(info.st_mode):
            self.folders.setdefault(os.path.realpath(path), None)
            self.words.append(os.path.realpath(path))

    def look(
        self, files: list[OpenFile], known: Files, written: Sequence[OpenFile], *, rchar: int, threads: int, now: float
    ) -> None:
        """Take in one look at this process. `written`: what its program has open for writing, if that is several processes."""
        reads = rchar > self.rchar
        if not self.first_rchar:
            self.handed = next((file.position for file in files if file.fd == 0 and file.reads), 0)
        self.rchar, self.threads = rchar, max(self.threads, threads)  # its threads may end before their work is written
        if files or self.files or self.inputs or self.outputs:
            self._take(files, known, written)
        if reads or any(self._in_one_call(file, known) for file in self.outputs):
            self.moved_at = now
        if not self.first_rchar:
            self.first_rchar = rchar

    def _take(self, files: list[OpenFile], known: Files, written: Sequence[OpenFile]) -> None:
        self.outputs = [file for file in files if file.writes]
        self.made.update(file.key for file in self.outputs)
        self.puts_by = self.puts_by or any(known.by_key[file.key].temporary for file in self.outputs)
        self.inputs = [
            file
            for file in files
            if file.reads
            and file.size
            and file.key != self.script
            and not self._is_own(file, known)
            and not self._loads(file, known)
            and not (self.shell and file.fd >= SCRIPTS)
        ]
        self._see_the_end(files, known)
        for key in [
            key for key in self.files if key in self.made or (key in known.by_key and known.by_key[key].writing)
        ]:
            del self.files[key]
            self.words = [word for word in self.words if word != key]
        for file in [*self.outputs, *written]:
            for folder in [name for name in self.folders if below(known.by_key[file.key].path, name)]:
                del self.folders[folder]
                self.words = [word for word in self.words if word != folder]
        for file in self.inputs:
            self.reads_named = self.reads_named or file.key in self.files
            self.reads_folder = self.reads_folder or any(
                below(known.by_key[file.key].path, folder) for folder in self.folders
            )
        self._choose_largest(known)

    def _is_own(self, file: OpenFile, known: Files) -> bool:
        """Whether it is what was put by; that this process wrote it may have been missed."""
        seen = known.by_key[file.key]
        return seen.writing or file.key in self.made or (seen.temporary and (self.puts_by or self.done))

    def _loads(self, file: OpenFile, known: Files) -> bool:
        """Whether it is a library that is being loaded, whose head is read, and the rest mapped; or a module, which is read."""
        path = known.by_key[file.key].path
        if file.key in self.files or file.fd <= 2 or any(below(path, folder) for folder in self.folders):
            return False
        return (file.position <= HEAD and LIBRARY.search(path) is not None) or MODULE.search(path) is not None

    def _see_the_end(self, files: list[OpenFile], known: Files) -> None:
        """Whether the one input was read to its end, and what is read behind that is only what was put by."""
        if self.largest is None or self.several:
            return
        now = next((file for file in self.inputs if file.key == self.largest.key), None)
        if now is not None:
            self.done, self.last_rchar = now.position >= now.size, self.rchar
        elif self.last_rchar:
            self.done = self.largest.position + self.rchar - self.last_rchar >= self.largest.size
            self.last_rchar = 0  # what is read from now on is something else
        own = [file for file in files if file.reads and file is not now and self._is_own(file, known)]
        if self.done and own:
            self.puts_by = True
            self.inputs = [file for file in self.inputs if file not in own]

    def _choose_largest(self, known: Files) -> None:
        """Of what it reads, the largest that moves; what it has read and closed stays, until something else moves."""
        moving = [file for file in self.inputs if known.by_key[file.key].moved] or self.inputs
        if moving:
            largest = max(moving, key=lambda file: (file.key in self.files, file.size))
            old, begins = self.largest, self.handed if largest.fd == 0 else 0
            if old is None or largest.key != old.key:
                self.turned = self.turned or (old is not None and self._turns(old, largest))
                self.jumps = self.rchar + AHEAD < largest.position - begins and largest.position < largest.size
                self.furthest, self.again, self.done = 0, False, False
                self.last_rchar = self.since = self.rchar
            elif largest.position + BACK < self.furthest:
                if self.furthest - begins <= self.rchar:
                    self.again = True
                else:
                    self.jumps = True
            self.largest, self.furthest = largest, max(self.furthest, largest.position)

    def _turns(self, old: OpenFile, new: OpenFile) -> bool:
        """Whether it goes from one file to another of some size, though its words name neither: there may be more of them."""
        unnamed = old.key not in self.files and new.key not in self.files
        return unnamed and min(old.size, 2 * self.furthest) >= max(SOME, new.size // 16)

    def _in_one_call(self, output: OpenFile, known: Files) -> bool:
        """Whether this output grows while its position and that of an input stand together: copy_file_range, sendfile.

        Where several files are written one behind the other, they stand as far apart as what came before is long.
        """
        return (
            known.by_key[output.key].grew
            and output.size > output.position
            and any(output.position - file.position in self._starts() for file in self.inputs)
        )

    def _starts(self) -> set[int]:
        """Where each of the files that its words name begins, if they are put one behind the other."""
        sizes = [self.files[word] for word in self.words if not isinstance(word, str)] if self.several else []
        return {0, *accumulate(sizes)}

    def in_flight(self, known: Files) -> int:
        """Bytes that the present system call has copied, and no counter shows yet."""
        return sum(file.size - file.position for file in self.outputs if self._in_one_call(file, known))

    @property
    def repeats(self) -> bool:
        """It reads the largest of several files once more, and was told to read that once at most."""
        return self.several and self.again and self.largest is not None and self.words.count(self.largest.key) <= 1

    @property
    def several(self) -> bool:
        """It reads more than one file."""
        return self.reads_folder or (self.reads_named and sum(not isinstance(word, str) for word in self.words) > 1)

    @property
    def reads(self) -> bool:
        """It was seen to read anything at all."""
        return self.largest is not None

    def total(self) -> int | None:
        """How much it has to read, in bytes, each as often as it is named; None while a survey is under way."""
        if self.reads_folder and any(size is None for size in self.folders.values()):
            return None
        if self.unknown and self.several:
            return None
        if self.several:
            return sum(
                self.files[word] if not isinstance(word, str) else (self.folders[word] or 0) * self.reads_folder
                for word in self.words
            )
        return self.largest.size if self.largest else None


def written_by(programs: Iterable[tuple[Reader, Iterable[OpenFile]]]) -> dict[tuple[str, ...], list[OpenFile]]:
    """What each program that was told of a folder has open for writing, in whichever of its processes, by its words."""
    found: dict[tuple[str, ...], list[OpenFile]] = {}
    for reader, files in programs:
        if reader.typed:
            found.setdefault(reader.typed, []).extend(file for file in files if file.writes)
    return found


def is_temporary(process: Process, path: str) -> bool:
    """Whether a file of that path is one that a program makes for itself, as far as can be told."""
    if path.endswith(" (deleted)"):
        return True
    folder, name = os.path.split(path)
    kept = process.environ().get("TMPDIR") or "/tmp"  # noqa: S108 # where they are, and none of ours
    return folder == kept.rstrip("/") and not any(name in word for word in process.argv())


def below(path: str, folder: str) -> bool:
    """Whether a file of that path is in that folder or deeper."""
    return path.startswith(folder.rstrip("/") + "/")
