from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollprog.probes.dd_reports import ReportFilter

DATA = Path(__file__).parent / "data" / "dd"
ME, OTHER = (100, 1), (200, 2)
"""Two processes that may be asked."""

RECORDINGS = {"gnu": 3, "busybox": 2, "gnu_de": 3, "gnu_uk": 3, "gnu_zh_CN": 3}
"""Recorded from dd: some reports that were asked for, and its own last one. How many lines each report has."""

REPORT = b"5+1 records in\n5+1 records out\n5400 bytes (5.4 kB, 5.3 KiB) copied, 0.1 s, 54 kB/s\n"
LAST = b"9+1 records in\n9+1 records out\n9400 bytes (9.4 kB, 9.2 KiB) copied, 0.2 s, 47 kB/s\n"
SHORT = b"5+1 records in\n5+1 records out\n"
WARNING = b"dd: warning: partial read (20480 bytes); suggest iflag=fullblock\n"


def alive() -> int | None:
    return None


def gone() -> int | None:
    return 0


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    places = sorted({0, len(data), *(cut for cut in cuts if 0 <= cut <= len(data))})
    return [data[start:end] for start, end in pairwise(places)]


def load(name: str) -> tuple[bytes, list[int]]:
    """A recording, and where its reports begin."""
    data = (DATA / f"{name}.stderr").read_bytes()
    starts, place, left = [], 0, 0
    for line in data.splitlines(keepends=True):
        if left:
            left -= 1
        elif not line.startswith(b"dd: "):
            starts.append(place)
            left = RECORDINGS[name] - 1
        place += len(line)
    return data, starts


def without_what_was_asked_for(name: str) -> bytes:
    """What the user of the recorded dd would have seen if nobody had asked."""
    data, starts = load(name)
    return b"".join(line for line in data.splitlines(keepends=True) if line.startswith(b"dd: ")) + data[starts[-1] :]


@pytest.mark.parametrize("name", RECORDINGS)
@settings(deadline=None)
@given(
    cuts=st.lists(st.integers(0, 600)), late=st.lists(st.integers(0, 600), min_size=4, max_size=4), last=st.booleans()
)
def test_what_was_asked_for_is_left_out_however_it_is_cut(
    name: str, cuts: list[int], late: list[int], last: bool
) -> None:
    data, starts = load(name)
    seconds = [data.index(b"\n", data.index(b"\n", start) + 1) + 1 for start in starts]
    # asked when the answer to the one before has been heard, and before the next report
    asked = [min(first + delay, start) for first, delay, start in zip([0, *seconds], late, starts, strict=False)]
    if not last:
        asked.pop()  # else the last signal was not answered any more
    heard = ReportFilter()
    passed, place = b"", 0
    for piece in pieces(data, [*cuts, *asked]):
        if place in asked:
            heard.ask(ME, alive)
        passed += heard.passing(piece)
        place += len(piece)
    assert passed + heard.end() == without_what_was_asked_for(name)


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("step", [1, 10_000])
def test_the_numbers_of_each_report_are_read(name: str, step: int) -> None:
    data, starts = load(name)
    heard, found = ReportFilter(), []
    for end in (*starts[1:], len(data)):
        start = starts[len(found)]
        for place in range(start, end, step):
            heard.passing(data[place : min(place + step, end)])
        assert heard.report is not None
        found.append(heard.report)
    assert [report.number for report in found] == list(range(1, len(starts) + 1))
    for report in found:
        blocks, partial = report.written
        assert report.read == report.written
        assert blocks > 500
        if RECORDINGS[name] == 3:
            assert report.copied is not None
            assert blocks * 65536 <= report.copied <= (blocks + partial) * 65536
        else:
            assert report.copied is None
    assert all(one.written < other.written for one, other in pairwise(found))


def test_what_dd_says_by_itself_as_it_goes_is_no_report() -> None:
    data = (DATA / "gnu_status_progress.stderr").read_bytes()
    heard = ReportFilter()
    assert heard.passing(data) == data
    assert heard.report is not None
    assert (heard.report.number, heard.report.copied) == (1, 786432000)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40)))
def test_nothing_is_changed_or_held_up_while_nothing_is_asked(chunks: list[bytes]) -> None:
    heard = ReportFilter()
    for chunk in chunks:
        assert heard.passing(chunk) == chunk
    assert heard.end() == b""


noise = st.sampled_from(
    [WARNING, b"\n", b"\r 12% done", b"Password: ", b"7z: 3\n", b"dd: closing '1+2': full\n", b"\xe5\xaf\n"]
)


@settings(deadline=None)
@given(st.lists(noise | st.binary(max_size=12).filter(lambda data: b"+" not in data), max_size=12))
def test_what_is_no_report_is_never_left_out(chunks: list[bytes]) -> None:
    heard = ReportFilter()
    heard.ask(ME, alive)
    passed = b"".join(heard.passing(chunk) for chunk in chunks)
    assert passed + heard.end() == b"".join(chunks)


item = st.tuples(st.sampled_from([REPORT, SHORT, LAST]), st.booleans()) | st.tuples(
    st.just(WARNING), st.just(value=False)
)


