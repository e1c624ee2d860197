"""How a finished copy gets its name: nothing or all of it is seen, whatever happens, a kill too."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import stat
import subprocess
import sys
import time

import pytest
from loop_runs import after, copy, dense, from_call, nothing_but

from pollprog.errors import Cancelled, DestinationExists, OperationFailed


@pytest.fixture
def a(tmp_path):
    return dense(tmp_path / "a")


@pytest.fixture
def b(tmp_path):
    return tmp_path / "b"


@pytest.fixture(autouse=True)
def no_reflink(monkeypatch):
    """A reflink is over before anything can happen meanwhile."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "ioctl", refuse)


@pytest.mark.parametrize("publish", ["link", "rename"])
def test_what_appears_meanwhile_is_not_overwritten(tmp_path, a, b, publish, monkeypatch):
    if publish == "rename":
        monkeypatch.setattr(os, "link", no_hard_links)
    with pytest.raises(DestinationExists, match="appeared meanwhile"):
        copy(a, b, cancel=after(2, lambda: b.write_text("first")))
    assert b.read_text() == "first"
    assert nothing_but(tmp_path, "a", "b")


def no_hard_links(*_, **__):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_file_system_without_hard_links_will_do(tmp_path, a, b, monkeypatch):
    monkeypatch.setattr(os, "link", no_hard_links)
    copy(a, b)
    assert a.read_bytes() == b.read_bytes()
    assert nothing_but(tmp_path, "a", "b")


def test_where_no_name_can_be_given_safely_force_is_asked_for(tmp_path, a, b, monkeypatch):
    monkeypatch.setattr(os, "link", no_hard_links)
    monkeypatch.setattr("pollprog.syscalls._libc", object)
    with pytest.raises(OperationFailed, match="`overwrite` allows it"):
        copy(a, b)
    assert nothing_but(tmp_path, "a")
    copy(a, b, overwrite=True)
    assert a.read_bytes() == b.read_bytes()


def test_the_directory_may_be_moved_meanwhile(tmp_path, a):
    (tmp_path / "old").mkdir()
    copy(a, tmp_path / "old" / "b", cancel=after(2, lambda: (tmp_path / "old").rename(tmp_path / "new")))
    assert nothing_but(tmp_path / "new", "b")
    assert (tmp_path / "new" / "b").read_bytes() == a.read_bytes()


def test_only_what_this_copy_made_is_removed(tmp_path, a, b):
    other = tmp_path / ".b.pollprog-0123456789ab"
    other.write_text("another's")
    with pytest.raises(Cancelled):
        copy(a, b, cancel=lambda: True)
    assert nothing_but(tmp_path, "a", other.name)


def test_a_temporary_that_cannot_be_removed_is_named(tmp_path, a, b, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(Cancelled) as caught:
        copy(a, b, cancel=from_call(3))
    (left,) = (path for path in tmp_path.iterdir() if path.name not in ("a", "b"))
    assert str(left) in str(caught.value)


@pytest.mark.parametrize(("code", "fails"), [(errno.EIO, True), (errno.EINVAL, False)])
def test_a_directory_that_cannot_be_synced_leaves_the_whole_file(a, b, monkeypatch, code, fails):
    really = os.fsync

    def fail_for_directories(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_directories)
    if fails:
        with pytest.raises(OperationFailed, match="is complete, but") as caught:
            copy(a, b)
        assert "removed" not in str(caught.value)
    else:
        copy(a, b)
    assert a.read_bytes() == b.read_bytes()


CHILD = """
import os, signal, sys
from pollprog.copying import copy_file
from pollprog.counting import Counter
source, destination, calls, where = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
count = iter(range(int(calls)))
def cancel():
    if next(count, None) is None:
        die()
    return False
if where == "after the link":
    os.unlink = die
print("ready", flush=True)
copy_file(source, destination, counter=Counter(), cancel=cancel, overwrite=where == "force")
"""


def child(source, destination, calls=1_000_000, where=""):
    command = [sys.executable, "-c", CHILD, source, destination, str(calls), where]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def left_by_a_kill(a, b, old=None):
    """True if the copy is whole; nothing else may be there but the source and a temporary."""
    assert all(name in (a.name, b.name) or name.startswith(".b.pollprog-") for name in os.listdir(a.parent))
    for path in a.parent.glob(".b.*"):
        path.unlink()
    content = b.read_bytes() if b.exists() else None
    assert content in (old, a.read_bytes())
    return content != old


@pytest.mark.parametrize("where", ["", "force"])
def test_a_kill_before_any_step_leaves_nothing_new(tmp_path, b, where):
    a = dense(tmp_path / "a", 9)
    old = b"old" if where == "force" else None
    if old:
        b.write_bytes(old)
    for calls in range(20):
        with child(a, b, calls, where) as process:
            code = process.wait(timeout=20)
        if code == 0:
            assert calls >= 3
            assert left_by_a_kill(a, b, old)
            return
        assert code == -signal.SIGKILL
        assert not left_by_a_kill(a, b, old)
    pytest.fail("the copy never ended")


def test_a_kill_right_after_the_file_has_its_name_leaves_all_of_it(tmp_path, b):
    a = dense(tmp_path / "a", 9)
    with child(a, b, where="after the link") as process:
        assert process.wait(timeout=20) == -signal.SIGKILL
    assert left_by_a_kill(a, b)


def test_a_kill_at_any_moment_leaves_nothing_or_everything(tmp_path, b):
    a = dense(tmp_path / "a", 20)
    generator = random.Random(6)
    begun = time.monotonic()
    copy(a, b)
    took = time.monotonic() - begun
    for _ in range(10):
        b.unlink(missing_ok=True)
        with child(a, b) as process:
            process.stdout.readline()
            time.sleep(generator.uniform(0, 1.5 * took))  # the moment is what is random here
            process.kill()
            process.wait(timeout=20)
        left_by_a_kill(a, b)
    b.unlink(missing_ok=True)
    copy(a, b)
    assert left_by_a_kill(a, b)
