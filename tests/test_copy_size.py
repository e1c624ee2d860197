"""Stretches copied in place: every byte of the destination is accounted for, whatever the loop comes to."""

from __future__ import annotations

import errno
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loop_runs import (
    MIB,
    after,
    content,
    file_size_limit,
    from_call,
    loop_device,
    on_a_small_disk,
    run,
    watched,
)

from pollprog.copying import PIECE, copy_size
from pollprog.counting import Counter
from pollprog.errors import (
    Cancelled,
    DestinationExists,
    InvalidParameter,
    IsDirectory,
    NoSpace,
    NoSuchFile,
    NotAFile,
    OperationFailed,
    SameFile,
)

OLD = b"o" * (12 * MIB + 5)


@pytest.fixture
def a(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(content(9 * MIB + 3))
    return path


@pytest.fixture
def b(tmp_path):
    """A destination that is there."""
    path = tmp_path / "b"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def new(tmp_path):
    """One that is not."""
    return tmp_path / "new"


@pytest.fixture(params=["copy_file_range", "read and write"])
def way(request, monkeypatch):
    if request.param == "read and write":
        monkeypatch.delattr(os, "copy_file_range")
    return request.param


@pytest.fixture(params=["the kernel's zeroes", "written zeroes"])
def zeroes(request, monkeypatch):
    if request.param == "written zeroes":
        monkeypatch.setattr("pollprog.syscalls._libc", object)
    return request.param


def sparse_file(path, size, *places):
    """A file of holes, with a MiB of data at each of these MiBs."""
    with path.open("wb") as file:
        for place in places:
            file.seek(place * MIB)
            file.write(content(MIB))
        file.truncate(size)
    return path


# ---- what arrives


def test_a_stretch_lands_where_it_was_asked_for_and_the_rest_stays(a, b, way):
    size = 5 * MIB + 1
    found, counter = watched(copy_size, a, b, size=size, source_offset=7, destination_offset=MIB + 11)
    assert found == counter.current == size
    begin = MIB + 11
    assert b.read_bytes() == OLD[:begin] + a.read_bytes()[7 : 7 + size] + OLD[begin + size :]


def test_the_total_is_the_size_and_the_last_phase_waits_for_the_disk(a, b):
    counter = Counter()
    phases = []

    def look():
        phases.append((counter.phase, counter.total))
        return False

    copy_size(a, b, counter=counter, cancel=look, size=5 * MIB)
    assert set(phases) == {("", 5 * MIB), ("sync", None)}
    assert phases == sorted(phases, key=lambda seen: seen[0] == "sync")
    assert (counter.phase, counter.current, counter.total) == ("sync", 5 * MIB, 5 * MIB)


def test_without_a_size_it_goes_to_the_end_of_the_source(a, b, way):
    assert watched(copy_size, a, b, source_offset=5)[0] == 9 * MIB - 2
    assert b.read_bytes() == a.read_bytes()[5:] + OLD[9 * MIB - 2 :]


def test_a_destination_that_ends_before_grows_and_reads_as_zeroes_in_between(a, b, way):
    run(copy_size, a, b, size=100, destination_offset=len(OLD) + 1000)
    assert b.read_bytes() == OLD + bytes(1000) + a.read_bytes()[:100]


def test_a_destination_that_is_not_there_is_made_with_the_mode_of_the_source(a, new, way):
    a.chmod(0o600)
    run(copy_size, a, new, size=10, source_offset=3, destination_offset=5)
    assert new.read_bytes() == bytes(5) + a.read_bytes()[3:13]
    assert stat.S_IMODE(new.stat().st_mode) == 0o600


def test_nothing_can_be_copied_too(a, b, new):
    assert watched(copy_size, a, b, size=0)[0] == 0
    assert watched(copy_size, a, new, source_offset=a.stat().st_size)[0] == 0
    assert (b.read_bytes(), new.read_bytes()) == (OLD, b"")


def test_a_link_to_the_destination_is_followed(tmp_path, a, b):
    (tmp_path / "link").symlink_to("b")
    run(copy_size, a, tmp_path / "link", size=10)
    assert b.read_bytes() == a.read_bytes()[:10] + OLD[10:]


def test_a_file_that_says_a_wrong_size_is_copied_to_its_end(b):
    with open("/proc/version", "rb") as file:
        version = file.read()
    assert watched(copy_size, "/proc/version", b)[0] == len(version)
    assert b.read_bytes() == version + OLD[len(version) :]


@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_a_hole_in_the_source_is_zeroes_in_the_destination(tmp_path, b, zeroes, sparse):
    a = sparse_file(tmp_path / "a", 11 * MIB + 77, 3, 7)
    copied = a.read_bytes()
    assert watched(copy_size, a, b, destination_offset=5, sparse=sparse)[0] == len(copied)
    assert b.read_bytes() == OLD[:5] + copied + OLD[5 + len(copied) :]


def test_sparse_gives_space_back_for_holes_and_for_zeroes_that_were_written(tmp_path, b, new):
    a = sparse_file(tmp_path / "a", 12 * MIB, 3)
    with a.open("r+b") as file:
        file.seek(6 * MIB)
        file.write(bytes(2 * MIB))
    for destination in (b, new):
        run(copy_size, a, destination, sparse=True)
        assert destination.read_bytes()[: 12 * MIB] == a.read_bytes()
        assert destination.stat().st_blocks * 512 < 2 * MIB


def test_zeroes_are_found_in_any_piece_of_the_data(tmp_path, b):
    a = tmp_path / "a"
    data = content(PIECE) + bytes(PIECE) + content(PIECE)[:-1] + b"\0" + bytes(PIECE - 1) + b"x" + bytes(7)
    a.write_bytes(data)
    run(copy_size, a, b, sparse=True)
    assert b.read_bytes() == data + OLD[len(data) :]


def test_holes_beyond_the_old_end_stay_holes(tmp_path, b, new):
    a = sparse_file(tmp_path / "a", 40 * MIB, 3, 20)
    copied = a.read_bytes()
    for destination, offset in ((b, 4 * MIB), (new, 0)):
        old = destination.stat().st_blocks * 512 if destination.exists() else 0
        run(copy_size, a, destination, destination_offset=offset)
        assert destination.read_bytes() == OLD[:offset] + copied
        assert destination.stat().st_blocks * 512 - old < 4 * MIB


@given(
    pieces=st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 90_000), st.booleans()), max_size=6),
    length=st.integers(0, 400_000),
    old=st.one_of(st.none(), st.integers(0, 400_000)),
    start=st.integers(0, 400_000),
    goal=st.integers(0, 300_000),
    size=st.one_of(st.none(), st.integers(0, 400_000)),
    sparse=st.booleans(),
    in_kernel=st.booleans(),
    itself=st.booleans(),
)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_stretch_does_what_slices_of_bytes_would_do(
    tmp_path, pieces, length, old, start, goal, size, sparse, in_kernel, itself
):
    a, b = tmp_path / "a", tmp_path / "b"
    b.unlink(missing_ok=True)
    with a.open("wb") as file:
        for offset, count, zero in pieces:
            file.seek(offset)
            file.write(bytes(count) if zero else content(count))
        file.truncate(length)
    source = a.read_bytes()
    if itself:
        b = a
    elif old is not None:
        b.write_bytes(OLD[:old])
    before = b.read_bytes() if b.exists() else None
    count = max(0, length - start) if size is None else size
    options = {"size": size, "source_offset": start, "destination_offset": goal, "sparse": sparse}
    with pytest.MonkeyPatch.context() as patch:
        if not in_kernel:
            patch.delattr(os, "copy_file_range")
        if itself and start < goal + count and goal < start + count <= length:
            with pytest.raises(SameFile):
                run(copy_size, a, b, **options)
        elif start + count > length and (length or count):
            with pytest.raises((OperationFailed, SameFile)):
                run(copy_size, a, b, **options)
        else:
            assert watched(copy_size, a, b, **options)[0] == count
            there = (before or b"").ljust(goal, b"\0") if count else before or b""
            assert b.read_bytes() == there[:goal] + source[start : start + count] + there[goal + count :]
            return
    assert (b.read_bytes() if b.exists() else None) == before


