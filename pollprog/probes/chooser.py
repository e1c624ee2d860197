"""The best probe for a command, at each moment: what the user named, else a tool that knows a program in its tree, else evidence.

A tool found below a shell, sudo or a pipeline counts as much as one at the top, so the whole tree is looked at again each
second. A tool with a total comes before one without, and evidence speaks only where no tool has anything to say. What the
user named is alone in speaking, also while it has nothing to say yet: another measure is not what was asked for. Where it is for a
program that does not come, a warning says so. The second process that tools measure, and each after it, is a phase of its own:
``dd, part 2``.

A probe that raises, or says what no probe can mean, is left out from then on, with one line in the log, and the next best
takes over. What hangs is for the sampler to notice, which drops this chooser; `at` says whom the next one has to leave out. A
probe whose process has ended is no failure, whatever it raises.

The user's total, if any, comes before everybody else's: no total is told while a folder is still surveyed for it, and it is
given up, with a warning, once more is done than it says.
"""

from __future__ import annotations

import importlib
import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pollprog import tools
from pollprog.backlog import Backlog
from pollprog.errors import PollprogError, UsageError, fault, visible
from pollprog.launch import Command
from pollprog.phases import part
from pollprog.probes import Surveys, Target
from pollprog.probes.contract import STATUS
from pollprog.probes.evidence import Evidence
from pollprog.probes.treesize import survey_tree
from pollprog.probes.trust import check, close, made_by
from pollprog.status import Bound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType
    from typing import Protocol, TypeVar

    from pollprog.inherited import Before
    from pollprog.launch import Filter, Printed
    from pollprog.probes import Probe, Tool
    from pollprog.process import Process, ProcessTree, Stat
    from pollprog.status import Sample

    class Written(Protocol):
        """What the program writes to its status descriptor."""

        def records(self) -> list[bytes]:
            """What was written since this was last asked."""

        def close(self) -> None:
            """Look no more."""

    T = TypeVar("T")

__all__ = ["Chooser", "make_probe"]

log = logging.getLogger("pollprog")

LOOK_AGAIN = 1.0
"""Seconds between two searches of the tree for a program that somebody knows."""
FIRST = 1.0
"""Seconds within which a command may be looked at before its exec is over."""
UNFOUND = 3.0
"""Seconds after which is said that a tool which the user named has found no program that it knows."""
SOME = 4
"""Programs that are named then."""
MOST_SEEN = 10_000
"""Programs of which is remembered who knows them."""

Identity = tuple[str, int, int, str]
"""Of one use of a probe: its name, and the pid, start and name of the process."""


