"""What an operation that runs sees of its job: how to say how far it is, whether to stop, and how to run a command.

An operation is a plain function, which runs whole in a thread, or a coroutine function. Both find their `Work` with `running()`. A
loop of ours stores into `work.counter` and asks `work.stopped` before each step; a command is run by ``await work.command(…)``,
under the probe that fits it. What the operation says of itself comes before what its commands are seen to do.

Stopping is a request: a loop hears it at its next step, a command by SIGTERM, and only when both have ended is the operation over.
Whatever may wait for a disk or a network, a start too, is done in a thread, so it holds up nobody else.
"""

from __future__ import annotations

import os
import re
import threading
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import TYPE_CHECKING, TypeVar

import trio

from pollprog import runner
from pollprog.counting import Counter
from pollprog.errors import Cancelled, CommandFailed, InternalError
from pollprog.notify import Notices, hearer
from pollprog.paths import size_text
from pollprog.spawning import spawn
from pollprog.status import State, Unit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from pollprog.ending import Ended
    from pollprog.probes.resource import Resource
    from pollprog.process import Process
    from pollprog.sampler import Sampler
    from pollprog.spawning import Spawned
    from pollprog.status import Outcome, Sample

    T = TypeVar("T")

__all__ = ["Work", "running"]

GRACE = 10.0
"""Seconds that a command has between SIGTERM and SIGKILL."""
TRIM = 1.0
"""Seconds between two looks whether a command has printed so much that some has to go."""


