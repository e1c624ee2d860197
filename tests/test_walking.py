"""A walk through a tree: each name once, each directory twice, and never out of it."""

from __future__ import annotations

import os
import stat

import pytest

from pollprog.walking import open_beneath, walk


@pytest.fixture
def top(tmp_path):
    top = tmp_path / "top"
    (top / "a/b/c").mkdir(parents=True)
    (top / "a/file").write_text("file")
    (top / "a/b/file").write_text("inner")
    (top / "empty").mkdir()
    (top / "up").symlink_to("..")
    os.mkfifo(top / "fifo")
    (top / os.fsdecode(b"\xff")).touch()
    return top


@pytest.fixture
def root(top):
    descriptor = os.open(top, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_each_name_is_met_once_and_each_directory_before_and_after_what_is_in_it(top, root):
    met = [(entry.path, entry.leaving) for entry in walk(root)]
    names = {os.fsencode(path.relative_to(top)) for path in top.rglob("*")}
    directories = {
        os.fsencode(path.relative_to(top)) for path in top.rglob("*") if path.is_dir() and not path.is_symlink()
    }
    assert {path for path, leaving in met if not leaving} == names
    assert {path for path, leaving in met if leaving} == directories
    assert len(met) == len(names) + len(directories)
    for path in directories:
        inside = [number for number, (other, _) in enumerate(met) if other.startswith(path + b"/")]
        assert all(met.index((path, False)) < number < met.index((path, True)) for number in inside)


def test_an_entry_can_be_looked_at_where_it_is(root):
    for entry in walk(root):
        there = os.stat(entry.name, dir_fd=entry.directory, follow_symlinks=False)
        assert os.path.samestat(there, entry.info)
        if stat.S_ISDIR(entry.info.st_mode):
            assert os.path.samestat(os.fstat(entry.descriptor), entry.info)
        else:
            assert (entry.descriptor, entry.leaving) == (-1, False)


def test_what_is_gone_before_it_was_looked_at_was_never_there(top, root):
    met = [entry.path for entry in walk(root, lambda path: path == b"fifo" and (top / "fifo").unlink())]
    assert b"fifo" not in met
    assert b"a/b/file" in met


def test_a_link_that_takes_the_place_of_a_directory_is_not_followed(tmp_path, top, root):
    def swap(path):
        if path == b"empty" and not (top / "empty").is_symlink():
            really = os.stat

            def late(*arguments, **options):
                info = really(*arguments, **options)
                (top / "empty").rmdir()
                (top / "empty").symlink_to(tmp_path)
                os.stat = really
                return info

            os.stat = late

    with pytest.raises(NotADirectoryError):
        list(walk(root, swap))


def test_nothing_stays_open_however_the_walk_ends(root):
    before = descriptors()
    for stop in range(12):
        for number, _ in enumerate(walk(root)):
            if number == stop:
                break
        assert descriptors() == before


def test_a_file_is_opened_by_its_path_with_no_link_on_the_way(top, root):
    before = descriptors()
    opened = open_beneath(root, b"a/b/file")
    assert os.read(opened, 10) == b"inner"
    os.close(opened)
    os.close(open_beneath(root, b"fifo"))  # waits for nobody
    (top / "link").symlink_to("a/file")
    for path in (b"up/top/a/file", b"link", b"a/none", b"a/none/file", b"a/file/x"):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels|No such file"):
            open_beneath(root, path)
    assert descriptors() == before
