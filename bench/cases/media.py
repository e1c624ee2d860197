"""What encodes sound and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch

FIGURES = r"(?m)^ +encoder.*\n|Input #0(?:.*\n)*?.*Duration.*\n|.*\r|frame=.*|\[libx264.*\n"


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Of a test picture."""
    length = 400 * scratch.scale
    scratch.sh(f"ffmpeg -f lavfi -i testsrc2=duration={length}:size=640x360 -threads 1 -c:v mpeg4 -q:v 5 in.mkv")
    encode = "-fflags +bitexact -flags:v +bitexact -threads 1 -c:v libx264 -preset ultrafast"
    yield Tool("ffmpeg", f"ffmpeg -y -i in.mkv {encode} out.mkv", "steady", "out.mkv", "rm -f out.mkv", FIGURES)
    yield Tool(
        "ffmpeg",
        f"ffmpeg -y -f lavfi -i testsrc2=duration={length / 2}:size=640x360 {encode} out.mkv",
        "unknown",
        "out.mkv",
        "rm -f out.mkv",
        FIGURES,
    )
