"""An interface in words, made from its declarations: the description in Varlink's grammar, and the page of the reference.

In an interface types, methods and errors have one set of names; `names_of` says which ones an operation's result brings. What the
grammar cannot say of a choice (words such as ``sha-256``, or a single one) is a string there, and its words stand in the comment.
"""

from __future__ import annotations

import json
import re
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pollprog.errors import PollprogError
    from pollprog.operations import Operation

__all__ = ["FIELD", "NAME", "Described", "description", "names_of", "reference", "type_text"]

NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
"""What a method, a type or an error may be called."""
FIELD = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")
"""What a parameter, a field or a word of a choice may be called."""
PLAIN = {
    str: "string",
    int: "int",
    float: "float",
    bool: "bool",
    object: "object",
    msgspec.Raw: "object",
    Any: "object",
}
MORE = {"may": "# [Supports 'more' flag]", "must": "# [Requires 'more' flag]"}
"""As systemd writes them."""


@dataclass(frozen=True, slots=True)
class Described:
    """One method of an interface, as far as its description goes."""

    name: str
    doc: str
    parameters: type[msgspec.Struct] | None
    reply: type[msgspec.Struct] | None
    more: str = "no"
    """Whether it answers with several messages: no, may, must."""
    docs: dict[str, str] | None = None
    """By parameter, where the struct does not say it itself."""


# --- types


def type_text(hint: Any) -> str:
    """A type in Varlink's grammar. TypeError for one that it does not have."""
    if hasattr(hint, "__metadata__"):
        return type_text(hint.__origin__)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [part for part in parts if part is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"{hint}: Varlink has no unions")
        text = type_text(inner[0])
        return text if text.startswith("?") else f"?{text}"
    if origin is Literal and all(isinstance(word, str) for word in parts):
        return f"({', '.join(parts)})" if len(parts) > 1 and all(map(FIELD.fullmatch, parts)) else "string"
    if origin is list:
        return f"[]{type_text(parts[0])}"
    if origin is dict and parts[0] is str:
        return f"[string]{type_text(parts[1])}"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return type_name(hint)
    try:
        return PLAIN[hint]
    except (KeyError, TypeError):
        raise TypeError(f"{hint!r} has no type in Varlink") from None


def type_name(struct: type[msgspec.Struct]) -> str:
    """What a struct is called on the wire. TypeError for one that cannot be there."""
    name = struct.__name__.removesuffix("Message") or struct.__name__
    if not NAME.fullmatch(name) or struct.__struct_config__.array_like:
        raise TypeError(f"{struct.__name__} cannot be a type in Varlink: it has to be an object, named like CopiedFile")
    return name


def fields_of(struct: type[msgspec.Struct] | None, docs: dict[str, str] | None = None) -> list[tuple[str, str, str]]:
    """Name, type and meaning of each field. One that may be left out has a type with ``?``."""
    if struct is None:
        return []
    hints = typing.get_type_hints(struct, include_extras=True)
    found = []
    for field in msgspec.structs.fields(struct):
        hint, name = hints[field.name], field.encode_name
        if not FIELD.fullmatch(name):
            raise TypeError(f"{struct.__name__}.{name} cannot be a field in Varlink: letters, digits and single _ can")
        text = type_text(hint)
        doc = " ".join(filter(None, [(docs or {}).get(field.name) or doc_of(hint), unsaid(hint)]))
        found.append((name, text if field.required or text.startswith("?") else f"?{text}", doc))
    return found


def doc_of(hint: Any) -> str:
    """What an annotation says in words: ``Annotated[int, "Bytes."]``, or the same ``| None``."""
    for word in getattr(hint, "__metadata__", ()):
        if isinstance(word, str):
            return word
    return next(filter(None, map(doc_of, optional(hint))), "")


def optional(hint: Any) -> tuple[Any, ...]:
    """What an annotation is a choice between; nothing for a plain one."""
    if hasattr(hint, "__metadata__"):
        return optional(hint.__origin__)
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else ()


def unsaid(hint: Any) -> str:
    """The words of a choice that the grammar makes a string."""
    if hasattr(hint, "__metadata__"):
        return unsaid(hint.__origin__)
    words = typing.get_args(hint)
    if typing.get_origin(hint) is not Literal:
        return next(filter(None, map(unsaid, optional(hint))), "")
    return "" if type_text(hint) != "string" else f"One of {', '.join(map(json.dumps, words))}."


