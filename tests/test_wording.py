import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from pollprog.status import Bound, Outcome, State, Status, Unit
from pollprog.wording import LogLines, bar_line, clean, json_line, outcome_line, taskbar

GIB = 2**30


def status(**changes: Any) -> Status:
    """A copy of 4 GiB, a quarter done after ten seconds, and whatever is said to be different."""
    values: dict[str, Any] = {
        "job": "7",
        "seq": 3,
        "state": State.RUNNING,
        "current": GIB,
        "total": 4 * GIB,
        "unit": Unit.BYTES,
        "phase": "",
        "fraction": 0.25,
        "rate": 310 * 2.0**20,
        "remaining": 30.4,
        "low": 20.0,
        "high": 45.0,
        "elapsed": 10.0,
        "age": 0.02,
        "idle": 0.0,
        "moving": True,
        "stalled": False,
        "finishing": False,
        "source": "evidence:output-size",
        "bound": Bound.EXACT,
        "outcome": None,
    }
    return Status(**values | changes)


def ended(state: State, exit_code: int | None = None, signal: int | None = None, **changes: Any) -> Status:
    return status(state=state, outcome=Outcome(state, exit_code, signal), **changes)


def unknown_total(**changes: Any) -> Status:
    return status(total=None, fraction=None, remaining=None, low=None, high=None, **changes)


def line(state: Status, columns: int = 80, *, unicode: bool = True, name: str = "cp", pulse: int = 0) -> str:
    return bar_line(state, columns=columns, unicode=unicode, colour=False, name=name, pulse=pulse)


# --- the bar


def test_a_bar_line_says_all_that_is_known():
    assert line(status()) == "cp  25 %  [███▊           ]  1.0 of 4.0 GiB  310 MiB/s  0:10  about 35 s"


def test_without_unicode_the_bar_is_plain_ascii():
    assert line(status(bound=Bound.UPPER), 45, unicode=False, name="naïve") == "na?ve  <=25%  1.0 of 4.0 GiB  0:10  35s"
    assert "[###------------]" in line(status(), unicode=False)


def test_eighths_of_a_block_show_small_steps():
    bars = {line(status(fraction=step / 1000)).split("[")[1].split("]")[0] for step in range(200, 267)}
    assert bars == {f"███{part}".ljust(15) for part in ("", *"▏▎▍▌▋▊▉")}


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (60, "cp  25 %  1.0 of 4.0 GiB  310 MiB/s  0:10  about 35 s"),
        (45, "cp   25%  1.0 of 4.0 GiB  0:10  35s"),
        (30, "cp   25%  0:10  35s"),
        (20, "25% 35s"),
        (8, "25% 35s"),
        (7, "25%"),
        (4, "25%"),
        (3, ""),
        (1, ""),
    ],
)
def test_as_the_window_narrows_the_least_important_goes_first(columns: int, text: str):
    assert line(status(), columns) == text


def test_a_window_that_claims_no_columns_is_taken_for_one_of_80():
    assert line(status(), 0) == line(status(), 80)


@pytest.mark.parametrize(("columns", "text"), [(20, "cp 1.0 GiB 0:10"), (15, "1.0 GiB 0:10"), (8, "1.0 GiB"), (7, "")])
def test_without_a_total_a_narrow_window_shows_what_is_done(columns: int, text: str):
    state = status(total=None, fraction=None, remaining=None, rate=None)
    assert line(state, columns) == text
    unknown = replace(state, current=None)
    assert line(unknown, columns) == ("cp 0:10" if columns >= 8 else "0:10")


def test_a_long_name_loses_its_middle():
    text = line(status(), name="a-very-long-name-of-some-file.tar.gz")
    assert text.startswith("a-very-lo…le.tar.gz  25 %")


def test_a_wide_window_shows_all_of_a_long_name_beside_a_bar_that_is_long_enough():
    name = "CREATE INDEX (4711): building index: scanning table"
    text = line(status(), 140, name=name)
    assert text.startswith(f"{name}  25 %  [")
    assert text.index("]") - text.index("[") > 20
    assert all(len(line(status(), columns, name=name)) < columns for columns in range(60, 200))


