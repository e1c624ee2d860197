from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct

from pollprog import errors
from pollprog.errors import InvalidParameter, OperationError, PollprogError, ProtocolError
from pollprog.varlink import (
    OPERATIONS,
    SERVICE,
    Call,
    ForeignError,
    Framer,
    Int,
    Reply,
    decode,
    decode_reply,
    encode_call,
    encode_error,
    encode_reply,
    error_from,
    error_reply,
    parse_call,
    parse_reply,
)

MESSAGES = [b'{"method":"a.B"}', b"", b'{"error":"a.B","parameters":{"text":"\xc3\xa4"}}']


class Inner(Struct, forbid_unknown_fields=True):
    kind: str
    size: Int = 0


class Outer(Struct, forbid_unknown_fields=True):
    path: str
    size: Int | None = None
    names: list[str] = []
    inner: list[Inner] = []
    env: dict[str, str] = {}
    anything: dict[str, object] = {}
    share: float = 0.0


class Told(Struct):
    size: Int = 0


def taken(framer: Framer) -> list[bytes]:
    """All the messages that are whole."""
    return list(iter(framer.next, None))


def parameters_of(message: Call | Reply) -> Any:
    return json.loads(bytes(message.parameters))


# --- framing


def test_messages_are_cut_at_their_nul_whole_and_with_something_behind() -> None:
    framer = Framer()
    framer.feed(b"\0".join(MESSAGES) + b'\0{"meth')
    assert taken(framer) == MESSAGES
    assert framer.unread == b'{"meth'
    framer.feed(b'od":"c.D"}\0')
    assert taken(framer) == [b'{"method":"c.D"}']
    assert (framer.unread, framer.next()) == (b"", None)


def test_messages_are_cut_at_their_nul_byte_by_byte() -> None:
    framer, found = Framer(), []
    for byte in b"\0".join(MESSAGES) + b"\0":
        framer.feed(bytes([byte]))
        found += taken(framer)
    assert found == MESSAGES


