"""Operations that users declare in the configuration: a command, with placeholders for what a caller may choose.

A placeholder names a parameter and its type: ``{source:path}`` (absolute), ``{name:string}``, ``{count:integer}``, ``{size:size}``
(bytes, 0 or more), ``{level:1|6|9}`` (a choice). How they are filled is in `pollprog.placeholders`. Nothing goes through a shell, and no
caller chooses the program. `probe` and `total` may have placeholders too.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from pollprog.describing import NAME
from pollprog.errors import InvalidParameter, UsageError
from pollprog.messages import Int
from pollprog.operations import OURS, Operation, Parameter, build
from pollprog.placeholders import argument, chooses_option, filled, placeholders
from pollprog.sizes import parse_size, parse_total
from pollprog.tools import check
from pollprog.work import running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pollprog.config import Configuration, Configured
    from pollprog.errors import ConfigurationError

__all__ = ["Ran", "operations_of"]

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""What may be chosen."""
TYPES: dict[str, Any] = {"path": str, "string": str, "integer": Int, "size": Annotated[int, Meta(ge=0, le=2**63 - 1)]}


class Ran(Struct, frozen=True):
    """A command that has ended well."""

    output: Annotated[str, "The last of what it printed."]


def operations_of(configuration: Configuration) -> list[Operation]:
    """The operations that the configuration declares. ConfigurationError, which names the line."""
    return [declared(name, table, configuration) for name, table in configuration.operations.items()]


def declared(name: str, table: Configured, file: Configuration) -> Operation:
    """One of them."""
    parameters = Declaration(name, table, file).read()

    async def run(**arguments: object) -> Ran:
        work = running()
        values = {word: str(value) for word, value in arguments.items()}
        printed = await work.command(
            [argument(text, values) for text in table.argv],
            directory=table.directory,
            environment={**work.environment, **table.environment},
            probe=probe_of(table.probe, values),
            prepare=table.prepare,
            total=total_of(table.total, values),
        )
        return Ran(printed)

    return build(
        name=name,
        doc=table.description or f"Run {table.argv[0]}.",
        parameters=parameters,
        result=Ran,
        progress=True,
        function=run,
        origin="configuration",
    )


def probe_of(text: str | None, values: Mapping[str, str]) -> str | None:
    """The probe, once it is filled. InvalidParameter."""
    if text is None:
        return None
    probe = filled(text, values)
    try:
        check(probe)
    except UsageError as error:
        raise InvalidParameter(f"probe: {error}", parameter="probe") from error
    return probe


def total_of(text: str | None, values: Mapping[str, str]) -> int | str | None:
    """What the total says, once it is filled. InvalidParameter for what is no size.

    A file that cannot be measured, or is empty, gives no total: what is wrong with it the command says better.
    """
    if text is None:
        return None
    total = filled(text, values)
    try:
        return parse_total(total)
    except UsageError as error:
        if total.startswith("@"):
            return None
        raise InvalidParameter(f"total: {error}", parameter="total") from error


