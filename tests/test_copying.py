"""Our own copy loop: real files, real kills, a real full disk; fakes only where a kernel or file system would be needed."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import random
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pollprog.copying import copy_file
from pollprog.counting import Counter
from pollprog.errors import Cancelled, OperationError
from pollprog.loops import STEP

MIB = 1 << 20
BLOCK = random.Random(0).randbytes(MIB)
SHM = Path("/dev/shm")


def never() -> bool:
    return False


def copy(source, destination, *, counter=None, cancel=never, **options):
    return copy_file(source, destination, counter=counter or Counter(), cancel=cancel, **options)


def dense(path, mebibytes=1, extra=b"end"):
    with path.open("wb") as file:
        for number in range(mebibytes):
            file.write(number.to_bytes(8, "little") + BLOCK[8:])
        file.write(extra)
    return path


def nothing_but(directory, *names):
    return sorted(os.listdir(directory)) == sorted(names)


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


# ---- what arrives


@pytest.mark.parametrize("mebibytes", [0, 1, 9])
def test_a_copy_has_the_same_content(tmp_path, b, way, mebibytes):
    a = dense(tmp_path / "a", mebibytes)
    counter = Counter()
    assert copy(a, b, counter=counter) == a.stat().st_size
    assert a.read_bytes() == b.read_bytes()
    assert counter.current == counter.total == a.stat().st_size
    assert nothing_but(tmp_path, "a", "b")


def test_a_copy_goes_the_quickest_way_that_the_file_system_offers(tmp_path, b, monkeypatch):
    monkeypatch.undo()  # a reflink, where there is one
    a = dense(tmp_path / "a", 9)
    os.truncate(a, 20 * MIB)
    counter = Counter()
    assert copy(a, b, counter=counter) == 20 * MIB
    assert a.read_bytes() == b.read_bytes()
    assert counter.current == counter.total < 10 * MIB


def test_an_empty_file_is_copied(tmp_path, b):
    (tmp_path / "a").touch()
    counter = Counter()
    assert copy(tmp_path / "a", b, counter=counter) == 0
    assert b.read_bytes() == b""
    assert (counter.current, counter.total) == (0, 0)


@pytest.mark.skipif(not SHM.is_dir(), reason="no /dev/shm")
def test_a_copy_goes_to_another_file_system(tmp_path, b):
    source = SHM / f"pollprog-test-{os.getpid()}"
    try:
        dense(source, 5)
        copy(source, b)
        assert source.read_bytes() == b.read_bytes()
    finally:
        source.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_paths_may_be_text_bytes_or_path_objects(a, b, kind):
    copy(kind(a), kind(b))
    assert a.read_bytes() == b.read_bytes()


def test_names_may_be_relative_long_and_of_any_bytes(tmp_path, a, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (b"b", b"\xff\n", b"\xc3\xa4" * 127, b"x" * 255):
        copy(b"a", name)
        assert Path(os.fsdecode(name)).read_bytes() == a.read_bytes()


def stretches(path):
    """[start, end) of the data of a file, as the kernel tells it."""
    found, end = [], 0
    with path.open("rb") as file:
        while True:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                return found
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, end))


def test_holes_stay_holes_and_do_not_count(tmp_path, b, way):
    a = tmp_path / "a"
    with a.open("wb") as file:
        for place in (3, 20, 40):
            file.seek(place * MIB)
            file.write(BLOCK)
        file.truncate(64 * MIB)
    counter = Counter()
    totals = set()

    def look():
        if counter.phase == "" and counter.total is not None:
            totals.add(counter.total)
        return False

    assert copy(a, b, counter=counter, cancel=look) == 64 * MIB
    assert a.read_bytes() == b.read_bytes()
    assert stretches(a) == stretches(b)
    assert b.stat().st_blocks * 512 < 4 * MIB
    assert totals == {3 * MIB}
    assert counter.current == counter.total == 3 * MIB


def test_a_file_that_is_one_hole_is_copied(tmp_path, b):
    a = tmp_path / "a"
    with a.open("wb") as file:
        file.truncate(64 * MIB)
    assert copy(a, b) == b.stat().st_size == 64 * MIB
    assert b.stat().st_blocks * 512 < MIB


@given(
    pieces=st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 20_000)), max_size=8),
    size=st.integers(0, 400_000),
    in_kernel=st.booleans(),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_layout_arrives_and_the_count_never_falls(tmp_path, pieces, size, in_kernel):
    a, b = tmp_path / "a", tmp_path / "b"
    with a.open("wb") as file:
        for offset, length in pieces:
            file.seek(offset)
            file.write(BLOCK[:length])
        file.truncate(size)
    counter = Counter()
    seen = []

    def look():
        seen.append(counter.sample())
        return False

    with pytest.MonkeyPatch.context() as patch:
        if not in_kernel:
            patch.delattr(os, "copy_file_range")
        assert copy(a, b, counter=counter, cancel=look, force=True) == size
    assert a.read_bytes() == b.read_bytes()
    counts = [sample.current for sample in seen if sample.phase == ""]
    assert counts == sorted(counts)
    assert all(sample.total is None or sample.current <= sample.total for sample in seen)
    assert counter.current == counter.total


def test_a_file_system_that_does_not_tell_its_holes_is_copied_whole(tmp_path, b, monkeypatch):
    a = tmp_path / "a"
    with a.open("wb") as file:
        file.seek(MIB)
        file.write(b"data")
    lseek = os.lseek

    def ignorant(descriptor, offset, whence):
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return lseek(descriptor, offset, whence)

    monkeypatch.setattr(os, "lseek", ignorant)
    counter = Counter()
    copy(a, b, counter=counter)
    assert a.read_bytes() == b.read_bytes()
    assert counter.total == MIB + 4


@pytest.mark.parametrize(
    "path", ["/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/self/mountinfo"]
)
def test_a_file_that_says_a_wrong_size_is_copied_to_its_end(b, path):
    if not os.path.exists(path):
        pytest.skip(f"no {path}")
    content = Path(path).read_bytes()
    counter = Counter()
    assert copy(path, b, counter=counter) == len(content) > 0
    assert b.read_bytes() == content
    assert counter.current == counter.total == len(content)


def test_a_kernel_that_copies_nothing_and_says_all_is_well_is_not_believed(a, b, monkeypatch):
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    copy(a, b)
    assert a.read_bytes() == b.read_bytes()


def test_an_interrupted_call_does_not_cost_the_quick_way(tmp_path, b, monkeypatch):
    a = dense(tmp_path / "a", 9)
    really, calls = os.copy_file_range, []

    def interrupted_first(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
        return really(*arguments)

    monkeypatch.setattr(os, "copy_file_range", interrupted_first)
    copy(a, b)
    assert a.read_bytes() == b.read_bytes()
    assert len(calls) > 1


def test_short_writes_are_completed(a, b, way, monkeypatch):
    really = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, at: really(descriptor, data[:100_000], at))
    copy(a, b)
    assert a.read_bytes() == b.read_bytes()


def test_blocks_are_shared_where_the_file_system_can(a, b, monkeypatch):
    def clone(writer, request, reader):
        assert request == 0x40049409
        os.sendfile(writer, reader, 0, 2 * MIB)

    monkeypatch.setattr(fcntl, "ioctl", clone)
    monkeypatch.delattr(os, "copy_file_range")
    monkeypatch.delattr(os, "preadv")
    counter = Counter()
    assert copy(a, b, counter=counter) == a.stat().st_size
    assert a.read_bytes() == b.read_bytes()
    assert counter.current == counter.total == a.stat().st_size


def test_without_the_newer_calls_of_the_c_library_a_copy_still_succeeds(tmp_path, b, monkeypatch):
    monkeypatch.setattr("pollprog.syscalls._libc", object)
    copy(dense(tmp_path / "a", 9), b)
    assert (tmp_path / "a").read_bytes() == b.read_bytes()


@pytest.mark.tool("losetup")
def test_a_block_device_is_copied(tmp_path, b):
    image = dense(tmp_path / "image", 9, b"")
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    losetup = functools.partial(subprocess.run, env=environment, capture_output=True, text=True)
    made = losetup(["losetup", "--find", "--show", "--read-only", image])
    if made.returncode:
        pytest.skip(f"no loop device to be had: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        counter = Counter()
        assert copy(device, b, counter=counter) == 9 * MIB
        assert counter.current == counter.total == 9 * MIB
        assert image.read_bytes() == b.read_bytes()
    finally:
        losetup(["losetup", "--detach", device], check=True)


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
    copy(a, b, force=True)
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


def test_what_exists_is_replaced_by_force_alone(a, b):
    b.write_text("precious")
    assert "`force`" in refused(a, b)
    assert b.read_text() == "precious"
    copy(a, b, force=True)
    assert b.read_bytes() == a.read_bytes()


@pytest.mark.parametrize("force", [False, True])
def test_a_file_is_not_copied_onto_itself(tmp_path, a, b, force):
    os.link(a, b)
    (tmp_path / "link").symlink_to("a")
    content = a.read_bytes()
    for itself in (a, b, tmp_path / "link", tmp_path / "." / "a"):
        assert "same file" in refused(a, itself, force=force)
    assert a.read_bytes() == content


@pytest.mark.parametrize("force", [False, True])
def test_a_directory_is_no_destination(tmp_path, a, force):
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    assert str(tmp_path / "directory" / "a") in refused(a, tmp_path / "directory", force=force)
    assert "is a directory" in refused(a, tmp_path / "link", force=force)
    assert "name the file" in refused(a, f"{tmp_path}/new/", force=force)


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
            assert "no regular file" in refused(a, special, force=True)
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
    assert "`force`" in refused(a, link)
    copy(a, link, force=True)
    assert os.readlink(link) == "there/real"
    assert real.read_bytes() == a.read_bytes()
    assert nothing_but(tmp_path / "there", "real")


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_written_through_a_link_to_nothing(tmp_path, a, b, force):
    b.symlink_to("none")
    assert "link to nothing" in refused(a, b, force=force)
    assert not (tmp_path / "none").exists()


def test_other_hard_links_of_a_replaced_file_keep_what_they_had(tmp_path, a, b):
    b.write_text("old")
    os.link(b, tmp_path / "c")
    copy(a, b, force=True)
    assert (tmp_path / "c").read_text() == "old"


# ---- what happens meanwhile


def after(calls, act):
    """A `cancel` that acts once, at its so-many-th call, and never cancels."""
    count = iter(range(1_000_000))

    def cancel():
        if next(count) == calls:
            act()
        return False

    return cancel


@pytest.mark.parametrize("publish", ["link", "rename"])
def test_what_appears_meanwhile_is_not_overwritten(tmp_path, a, b, publish, monkeypatch):
    if publish == "rename":
        monkeypatch.setattr(os, "link", no_hard_links)
    with pytest.raises(OperationError, match="appeared meanwhile"):
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
    with pytest.raises(OperationError, match="`force` allows it"):
        copy(a, b)
    assert nothing_but(tmp_path, "a")
    copy(a, b, force=True)
    assert a.read_bytes() == b.read_bytes()


def test_the_directory_may_be_moved_meanwhile(tmp_path, a):
    (tmp_path / "old").mkdir()
    copy(a, tmp_path / "old" / "b", cancel=after(2, lambda: (tmp_path / "old").rename(tmp_path / "new")))
    assert nothing_but(tmp_path / "new", "b")
    assert (tmp_path / "new" / "b").read_bytes() == a.read_bytes()


@pytest.mark.parametrize("holes", [False, True])
def test_a_source_that_gets_shorter_is_an_error(tmp_path, b, way, holes):
    a = dense(tmp_path / "a", 20)
    if holes:
        os.truncate(a, 30 * MIB)
    with pytest.raises(OperationError, match="became shorter"):
        copy(a, b, cancel=after(5, lambda: os.truncate(a, 6 * MIB)))
    assert nothing_but(tmp_path, "a")


@pytest.mark.parametrize("holes", [False, True])
def test_what_is_appended_meanwhile_is_not_copied(tmp_path, b, way, holes):
    a = dense(tmp_path / "a", 9)
    if holes:
        with a.open("r+b") as file:
            file.seek(12 * MIB)
            file.write(b"end")
    counter = Counter()
    content = a.read_bytes()

    def append():
        with a.open("ab") as file:
            file.write(BLOCK)
        return False

    assert copy(a, b, counter=counter, cancel=append) == len(content)
    assert b.read_bytes() == content
    assert counter.current == counter.total <= len(content)


def test_a_total_follows_holes_that_are_filled_meanwhile(tmp_path, b):
    a = dense(tmp_path / "a", 5)
    os.truncate(a, 20 * MIB)
    counter = Counter()

    def fill():
        if counter.current and counter.phase == "":
            assert counter.current <= counter.total
            with a.open("r+b") as file:
                file.seek(6 * MIB)
                file.write(BLOCK * 10)
        return False

    copy(a, b, counter=counter, cancel=fill)
    assert a.read_bytes() == b.read_bytes()
    assert counter.current == counter.total > 10 * MIB


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
        copy(a, b, force=True, cancel=lambda: next(count) == calls)
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
        copy(a, b, cancel=after_cancel(3))
    (left,) = (path for path in tmp_path.iterdir() if path.name not in ("a", "b"))
    assert str(left) in str(caught.value)


def after_cancel(calls):
    count = iter(range(1_000_000))
    return lambda: next(count) >= calls


def test_a_source_that_cannot_be_read_is_named(b):
    with pytest.raises(OperationError, match=r"cannot read /proc/self/mem: .*dmesg"):
        copy("/proc/self/mem", b)
    assert not b.exists()


@pytest.fixture
def file_size_limit():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * MIB, limits[1]))
    yield 6 * MIB
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_that_may_not_grow_says_how_far_it_came(tmp_path, b, way, request):
    a = dense(tmp_path / "a", 20)
    limit = request.getfixturevalue("file_size_limit")
    with pytest.raises(OperationError, match=r"after 6\.0 MiB of 20\.0 MiB.*removed.*ulimit") as caught:
        copy(a, b)
    assert caught.value.written == limit
    assert str(b) in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert nothing_but(tmp_path, "a")


FULL_DISK = """
import os, subprocess, sys
from pollprog.copying import copy_file
from pollprog.counting import Counter
from pollprog.errors import OperationError
source, disk = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], check=True)
try:
    copy_file(source, os.path.join(disk, "b"), counter=Counter(), cancel=lambda: False)
