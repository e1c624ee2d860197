"""Patterns and zeroes written in place, on files, on a full disk, on a device."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loop_runs import MIB, content, file_size_limit, from_call, loop_device, on_a_small_disk, run, watched

from pollprog.counting import Counter
from pollprog.errors import (
    Cancelled,
    InvalidParameter,
    IsDirectory,
    NoSpace,
    NoSuchFile,
    NotAFile,
    OperationFailed,
    PermissionDenied,
)
from pollprog.filling import fill, zero, zero_device

SIZE = 12 * MIB + 5
OLD = content(SIZE)


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def new(tmp_path):
    return tmp_path / "new"


@pytest.fixture(params=["the kernel's zeroes", "written zeroes"])
def zeroes(request, monkeypatch):
    if request.param == "written zeroes":
        monkeypatch.setattr("pollprog.syscalls._libc", object)
    return request.param


# ---- what is written


@pytest.mark.parametrize("pattern", [b"x", b"abc", content(300_001), b"\0", b"\0\0"])
def test_a_pattern_is_written_again_and_again_and_the_rest_stays(old, pattern):
    size = 9 * MIB + 1
    found, counter = watched(fill, old, size=size, offset=11, pattern=pattern)
    assert found == counter.current == size
    expected = (pattern * (size // len(pattern) + 1))[:size]
    assert old.read_bytes() == OLD[:11] + expected + OLD[11 + size :]


def test_a_file_that_is_not_there_is_made_and_one_that_ends_before_grows(old, new):
    run(fill, new, size=MIB, offset=3, pattern=b"ab")
    assert new.read_bytes() == bytes(3) + b"ab" * (MIB // 2)
    run(fill, old, size=MIB, offset=SIZE + 3, pattern=b"ab")
    assert old.read_bytes() == OLD + bytes(3) + b"ab" * (MIB // 2)
    run(zero, old, size=MIB, offset=SIZE + MIB)
    assert old.read_bytes() == OLD + bytes(3) + (b"ab" * (MIB // 2))[: MIB - 3] + bytes(MIB + 3 - 3)


@pytest.mark.parametrize(
    ("offset", "size"), [(0, SIZE), (4096, 4 * MIB), (1, 9 * MIB), (5 * MIB - 1, 2), (SIZE, 0), (7, 4097)]
)
def test_zeroes_are_written_and_the_rest_stays(old, zeroes, offset, size):
    found, counter = watched(zero, old, offset=offset, size=size)
    assert found == counter.current == size
    assert old.read_bytes() == OLD[:offset] + bytes(size) + OLD[offset + size :]


@given(offset=st.integers(0, 9 * MIB), size=st.one_of(st.none(), st.integers(0, 6 * MIB)), in_kernel=st.booleans())
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_stretch_is_zeroed_and_nothing_else(tmp_path, offset, size, in_kernel):
    path = tmp_path / "old"
    path.write_bytes(OLD[: 9 * MIB])
    with pytest.MonkeyPatch.context() as patch:
        if not in_kernel:
            patch.setattr("pollprog.syscalls._libc", object)
        run(zero, path, offset=offset, size=size)
    count = 9 * MIB - offset if size is None else size
    assert path.read_bytes() == OLD[:offset] + bytes(count) + OLD[offset + count : 9 * MIB]


def test_without_a_size_zeroes_go_to_the_end(old, zeroes):
    assert watched(zero, old, offset=5)[0] == SIZE - 5
    assert old.read_bytes() == OLD[:5] + bytes(SIZE - 5)


def test_an_image_stands_in_for_a_device(old, zeroes):
    assert watched(zero_device, old)[0] == SIZE
    assert old.read_bytes() == bytes(SIZE)


def test_zeroes_take_the_space_that_they_need(new, zeroes):
    run(zero, new, size=5 * MIB)
    assert new.stat().st_blocks * 512 >= 5 * MIB


def test_the_total_is_the_size_and_the_last_phase_waits_for_the_disk(old):
    counter = Counter()
    seen = []

    def look():
        seen.append((counter.phase, counter.total))
        return False

    zero(old, counter=counter, cancel=look)
    assert set(seen) == {("", SIZE), ("sync", None)}
    assert (counter.phase, counter.current, counter.total) == ("sync", SIZE, SIZE)


# ---- what is refused


def test_what_cannot_be_meant_is_refused_and_nothing_happens(tmp_path, old, new):
    for name, call in (
        ("pattern", lambda: run(fill, new, size=1, pattern=b"")),
        ("size", lambda: run(fill, new, size=-1)),
        ("offset", lambda: run(fill, new, size=1, offset=-1)),
        ("size", lambda: run(zero, new, size=-1)),
        ("offset", lambda: run(zero, old, offset=-1)),
    ):
        with pytest.raises(InvalidParameter) as caught:
            call()
        assert caught.value.parameter == name
    with pytest.raises(NoSuchFile, match="no size"):
        run(zero, new)
    with pytest.raises(NoSuchFile):
        run(zero_device, new)
    with pytest.raises(OperationFailed, match="another offset"):
        run(zero, old, offset=SIZE + 1)
    assert old.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["old"]


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, kind in ((tmp_path / "fifo", NotAFile), ("/dev/null", NotAFile), (tmp_path, IsDirectory)):
        with pytest.raises(kind) as caught:
            run(fill, path, size=1)
        assert caught.value.path == str(path)


def test_a_file_that_is_closed_to_us_is_named(old, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionDenied, match=r"cannot write .*old: Permission denied; see the permissions") as caught:
        run(zero, old)
    assert caught.value.path == str(old)


# ---- cancel and failure


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
@pytest.mark.parametrize("pattern", [b"abc", b"\0"])
def test_a_cancel_says_which_bytes_are_written_and_the_rest_stays(old, zeroes, calls, pattern):
    with pytest.raises(Cancelled) as caught:
        run(fill, old, size=SIZE - 9, offset=9, pattern=pattern, cancel=from_call(calls))
    error = caught.value
    assert (error.path, error.offset) == (str(old), 9)
    assert bool(error.written) == bool(calls)
    expected = (pattern * SIZE)[: error.written]
    assert old.read_bytes() == OLD[:9] + expected + OLD[9 + error.written :]


@pytest.mark.parametrize("calls", range(5))
def test_what_was_made_is_removed(tmp_path, old, new, calls):
    with pytest.raises(Cancelled, match="removed" if calls else "cancelled"):
        run(fill, new, size=MIB, pattern=b"x", cancel=from_call(calls))
    assert os.listdir(tmp_path) == ["old"]


@pytest.mark.parametrize("pattern", [b"x", b"\0"])
def test_a_file_that_may_not_grow_says_which_bytes_it_has(old, new, pattern):
    with file_size_limit(SIZE + 1000):
        with pytest.raises(OperationFailed, match=r"File too large.*ulimit") as caught:
            run(fill, old, size=5 * MIB, offset=SIZE - 3000, pattern=pattern)
        error = caught.value
        assert (error.errno, error.offset, error.written) == ("EFBIG", SIZE - 3000, 4000)
        with pytest.raises(OperationFailed):
            run(fill, new, size=20 * MIB, pattern=pattern)
    assert old.read_bytes() == OLD[:-3000] + pattern * 4000
    assert not new.exists()


FULL = """
from pollprog.filling import fill
open("old", "wb").write(b"o" * 1000)
for name in ("new", "old"):
    try:
        fill(name, size=9 << 20, offset=500, pattern={pattern!r}, **quiet)
    except errors.NoSpace as error:
        print(error.errno, error.offset, error.written, *os.listdir())
