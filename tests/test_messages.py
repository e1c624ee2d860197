"""What client and daemon say to each other: a status, there and back, and within its rules whoever sent it."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollprog import messages
from pollprog.messages import StatusMessage, message_of, status_of
from pollprog.status import Bound, Outcome, State, Status, Unit
from pollprog.varlink import encode_reply

BIG = 2**63 - 1
SECONDS = st.floats(0, 1e9)


@st.composite
def statuses(draw: st.DrawFn) -> Status:
    """Any status that a channel can tell."""
    state = draw(st.sampled_from(State))
    total = draw(st.none() | st.integers(1, BIG))
    current = draw(st.none() | st.integers(0, total or BIG))
    fraction = None if total is None or current is None else current / total
    if fraction is not None and state is not State.SUCCEEDED:
        fraction = min(fraction, 1 - 2**-53)
    optional = st.none() | SECONDS
    return Status(
        job=draw(st.text(max_size=9)), seq=draw(st.integers(0, BIG)), state=state, current=current, total=total,
        unit=draw(st.sampled_from(Unit)), phase=draw(st.text(max_size=9)), fraction=fraction, rate=draw(optional),
        remaining=draw(st.none() | st.floats(1e-9, 1e9)), low=draw(optional), high=draw(optional), elapsed=draw(SECONDS),
        age=draw(SECONDS), idle=draw(SECONDS), moving=draw(st.booleans()), stalled=draw(st.booleans()),
        finishing=draw(st.booleans()), source=draw(st.text(max_size=9)), bound=draw(st.sampled_from(Bound)),
        outcome=Outcome(state, draw(st.none() | st.integers(0, 255)), draw(st.none() | st.integers(1, 64))) if state.over else None,
    )  # fmt: skip


@given(statuses())
@settings(deadline=None)
def test_a_status_that_crosses_the_wire_is_the_same_but_for_its_rounding(status: Status) -> None:
    encoded = encode_reply({"status": message_of(status)}, continues=True)
    told = msgspec.json.decode(encoded[:-1], type=dict[str, Any])["parameters"]["status"]
    back = status_of(msgspec.convert(told, StatusMessage))
    for field in dataclasses.fields(Status):
        sent, came = getattr(status, field.name), getattr(back, field.name)
        if isinstance(sent, float):
            assert came == pytest.approx(sent, rel=1e-3, abs=1e-3)
        elif not isinstance(sent, str) or field.name not in ("phase", "source"):
            assert came == sent, field.name
    assert back.phase == status.phase
    assert back.source == status.source
    assert (back.fraction == 1.0) is (status.fraction == 1.0)
    assert back.remaining is None or back.remaining > 0


def test_a_name_that_is_no_utf_8_is_told_without_the_bytes_that_are_not() -> None:
    message = message_of(dataclasses.replace(PLAIN, phase="a\udcff", source="b\udcffc"))
    assert msgspec.json.decode(msgspec.json.encode(message))["phase"] == "a?"
    assert message.source == "b?c"


def test_what_is_not_there_is_not_told() -> None:
    assert msgspec.json.decode(msgspec.json.encode(message_of(PLAIN))) == {
        "job": "a",
        "seq": 1,
        "state": "running",
        "unit": "items",
        "elapsed": 0.0,
        "age": 0.0,
        "idle": 0.0,
    }


@given(
    st.fixed_dictionaries(
        {"job": st.text(), "seq": st.integers(-BIG, BIG), "state": st.sampled_from(State).map(str), "unit": st.text(), "elapsed": st.floats()},
        optional={
            **{name: st.none() | st.integers(-BIG, BIG) for name in ("current", "total", "exit", "signal")},
            **{name: st.none() | st.floats() for name in ("fraction", "rate", "remaining", "low", "high", "age", "idle")},
            **{name: st.booleans() for name in ("moving", "stalled", "finishing")},
            "future": st.integers(),
        },
    )
)  # fmt: skip
@settings(deadline=None)
def test_whatever_a_service_says_becomes_a_status_within_the_rules(told: dict[str, Any]) -> None:
    try:
        message = msgspec.json.decode(msgspec.json.encode(told), type=StatusMessage)
    except msgspec.ValidationError:
        return  # a number that JSON does not have, where one has to be
    status = status_of(message)
    assert status.total is None or status.total > 0
    assert status.current is None or 0 <= status.current <= (status.total or BIG)
    assert status.fraction is None or 0 <= status.fraction <= 1
    assert status.fraction != 1 or status.state is State.SUCCEEDED
    for number in status.rate, status.remaining, status.low, status.high, status.elapsed, status.age, status.idle:
        assert number is None or number >= 0
    assert (status.outcome is not None) is status.state.over


def test_a_unit_that_is_yet_to_come_is_some_part_of_the_whole() -> None:
    assert status_of(dataclass_message(unit="furlongs")).unit is Unit.PARTS


def dataclass_message(**more: Any) -> StatusMessage:
    """A message with these fields."""
    return StatusMessage(**{"job": "a", "seq": 1, "state": "running", "unit": "items", "elapsed": 0.0, **more})


@pytest.mark.parametrize("name", [name for name in messages.__all__ if name.endswith("Parameters") or name == "OneJob"])
def test_parameters_that_nobody_knows_are_refused(name: str) -> None:
    assert getattr(messages, name).__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize("name", [name for name in messages.__all__ if name.endswith(("Reply", "Message"))])
def test_fields_that_are_yet_to_come_are_passed_over_in_what_a_daemon_says(name: str) -> None:
    assert not getattr(messages, name).__struct_config__.forbid_unknown_fields


PLAIN = Status(
    job="a", seq=1, state=State.RUNNING, current=None, total=None, unit=Unit.ITEMS, phase="", fraction=None, rate=None,
    remaining=None, low=None, high=None, elapsed=0.0, age=0.0, idle=0.0, moving=False, stalled=False, finishing=False,
    source="", bound=Bound.EXACT,
)  # fmt: skip