def test_long_counts_are_grouped():
    assert "9999 of 1,234,567 items" in line(status(current=9999, total=1234567, unit=Unit.ITEMS), 120)
    assert "10,000 items" in line(unknown_total(current=10_000, unit=Unit.ITEMS), 120)


def test_the_phase_stands_behind_the_name():
    assert line(status(phase="verify")).startswith("cp: verify  25 %")
    assert line(status(phase="verify"), name="").startswith("verify  25 %")


@pytest.mark.parametrize(
    ("bound", "wide", "narrow", "ascii_narrow"),
    [
        (Bound.UPPER, "at most 25 %", "≤25%", "<=25%"),
        (Bound.LOWER, "at least 25 %", "≥25%", ">=25%"),
        (Bound.ESTIMATE, "~25 %", "~25%", "~25%"),
    ],
)
def test_how_far_the_percentage_can_be_trusted_is_said(bound: Bound, wide: str, narrow: str, ascii_narrow: str):
    assert wide in line(status(bound=bound))
    assert line(status(bound=bound), 15).startswith(narrow)
    assert line(status(bound=bound), 15, unicode=False).startswith(ascii_narrow)


def test_the_percentage_is_floored_and_stays_below_100_until_the_work_has_ended_well():
    assert " 24 %" in line(status(fraction=0.2499999))
    assert " 99 %" in line(status(fraction=1.0, finishing=True))
    assert " 99 %" in line(ended(State.FAILED, 1, fraction=1.0))
    assert " 100 %  [███" in line(ended(State.SUCCEEDED, 0, fraction=1.0))
    assert "█]" not in line(status(fraction=1.0, finishing=True))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (status(remaining=None, low=None, high=None), "estimating"),
        (status(stalled=True, idle=12.7, moving=False), "stalled 12 s"),
        (status(stalled=True, idle=125.0, moving=False), "stalled 2 min 5 s"),
        (status(finishing=True, stalled=True), "finishing"),
        (status(state=State.PAUSED), "paused"),
        (status(state=State.QUEUED), "queued"),
        (status(state=State.CANCELLING), "cancelling"),
        (ended(State.SUCCEEDED, 0), "done"),
        (ended(State.FAILED, 1), "failed"),
        (ended(State.CANCELLED), "cancelled"),
        (ended(State.LOST), "ended"),
    ],
)
def test_what_stands_in_the_way_of_an_estimate_is_said_in_words(state: Status, words: str):
    assert line(state).endswith(f"  {words}")
    assert "MiB/s" not in line(state) or words == "estimating"


@pytest.mark.parametrize(
    ("seconds", "words", "short"),
    [
        (0.001, "about 5 s", "5s"),
        (31, "about 35 s", "35s"),
        (56, "about 1 min", "1m"),
        (61, "about 1 min 15 s", "1m15s"),
        (299, "about 5 min", "5m"),
        (301, "about 6 min", "6m"),
        (7790, "about 2 h 10 min", "2h10m"),
        (90000, "about 1 d 1 h", "1d1h"),
        (86400, "about 1 d", "1d"),
        (1e300, "about 999 d", "999d"),
    ],
)
def test_the_remaining_time_is_rounded_up_in_steps_that_grow(seconds: float, words: str, short: str):
    state = status(remaining=seconds, low=seconds, high=seconds)
    assert line(state).endswith(f"  {words}")
    assert line(state, 15) == f"25% {short}"


@pytest.mark.parametrize(
    ("low", "high", "words", "short"),
    [
        (11, 34, "10 to 35 s", "10-35s"),
        (185, 700, "3 to 12 min", "3-12m"),
        (0.5, 20, "up to 20 s", "<20s"),
        (20, 170, "up to 3 min", "<3m"),
        (3600, 18000, "1 to 5 h", "1-5h"),
        (100000, 400000, "1 to 5 d", "1-5d"),
    ],
)
def test_a_loose_estimate_is_a_range(low: float, high: float, words: str, short: str):
    state = status(remaining=low, low=low, high=high)
    assert line(state).endswith(f"  {words}")
    assert line(state, 15) == f"25% {short}"


def test_without_a_total_there_is_neither_percentage_nor_remaining_time():
    assert line(unknown_total()) == "cp  [███████                       ]  1.0 GiB  310 MiB/s  0:10"
    assert line(unknown_total(), 12) == "1.0 GiB"
    assert line(unknown_total(current=None, rate=None)) == "cp  [██████████                              ]  0:10"


