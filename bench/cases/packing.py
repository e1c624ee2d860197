"""What packs, and what encrypts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Of one text, or a folder."""
    scratch.text("text", 96)
    yield Tool("xz", "xz -1 -T1 -k text", "steady", "text.xz", "rm -f text.xz")
    yield Tool(
        "gpg",
        "gpg --homedir . --batch --pinentry-mode loopback --passphrase x -o out -z 6 -c text",
        "steady",
        before="rm -f out",
        blurred=r"(?m)^gpg: .*\n",
    )
    yield Tool(
        "7z", "7z a -mx3 -mmt1 out.7z text", "steady", "out.7z", "rm -f out.7z", r"\d+%.*|[\b ]+|Free.*|Threads.*"
    )
