"""Serves org.varlink.certification, to which clients and services of all languages are held, on our wire code.

    python tests/certification.py unix:/path/of/a/socket

A client calls Start, Test01 to Test11 and End, and gives each call what the one before returned. The service refuses whatever
differs from what it has to be.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import trio

from pollprog.serving import Interface, Method, Service
from pollprog.varlink import ForeignError, Int

if TYPE_CHECKING:
    from pollprog.serving import Request

NAME = "org.varlink.certification"
REPLIES = 10
"""How many replies Test10 has."""

DESCRIPTION = """\
# Every call takes what the one before it returned: Start, Test01 to Test11, End.
interface org.varlink.certification

type Interface (
  foo: ?[]?[string](foo, bar, baz),
  anon: (foo: bool, bar: bool)
)

type MyType (
  object: object,
  enum: (one, two, three),
  struct: (first: int, second: string),
  array: []string,
  dictionary: [string]string,
  stringset: [string](),
  nullable: ?string,
  nullable_array_struct: ?[](first: int, second: string),
  interface: Interface
)

method Start() -> (client_id: string)

method Test01(client_id: string) -> (bool: bool)

method Test02(client_id: string, bool: bool) -> (int: int)

method Test03(client_id: string, int: int) -> (float: float)

method Test04(client_id: string, float: float) -> (string: string)

method Test05(client_id: string, string: string) -> (bool: bool, int: int, float: float, string: string)

method Test06(client_id: string, bool: bool, int: int, float: float, string: string)
  -> (struct: (bool: bool, int: int, float: float, string: string))

method Test07(client_id: string, struct: (bool: bool, int: int, float: float, string: string)) -> (map: [string]string)

method Test08(client_id: string, map: [string]string) -> (set: [string]())

method Test09(client_id: string, set: [string]()) -> (mytype: MyType)

# Answers with several messages.
# [Requires 'more' flag]
method Test10(client_id: string, mytype: MyType) -> (string: string)

# Has to be called with 'oneway'.
method Test11(client_id: string, last_more_replies: []string) -> ()

method End(client_id: string) -> (all_ok: bool)

# There is no such client.
error ClientIdError ()

error CertificationError (wants: object, got: object)
"""


def struct(name: str, **fields: Any) -> type[msgspec.Struct]:
    """A struct whose fields may be called bool, int and float."""
    return msgspec.defstruct(name, list(fields.items()), forbid_unknown_fields=True, frozen=True)


Nothing = struct("Nothing")
Pair = struct("Pair", first=Int, second=str)
Four = struct("Four", bool=bool, int=Int, float=float, string=str)
Anonymous = struct("Anonymous", foo=bool, bar=bool)
Inner = msgspec.defstruct(
    "Inner",
    [("anon", Anonymous), ("foo", list[dict[str, Literal["foo", "bar", "baz"]] | None] | None, None)],
    forbid_unknown_fields=True,
)
MyType = msgspec.defstruct(
    "MyType",
    [
        ("object", dict[str, object]),
        ("enum", Literal["one", "two", "three"]),
        ("struct", Pair),
        ("array", list[str]),
        ("dictionary", dict[str, str]),
        ("stringset", dict[str, Nothing]),
        ("interface", Inner),
        ("nullable", str | None, None),
        ("nullable_array_struct", list[Pair] | None, None),
    ],
    forbid_unknown_fields=True,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One method: the types of what it takes beside the client's id, and what it returns."""

    name: str
    takes: dict[str, Any]
    returns: dict[str, Any]
    more: Literal["no", "must"] = "no"


FOUR = {"bool": False, "int": 2, "float": math.pi, "string": "a lot of string"}
STRINGS = {"one": {}, "two": {}, "three": {}}
MAP = {"foo": "Foo", "bar": "Bar"}
MYTYPE = {
    "object": {"method": f"{NAME}.Test09", "parameters": {"map": MAP}},
    "enum": "two",
    "struct": {"first": 1, "second": "2"},
    "array": list(STRINGS),
    "dictionary": MAP,
    "stringset": STRINGS,
    "interface": {
        "foo": [None, {"foo": "foo", "bar": "bar"}, None, {"one": "foo", "two": "bar"}],
        "anon": {"foo": True, "bar": False},
    },
}

STEPS = (
    Step("Test01", {}, {"bool": True}),
    Step("Test02", {"bool": bool}, {"int": 1}),
    Step("Test03", {"int": Int}, {"float": 1.0}),
    Step("Test04", {"float": float}, {"string": "ping"}),
    Step("Test05", {"string": str}, FOUR),
    Step("Test06", {"bool": bool, "int": Int, "float": float, "string": str}, {"struct": FOUR}),
    Step("Test07", {"struct": Four}, {"map": MAP}),
    Step("Test08", {"map": dict[str, str]}, {"set": STRINGS}),
    Step("Test09", {"set": dict[str, Nothing]}, {"mytype": MYTYPE}),
    Step(
        "Test10",
        {"mytype": MyType},
        {"last_more_replies": [f"Reply number {number}" for number in range(1, REPLIES + 1)]},
        more="must",
    ),
    Step("Test11", {"last_more_replies": list[str]}, {}),
    Step("End", {}, {"all_ok": True}),
)


class Certification:
    """How far each client has come."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def interface(self) -> Interface:
        """What is served."""
        steps = (
            Method(step.name, partial(self.step, number), struct(step.name, client_id=str, **step.takes), step.more)
            for number, step in enumerate(STEPS)
        )
        return Interface(NAME, DESCRIPTION, (Method("Start", self.start), *steps))

    async def start(self, _: Request[Any]) -> dict[str, object]:
        """A new client."""
        client_id = secrets.token_hex(16)
        self._next[client_id] = 0
        return {"client_id": client_id}

    async def step(self, number: int, request: Request[Any]) -> dict[str, object]:
        """One call: right in its turn and in what it brings, or refused."""
        got = {name: value for name, value in msgspec.to_builtins(request.parameters).items() if name != "client_id"}
        client_id = request.parameters.client_id
        expected = self._next.pop(client_id, None)
        if expected is None:
            raise ForeignError(name=f"{NAME}.ClientIdError")
        step, before = STEPS[number], STEPS[number - 1].returns if number else {}
        wants = before if step.takes else {}
        if number != expected or without_nulls(got) != wants:
            parameters = {
                "wants": {"method": f"{NAME}.{STEPS[expected].name}", "parameters": {"client_id": client_id, **wants}},
                "got": {"method": request.method, "parameters": {"client_id": client_id, **got}},
            }
            raise ForeignError(name=f"{NAME}.CertificationError", parameters=parameters)
        if step.name != "End":
            self._next[client_id] = number + 1
        if step.more == "no":
            return step.returns
        *first, last = step.returns["last_more_replies"]
        for text in first:
            await request.send({"string": text})
        return {"string": last}


def without_nulls(value: Any) -> Any:
    """An object's members that are null are as good as absent."""
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    return value


def main(address: str) -> None:
    """Serve until killed."""
    path = address.removeprefix("unix:")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + path[1:] if path.startswith("@") else path)
        listener.listen()
        service = Service(
            [Certification().interface()],
            vendor="pollprog",
            product="certification",
            version="1",
            url="https://varlink.org",
        )
        print(f"listening at {address}, process {os.getpid()}", flush=True)
        trio.run(service.serve, [listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
