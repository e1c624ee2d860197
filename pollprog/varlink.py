"""Varlink as UAPI.20 has it: bytes in, messages out, and back.

A message is a JSON object and a NUL byte. A call names a method; the service answers calls in their order, each with one reply,
or, to a call with ``more``, with replies that say ``continues`` and one that does not. An error is a reply too, and the last one.

Nothing here reads or writes. What comes in is hostile until it has been through `parse_call` or `parse_reply`, and its parameters
through `decode` or `decode_reply`. The rules:

1. A header that nobody can answer raises ProtocolError, and the connection has to be closed: no JSON object, no UTF-8, members
   that are unknown and no vendor's, two of the three flags. Parameters that are wrong are an error reply, InvalidParameter.
2. Parameters that are absent, null and ``{}`` are the same, and written as absent. Of two members with one name the last counts;
   so what is passed on to somebody else is encoded anew, and never forwarded as it came.
3. Integers are 64 bits wide, with a sign. The structs of parameters say `Int` for them: msgspec by itself takes any size.
4. An error never continues.
5. An error of ours crosses as its class's name, with its text as `message` and its annotated attributes. Those that Varlink itself
   defines cross as Varlink has them, without a text; only InvalidParameter has one, for what is wrong is not in its name.
"""

from __future__ import annotations

import re
import typing
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from pollprog import errors
from pollprog.errors import InvalidParameter, OperationError, PollprogError, ProtocolError, visible

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LIMIT",
    "OPERATIONS",
    "SERVICE",
    "Call",
    "ForeignError",
    "Framer",
    "Int",
    "Parameters",
    "Reply",
    "decode",
    "decode_reply",
    "encode_call",
    "encode_error",
    "encode_reply",
    "error_from",
    "error_reply",
    "parse_call",
    "parse_reply",
]

T = TypeVar("T")

LIMIT = 1 << 20
"""Bytes that a message may have, its NUL among them."""
SERVICE = "org.varlink.service"
"""The interface that every Varlink service has, and to which the errors of Varlink itself belong."""
OPERATIONS = "org.pollprog.operations"
"""Our interface, to which our errors belong."""

Int = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer in the parameters of a method: 64 bits wide, with a sign."""
Parameters: TypeAlias = "Struct | Mapping[str, object] | Raw | None"
"""What can be sent as parameters: anything that becomes a JSON object."""

_NONE = Raw(b"{}")
_OBJECT = ord("{")
_SURROGATES = re.compile("[\ud800-\udfff]")
"""What Python makes of the bytes of a file name that are no UTF-8."""
_SHOWN = 100
"""Characters of a stranger's word that an error of ours repeats."""


class Framer:
    """Cuts a stream of bytes into messages, none of which may have more than `limit` bytes, its NUL included.

    Take what is whole before there is more to `feed`: then it never holds more than `limit` bytes and what it was fed last.
    """

    __slots__ = ("_limit", "_searched", "unread")

    def __init__(self, limit: int = LIMIT) -> None:
        self.unread = bytearray()
        """What it holds."""
        self._limit = limit
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        self.unread += data

    def next(self) -> bytes | None:
        """The next message without its NUL; None if it is not whole yet. ProtocolError if it is too long."""
        unread = self.unread
        end = unread.find(0, self._searched)
        if end < 0:
            self._searched = len(unread)
            if self._searched >= self._limit:
                raise self._too_long()
            return None
        if end >= self._limit:
            raise self._too_long()
        message = bytes(unread[:end])
        del unread[: end + 1]
        self._searched = 0
        return message

    def _too_long(self) -> ProtocolError:
        return ProtocolError(f"a message of more than {self._limit} bytes")


# --- calls


