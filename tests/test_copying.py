"""Our own copy of a file: what it keeps, what it refuses, what is left when it ends badly."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from disks import small_disk
from loop_runs import MIB, after, copy, dense, file_size_limit, loop_device, nothing_but, on_a_small_disk

from pollprog.counting import Counter
from pollprog.errors import (
    Cancelled,
    DestinationExists,
    IsDirectory,
    NoSuchFile,
    NotAFile,
    NotDirectory,
    OperationError,
    OperationFailed,
    SameFile,
)
from pollprog.loops import STEP


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


@pytest.fixture(params=["copy_file_range", "read and write"])
def way(request, monkeypatch):
    """Both ways for the bytes, on whatever file system the tests run."""
    if request.param == "read and write":

        def refuse(*_):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        monkeypatch.setattr(os, "copy_file_range", refuse)
    return request.param


def test_an_empty_file_is_copied(tmp_path, b):
    (tmp_path / "a").touch()
    counter = Counter()
    assert copy(tmp_path / "a", b, counter=counter) == 0
    assert b.read_bytes() == b""
    assert (counter.current, counter.total) == (0, 0)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_paths_may_be_text_bytes_or_path_objects(a, b, kind):
    copy(kind(a), kind(b))
    assert a.read_bytes() == b.read_bytes()


def test_names_may_be_relative_long_and_of_any_bytes(tmp_path, a, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (b"b", b"\xff\n", b"\xc3\xa4" * 127, b"x" * 255):
        copy(b"a", name)
        assert Path(os.fsdecode(name)).read_bytes() == a.read_bytes()


@pytest.mark.tool("losetup")
def test_a_block_device_is_copied(tmp_path, b):
    image = dense(tmp_path / "image", 9, b"")
    with loop_device(image) as device:
        counter = Counter()
        assert copy(device, b, counter=counter) == 9 * MIB
        assert counter.current == counter.total == 9 * MIB
    assert image.read_bytes() == b.read_bytes()


# ---- mode, times, owner


@pytest.fixture
def umask():
    old = os.umask(0o027)
    yield 0o027
    os.umask(old)


def test_a_new_file_has_the_mode_that_cp_would_give_it(a, b, umask):
    a.chmod(0o4775)
    copy(a, b)
    assert stat.S_IMODE(b.stat().st_mode) == 0o750


def test_a_file_that_may_not_be_written_is_copied_with_its_mode(a, b):
    a.chmod(0o444)
    copy(a, b)
    assert stat.S_IMODE(b.stat().st_mode) == 0o444


def test_preserve_keeps_mode_owner_and_times_to_the_nanosecond(a, b, umask):
    owner = 12345 if os.geteuid() == 0 else os.geteuid()
    os.chown(a, owner, -1)
    a.chmod(0o4775)
    os.utime(a, ns=(1_234_567_890_123_456_789, 987_654_321_987_654_321))
    before = a.stat()
    copy(a, b, preserve=True)
    after = b.stat()
    assert stat.S_IMODE(after.st_mode) == 0o4775
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert (after.st_atime_ns, after.st_mtime_ns) == (before.st_atime_ns, before.st_mtime_ns)


def test_setuid_is_not_kept_without_the_owner(a, b, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    a.chmod(0o6755)
    monkeypatch.setattr(os, "fchown", refuse)
    copy(a, b, preserve=True)
    assert stat.S_IMODE(b.stat().st_mode) == 0o755


def test_while_it_grows_a_copy_with_mode_to_keep_is_its_owners_alone(tmp_path, a, b):
    a.chmod(0o666)
    modes = set()

    def look():
        modes.update(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob(".b.pollprog-*"))
        return False

    copy(a, b, preserve=True, cancel=look)
    assert 0o600 in modes
    assert modes <= {0o600, 0o666}


def test_a_replaced_file_hands_on_its_mode(a, b):
    b.write_text("secret")
    b.chmod(0o600)
    a.chmod(0o644)
    copy(a, b, overwrite=True)
    assert stat.S_IMODE(b.stat().st_mode) == 0o600
    assert b.read_bytes() == a.read_bytes()


# ---- what is refused


def refused(source, destination, **options):
    """The text of the refusal; and nothing was touched."""
    directory = Path(os.fsdecode(destination)).parent
    before = sorted(os.listdir(directory)) if directory.is_dir() else None
    with pytest.raises(OperationError) as caught:
        copy(source, destination, **options)
    assert getattr(caught.value, "written", 0) == 0
    assert before is None or before == sorted(os.listdir(directory))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_each_refusal_has_its_class_and_names_the_file(tmp_path, a, b):
    os.mkfifo(tmp_path / "fifo")
    b.touch()
    for source, destination, kind, path in (
        (tmp_path / "none", b, NoSuchFile, tmp_path / "none"),
        (a, tmp_path / "none" / "b", NoSuchFile, tmp_path / "none" / "b"),
        (a, a / "b", NotDirectory, a / "b"),
        (tmp_path, tmp_path / "c", IsDirectory, tmp_path),
        (a, tmp_path, IsDirectory, tmp_path),
        (tmp_path / "fifo", tmp_path / "c", NotAFile, tmp_path / "fifo"),
        (a, tmp_path / "fifo", NotAFile, tmp_path / "fifo"),
        (a, b, DestinationExists, b),
    ):
        with pytest.raises(kind) as caught:
            copy(source, destination)
        assert caught.value.path == str(path)
    with pytest.raises(SameFile) as caught:
        copy(a, a)
    assert (caught.value.source, caught.value.destination) == (str(a), str(a))
    assert nothing_but(tmp_path, "a", "b", "fifo")


def test_what_exists_is_replaced_by_force_alone(a, b):
    b.write_text("precious")
    assert "`overwrite`" in refused(a, b)
    assert b.read_text() == "precious"
    copy(a, b, overwrite=True)
    assert b.read_bytes() == a.read_bytes()


@pytest.mark.parametrize("force", [False, True])
def test_a_file_is_not_copied_onto_itself(tmp_path, a, b, force):
    os.link(a, b)
    (tmp_path / "link").symlink_to("a")
    content = a.read_bytes()
    for itself in (a, b, tmp_path / "link", tmp_path / "." / "a"):
        assert "same file" in refused(a, itself, overwrite=force)
    assert a.read_bytes() == content


@pytest.mark.parametrize("force", [False, True])
def test_a_directory_is_no_destination(tmp_path, a, force):
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    assert str(tmp_path / "directory" / "a") in refused(a, tmp_path / "directory", overwrite=force)
    assert "is a directory" in refused(a, tmp_path / "link", overwrite=force)
    assert "name the file" in refused(a, f"{tmp_path}/new/", overwrite=force)


def test_a_directory_is_no_source(tmp_path, b):
    assert "is a directory" in refused(tmp_path, b)


def test_what_has_no_end_is_no_source(tmp_path, b):
    os.mkfifo(tmp_path / "fifo")
    assert "no file with an end" in refused(tmp_path / "fifo", b)
    assert "no file with an end" in refused("/dev/zero", b)


def test_a_fifo_or_socket_is_never_replaced(tmp_path, a, b):
    os.mkfifo(b)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        for special in (b, tmp_path / "s"):
            assert "no regular file" in refused(a, special, overwrite=True)
    assert stat.S_ISFIFO(b.stat().st_mode)


def test_a_name_that_leads_nowhere_is_named(tmp_path, a, b):
    assert str(tmp_path / "none") in refused(tmp_path / "none", b)
    assert str(tmp_path / "no" / "b") in refused(a, tmp_path / "no" / "b")
    assert "cannot write" in refused(a, tmp_path / "a" / "b")
    assert "cannot write" in refused(a, tmp_path / ("x" * 256))


@pytest.mark.parametrize("path", ["", b"x\0y", "\ud800"])
def test_what_cannot_be_a_name_is_refused(a, b, path):
    for source, destination in ((path, b), (a, path)):
        with pytest.raises(OperationError, match="not the name of a file"):
            copy(source, destination)


def test_a_symbolic_link_is_followed_and_stays(tmp_path, a):
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real"
    real.write_text("old")
    link = tmp_path / "link"
    link.symlink_to("there/real")
    assert "`overwrite`" in refused(a, link)
    copy(a, link, overwrite=True)
    assert os.readlink(link) == "there/real"
    assert real.read_bytes() == a.read_bytes()
    assert nothing_but(tmp_path / "there", "real")


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_written_through_a_link_to_nothing(tmp_path, a, b, force):
    b.symlink_to("none")
    assert "link to nothing" in refused(a, b, overwrite=force)
    assert not (tmp_path / "none").exists()


def test_other_hard_links_of_a_replaced_file_keep_what_they_had(tmp_path, a, b):
    b.write_text("old")
    os.link(b, tmp_path / "c")
    copy(a, b, overwrite=True)
    assert (tmp_path / "c").read_text() == "old"


# ---- cancel and failure


def test_a_cancel_stops_at_the_next_step_and_leaves_nothing(tmp_path, b, way):
    a = dense(tmp_path / "a", 20)
    counter = Counter()
    with pytest.raises(Cancelled, match=r"of 20\.0 MiB; what was copied has been removed") as caught:
        copy(a, b, counter=counter, cancel=lambda: counter.current >= STEP)
    assert STEP <= caught.value.written < 3 * STEP
    assert caught.value.written == counter.current
    assert nothing_but(tmp_path, "a")


def test_a_cancel_may_come_from_another_thread(tmp_path, b):
    a = dense(tmp_path / "a", 20)
    event = threading.Event()
    event.set()
    with pytest.raises(Cancelled) as caught:
        copy(a, b, cancel=event.is_set)
    assert caught.value.written == 0
    assert nothing_but(tmp_path, "a")


@pytest.mark.parametrize("calls", range(8))
def test_a_cancel_at_any_moment_leaves_what_was_there(tmp_path, b, calls):
    a = dense(tmp_path / "a", 5)
    b.write_text("precious")
    count = iter(range(100))
    try:
        copy(a, b, overwrite=True, cancel=lambda: next(count) == calls)
    except Cancelled:
        assert b.read_text() == "precious"
    else:
        assert next(count) <= calls
        assert a.read_bytes() == b.read_bytes()
    assert nothing_but(tmp_path, "a", "b")


@pytest.mark.parametrize("exception", [KeyboardInterrupt, MemoryError, SystemExit])
def test_whatever_breaks_in_the_temporary_goes(tmp_path, a, b, exception):
    def break_in():
        raise exception

    with pytest.raises(exception):
        copy(a, b, cancel=after(2, break_in))
    assert nothing_but(tmp_path, "a")


def test_a_source_that_cannot_be_read_is_named(b):
    with pytest.raises(OperationError, match=r"cannot read /proc/self/mem: .*dmesg"):
        copy("/proc/self/mem", b)
    assert not b.exists()


def test_a_file_that_may_not_grow_says_how_far_it_came(tmp_path, b, way):
    a = dense(tmp_path / "a", 20)
    with (
        file_size_limit(6 * MIB + 1),
        pytest.raises(OperationFailed, match=r"after 6\.0 MiB of 20\.0 MiB.*removed.*ulimit") as caught,
    ):
        copy(a, b)
    error = caught.value
    assert (error.errno, error.path, error.written) == ("EFBIG", str(b), 6 * MIB + 1)
    assert isinstance(error.__cause__, OSError)
    assert nothing_but(tmp_path, "a")


@pytest.mark.tool("unshare")
@pytest.mark.tool("mount")
def test_a_full_disk_says_how_far_it_came_and_is_left_clean(tmp_path):
    code = f"""