class Declaration:
    """One ``[operations.NAME]`` while it is checked. Each method raises ConfigurationError, which names the line."""

    def __init__(self, name: str, table: Configured, file: Configuration) -> None:
        self.name = name
        self.table = table
        self.file = file
        self.parameters: dict[str, Parameter] = {}

    def wrong(self, key: str, what: object) -> ConfigurationError:
        """The error for what stands under this key."""
        where = f"operations.{self.name}{'.' if key else ''}{key}"
        return self.file.wrong(where, f"{where}: {what}")

    def read(self) -> tuple[Parameter, ...]:
        """The parameters, in the order of their placeholders."""
        if not NAME.fullmatch(self.name):
            raise self.wrong("", "an operation's name begins with a capital, and has letters and digits only")
        for text in self.table.argv:
            self.read_text("argv", text)
        self.check_argv()
        self.read_text("probe", self.table.probe or "")
        self.read_text("total", self.table.total or "")
        self.check_measure()
        self.check_parameters()
        self.check_surroundings()
        return tuple(self.parameters.values())

    def read_text(self, key: str, text: str) -> None:
        """Take the placeholders of a text."""
        try:
            found = placeholders(text)
        except ValueError as error:
            raise self.wrong(key, error) from error
        for name, kind, _ in found:
            if name in OURS:
                raise self.wrong(key, f"{{{name}}}: every operation has {name} already; choose another name")
            if name not in self.parameters:
                if kind is None and self.parameters:
                    raise self.wrong(key, self.unknown(key, name))
                self.parameters[name] = self.parameter(key, name, kind or "")
            elif kind is not None:
                raise self.wrong(key, f"{{{name}:{kind}}}: its type stands where it comes first; write {{{name}}} here")

    def unknown(self, key: str, name: str) -> str:
        """What is wrong with a placeholder that stands for no other and has no type: it is mistyped, or new."""
        others = list(self.parameters)
        near = difflib.get_close_matches(name, others, 3) or others
        there = f"there is {' and '.join(f'{{{other}}}' for other in near)}"
        if key == "argv":
            return f"{{{name}}} has no type: write {{{name}:path}}, as it may be, where it is new; {there}"
        return f"argv has no {{{name}}}; {there}"

    def parameter(self, key: str, name: str, kind: str) -> Parameter:
        """The parameter that a placeholder stands for."""
        words = tuple(dict.fromkeys(kind.split("|")))
        if kind in TYPES:
            type_, sort = TYPES[kind], kind
        elif "|" in kind and all(map(WORD.fullmatch, words)):
            type_, sort = Literal[words], "choice"
        else:
            known = ", ".join(TYPES)
            raise self.wrong(
                key, f"{{{name}:{kind}}}: a type is {known}, or a choice of words, as in {{{name}:fast|best}}"
            )
        doc, given = self.table.help.get(name, ""), self.table.defaults.get(name)
        if given is None:
            return Parameter(name, type_, sort, doc, as_path=False)
        try:
            default = parse_size(given) if sort == "size" and isinstance(given, str) else given
            default = msgspec.convert(default, type_)
            if sort == "path" and not str(default).startswith("/"):
                raise UsageError("it has to be absolute")
        except (msgspec.ValidationError, UsageError) as error:
            what = str(error).replace("`", "")
            raise self.wrong(f"defaults.{name}", f"{given!r} does not fit {{{name}:{kind}}}: {what}") from error
        return Parameter(name, type_, sort, doc, required=False, default=default, as_path=False)

    def check_argv(self) -> None:
        """No caller chooses the program, or an option."""
        program, *others = self.table.argv
        if not program or placeholders(program):
            raise self.wrong("argv", "the program stands first, and cannot be chosen by the caller")
        for text in others:
            for placeholder in placeholders(text):
                if chooses_option(placeholder) and self.parameters[placeholder.name].kind == "string":
                    raise self.wrong(
                        "argv",
                        f"{text!r}: a string there would choose the option; let it fill an argument, or stand behind =",
                    )

    def check_measure(self) -> None:
        """What can be known of probe and total before anybody calls."""
        probe, total = self.table.probe, self.table.total
        any_ = {name: one.choices[0] if one.choices else "1" for name, one in self.parameters.items()}
        try:
            if probe is not None:
                check(filled(probe, any_))
        except UsageError as error:
            raise self.wrong("probe", error) from error
        try:
            if total is not None and not placeholders(total) and not total.startswith("@"):
                parse_size(filled(total, {}))
        except UsageError as error:
            raise self.wrong("total", error) from error
        if total is not None and total.startswith("@") and not total.startswith("@/"):
            first = next((one for one in placeholders(total) if one.before == "@"), None)
            if first is None or self.parameters[first.name].kind != "path":
                raise self.wrong("total", "what stands behind the @ has to be absolute, or a {name:path}")

    def check_parameters(self) -> None:
        """What is said of parameters is said of some that there are, and their defaults can be used."""
        for key, given in (("help", self.table.help), ("defaults", self.table.defaults)):
            for word in given:
                if word not in self.parameters:
                    raise self.wrong(f"{key}.{word}", f"there is no placeholder {{{word}}}")
        values = {name: str(one.default) for name, one in self.parameters.items() if not one.required}
        for text in self.table.argv:
            try:
                if values.keys() >= {one.name for one in placeholders(text)}:
                    argument(text, values)
            except InvalidParameter as error:
                raise self.wrong(f"defaults.{error.parameter}", error) from error

    def check_surroundings(self) -> None:
        """Directory and environment can be given to a command."""
        directory = self.table.directory
        if directory is not None and (not directory.startswith("/") or "\0" in directory):
            raise self.wrong("directory", "it has to be absolute")
        for name, value in self.table.environment.items():
            if not name or "=" in name or "\0" in name + value:
                raise self.wrong(f"environment.{name}", f"{name!r} cannot be a variable, or not with this value")
