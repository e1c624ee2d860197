"""An interface in words, made from its declarations: the description in Varlink's grammar, and the page of the reference."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pollprog.errors import PollprogError
    from pollprog.operations import Operation

__all__ = ["Described", "description", "reference", "type_text"]

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


def type_text(hint: Any) -> str:
    """A type in Varlink's grammar."""
    if hasattr(hint, "__metadata__"):
        return type_text(hint.__origin__)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [part for part in parts if part is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"{hint}: Varlink has no unions")
        return f"?{type_text(inner[0])}" if len(inner) < len(parts) else type_text(inner[0])
    if origin is Literal:
        return f"({', '.join(parts)})"
    if origin is list:
        return f"[]{type_text(parts[0])}"
    if origin is dict:
        return f"[string]{type_text(parts[1])}"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return type_name(hint)
    if hint not in PLAIN:
        raise TypeError(f"{hint!r} has no type in Varlink")
    return PLAIN[hint]


def type_name(struct: type[msgspec.Struct]) -> str:
    """What a struct is called on the wire."""
    return struct.__name__.removesuffix("Message")


def fields_of(struct: type[msgspec.Struct] | None, docs: dict[str, str] | None = None) -> list[tuple[str, str, str]]:
    """Name, type and meaning of each field, and whether it may be left out."""
    if struct is None:
        return []
    hints = typing.get_type_hints(struct, include_extras=True)
    found = []
    for field in msgspec.structs.fields(struct):
        hint = hints[field.name]
        doc = (docs or {}).get(field.name) or next(
            (word for word in getattr(hint, "__metadata__", ()) if isinstance(word, str)), ""
        )
        text = type_text(hint)
        if not field.required and not text.startswith("?"):
            text = f"?{text}"
        found.append((field.name, text, doc))
    return found


def structs_in(hint: Any) -> list[type[msgspec.Struct]]:
    """The structs that a type is made of, innermost first."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        inner = [part for sub in typing.get_type_hints(hint, include_extras=True).values() for part in structs_in(sub)]
        return [*inner, hint]
    if hasattr(hint, "__metadata__"):
        return structs_in(hint.__origin__)
    return [part for sub in typing.get_args(hint) for part in structs_in(sub)]


def comment(text: str, indent: str = "") -> list[str]:
    """Text as comment lines."""
    return [f"{indent}# {line}".rstrip() for line in text.strip().splitlines()] if text.strip() else []


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
        parts.append("\n".join([*comment(struct.__doc__ or ""), f"type {name} {block(fields_of(struct))}"]))
    for method in methods:
        head = [*comment(method.doc), *([MORE[method.more]] if method.more in MORE else [])]
        arguments = block(fields_of(method.parameters, method.docs))
        answer = ", ".join(f"{field}: {kind}" for field, kind, _ in fields_of(method.reply))
        parts.append("\n".join([*head, f"method {method.name}{arguments} -> ({answer})"]))
    for error in raised:
        hints = typing.get_type_hints(error)
        fields = ["message: string", *(f"{name}: {type_text(hint)}" for name, hint in hints.items())]
        parts.append("\n".join([*comment(error.__doc__ or ""), f"error {error.__name__} ({', '.join(fields)})"]))
    return "\n\n".join(parts) + "\n"


def reference(operations: Iterable[Operation]) -> str:
    """The page of the reference: every operation, in Markdown."""
    parts = []
    for one in operations:
        marked = "Reports how far it is." if one.progress else "Reports no progress."
        lines = [f"## {one.name}", "", one.doc, "", marked]
        if one.parameters:
            lines += ["", "| parameter | takes | meaning |", "|---|---|---|"]
        for parameter in one.parameters:
            takes = " or ".join(f"`{word}`" for word in parameter.choices) if parameter.choices else parameter.kind
            default = "" if parameter.required else f" (default {default_text(parameter.default)})"
            lines.append(f"| `{parameter.name}` | {takes} | {parameter.doc}{default} |")
        if one.result is not None:
            lines += ["", "Returns " + result_text(one.result)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def default_text(value: object) -> str:
    """A default as somebody would type it."""
    return "none" if value is None else f"`{value}`" if not isinstance(value, bool) else f"`{str(value).lower()}`"


def result_text(hint: Any) -> str:
    """What an operation returns, in words."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return ", ".join(f"`{name}` ({kind}): {doc.rstrip('.')}" for name, kind, doc in fields_of(hint)) + "."
    return f"a {type_text(hint)}."
