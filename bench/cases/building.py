"""What builds and tests programs, and keeps their history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch

COMMIT = "git -c user.name=a -c user.email=a@a commit -qm a"


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Of steps that take equal times, and of a repository of one large text."""
    scratch.text("text", 96)
    scratch.random("random", 256)
    scratch.sh(f"git init -q repository; cp text random repository; cd repository; git add .; {COMMIT}")
    yield Tool(
        "git",
        "git clone --progress --no-local repository out",
        "phases",
        before="rm -rf out",
        blurred=r".*\r|Receiving.*|Resolving.*|remote.*",
    )
    yield Tool(
        "git",
        "git -C out fetch --progress ../repository",
        "phases",
        before="rm -rf out; git init -q out",
        blurred=r".*\r|Receiving.*|Resolving.*|remote.*",
    )
    scratch.sh(f"git init -q texts; cd texts; split -a 3 -b 32k ../text; git add .; {COMMIT}")
    yield Tool("git", "git -C texts repack -a -d -f", "phases", terminal=True)
    yield Tool(
        "ninja",
        "ninja -j1 -f build.ninja",
        "steady",
        before="rm -f x*; { echo rule r; echo ' command = sleep 0.05; touch $out'; "
        "for i in $(seq 60); do echo build x$i: r; done; } > build.ninja",
    )
