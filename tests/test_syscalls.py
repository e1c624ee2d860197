"""The system calls that Python lacks, on real files; and a C library that lacks them too."""

from __future__ import annotations

import errno
import os

import pytest

from pollprog import syscalls

SIZE = 64 << 10


@pytest.fixture
def descriptor(tmp_path):
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(opened, b"x" * SIZE)
    yield opened
    os.close(opened)


@pytest.mark.parametrize("clear", [syscalls.zero_range, syscalls.punch_hole])
def test_a_stretch_reads_as_zeroes_and_the_rest_stays(descriptor, clear):
    try:
        clear(descriptor, 5000, 20_000)
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP  # noqa: PT017 - the file system of the tests may not be able to
        pytest.skip("not to be had on this file system")
    assert os.pread(descriptor, SIZE, 0) == b"x" * 5000 + bytes(20_000) + b"x" * (SIZE - 25_000)


def test_a_name_is_given_only_where_nothing_has_it(tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "taken").write_text("taken")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            syscalls.rename_without_replacing(b"old", b"taken", directory)
        syscalls.rename_without_replacing(b"old", b"new", directory)
        with pytest.raises(FileNotFoundError):
            syscalls.rename_without_replacing(b"old", b"new", directory)
    finally:
        os.close(directory)
    assert ((tmp_path / "new").read_text(), (tmp_path / "taken").read_text()) == ("old", "taken")


def test_writing_is_started_and_waited_for(descriptor):
    syscalls.start_writing(descriptor, 0, SIZE)
    syscalls.sync_file_system(descriptor)


def test_what_the_kernel_refuses_is_an_error_with_its_number():
    for call in (
        lambda: syscalls.zero_range(-1, 0, 1),
        lambda: syscalls.punch_hole(-1, 0, 1),
        lambda: syscalls.rename_without_replacing(b"a", b"b", -1),
        lambda: syscalls.sync_file_system(-1),
    ):
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            call()
        assert caught.value.errno == errno.EBADF


def test_a_c_library_without_them_is_as_a_kernel_without_them(descriptor, monkeypatch):
    monkeypatch.setattr(syscalls, "_libc", object)
    for call in (
        lambda: syscalls.zero_range(descriptor, 0, 1),
        lambda: syscalls.punch_hole(descriptor, 0, 1),
        lambda: syscalls.rename_without_replacing(b"a", b"b", descriptor),
    ):
        with pytest.raises(OSError, match="not implemented") as caught:
            call()
        assert caught.value.errno == errno.ENOSYS
    synced = []
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    syscalls.start_writing(descriptor, 0, SIZE)
    syscalls.sync_file_system(descriptor)
    assert synced
