"""Walks a tree without ever leaving it.

Every name is looked up in an open directory, and no symbolic link is followed below the root: whoever may write in the tree
cannot lead the walk elsewhere. One descriptor is held for each level. A name that is gone before it was looked at was never
there.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Entry", "open_beneath", "open_directory", "open_file", "walk"]

NO_LINKS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a tree."""

    path: bytes
    """From the root of the tree."""
    name: bytes
    directory: int
    """Descriptor of the directory that it is in, open until the walk goes on."""
    info: os.stat_result
    """Of the thing itself, links not followed."""
    descriptor: int = -1
    """Of the directory that it is, likewise; of nothing else."""
    leaving: bool = False
    """A directory, the second time: all that is in it has been walked."""


def walk(root: int, looking: Callable[[bytes], None] = lambda _: None) -> Iterator[Entry]:
    """All that is in an open directory, which stays the caller's; each directory before and after what is in it.

    `looking` is told each path before it is opened: an error is about that one.
    """
    levels: list[tuple[Entry | None, int, list[bytes]]] = [(None, root, _names(root))]
    try:
        while levels:
            here, descriptor, names = levels[-1]
            if not names:
                levels.pop()
                if here is not None:
                    try:
                        yield replace(here, leaving=True)
                    finally:
                        os.close(descriptor)
                continue
            name = names.pop()
            path = name if here is None else b"%s/%s" % (here.path, name)
            looking(path)
            try:
                info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(info.st_mode):
                yield Entry(path, name, descriptor, info)
                continue
            inside = open_directory(name, descriptor)
            entered = Entry(path, name, descriptor, os.fstat(inside), inside)
            levels.append((entered, inside, []))
            yield entered
            looking(path)
            levels[-1][2].extend(_names(inside))
    finally:
        for here, descriptor, _ in levels:
            if here is not None:
                os.close(descriptor)


def open_directory(name: bytes, directory: int) -> int:
    """Open a directory in another to read; a symbolic link is none."""
    return os.open(name, NO_LINKS | os.O_DIRECTORY, dir_fd=directory)


def open_file(name: bytes, directory: int) -> int:
    """Open a file in a directory to read; a symbolic link is none, and a FIFO that took its place makes nobody wait."""
    return os.open(name, NO_LINKS | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=directory)


def open_beneath(root: int, path: bytes) -> int:
    """Open a file by its path from the root of a tree, with no symbolic link on the way."""
    *parents, name = path.split(b"/")
    directory = root
    try:
        for parent in parents:
            inside = open_directory(parent, directory)
            if directory != root:
                os.close(directory)
            directory = inside
        return open_file(name, directory)
    finally:
        if directory != root:
            os.close(directory)


def _names(descriptor: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(descriptor)]
