"""All that can be asked for here: our operations, those of the configuration, and those that other packages bring.

A package brings operations by an entry point of the group ``pollprog.operations`` that names a module; in it, each function that is
marked with ``@operation`` is one. A package that cannot be imported is named in the log, in one line, and left out, and so is an
operation whose name is taken. In an interface operations, types and errors have one set of names, so a type may be taken too.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.metadata import distributions
from typing import TYPE_CHECKING

from pollprog import commands, errors, filesystems, images, native, resizing
from pollprog.configured import operations_of
from pollprog.describing import names_of
from pollprog.messages import JobMessage, OperationMessage
from pollprog.operations import Operation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

    from pollprog.config import Configuration

__all__ = ["catalogue", "ours"]

log = logging.getLogger("pollprog")

GROUP = "pollprog.operations"
METHODS = ("List", "Get", "Follow", "Watch", "Top", "Cancel", "Pause", "Resume", "Submit", "Describe")
"""What the daemon itself answers to."""


def ours() -> dict[str, Operation]:
    """The operations that come with pollprog, by name."""
    functions = (
        *native.OPERATIONS,
        *commands.OPERATIONS,
        *filesystems.OPERATIONS,
        *images.OPERATIONS,
        *resizing.OPERATIONS,
    )
    return {function.__pollprog__.name: function.__pollprog__ for function in functions}  # type: ignore[attr-defined] # as the mark leaves it


def catalogue(configuration: Configuration) -> dict[str, Operation]:
    """Every operation, by name. ConfigurationError for one that cannot be."""
    names = Names()
    found = ours()
    for one in found.values():
        assert names.claim(one) is None, one.name
    for one in operations_of(configuration):
        if names.claim(one):
            where = f"operations.{one.name}"
            raise configuration.wrong(where, f"{where}: pollprog has that name already; choose another")
        found[one.name] = one
    for one in brought():
        if taken := names.claim(one):
            log.warning("the operation %s of %s is left out: the name %s is taken", one.name, one.origin, taken)
        else:
            found[one.name] = one
    return found


class Names:
    """The names of an interface, and what each of them is."""

    def __init__(self) -> None:
        self._names: dict[str, object] = {
            **dict.fromkeys((*METHODS, *errors.__all__)),
            **names_of(JobMessage),
            **names_of(OperationMessage),
        }

    def claim(self, operation: Operation) -> str | None:
        """Take the names that an operation needs, if each is free, or is the same already; the first that is not."""
        wanted = [(operation.name, operation), *names_of(operation.result or int).items()]
        claimed = dict(self._names)
        for name, what in wanted:
            if claimed.setdefault(name, what) is not what:
                return name
        self._names = claimed
        return None


# --- other packages


def brought() -> Iterator[Operation]:
    """The operations of other packages, each once."""
    told = set(map(id, ours().values()))  # a package may import some of ours
    for package, point in points():
        try:
            module = point.load()
            marked = [getattr(value, "__pollprog__", None) for value in vars(module).values()]
        except (Exception, SystemExit) as error:  # noqa: BLE001 # a stranger's module may raise anything; the others go on
            leave_out(package, error)
            continue
        for one in marked:
            if isinstance(one, Operation) and id(one) not in told:
                told.add(id(one))
                yield replace(one, origin=package)


def points() -> Iterator[tuple[str, EntryPoint]]:
    """The entry points of our group, and the package that each is of; of two of one name the first on the path counts."""
    seen = set()
    for distribution in distributions():
        package = str(getattr(distribution, "_path", "a package"))
        try:
            package = distribution.name
            found = [point for point in distribution.entry_points if point.group == GROUP]
        except Exception as error:  # noqa: BLE001 # what says nothing readable of itself brings nothing
            leave_out(package, error)
            continue
        if package not in seen:
            seen.add(package)
            yield from ((package, point) for point in found)


def leave_out(package: str, error: BaseException) -> None:
    """Say why a package brings no operations."""
    try:
        what = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 # a stranger's exception
        what = ""
    log.warning("the operations of %s are left out: %s: %s", package, type(error).__name__, what[:500])
