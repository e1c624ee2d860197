"""A file that a tool keeps: read at each look, whatever it is by then."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from children import child, descriptors, target_for

from pollprog.probes.keptfile import KeptFile, by_rules, read_kept
from pollprog.probes.records import Rule
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from pathlib import Path

COUNT = Rule(rb"(?P<phase>[a-z]+) (?P<current>\d+)/(?P<total>\d+)", Unit.ITEMS)
PERCENT = Rule(rb'"percent": (?P<percent>[\d.]+),?', phase="all")


def number(data: bytes) -> Sample | None:
    return Sample(int(data), 100) if data.strip().isdigit() else None


def test_what_the_file_says_is_told_as_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "status"
    with child() as worker, target_for(worker.pid) as target:
        probe = KeptFile(target, str(path), number, source="mine", bound=Bound.LOWER)
        assert probe.sample() is None
        path.write_bytes(b"3\n")
        first = probe.sample()
        again = probe.sample()
        path.write_bytes(b"4\n")
        second = probe.sample()
        probe.close()
    assert first is not None
    assert again is not None
    assert second is not None
    assert (first.current, first.total, first.source, first.bound) == (3, 100, "mine", Bound.LOWER)
    assert (again.current, second.current) == (3, 4)
    assert first.activity <= again.activity < second.activity


def test_what_was_said_last_holds_while_the_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_bytes(b"3\n")
    with child() as worker, target_for(worker.pid) as target:
        probe = KeptFile(target, str(path), number, source="mine", most=100)
        for there in (b"3\n", b"", b"half", b"7" * 101):
            path.write_bytes(there)
            said = probe.sample()
            assert said is not None
            assert said.current == 3
        path.unlink()
        assert probe.sample() is not None


def test_only_a_small_regular_file_is_read_and_nobody_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(bytes(101))
    (tmp_path / "small").write_bytes(bytes(100))
    (tmp_path / "link").symlink_to("small")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
    before = descriptors()
    for name in ("fifo", "large", "nothing", ".", "socket", "small\0", "/dev/zero", "/dev/tty"):
        assert read_kept(str(tmp_path / name), 100) is None
    assert read_kept(str(tmp_path / "link"), 100) == bytes(100)
    assert descriptors() == before


def test_a_file_of_the_kernels_is_read_though_it_has_no_size() -> None:
    assert os.stat("/proc/self/status").st_size == 0
    assert b"Pid:" in (read_kept("/proc/self/status") or b"")
    assert read_kept("/proc/self/status", 10) is None


def test_a_file_that_its_reader_may_not_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"1")
    (tmp_path / "mine").chmod(0)
    if os.geteuid():
        assert read_kept(str(tmp_path / "mine")) is None
    else:
        assert read_kept(str(tmp_path / "mine")) == b"1"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"copy 1/9\ncopy 2/9\nno rule\n", Sample(2, 9, Unit.ITEMS, "copy")),
        (b"copy 1/9\ncopy 2/9", Sample(1, 9, Unit.ITEMS, "copy")),
        (b'{\n"percent": 12.5,\n"file": "x"\n}\n', Sample(125_000, 1_000_000, Unit.PARTS, "all")),
        (b"copy 9/1\n", None),
        (b"kopiert 2 von 9\n\xff\x00\n", None),
        (b"copy 2/9", None),
        (b"", None),
    ],
)
def test_rules_take_the_last_whole_line_that_they_match(data: bytes, said: Sample | None) -> None:
    assert by_rules([COUNT, PERCENT])(data) == said


def test_a_rule_that_may_take_for_ever_is_refused() -> None:
    with pytest.raises(ValueError, match="may take for ever"):
        by_rules([Rule(rb"(a+)+")])
