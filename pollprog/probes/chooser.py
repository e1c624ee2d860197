"""The best probe for a command, at each moment: what the user named, else a tool that knows a program in its tree, else evidence.

A tool found below a shell, sudo or a pipeline counts as much as one at the top, so the whole tree is looked at again each
second. A tool with a total comes before one without. A probe that raises, or says what no probe can mean, is left out from
then on, with one line in the log, and the next best takes over; what hangs is for the sampler to notice, which drops this
chooser, and the next one is told whom to leave out.
"""

from __future__ import annotations

import importlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog import tools
from pollprog.errors import PollprogError, UsageError
from pollprog.launch import Command
from pollprog.probes import Hears, Surveys, Target
from pollprog.probes.evidence import Evidence
from pollprog.probes.treesize import survey_tree
from pollprog.status import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pollprog.launch import Filter
    from pollprog.probes import Probe, Tool
    from pollprog.process import Process, ProcessTree

__all__ = ["Chooser", "make_probe"]

log = logging.getLogger("pollprog")

LOOK_AGAIN = 1.0
"""Seconds between two searches of the tree for a program that somebody knows."""

Identity = tuple[str, int, int, str]
"""Of one use of a tool: its name, and the pid, start and name of the process."""


class Chooser:
    """A probe that is, at each look, the best of those that fit.

    `total`: what the user typed after ``--total``: bytes, or a folder whose contents are the total. `named`: what the user
    typed after ``--probe``. `excluded`: the names of probes that are not to be tried (again).
    """

    def __init__(
        self,
        tree: ProcessTree,
        *,
        total: int | str | None = None,
        named: str | None = None,
        launched: bool,
        claims: Mapping[int, Filter] | None = None,
        ends: Mapping[int, int] | None = None,
        excluded: set[str] | None = None,
    ) -> None:
        self._tree = tree
        self._total = None if isinstance(total, str) else total
        self._folder = total if isinstance(total, str) else None
        self._named = named
        self._launched = launched
        self._claims = dict(claims or {})
        self._ends = dict(ends or {})
        self.excluded = set(excluded or ())
        self.at = ""
        """The name of the probe that is being looked at: whom to blame if this look does not return."""
        self._seen: dict[tuple[int, int, str], Tool | None] = {}
        self._tools: dict[Identity, Probe] = {}
        self._evidence: Evidence | None = None
        self._by_name: Probe | None = None
        self._looked = float("-inf")
        self._speaking: Probe | None = None
        self._stale = False
        """The probes that there are were made for another total."""

    # -- the probe contract

    def sample(self) -> Sample | None:
        """What the best of them says that has something to say."""
        sample = self._best()
        if sample is not None and self._total is not None and sample.current > self._total:
            log.warning("more is done than --total says (%d): there is no percentage any more", self._total)
            self._given(None)
            sample = replace(sample, total=None)
        return sample

    def _best(self) -> Sample | None:
        if self._stale:
            self._stale = False
            self._evidence = None
            self._looked = float("-inf")
            self.close()
        if self._named is not None and self._works(self._named):
            sample = self._try(self._named, self._by_name or self._make_named())
            if sample is not None or self._works(self._named):
                return sample
        now = time.monotonic()
        if now - self._looked >= LOOK_AGAIN:
            self._looked = now
            self._look_for_tools()
        best: tuple[Sample, Probe] | None = None
        for identity, probe in list(self._tools.items()):
            sample = self._try(identity[0], probe)
            if sample is None:
                continue
            if best is None or (best[0].total is None and sample.total is not None):
                best = sample, probe
        if best is not None:
            self._speaking = best[1]
            return best[0]
        if self._evidence is None:
            self._evidence = Evidence(self._tree, total=self._total)
        self._speaking = self._evidence
        return self._try("evidence", self._evidence)

    def feed(self, stream: int, record: bytes) -> None:
        """Pass on what the command said to whoever listens."""
        for name, probe in [*((identity[0], probe) for identity, probe in self._tools.items()), *self._named_one()]:
            if isinstance(probe, Hears) and name not in self.excluded:
                try:
                    probe.feed(stream, record)
                except Exception as error:  # noqa: BLE001 # a plugin may raise anything; its job goes on
                    self._leave_out(name, error)

    def survey(self) -> Iterator[int] | None:
        """The walk that the user's total needs, or that the speaking probe wants."""
        if self._folder is not None:
            return self._survey_folder(self._folder)
        return self._speaking.survey() if isinstance(self._speaking, Surveys) else None

    def _survey_folder(self, folder: str) -> Iterator[int]:
        size = 0
        for size in survey_tree(folder):
            yield size
        self._folder = None
        self._given(size or None)

    def _given(self, total: int | None) -> None:
        """From now on the user's total is this: every probe begins again with it."""
        self._total = total
        self._stale = True  # and not at once: this may be the surveying thread

    def close(self) -> None:
        """Close every probe."""
        probes = [*self._tools.values(), *(probe for _, probe in self._named_one())]
        self._tools.clear()
        self._by_name = None
        for probe in probes:
            close(probe)

    # -- which probes

    def _works(self, name: str) -> bool:
        return name not in self.excluded

    def _named_one(self) -> list[tuple[str, Probe]]:
        return [(self._named, self._by_name)] if self._named is not None and self._by_name is not None else []

    def _make_named(self) -> Probe | None:
        assert self._named is not None
        self.at = self._named
        try:
            self._by_name = make_probe(self._named, self._target(self._process_for(self._named)))
        except ProcessLookupError:
            return None  # not there yet: looked for again next time
        except Exception as error:  # noqa: BLE001 # as above
            self._leave_out(self._named, error)
        self._speaking = self._by_name
        return self._by_name

    def _process_for(self, named: str) -> Process:
        """For ``--probe TOOL`` the process in the tree that the tool recognises; else the root."""
        name = named.partition(":")[0]
        if name not in tools.TOOLS:
            return self._tree.root
        for process, told in self._tree.look():
            tool = self._tool_for(process, told.name)
            if tool is not None and tool.name == name:
                return process
        raise ProcessLookupError(f"no {name} in the tree")

    def _look_for_tools(self) -> None:
        found: dict[Identity, Probe] = {}
        for process, told in self._tree.look():
            tool = self._tool_for(process, told.name)
            if tool is None or tool.name in self.excluded:
                continue
            identity = tool.name, process.pid, process.start, told.name
            known = self._tools.pop(identity, None)
            if known is None:
                self.at = tool.name
                try:
                    known = tool.probe(self._target(process))
                except ProcessLookupError:
                    continue
                except Exception as error:  # noqa: BLE001 # as above
                    self._leave_out(tool.name, error)
                    continue
            found[identity] = known
        for gone in self._tools.values():
            close(gone)
        self._tools = found

    def _tool_for(self, process: Process, name: str) -> Tool | None:
        key = process.pid, process.start, name
        if key not in self._seen:
            if len(self._seen) > 10_000:
                self._seen.clear()
            argv = process.argv()
            self._seen[key] = tools.find(Command(argv, executable=process.link("exe"))) if argv else None
        return self._seen[key]

    def _target(self, process: Process) -> Target:
        return Target(
            self._tree,
            process,
            total=self._total,
            launched=self._launched,
            signals=self._named is not None,
            claims=self._claims,
            ends=self._ends,
        )

    # -- trust

    def _try(self, name: str, probe: Probe | None) -> Sample | None:
        if probe is None:
            return None
        self.at = name
        try:
            sample = probe.sample()
            if sample is not None:
                check(sample)
        except ProcessLookupError:
            return None
        except Exception as error:  # noqa: BLE001 # as above
            self._leave_out(name, error)
            close(probe)
            self._tools = {identity: other for identity, other in self._tools.items() if other is not probe}
            return None
        return sample

    def _leave_out(self, name: str, error: Exception) -> None:
        self.excluded.add(name)
        said = str(error) if isinstance(error, PollprogError) else f"{type(error).__name__}: {error}"
        log.warning("the probe %s is dropped: %s", name, said)
        log.debug("where it raised", exc_info=error)


def check(sample: object) -> None:
    """Raise ValueError for what no probe can mean."""
    if not isinstance(sample, Sample):
        raise TypeError(f"sample() returned {type(sample).__name__}, not a Sample")
    numbers: tuple[object, ...] = (sample.current, sample.total or 0, sample.activity)
    for number in numbers:
        if not isinstance(number, int) or number < 0:
            raise ValueError(f"{number!r} is not a count")


def close(probe: Probe) -> None:
    """Close a probe, whatever it thinks of that."""
    try:
        probe.close()
    except Exception:  # it is gone anyhow
        log.debug("close() raised", exc_info=True)


def make_probe(named: str, target: Target) -> Probe:
    """The probe that ``--probe NAME[:ARGUMENT]`` means. UsageError says which there are."""
    name, colon, argument = named.partition(":")
    module = tools.PROBES.get(name)
    if module is None:
        raise UsageError(f"there is no probe {name!r}; there are: {', '.join(sorted(tools.PROBES))}")
    made: Probe = importlib.import_module(module).probe(target, argument if colon else None)
    return made
