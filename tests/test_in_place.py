"""Files that are written where they lie: opened or made, and removed only if they were made."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from loop_runs import never

from pollprog.counting import Counter
from pollprog.errors import DestinationExists, NoSuchFile, OperationFailed
from pollprog.in_place import opened
from pollprog.loops import Loop


@pytest.fixture
def path(tmp_path):
    return os.fsencode(tmp_path / "file")


@pytest.fixture
def loop(path):
    return Loop("filling file", path, Counter(), never, gone="what was written has been removed")


def there(path):
    return Path(os.fsdecode(path)).read_bytes()


def broken_off(loop, path, act):
    """Open it, act, and be interrupted."""

    def work():
        with opened(loop, path) as place:
            act(place)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()


def test_what_is_made_stays_when_all_goes_well_and_what_was_there_always(loop, path):
    with opened(loop, path, mode=0o600) as place:
        assert (place.made, loop.kept) == (True, False)
        place.write(memoryview(b"one"), 0)
        place.sync()
    assert there(path) == b"one"

    def more(place):
        assert (place.made, loop.kept, place.size) == (False, True, 3)
        place.write(memoryview(b"two"), 1)

    broken_off(loop, path, more)
    assert there(path) == b"otwo"


def test_what_is_made_goes_when_something_goes_wrong(loop, path):
    seen = []
    broken_off(loop, path, lambda _: seen.append(os.path.exists(path)))
    assert seen == [True]
    assert not os.path.exists(path)
    with pytest.raises(NoSuchFile), opened(loop, path, make=False):
        pass
    assert not os.path.exists(path)


def test_what_is_gone_already_need_not_be_removed(loop, path):
    broken_off(loop, path, lambda _: os.unlink(path))
    assert loop.left == b""


def test_what_cannot_be_removed_is_named(loop, path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "unlink", refuse)
    with (
        pytest.raises(OperationFailed, match=r"remove .*file, which could not be"),
        loop.explained(),
        opened(loop, path),
    ):
        raise OperationFailed("no")


def test_what_appears_while_it_is_being_made_is_left_alone(loop, path, monkeypatch):
    really = os.open

    def late(name, flags, *arguments, **options):
        if flags & os.O_CREAT:
            Path(os.fsdecode(path)).write_text("first")
        return really(name, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", late)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(DestinationExists, match="appeared meanwhile"), opened(loop, path):
        pass
    assert there(path) == b"first"
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_takes_no_files_is_no_reason_to_hold_it_open(loop, path, monkeypatch):
    really = os.open

    def full(name, flags, *arguments, **options):
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return really(name, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", full)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No space"), opened(loop, path):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_zeroes_go_round_what_the_kernel_cannot_do_in_one_go(loop, path):
    Path(os.fsdecode(path)).write_bytes(b"x" * 20_000)
    with opened(loop, path) as place:
        loop.begin("", 10_000)
        place.zero_all(3000, 13_000)
    assert loop.done == 10_000
    assert there(path) == b"x" * 3000 + bytes(10_000) + b"x" * 7000
    with opened(loop, path) as place:
        loop.begin("", 20_000)
        place.zero_all(10_000, 30_000, punch=True, skip=True)
    assert there(path) == b"x" * 3000 + bytes(27_000)


def test_a_name_that_may_be_lost_does_not_remove_the_whole_file(loop, path, monkeypatch):
    really = os.fsync

    def fail_for_directories(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_directories)

    def write():
        with loop.explained(), opened(loop, path) as place:
            place.write(memoryview(b"all"), 0)
            place.sync()

    with pytest.raises(OperationFailed, match="is complete"):
        write()
    assert there(path) == b"all"
