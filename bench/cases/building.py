"""What builds and tests programs, and keeps their history."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch

LISTS = """\
cmake_minimum_required(VERSION 3.10)
project(x NONE)
foreach(i RANGE 1 60)
  add_custom_command(OUTPUT o${i} COMMAND sleep 0.1 COMMAND touch o${i})
  list(APPEND outputs o${i})
endforeach()
add_custom_target(all-of-them ALL DEPENDS ${outputs})
"""
MAKEFILE = "all: $(shell seq 60)\n%:\n\tsleep 0.1\n"
TESTS = """\
import time
import pytest
@pytest.mark.parametrize("number", range(5))
def test_it_waits(number):
    time.sleep(0.1)
"""
TEXTS = 3000
COMMIT = "git -c user.name=a -c user.email=a@a commit -qm a"


def repository(scratch: Scratch) -> None:
    """Many texts, each in two states and packed, and a ``slow`` that hands on 2 MiB of a pack a second."""
    scratch.sh(
        "git init -q repository; printf '#!/bin/sh\ngit-upload-pack \"$@\" | pv -q -L 2m\n' > slow; chmod +x slow"
    )
    for state in range(2):
        for number in range(int(TEXTS * scratch.scale)):
            path = scratch.path / "repository" / f"{number}"
            path.write_text(random.Random(number).randbytes(4096).hex(" ", 8) + " edited" * state)
        scratch.sh(f"cd repository; git add .; {COMMIT}")
    scratch.sh("git -C repository repack -a -d -q")


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Of steps that take equal times, and of a repository of many texts that comes as slowly as from a network."""
    repository(scratch)
    yield Tool(
        "git",
        "git clone --progress --no-local -u ./slow repository out",
        "phases",
        before="rm -rf out",
        blurred=r"(?s)remote.*",
    )
    yield Tool(
        "git",
        "git -C out fetch --progress --upload-pack=../slow ../repository",
        "phases",
        before="rm -rf out; git init -q out",
        blurred=r"(?s)remote.*",
    )
    yield Tool("git", "git -C repository repack -a -d -f --window=150", "phases")
    yield Tool(
        "ninja",
        "ninja -j1 -f build.ninja",
        "steady",
        before="rm -f x*; { echo rule r; echo ' command = sleep 0.05; touch $out'; "
        "for i in $(seq 60); do echo build x$i: r; done; } > build.ninja",
    )
    scratch.sh("mkdir cmake plain tests")
    (scratch.path / "cmake/CMakeLists.txt").write_text(LISTS)
    (scratch.path / "plain/Makefile").write_text(MAKEFILE)
    for number in range(12):
        (scratch.path / f"tests/test_{number}.py").write_text(TESTS)
    scratch.sh("cmake -S cmake -B build -G 'Unix Makefiles'")
    yield Tool("make", "make -C build", "steady", before="rm -f build/o*")
    yield Tool("make", "cmake --build build", "steady", before="rm -f build/o*")
    yield Tool("evidence", "make -C plain", "unknown")
    for words in ("pytest", "python3 -m pytest"):
        yield Tool("pytest", f"{words} -p no:cacheprovider tests", "steady", blurred=r"in [\d.]+s")
