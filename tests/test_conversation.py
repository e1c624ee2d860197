"""What a client hears, whatever it is: events, or one error that says what is wrong."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services import reply, status

from pollprog.conversation import DESCRIBE, OWN, Asked, Conversation, Failure, Methods, Part, Result, prepared
from pollprog.daemon import methods_of
from pollprog.errors import NoSpace, ProtocolError, UsageError
from pollprog.status import Status
from pollprog.varlink import parse_call

ONE = Asked("org.example.One", {})
MORE = Asked("org.example.More", {}, more=True)
NO_SPACE = b'{"error":"org.pollprog.operations.NoSpace","parameters":{"message":"full","written":7}}\0'


def heard(asked: Asked, data: bytes, size: int | None = None) -> list[object]:
    """What comes in reply to a call, in pieces of so many bytes."""
    conversation = Conversation()
    conversation.ask(asked)
    size = size or len(data)
    return [event for at in range(0, len(data), size) for event in conversation.receive(data[at : at + size])]


def test_a_call_is_what_was_asked_for() -> None:
    call = parse_call(Conversation().ask(Asked("org.example.Do", {"name": "ä"}, more=True))[:-1])
    assert (call.method, bytes(call.parameters), call.more) == ("org.example.Do", '{"name":"ä"}'.encode(), True)


def test_statuses_come_before_the_result() -> None:
    first, second, last = heard(MORE, status(1) + status(2, None) + reply(result={"size": 3}))
    assert isinstance(first, Status)
    assert isinstance(second, Status)
    assert (first.current, first.total, second.current, second.total) == (1, 100, 2, None)
    assert last == Result({"size": 3})


def test_a_method_without_a_result_returns_its_parameters() -> None:
    assert heard(ONE, reply(jobs=[], left=1)) == [Result({"jobs": [], "left": 1})]
    assert heard(ONE, b"{}\0") == [Result({})]


def test_a_result_may_be_anything() -> None:
    for value in (None, False, 0, "", [], "words", [1]):
        assert heard(ONE, reply(result=value)) == [Result(value)]


def test_what_is_told_bit_by_bit_and_is_no_status_is_a_part() -> None:
    assert heard(MORE, b'{"parameters":{"jobs":[]},"continues":true}\0' + reply()) == [Part({"jobs": []}), Result({})]


def test_an_error_is_one_of_ours_with_its_parameters() -> None:
    (event,) = heard(MORE, NO_SPACE)
    assert isinstance(event, Failure)
    assert isinstance(event.error, NoSpace)
    assert (str(event.error), event.error.written) == ("full", 7)


def test_a_status_that_nobody_asked_for_is_against_the_protocol() -> None:
    with pytest.raises(ProtocolError, match="continues"):
        heard(ONE, status(1))


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n\0",
        b"\0",
        b"null\0",
        b"\xff\xfe\0",
        b"[" * 200_000 + b"\0",
        b'{"parameters":' + b"[" * 200_000 + b"\0",
        b'{"parameters":{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}}\0",
        b'{"parameters":[]}\0',
        b'{"parameters":{"status":7},"continues":true}\0',
        b'{"parameters":{"status":{"job":"x","seq":1,"state":"odd","unit":"bytes","elapsed":1}},"continues":true}\0',
        b'{"error":"org.example.E","continues":true}\0',
        b'{"what":1}\0',
    ],
    ids=lambda garbage: repr(garbage[:24]),
)
def test_garbage_is_against_the_protocol(garbage: bytes) -> None:
    conversation = Conversation()
    conversation.ask(MORE)
    with pytest.raises(ProtocolError):
        conversation.receive(garbage)
    assert conversation.broken


def test_a_message_without_an_end_is_given_up() -> None:
    conversation = Conversation(limit=1000)
    conversation.ask(MORE)
    for _ in range(9):
        assert conversation.receive(b" " * 100) == []
    with pytest.raises(ProtocolError, match="1000"):
        conversation.receive(b" " * 101)


def test_nothing_may_come_before_the_call_or_after_the_reply() -> None:
    conversation = Conversation()
    with pytest.raises(ProtocolError, match="nobody has asked"):
        conversation.receive(b"{")
    conversation = Conversation()
    conversation.ask(ONE)
    conversation.receive(reply())
    with pytest.raises(ProtocolError, match="nobody has asked"):
        conversation.receive(reply())


def test_what_follows_a_reply_in_the_same_breath_spoils_the_connection_and_not_the_reply() -> None:
    conversation = Conversation()
    conversation.ask(ONE)
    assert conversation.receive(reply(result=1) + reply(result=2)) == [Result(1)]
    assert conversation.broken


def test_calls_follow_one_another() -> None:
    conversation = Conversation()
    for number in range(3):
        conversation.ask(ONE)
        assert conversation.receive(reply(result=number)) == [Result(number)]
        assert not conversation.broken


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(1, 700), st.booleans())
def test_it_does_not_matter_how_the_bytes_come(statuses: int, size: int, fails: bool) -> None:
    data = b"".join(status(number) for number in range(statuses)) + (NO_SPACE if fails else reply(result="ä"))
    told = heard(MORE, data, size)
    assert [event.current for event in told if isinstance(event, Status)] == list(range(statuses))
    assert isinstance(told[-1], Failure if fails else Result)
    assert len(told) == statuses + 1


@settings(deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_whatever_comes_is_events_or_a_protocol_error(data: bytes, more: bool) -> None:
    conversation = Conversation()
    conversation.ask(MORE if more else ONE)
    try:
        conversation.receive(data + b"\0")
    except ProtocolError:
        assert conversation.broken


# --- what is asked


def methods() -> Methods:
    known = Methods()
    told = [{"name": "Fill", "doc": "", "progress": True, "parameters": []}]
    told.append({"name": "Sum", "doc": "", "progress": False, "parameters": []})
    known.learn({"operations": told})
    return known


def test_progress_is_asked_for_where_there_is_some() -> None:
    asked = [methods().ask(name, {}) for name in ("Fill", "Sum", "List", "Follow", "Nono", "org.example.Do")]
    assert [one.more for one in asked] == [True, False, False, True, False, False]
    assert [methods().ask("Fill", {}, more=more).more for more in (True, False)] == [True, False]


def test_operations_get_a_job_id_and_nothing_else_does() -> None:
    first, second = (methods().ask("Fill", {"size": 1}) for _ in range(2))
    assert first.job
    assert first.job == first.parameters["job"]
    assert first.job != second.job
    assert methods().ask("org.pollprog.operations.Fill", {"job": "mine"}).job == "mine"
    assert [methods().ask(name, {}).job for name in ("List", "Nono", "org.example.Fill")] == [None] * 3


def test_a_method_without_an_interface_is_ours() -> None:
    assert methods().ask("Sum", {}).method == "org.pollprog.operations.Sum"
    assert methods().ask("org.example.Sum", {}).method == "org.example.Sum"


def test_what_has_to_be_described_first_are_operations_that_are_not_known_yet() -> None:
    names = "Fill", "org.pollprog.operations.Fill", "List", "Describe", "org.example.Fill"
    assert [Methods().knows(name) for name in names] == [False, False, True, True, True]
    assert [methods().knows(name) for name in (*names, "Nono")] == [True] * 5 + [False]


def test_what_is_no_description_is_against_the_protocol() -> None:
    for told in ({}, [], {"operations": [{"name": 1}]}, None):
        with pytest.raises(ProtocolError):
            Methods().learn(told)


def test_what_a_daemon_answers_to_beside_operations_is_known_here() -> None:
    assert {one.name: one.more != "no" for one, _ in methods_of(None)} == OWN
    assert DESCRIBE.method.endswith(".Describe")


def test_paths_become_absolute_and_text_stays_what_it_is() -> None:
    here = os.getcwd()
    assert prepared(Path("a")) == f"{here}/a"
    assert prepared([Path("/a/../b"), "c", 1]) == ["/b", "c", 1]
    assert prepared(("a", PurePosixPath("b"))) == ["a", f"{here}/b"]
    assert prepared({"x": Path("y"), "z": None}) == {"x": f"{here}/y"}
    assert prepared("./a") == "./a"
    assert [prepared(value) for value in (True, 7, 1.5)] == [True, 7, 1.5]


def test_a_relative_path_means_nothing_on_another_machine() -> None:
    assert prepared(Path("/a"), local=False) == "/a"
    with pytest.raises(UsageError, match="absolute"):
        prepared(Path("a"), local=False)


def test_a_name_that_is_no_utf_8_cannot_be_sent() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        prepared(Path(os.fsdecode(b"/a\xff")))


def test_what_json_cannot_say_cannot_be_sent() -> None:
    conversation = Conversation()
    with pytest.raises(UsageError, match=r"org\.example\.Do"):
        conversation.ask(Asked("org.example.Do", {"value": object()}))
    conversation.ask(ONE)  # nothing has happened


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("-inf")], {"a": float("nan")}])
def test_what_is_no_number_of_anything_is_not_sent(value: object) -> None:
    with pytest.raises(UsageError, match="cannot be sent"):
        prepared(value)