def test_the_blob_goes_there_and_back_and_never_leaves_the_bar():
    bars = [line(unknown_total(), pulse=pulse).split("[")[1].split("]")[0] for pulse in range(47)]
    assert len(set(bars)) == 24
    assert bars[0] == bars[46]
    assert bars[23].endswith("█")
    assert {bar.count("█") for bar in bars} == {7}


def test_items_are_counted_and_parts_are_only_a_percentage():
    assert "120 of 400 items  12/s" in line(status(current=120, total=400, unit=Unit.ITEMS, rate=12.0))
    assert "1.5/s" in line(status(current=120, total=400, unit=Unit.ITEMS, rate=1.5))
    assert "30/min" in line(status(current=120, total=400, unit=Unit.ITEMS, rate=0.5))
    assert "120 items" in line(unknown_total(current=120, unit=Unit.ITEMS))
    assert re.fullmatch(r"cp  25 %  \[.*\]  0:10  about 35 s", line(status(current=25, total=100, unit=Unit.PARTS)))


@pytest.mark.parametrize(
    ("current", "total", "words"),
    [
        (12, 999, "12 of 999 B"),
        (0, 0, "0 of 0 B"),
        (int(39.99 * GIB), 40 * GIB, "39.9 of 40.0 GiB"),
        (250 * GIB, 931 * GIB, "250 of 931 GiB"),
        (2**20, 1023 * 2**20, "1.0 MiB of 1.0 GiB"),
    ],
)
def test_an_amount_is_in_the_unit_of_its_total_and_floored(current: int, total: int, words: str):
    assert words in line(status(current=current, total=total))


def test_colour_only_repeats_what_a_word_says():
    for state in (status(), status(stalled=True, idle=8.0), ended(State.FAILED, 1), status(state=State.PAUSED)):
        coloured = bar_line(state, columns=80, unicode=True, colour=True, name="cp")
        assert coloured != line(state)
        assert re.sub(r"\x1b\[\d*m", "", coloured) == line(state)


def test_what_a_terminal_would_obey_is_not_shown():
    hostile = "a\x1b]0;x\x07b\nc\u202ed\u2066\udce9\x9b31m\u2028e\r\x00\u200d\ufe0f"
    assert clean(hostile) == "a]0;xb cd?31m e "
    assert clean("naïve", unicode=False) == "na?ve"
    assert len(clean("e" + "\u0301" * 100_000)) <= 1000


NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True)
COUNTS = st.integers(0, 2**64)
STATUSES = st.builds(
    Status,
    job=st.text(st.characters()),
    seq=st.integers(0),
    state=st.sampled_from(State),
    current=st.none() | COUNTS,
    total=st.none() | COUNTS,
    unit=st.sampled_from(Unit),
    phase=st.text(st.characters()),
    fraction=st.none() | st.floats(0, 1) | NUMBERS,
    rate=NUMBERS,
    remaining=NUMBERS,
    low=NUMBERS,
    high=NUMBERS,
    elapsed=st.floats(),
    age=st.floats(),
    idle=st.floats(),
    moving=st.booleans(),
    stalled=st.booleans(),
    finishing=st.booleans(),
    source=st.text(st.characters()),
    bound=st.sampled_from(Bound),
    outcome=st.none()
    | st.builds(Outcome, st.sampled_from(State), st.none() | st.integers(0, 255), st.none() | st.integers(1, 70)),
)


@settings(deadline=None)
@given(
    STATUSES,
    st.integers(1, 200),
    st.booleans(),
    st.text(st.characters()),
    st.integers(0, 10**9),
)
def test_a_bar_line_fits_is_clean_and_never_boasts(state, columns, unicode, name, pulse):
    text = bar_line(state, columns=columns, unicode=unicode, colour=False, name=name, pulse=pulse)
    assert text.isprintable()
    assert wcswidth(text) <= columns - 1
    assert unicode or text.isascii()
    numbers = bar_line(replace(state, phase=""), columns=columns, unicode=unicode, colour=False, pulse=pulse)
    assert not re.search(r"inf|nan", numbers.replace("finishing", ""))
    assert state.state is State.SUCCEEDED or not re.search(r"100 ?%", numbers)


