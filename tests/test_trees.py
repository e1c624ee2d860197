"""Copies of whole trees: all of it or nothing, and nothing from elsewhere."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from loop_runs import MIB, after, content, file_size_limit, from_call, on_a_small_disk, run, watched

from pollprog.counting import Counter
from pollprog.errors import (
    Cancelled,
    DestinationExists,
    NoSuchFile,
    NotDirectory,
    OperationFailed,
    SameFile,
)
from pollprog.trees import copy_tree

ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def no_reflink(monkeypatch):
    """A reflink is over before anything can happen meanwhile."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "ioctl", refuse)


@pytest.fixture(autouse=True)
def umask():
    old = os.umask(0o022)
    yield
    os.umask(old)


@pytest.fixture
def a(tmp_path):
    """A tree with something of each kind that anybody may make."""
    top = tmp_path / "a"
    (top / "deep/er/and/deeper").mkdir(parents=True)
    (top / "deep/er/and/deeper/file").write_bytes(content(9 * MIB + 1))
    (top / "empty directory").mkdir()
    (top / "empty").touch()
    (top / "twice").write_bytes(content(MIB))
    os.link(top / "twice", top / "deep/twice")
    (top / "link").symlink_to("twice")
    (top / "nowhere").symlink_to("/none")
    os.link(top / "link", top / "same link", follow_symlinks=False)
    (top / "up").symlink_to("..")
    os.mkfifo(top / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(top / "s"))
    with (top / "sparse").open("wb") as file:
        file.seek(3 * MIB)
        file.write(content(MIB))
        file.truncate(40 * MIB)
    (top / os.fsdecode(b"\xff\n")).write_text("any bytes")
    (top / "read only").mkdir()
    (top / "read only/file").write_text("closed")
    (top / "read only/file").chmod(0o400)
    (top / "read only").chmod(0o555)
    (top / "open").mkdir()
    (top / "open").chmod(0o1777)
    (top / "tool").write_text("#!/bin/sh\n")
    (top / "tool").chmod(0o755)
    for number, path in enumerate([*top.rglob("*"), top]):
        os.utime(path, ns=(10**18 + number * 1_000_001, 10**18 + number * 2_000_003), follow_symlinks=False)
    return top


@pytest.fixture
def b(tmp_path):
    return tmp_path / "b"


def told(top, *, preserve):
    """Everything that a copy has to keep, by name."""
    found = {}
    for path in [top, *top.rglob("*")]:
        info = path.lstat()
        kind = stat.S_IFMT(info.st_mode)
        data = (
            os.readlink(path) if kind == stat.S_IFLNK else path.read_bytes() if kind == stat.S_IFREG else info.st_rdev
        )
        linked = sorted(str(other.relative_to(top)) for other in top.rglob("*") if other.lstat().st_ino == info.st_ino)
        row = [kind, data, linked if kind != stat.S_IFDIR else None]
        row.append(info.st_mode if preserve or kind == stat.S_IFLNK else info.st_mode & 0o777 & ~0o022)
        if preserve:
            row += [info.st_mtime_ns, info.st_uid, info.st_gid]
        found[os.fsencode(path.relative_to(top))] = row
    return found


def alone(tmp_path):
    """Nothing but the source is there."""
    return os.listdir(tmp_path) == ["a"]


# ---- what arrives


@pytest.mark.parametrize("preserve", [False, True])
def test_a_copy_has_all_that_the_tree_has(tmp_path, a, b, preserve):
    size, counter = watched(copy_tree, a, b, preserve=preserve)
    assert told(b, preserve=preserve) == told(a, preserve=preserve)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert (b / "sparse").stat().st_blocks * 512 < 3 * MIB
    data = 9 * MIB + 1 + MIB + MIB + len("any bytesclosed#!/bin/sh\n")
    assert counter.current == counter.total == data
    assert size == data + 39 * MIB


@pytest.mark.tool("cp")
def test_a_copy_is_what_cp_makes_of_it(tmp_path, a, b):
    for options, preserve in ((["-r", "--preserve=links"], False), (["-a"], True)):
        subprocess.run(["cp", *options, a, tmp_path / "theirs"], check=True)
        run(copy_tree, a, b, preserve=preserve)
        assert told(b, preserve=True).keys() == told(tmp_path / "theirs", preserve=True).keys()
        for name, row in told(b, preserve=preserve).items():
            assert row == told(tmp_path / "theirs", preserve=preserve)[name], name
        for path in (b, tmp_path / "theirs"):
            shutil.rmtree(path)


