"""What a word may become that is begun: operations, their parameters, jobs, files. For the shell, and for bash."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from pollprog.asking import find
from pollprog.errors import PollprogError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pollprog.errands import Asker
    from pollprog.messages import OperationMessage

__all__ = ["candidates", "typed"]


def typed(words: Sequence[str]) -> list[str]:
    """What the last word of a command line may become, the name of the program not among the words: for a shell's completion.

    A daemon that cannot be asked without a question to the user has nothing to offer.
    """
    from pollprog.arguments import positionals
    from pollprog.errands import asker_of

    try:
        connect, before = positionals(words)
        asker = asker_of(connect)
        operations = trio.run(asker.operations) if before[0] in ("call", "submit") else []
    except PollprogError:
        return []
    return candidates(asker, operations, before, words[-1])


def candidates(asker: Asker, operations: Iterable[OperationMessage], before: Sequence[str], text: str) -> list[str]:
    """What may stand behind these words of a line of the shell, and begins with `text`; with a space behind it where it is whole."""
    if len(before) == 1 and before[0] in ("help", "?", "call", "submit"):
        return [f"{one.name} " for one in operations if one.name.lower().startswith(text.lower())]
    words = before[1:] if before[0] in ("call", "submit") else before
    if words[0] in ("show", "watch", "cancel", "pause", "resume"):
        with suppress(PollprogError):
            return [f"{job.id} " for job in trio.run(asker.jobs) if job.id.startswith(text)]
        return []
    if words[0] == "cd":
        return [word for word in paths(text) if word.endswith("/")]
    try:
        operation = find(operations, words[0])
    except UsageError:
        return []
    key, equals, value = text.partition("=")
    if not equals:
        return [f"{parameter.name}=" for parameter in operation.parameters if parameter.name.startswith(text)]
    parameter = next((parameter for parameter in operation.parameters if parameter.name == key), None)
    if parameter is None:
        return []
    if parameter.kind == "path":
        return [f"{key}={path}" for path in paths(value)]
    choices = parameter.choices or (["true", "false"] if parameter.kind == "boolean" else [])
    return [f"{key}={choice} " for choice in choices if choice.startswith(value)]


def paths(text: str) -> list[str]:
    """The files whose names begin so, quoted where a shell would."""
    folder, name = os.path.split(text)
    try:
        entries = sorted(os.scandir(os.path.expanduser(folder) or "."), key=lambda entry: entry.name)
    except OSError:
        return []
    return [
        re.sub(r"([\s'\"\\#])", r"\\\1", os.path.join(folder, entry.name)) + ("/" if entry.is_dir() else "")
        for entry in entries
        if entry.name.startswith(name) and (name.startswith(".") or not entry.name.startswith("."))
    ]