# ---- one file, two stretches


def test_two_stretches_of_one_file_may_touch_and_not_overlap(tmp_path, a, way):
    before = a.read_bytes()
    run(copy_size, a, a, size=MIB, source_offset=MIB, destination_offset=2 * MIB)
    assert a.read_bytes() == before[: 2 * MIB] + before[MIB : 2 * MIB] + before[3 * MIB :]
    now = a.read_bytes()
    os.link(a, tmp_path / "other")
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "other", "link"):
        with pytest.raises(SameFile, match="bytes in common") as caught:
            run(copy_size, a, tmp_path / name, size=MIB, source_offset=MIB, destination_offset=2 * MIB - 1)
        assert (caught.value.source, caught.value.destination) == (str(a), str(tmp_path / name))
    assert a.read_bytes() == now


# ---- what is refused


@pytest.mark.parametrize(("parameter", "value"), [("size", -1), ("source_offset", -1), ("destination_offset", 1 << 63)])
def test_a_number_that_is_none_names_its_parameter(a, b, parameter, value):
    with pytest.raises(InvalidParameter, match=parameter) as caught:
        run(copy_size, a, b, **{parameter: value})
    assert caught.value.parameter == parameter
    assert b.read_bytes() == OLD


@pytest.mark.parametrize(
    "options", [{"size": 9 * MIB + 4}, {"size": 10, "source_offset": 9 * MIB}, {"source_offset": 10 * MIB}]
)
def test_a_source_that_is_too_short_is_refused_before_anything_is_written(tmp_path, a, b, new, options):
    for destination in (b, new):
        with pytest.raises(OperationFailed, match=r"a has .* from byte \d+ on") as caught:
            run(copy_size, a, destination, **options)
        assert (caught.value.path, caught.value.written) == (str(a), 0)
    assert b.read_bytes() == OLD
    assert not new.exists()


