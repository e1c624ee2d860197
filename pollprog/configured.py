"""Operations that users declare in the configuration: a command, with placeholders for what a caller may choose.

A placeholder fills one argument, or a part of one, and nothing goes through a shell. Where it begins an argument, what fills it
must not begin with ``-``: so it can never become an option.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from pollprog.errors import ConfigurationError, InvalidParameter, UsageError
from pollprog.messages import Int
from pollprog.operations import FIELD, NAME, OURS, Operation, Parameter, build
from pollprog.sizes import parse_total
from pollprog.work import running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pollprog.config import Configuration, Configured

__all__ = ["Ran", "operations_of"]

PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
TYPES: dict[str, tuple[Any, str]] = {
    "path": (str, "path"),
    "string": (str, "string"),
    "integer": (Int, "integer"),
    "size": (Int, "integer"),
}


class Ran(Struct, frozen=True):
    """A command that has ended well."""

    output: str
    """The last of what it printed."""


def operations_of(configuration: Configuration) -> list[Operation]:
    """The operations that the configuration declares. ConfigurationError, which names the line."""
    return [
        declared(name, table, lambda where, what: configuration.wrong(where, f"{where}: {what}"))
        for name, table in configuration.operations.items()
    ]


def declared(name: str, table: Configured, wrong: Callable[[str, str], ConfigurationError]) -> Operation:
    """One of them."""
    where = f"operations.{name}"
    if not NAME.fullmatch(name):
        raise wrong(where, "the name of an operation begins with a capital, and has letters and digits only")
    parameters: dict[str, Parameter] = {}
    for key, texts in (("argv", table.argv), ("probe", [table.probe or ""]), ("total", [table.total or ""])):
        for text in texts:
            for word, kind in placeholders(text, f"{where}.{key}", wrong):
                if word not in parameters or kind:
                    if word in parameters and key != "argv":
                        raise wrong(f"{where}.{key}", f"{{{word}}} has its type in argv")
                    parameters[word] = parameter(word, kind, table, f"{where}.{key}", wrong)
    if table.argv[0].startswith("{") or not table.argv[0]:
        raise wrong(f"{where}.argv", "the program itself cannot be chosen by the caller")
    for key, given in (("help", table.help), ("defaults", table.defaults)):
        for word in given.keys() - parameters.keys():
            raise wrong(f"{where}.{key}.{word}", f"argv has no {{{word}}}")
    if table.directory is not None and not table.directory.startswith("/"):
        raise wrong(f"{where}.directory", "has to be absolute")

    async def run(**arguments: object) -> Ran:
        work = running()
        values = {word: str(value) for word, value in arguments.items()}
        printed = await work.command(
            [filled(text, values) for text in table.argv],
            directory=table.directory,
            environment={**work.environment, **table.environment},
            probe=filled(table.probe, values) if table.probe else None,
            total=total_of(filled(table.total, values)) if table.total else None,
        )
        return Ran(printed)

    return build(
        name=name,
        doc=table.description or f"Run {table.argv[0]}.",
        parameters=tuple(parameters.values()),
        result=Ran,
        progress=True,
        function=run,
        origin="configuration",
    )


def placeholders(text: str, where: str, wrong: Callable[[str, str], ConfigurationError]) -> list[tuple[str, str]]:
    """Name and type of each placeholder in a text; no type where it says none."""
    found = []
    for part in PART.finditer(text):
        if part[0] in ("{", "}"):
            raise wrong(where, f"{text!r} has a single brace; {{{{ and }}}} stand for braces")
        if part[1] is not None:
            name, _, kind = part[1].partition(":")
            if not FIELD.fullmatch(name) or name in OURS:
                raise wrong(where, f"{part[0]} is no placeholder: write {{name:type}}, as in {{source:path}}")
            found.append((name, kind))
    return found


def parameter(
    name: str, kind: str, table: Configured, where: str, wrong: Callable[[str, str], ConfigurationError]
) -> Parameter:
    """The parameter that a placeholder stands for."""
    if "|" in kind:
        words = tuple(kind.split("|"))
        if any(not re.fullmatch(r"[A-Za-z0-9](_?[A-Za-z0-9])*", word) for word in words):
            raise wrong(where, f"{{{name}:{kind}}}: what may be chosen are words of letters and digits")
        type_, sort = Literal[words], "choice"
    elif kind in TYPES:
        type_, sort = TYPES[kind]
    else:
        raise wrong(where, f"{{{name}:{kind}}}: a type is one of {', '.join(TYPES)}, or a choice as in 1|6|9")
    default = table.defaults.get(name)
    if default is not None:
        fits = isinstance(default, int) if sort == "integer" else isinstance(default, str)
        if (
            not fits
            or (sort == "choice" and default not in words)
            or (sort == "path" and not str(default).startswith("/"))
        ):
            raise wrong(f"{where.rpartition('.')[0]}.defaults.{name}", f"{default!r} does not fit {{{name}:{kind}}}")
    return Parameter(name, type_, sort, table.help.get(name, ""), default is None, default)


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders filled. Raises InvalidParameter for what would become an option."""

    def fill(part: re.Match[str]) -> str:
        if part[1] is None:
            return part[0][0]
        name = part[1].partition(":")[0]
        value = values[name]
        if "\0" in value:
            raise InvalidParameter(f"{name}: no argument has a NUL byte in it", parameter=name)
        if part.start() == 0 and value.startswith("-"):
            raise InvalidParameter(f"{name}: {value!r} begins with -, and would be taken for an option", parameter=name)
        return value

    return PART.sub(fill, text)


def total_of(text: str) -> int | str:
    """What a total says, once it is filled."""
    try:
        return parse_total(text)
    except UsageError as error:
        raise InvalidParameter(f"total: {error}", parameter="total") from error
