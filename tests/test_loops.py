"""What one call of a loop says of itself, above all when it goes wrong."""

from __future__ import annotations

import errno
import os

import pytest
from loop_runs import MIB, never

from pollprog.counting import Counter
from pollprog.errors import Cancelled, DestinationExists, NoSuchFile, OperationFailed
from pollprog.loops import Loop


def loop(*, cancel=never, gone="what was copied has been removed", **options):
    return Loop("copying a to b", b"b", Counter(), cancel, gone=gone, **options)


def failing(call, error):
    with pytest.raises(type(error)) as caught, call.explained():
        raise error
    return caught.value


def test_a_count_that_passes_the_total_takes_it_along():
    call = loop()
    call.begin("", 10)
    call.count(4)
    assert (call.counter.current, call.counter.total) == (4, 10)
    call.count(12)
    assert (call.counter.current, call.counter.total) == (12, 12)
    call.begin("", None)
    call.count(5)
    assert (call.counter.current, call.counter.total) == (5, None)


def test_the_last_phase_ends_with_all_that_was_done():
    call = loop()
    call.begin("", 10)
    call.count(7)
    call.sync()
    assert (call.counter.phase, call.counter.current, call.counter.total) == ("sync", 0, None)
    call.finish()
    assert (call.counter.current, call.counter.total) == (7, 7)


def test_a_cancel_says_what_was_cancelled_how_far_it_was_and_what_became_of_it():
    call = loop(cancel=lambda: True, offset=5)
    call.begin("", 10 * MIB)
    call.count(4 * MIB)
    with pytest.raises(Cancelled) as caught, call.explained():
        call.check()
    text = "copying a to b was cancelled, after 4.0 MiB of 10.0 MiB; what was copied has been removed"
    assert str(caught.value) == text
    assert (caught.value.path, caught.value.offset, caught.value.written) == ("b", 5, 4 * MIB)


def test_what_stays_is_told_with_its_place():
    call = loop(offset=5)
    call.kept = True
    call.begin("", None)
    call.count(4)
    assert str(failing(call, OperationFailed("no"))) == "no, after 4 bytes, which stay, from byte 5 on"


def test_a_loop_that_only_reads_has_written_nothing():
    call = loop(gone="")
    call.begin("", 10)
    call.count(4)
    error = failing(call, OperationFailed("no"))
    assert (str(error), error.written) == ("no, after 4 bytes of 10 bytes", 0)


def test_what_is_finished_and_what_never_began_has_nothing_to_add():
    call = loop()
    assert str(failing(call, DestinationExists("b exists"))) == "b exists"
    call.begin("", 10)
    call.count(10)
    call.published = True
    assert str(failing(call, OperationFailed("its name may be lost"))) == "its name may be lost"


def test_what_could_not_be_removed_is_named():
    call = loop()
    call.left = b".b.tmp\n"
    assert str(failing(call, OperationFailed("no"))) == r"no; remove '.b.tmp\n', which could not be removed"


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOENT, NoSuchFile), (errno.EIO, OperationFailed)])
def test_what_the_kernel_says_is_about_the_file_that_was_touched(code, kind):
    call = loop()
    for touch, verb in ((call.reading, "read"), (call.writing, "write")):
        touch(b"c")
        with pytest.raises(kind, match=f"cannot {verb} c: ") as caught, call.explained():
            raise OSError(code, os.strerror(code))
        assert caught.value.path == "c"
        assert isinstance(caught.value.__cause__, OSError)


def test_what_is_nobodys_error_passes_as_it_is():
    with pytest.raises(KeyboardInterrupt), loop().explained():
        raise KeyboardInterrupt
