"""The ways of bytes from one file into another: holes, odd kernels, files that change meanwhile."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loop_runs import BLOCK, MIB, after, copy, dense, nothing_but

from pollprog.counting import Counter
from pollprog.errors import Cancelled, OperationFailed
from pollprog.loops import Loop
from pollprog.transfer import Transfer

SHM = Path("/dev/shm")


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


def test_a_cancel_is_heard_while_there_is_nothing_to_read(tmp_path):
    asked = []

    def cancel():
        asked.append(1)
        return len(asked) > 2

    reader, feeder = os.pipe()  # the kernel's own log (/proc/kmsg) waits like this, and says that it is an empty file
    writer = os.open(tmp_path / "b", os.O_WRONLY | os.O_CREAT)
    try:
        transfer = Transfer(Loop("copying a to b", b"b", Counter(), cancel), reader, b"a", writer, b"b")
        transfer.may_wait = True
        with pytest.raises(Cancelled):
            transfer.stretch(0, MIB)
    finally:
        for descriptor in (reader, feeder, writer):
            os.close(descriptor)


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


@pytest.mark.skipif(not SHM.is_dir(), reason="no /dev/shm")
def test_a_copy_goes_to_another_file_system(tmp_path, b):
    source = SHM / f"pollprog-test-{os.getpid()}"
    try:
        dense(source, 5)
        copy(source, b)
        assert source.read_bytes() == b.read_bytes()
    finally:
        source.unlink(missing_ok=True)


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
        assert copy(a, b, counter=counter, cancel=look, overwrite=True) == size
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


@pytest.mark.parametrize("holes", [False, True])
def test_a_source_that_gets_shorter_is_an_error(tmp_path, b, way, holes):
    a = dense(tmp_path / "a", 20)
    if holes:
        os.truncate(a, 30 * MIB)
    with pytest.raises(OperationFailed, match="became shorter"):
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
