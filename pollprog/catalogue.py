"""All that can be asked for here: our operations, those of the configuration, and those that other packages bring.

A package brings operations by an entry point of the group ``pollprog.operations`` that names a module; in it, each function that is
marked with ``@operation`` is one. A package that cannot be imported is named in the log and left out, and so is an operation
whose name is taken.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from pollprog import commands, native
from pollprog.configured import operations_of
from pollprog.operations import Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pollprog.config import Configuration

__all__ = ["catalogue", "ours"]

log = logging.getLogger("pollprog")

GROUP = "pollprog.operations"
RESERVED = {"List", "Get", "Follow", "Watch", "Cancel", "Pause", "Resume", "Submit", "Describe"}
"""What the daemon itself answers to."""


def ours() -> dict[str, Operation]:
    """The operations that come with pollprog, by name."""
    functions = (*native.OPERATIONS, *commands.OPERATIONS)
    return {function.__pollprog__.name: function.__pollprog__ for function in functions}  # type: ignore[attr-defined] # as the mark leaves it


def catalogue(configuration: Configuration) -> dict[str, Operation]:
    """Every operation, by name. ConfigurationError for one that cannot be."""
    found = ours()
    for one in operations_of(configuration):
        if one.name in found or one.name in RESERVED:
            where = f"operations.{one.name}"
            raise configuration.wrong(where, f"{where}: pollprog has that name already; choose another")
        found[one.name] = one
    for one in brought():
        if one.name in found or one.name in RESERVED:
            log.warning("the operation %s of %s is left out: its name is taken", one.name, one.origin)
        else:
            found[one.name] = one
    return found


def brought() -> Iterator[Operation]:
    """The operations of other packages."""
    for point in entry_points(group=GROUP):
        try:
            module = point.load()
            marked = [getattr(value, "__pollprog__", None) for value in vars(module).values()]
        except Exception as error:  # noqa: BLE001 # a stranger's module may raise anything; the others go on
            log.warning("the operations of %s are left out: %s: %s", point.name, type(error).__name__, error)
            continue
        for one in marked:
            if isinstance(one, Operation) and one.origin == "pollprog":
                yield replace(one, origin=point.name)
