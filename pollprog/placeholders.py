"""Texts with placeholders, for what a caller may choose: ``{source:path}``, and ``{source}`` where it comes again.

``{{`` and ``}}`` stand for braces. The rules:

1. A placeholder fills one argument, or a part of one. Nothing is split, joined or expanded, and an empty string is an empty
   argument: so there are always as many arguments as are written down.
2. What fills a placeholder can never become an option: where nothing or only ``-`` stands before it, it must not begin with ``-``. Where
   the text itself begins with ``-``, as in ``-o{file:path}``, no string may stand, or it would choose the option; behind ``=`` it may.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pollprog.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Placeholder", "argument", "chooses_option", "filled", "placeholders"]

PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
NAMED = re.compile(r"([A-Za-z](?:_?[A-Za-z0-9])*)(?::(.*))?", re.DOTALL)
SHOWN = 200
"""Characters of a caller's word that an error repeats."""


class Placeholder(NamedTuple):
    """One placeholder in a text."""

    name: str
    kind: str | None
    """Its type, as written; None where it does not say one."""
    before: str
    """What stands before it in the text, as written."""


def placeholders(text: str) -> list[Placeholder]:
    """The placeholders of a text. ValueError if it cannot be read."""
    found = []
    if "\0" in text:
        raise ValueError("there is a NUL character in it")
    for part in PART.finditer(text):
        if part[0] in ("{", "}"):
            raise ValueError(f"{text!r} has a single brace; {{{{ and }}}} stand for braces")
        if part[1] is not None:
            named = NAMED.fullmatch(part[1])
            if named is None:
                raise ValueError(f"{part[0]!r} is no placeholder: write {{name:type}}, as in {{source:path}}")
            found.append(Placeholder(named[1], named[2], text[: part.start()]))
    return found


def chooses_option(placeholder: Placeholder) -> bool:
    """Whether a string there would choose an option, by rule 2."""
    return placeholder.before.startswith("-") and "=" not in placeholder.before


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders filled. InvalidParameter for what no argument can hold."""

    def fill(part: re.Match[str]) -> str:
        if part[1] is None:
            return part[0][0]
        name = part[1].partition(":")[0]
        if "\0" in values[name]:
            raise InvalidParameter(f"{name}: no argument has a NUL character in it", parameter=name)
        return values[name]

    return PART.sub(fill, text)


def argument(text: str, values: Mapping[str, str]) -> str:
    """The same for an argument of a command. InvalidParameter for what would become an option, too."""
    found, whole = placeholders(text), filled(text, values)
    if found:
        before = filled(found[0].before, values)
        if not before.strip("-") and whole.startswith("-", len(before)):
            name = next((one.name for one in found if values[one.name]), found[0].name)
            shown = values[name] if len(values[name]) <= SHOWN else f"{values[name][:SHOWN]}…"
            raise InvalidParameter(f"{name}: {shown!r} begins with -, and would be taken for an option", parameter=name)
    return whole
