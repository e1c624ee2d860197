"""What a probe is, what a tool is, and what both are given; said for plugins by `pollprog.probes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pollprog.launch import Command, Filter
    from pollprog.process import Process, ProcessTree
    from pollprog.status import Sample

__all__ = ["STATUS", "Hears", "Probe", "Surveys", "Target", "Tool"]

STATUS = 3
"""The stream by which a probe hears what its program writes to its status descriptor, whatever the number of that."""


class Probe(Protocol):
    """One way of telling how far something is. If it has a `name`, the log calls it by that."""

    def sample(self) -> Sample | None:
        """Look once, quickly. None: nothing to say yet."""

    def close(self) -> None:
        """Give back what is held. Called once, after the last `sample`, from any thread; a survey may yet take one step."""


@runtime_checkable
class Hears(Protocol):
    """A probe that is told what the program prints, on the streams that its tool claimed, and on its status descriptor."""

    def feed(self, stream: int, record: bytes) -> None:
        """One record: what stood between two separators (newline, carriage return, backspace), without them.

        Never called while `sample` runs.
        """


@runtime_checkable
class Surveys(Protocol):
    """A probe that has to walk a tree to learn its total, which takes longer than one look may."""

    def survey(self) -> Iterator[int] | None:
        """A walk that is wanted now, or None. Asked for after a look while no walk of this probe is under way.

        It is stepped in a thread beside the looks, to its end or until the probe is dropped, so it yields often: the total
        so far. What it finds it stores in the probe, whose next sample has it.
        """


class Target:
    """What is measured: a process that a tool recognised, and the tree that it stands in."""

    __slots__ = ("claims", "ends", "launched", "process", "signals", "total", "tree")

    def __init__(
        self,
        tree: ProcessTree,
        process: Process,
        *,
        total: int | None = None,
        launched: bool,
        signals: bool = False,
        claims: Mapping[int, Filter] | None = None,
        ends: Mapping[int, int] | None = None,
    ) -> None:
        self.tree = tree
        self.process = process
        """The process that was recognised; the root of `tree`, or below it."""
        self.total = total
        """What the user said the work amounts to, or None."""
        self.launched = launched
        """Whether we started it: False for what was attached to."""
        self.signals = signals
        """Whether the user named the probe, and with it allowed what the probe sends."""
        self.claims = dict(claims or {})
        """The filter of each stream of the command that is heard before it is passed on."""
        self.ends = dict(ends or {})
        """The reading end of each of those streams."""


class Tool(Protocol):
    """A plugin that knows one program."""

    name: str

    def recognise(self, command: Command) -> bool:
        """Whether this is the program, whatever it is started by."""

    def prepare(self, command: Command) -> Command:
        """What to launch instead: the tool's own flags, a claimed stream. Changes nothing that the user gets."""

    def probe(self, target: Target) -> Probe:
        """How to measure it."""