from pollprog.copying import copy_file
try:
    copy_file({str(dense(tmp_path / "a", 20))!r}, "b", **quiet)
except errors.NoSpace as error:
    print(error.errno, error.path, error.written, error)
print(os.listdir())
"""
    told, listing = on_a_small_disk(tmp_path / "disk", code).splitlines()
    assert told.startswith(f"ENOSPC b {8 * MIB} ")
    assert "No space left on device, after 8.0 MiB of 20.0 MiB; what was copied has been removed; free some" in told
    assert listing == "[]"


def test_a_failing_sync_is_an_error_and_leaves_nothing(tmp_path, a, b, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OperationError, match=f"cannot write {b}"):
        copy(a, b)
    assert nothing_but(tmp_path, "a")


@pytest.mark.tool("cp")
def test_a_copy_is_what_cp_makes_of_it(tmp_path, b, umask):
    a = dense(tmp_path / "a", 3)
    a.chmod(0o640)
    for options, preserve in (([], False), (["-p"], True)):
        subprocess.run(["cp", *options, a, tmp_path / "theirs"], check=True)
        copy(a, b, preserve=preserve)
        ours, theirs = b.stat(), (tmp_path / "theirs").stat()
        assert b.read_bytes() == (tmp_path / "theirs").read_bytes()
        assert (ours.st_mode, ours.st_uid, ours.st_gid) == (theirs.st_mode, theirs.st_uid, theirs.st_gid)
        if preserve:
            assert ours.st_mtime_ns == theirs.st_mtime_ns
        b.unlink()


@pytest.mark.tool("mount")
def test_a_disk_that_is_read_only_is_told_and_no_file_that_never_was(a, tmp_path):
    with small_disk(tmp_path, 1 * MIB) as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(OperationFailed) as caught:
            copy(a, disk / "b")
    assert caught.value.errno == "EROFS"
    assert "remove" not in str(caught.value)