def test_a_source_whose_size_nobody_knows_may_turn_out_too_short(b, new):
    for destination in (b, new):
        with pytest.raises(OperationFailed, match="became shorter"):
            run(copy_size, "/proc/version", destination, size=MIB)
    assert b.stat().st_size == len(OLD)
    assert not new.exists()


def test_what_stands_at_the_destination_and_is_no_file_is_refused(tmp_path, a):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "nowhere").symlink_to("none")
    for name, kind in (("fifo", NotAFile), ("nowhere", DestinationExists), (".", IsDirectory), ("none/b", NoSuchFile)):
        with pytest.raises(kind) as caught:
            run(copy_size, a, tmp_path / name)
        assert caught.value.path == str(tmp_path / name)
    with pytest.raises(NotAFile):
        run(copy_size, a, "/dev/null")
    with pytest.raises(IsDirectory):
        run(copy_size, a, f"{tmp_path}/new/")


def test_a_name_that_is_no_text_crosses_a_wire_all_the_same(tmp_path, a):
    with pytest.raises(NoSuchFile) as caught:
        run(copy_size, os.fsencode(tmp_path) + b"/\xff\n", a)
    caught.value.path.encode()
    assert "\n" not in str(caught.value)


# ---- cancel and failure


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_a_cancel_leaves_what_was_written_and_says_which_bytes(a, b, way, calls):
    with pytest.raises(Cancelled) as caught:
        run(copy_size, a, b, source_offset=9, destination_offset=MIB, cancel=from_call(calls))
    error = caught.value
    assert (error.path, error.offset) == (str(b), MIB)
    assert error.written < 9 * MIB - 6
    assert bool(error.written) == (calls > 1)
    if error.written:
        assert f"which stay, from byte {MIB} on" in str(error)
    assert b.read_bytes() == OLD[:MIB] + a.read_bytes()[9 : 9 + error.written] + OLD[MIB + error.written :]


@pytest.mark.parametrize("sparse", [False, True])
def test_holes_count_as_written_and_are_there_after_a_cancel(tmp_path, b, sparse):
    a = sparse_file(tmp_path / "a", 60 * MIB, 2, 30)
    for calls in range(1, 40, 3):
        b.write_bytes(OLD)
        try:
            run(copy_size, a, b, destination_offset=MIB, sparse=sparse, cancel=from_call(calls))
        except Cancelled as error:
            written = error.written
        else:
            break
        now = b.read_bytes()
        assert now == OLD[:MIB] + a.read_bytes()[:written] + OLD[MIB + written :]
    else:
        assert written > 30 * MIB


@pytest.mark.parametrize("calls", range(6))
def test_what_was_made_is_removed_and_nothing_else(tmp_path, a, new, calls):
    with pytest.raises(Cancelled) as caught:
        run(copy_size, a, new, cancel=from_call(calls))
    assert "which stay" not in str(caught.value)
    assert os.listdir(tmp_path) == ["a"]


