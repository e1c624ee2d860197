r"""Checksums of a file, of what a block device holds, or of a whole tree.

The checksum of a tree is what this prints, with the program for the algorithm::

    cd TREE && find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum | sha256sum

that is, the checksum of the lines ``DIGEST  ./PATH``, sorted by path, one for each regular file; where a path has a backslash, a
newline or a carriage return, these are written ``\\``, ``\n`` and ``\r``, and the line begins with a backslash. So it tells of names
and contents, and of nothing else: no modes, no links, no empty directories.

The sizes are added up first, in the phase ``"survey"``; a file that grows or shrinks meanwhile is read to the end that it has then.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pollprog.errors import InvalidParameter, NotAFile
from pollprog.loops import BUFFER, Loop
from pollprog.paths import called, checked, open_source, parameter
from pollprog.walking import open_beneath, walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

    from pollprog.counting import Counter
    from pollprog.paths import Path

__all__ = ["ALGORITHMS", "checksum"]

ALGORITHMS = ("sha256", "sha512", "blake2b", "md5")


def checksum(
    path: Path, *, counter: Counter, cancel: Callable[[], bool], algorithm: str = "sha256"
) -> tuple[str, int, int]:
    """The checksum, in hexadecimal, of how many files, and of how many bytes.

    Raises `InvalidParameter` for an algorithm that is none of `ALGORITHMS`, `Cancelled`, or another `OperationError`, which names
    the file.
    """
    if algorithm not in ALGORITHMS:
        raise InvalidParameter(f"algorithm is {algorithm!r}: choose {', '.join(ALGORITHMS)}", parameter="algorithm")
    target = checked(path)
    loop = Loop(f"the checksum of {called(target)}", target, counter, cancel)
    with loop.explained(), ExitStack() as stack:
        if stat.S_ISDIR(os.stat(target).st_mode):
            root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, root)
            found = of_tree(loop, root, algorithm)
        else:
            descriptor, _, size = open_source(stack, target)
            loop.begin("", size or None)
            found = of_file(loop, descriptor, algorithm), 1, loop.done
        loop.finish()
        return found


def of_file(loop: Loop, descriptor: int, algorithm: str) -> str:
    """Read an open file to its end."""
    summed = new(algorithm)
    buffer = memoryview(bytearray(BUFFER))
    at = 0
    while True:
        loop.check()
        count = os.preadv(descriptor, [buffer], at)
        if not count:
            return summed.hexdigest()
        summed.update(buffer[:count])
        at += count
        loop.count(loop.done + count)


def of_tree(loop: Loop, root: int, algorithm: str) -> tuple[str, int, int]:
    """Read all regular files of an open directory."""
    loop.begin("survey", None)
    paths, size = [], 0
    for entry in walk(root, lambda path: loop.reading(os.path.join(loop.path, path))):
        loop.check()
        if stat.S_ISREG(entry.info.st_mode):
            paths.append(entry.path)
            size += entry.info.st_size
            loop.counter.current = size
    loop.begin("", size)
    lines = new(algorithm)
    for path in sorted(paths):
        full = os.path.join(loop.path, path)
        loop.reading(full)
        descriptor = open_beneath(root, path)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotAFile(f"{called(full)} is no regular file any more: try again", path=parameter(full))
            lines.update(line(of_file(loop, descriptor, algorithm), b"./" + path))
        finally:
            os.close(descriptor)
    return lines.hexdigest(), len(paths), loop.done


def line(digest: str, path: bytes) -> bytes:
    """As sha256sum prints it."""
    escaped = path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return b"%s%s  %s\n" % (b"" if escaped == path else b"\\", digest.encode(), escaped)


def new(algorithm: str) -> _Hash:
    """Without a say in whether it is fit for secrets: md5 is there for what was summed with it long ago."""
    return hashlib.new(algorithm, usedforsecurity=False)