except OperationError as error:
    print(error.written, error)
print(os.listdir(disk))
"""


@pytest.mark.tool("unshare")
@pytest.mark.tool("mount")
def test_a_full_disk_says_how_far_it_came_and_is_left_clean(tmp_path):
    a = dense(tmp_path / "a", 20)
    (tmp_path / "disk").mkdir()
    alone = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no user namespaces")
    command = [*alone, sys.executable, "-c", FULL_DISK, a, tmp_path / "disk"]
    told, listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "No space left on device, after 8.0 MiB of 20.0 MiB; what was copied has been removed; free some" in told
    assert int(told.split()[0]) == 8 * MIB
    assert listing == "[]"


def test_a_failing_sync_is_an_error_and_leaves_nothing(tmp_path, a, b, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OperationError, match=f"cannot write {b}"):
        copy(a, b)
    assert nothing_but(tmp_path, "a")


@pytest.mark.parametrize(("code", "fails"), [(errno.EIO, True), (errno.EINVAL, False)])
def test_a_directory_that_cannot_be_synced_leaves_the_whole_file(a, b, monkeypatch, code, fails):
    really = os.fsync

    def fail_for_directories(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_directories)
    if fails:
        with pytest.raises(OperationError, match="is complete, but") as caught:
            copy(a, b)
        assert "removed" not in str(caught.value)
    else:
        copy(a, b)
    assert a.read_bytes() == b.read_bytes()


# ---- kills


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
copy_file(source, destination, counter=Counter(), cancel=cancel, force=where == "force")
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