def test_one_count_goes_over_the_whole_after_a_survey(a, b):
    counter = Counter()
    seen = []

    def look():
        if (counter.phase, counter.total) not in seen:
            seen.append((counter.phase, counter.total))
        return False

    copy_tree(a, b, counter=counter, cancel=look)
    assert seen == [("survey", None), ("", counter.total), ("sync", None)]


def test_an_empty_directory_is_a_tree(tmp_path, b):
    (tmp_path / "a").mkdir(mode=0o750)
    assert watched(copy_tree, tmp_path / "a", f"{b}//")[0] == 0
    assert os.listdir(b) == []
    assert stat.S_IMODE(b.stat().st_mode) == 0o750


def test_a_link_to_the_source_is_followed(tmp_path, a, b):
    (tmp_path / "link").symlink_to("a")
    run(copy_tree, tmp_path / "link", b, preserve=True)
    assert told(b, preserve=True) == told(a, preserve=True)


def test_a_tree_deeper_than_a_path_may_be_long_is_copied(tmp_path, b):
    top = os.open(tmp_path, os.O_RDONLY)
    here, name = top, "a"
    for _ in range(60):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, name = below, "x" * 100
    os.close(os.open("end", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    run(copy_tree, tmp_path / "a", b)
    found = subprocess.run(["find", "."], cwd=b, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(found) == 61
    assert max(map(len, found)) > 5000
    with pytest.raises(Cancelled):
        run(copy_tree, b, tmp_path / "c", cancel=from_call(140))
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.skipif(not ROOT, reason="only root may make devices and give files away")
def test_root_copies_devices_and_owners(tmp_path, a, b):
    try:
        os.mknod(a / "null", 0o660 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this root may not make devices")
    for number, path in enumerate([*a.rglob("*"), a]):
        os.chown(path, 1000 + number, 2000 + number, follow_symlinks=False)
    (a / "tool").chmod(0o6755)
    run(copy_tree, a, b, preserve=True)
    assert told(b, preserve=True) == told(a, preserve=True)


# ---- what is refused


def test_what_exists_is_never_replaced(tmp_path, a, b):
    for make in (b.mkdir, b.touch, functools.partial(b.symlink_to, "none")):
        make()
        before = b.lstat()
        with pytest.raises(DestinationExists, match="choose a name") as caught:
            run(copy_tree, a, b)
        assert caught.value.path == str(b)
        assert b.lstat() == before
        shutil.rmtree(b) if b.is_dir() else b.unlink()
    for name in ("/", ".", f"{tmp_path}/.."):
        with pytest.raises(DestinationExists):
            run(copy_tree, a, name)


def test_a_tree_is_not_copied_into_itself(tmp_path, a):
    before = told(a, preserve=True)
    (tmp_path / "link").symlink_to("a/deep")
    for inside in (a / "b", a / "deep/er/b", tmp_path / "link" / "b"):
        with pytest.raises(SameFile, match="outside") as caught:
            run(copy_tree, a, inside)
        assert (caught.value.source, caught.value.destination) == (str(a), str(inside))
    assert told(a, preserve=True) == before
    with pytest.raises(SameFile):
        run(copy_tree, "/", tmp_path / "b")


def test_a_tree_that_comes_upon_its_own_copy_stops(tmp_path, a, monkeypatch):
    monkeypatch.setattr("pollprog.trees.is_inside", lambda *_: False)
    before = told(a, preserve=False)
    with pytest.raises(SameFile):
        run(copy_tree, a, a / "deep/er/b")
    assert told(a, preserve=False) == before


def test_what_is_no_tree_is_named(tmp_path, a, b):
    for source, destination, kind, named in (
        (tmp_path / "none", b, NoSuchFile, tmp_path / "none"),
        (a / "tool", b, NotDirectory, a / "tool"),
        (a, tmp_path / "none/b", NoSuchFile, tmp_path / "none/b"),
        (a, a / "tool/b", NotDirectory, a / "tool/b"),
        (a, b"", NoSuchFile, ""),
    ):
        with pytest.raises(kind) as caught:
            run(copy_tree, source, destination)
        assert caught.value.path == str(named)
        assert "\n" not in str(caught.value)
    assert alone(tmp_path)


AS_NOBODY = """
import ctypes, os, sys  # all that is imported later: another user may not be able to read it
from pollprog import errors
from pollprog.counting import Counter
from pollprog.trees import copy_tree
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.chdir(sys.argv[1])
try:
    copy_tree("a", "b", counter=Counter(), cancel=lambda: False, preserve=True)
except errors.PermissionDenied as error:
    print(error.path, "|", error)
print(sorted(os.listdir()))
"""


@pytest.fixture
def anybodys():
    """A directory in which another user has a tree; not pytest's own, which is closed to others."""
    if not ROOT:
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory(prefix="pollprog-test-") as name:
        directory = Path(name)
        directory.chmod(0o777)
        (directory / "a/inner").mkdir(parents=True)
        (directory / "a/inner/file").write_bytes(content(5 * MIB))
        for path in (directory / "a", *(directory / "a").rglob("*")):
            os.chown(path, 65534, 65534)
        yield directory


def as_nobody(directory):
    command = [sys.executable, "-c", AS_NOBODY, directory]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("closed", ["a/inner", "a/inner/file"])
def test_what_cannot_be_read_is_named_and_the_copy_goes(anybodys, closed):
    (anybodys / closed).chmod(0)
    error, listing = as_nobody(anybodys).splitlines()
    assert error.startswith(f"{closed} | cannot read {closed}: Permission denied")
    assert listing == "['a']"


def test_a_device_needs_root_and_what_was_copied_goes_with_closed_directories_too(anybodys):
    try:
        os.mknod(anybodys / "a/null", 0o660 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this root may not make devices")
    (anybodys / "a/inner").chmod(0o500)
    error, listing = as_nobody(anybodys).splitlines()
    assert error.startswith("a/null | a/null is a device, and only root may make another: become root")
    assert listing == "['a']"


def test_a_directory_that_nobody_may_write_in_is_copied_by_anybody(anybodys):
    (anybodys / "a/inner").chmod(0o500)
    assert as_nobody(anybodys) == "['a', 'b']\n"
    assert told(anybodys / "b", preserve=True) == told(anybodys / "a", preserve=True)


# ---- what happens meanwhile


def when(counter, phase, act):
    """A `cancel` that acts once, when this phase has begun, and never cancels."""
    done = []

    def look():
        if counter.phase == phase and not done:
            done.append(True)
            act()
        return False

    return look


def test_nobody_else_may_look_into_an_unfinished_copy(tmp_path, a, b):
    a.chmod(0o777)
    modes = set()

    def look():
        modes.update(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob(".b.pollprog-*"))
        return False

    run(copy_tree, a, b, cancel=look)
    assert modes == {0o700}
    assert stat.S_IMODE(b.stat().st_mode) == 0o755


@pytest.mark.parametrize("atomic", [True, False])
def test_what_appears_meanwhile_is_not_replaced(tmp_path, a, b, atomic, monkeypatch):
    if not atomic:
        monkeypatch.setattr("pollprog.syscalls._libc", object)

    def directory():
        b.mkdir()
        (b / "first").touch()

    for appear in (directory, b.touch):
        counter = Counter()
        with pytest.raises(DestinationExists, match="appeared meanwhile"):
            copy_tree(a, b, counter=counter, cancel=when(counter, "sync", appear))
        assert b.is_file() or os.listdir(b) == ["first"]
        assert sorted(os.listdir(tmp_path)) == ["a", "b"]
        shutil.rmtree(b) if b.is_dir() else b.unlink()


def test_a_file_system_that_only_knows_how_to_replace_will_do(a, b, monkeypatch):
    monkeypatch.setattr("pollprog.syscalls._libc", object)
    run(copy_tree, a, b, preserve=True)
    assert told(b, preserve=True) == told(a, preserve=True)


@pytest.mark.parametrize("calls", range(5, 45, 2))
def test_a_link_that_takes_the_place_of_a_directory_leads_nowhere(tmp_path, calls):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    a, b = tmp_path / "a", tmp_path / "b"
    (a / "inner").mkdir(parents=True)
    for name in "stuvwxyz":
        (a / "inner" / name).write_text("open")
        (a / name).write_text("open")
    (a / "inner/file").write_text("open")

    def swap():
        (a / "inner").rename(tmp_path / "moved")
        (a / "inner").symlink_to(outside)

    try:
        run(copy_tree, a, b, cancel=after(calls, swap))
    except (NotDirectory, NoSuchFile):
        assert not b.exists()
    else:
        copied = (path.read_text() for path in b.rglob("*") if path.is_file() and not (b / "inner").is_symlink())
        assert "secret" not in set(copied)
    assert (outside / "file").read_text() == "secret"


def test_a_file_that_is_gone_when_its_turn_comes_is_named(tmp_path, a, b):
    (a / "fifo").unlink()
    (a / "s").unlink()
    counter = Counter()
    with pytest.raises((NoSuchFile, OperationFailed)):
        copy_tree(
            a, b, counter=counter, cancel=lambda: counter.current > 0 and counter.phase == "" and bool(shutil.rmtree(a))
        )
    assert os.listdir(tmp_path) == []


def test_a_fifo_that_took_the_place_of_a_file_makes_nobody_wait(tmp_path, b, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").touch()
    really = os.open

    def late(name, *arguments, **options):
        if name == b"file":
            (tmp_path / "a/file").unlink()
            os.mkfifo(tmp_path / "a/file")
        return really(name, *arguments, **options)

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(OperationFailed, match="no regular file any more") as caught:
        run(copy_tree, tmp_path / "a", b)
    assert caught.value.path == str(tmp_path / "a/file")
    assert alone(tmp_path)


# ---- cancel and failure


def test_a_cancel_at_any_moment_leaves_nothing(tmp_path, a, b):
    before = told(a, preserve=True)
    descriptors = len(os.listdir("/proc/self/fd"))
    generator = random.Random(3)
    calls = 0
    while True:
        try:
            run(copy_tree, a, b, preserve=True, cancel=from_call(calls))
        except Cancelled as error:
            cancelled = error
        else:
            break
        assert ("what was copied has been removed" in str(cancelled)) == bool(cancelled.written)
        assert alone(tmp_path)
        assert len(os.listdir("/proc/self/fd")) == descriptors
        calls += generator.randint(1, 5)
    assert calls > 60
    assert told(a, preserve=True) == before
    assert told(b, preserve=True) == before


@pytest.mark.parametrize("exception", [KeyboardInterrupt, MemoryError])
def test_whatever_breaks_in_nothing_is_left(tmp_path, a, b, exception):
    def break_in():
        raise exception

    with pytest.raises(exception):
        run(copy_tree, a, b, cancel=after(60, break_in))
    assert alone(tmp_path)


def test_only_what_this_copy_made_is_removed(tmp_path, a, b):
    other = tmp_path / ".b.pollprog-0123456789ab"
    other.mkdir()
    with pytest.raises(Cancelled):
        run(copy_tree, a, b, cancel=from_call(60))
    assert sorted(os.listdir(tmp_path)) == [other.name, "a"]


def test_what_cannot_be_removed_is_named(tmp_path, a, b, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "rmdir", refuse)
    with pytest.raises(Cancelled, match="could not be removed") as caught:
        run(copy_tree, a, b, cancel=from_call(60))
    (left,) = (path for path in tmp_path.iterdir() if path.name != "a")
    assert str(left) in str(caught.value)


def test_a_file_that_may_not_grow_is_named(tmp_path, a, b):
    with file_size_limit(6 * MIB):
        (a / "sparse").unlink()
        with pytest.raises(OperationFailed, match=r"cannot write .*/file: File too large.*removed") as caught:
            run(copy_tree, a, b)
    assert caught.value.path == str(b / "deep/er/and/deeper/file")
    assert (caught.value.errno, caught.value.written >= 6 * MIB) == ("EFBIG", True)
    assert alone(tmp_path)


@pytest.mark.tool("unshare")
@pytest.mark.tool("mount")
def test_a_full_disk_is_left_as_it_was(tmp_path, a):
    code = f"""
from pollprog.trees import copy_tree
open("old", "wb").write(b"o" * 1000)
try:
    copy_tree({str(a)!r}, "new", **quiet)
except errors.NoSpace as error:
    print(error.errno, error.written > 4 << 20, error.path.startswith("new/"), "removed; free" in str(error))
print(os.listdir())
"""
    assert on_a_small_disk(tmp_path / "disk", code).splitlines() == ["ENOSPC True True True", "['old']"]


def test_a_failing_disk_is_an_error_and_leaves_nothing(tmp_path, a, b, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("pollprog.trees.sync_file_system", fail)
    with pytest.raises(OperationFailed, match="dmesg") as caught:
        run(copy_tree, a, b)
    assert caught.value.errno == "EIO"
    assert alone(tmp_path)
