"""What copies files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch


def cases(scratch: Scratch) -> Iterator[Tool]:
    """From one file, or one folder, to another."""
    scratch.random("random", 512)
    yield Tool("dd", "dd if=random of=out bs=1M oflag=dsync", "disk", "out", blurred=r"copied.*")
    yield Tool("rsync", "rsync -a --bwlimit=100000 random out", "steady", "out", "rm -f out")
    yield Tool("ddrescue", "ddrescue -q --mapfile-interval=1 random out map", "disk", "out", "rm -f out map")