@given(st.lists(st.binary().map(lambda data: data.replace(b"\0", b"")), max_size=8), st.data())
@settings(deadline=None)
def test_any_chunking_gives_the_same_messages(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(message + b"\0" for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    framer, found = Framer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        framer.feed(stream[start:end])
        found += taken(framer)
    assert found == messages


def test_only_new_bytes_are_searched_for_the_end() -> None:
    class Watched(bytearray):
        searched = 0

        def find(self, sub: int, start: int) -> int:  # type: ignore[override]  # as it is called
            Watched.searched += len(self) - start
            return super().find(sub, start)

    framer = Framer()
    framer.unread = Watched()
    for _ in range(1000):
        framer.feed(b"x" * 10)
        assert framer.next() is None
    assert Watched.searched == 10_000


def test_a_message_may_be_as_long_as_the_limit_its_nul_included() -> None:
    framer = Framer(limit=8)
    framer.feed(b"1234567")
    assert framer.next() is None
    framer.feed(b"\x00123")
    assert framer.next() == b"1234567"
    assert framer.next() is None
    framer.feed(b"4567\0")
    assert framer.next() == b"1234567"


@pytest.mark.parametrize("before", [b"", b"1\0", b"1\x0012345", b"1234567"])
@pytest.mark.parametrize("last", [b"12345678", b"12345678\0", b"12345678\x001\x00"])
def test_a_longer_one_is_refused_whether_its_end_is_there_or_not(before: bytes, last: bytes) -> None:
    framer = Framer(limit=8)
    framer.feed(before)
    taken(framer)
    framer.feed(last)
    with pytest.raises(ProtocolError, match="a message of more than 8 bytes"):
        framer.next()


def test_messages_that_are_taken_do_not_count_against_the_limit() -> None:
    framer = Framer(limit=8)
    for _ in range(3):
        framer.feed(b"12\x0034\x0056")
        framer.feed(b"\x0078\x00")
        assert taken(framer) == [b"12", b"34", b"56", b"78"]
    assert framer.unread == b""


# --- calls

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(), JSON_VALUES, max_size=4)


def through(frame: bytes, size: int) -> bytes:
    """A frame, read so many bytes at a time."""
    framer = Framer()
    for start in range(0, len(frame), size):
        assert framer.next() is None
        framer.feed(frame[start : start + size])
    message = framer.next()
    assert message is not None
    assert framer.unread == b""
    return message


@given(st.text(), OBJECTS, st.sampled_from(["", "more", "oneway"]), st.integers(1, 50))
@settings(deadline=None)
def test_a_call_comes_out_as_it_went_in(method: str, parameters: dict[str, Any], flag: str, size: int) -> None:
    frame = encode_call(method, parameters, **({flag: True} if flag else {}))
    call = parse_call(through(frame, size))
    assert (call.method, parameters_of(call)) == (method, parameters)
    assert (call.more, call.oneway, call.upgrade) == (flag == "more", flag == "oneway", False)


@given(OBJECTS, st.booleans(), st.integers(1, 50))
@settings(deadline=None)
def test_a_reply_comes_out_as_it_went_in(parameters: dict[str, Any], continues: bool, size: int) -> None:
    reply = parse_reply(through(encode_reply(parameters, continues=continues), size))
    assert (parameters_of(reply), reply.continues, reply.error) == (parameters, continues, None)


@given(st.text(), OBJECTS, st.integers(1, 50))
@settings(deadline=None)
def test_an_error_comes_out_as_it_went_in_and_never_continues(name: str, parameters: dict[str, Any], size: int) -> None:
    reply = parse_reply(through(encode_error(name, parameters), size))
    assert (parameters_of(reply), reply.continues, reply.error) == (parameters, False, name)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_whatever_comes_in_is_a_message_or_a_protocol_error(data: bytes) -> None:
    for parse in parse_call, parse_reply:
        with suppress(ProtocolError):
            assert isinstance(parse(data), Call | Reply)


@pytest.mark.parametrize(
    "said",
    [
        b'{"method":"a.B"}',
        b'{"method":"a.B","parameters":null}',
        b'{"method":"a.B","parameters":{}}',
        b'{"method":"a.B","parameters":{},"more":false,"oneway":null,"upgrade":null}',
        b' {\n"parameters" : { } , "method" : "a.B" }\r\n',
        b'{"method":"a.B","org.example":{"more":true},"com.example.more":1}',
        b'{"method":"c.D","method":"a.B"}',
    ],
)
def test_the_same_call_in_each_of_its_ways(said: bytes) -> None:
    call = parse_call(said)
    assert (call.method, parameters_of(call), call.more, call.oneway, call.upgrade) == ("a.B", {}, False, False, False)
    assert encode_call("a.B", {}) == encode_call("a.B") == b'{"method":"a.B"}\0'


@pytest.mark.parametrize("flag", ["more", "oneway", "upgrade"])
def test_a_flag_is_set_by_true_alone(flag: str) -> None:
    assert getattr(parse_call(b'{"method":"a.B","%s":true}' % flag.encode()), flag) is True
    for said in b"1", b'"true"', b"[]", b"{}", b"0":
        with pytest.raises(ProtocolError):
            parse_call(b'{"method":"a.B","%s":%s}' % (flag.encode(), said))


NEVER_JSON = {
    "nothing": b"",
    "a word": b"hello",
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a byte order mark": b'\xef\xbb\xbf{"method":"a.B"}',
    "UTF-16": '{"method":"a.B"}'.encode("utf-16-le").replace(b"\0", b"\x01"),
    "half of it": b'{"method":"a.B"',
    "something behind": b'{"method":"a.B"}{"method":"a.B"}',
    "an array": b'[{"method":"a.B"}]',
    "a string": b'"method"',
    "null": b"null",
    "a deep array": b"[" * 200_000,
    "a deep array in the parameters": b'{"method":"a.B","parameters":' + b"[" * 200_000,
    "a deep object in the parameters": b'{"method":"a.B","parameters":' + b'{"a":' * 200_000,
    "a deep array of a vendor": b'{"method":"a.B","org.example":' + b"[" * 200_000,
    "NaN": b'{"method":"a.B","parameters":{"x":NaN}}',
    "infinity": b'{"method":"a.B","parameters":{"x":-Infinity}}',
    "a leading zero": b'{"method":"a.B","parameters":{"x":01}}',
    "a trailing comma": b'{"method":"a.B",}',
    "a comment": b'{"method":"a.B"/**/}',
    "a bare line end in a string": b'{"method":"a.B","parameters":{"x":"\n"}}',
    "bad UTF-8 in the method": b'{"method":"a.\xff"}',
    "bad UTF-8 in the parameters": b'{"method":"a.B","parameters":{"x":"\xff"}}',
    "bad UTF-8 in a name": b'{"method":"a.B","parameters":{"\xc3":1}}',
    "a surrogate in UTF-8": b'{"method":"a.B","parameters":{"x":"\xed\xa0\x80"}}',
    "a lone surrogate in the method": rb'{"method":"a.\ud800"}',
    "a lone high surrogate": rb'{"method":"a.B","parameters":{"x":"\ud800"}}',
    "a lone high surrogate and more": rb'{"method":"a.B","parameters":{"x":"\ud800abcdefghij"}}',
    "a lone low surrogate": rb'{"method":"a.B","parameters":{"x":"\udc00"}}',
    "a lone surrogate in a name": rb'{"method":"a.B","parameters":{"\udc00":1}}',
}
NEVER_A_CALL = {
    "no method": b"{}",
    "no method but parameters": b'{"parameters":{}}',
    "a null method": b'{"method":null}',
    "a number for a method": b'{"method":1}',
    "a reply": b'{"continues":true}',
    "an array of parameters": b'{"method":"a.B","parameters":[]}',
    "a string of parameters": b'{"method":"a.B","parameters":"{}"}',
    "a number of parameters": b'{"method":"a.B","parameters":0}',
    "an array of parameters beside a vendor's member": b'{"method":"a.B","parameters":[],"org.example":{}}',
    "an unknown member": b'{"method":"a.B","fds":1}',
    "an unknown member beside a vendor's": b'{"method":"a.B","fds":1,"org.example":{}}',
    "a member in capitals": b'{"method":"a.B","More":true}',
    "more and oneway": b'{"method":"a.B","more":true,"oneway":true}',
    "more and upgrade": b'{"method":"a.B","more":true,"upgrade":true}',
    "oneway and upgrade": b'{"method":"a.B","oneway":true,"upgrade":true}',
    "all three flags": b'{"method":"a.B","more":true,"oneway":true,"upgrade":true}',
    "two flags beside a null": b'{"method":"a.B","more":true,"oneway":true,"upgrade":null}',
}
NEVER_A_REPLY = {
    "an error that continues": b'{"error":"a.B","continues":true}',
    "a number for an error": b'{"error":1}',
    "a string for a flag": b'{"continues":"yes"}',
    "an array of parameters": b'{"parameters":[]}',
    "an unknown member": b'{"upgraded":true}',
    "a call": b'{"method":"a.B"}',
}


@pytest.mark.parametrize("message", (NEVER_JSON | NEVER_A_CALL).values(), ids=(NEVER_JSON | NEVER_A_CALL).keys())
def test_no_call_is_made_of(message: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_call(message)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("message", (NEVER_JSON | NEVER_A_REPLY).values(), ids=(NEVER_JSON | NEVER_A_REPLY).keys())
def test_no_reply_is_made_of(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_reply(message)


@pytest.mark.parametrize(
    "said", [b"{}", b'{"parameters":null}', b'{"error":null,"continues":false,"parameters":{}}', b'{"org.example":{}}']
)
def test_the_same_reply_in_each_of_its_ways(said: bytes) -> None:
    reply = parse_reply(said)
    assert (parameters_of(reply), reply.continues, reply.error) == ({}, False, None)


def test_a_call_with_two_flags_is_not_even_written() -> None:
    with pytest.raises(ValueError, match="no more"):
        encode_call("a.B", more=True, oneway=True)


# --- parameters


def test_parameters_become_a_struct() -> None:
    said = b'{"path":"/","size":9223372036854775807,"inner":[{"kind":"a","size":-9223372036854775808}],"share":2}'
    outer = decode(Raw(said), Outer)
    assert (outer.path, outer.size, outer.inner[0].size, outer.share) == ("/", 2**63 - 1, -(2**63), 2.0)


def test_null_and_absent_are_the_same_where_a_value_may_be_missing() -> None:
    assert decode(b'{"path":"/","size":null}', Outer) == decode(b'{"path":"/"}', Outer)


@pytest.mark.parametrize(
    ("said", "parameter", "text"),
    [
        (b"{}", "path", "parameter path is missing"),
        (b'{"path":null}', "path", "parameter path: expected a string, got null"),
        (b'{"path":1}', "path", "parameter path: expected a string, got an integer"),
        (b'{"path":"/","size":"1"}', "size", "parameter size: expected an integer or null, got a string"),
        (b'{"path":"/","size":true}', "size", "parameter size: expected an integer or null, got true or false"),
        (b'{"path":"/","size":1.5}', "size", "parameter size: expected an integer or null, got a number"),
        (b'{"path":"/","size":1e3}', "size", "parameter size: expected an integer or null, got a number"),
        (
            b'{"path":"/","size":9223372036854775808}',
            "size",
            "parameter size: expected an integer <= 9223372036854775807",
        ),
        (
            b'{"path":"/","size":-9223372036854775809}',
            "size",
            "parameter size: expected an integer >= -9223372036854775808",
        ),
        (b'{"path":"/","size":%s}' % (b"9" * 5000), "size", "parameter size: integer value out of range"),
        (b'{"path":"/","share":1e999}', "share", "parameter share: number out of range"),
        (b'{"path":"/","names":{}}', "names", "parameter names: expected an array, got an object"),
        (b'{"path":"/","names":["a",1]}', "names[1]", "parameter names[1]: expected a string, got an integer"),
        (b'{"path":"/","env":{"a":1}}', "env", "parameter env: expected a string, got an integer"),
        (b'{"path":"/","inner":[{}]}', "inner[0].kind", "parameter inner[0].kind is missing"),
        (b'{"path":"/","inner":[{"kind":"a","x":1}]}', "inner[0].x", "there is no parameter inner[0].x"),
        (b'{"path":"/","sice":1}', "sice", "there is no parameter sice"),
        (b'{"path":"/","\\u001b[2J`\\n":1}', "\ufffd[2J`\ufffd", "there is no parameter \ufffd[2J`\ufffd"),
    ],
)
def test_a_wrong_parameter_is_named_and_so_is_what_was_expected(said: bytes, parameter: str, text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        decode(parse_call(b'{"method":"a.B","parameters":%s}' % said).parameters, Outer)
    assert (str(caught.value), caught.value.parameter) == (text, parameter)


def test_a_name_without_end_is_repeated_in_part() -> None:
    with pytest.raises(InvalidParameter) as caught:
        decode(b'{"%s":1}' % (b"y" * 100_000), Outer)
    assert len(caught.value.parameter) == 100
    assert len(str(caught.value)) < 200


def test_parameters_that_are_too_deep_are_refused_like_others() -> None:
    with pytest.raises(InvalidParameter):
        decode(b'{"path":"/","anything":{"a":' + b"[" * 200_000, Outer)


def test_a_struct_that_says_nothing_of_unknown_fields_ignores_them_in_a_reply() -> None:
    reply = parse_reply(b'{"parameters":{"size":5,"news":{"of":["another","version"]}}}')
    assert decode_reply(reply, Told).size == 5


@pytest.mark.parametrize("said", [b'{"size":"5"}', b'{"size":9223372036854775808}', b'{"size":%s}' % (b"[" * 200_000)])
def test_a_reply_of_another_shape_breaks_the_protocol(said: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_reply(Reply(parameters=Raw(said)), Told)


def test_a_file_name_that_is_no_utf8_is_told_as_far_as_it_is() -> None:
    class Named(Struct):
        path: str
        names: list[str]

    reply = parse_reply(encode_reply(Named("/tmp/\udcff", ["a", "\ud800b"]))[:-1])
    assert parameters_of(reply) == {"path": "/tmp/\ufffd", "names": ["a", "\ufffdb"]}


def test_what_is_not_a_number_is_told_as_null() -> None:
    assert encode_reply({"rate": float("nan"), "left": float("inf")}) == b'{"parameters":{"rate":null,"left":null}}\0'


# --- errors

CLASSES = [class_ for name in errors.__all__ if issubclass(class_ := getattr(errors, name), OperationError)]
STANDARD = {
    errors.MethodNotFound: {"method": "a.B"},
    errors.InterfaceNotFound: {"interface": "a"},
    errors.InvalidParameter: {"parameter": "size"},
    errors.MethodNotImplemented: {"method": "a.B"},
    errors.ExpectedMore: {},
}


def sent(error: PollprogError) -> PollprogError:
    """What the far end gets of it."""
    reply = parse_reply(encode_error(*error_reply(error))[:-1])
    assert reply.error is not None
    return error_from(reply.error, reply.parameters)


@pytest.mark.parametrize("class_", [class_ for class_ in CLASSES if class_ not in STANDARD])
def test_an_error_of_ours_crosses_with_its_text_and_its_parameters(class_: type[PollprogError]) -> None:
    values = {
        "path": "/a",
        "offset": 5,
        "written": 2**40,
        "errno": "EIO",
        "job": "j",
        "exit": 3,
        "limit": 7,
        "source": "/b",
    }
    fitting = {name: value for name, value in values.items() if hasattr(class_, name)}
    name, parameters = error_reply(class_("it went wrong", **fitting))
    assert name == f"{OPERATIONS}.{class_.__name__}"
    assert parameters["message"] == "it went wrong"
    came = sent(class_("it went wrong", **fitting))
    assert type(came) is class_
    assert str(came) == "it went wrong"
    assert {name: getattr(came, name) for name in fitting} == fitting


@pytest.mark.parametrize(("class_", "parameters"), STANDARD.items())
def test_an_error_of_varlinks_crosses_as_varlink_has_it(
    class_: type[PollprogError], parameters: dict[str, str]
) -> None:
    name, told = error_reply(class_("a text that stays here", **parameters))
    assert name == f"{SERVICE}.{class_.__name__}"
    assert {key: value for key, value in told.items() if key != "message"} == parameters
    assert ("message" in told) == (class_ is errors.InvalidParameter)
    came = sent(class_("", **parameters))
    assert type(came) is class_
    assert {name: getattr(came, name) for name in parameters} == parameters
    assert all(value in str(came) for value in parameters.values())
    assert str(came)


def test_what_is_wrong_with_a_parameter_is_told_beside_its_name() -> None:
    came = sent(InvalidParameter("interval: from 0.1 to 86400 seconds", parameter="interval"))
    assert (str(came), came.parameter) == ("interval: from 0.1 to 86400 seconds", "interval")  # type: ignore[attr-defined] # of its class


def test_permission_denied_is_ours_and_is_known_as_varlinks_too() -> None:
    assert error_reply(errors.PermissionDenied("no", path="/a")) == (
        f"{OPERATIONS}.PermissionDenied",
        {"message": "no", "path": "/a"},
    )
    came = error_from(f"{SERVICE}.PermissionDenied", {})
    assert isinstance(came, errors.PermissionDenied)
    assert "permits" in str(came)


def test_an_error_that_stands_outside_of_the_operations_crosses_too() -> None:
    came = sent(errors.CommandNotFound("no such command: nosuch"))
    assert (type(came), str(came)) == (errors.CommandNotFound, "no such command: nosuch")


@pytest.mark.parametrize("class_", [errors.ConnectionLost, errors.Unreachable, errors.ProtocolError, errors.Busy])
def test_what_is_said_of_a_connection_is_not_taken_for_that_of_the_client(class_: type[PollprogError]) -> None:
    came = sent(class_("another daemon does not answer"))
    assert (type(came), str(came)) == (OperationError, "another daemon does not answer")
    assert isinstance(error_from(f"{OPERATIONS}.{class_.__name__}", {"message": "so there"}), ForeignError)


def test_a_class_that_the_far_end_cannot_know_crosses_as_its_base() -> None:
    class DiskOnFire(errors.NoSpace):
        colour: str = "red"

    came = sent(DiskOnFire("it burns", path="/a"))
    assert (type(came), str(came)) == (errors.NoSpace, "it burns")
    assert came.path == "/a"


def test_the_path_of_an_error_may_be_anything_that_names_a_file() -> None:
    came = sent(errors.NoSuchFile("no file /tmp/\udcff", path="/tmp/\udcff"))
    assert isinstance(came, errors.NoSuchFile)
    assert (came.path, str(came)) == ("/tmp/\ufffd", "no file /tmp/\ufffd")


@pytest.mark.parametrize(
    "parameters",
    [
        {"path": 5, "offset": "here", "written": 1.5, "errno": None, "message": ["x"]},
        {"path": ["/"], "offset": True, "written": {}, "errno": 0, "message": None},
        {},
    ],
)
def test_what_a_stranger_says_of_an_error_counts_only_if_it_fits(parameters: dict[str, object]) -> None:
    came = error_from(f"{OPERATIONS}.OperationFailed", parameters)
    assert isinstance(came, errors.OperationFailed)
    assert (came.path, came.offset, came.written, came.errno) == ("", 0, 0, "")
    assert str(came) == "the service answered with OperationFailed"


def test_a_stranger_sets_no_other_attribute() -> None:
    came = error_from(
        f"{OPERATIONS}.NoSuchJob", {"job": "j", "exit_status": 0, "args": [], "__class__": "x", "path": "/a"}
    )
    assert vars(came) == {"job": "j"}
    assert came.exit_status == 1


@pytest.mark.parametrize(
    "name",
    [
        "org.example.Burnt",
        f"{OPERATIONS}.Unheard",
        f"{OPERATIONS}.MethodNotFound",
        f"{SERVICE}.NoSuchJob",
        f"{SERVICE}.ExpectedUpgrade",
        f"{OPERATIONS}.BaseException",
        "NoSuchJob",
        "",
    ],
)
def test_an_unknown_error_is_named(name: str) -> None:
    came = error_from(name, {"message": "too\nhot", "job": 1})
    assert isinstance(came, ForeignError)
    assert isinstance(came, OperationError)
    assert name in str(came)
    assert "too\ufffdhot" in str(came)
    assert (came.name, came.parameters) == (name, {"message": "too\nhot", "job": 1})


def test_an_error_of_another_interface_crosses_as_it_is() -> None:
    error = ForeignError(name="org.example.Burnt", parameters={"heat": 451})
    assert encode_error(*error_reply(error)) == b'{"error":"org.example.Burnt","parameters":{"heat":451}}\0'


def test_the_text_of_a_strangers_error_is_one_line_for_a_terminal() -> None:
    came = error_from(f"{OPERATIONS}.NoSuchJob", {"message": "\x1b]0;owned\x07\nrm -rf /" + "x" * 10_000})
    assert str(came).isprintable()
    assert len(str(came)) <= 2000


def test_parameters_of_an_error_that_cannot_be_read_are_none() -> None:
    came = error_from(f"{OPERATIONS}.NoSuchJob", Raw(b'{"job":' + b"[" * 200_000))
    assert isinstance(came, errors.NoSuchJob)
    assert came.job == ""


def test_a_reply_of_raw_json_is_passed_on_as_it_is() -> None:
    assert encode_reply(Raw(b'{"a":1}'), continues=True) == b'{"parameters":{"a":1},"continues":true}\0'
    assert encode_reply(None, continues=True) == b'{"continues":true}\0'
    assert encode_reply(msgspec.defstruct("Nothing", [])()) == b"{}\0"
