"""What stands in the files that a command inherits."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from pollprog.inherited import inherited
from pollprog.launch import Command, launch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def told(tmp_path: Path):
    """What is told of a file of 1000 bytes that is opened so, at this position."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    opened = []

    def told(flags: int, position: int, *, inheritable: bool = True) -> tuple[int, int] | None:
        descriptor = os.open(path, flags)
        opened.append(descriptor)
        os.set_inheritable(descriptor, inheritable)
        os.lseek(descriptor, position, os.SEEK_SET)
        info = os.fstat(descriptor)
        found = inherited().get((info.st_dev, info.st_ino))
        return found and found[:2]

    yield told
    for descriptor in opened:
        os.close(descriptor)


def test_work_begins_at_the_position_of_what_is_handed_on(told) -> None:
    assert told(os.O_RDONLY, 0) == (0, 1000)
    assert told(os.O_WRONLY, 700) == (700, 1000)


def test_what_is_appended_begins_at_the_end(told) -> None:
    assert told(os.O_WRONLY | os.O_APPEND, 0) == (1000, 1000)


def test_of_two_descriptors_on_one_file_the_furthest_counts(told) -> None:
    told(os.O_RDONLY, 300)
    assert told(os.O_RDONLY, 200) == (300, 1000)


def test_what_is_ours_alone_is_not_told(told) -> None:
    assert told(os.O_RDONLY, 0, inheritable=False) is None


def test_a_launched_command_knows_what_stood_before_it_wrote(tmp_path: Path) -> None:
    with (tmp_path / "out").open("ab") as file:
        file.write(bytes(1000))
        file.flush()
        os.set_inheritable(file.fileno(), True)
        info = os.fstat(file.fileno())
        launched = launch(Command([sys.executable, "-c", f"import os; os.write({file.fileno()}, bytes(5))"]))
        os.waitid(os.P_PIDFD, launched.pidfd, os.WEXITED | os.WNOWAIT)
        launched.reap()
        launched.close()
        assert os.fstat(file.fileno()).st_size == 1005
    assert launched.before[info.st_dev, info.st_ino][:2] == (1000, 1000)
