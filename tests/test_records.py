"""What a program says of itself: what is believed of it, and what is not."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from children import target_for
from hypothesis import given, settings
from hypothesis import strategies as st

from pollprog import tools
from pollprog.probes.keptfile import by_rules
from pollprog.probes.patterns import LONGEST
from pollprog.probes.records import Records, Rule
from pollprog.status import Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

COUNT = Rule(rb"(?P<current>[\d,]+)/(?P<total>\d+)", unit=Unit.ITEMS)
PERCENT = Rule(rb"\s*(?P<percent>[\d.,]+)%")


@contextmanager
def records(*rules: Rule, **options: Any) -> Iterator[Records]:
    with target_for(os.getpid(), total=options.pop("total", None)) as target:
        yield Records(target, rules, **{"source": "test", "streams": (1,), **options})


def told(probe: Records, *said: bytes) -> Sample | None:
    for record in said:
        probe.feed(1, record)
    return probe.sample()


@pytest.mark.parametrize(
    ("rule", "record", "current", "total"),
    [
        (COUNT, b"3/9", 3, 9),
        (COUNT, b"1,003/2000", 1003, 2000),
        (COUNT, b"\x1b[1m3/9\x1b[0m  ", 3, 9),
        (COUNT, b"\x013/9\x02", 3, 9),
        (PERCENT, b"  0%", 0, 1_000_000),
        (PERCENT, b"37.5%", 375_000, 1_000_000),
        (PERCENT, b"37,5%", 375_000, 1_000_000),
        (PERCENT, b"100%", 1_000_000, 1_000_000),
        (Rule(rb"(?P<current>\d+)K", Unit.BYTES, scale=1024), b"7K", 7168, None),
        (Rule(rb"(?P<current>\d+)", Unit.ITEMS, total=10), b"7", 7, 10),
    ],
)
def test_a_record_that_matches_is_told(rule: Rule, record: bytes, current: int, total: int | None) -> None:
    with records(rule) as probe:
        sample = told(probe, record)
        assert sample is not None
        assert (sample.current, sample.total, sample.unit, sample.source) == (current, total, rule.unit, "test")


@pytest.mark.parametrize(
    "record",
    [
        *(b"3/", b"/9", b"3/9 files", b"x3/9", b"12/9", b"0/0", b"3/9\xff", b"\xff" * 50, b"", b" ", b"3 von 9"),
        *(b",/9", b"9" * 19 + b"/1", b"3/9" + b" " * LONGEST + b"x", "٣/٩".encode(), b"101%", b"1.2.3%", b".%", b"-1%"),
    ],
)
def test_what_does_not_match_as_a_whole_or_makes_no_sense_says_nothing(record: bytes) -> None:
    with records(COUNT, PERCENT) as probe:
        sample = told(probe, record)
        assert sample is None or record.startswith(b"3/9  ")


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=40)))
def test_whatever_is_heard_nothing_is_raised_and_no_wrong_number_said(said: list[bytes]) -> None:
    with records(COUNT, PERCENT) as probe:
        sample = told(probe, *said)
        assert sample is None or sample.total is None or 0 <= sample.current <= sample.total


def test_other_streams_are_not_heard() -> None:
    with records(COUNT) as probe:
        probe.feed(2, b"3/9")
        assert probe.sample() is None


def test_a_record_that_says_less_is_not_believed_unless_the_total_moved() -> None:
    with records(COUNT) as probe:
        assert [told(probe, said).current for said in (b"3/9", b"2/9", b"4/9", b"2/12")] == [3, 3, 4, 2]  # type: ignore[union-attr] # each says something


def test_what_is_heard_is_a_sign_of_life() -> None:
    with records(COUNT) as probe:
        first, second = told(probe, b"3/9"), told(probe, b"warning: something")
        assert first is not None
        assert second is not None
        assert second.activity > first.activity


def test_without_weights_each_phase_begins_anew() -> None:
    rule = Rule(rb"(?P<phase>\w+): (?P<current>\d+)/(?P<total>\d+)")
    with records(rule, Rule(rb"Cleaning", phase="cleaning")) as probe:
        told(probe, b"pack: 3/9")
        sample = told(probe, b"sum: 1/9")
        assert sample is not None
        assert (sample.current, sample.phase) == (1, "sum")
        sample = told(probe, b"Cleaning")
        assert sample is not None
        assert (sample.current, sample.total, sample.phase) == (0, None, "cleaning")


def test_with_weights_the_phases_are_one_fraction_that_never_falls() -> None:
    rule = Rule(rb"(?P<phase>\w+): (?P<current>\d+)/(?P<total>\d+)")
    with records(rule, weights={"first": 3, "second": 1}, names={"I": "first", "II": "second"}) as probe:
        samples = [
            told(probe, said) for said in (b"I: 1/3", b"I: 3/3", b"II: 0/9", b"other: 8/9", b"I: 2/3", b"II: 9/9")
        ]
    shown = [(sample.current, sample.phase) for sample in samples if sample is not None]
    assert shown == [
        (250_000, "first"),
        (750_000, "first"),
        (750_000, "second"),
        (750_000, "second"),
        (750_000, "first"),
        (1_000_000, "second"),
    ]


def test_before_a_phase_that_is_known_nothing_is_said() -> None:
    with records(Rule(rb"(?P<phase>\w+) (?P<percent>\d+)%"), weights={"first": 1}) as probe:
        assert told(probe, b"other 5%") is None
        assert told(probe, b"first 5%") is not None


def test_the_users_total_comes_first_where_bytes_are_counted() -> None:
    with records(Rule(rb"(?P<current>\d+)", Unit.BYTES), COUNT, total=77) as probe:
        assert told(probe, b"5").total == 77  # type: ignore[union-attr] # it says something
        assert told(probe, b"5/9").total == 9  # type: ignore[union-attr] # as above


def test_of_what_is_remembered_only_the_phase_counts() -> None:
    with records(Rule(rb"(?P<phase>[A-Z]): (?P<current>\d+)/9"), Rule(rb"(?P<current>\d+)/9")) as probe:
        for record in (b"A: 7/9", b"B: 8/9", b"nothing"):
            probe.remember(record)
        assert probe.sample() is None
        probe.feed(1, b"2/9")
        sample = probe.sample()
        assert sample is not None
        assert (sample.current, sample.phase) == (2, "B")


def test_the_patterns_of_our_tools_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Records] = []
    init = Records.__init__

    def noting(self: Records, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(Records, "__init__", noting)
    with target_for(os.getpid()) as target:
        for programs in tools.OURS.values():
            tools.load(programs.split()[0]).probe(target).close()
    assert made
    for probe in made:  # and whatever stands in a line, they are quick with it: this would not end
        for stream in probe._streams:
            for letter in (b" ", b"1", b"a", b"1,", b"1 ", b"1/", b"a/"):
                probe.feed(stream, letter * 10_000)
                probe.feed(stream, letter * 10_000 + b"\xff")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(?P<percent>.)", r"'(?P<percent>.)' is text, and records are bytes: write rb'…'"),
        (rb"(?P<curent>.)", "(?P<curent>…) says nothing: the groups of a rule are current, total, percent and phase"),
    ],
)
def test_a_pattern_that_could_never_say_anything_is_refused(pattern: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(said)), records(Rule(pattern)):
        pass
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        by_rules([Rule(pattern)])
