"""How the words of a process name what it works on: which of them is its script, and from which folder they are meant."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pollprog.process import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ELSEWHERE", "WANDERERS", "key_at", "named", "script_among", "started_in"]

ELSEWHERE = frozenset({"tar", "bsdtar"})
"""Programs for which ``-C FOLDER`` says where the words behind it are, while they themselves stay where they were started."""
WANDERERS = frozenset({"rsync"})
"""Programs that leave the folder in which they were started, and from which their words are meant."""
INTERPRETERS = re.compile(r"(?:lua|node|nodejs|perl|php|pypy|python|ruby)[0-9.]*")
CODE = re.compile(r"-[A-Za-z]*[cmeEr].*|--(?:eval|print).*")
"""Options of theirs behind which there is a program, or the name of a module, and no script; or there may be."""


def named(words: Sequence[str], *, elsewhere: bool) -> Iterator[tuple[str, str]]:
    """(word, from which folder) of each word that may name a file; `elsewhere`: ``-C FOLDER`` is where the next ones are."""
    folder, pending = "", False
    for word in words:
        typed, equals, value = word.partition("=")
        if pending or (elsewhere and typed == "--directory" and equals):
            folder, pending = os.path.join(folder, word if pending else value), False
        elif elsewhere and word.startswith("-C") and word != "-C":
            folder = os.path.join(folder, word[2:])
        elif elsewhere and word in ("-C", "--directory"):
            pending = True
        else:
            yield word, folder


def key_at(path: str) -> tuple[int, int] | None:
    """Which file has that name, by device and inode; None if none has."""
    try:
        return key_of(os.stat(path))
    except (OSError, ValueError):
        return None


def script_among(program: str, words: Sequence[str]) -> int:
    """Which of its words names the script that an interpreter runs: what that works on stands behind it. 0: none."""
    if not INTERPRETERS.fullmatch(program):
        return 0
    for place, word in enumerate(words[1:], 1):
        if not word.startswith("-"):
            return place
        if CODE.fullmatch(word):
            break
    return 0


def started_in(folder: str, words: Sequence[str]) -> str:
    """From which folder it came that is in this one now, and was told of it by one of its words; the same one if by none."""
    for word in words:
        way = os.path.normpath(word)
        if not way.startswith("/") and folder.endswith(f"/{way}"):
            return folder.removesuffix(way)
    return folder
