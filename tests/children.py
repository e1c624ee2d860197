"""Children that do what a test tells them, one step at a time, and the target that a probe is given for one."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pollprog.probes import Target
from pollprog.process import Process, ProcessTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 20.0
"""Seconds after which a condition that should come true counts as failed."""
NOBODY = 65534

OBEDIENT = """
import os, subprocess, sys, threading
for line in sys.stdin:
    answer = None
    exec(line)
    print(answer, flush=True)
"""


class Child:
    """A process that runs the lines it is given, and ends with its standard input."""

    def __init__(self, *words: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", OBEDIENT, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self.popen.pid
        self.does("pass")

    def does(self, line: str) -> str:
        """Run one line in the child; give what it called ``answer``."""
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        print(line, file=self.popen.stdin, flush=True)
        ready, _, _ = select.select([self.popen.stdout], [], [], PATIENCE)
        assert ready, f"the child did not do {line!r}"
        answer = self.popen.stdout.readline()
        if not answer or answer.startswith("Traceback"):
            raise AssertionError(f"the child ended in {line!r}: {answer}{self.popen.stdout.read()}")
        return answer.strip()

    def end(self) -> None:
        """Let it end, and reap it."""
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()
        try:
            self.popen.wait(PATIENCE)
        finally:
            self.popen.kill()
            self.popen.wait()
            self.popen.stdout.close()


@contextmanager
def child(*words: str) -> Iterator[Child]:
    """An obedient child, ended and reaped behind the test; `words` stand in its command line, and mean nothing to it."""
    started = Child(*words)
    try:
        yield started
    finally:
        started.end()


@contextmanager
def target_for(pid: int, *, total: int | None = None) -> Iterator[Target]:
    """What a probe is given for a launched command."""
    process = Process(pid)
    tree = ProcessTree(process)
    try:
        yield Target(tree, process, total=total, launched=True)
    finally:
        tree.close()
        process.close()


def wait_until(condition: Callable[[], object]) -> None:
    """Return as soon as the condition holds; fail when it has not for too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.005)


def let_pass(path: os.PathLike[str]) -> None:
    """Wait until whatever starts now is surely younger than this file's last change."""
    changed = os.stat(path).st_ctime_ns
    wait_until(lambda: time.time_ns() > changed + 100_000_000)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Look with the eyes of a user without rights."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def block_device(size: int = 8 << 20) -> Iterator[tuple[str, int]]:
    """The path and size of a block device that we may open: a loop device over an image; where none is to be had, the
    test is skipped.
    """
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    losetup = partial(subprocess.run, env=environment, capture_output=True, text=True)
    with tempfile.NamedTemporaryFile(prefix="pollprog-test-") as image:
        image.truncate(size)
        made = losetup(["losetup", "--find", "--show", "--read-only", image.name])
        if made.returncode:
            pytest.skip(f"no loop device to be had: {made.stderr.strip()}")
        device = made.stdout.strip()
        try:
            yield device, size
        finally:
            losetup(["losetup", "--detach", device], check=True)


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
