"""What is typed for a call, made into its parameters, by what the operation declares of each.

``key=value`` is one parameter: a path may be relative, also behind the ``@`` of a total, a number a size as in ``4G``, a truth ``yes`` or ``no``. Said again, it is the
next word of a list; ``environment.LANG=C`` is one entry of a map; words behind ``--`` are the list. ``key:=JSON`` is taken as it is.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from typing import TYPE_CHECKING, Any

from pollprog.errors import UsageError
from pollprog.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pollprog.messages import OperationMessage, ParameterMessage

__all__ = ["as_typed", "find", "help_text", "parameters_of"]

TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
WORD = re.compile(r"(?P<key>[A-Za-z]\w*)(?:\.(?P<entry>[^=:]+))?(?P<how>:=|=)(?P<value>.*)", re.DOTALL)


def find(operations: Iterable[OperationMessage], name: str) -> OperationMessage:
    """The operation that somebody typed: ``CopyFile``, or ``copy-file``. UsageError, with what it may have meant."""
    known = {plain(one.name): one for one in operations}
    found = known.get(plain(name.rpartition(".")[2]))
    if found is None:
        near = [known[word].name for word in difflib.get_close_matches(plain(name), known, 3)]
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"there are {', '.join(sorted(o.name for o in known.values()))}"
        )
        raise UsageError(f"there is no operation {name!r}; {hint}")
    return found


def plain(name: str) -> str:
    """A name as it is compared."""
    return re.sub(r"[-_]", "", name).lower()


def parameters_of(
    operation: OperationMessage, words: Sequence[str], rest: Sequence[str] | None = None, *, directory: str | None
) -> dict[str, Any]:
    """The parameters that these words stand for; `rest` are those behind ``--``.

    `directory` is where relative paths begin; None: they mean nothing, for the files are on another machine. UsageError.
    """
    known = {parameter.name: parameter for parameter in operation.parameters}
    given: dict[str, Any] = {}
    for word in words:
        parts = WORD.fullmatch(word)
        if parts is None:
            last = words_behind(operation)
            behind = f", and {last.name} behind --" if last is not None else ""
            raise UsageError(f"{word!r} is no parameter: write name=value{behind}; {usage(operation)}")
        key, entry, value = parts["key"], parts["entry"], parts["value"]
        if key in ("job", "interval") and not entry:
            given[key] = value if key == "job" else number(key, value)
            continue
        parameter = known.get(key)
        if parameter is None:
            raise UsageError(f"{operation.name} has no parameter {key!r}; {usage(operation)}")
        if parts["how"] == ":=":
            given[key] = from_json(key, value)
        elif parameter.kind == "strings":
            given.setdefault(key, []).append(value)
        elif parameter.kind == "map":
            if not entry:
                raise UsageError(f"{key}: write {key}.NAME=value, or {key}:=JSON")
            given.setdefault(key, {})[entry] = value
        elif entry:
            raise UsageError(f"{key} has no parts: write {key}=value")
        elif key in given:
            raise UsageError(f"{key} is there twice")
        else:
            given[key] = converted(parameter, value, directory)
    if rest is not None:
        last = words_behind(operation)
        if last is None or last.name in given:
            raise UsageError(f"{operation.name} takes no words behind --; {usage(operation)}")
        given[last.name] = list(rest)
    missing = [
        parameter.name for parameter in operation.parameters if parameter.required and parameter.name not in given
    ]
    if missing:
        raise UsageError(f"{operation.name} needs {' and '.join(missing)}; {usage(operation)}")
    return given


def converted(parameter: ParameterMessage, value: str, directory: str | None) -> Any:
    """One value as its kind has it."""
    key = parameter.name
    match parameter.kind:
        case "path":
            if directory is None and not value.startswith("/"):
                raise UsageError(f"{key}: {value!r} is relative, and the files are on another machine: begin with /")
            if not value:
                raise UsageError(f"{key} is empty")
            # Joined and no more: a slash at the end means something to rsync, and .. behind a link is the kernel's to resolve.
            return os.path.join(directory, os.path.expanduser(value)) if directory else value
        case "integer" | "size":
            return integer(key, value, parameter.kind)
        case "string" if key == "total" and value.startswith("@") and directory:
            return f"@{os.path.join(directory, os.path.expanduser(value[1:]))}"
        case "number":
            return number(key, value)
        case "boolean":
            if value.lower() not in TRUTHS:
                raise UsageError(f"{key}: {value!r} is neither yes nor no")
            return TRUTHS[value.lower()]
        case "choice" if parameter.choices and value not in parameter.choices:
            raise UsageError(f"{key}: {value!r} is none of {', '.join(parameter.choices)}")
        case _:
            return value


def integer(key: str, value: str, kind: str) -> int:
    """A whole number, which may be written as a size."""
    if re.fullmatch(r"-?[0-9]{1,19}", value):
        return int(value)
    try:
        return parse_size(value)
    except UsageError as error:
        if kind == "integer":
            raise UsageError(f"{key}: {value!r} is not a number") from error
        raise UsageError(f"{key}: {error}") from error


def number(key: str, value: str) -> float:
    """Any number."""
    if not re.fullmatch(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)", value):
        raise UsageError(f"{key}: {value!r} is no number")
    return float(value)


def as_typed(said: str) -> str:
    """What an operation says of its parameters, in the words that are typed: its ```overwrite``` is ``overwrite=yes``."""
    return said.replace("`overwrite`", "overwrite=yes")


def from_json(key: str, value: str) -> Any:
    """A value that is written in JSON."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{key}: {value!r} is not JSON: {error}") from error


def words_behind(operation: OperationMessage) -> ParameterMessage | None:
    """The parameter that the words behind ``--`` are; None if there are none."""
    lists = [parameter for parameter in operation.parameters if parameter.kind == "strings"]
    return lists[0] if len(lists) == 1 else None


def usage(operation: OperationMessage) -> str:
    """How to call it, in a line."""
    last = words_behind(operation)
    words = [
        f"{parameter.name}=…" if parameter.required else f"[{parameter.name}=…]"
        for parameter in sorted(operation.parameters, key=lambda parameter: not parameter.required)
        if parameter is not last
    ]
    if last is not None:
        words.append(f"-- {last.name} …" if last.required else f"[-- {last.name} …]")
    return f"usage: {' '.join([operation.name, *words])}"


def help_text(operation: OperationMessage) -> str:
    """What an operation does, and what it takes."""
    lines = [operation.doc, "", usage(operation), ""]
    wide = max((len(parameter.name) for parameter in operation.parameters), default=0)
    for parameter in operation.parameters:
        takes = "|".join(parameter.choices) if parameter.choices else parameter.kind
        default = f" (default {parameter.default})" if parameter.default is not None else ""
        lines.append(f"  {parameter.name:{wide}}  {takes}: {parameter.doc}{default}".rstrip(": "))
    lines.append("" if operation.progress else "\nReports no progress.")
    return "\n".join(lines).strip()