@settings(deadline=None)
@given(st.lists(item, max_size=10), st.lists(st.integers(0, 1500)))
def test_of_any_number_of_reports_only_the_last_can_be_one_that_was_asked_for(
    items: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    last = max((place for place, (data, _) in enumerate(items) if data != WARNING), default=-1)
    expected = b"".join(data for data, asked in items if not asked)
    if last >= 0 and items[last][1]:
        expected += items[last][0]
    heard, passed, place = ReportFilter(), b"", 0
    for data, asked in items:
        if asked:
            heard.ask(ME, alive)
        for piece in pieces(data, [cut - place for cut in cuts]):
            passed += heard.passing(piece)
        place += len(data)
    assert passed + heard.end() == expected


def asked_and_heard(report: bytes = REPORT) -> ReportFilter:
    """A filter that holds the report that was asked for."""
    heard = ReportFilter()
    heard.ask(ME, alive)
    assert heard.expects(ME)
    assert heard.passing(report) == b""
    assert not heard.expects(ME)
    assert heard.holding == 1
    return heard


def test_a_report_that_somebody_else_asked_for_passes_at_once() -> None:
    heard = asked_and_heard()
    assert heard.passing(LAST) == LAST
    assert heard.passing(LAST) == LAST
    assert heard.end() == b""


def test_a_signal_that_was_never_answered_does_not_cost_the_last_report() -> None:
    heard = asked_and_heard()
    heard.ask(ME, alive)
    assert heard.passing(LAST) == b""
    assert heard.end() == LAST


def test_a_prompt_passes_at_once_while_an_answer_is_awaited() -> None:
    heard = ReportFilter()
    heard.ask(ME, alive)
    assert heard.passing(b"Password: ") == b"Password: "
    assert heard.passing(b"12") == b"12", "the line began with a prompt, so it is no report"


def test_what_looked_like_a_report_and_was_none_passes_in_order() -> None:
    heard = ReportFilter()
    heard.ask(ME, alive)
    assert heard.passing(b"1+1 makes two\n") == b""
    assert heard.passing(b"indeed") == b"1+1 makes two\nindeed"
    assert heard.passing(b"\n12") == b"\n"
    assert heard.end() == b"12"


def test_a_line_of_records_passes_when_the_stream_ends_with_it() -> None:
    heard = ReportFilter()
    heard.ask(ME, alive)
    assert heard.passing(b"5+1 records in\n5+") == b""
    assert heard.end() == b"5+1 records in\n5+"


def test_other_lines_pass_at_once_behind_a_report_that_is_held_back() -> None:
    heard = asked_and_heard()
    assert heard.passing(WARNING) == WARNING
    assert heard.passing(b"no newline") == b"no newline"
    assert heard.end() == REPORT


def test_the_last_report_stands_before_what_others_say_after_the_end_of_dd() -> None:
    for said in (b"done\n", b"done", b"1+1\ndone\n"):
        heard = ReportFilter()
        heard.ask(ME, gone)
        assert heard.passing(LAST) == b""
        assert heard.passing(said) == LAST + said


def test_an_answer_is_left_out_though_dd_had_ended_before_it_was_heard() -> None:
    heard = ReportFilter()
    heard.ask(ME, gone)
    assert heard.passing(REPORT + WARNING + LAST + b"done\n") == WARNING + LAST + b"done\n"


@pytest.mark.parametrize(
    ("rest", "passed"), [(LAST, b"done\n" + LAST), (b"more\n", REPORT + b"done\nmore\n"), (b"", REPORT + b"done\n")]
)
def test_while_words_of_dd_are_unread_what_others_said_waits_for_them(rest: bytes, passed: bytes) -> None:
    heard, unread = ReportFilter(), len(rest)
    heard.ask(ME, lambda: unread)
    assert heard.passing(REPORT) == b""
    first = heard.passing(b"done\n")
    assert first == (b"" if rest else passed)
    unread = 0
    assert first + heard.passing(rest) + heard.end() == passed


def test_nothing_is_lost_if_the_stream_ends_while_something_waits() -> None:
    heard = ReportFilter()
    heard.ask(ME, lambda: 5)
    assert heard.passing(REPORT + b"done\n") == b""
    assert heard.end() == REPORT + b"done\n"


def test_the_last_report_need_not_wait_for_the_end_of_the_stream() -> None:
    heard = ReportFilter()
    heard.ask(ME, gone)
    assert heard.passing(LAST) == b""
    assert heard.passing(b"") == LAST
    assert heard.end() == b""


def test_while_dd_runs_no_silence_makes_its_report_pass() -> None:
    heard = asked_and_heard()
    assert heard.passing(b"") == b""
    assert heard.passing(LAST) == LAST


def test_a_report_after_which_dd_went_on_was_an_answer() -> None:
    heard = asked_and_heard()
    heard.went_on(7)
    assert heard.holding == 1
    heard.went_on(1)
    assert heard.holding == 0
    assert heard.end() == b""


def test_the_rest_of_a_report_that_is_left_out_is_left_out_too() -> None:
    heard = ReportFilter()
    heard.ask(ME, alive)
    lines = REPORT.splitlines(keepends=True)
    heard.passing(lines[0] + lines[1])
    heard.went_on(1)
    assert heard.passing(lines[2][:5]) == b""
    assert heard.passing(lines[2][5:]) == b""
    assert heard.passing(WARNING) == WARNING
    assert heard.end() == b""


def test_the_last_report_of_one_dd_passes_when_another_is_asked() -> None:
    heard = asked_and_heard()
    heard.ask(OTHER, alive)
    assert heard.passing(b"") == REPORT
    assert heard.passing(LAST) == b""
    assert heard.end() == LAST


def test_what_came_after_a_signal_that_was_not_sent_passes() -> None:
    heard = ReportFilter()
    heard.ask(ME, alive)
    assert heard.passing(LAST) == b""
    heard.unask()
    assert heard.passing(b"") == LAST


def test_what_is_held_back_stays_so_when_the_next_signal_is_not_sent() -> None:
    heard = asked_and_heard()
    heard.ask(ME, alive)
    heard.unask()
    assert heard.passing(b"") == b""
    assert heard.passing(LAST) == LAST, "not asked for"
    assert heard.end() == b""
