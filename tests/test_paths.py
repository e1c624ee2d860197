"""Names and refusals: one line whatever the bytes, a class for each kind."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollprog.errors import (
    InvalidParameter,
    IsDirectory,
    NoSpace,
    NoSuchFile,
    NotAFile,
    NotDirectory,
    OperationFailed,
    PermissionDenied,
)
from pollprog.paths import (
    allocated,
    called,
    checked,
    natural,
    open_source,
    parameter,
    refusal,
    size_text,
    sync_directory,
)


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_any_name_is_one_line_for_a_person_and_crosses_a_wire(name):
    assert checked(name) == checked(os.fsdecode(name)) == name
    assert "\n" not in called(name)
    assert json.loads(json.dumps(parameter(name)).encode()) == parameter(name)


@given(st.text(min_size=1).filter(lambda name: "\0" not in name))
def test_a_name_in_utf_8_crosses_as_it_is(name):
    assert parameter(name.encode()) == name


@pytest.mark.parametrize("path", ["", b"", "a\0b", b"a\0b", "\ud800", Path("a\0b")])
def test_what_names_nothing_is_refused(path):
    with pytest.raises(NoSuchFile, match="not the name of a file") as caught:
        checked(path)
    caught.value.path.encode()


def test_a_number_of_bytes_is_not_negative_and_no_larger_than_files_can_be():
    assert natural(0, "size") == 0
    assert natural((1 << 63) - 1, "size") == (1 << 63) - 1
    for value in (-1, 1 << 63):
        with pytest.raises(InvalidParameter, match="size is") as caught:
            natural(value, "size")
        assert caught.value.parameter == "size"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (3 << 29, "1.5 GiB"), (5 << 50, "5120.0 TiB")],
)
def test_a_size_is_said_in_its_unit(count, text):
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOENT, NoSuchFile),
        (errno.EACCES, PermissionDenied),
        (errno.EPERM, PermissionDenied),
        (errno.EISDIR, IsDirectory),
        (errno.ENOTDIR, NotDirectory),
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, NoSpace),
        (errno.EIO, OperationFailed),
        (errno.EXDEV, OperationFailed),
    ],
)
def test_each_refusal_has_its_class_and_says_what_to_do(code, kind):
    error = refusal(
        OSError(code, os.strerror(code)), "write", b"a\nb", ", after 1 bytes", offset=7, written=1, kept=False
    )
    assert type(error) is kind
    assert error.path == "a\nb"
    assert str(error).startswith(f"cannot write 'a\\nb': {os.strerror(code)}, after 1 bytes")
    if isinstance(error, OperationFailed):
        assert (error.errno, error.offset, error.written) == (errno.errorcode[code], 7, 1)
    assert code == errno.EXDEV or "; " in str(error)


def test_what_was_written_and_stays_is_told_whatever_the_refusal():
    error = refusal(OSError(errno.EPERM, "no"), "write", b"a", offset=7, written=1, kept=True)
    assert type(error) is OperationFailed
    assert (error.errno, error.offset, error.written) == ("EPERM", 7, 1)


def test_a_source_is_a_file_with_an_end(tmp_path):
    (tmp_path / "file").write_text("four")
    with ExitStack() as stack:
        descriptor, info, size = open_source(stack, os.fsencode(tmp_path / "file"))
        assert size == allocated(descriptor, info) == 4
        assert os.read(descriptor, 9) == b"four"
        with pytest.raises(IsDirectory):
            open_source(stack, os.fsencode(tmp_path))
        with pytest.raises(NotAFile):
            open_source(stack, b"/dev/zero")
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


@pytest.mark.parametrize(("code", "fails"), [(errno.EIO, True), (errno.EINVAL, False)])
def test_a_name_that_may_be_lost_is_told(tmp_path, monkeypatch, code, fails):
    def fail(descriptor):
        assert stat.S_ISDIR(os.fstat(descriptor).st_mode)
        raise OSError(code, os.strerror(code))

    directory = os.open(tmp_path, os.O_PATH)
    try:
        sync_directory(directory, b"a")
        monkeypatch.setattr(os, "fsync", fail)
        if fails:
            with pytest.raises(OperationFailed, match="a is complete, but its name may be lost"):
                sync_directory(directory, b"a")
        else:
            sync_directory(directory, b"a")
    finally:
        os.close(directory)
