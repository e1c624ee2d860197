"""Work that no process of ours stands for: the kernel's, on an array or a file system, or a server's. It is named KIND:NAME, as in
``md:md0``.

A `Kind` is a file of its own beside the tools, and opens what is under way there: nothing that is idle is watched. Each of these is a
probe like any other, and it is the one who knows when its work is over, and sometimes how that ended. Where it cannot know, the
outcome is lost. What is opened here is waited for, up to `PATIENCE`; a look later on waits for nobody.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from pollprog.errors import ProcessError
from pollprog.probes.trust import close
from pollprog.tools import check_resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.status import Outcome, Sample

__all__ = ["PATIENCE", "Kind", "Resource", "kind_of", "one_resource", "open_resources"]

PATIENCE = 10.0
"""Seconds within which a program or a server that is asked for the first time has to answer."""


class Resource(Protocol):
    """One piece of work, as a probe (`pollprog.probes.Probe`)."""

    name: str
    """What it is called beside its bar."""
    job: str
    """What it is called where it needs a name without blanks, as md-md0."""
    outcome: Outcome | None
    """How it ended, once a look has found that it has; None while it goes on."""

    def sample(self) -> Sample | None:
        """Look once, quickly. None: nothing new."""

    def close(self) -> None:
        """Give back what is held."""


class Kind:
    """What may stand before the colon. Subclasses say how it is looked at; `attached` and the like are for the docs' table."""

    name = ""
    argument = ""
    """What stands behind the colon, in a word."""
    attached = ""
    totals = ""
    wrong = ""

    def open(self, argument: str) -> Sequence[Resource]:
        """What is under way there, one at least. UsageError for what cannot be meant, ProcessError for what cannot be watched."""
        raise NotImplementedError


def kind_of(word: str) -> Kind:
    """The kind of a resource. UsageError, with what to type instead, if there is none."""
    kind: Kind = importlib.import_module(f"pollprog.probes.{check_resource(word)}").RESOURCE
    return kind


def open_resources(words: Sequence[str]) -> tuple[list[Resource], list[str]]:
    """All that is under way at these resources, and a line for each that cannot be watched. UsageError if one is no resource."""
    kinds = [kind_of(word) for word in words]
    opened: list[Resource] = []
    refused: list[str] = []
    try:
        for word, kind in zip(words, kinds, strict=True):
            try:
                opened += kind.open(word.partition(":")[2])
            except ProcessError as error:
                refused.append(str(error))
    except BaseException:
        for one in opened:
            close(one)
        raise
    return opened, refused


def one_resource(word: str) -> Resource:
    """The one piece of work that is under way there. ProcessError if there are several, besides what `Kind.open` raises."""
    opened = kind_of(word).open(word.partition(":")[2])
    if len(opened) == 1:
        return opened[0]
    for one in opened:
        close(one)
    names = ", ".join(one.name for one in opened)
    raise ProcessError(f"{word}: several are under way, and one can be watched: {names}")
