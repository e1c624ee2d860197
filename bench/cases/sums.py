"""What reads all of its input before it says anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Of large files; what is sorted takes its time when all is read, too."""
    scratch.random("random", 1024)
    yield Tool("evidence", "sha256sum random random", "steady")
    yield Tool("evidence", "md5sum random random random", "steady")
    yield Tool("evidence", "b2sum random random", "steady")
    yield Tool("evidence", f"cksum {' '.join(['random'] * 20)}", "steady")
    yield Tool("sums", "sha256sum -c list", "steady", before="test -e list || sha256sum random random > list")
    scratch.path.joinpath("random").unlink()
    scratch.text("text", 320)
    yield Tool("sort", "sort -o out text", "phases", "out", "rm -f out")
    yield Tool("sort", "sort -S 16M -T . -o out text", "phases", "out", "rm -f out")
