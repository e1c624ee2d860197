"""Checksums, against the programs that everybody has."""

from __future__ import annotations

import os
import subprocess

import pytest
from loop_runs import MIB, after, content, from_call, loop_device, run, watched

from pollprog.checksums import ALGORITHMS, checksum
from pollprog.counting import Counter
from pollprog.errors import (
    Cancelled,
    InvalidParameter,
    NoSuchFile,
    NotAFile,
    NotDirectory,
    OperationFailed,
    PermissionDenied,
)

PROGRAMS = {"sha256": "sha256sum", "sha512": "sha512sum", "blake2b": "b2sum", "md5": "md5sum"}
PROGRAM = [pytest.param(name, marks=pytest.mark.tool(PROGRAMS[name])) for name in ALGORITHMS]


def theirs(script, directory):
    done = subprocess.run(["bash", "-c", script], cwd=directory, capture_output=True, check=True)
    return done.stdout.split()[0].decode().lstrip("\\")


@pytest.fixture
def a(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(content(9 * MIB + 3))
    return path


@pytest.fixture
def tree(tmp_path):
    """Names that sort otherwise than their parts do, names to escape, and much that is no file."""
    top = tmp_path / "tree"
    for name in (
        "b/c/d",
        "b.c",
        "b/c.d",
        "b-",
        "B",
        "é/ü",
        "x y/ z",
        "-n",
        ".hidden",
        "back\\slash",
        "new\nline/x",
        "cr\r",
        "*",
    ):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000)
    (top / os.fsdecode(b"\xff\xfe")).write_bytes(content(MIB))
    (top / "none").touch()
    (top / "nobody").mkdir()
    os.link(top / "B", top / "other")
    (top / "link").symlink_to("B")
    (top / "up").symlink_to("..")
    (top / "nowhere").symlink_to("nothing")
    os.mkfifo(top / "fifo")
    return top


# ---- the same as theirs


@pytest.mark.parametrize("algorithm", PROGRAM)
def test_the_checksum_of_a_file_is_the_one_that_everybody_prints(a, algorithm):
    found, counter = watched(checksum, a, algorithm=algorithm)
    assert found == (theirs(f"{PROGRAMS[algorithm]} a", a.parent), 1, 9 * MIB + 3)
    assert counter.current == 9 * MIB + 3


@pytest.mark.tool("bash")
@pytest.mark.tool("find")
@pytest.mark.tool("sort")
@pytest.mark.parametrize("algorithm", PROGRAM)
def test_the_checksum_of_a_tree_is_the_one_that_is_promised(tree, algorithm):
    program = PROGRAMS[algorithm]
    script = f"find . -type f -print0 | LC_ALL=C sort -z | xargs -0r {program} | {program}"
    (digest, files, size), counter = watched(checksum, tree, algorithm=algorithm)
    assert digest == theirs(script, tree)
    assert files == int(theirs("find . -type f -printf x | wc -c", tree))
    assert (
        size == counter.total == int(theirs("find . -type f -printf '%s\\n' | awk '{ n += $1 } END { print n }'", tree))
    )


@pytest.mark.tool("sha256sum")
def test_a_tree_without_files_has_a_checksum_too(tmp_path):
    (tmp_path / "empty").mkdir()
    found = run(checksum, tmp_path)
    assert found == (theirs("sha256sum < /dev/null", tmp_path), 0, 0)


def test_the_checksum_tells_a_change_of_name_and_of_content_and_of_nothing_else(tree):
    found = run(checksum, tree)
    os.chmod(tree / "B", 0o600)
    os.utime(tree / "B", (1, 1))
    (tree / "another").symlink_to("B")
    assert run(checksum, tree) == found
    (tree / "B").rename(tree / "C")
    renamed = run(checksum, tree)
    assert renamed[0] != found[0]
    assert renamed[1:] == found[1:]


def test_a_link_is_followed_where_it_is_the_name_itself_and_nowhere_else(tmp_path, a, tree):
    (tmp_path / "to a").symlink_to("a")
    (tmp_path / "to tree").symlink_to("tree")
    assert run(checksum, tmp_path / "to a") == run(checksum, a)
    assert run(checksum, tmp_path / "to tree") == run(checksum, tree)


@pytest.mark.tool("losetup")
def test_a_block_device_has_the_checksum_of_what_it_holds(tmp_path, a):
    os.truncate(a, 9 * MIB)
    with loop_device(a) as device:
        assert watched(checksum, device)[0] == run(checksum, a)


