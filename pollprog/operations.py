"""What can be asked for: declarations of operations, each with its parameters, its result, and whether it reports progress.

A declaration is a function with annotations. Its name in CamelCase is the operation's, its docstring what the operation does,
``Annotated[type, "text"]`` what a parameter means; what has a default may be left out. From it come the interface description,
the reference page, the help and the completion, and the checks before a call: there is no second place to keep in step.

What a parameter may be: str (also if nothing is said), int, float, bool, `pathlib.Path` (absolute), ``list[str]``,
``dict[str, str]``, a ``Literal`` of words, or one of these ``| None``. ``msgspec.Meta`` in the annotation gives limits. A result may
be one of these too, a msgspec Struct, a list or dict of Structs, or None. Whatever else is declared is a TypeError at once,
which names operation and parameter; whatever else is returned fails the job, and nobody else.
"""

from __future__ import annotations

import copy
import inspect
import os
import typing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pollprog.describing import FIELD, NAME, doc_of, names_of, optional, type_text
from pollprog.errors import InternalError, InvalidParameter, PathNotAbsolute, visible
from pollprog.messages import OperationMessage, ParameterMessage, StatusMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import trio

    from pollprog.work import Work

__all__ = ["Operation", "Parameter", "TypedPath", "build", "declare", "operation"]


class TypedPath(str):
    """A path as it was typed, of which a `Path` would not keep whether it ends with a slash: then it names a directory."""

    __slots__ = ()