@pytest.mark.parametrize("number", [math.inf, math.nan, -1.0])
@pytest.mark.parametrize("field", ["fraction", "rate", "remaining", "low", "high", "elapsed", "idle"])
def test_a_number_that_is_none_is_not_shown(field: str, number: float):
    for stalled in (False, True):
        state = status(**{field: number}, stalled=stalled)
        assert not re.search(r"inf|nan|-", line(state))
        assert not re.search(r"inf|nan|-", LogLines().due(state)[0])


@settings(deadline=None)
@given(STATUSES, st.text(st.characters()), st.booleans())
def test_lines_of_log_are_clean(state, name, unicode):
    for text in [*LogLines(name, unicode=unicode).due(state), outcome_line(state, name=name, unicode=unicode)]:
        assert text.isprintable()
        assert unicode or text.isascii()


# --- the icon


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (status(), "1;25"),
        (status(fraction=1.0, finishing=True), "1;99"),
        (unknown_total(), "3;0"),
        (status(stalled=True), "4;25"),
        (status(state=State.PAUSED), "4;25"),
        (ended(State.FAILED, 1), "2;25"),
        (ended(State.SUCCEEDED, 0), "1;100"),
    ],
)
def test_the_icon_is_told_state_and_percentage(state: Status, told: str):
    assert taskbar(state) == told


# --- how it ended, and lines of log


def test_what_ran_before_we_came_has_no_rate_over_the_time_in_which_we_looked():
    state = ended(State.SUCCEEDED, 0)
    assert outcome_line(state, name="cp", joined=True) == "cp: done, 1.0 GiB, watched for 10.0 s"
    assert LogLines("cp", joined=True).due(state) == ["cp: done, 1.0 GiB, watched for 10.0 s"]


def test_without_a_total_what_was_last_seen_is_the_least_that_was_done():
    state = replace(ended(State.SUCCEEDED, 0, current=GIB), total=None, fraction=None)
    assert outcome_line(state, name="cp") == "cp: done, at least 1.0 GiB in 10.0 s"


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (ended(State.SUCCEEDED, 0, current=4 * GIB, elapsed=13.9), "cp: done, 4.0 GiB in 13.9 s, 295 MiB/s"),
        (ended(State.SUCCEEDED, 0, current=4 * GIB, phase="verify"), "cp: done in 10.0 s"),
        (ended(State.SUCCEEDED, 0, current=400, unit=Unit.ITEMS), "cp: done, 400 items in 10.0 s, 40/s"),
        (ended(State.SUCCEEDED, 0, unit=Unit.PARTS, elapsed=252.0), "cp: done in 4 min 12 s"),
        (ended(State.SUCCEEDED, 0, current=None, elapsed=0.0), "cp: done in 0.0 s"),
        (ended(State.FAILED, 1), "cp: failed with exit status 1 after 10.0 s, 1.0 of 4.0 GiB"),
        (ended(State.FAILED, None, 9, current=None), "cp: killed by SIGKILL after 10.0 s"),
        (ended(State.FAILED, None, 42, current=None), "cp: killed by signal 42 after 10.0 s"),
        (ended(State.FAILED, current=None), "cp: failed after 10.0 s"),
        (ended(State.CANCELLED, None, 15, current=None), "cp: cancelled after 10.0 s"),
        (ended(State.LOST), "cp: ended, exit status unknown, after 10.0 s"),
    ],
)
def test_the_last_line_says_how_it_ended(state: Status, text: str):
    assert outcome_line(state, name="cp") == text
    assert LogLines("cp").due(state) == [text]


def test_a_log_has_a_line_at_once_one_after_ten_seconds_and_then_one_every_thirty():
    log = LogLines("cp")
    told = [second for second in range(1, 140) if log.due(status(elapsed=float(second)))]
    assert told == [1, 10, 40, 70, 100, 130]


def test_a_log_line_is_a_full_sentence_of_plain_text():
    assert LogLines("cp").due(status()) == ["cp: 25 %, 1.0 of 4.0 GiB, 310 MiB/s, about 35 s left, 0:10 elapsed"]
    assert LogLines().due(unknown_total(elapsed=3725.0)) == ["1.0 GiB, 310 MiB/s, 1:02:05 elapsed"]