def test_another_file_that_took_the_name_meanwhile_stays(tmp_path, a, new):
    def replace():
        new.unlink()
        new.write_text("another's")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(copy_size, a, new, cancel=after(2, replace))
    assert new.read_text() == "another's"


@pytest.mark.parametrize("holes", [False, True])
def test_a_source_that_gets_shorter_is_an_error(tmp_path, a, b, way, holes):
    if holes:
        os.truncate(a, 30 * MIB)
    with pytest.raises(OperationFailed, match="became shorter") as caught:
        run(copy_size, a, b, cancel=after(3, lambda: os.truncate(a, 5 * MIB)))
    assert caught.value.path == str(a)
    assert b.stat().st_size >= len(OLD)


def test_a_file_that_may_not_grow_says_which_bytes_it_has(a, b, new, way):
    b.write_bytes(OLD[: 5 * MIB])
    with file_size_limit(6 * MIB + 100):
        with pytest.raises(
            OperationFailed, match=r"cannot write .*b: File too large, after 3\.0 MiB of 9\.0 MiB"
        ) as caught:
            run(copy_size, a, b, destination_offset=3 * MIB)
        error = caught.value
        assert (error.errno, error.offset, error.written) == ("EFBIG", 3 * MIB, 3 * MIB + 100)
        with pytest.raises(OperationFailed, match="removed"):
            run(copy_size, a, new)
    assert b.read_bytes() == OLD[: 3 * MIB] + a.read_bytes()[: 3 * MIB + 100]
    assert not new.exists()


@pytest.mark.tool("unshare")
@pytest.mark.tool("mount")
@pytest.mark.parametrize("name", ["old", "new"])
def test_a_full_disk_keeps_what_was_there(tmp_path, a, name):
    code = f"""
from pollprog.copying import copy_size
open("old", "wb").write(b"o" * 1000)
try:
    copy_size({str(a)!r}, {name!r}, destination_offset=500, **quiet)
except errors.NoSpace as error:
    print(error.errno, error.path, error.offset, error.written)
there = open("old", "rb").read()
assert there[:500] == b"o" * 500 and (len(there) == 1000 or there[500:] == open({str(a)!r}, "rb").read()[:len(there) - 500])
print(len(there), os.listdir())
"""
    told, listing = on_a_small_disk(tmp_path / "disk", code).splitlines()
    code, path, offset, written = told.split()
    assert (code, path, offset) == ("ENOSPC", name, "500")
    assert 7 * MIB < int(written) <= 8 * MIB
    assert listing == (f"{500 + int(written)} ['old']" if name == "old" else "1000 ['old']")


def test_a_failing_disk_is_told_by_its_name(a, b, new, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    for destination in (b, new):
        with pytest.raises(OperationFailed, match="dmesg") as caught:
            run(copy_size, a, destination)
        assert (caught.value.errno, caught.value.written) == ("EIO", 9 * MIB + 3)
    assert b.read_bytes()[: 9 * MIB + 3] == a.read_bytes()
    assert not new.exists()


@pytest.mark.tool("losetup")
def test_a_block_device_is_written_in_place_and_never_beyond_its_end(tmp_path, a, b, way):
    os.truncate(b, 12 * MIB)
    with loop_device(b) as device:
        assert watched(copy_size, a, device, size=MIB + 1, source_offset=3, destination_offset=MIB)[0] == MIB + 1
        sparse = sparse_file(tmp_path / "sparse", 3 * MIB, 1)
        run(copy_size, sparse, device, destination_offset=9 * MIB)
        with pytest.raises(NoSpace, match="do not fit") as caught:
            run(copy_size, a, device, destination_offset=4 * MIB)
        assert (caught.value.errno, caught.value.written) == ("ENOSPC", 0)
        with pytest.raises(SameFile):
            run(copy_size, device, device, size=10, destination_offset=9)
        run(copy_size, device, tmp_path / "back", size=MIB + 1, source_offset=MIB)
    begin, end = MIB, 2 * MIB + 1
    assert b.read_bytes() == OLD[:begin] + a.read_bytes()[3 : MIB + 4] + OLD[end : 9 * MIB] + sparse.read_bytes()
    assert (tmp_path / "back").read_bytes() == a.read_bytes()[3 : MIB + 4]
