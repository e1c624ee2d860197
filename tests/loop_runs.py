"""What the tests of our own loops share: contents, ways to stop a loop in its middle, a disk that is full."""

from __future__ import annotations

import functools
import itertools
import os
import random
import resource
import stat
import subprocess
import sys
from contextlib import contextmanager

import pytest

from pollprog.copying import copy_file
from pollprog.counting import Counter

MIB = 1 << 20
BLOCK = random.Random(0).randbytes(MIB)


def never():
    return False


def run(loop, *arguments, counter=None, cancel=never, **options):
    """Call a loop that nobody watches or cancels, unless that is said."""
    return loop(*arguments, counter=counter or Counter(), cancel=cancel, **options)


def content(size):
    """So many bytes, in which no MiB is like another."""
    pieces = (number.to_bytes(8, "little") + BLOCK[8:] for number in range(size // MIB + 1))
    return b"".join(pieces)[:size]


def copy(source, destination, **options):
    """Copy a file as nobody watches or cancels it, unless that is said."""
    return run(copy_file, source, destination, **options)


def dense(path, mebibytes=1, extra=b"end"):
    """A file without holes, in which no MiB is like another."""
    path.write_bytes(content(mebibytes * MIB) + extra)
    return path


def nothing_but(directory, *names):
    return sorted(os.listdir(directory)) == sorted(names)


def after(calls, act=never):
    """A `cancel` that acts at its so-many-th call, and never cancels."""
    count = itertools.count()

    def cancel():
        if next(count) == calls:
            act()
        return False

    return cancel


def from_call(calls):
    """A `cancel` that cancels from its so-many-th call on."""
    count = itertools.count()
    return lambda: next(count) >= calls


class Watching:
    """A `cancel` that never cancels, and keeps what the counter said at each call."""

    def __init__(self, counter):
        self.counter = counter
        self.seen = []

    def __call__(self):
        self.seen.append(self.counter.sample())
        return False

    def check(self):
        """What every loop promises of its counts."""
        for phase in {sample.phase for sample in self.seen}:
            counts = [sample.current for sample in self.seen if sample.phase == phase]
            assert counts == sorted(counts)
        assert all(sample.total is None or sample.current <= sample.total for sample in self.seen)
        assert self.counter.current == self.counter.total


def watched(loop, *arguments, **options):
    """Call a loop and hold its counts to what they promise; what it returned, and the counter."""
    counter = Counter()
    watching = Watching(counter)
    found = loop(*arguments, counter=counter, cancel=watching, **options)
    watching.check()
    assert watching.seen
    return found, counter


@contextmanager
def file_size_limit(size):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


SMALL_DISK = """
import os, subprocess, sys
from pollprog import errors
from pollprog.copying import copy_file
from pollprog.counting import Counter
disk = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], check=True)
os.chdir(disk)
quiet = {"counter": Counter(), "cancel": lambda: False}
"""


def on_a_small_disk(directory, code):
    """Run this code in a directory of 8 MiB; what it prints."""
    alone = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no user namespaces")
    directory.mkdir()
    command = [*alone, sys.executable, "-c", SMALL_DISK + code, directory]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def loop_device(image):
    """A block device that is this file."""
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    losetup = functools.partial(subprocess.run, env=environment, capture_output=True, text=True)
    made = losetup(["losetup", "--find", "--show", image])
    if made.returncode:
        pytest.skip(f"no loop device to be had: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        if not stat.S_ISBLK(os.stat(device).st_mode):
            pytest.skip("no loop device to be seen")
        yield device
    finally:
        losetup(["losetup", "--detach", device], check=True)