def structs_in(hint: Any, seen: frozenset[Any] = frozenset()) -> list[type[msgspec.Struct]]:
    """The structs that a type is made of, innermost first."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        if hint in seen:
            return []
        inner = typing.get_type_hints(hint, include_extras=True).values()
        return [*(part for sub in inner for part in structs_in(sub, seen | {hint})), hint]
    if hasattr(hint, "__metadata__"):
        return structs_in(hint.__origin__, seen)
    return [part for sub in typing.get_args(hint) for part in structs_in(sub, seen)]


def names_of(hint: Any) -> dict[str, type[msgspec.Struct]]:
    """The types that a result brings into the interface. TypeError if it cannot be said in Varlink."""
    type_text(hint)
    found: dict[str, type[msgspec.Struct]] = {}
    for struct in structs_in(hint):
        fields_of(struct)
        if found.setdefault(type_name(struct), struct) is not struct:
            raise TypeError(f"two types are called {type_name(struct)}")
    return found


# --- the description


def comment(text: str, indent: str = "") -> list[str]:
    """Text as comment lines. None of them is one of the marks that tell which methods answer with several messages."""
    lines = [f"{indent}# {''.join(filter(str.isprintable, line))}".rstrip() for line in text.strip().splitlines()]
    return [line for line in lines if line.strip() not in MORE.values()]


def block(fields: Sequence[tuple[str, str, str]]) -> str:
    """The fields of a struct, a line each."""
    if not fields:
        return "()"
    lines = []
    for at, (name, kind, doc) in enumerate(fields):
        lines += comment(doc, "  ")
        lines.append(f"  {name}: {kind}{',' if at + 1 < len(fields) else ''}")
    return "(\n" + "\n".join(lines) + "\n)"


def description(interface: str, doc: str, methods: Iterable[Described], raised: Iterable[type[PollprogError]]) -> str:
    """The interface description, as ``GetInterfaceDescription`` returns it."""
    methods = list(methods)
    named: dict[str, type[msgspec.Struct]] = {}
    for method in methods:
        for top in (method.parameters, method.reply):
            for struct in structs_in(top)[:-1] if top else ():
                named[type_name(struct)] = struct
    parts = ["\n".join([*comment(doc), f"interface {interface}"])]
    for name, struct in named.items():
        parts.append("\n".join([*comment(struct_doc(struct)), f"type {name} {block(fields_of(struct))}"]))
    for method in methods:
        head = [*comment(method.doc), *([MORE[method.more]] if method.more in MORE else [])]
        arguments = block(fields_of(method.parameters, method.docs))
        answer = ", ".join(f"{field}: {kind}" for field, kind, _ in fields_of(method.reply))
        parts.append("\n".join([*head, f"method {method.name}{arguments} -> ({answer})"]))
    for error in raised:
        fields = ["message: string", *(f"{name}: {kind}" for name, kind in error_fields(error))]
        parts.append("\n".join([*comment(error.__doc__ or ""), f"error {error.__name__} ({', '.join(fields)})"]))
    return "\n\n".join(parts) + "\n"


def struct_doc(struct: type[msgspec.Struct]) -> str:
    """What a struct says of itself; nothing where it only inherits what msgspec says."""
    return struct.__dict__.get("__doc__") or ""


def error_fields(error: type[PollprogError]) -> list[tuple[str, str]]:
    """Name and type of each parameter of an error, beside its message."""
    return [(name, type_text(hint)) for name, hint in typing.get_type_hints(error).items()]


# --- the reference


def reference(operations: Iterable[Operation], raised: Iterable[type[PollprogError]] = ()) -> str:
    """The page of the reference: every operation, and what they may answer instead, in Markdown."""
    parts = []
    for one in operations:
        marked = "Reports how far it is." if one.progress else "Reports no progress."
        lines = [f"## {one.name}", "", one.doc, "", marked]
        if one.parameters:
            lines += ["", "| parameter | takes | meaning |", "|---|---|---|"]
        for parameter in one.parameters:
            takes = " or ".join(f"`{word}`" for word in parameter.choices) if parameter.choices else parameter.kind
            default = "" if parameter.required else f"(default {default_text(parameter.default)})"
            lines.append(row(f"`{parameter.name}`", takes, f"{parameter.doc} {default}"))
        if one.result is not None:
            lines += ["", result_text(one.result)]
        parts.append("\n".join(lines))
    errors = [row(f"`{error.__name__}`", first_line(error), parameters_text(error)) for error in raised]
    if errors:
        table = ["## Errors", "", "| error | meaning | parameters beside `message` |", "|---|---|---|", *errors]
        parts.append("\n".join(table))
    return "\n\n".join(parts) + "\n"


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def first_line(error: type[PollprogError]) -> str:
    """What an error means."""
    return (error.__doc__ or "").strip().partition("\n")[0]


def parameters_text(error: type[PollprogError]) -> str:
    """The parameters of an error, in words."""
    return ", ".join(f"`{name}` ({kind.replace('?', '')})" for name, kind in error_fields(error))


def default_text(value: object) -> str:
    """A default as somebody would type it."""
    if value is None:
        return "none"
    plain = isinstance(value, str) and value.isprintable() and value.strip() == value != ""
    return f"`{value if plain else json.dumps(value)}`"


def result_text(hint: Any) -> str:
    """What an operation returns, in words."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "Returns:\n\n" + "\n".join(
            f"- `{name}` ({kind}){': ' if doc else ''}{doc}" for name, kind, doc in fields_of(hint)
        )
    return f"Returns `{type_text(hint)}`."
