"""What a job's command prints: what is heard of it, and what people read."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pollprog.backlog import MOST
from pollprog.printed import KEPT, TAIL, Printed
from pollprog.probes.asking import AnswerFilter
from pollprog.probes.program import Whole
from pollprog.probes.rsync_lines import filters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pollprog.launch import Filter


@contextmanager
def printing(claims: Mapping[int, Filter]) -> Iterator[tuple[Printed, int]]:
    printed = Printed()
    printed.listen(claims)
    try:
        yield printed, printed.descriptor
    finally:
        printed.close()


def test_each_record_is_told_once_and_when_it_has_ended() -> None:
    with printing({2: Whole()}) as (printed, out):
        os.write(out, b"one\rtw")
        assert printed.records() == [(2, b"one")]
        assert printed.records() == []
        os.write(out, b"o\nthree\n")
        assert printed.records() == [(2, b"two"), (2, b"three")]
        assert printed.tail() == "one\rtwo\nthree\n"


def test_what_a_filter_leaves_out_people_do_not_read() -> None:
    through = AnswerFilter(rb"[0-9]+ %", rb"title")
    with printing({2: through}) as (printed, out):
        through.expect(1)
        os.write(out, b"before\ntitle\n")
        assert printed.records() == [(2, b"before"), (2, b"title")]
        os.write(out, b"5 %\nafter\n")
        assert printed.records() == [(2, b"5 %"), (2, b"after")]
        assert through.expected == 0
        assert printed.tail() == "before\nafter\n"
        os.write(out, b"half")
        assert printed.tail() == "before\nafter\nhalf"


def test_two_filters_that_know_of_each_other_leave_no_trace_of_what_was_added() -> None:
    output, errors = filters()
    with printing({1: output, 2: errors}) as (printed, out):
        piece = b"\r      1,000,000   5%   10.00MB/s    0:00:01 (xfr#1, to-chk=3/4)"
        for data in (b"sending list\n", piece, piece, b"\nfile\n", piece, b"\n", b"\nsent 5 bytes\n"):
            os.write(out, data)
            assert {stream for stream, _ in printed.records()} <= {1}
        assert printed.tail() == "sending list\nfile\n\nsent 5 bytes\n"


def test_a_filter_that_fails_is_dropped_and_all_passes(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Whole):
        def passing(self, data: bytes) -> bytes:
            raise ZeroDivisionError("of theirs")

    with printing({1: Broken()}) as (printed, out):
        os.write(out, b"one\n")
        assert printed.records() == [(1, b"one")]
        os.write(out, b"two\n")
        assert printed.tail() == "one\ntwo\n"
    assert caplog.text.count("the filter of stream 1 is dropped") == 1


@pytest.mark.parametrize("heard", [True, False])
def test_of_very_much_the_last_is_told_and_kept(heard: bool) -> None:
    with printing({1: Whole()} if heard else {}) as (printed, out):
        for _ in range(3):
            os.write(out, b"%099d\n" % 7 * (KEPT // 100 + 1))
            printed.trim()
        told = printed.records()
        assert len(told) == (MOST // 100 if heard else 0)
        assert {record for _, record in told} <= {b"%099d" % 7}, "none is cut"
        assert os.fstat(out).st_blocks * 512 <= KEPT // 4
        assert TAIL - 100 <= len(printed.tail()) <= TAIL
        assert MOST < KEPT


def test_who_begins_the_file_anew_is_heard_from_its_beginning() -> None:
    with printing({1: Whole()}) as (printed, out):
        os.write(out, b"one one one\n")
        printed.records()
        os.ftruncate(out, 0)
        os.write(out, b"two\n")
        assert printed.records() == [(1, b"two")]
        assert printed.tail() == "two\n"