KINDS = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "path", TypedPath: "path"}
OURS = {"job", "interval"}
"""Parameters that every operation has."""
LIMITS = ("ge", "gt", "le", "lt", "multiple_of", "pattern", "min_length", "max_length")
"""What of ``msgspec.Meta`` counts."""
BYTES = (bytes, bytearray, memoryview)
"""No text, though msgspec would make some of them."""
SHOWN = 200
"""Characters of a caller's word that an error repeats."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation."""

    name: str
    type: Any
    """As msgspec decodes it, strictly."""
    kind: str
    """What it takes: path, string, size, integer, number, boolean, strings, map, choice."""
    doc: str = ""
    required: bool = True
    default: Any = None
    """As it would come over the wire."""
    as_path: bool = True
    """A path is given to the function as a `Path`; else as it came, where ``a`` and ``a/`` differ."""

    @property
    def choices(self) -> list[str] | None:
        """What may be chosen from, for a choice."""
        return list(typing.get_args(bare(self.type))) if self.kind == "choice" else None


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for."""

    name: str
    doc: str
    parameters: tuple[Parameter, ...]
    result: Any
    """The type of what it returns, as it goes over the wire; None for nothing."""
    progress: bool
    """Whether it reports how far it is, where the work lasts long enough."""
    function: Callable[..., Any]
    struct: type[msgspec.Struct]
    """Its parameters as they come over the wire, and those that every operation has."""
    reply: type[msgspec.Struct]
    origin: str = "pollprog"
    """Whose it is: pollprog, the configuration, or the package that brought it."""

    def arguments(self, given: msgspec.Struct) -> dict[str, Any]:
        """What the function is called with. Raises PathNotAbsolute, InvalidParameter."""
        values = {}
        for parameter in self.parameters:
            value = getattr(given, parameter.name)
            if parameter.kind == "path" and value is not None:
                value = checked_path(parameter.name, value)
                value = Path(value) if parameter.as_path else value
            values[parameter.name] = value
        return values

    async def run(self, work: Work, arguments: Mapping[str, Any], within: trio.CapacityLimiter) -> Any:
        """Do it; what it returns, made sure to be what it declares. InternalError if it is not."""
        call = partial(self.function, **arguments)
        if inspect.iscoroutinefunction(self.function):
            returned = await work.run_async(call)
        else:
            returned = await work.run(call, within=within)
        if self.result is None:
            return None
        try:
            plain = msgspec.to_builtins(returned, builtin_types=BYTES, enc_hook=os.fspath)
            return msgspec.convert(plain, self.result | None)
        except (TypeError, ValueError, RecursionError) as error:
            raise InternalError(f"{self.name} failed: it returned something else than it declares: {error}") from error

    def title(self, arguments: Mapping[str, Any]) -> str:
        """What this call does, in a line."""
        words = []
        for parameter in self.parameters:
            value = arguments[parameter.name]
            if value is None or value == parameter.default or parameter.kind == "map":
                continue  # an environment is nobody else's business
            text = " ".join(value) if parameter.kind == "strings" else str(value)
            if isinstance(value, bool):
                text = text.lower()  # as it is typed
            words.append(text if parameter.required else f"{parameter.name}={text}")
        title = " ".join([self.name, *words])[:500]
        return visible(title)

    def described(self) -> OperationMessage:
        """The declaration, for who wants to help with a call."""
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


# --- declarations


def operation(
    function: Callable[..., Any] | None = None, *, progress: bool = True, name: str | None = None
) -> Callable[..., Any]:
    """Declare a function as an operation; as in ``@operation`` or ``@operation(progress=False)``.

    A plain function runs in a thread of its own, a coroutine function in trio. `progress`: it says how far it is, by
    `notify_progress`, where it lasts long enough. `name`: its name on the wire, if not the function's own in CamelCase. The function
    stays what it was. TypeError for what cannot cross the wire.
    """

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__pollprog__ = declare(function, progress=progress, name=name)  # type: ignore[attr-defined] # which is how it is found
        return function

    return mark if function is None else mark(function)


def declare(function: Callable[..., Any], *, progress: bool = True, name: str | None = None) -> Operation:
    """The operation that a function declares. TypeError for what no operation can have."""
    called = name or "".join(word[:1].upper() + word[1:] for word in function.__name__.split("_"))
    if not NAME.fullmatch(called):
        raise TypeError(f"{called!r} cannot be the name of an operation: it has to be like CopyFile")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{called}: a generator cannot be an operation; say notify_progress() instead of yield")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{called}: {error}, and annotations are read when the module is: import it for more than type checkers"
        ) from error
    parameters = tuple(
        parameter_of(called, part, hints.get(part.name, str))
        for part in inspect.signature(function).parameters.values()
    )
    return build(
        name=called,
        doc=inspect.getdoc(function) or called,
        parameters=parameters,
        result=result_of(called, hints.get("return")),
        progress=progress,
        function=function,
    )


def build(*, name: str, parameters: tuple[Parameter, ...], result: Any, progress: bool, **rest: Any) -> Operation:
    """An operation with the structs that go with its parameters and its result."""
    fields: list[Any] = [
        (parameter.name, parameter.type) if parameter.required else (parameter.name, parameter.type, default(parameter))
        for parameter in parameters
    ]
    fields += [
        ("job", Annotated[str | None, "Name that you pick for the job, so that others can follow or cancel it."], None),
        ("interval", Annotated[float | None, "Seconds between two statuses; 0.1 at least."], None),
    ]
    struct = msgspec.defstruct(f"{name}Parameters", fields, frozen=True, kw_only=True, forbid_unknown_fields=True)
    answer: list[Any] = [("status", StatusMessage | None, None)] if progress else []
    if result is not None:
        answer.append(("result", result | None, None))
    reply = msgspec.defstruct(f"{name}Reply", answer, frozen=True, omit_defaults=True)
    return Operation(
        name=name, parameters=parameters, result=result, progress=progress, struct=struct, reply=reply, **rest
    )


def default(parameter: Parameter) -> Any:
    """The default of a field: of a list, each has its own."""
    if isinstance(parameter.default, list | dict):
        return msgspec.field(default_factory=partial(copy.copy, parameter.default))
    return parameter.default


def parameter_of(operation: str, part: inspect.Parameter, hint: Any) -> Parameter:
    """One parameter, as its function declares it."""
    where = f"{operation}: parameter {part.name}"
    if part.kind not in (part.POSITIONAL_OR_KEYWORD, part.KEYWORD_ONLY):
        raise TypeError(f"{where}: an operation has named parameters only")
    if part.name in OURS:
        raise TypeError(f"{where}: choose another name; every operation has {' and '.join(sorted(OURS))} already")
    if not FIELD.fullmatch(part.name):
        raise TypeError(f"{where}: choose another name; letters, digits and single _ between them can cross the wire")
    kind = kind_of(bare(hint))
    if kind is None:
        raise TypeError(
            f"{where}: {inspect.formatannotation(bare(hint))} cannot cross the wire; str, int, float, bool, Path, list[str], "
            "dict[str, str] and a Literal of words can"
        )
    wire = wire_type(hint)
    try:
        msgspec.json.Decoder(wire)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from error
    if part.default is part.empty:
        return Parameter(part.name, wire, kind, doc_of(hint), as_path=bare(hint) is Path)
    given = str(part.default) if isinstance(part.default, Path) else part.default
    try:
        given = msgspec.convert(given, wire)
    except (msgspec.ValidationError, TypeError) as error:
        raise TypeError(f"{where}: its default {part.default!r} is not what it takes: {error}") from error
    if kind == "path" and given is not None and not given.startswith("/"):
        raise TypeError(f"{where}: its default {part.default!r} is not absolute")
    return Parameter(part.name, wire, kind, doc_of(hint), required=False, default=given, as_path=bare(hint) is Path)


def result_of(operation: str, hint: Any) -> Any:
    """The type of a result as it goes over the wire; None for nothing."""
    if hint in (None, type(None)):
        return None
    wire = wire_type(hint) if bare(hint) is Path or bare(hint) is int else hint
    try:
        names_of(wire)
        msgspec.json.Decoder(wire)
    except (TypeError, NameError) as error:
        raise TypeError(f"{operation}: its result cannot cross the wire: {error}") from error
    return wire


# --- types


def bare(hint: Any) -> Any:
    """The type itself, without documentation and ``| None``."""
    if hasattr(hint, "__metadata__"):
        return bare(hint.__origin__)
    parts = [part for part in optional(hint) if part is not type(None)]
    return bare(parts[0]) if len(parts) == 1 else hint


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
    plain = str if inner in (Path, TypedPath) else inner
    limits = limits_of(hint)
    if inner is int:
        limits = {
            **({} if "gt" in limits else {"ge": -(2**63)}),
            **({} if "lt" in limits else {"le": 2**63 - 1}),
            **limits,
        }
    if limits:
        plain = Annotated[plain, Meta(**limits)]
    return plain | None if type(None) in optional(hint) else plain


def limits_of(hint: Any) -> dict[str, Any]:
    """What ``msgspec.Meta`` says in an annotation about the values that may be."""
    found: dict[str, Any] = {}
    for part in (*getattr(hint, "__metadata__", ()), *optional(hint)):
        if isinstance(part, Meta):
            found |= {name: getattr(part, name) for name in LIMITS if getattr(part, name) is not None}
        else:
            found |= limits_of(part)
    return found


def checked_path(name: str, text: str) -> str:
    """An absolute path."""
    if not text.startswith("/"):
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
        raise PathNotAbsolute(f"{name}: {shown!r} is not absolute: begin with /", path=shown)
    if "\0" in text:
        raise InvalidParameter(f"{name}: a path has no NUL byte in it", parameter=name)
    return text
