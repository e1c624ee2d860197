"""What can be asked for: declarations of operations, each with its parameters, its result, and whether it reports progress.

A declaration is a function with annotations. Its name in CamelCase is the operation's, its docstring what the operation does,
``Annotated[type, "text"]`` what a parameter means; what has a default may be left out. From it come the interface description,
the reference page, the help and the completion, and the checks before a call: there is no second place to keep in step.

What a parameter may be: str, int, float, bool, `pathlib.Path` (absolute), ``list[str]``, ``dict[str, str]``, a ``Literal`` of
words, or one of these ``| None``. A result may be one of these too, or a msgspec Struct, or None.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from pollprog.errors import InvalidParameter, PathNotAbsolute
from pollprog.messages import Int, OperationMessage, ParameterMessage, StatusMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import trio

    from pollprog.work import Work

__all__ = ["Operation", "Parameter", "declare", "operation"]

KINDS = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "path"}
NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
FIELD = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")
OURS = {"job", "interval"}
"""Parameters that every operation has."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation."""

    name: str
    type: Any
    """As msgspec decodes it, strictly."""
    kind: str
    """What it takes: path, string, integer, number, boolean, strings, map, choice."""
    doc: str = ""
    required: bool = True
    default: object = None

    @property
    def choices(self) -> list[str] | None:
        """What may be chosen from, for a choice."""
        return [str(word) for word in typing.get_args(bare(self.type))] if self.kind == "choice" else None


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for."""

    name: str
    doc: str
    parameters: tuple[Parameter, ...]
    result: Any
    """The type of what it returns; None for nothing."""
    progress: bool
    """Whether it reports how far it is, where the work lasts long enough."""
    function: Callable[..., Any]
    struct: type[msgspec.Struct]
    """Its parameters as they come over the wire, and those that every operation has."""
    reply: type[msgspec.Struct]
    origin: str = "pollprog"
    observes: bool = False
    """It only watches what is not ours to stop or pause."""

    def arguments(self, given: msgspec.Struct) -> dict[str, Any]:
        """What the function is called with. Raises PathNotAbsolute, InvalidParameter."""
        values = {}
        for parameter in self.parameters:
            value = getattr(given, parameter.name)
            if parameter.kind == "path" and value is not None:
                value = checked_path(parameter.name, value)
            values[parameter.name] = value
        return values

    async def run(self, work: Work, arguments: Mapping[str, Any], within: trio.CapacityLimiter) -> Any:
        """Do it; what it returns."""
        call = partial(self.function, **arguments)
        if inspect.iscoroutinefunction(self.function):
            return await work.run_async(call)
        return await work.run(call, within=within)

    def title(self, arguments: Mapping[str, Any]) -> str:
        """What this call does, in a line."""
        words = []
        for parameter in self.parameters:
            value = arguments[parameter.name]
            if value is None or value == parameter.default or parameter.kind == "map":
                continue  # an environment is nobody else's business
            text = " ".join(value) if parameter.kind == "strings" else str(value)
            words.append(text if parameter.required else f"{parameter.name}={text}")
        return " ".join([self.name, *words])[:500]

    def described(self) -> OperationMessage:
        """The declaration, for who wants to help with a call."""
        from pollprog.describing import type_text

        return OperationMessage(
            name=self.name,
            doc=self.doc,
            progress=self.progress,
            parameters=[
                ParameterMessage(
                    name=parameter.name,
                    kind=parameter.kind,
                    type=type_text(parameter.type),
                    doc=parameter.doc,
                    required=parameter.required,
                    default=None
                    if parameter.required or parameter.default is None
                    else msgspec.json.encode(parameter.default).decode(),
                    choices=parameter.choices,
                )
                for parameter in self.parameters
            ],
            origin=self.origin,
        )


def operation(
    function: Callable[..., Any] | None = None, *, progress: bool = True, name: str | None = None
) -> Callable[..., Any]:
    """Declare a function as an operation; as in ``@operation`` or ``@operation(progress=False)``.

    `progress`: it says how far it is, by `notify_progress`, where it lasts long enough. `name`: its name on the wire, if not the
    function's own in CamelCase. The function stays what it was.
    """

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__pollprog__ = declare(function, progress=progress, name=name)  # type: ignore[attr-defined] # which is how it is found
        return function

    return mark if function is None else mark(function)


def declare(function: Callable[..., Any], *, progress: bool = True, name: str | None = None, **rest: Any) -> Operation:
    """The operation that a function declares. TypeError for what no operation can have."""
    wire_name = name or "".join(word[:1].upper() + word[1:] for word in function.__name__.split("_"))
    if not NAME.fullmatch(wire_name):
        raise TypeError(f"{wire_name!r} cannot be the name of an operation: it has to be like CopyFile")
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = tuple(
        parameter_of(wire_name, part, hints.get(part.name, str))
        for part in inspect.signature(function).parameters.values()
    )
    result = hints.get("return", type(None))
    return build(
        name=wire_name,
        doc=inspect.getdoc(function) or wire_name,
        parameters=parameters,
        result=None if result in (None, type(None)) else result,
        progress=progress,
        function=function,
        **rest,
    )


def build(*, name: str, parameters: tuple[Parameter, ...], result: Any, **rest: Any) -> Operation:
    """An operation with the structs that go with its parameters and its result."""
    fields: list[Any] = [
        (parameter.name, parameter.type) if parameter.required else (parameter.name, parameter.type, parameter.default)
        for parameter in parameters
    ]
    fields.sort(key=len)
    fields += [
        ("job", Annotated[str | None, "Name that you pick for the job, so that others can follow or cancel it."], None),
        ("interval", Annotated[float | None, "Seconds between two statuses; 0.1 at least."], None),
    ]
    struct = msgspec.defstruct(f"{name}Parameters", fields, frozen=True, forbid_unknown_fields=True)
    answer: list[Any] = [("status", StatusMessage | None, None)]
    if result is not None:
        answer.append(("result", result | None, None))
    reply = msgspec.defstruct(f"{name}Reply", answer, frozen=True, omit_defaults=True)
    return Operation(name=name, parameters=parameters, result=result, struct=struct, reply=reply, **rest)


def parameter_of(operation: str, part: inspect.Parameter, hint: Any) -> Parameter:
    """One parameter, as its function declares it."""
    where = f"{operation}: parameter {part.name}"
    if part.kind not in (part.POSITIONAL_OR_KEYWORD, part.KEYWORD_ONLY):
        raise TypeError(f"{where}: an operation has named parameters only")
    if part.name in OURS or not FIELD.fullmatch(part.name):
        raise TypeError(f"{where}: choose another name; every operation has {' and '.join(sorted(OURS))} already")
    doc = next((word for word in getattr(hint, "__metadata__", ()) if isinstance(word, str)), "")
    kind = kind_of(bare(hint))
    if kind is None:
        raise TypeError(f"{where}: {bare(hint)!r} cannot cross the wire")
    required = part.default is part.empty
    return Parameter(part.name, wire_type(hint), kind, doc, required, None if required else part.default)


def bare(hint: Any) -> Any:
    """The type itself, without documentation and ``| None``."""
    if hasattr(hint, "__metadata__"):
        return bare(hint.__origin__)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        return bare(parts[0]) if len(parts) == 1 else hint
    return hint


def kind_of(hint: Any) -> str | None:
    """What a parameter of this type takes; None if no parameter can have it."""
    if hint == list[str]:
        return "strings"
    if hint == dict[str, str]:
        return "map"
    if typing.get_origin(hint) is Literal and all(isinstance(word, str) for word in typing.get_args(hint)):
        return "choice"
    return KINDS.get(hint) if isinstance(hint, type) else None


def wire_type(hint: Any) -> Any:
    """The type that msgspec decodes: a path is a string there, and an integer one that everybody can hold."""
    inner = bare(hint)
    plain = {Path: str, int: Int}.get(inner, inner)
    optional = inner is not hint and type(None) in typing.get_args(
        hint.__origin__ if hasattr(hint, "__metadata__") else hint
    )
    return plain | None if optional else plain


def checked_path(name: str, text: str) -> Path:
    """An absolute path."""
    if not text.startswith("/"):
        raise PathNotAbsolute(f"{name}: {text!r} is not absolute: begin with /", path=text)
    if "\0" in text:
        raise InvalidParameter(f"{name}: a path has no NUL byte in it", parameter=name)
    return Path(text)