def test_a_log_tells_of_a_new_phase_a_stall_a_pause_and_their_ends_at_once():
    log = LogLines()
    assert log.due(status(elapsed=1.0))
    assert not log.due(status(elapsed=2.0))
    assert log.due(status(elapsed=3.0, phase="verify"))
    assert "stalled" in log.due(status(elapsed=4.0, phase="verify", stalled=True))[0]
    assert not log.due(status(elapsed=5.0, phase="verify", stalled=True))
    assert "left" in log.due(status(elapsed=6.0, phase="verify"))[0]
    assert "paused" in log.due(status(elapsed=6.0, phase="verify", state=State.PAUSED))[0]
    assert log.due(status(elapsed=6.0, phase="verify"))


# --- lines of JSON

RUNNING = [
    "v",
    "job",
    "seq",
    "state",
    "current",
    "total",
    "unit",
    "phase",
    "fraction",
    "rate",
    "remaining",
    "low",
    "high",
    "elapsed",
    "age",
    "moving",
    "stalled",
    "finishing",
    "source",
    "bound",
]
LAST = [
    "v",
    "job",
    "seq",
    "state",
    "exit",
    "signal",
    "current",
    "total",
    "unit",
    "phase",
    "fraction",
    "elapsed",
    "bound",
]


def test_a_running_status_is_one_object_on_one_line():
    data = json_line(status(rate=3.1e8, remaining=10.40001, elapsed=3.46))
    assert data == (
        b'{"v":1,"job":"7","seq":3,"state":"running","current":1073741824,"total":4294967296,"unit":"bytes","phase":"",'
        b'"fraction":0.25,"rate":310000000.0,"remaining":10.4,"low":20.0,"high":45.0,"elapsed":3.46,"age":0.02,'
        b'"moving":true,"stalled":false,"finishing":false,"source":"evidence:output-size","bound":"exact"}\n'
    )


def test_the_last_line_says_how_it_ended_and_nothing_of_what_is_over():
    data = json_line(ended(State.SUCCEEDED, 0, current=4 * GIB, fraction=1.0, elapsed=13.9))
    assert data == (
        b'{"v":1,"job":"7","seq":3,"state":"succeeded","exit":0,"signal":null,"current":4294967296,"total":4294967296,'
        b'"unit":"bytes","phase":"","fraction":1.0,"elapsed":13.9,"bound":"exact"}\n'
    )


@pytest.mark.parametrize(
    ("state", "changes", "bound"),
    [
        (State.SUCCEEDED, {"current": 4 * GIB, "bound": Bound.UPPER}, "exact"),
        (State.SUCCEEDED, {"current": 4 * GIB, "bound": Bound.ESTIMATE}, "estimate"),
        (State.SUCCEEDED, {"total": None}, "lower"),
        (State.SUCCEEDED, {"total": None, "bound": Bound.ESTIMATE}, "estimate"),
        (State.FAILED, {}, "lower"),
        (State.CANCELLED, {"bound": Bound.LOWER}, "lower"),
        (State.FAILED, {"bound": Bound.UPPER}, "estimate"),
        (State.LOST, {"current": None}, None),
    ],
)
def test_the_last_line_says_whether_its_count_is_all_or_what_was_seen_last(state, changes, bound):
    assert json.loads(json_line(ended(state, **changes)))["bound"] == bound


def test_json_never_says_that_no_time_or_no_work_is_left():
    data = json.loads(json_line(status(remaining=0.0001, fraction=0.99999999)))
    assert data["remaining"] > 0
    assert data["fraction"] < 1


def test_a_name_that_no_encoding_has_does_not_break_the_line():
    assert json.loads(json_line(status(job="caf\udce9", phase="\udc80", source="\ud800")))["job"] == "caf?"


@settings(deadline=None)
@given(STATUSES)
def test_json_has_its_fields_in_order_and_only_finite_numbers(state):
    data = json_line(state)
    assert data.endswith(b"}\n")
    assert data.count(b"\n") == 1
    read = json.loads(data, parse_constant=pytest.fail)
    assert list(read) == (LAST if state.state.over else RUNNING)
    assert all(math.isfinite(value) for value in read.values() if isinstance(value, float))