def test_a_file_that_says_a_wrong_size_is_read_to_its_end(tmp_path):
    with open("/proc/version", "rb") as file:
        version = file.read()
    (tmp_path / "version").write_bytes(version)
    assert watched(checksum, "/proc/version")[0] == run(checksum, tmp_path / "version")


# ---- how far it is


def test_one_count_goes_over_the_whole_tree_after_a_survey(tree):
    counter = Counter()
    seen = []

    def look():
        seen.append((counter.phase, counter.total))
        return False

    _, _, size = checksum(tree, counter=counter, cancel=look)
    assert set(seen) == {("survey", None), ("", size)}
    assert (counter.phase, counter.current, counter.total) == ("", size, size)


@pytest.mark.parametrize("size", [20 * MIB, 3 * MIB, 0])
@pytest.mark.parametrize("tree", [False, True])
def test_a_file_that_changes_its_size_is_read_to_the_end_that_it_has(tmp_path, tree, size):
    top = tmp_path / "top"
    top.mkdir()
    for name in ("a", "b"):
        (top / name).write_bytes(content(9 * MIB))
    counter = Counter()
    change = after(6, lambda: os.truncate(top / "a", size))

    def look():
        assert counter.total is None or counter.current <= counter.total
        return change()

    _, _, read = checksum(top if tree else top / "a", counter=counter, cancel=look)
    assert counter.current == counter.total == read
    assert read - (9 * MIB if tree else 0) >= size


# ---- what goes wrong


def test_what_cannot_be_summed_is_named(tmp_path, a):
    os.mkfifo(tmp_path / "fifo")
    for path, kind in ((tmp_path / "none", NoSuchFile), (tmp_path / "fifo", NotAFile), ("/dev/zero", NotAFile)):
        with pytest.raises(kind) as caught:
            run(checksum, path)
        assert caught.value.path == str(path)
    with pytest.raises(InvalidParameter, match="choose sha256") as caught:
        run(checksum, a, algorithm="crc32")
    assert caught.value.parameter == "algorithm"
    with pytest.raises(OperationFailed, match="cannot read /proc/self/mem") as caught:
        run(checksum, "/proc/self/mem")
    assert (caught.value.errno, caught.value.written) == ("EIO", 0)


def test_a_file_in_a_tree_that_cannot_be_read_is_named(tree, monkeypatch):
    really = os.open

    def refuse(path, *arguments, **options):
        if path == b"d":
            raise PermissionError(13, os.strerror(13))
        return really(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionDenied) as caught:
        run(checksum, tree)
    assert caught.value.path == str(tree / "b/c/d")


def test_a_link_that_took_the_place_of_a_file_or_a_directory_is_not_followed(tmp_path, tree, a):
    def swap():
        (tree / "b").rename(tmp_path / "b")
        (tree / "b").symlink_to(tmp_path / "b")

    counter = Counter()
    with pytest.raises(NotDirectory) as caught:
        checksum(tree, counter=counter, cancel=lambda: counter.phase == "" and not (tree / "b").is_symlink() and swap())
    assert caught.value.path.startswith(str(tree / "b"))


def test_a_fifo_that_took_the_place_of_a_file_makes_nobody_wait(tree):
    counter = Counter()

    def swap():
        if counter.phase == "" and (tree / "é/ü").is_file():
            (tree / "é/ü").unlink()
            os.mkfifo(tree / "é/ü")
        return False

    with pytest.raises(NotAFile) as caught:
        checksum(tree, counter=counter, cancel=swap)
    assert caught.value.path == str(tree / "é/ü")


@pytest.mark.parametrize("calls", [0, 3, 10, 30])
def test_a_cancel_is_heard_in_the_survey_and_in_the_middle(tree, calls):
    with pytest.raises(Cancelled) as caught:
        run(checksum, tree, cancel=from_call(calls))
    assert (caught.value.path, caught.value.written) == (str(tree), 0)


def test_no_descriptor_is_left_open_however_it_ends(tree):
    before = os.listdir("/proc/self/fd")
    run(checksum, tree)
    for calls in range(0, 30, 3):
        with pytest.raises(Cancelled):
            run(checksum, tree, cancel=from_call(calls))
    assert len(os.listdir("/proc/self/fd")) == len(before)