there = open("old", "rb").read()
print(there == b"o" * 500 + {pattern!r} * (len(there) - 500), len(there))
"""


@pytest.mark.tool("unshare")
@pytest.mark.tool("mount")
@pytest.mark.parametrize("pattern", [b"x", b"\0"])
def test_a_full_disk_says_which_bytes_were_written_and_what_was_made_is_gone(tmp_path, pattern):
    for_new, for_old, there = on_a_small_disk(tmp_path / "disk", FULL.format(pattern=pattern)).splitlines()
    for line in (for_new, for_old):
        code, offset, written, *names = line.split()
        assert (code, offset, names) == ("ENOSPC", "500", ["old"])
        assert 7 * MIB < int(written) <= 8 * MIB
    assert there == f"True {500 + int(written)}"


def test_a_failing_disk_is_an_error_even_at_the_very_end(old, new, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    for path in (old, new):
        with pytest.raises(OperationFailed, match="dmesg") as caught:
            run(zero, path, size=MIB)
        assert (caught.value.errno, caught.value.written) == ("EIO", MIB)
    assert old.exists()
    assert not new.exists()


# ---- a device


@pytest.mark.tool("losetup")
def test_a_block_device_is_zeroed_to_its_end_and_never_beyond(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(OLD[: 12 * MIB])
    with loop_device(image) as device:
        run(zero, device, offset=5, size=5 * MIB)
        run(fill, device, offset=11 * MIB, size=MIB, pattern=b"xyz")
        with pytest.raises(NoSpace, match="do not fit") as caught:
            run(fill, device, offset=11 * MIB, size=MIB + 1)
        assert caught.value.written == 0
    assert image.read_bytes() == OLD[:5] + bytes(5 * MIB) + OLD[5 * MIB + 5 : 11 * MIB] + (b"xyz" * MIB)[:MIB]
    with loop_device(image) as device:
        assert watched(zero_device, device)[0] == 12 * MIB
    assert image.read_bytes() == bytes(12 * MIB)


@pytest.mark.tool("losetup")
@pytest.mark.tool("mkfs.ext4")
@pytest.mark.tool("mount")
def test_a_mounted_device_is_refused(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(bytes(12 * MIB))
    with loop_device(image) as device:
        if os.system(f"PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q {device}") or os.system(
            f"mount {device} {tmp_path} 2>&1"
        ):
            pytest.skip("nothing can be mounted here")
        try:
            with pytest.raises(OperationFailed, match="unmount it") as caught:
                run(zero_device, device)
            assert caught.value.errno == "EBUSY"
        finally:
            assert os.system(f"umount {tmp_path}") == 0