class Chooser:
    """A probe that is, at each look, the best of those that fit.

    `tree` is the chooser's from now on, and so is its root: `close` closes them. `total`: what the user typed after
    ``--total``: bytes, or a folder whose contents are the total. `status`: what the program writes to its status descriptor, the
    chooser's to close. `printed`: what it prints, where that is a file of ours. `named`: what the user typed after ``--probe``. `excluded`:
    the names of probes that are not to be tried (again). `aside`: files, by device and inode, that are not the command's work.
    `before`: what stood in the files that it has inherited.
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
        aside: frozenset[tuple[int, int]] = frozenset(),
        before: Before | None = None,
        status: Written | None = None,
        printed: Printed | None = None,
    ) -> None:
        self._tree = tree
        self._aside = aside
        self._before = before
        self._status = status
        self._printed = printed
        self._unheard = Backlog()
        """What was said while nobody listened."""
        self._total = None if isinstance(total, str) else total
        self._folder = total if isinstance(total, str) else None
        self._named = named
        self._sought = named is not None
        """What the user named may still have to be told that there is nothing for it."""
        self._launched = launched
        self._claims = dict(claims or {})
        self._ends = dict(ends or {})
        self._excluded_before = frozenset(excluded or ())
        self.excluded = set(self._excluded_before)
        self.at = ""
        """The name of the probe that is being looked at: whom to blame if this look does not return."""
        self._known: dict[tuple[int, int, str], Tool | None] = {}
        self._labels: dict[int, str] = {}
        """What the log calls each tool: strangers' by where they are, as they may have the names of ours."""
        self._probes: dict[Identity, tuple[Process, Probe]] = {}
        self._evidence: Evidence | None = None
        self._speaking: tuple[str, Probe, Surveys | None] | None = None
        """Who says the present sample; a second time if it surveys, too: that takes as long to find out as a look at a file."""
        self._present: list[tuple[Process, Stat]] | None = None
        """What the search for tools has found in the tree at this look, if there was one."""
        self._measured: Identity | None = None
        """What a tool, or the named probe, spoke of last; and how many there were, as far as they spoke in turn."""
        self._parts = 0
        self._looked = float("-inf")
        self._began = time.monotonic()
        self._within_exec = False
        """At the last search a process was within an exec: then it has its new name, and no words yet."""
        self._stale = False
        """The probes that there are were made for another total."""

    @property
    def name(self) -> str:
        """Whom the log calls by name."""
        return self.at or "chooser"

    # -- the probe contract

    def sample(self) -> Sample | None:
        """What the best of them says that has something to say."""
        self.at = ""
        sample = self._best()
        if sample is None:
            return None
        return self._believed(sample) if self._folder is None else replace(sample, total=None)

    def feed(self, stream: int, record: bytes) -> None:
        """Pass on what the command said to whoever listens; as long as nobody does, the newest of it is kept for who will."""
        heard = False
        for identity, (process, probe) in list(self._probes.items()):
            if hasattr(probe, "feed") and identity in self._probes:  # isinstance(probe, Hears) takes 100 times as long
                heard = True
                self._guarded(identity[0], partial(probe.feed, stream, record), process)
        if not heard:
            self._unheard.add(stream, record)

    def _listen(self) -> None:
        """Tell whoever listens now what was said before, and what the program has written to files of ours."""
        for stream, record in self._unheard.take():
            self.feed(stream, record)
        if self._printed is not None:
            for stream, record in self._printed.records():
                self.feed(stream, record)
        if self._status is not None:
            for record in self._status.records():
                self.feed(STATUS, record)

    def survey(self) -> Iterator[int] | None:
        """The walk that the user's total needs, or that the speaking probe wants."""
        if self._folder is not None:
            return self._survey_folder(self._folder)
        if self._speaking is None:
            return None
        name, _, surveying = self._speaking
        return None if surveying is None else self._guarded(name, surveying.survey)

    def reached(self, last: Sample, rchar: int | None) -> bool | None:
        """Whether the work, which has ended well, did all of its total; None: nobody saw it.

        `last`: what was told last. `rchar`: what the root had read at its end, its children included.
        """
        if last.total is None or last.current >= last.total:
            return last.total is not None
        if self._speaking is None:
            return None
        name, probe, _ = self._speaking
        if isinstance(probe, Evidence):
            return (rchar is not None and probe.reached(last, rchar)) or None
        return True if tools.is_tool(name.partition(":")[0]) else None

    def close(self) -> None:
        """Close every probe, and the tree."""
        self._close_probes()
        if self._status is not None:
            self._status.close()
        self._tree.close()
        self._tree.root.close()

    def _close_probes(self) -> None:
        probes = [probe for _, probe in self._probes.values()] + ([self._evidence] if self._evidence else [])
        self._probes, self._evidence, self._speaking = {}, None, None
        for probe in probes:
            close(probe)

    # -- the user's total

    def _believed(self, sample: Sample) -> Sample:
        """The sample without the user's total, if that cannot be right."""
        if self._total is None or sample.total != self._total:
            return sample
        certain = sample.bound in (Bound.EXACT, Bound.LOWER)
        if sample.current <= self._total + (0 if certain else self._total // 10):
            return sample
        log.warning("more is done than --total says (%d): it is not believed any more", self._total)
        self._given(None)
        return replace(sample, total=None)

    def _survey_folder(self, folder: str) -> Iterator[int]:
        size = 0
        for size in survey_tree(folder):
            yield size
        if not size:
            log.warning("there is nothing in %s: it cannot be the total", folder)
        self._given(size or None)
        self._folder = None

    def _given(self, total: int | None) -> None:
        """From now on the user's total is this: every probe begins again with it."""
        self._total = total
        self._stale = True  # and not at once: this may be the surveying thread

    # -- which probe

    def _best(self) -> Sample | None:
        if self._stale:
            self._stale = False
            self._close_probes()
            self._looked = float("-inf")
        now = time.monotonic()
        self._present = None
        hasty = self._within_exec and now - self._began < FIRST  # a job's command is looked at in its first moment
        if hasty or now - self._looked >= LOOK_AGAIN:
            self._looked, self._within_exec = now, False
            self._look()
        self._listen()
        best: tuple[Sample, Identity, Probe] | None = None
        for identity, (process, probe) in list(self._probes.items()):
            if identity not in self._probes:
                continue  # left out since
            sample = self._try(identity[0], probe, process)
            if sample is not None and (best is None or sample.total is not None):
                best = sample, identity, probe
                if sample.total is not None:
                    break
        if best is None:
            if self._has_named():
                self._let_named_walk()
                return None
            return None if self._within_exec and now - self._began < FIRST else self._say_evidence()
        sample, identity, probe = best
        self._let_speak(identity[0], probe)
        return self._in_its_phase(sample, identity)

    def _in_its_phase(self, sample: Sample, identity: Identity) -> Sample:
        if identity != self._measured:
            self._measured = identity
            self._parts += 1
        if self._parts == 1:
            return sample
        return replace(sample, phase=part(sample.phase or identity[3] or identity[0], self._parts))

    def _has_named(self) -> bool:
        return self._named is not None and self._named not in self.excluded

    def _say_evidence(self) -> Sample | None:
        if "evidence" in self.excluded:
            return None
        if self._evidence is None:
            self._evidence = Evidence(self._tree, total=self._total, aside=self._aside, before=self._before)
        self._evidence.present = self._present
        self._let_speak("evidence", self._evidence)
        return self._try("evidence", self._evidence)

    def _let_named_walk(self) -> None:
        """What the user named may have to walk before it has anything to say."""
        for identity, (_, probe) in self._probes.items():
            self._let_speak(identity[0], probe)

    def _let_speak(self, name: str, probe: Probe) -> None:
        if self._speaking is None or self._speaking[1] is not probe:
            self._speaking = name, probe, probe if isinstance(probe, Surveys) else None

    def _look(self) -> None:
        """Make a probe for what is new in the tree, and close those of what is gone."""
        found: dict[Identity, tuple[Process, Probe]] = {}
        for identity, process, make in self._wanted():
            pair = self._probes.pop(identity, None)
            if pair is None:
                made = self._guarded(identity[0], partial(made_by, make), process)
                pair = None if made is None else (process, made)
            if pair is not None:
                found[identity] = pair
        leaving = [*self._probes.values(), *(found[key] for key in found if key[0] in self.excluded)]
        self._probes = {identity: pair for identity, pair in found.items() if identity[0] not in self.excluded}
        for _, probe in leaving:
            close(probe)

    def _wanted(self) -> Iterator[tuple[Identity, Process, Callable[[], Probe]]]:
        if self._named is not None and self._has_named():
            root = self._tree.root
            name = self._named.partition(":")[0]
            process, called = self._find(name) if tools.is_tool(name) else (root, "")
            if process is None:
                self._tell_of_nothing(name)
            else:
                self._sought = False
                target = self._target(process, signals=True)
                identity = self._named, process.pid, process.start, called
                yield identity, process, partial(make_probe, self._named, target)
            return
        self._present = self._tree.look()
        for process, told in self._present:
            tool = self._tool_for(process, told.name)
            label = "" if tool is None else self._labels.get(id(tool), tool.name)
            if tool is not None and label not in self.excluded:
                identity = label, process.pid, process.start, told.name
                yield identity, process, partial(tool.probe, self._target(process))

    def _find(self, name: str) -> tuple[Process | None, str]:
        """The first process of the tree that the tool of this name knows, and what that is called."""
        tool = self._guarded(name, partial(tools.named, name))
        if tool is None:
            return None, ""
        for process, told in self._tree.look():
            words = process.argv()
            self._within_exec |= not words
            command = Command(words, executable=process.link("exe") or None)
            knows = bool(words) and self._guarded(name, partial(tool.recognise, command))
            if knows:
                return process, told.name
        return None, ""

    def _tell_of_nothing(self, name: str) -> None:
        """Say once that none of the programs is one for the tool that the user named."""
        if not self._sought or not self._has_named() or time.monotonic() - self._began < UNFOUND:
            return
        self._sought = False
        present = sorted({told.name for _, told in self._tree.look()})
        script = "; is it a script? then its class has to say interpreted = True"
        log.warning(
            "nothing is told: among the programs (%s) is none that the probe %s knows%s; without --probe, what fits is found",
            visible(", ".join(present[:SOME])) + (", …" if present[SOME:] else ""),
            name,
            script if name in present and tools.stranger(name) is not None else "",
        )

    def _tool_for(self, process: Process, called: str) -> Tool | None:
        """Who knows this process, as long as it is what it is now: an exec changes its name."""
        key = process.pid, process.start, called
        if key not in self._known:
            words = process.argv()
            if not words:
                self._within_exec = True
                return None
            if len(self._known) >= MOST_SEEN:
                self._known.clear()
            self._known[key] = self._recognise(Command(words, executable=process.link("exe") or None))
        return self._known[key]

    def _recognise(self, command: Command) -> Tool | None:
        offers = self._guarded("plugins", partial(tools.offers, command)) or []
        for name, load in offers:
            tool = None if name in self.excluded else self._guarded(name, load)
            if tool is not None and self._guarded(name, partial(tool.recognise, command)):
                self._labels[id(tool)] = name
                return tool
        return None

    def _target(self, process: Process, *, signals: bool = False) -> Target:
        return Target(
            self._tree,
            process,
            total=self._total,
            launched=self._launched,
            signals=signals,
            claims=self._claims,
            ends=self._ends,
        )

    # -- trust

    def _try(self, name: str, probe: Probe, process: Process | None = None) -> Sample | None:
        return self._guarded(name, lambda: check(probe.sample()), process)

    def _guarded(self, name: str, call: Callable[[], T], process: Process | None = None) -> T | None:
        """What `call` returns; None if it raises, and then `name` is left out, unless this process has only ended."""
        self.at = name
        try:
            return call()
        except ProcessLookupError:
            return None
        except BaseException as error:  # noqa: BLE001 # a plugin may raise anything; its job goes on
            if process is None or not gone(process):
                self._leave_out(name, error)
            return None

    def left_behind(self) -> set[str] | None:
        """What the next one is to leave out, if this one hangs where it is, or has failed itself; None if nothing is left to try."""
        if not self.at or self.at in self._excluded_before:
            return None
        return {*self.excluded, self.at, *(tools.labels(self.at) if self.at == self._named else ())}

    def _leave_out(self, name: str, error: BaseException) -> None:
        self.excluded.add(name)
        self._known.clear()  # somebody else may know its program
        said = str(error) if isinstance(error, PollprogError) else fault(error)
        log.warning("the probe %s is dropped: %s", name, said)
        log.debug("where it raised", exc_info=error)
        for identity, (_, probe) in list(self._probes.items()):
            if identity[0] == name:
                del self._probes[identity]
                close(probe)
        if name == self._named:
            self.excluded |= tools.labels(name)  # it would only fail again, and be told again
            self._looked = float("-inf")  # the next look searches for tools


def gone(process: Process) -> bool:
    """Whether a process has ended."""
    try:
        return process.stat().ended
    except (OSError, ValueError):
        return True


def make_probe(named: str, target: Target) -> Probe:
    """The probe that ``--probe NAME[:ARGUMENT]`` means. UsageError says which there are."""
    name, colon, argument = named.partition(":")
    module = tools.PROBES.get(name)
    if module is None and not colon and (tool := tools.named(name)) is not None:
        return tool.probe(target)
    if module is None:
        raise UsageError(f"there is no probe {name!r}; there are: {', '.join(sorted(tools.PROBES))}")
    return probe_of(importlib.import_module(module), target, argument if colon else None)


def probe_of(module: ModuleType, target: Target, argument: str | None) -> Probe:
    """The probe of one of our modules."""
    made: Probe = module.probe(target, argument) if hasattr(module, "probe") else module.TOOL.probe(target)
    return made