class Work:
    """One run of an operation, as the operation sees it. It is a probe: of what its own loop says of itself.

    `report` takes samples, `change` what becomes of it. All but `stopped`, `check` and `sample` is for the trio thread.
    """

    def __init__(
        self,
        sampler: Sampler,
        report: Callable[[Sample], None],
        change: runner.Change,
        *,
        name: str = "copy",
        called: str = "the operation",
        directory: str = "/",
        environment: Mapping[str, str] | None = None,
        interval: float = 1.0,
        grace: float = GRACE,
        threads: trio.CapacityLimiter | None = None,
    ) -> None:
        self.counter = Counter(name)
        self.called = called
        """Its name, for people."""
        self.notices = Notices(self.check)
        self.directory = directory
        """Where its commands run, unless it says otherwise."""
        self.environment = environment or {}
        self.seen = 0
        """How far its commands were last seen to be."""
        self.observes = False
        """It only watches what is not ours to stop."""
        self._sampler = sampler
        self._report = report
        self._change = change
        self._interval = interval
        self._grace = grace
        self._threads = threads
        self._going = threading.Event()
        self._going.set()
        self._stop = False
        self._last: Sample | None = None
        """What its commands were last seen to have done."""
        self._stopping = trio.Event()
        self._spawned: set[Spawned] = set()
        self._in_thread = trio.CancelScope(shield=True)

    # -- for loops

    def stopped(self) -> bool:
        """Whether to stop; asked before each step, in the loop's own thread. Does not return while the job is paused."""
        if not self._going.is_set():
            self._going.wait()
        return self._stop

    def check(self) -> None:
        """The same for who would rather be thrown out: raises `Cancelled`."""
        if self.stopped():
            raise self.cancelled()

    def cancelled(self) -> Cancelled:
        """That it was cancelled, and how far it was."""
        last = self.sample() or self._last
        if last is None or not last.current or last.phase:  # which counts from its own beginning
            return Cancelled(f"{self.called} was cancelled")
        shown = size_text if last.unit is Unit.BYTES else str
        of = "" if last.total is None else f" of {shown(last.total)}"
        unit = "" if last.unit is Unit.BYTES else f" {last.unit}"
        return Cancelled(f"{self.called} was cancelled, after {shown(last.current)}{of}{unit}")

    def sample(self) -> Sample | None:
        """What the operation says of itself; None if that is nothing, or nothing while a command speaks for it."""
        if self._spawned and self.notices.said is None:
            return None
        steps, counted = self.notices.steps, self.counter.sample()
        counts = counted.total is not None or counted.current or counted.phase
        if steps is not None and steps.name and counts and self.notices.said is None:
            return steps.of(counted)
        if (said := self.notices.sample()) is not None:
            return said
        return counted if counts else None

    def close(self) -> None:
        """Nothing is held."""

    async def run(self, function: Callable[[], object], *, within: trio.CapacityLimiter) -> object:
        """Run a plain function in a thread, to its end, sampling what it says of itself."""
        async with self._sampled():
            return await self._in_a_thread(self._hearing(function), within)

    async def _in_a_thread(self, function: Callable[[], T], within: trio.CapacityLimiter | None) -> T:
        """What it returns. InternalError if nobody has waited for it."""
        if not self._in_thread.cancel_called:
            self._in_thread = trio.CancelScope(shield=True)
        with self._in_thread:
            return await trio.to_thread.run_sync(function, limiter=within, abandon_on_cancel=True)
        raise InternalError("it did not stop when it was told to, and was left behind")

    async def loop(self, function: Callable[[], T]) -> T:
        """Run a loop of ours in a thread, within an operation that runs commands too: it asks `stopped`, and counts in `counter`."""
        self.check_here()
        try:
            return await self._in_a_thread(function, self._threads)
        finally:
            self.counter.begin("", None)  # what comes next has a count of its own

    async def run_async(self, function: Callable[[], Awaitable[object]]) -> object:
        """The same for a coroutine function, which stands still only where it waits for a command."""
        self.notices.check = self.check_here  # the other one may wait
        async with self._sampled():
            running_work.set(self)
            hearer.set(self.notices)
            return await function()

    def _hearing(self, function: Callable[[], object]) -> Callable[[], object]:
        def call() -> object:
            running_work.set(self)
            hearer.set(self.notices)
            return function()

        return call

    @asynccontextmanager
    async def _sampled(self) -> AsyncIterator[None]:
        """Have the sampler look at what the loop says, and once more at the end."""
        entry = self._sampler.add(self, self._report, interval=self._interval)
        try:
            yield
        finally:
            self._sampler.remove(entry)
            if (last := self.sample()) is not None:
                self._report(last)

    def report(self, sample: Sample) -> None:
        """Say how far a part of it is, unless it says so itself."""
        self.seen, self._last = sample.current, sample
        steps = self.notices.steps
        if self.notices.said is None:
            self._report(sample if steps is None else steps.of(sample))

    # -- for commands

    async def thread(self, function: Callable[[], T]) -> T:
        """Do something short that may wait for a disk, to its end. Raises `Cancelled` if the job is to stop before."""
        self.check_here()
        with trio.CancelScope(shield=True):
            done = await trio.to_thread.run_sync(function, limiter=self._threads)
        return done  # noqa: RET504 # for mypy, a scope may swallow what is returned within

    async def undo(self, function: Callable[[], object]) -> None:
        """The same, whether or not the job is to stop: for what has to be done in any case."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(function, limiter=self._threads)

    async def command(
        self,
        argv: Sequence[str],
        *,
        probe: str | None = None,
        prepare: bool = True,
        total: int | str | None = None,
        directory: str | None = None,
        environment: Mapping[str, str] | None = None,
        output: int | None = None,
        source: int | None = None,
    ) -> str:
        """Run a command to its end under the probe that fits it; the last of what it printed.

        `probe` and `total` as after ``--probe`` and ``--total``; without `prepare` no plugin adds anything to it; `output` and
        `source`: descriptors for its standard output and input. Raises CommandFailed unless its exit code is 0, and `Cancelled` if the job was to stop meanwhile: then with
        all of its tree ended.
        """
        ended, printed = await self.attempt(
            argv,
            probe=probe,
            prepare=prepare,
            total=total,
            directory=directory,
            environment=environment,
            output=output,
            source=source,
        )
        self.check_here()
        if ended != (0, None):
            raise command_failed(argv[0], ended, printed)
        return printed

    async def attempt(
        self,
        argv: Sequence[str],
        *,
        probe: str | None = None,
        prepare: bool = True,
        total: int | str | None = None,
        directory: str | None = None,
        environment: Mapping[str, str] | None = None,
        output: int | None = None,
        source: int | None = None,
        number: int = SIGTERM,
    ) -> tuple[Ended, str]:
        """The same, however it ends: that, and the last of what it printed. `number`: the signal that tells it to stop."""
        starting = partial(
            spawn,
            argv,
            directory=self.directory if directory is None else directory,
            environment=self.environment if environment is None else environment,
            output=output,
            source=source,
            probe=probe,
            prepare=prepare,
        )
        spawned = await self.thread(starting)
        self._spawned.add(spawned)
        try:
            with trio.CancelScope(shield=True):
                ended = await self._watch(spawned, probe, total, number)
            return ended, spawned.printed()
        finally:
            self._spawned.discard(spawned)
            spawned.close()

    async def _watch(self, spawned: Spawned, probe: str | None, total: int | str | None, number: int) -> Ended:
        if not self._going.is_set():
            spawned.send(SIGSTOP)
        async with trio.open_nursery() as nursery:

            async def end_it() -> None:
                await self._stopping.wait()
                with trio.CancelScope(shield=True):
                    await spawned.end(self._grace, number)

            async def trim() -> None:
                while True:
                    await trio.sleep(TRIM)
                    spawned.trim()

            nursery.start_soon(end_it)
            nursery.start_soon(trim)
            ended = await runner.run(
                spawned.launched,
                self._sampler,
                self.report,
                self._change,
                total=total,
                probe=probe,
                interval=self._interval,
            )
            nursery.cancel_scope.cancel()
        return ended

    async def observe(self, process: Process) -> Outcome:
        """Watch a process that is not ours to its end; how that was."""
        self.observes = True
        self.resume()
        return await runner.attach(
            process, self._sampler, self.report, self._change, lambda: None, interval=self._interval
        )

    async def follow(self, resource: Resource) -> Outcome:
        """The same for work that no process stands for."""
        self.observes = True
        self.resume()
        return await runner.follow(resource, self._sampler, self.report, interval=self._interval)

    @property
    def to_stop(self) -> bool:
        """Whether the job is to stop; waits for nothing."""
        return self._stop

    def check_here(self) -> None:
        """Raise `Cancelled` if the job is to stop; waits for nothing."""
        if self._stop:
            raise self.cancelled()

    # -- for the job

    def stop(self) -> None:
        """The operation is to stop: its loop at its next step, its commands by SIGTERM."""
        self._stop = True
        self._going.set()
        self._stopping.set()

    def hurry(self) -> None:
        """Have no more patience with commands that were told to stop."""
        self._grace = 0.0
        for spawned in self._spawned:
            spawned.hurry()

    def abandon(self) -> None:
        """Wait no longer for a loop that was told to stop; its thread is left behind."""
        self._in_thread.cancel()

    def pause(self) -> None:
        """Stand still: a loop at its next step, a command at once. Does nothing to what is to stop."""
        if not self._stop and self._going.is_set():
            self._going.clear()
            self._change(State.PAUSED)
            for spawned in self._spawned:
                spawned.send(SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        if not self._going.is_set():
            self._going.set()
            for spawned in self._spawned:
                spawned.send(SIGCONT)
            self._change(State.RUNNING)


running_work: ContextVar[Work] = ContextVar("pollprog_work")


def running() -> Work:
    """The work of the operation that runs here. LookupError outside of one."""
    return running_work.get()


def command_failed(name: str, ended: Ended, printed: str) -> CommandFailed:
    """What a command's bad end is called."""
    code, number = ended
    how = f"was ended by signal {number}" if number is not None else f"ended with exit status {code}"
    if ended == (None, None):
        how = "ended, and nobody knows how"
    why = reason(name, printed).removeprefix(f"{os.path.basename(name)}: ")
    return CommandFailed(f"{name} {how}" + (f": {why}" if why else ""), exit=code, signal=number, output=printed)


def reason(name: str, printed: str) -> str:
    """The line that says why a command failed: the last one that begins with its name, as most have it, or with ERROR, or else the last one."""
    said = [line.strip() for line in re.split(r"[\r\n\b]+", printed) if line.strip()]
    for begin in (f"{os.path.basename(name)}: ", "ERROR"):
        if told := [line for line in said if line.startswith(begin)]:
            return told[-1]
    return said[-1] if said else ""
