"""What builds and tests programs, and keeps their history."""

from __future__ import annotations

import random
import subprocess
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
COMMITS, FILES = 3000, 400


def repository(scratch: Scratch) -> None:
    """A history of a young program: some files, changed a few lines at a time; and a ``slow`` that hands on 6 MiB of a pack a second."""
    scratch.sh(
        "git init -q --bare -b main repository; printf '#!/bin/sh\ngit-upload-pack \"$@\" | pv -q -L 6m\n' > slow; chmod +x slow"
    )
    with subprocess.Popen(
        ["git", "-C", scratch.path / "repository", "fast-import", "--quiet"], stdin=subprocess.PIPE
    ) as into:
        assert into.stdin is not None
        into.stdin.writelines(history(int(COMMITS * scratch.scale)))
        into.stdin.close()
    scratch.sh("git -C repository repack -a -d -q")


def history(commits: int) -> Iterator[bytes]:
    """What git's fast-import reads of so many commits."""
    chance = random.Random(1)
    words = [chance.randbytes(chance.randint(1, 5)).hex() for _ in range(3000)]

    def lines(most: int) -> list[str]:
        return [" ".join(chance.choices(words, k=chance.randint(3, 12))) for _ in range(chance.randint(1, most))]

    texts = {f"part-{number % 20}/{number}": lines(400) for number in range(FILES)}
    for number in range(commits):
        yield b"commit refs/heads/main\ncommitter a <a@a> %d +0000\ndata 2\na\n" % (number * 1000)
        for name in chance.sample(list(texts), chance.randint(1, 3)) if number else texts:
            text = texts[name]
            place = chance.randrange(len(text))
            text[place : place + chance.randint(0, 3)] = lines(4)
            data = "\n".join(text).encode()
            yield b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data)


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Of steps that take equal times, and of a repository that comes as slowly as from a network."""
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
    yield Tool("git", "git -C repository repack -a -d -f --depth=250 --window=250", "phases")
    scratch.sh(
        "git clone -q --bare repository loose; cd loose; mv objects/pack/*.pack .; cat *.pack | git unpack-objects -q; rm *.pack objects/pack/*"
    )
    yield Tool("git", "git -C out gc", "phases", before="rm -rf out; cp -r loose out; sync")
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
