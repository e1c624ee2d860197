"""The commands of the bench of the tools: a module for each family, and in it a generator of its cases.

A family gets a folder of its own, in which its commands run. It makes what its cases need first, and may keep a server running
until its last case is over.
"""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accuracy import MIB, random_file, text_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["ENVIRONMENT", "FAMILIES", "GOALS", "Scratch", "Tool", "family"]

GOALS = {"steady": 0.10, "phases": 0.15, "disk": None, "parts": None, "unknown": None}
"""The kinds of pace, and how far the fraction may be from the share of the time: work of even pace, work of several phases whose
weights fit no run exactly, work whose pace the disk sets, work of several parts, each of which begins anew, and work of which nobody
knows the whole: it has no fraction."""
ENVIRONMENT = os.environ | {
    "LC_ALL": "C",
    "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin",
    "UNIX_IO_NOZEROOUT": "1",
}
"""The tools of Python are those that run the bench, and mke2fs writes its zeros, as to a device, and makes no holes."""
FAMILIES = (
    *("copying", "filesystems", "images", "packing", "building", "packages"),
    *("databases", "media", "sums", "web", "below"),
)


@dataclass(frozen=True)
class Tool:
    """One command of one tool, run in the scratch folder."""

    source: str
    """The name of the plugin: what its statuses say of their source. ``evidence``, where that measures it."""
    words: str
    pace: str
    """A key of `GOALS`."""
    made: str = ""
    """What it makes and is compared, if that is the same each time."""
    before: str = ""
    """A script that is run before each run, for what it works on."""
    blurred: str = r"(?!)"
    """What it prints that is another each time."""
    terminal: bool = False
    """Whether it says nothing but in a terminal. What it draws there is not compared."""
    attach: bool = True
    """Whether it lasts long enough, and does anything that can be seen, for who attaches."""
    program: str = ""
    """Who does the work, where that is not the first word: the peers are asked about it, and it has to be installed."""
    script: bool = False
    """Whether the words are a shell's."""

    @property
    def worker(self) -> str:
        """The name of the process that does the work."""
        return self.program or self.words.split()[0]

    @property
    def argv(self) -> list[str]:
        """What is run."""
        return ["sh", "-c", self.words] if self.script else shlex.split(self.words)


@dataclass(frozen=True)
class Scratch:
    """Where the cases run, and how large their inputs are."""

    path: Path
    scale: float

    def sh(self, script: str) -> None:
        """Run a script in it."""
        subprocess.run(["sh", "-c", script], cwd=self.path, env=ENVIRONMENT, check=True, capture_output=True)

    def random(self, name: str, mebibytes: int) -> None:
        """Make a file that cannot be packed."""
        random_file(self.path / name, int(mebibytes * MIB * self.scale))

    def text(self, name: str, mebibytes: int) -> None:
        """Make a file of text."""
        text_file(self.path / name, int(mebibytes * MIB * self.scale))

    def tree(self, name: str, mebibytes: int) -> None:
        """Make a folder of four files, which are the one called ``random``, of that size in all."""
        (self.path / name).mkdir()
        self.random("random", mebibytes // 4)
        for number in range(4):
            shutil.copyfile(self.path / "random", self.path / name / str(number))


def family(name: str) -> Callable[[Scratch], Iterator[Tool]]:
    """The cases of one of `FAMILIES`."""
    cases: Callable[[Scratch], Iterator[Tool]] = importlib.import_module(f"cases.{name}").cases
    return cases