class Call(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks for."""

    method: str
    """The whole name: interface, dot, method."""
    parameters: Raw = _NONE
    """A JSON object, not looked into yet."""
    more: bool = False
    """Whether replies that say `continues` are welcome."""
    oneway: bool = False
    """Whether no reply is."""
    upgrade: bool = False
    """Whether the connection is to become something else than Varlink."""


class Reply(Struct, frozen=True, forbid_unknown_fields=True):
    """What a service answers."""

    parameters: Raw = _NONE
    """A JSON object, not looked into yet."""
    continues: bool = False
    """Whether another reply to the same call follows."""
    error: str | None = None
    """The whole name of the error, if it is one."""


_Message = TypeVar("_Message", Call, Reply)

_CALLS, _REPLIES = msgspec.json.Decoder(Call), msgspec.json.Decoder(Reply)


def parse_call(message: bytes) -> Call:
    """What a message of a client says. ProtocolError if nobody could answer it."""
    call = _parse(message, _CALLS)
    if call.more + call.oneway + call.upgrade > 1:
        raise ProtocolError("a call with two flags that exclude each other")
    return call


def parse_reply(message: bytes) -> Reply:
    """What a message of a service says. ProtocolError if that is no reply."""
    reply = _parse(message, _REPLIES)
    if reply.continues and reply.error is not None:
        raise ProtocolError("an error that says that it continues")
    return reply


def _parse(message: bytes, decoder: msgspec.json.Decoder[_Message]) -> _Message:
    try:
        if not message.isascii():
            message.decode()  # msgspec looks into strings only when it reads them, and parameters are read later
        try:
            header = decoder.decode(message)
        except msgspec.ValidationError:
            header = _parse_generously(message, decoder)
        if memoryview(header.parameters)[0] != _OBJECT:
            header = _parse_generously(message, decoder)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not a Varlink {decoder.type.__name__.lower()}: {_printable(str(error))}") from error
    return header


def _parse_generously(message: bytes, decoder: msgspec.json.Decoder[_Message]) -> _Message:
    """As `_parse`, for a header with what is seldom there and means nothing: nulls, and members of vendors (with a dot)."""
    members = _decoder(dict[str, Raw]).decode(message)
    known = {name: value for name, value in members.items() if "." not in name and bytes(value) != b"null"}
    header = decoder.decode(msgspec.json.encode(known))
    if memoryview(header.parameters)[0] != _OBJECT:
        raise ValueError("parameters that are no object")
    return header


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def _decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    """Made once for each type: that takes longer than to read a message."""
    decoder = _decoders.get(type_)
    if decoder is None:
        decoder = _decoders[type_] = msgspec.json.Decoder(type_)
    return decoder


# --- parameters

_WORDS = {
    "array": "an array",
    "bool": "true or false",
    "float": "a number",
    "int": "an integer",
    "null": "null",
    "object": "an object",
    "str": "a string",
}
_MISSING = re.compile(r"Object missing required field `(?P<name>.*?)`", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_PLACE = re.compile(r"(?P<said>.*) - at (?P<key>`key` in )?`\$\.?(?P<path>[^`]*)`", re.DOTALL)


def decode(parameters: Raw | bytes, type_: type[T]) -> T:
    """The parameters of a call, as a struct that says `forbid_unknown_fields`, and `Int` for each integer.

    InvalidParameter if they are not what it says; its `parameter` is the path to the culprit, as in ``probes[0].kind``.
    """
    try:
        return _decoder(type_).decode(parameters)
    except msgspec.ValidationError as error:
        name, text = _explain(str(error))
        raise InvalidParameter(text, parameter=name) from error
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"the parameters cannot be read: {_printable(str(error))}", parameter="") from error


def decode_reply(reply: Reply, type_: type[T]) -> T:
    """The parameters of a reply, as a struct, which lets fields pass that it does not know. ProtocolError if it does not fit."""
    try:
        return _decoder(type_).decode(reply.parameters)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the answer is not what was expected: {_explain(str(error))[1]}") from error
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the answer cannot be read: {_printable(str(error))}") from error


def _explain(said: str) -> tuple[str, str]:
    """The name of the parameter that msgspec complains of, and the complaint in words."""
    place = _PLACE.fullmatch(said)
    path, key = (place["path"], place["key"]) if place else ("", None)
    said = place["said"] if place else said
    for pattern, text in (_MISSING, "parameter {} is missing"), (_UNKNOWN, "there is no parameter {}"):
        if match := pattern.fullmatch(said):
            name = _printable(f"{path}.{match['name']}" if path else match["name"])
            return name, text.format(name)
    path = path.removesuffix("[...]").replace("[...]", "[]")
    said = re.sub(r"`([^`]+)`", lambda match: _in_words(match[1]), _printable(said))
    said = said[:1].lower() + said[1:]
    name = _printable(path)
    return name, f"parameter {name}: {'a key of it: ' if key else ''}{said}" if name else f"the parameters: {said}"


def _in_words(types: str) -> str:
    return " or ".join(_WORDS.get(name, name) for name in types.split(" | "))


def _printable(text: str, shown: int = _SHOWN) -> str:
    """A stranger's words, fit for one line of a terminal or of a log."""
    text = visible(text[: shown + 1])
    return text if len(text) <= shown else text[: shown - 1] + "…"


# --- encoding


def encode_reply(parameters: Parameters, *, continues: bool = False) -> bytes:
    """A reply, NUL and all."""
    body = _body(parameters)
    if not body:
        return b'{"continues":true}\0' if continues else b"{}\0"
    return b'{"parameters":%b%b}\0' % (body, b',"continues":true' if continues else b"")


def encode_error(name: str, parameters: Parameters = None) -> bytes:
    """A reply that says what went wrong. It is the last one to its call."""
    body = _body(parameters)
    return b'{"error":%b%b}\0' % (msgspec.json.encode(name), b',"parameters":' + body if body else b"")


def encode_call(method: str, parameters: Parameters = None, *, more: bool = False, oneway: bool = False) -> bytes:
    """A call, NUL and all. ValueError for one with both flags, which nobody could answer."""
    if more and oneway:
        raise ValueError("a call that wants no reply wants no more of them either")
    body = _body(parameters)
    flag = b',"more":true' if more else b',"oneway":true' if oneway else b""
    return b'{"method":%b%b%b}\0' % (msgspec.json.encode(method), b',"parameters":' + body if body else b"", flag)


def _body(parameters: Parameters) -> bytes:
    """The JSON object, or nothing for one that has no members."""
    if parameters is None:
        return b""
    try:
        body = msgspec.json.encode(parameters)
    except UnicodeEncodeError:
        body = msgspec.json.encode(_sendable(msgspec.to_builtins(parameters)))
    return b"" if body == b"{}" else body


# --- errors


class ForeignError(OperationError):
    """An error of an interface that is not ours: raised by a handler it crosses as it is, and as it came a client gets it."""

    name: str = ""
    """The whole name: interface, dot, error."""
    parameters: dict[str, object]
    """What it says beside its name; a stranger's, and not looked into."""

    def __init__(self, message: str = "", *, name: str, parameters: Mapping[str, object] | None = None) -> None:
        super().__init__(message or f"the service answered with the error {_printable(name)}", name=name)
        self.parameters = dict(parameters or {})


_STANDARD: dict[type[PollprogError], tuple[str, str]] = {
    errors.MethodNotFound: ("method", "there is no method {}"),
    errors.InterfaceNotFound: ("interface", "there is no interface {}"),
    errors.MethodNotImplemented: ("method", "{} cannot be called here"),
    errors.InvalidParameter: ("parameter", "parameter {} is missing, unknown, or not what it has to be"),
    errors.ExpectedMore: ("", "the method answers with several messages, and has to be called so"),
    errors.PermissionDenied: ("", "the service permits this to somebody else only"),
}
"""The errors that Varlink defines: the one parameter that each has, if any, and what a client is told."""
_LOCAL = (errors.Busy, errors.ProtocolError, errors.Unreachable)
"""What is said of a handle or a connection; at the far end it would be taken for its own."""
_BY_NAME: dict[str, type[PollprogError]] = {
    name: class_
    for name in errors.__all__
    if issubclass(class_ := getattr(errors, name), PollprogError) and not issubclass(class_, _LOCAL)
}


def error_reply(error: PollprogError) -> tuple[str, dict[str, object]]:
    """The name under which an error crosses, and its parameters. A class that the other side cannot know crosses as its base."""
    if isinstance(error, ForeignError):
        return error.name, {str(name): _sendable(value) for name, value in error.parameters.items()}
    known = (class_ for class_ in type(error).__mro__ if _BY_NAME.get(class_.__name__) is class_)
    class_ = OperationError if isinstance(error, _LOCAL) else next(known)
    if class_ in _STANDARD and class_ is not errors.PermissionDenied:
        field = _STANDARD[class_][0]
        told = {field: _sendable(getattr(error, field))} if field else {}
        if class_ is errors.InvalidParameter:  # others ignore what stands beside the parameters that Varlink defines
            told["message"] = _sendable(str(error))
        return f"{SERVICE}.{class_.__name__}", told
    values = {name: _sendable(getattr(error, name)) for name in _fields(class_.__name__)}
    given = {name: value for name, value in values.items() if value is not None}
    return f"{OPERATIONS}.{class_.__name__}", {"message": _sendable(str(error)), **given}


def error_from(name: str, parameters: Raw | Mapping[str, object]) -> PollprogError:
    """The error that a reply tells. What is not of its type is left at its default; an unknown name is a ForeignError."""
    given = _members(parameters) if isinstance(parameters, Raw) else parameters
    interface, _, short = name.rpartition(".")
    class_ = _BY_NAME.get(short)
    said = given.get("message")
    message = _printable(said, 2000) if isinstance(said, str) else ""
    if interface == SERVICE and class_ in _STANDARD:
        field, text = _STANDARD[class_]
        value = given.get(field)
        value = value if isinstance(value, str) else ""
        return class_(message or text.format(_printable(value)), **({field: value} if field else {}))
    if interface == OPERATIONS and class_ is not None and class_ not in _STANDARD.keys() - {errors.PermissionDenied}:
        fitting = {field: given[field] for field, type_ in _fields(short).items() if _fits(given.get(field), type_)}
        return class_(message or f"the service answered with {short}", **fitting)
    text = f"the service answered with the error {_printable(name)}"
    return ForeignError(f"{text}: {message}" if message else text, name=name, parameters=given)


@cache
def _fields(name: str) -> dict[str, type]:
    """The parameters of the error of ours that has this name."""
    return typing.get_type_hints(_BY_NAME[name])


def _members(parameters: Raw) -> dict[str, object]:
    try:
        members: dict[str, object] = msgspec.json.decode(parameters)
    except (ValueError, RecursionError):
        return {}
    return members


def _fits(value: object, type_: type) -> bool:
    if value is None:
        return False
    try:
        msgspec.convert(value, type_)
    except ValueError:
        return False
    return True


def _sendable(value: object) -> object:
    """What JSON can say of it: a file name that is no UTF-8 loses the bytes that are not."""
    if isinstance(value, dict):
        return {_sendable(name): _sendable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_sendable(member) for member in value]
    if value is None or isinstance(value, int | float):
        return value
    return _SURROGATES.sub("\ufffd", str(value))
