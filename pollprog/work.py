"""What an operation that runs sees of its job: how to say how far it is, whether to stop, and how to run a command.

An operation is a plain function, which runs whole in a thread, or a coroutine function. Both find their `Work` with `running()`. A
loop of ours stores into `work.counter` and asks `work.stopped` before each step; a command is run by ``await work.command(…)``,
under the probe that fits it.
"""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from contextvars import ContextVar
from signal import SIGCONT, SIGSTOP
from typing import TYPE_CHECKING

import trio

from pollprog import runner
from pollprog.counting import Counter
from pollprog.errors import Cancelled, CommandFailed
from pollprog.notify import Notices, hearer
from pollprog.spawning import spawn
from pollprog.status import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from pollprog.ending import Ended
    from pollprog.process import Process
    from pollprog.sampler import Sampler
    from pollprog.spawning import Spawned
    from pollprog.status import Outcome, Sample

__all__ = ["Work", "running"]

GRACE = 10.0
"""Seconds that a command has between SIGTERM and SIGKILL."""


class Work:
    """One run of an operation, as the operation sees it. It is a probe: of what its own loop says of itself."""

    def __init__(
        self,
        sampler: Sampler,
        report: Callable[[Sample], None],
        change: runner.Change,
        *,
        name: str = "copy",
        directory: str = "/",
        environment: Mapping[str, str] | None = None,
        interval: float = 1.0,
        grace: float = GRACE,
    ) -> None:
        self.counter = Counter(name)
        self.notices = Notices(self.check)
        self.directory = directory
        """Where its commands run, unless it says otherwise."""
        self.environment = environment or {}
        self.observes = False
        """It only watches what is not ours to stop."""
        self._sampler = sampler
        self._report = report
        self._change = change
        self._interval = interval
        self._grace = grace
        self._going = threading.Event()
        self._going.set()
        self._stop = False
        self._stopping = trio.Event()
        self._spawned: set[Spawned] = set()

    # -- for loops

    def stopped(self) -> bool:
        """Whether to stop; asked before each step, in the loop's own thread. Does not return while the job is paused."""
        if not self._going.is_set():
            self._going.wait()
        return self._stop

    def check(self) -> None:
        """The same for who would rather be thrown out: raises `Cancelled`."""
        if self.stopped():
            raise Cancelled("it was cancelled")

    def sample(self) -> Sample | None:
        """What the operation's own loop says of itself; None if it has none."""
        if (said := self.notices.sample()) is not None:
            return said
        counted = self.counter.sample()
        return counted if counted.total is not None or counted.current or counted.phase else None

    def close(self) -> None:
        """Nothing is held."""

    async def run(self, function: Callable[[], object], *, within: trio.CapacityLimiter) -> object:
        """Run a plain function in a thread, to its end, sampling what it says of itself."""
        async with self._sampled():
            return await trio.to_thread.run_sync(self._hearing(function), limiter=within)

    async def run_async(self, function: Callable[[], Awaitable[object]]) -> object:
        """The same for a coroutine function."""
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
        """Say how far a part of it is; in the trio thread."""
        steps = self.notices.steps
        self._report(sample if steps is None or not steps.name else steps.of(sample))

    # -- for commands

    async def command(
        self,
        argv: Sequence[str],
        *,
        probe: str | None = None,
        total: int | str | None = None,
        directory: str | None = None,
        environment: Mapping[str, str] | None = None,
        output: int | None = None,
        source: int | None = None,
    ) -> str:
        """Run a command to its end under the probe that fits it; the last of what it printed.

        `probe` and `total` as after ``--probe`` and ``--total``; `output` and `source`: descriptors for its standard output and
        input. Raises CommandFailed unless its exit code is 0, and `Cancelled` if the job was to stop meanwhile: then with
        all of its tree ended.
        """
        self.check_here()
        spawned = spawn(
            argv,
            directory=self.directory if directory is None else directory,
            environment=self.environment if environment is None else environment,
            output=output,
            source=source,
        )
        self._spawned.add(spawned)
        try:
            with trio.CancelScope(shield=True):
                ended = await self._watch(spawned, probe, total)
            printed = spawned.printed()
        finally:
            self._spawned.discard(spawned)
            spawned.close()
        self.check_here()
        if ended != (0, None):
            raise command_failed(argv[0], ended, printed)
        return printed

    async def _watch(self, spawned: Spawned, probe: str | None, total: int | str | None) -> Ended:
        if not self._going.is_set():
            spawned.send(SIGSTOP)
        async with trio.open_nursery() as nursery:

            async def end_it() -> None:
                await self._stopping.wait()
                with trio.CancelScope(shield=True):
                    await spawned.end(self._grace)

            nursery.start_soon(end_it)
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
        return await runner.attach(
            process, self._sampler, self.report, self._change, lambda: None, interval=self._interval
        )

    def check_here(self) -> None:
        """Raise `Cancelled` if the job is to stop; waits for nothing."""
        if self._stop:
            raise Cancelled("it was cancelled")

    # -- for the job

    def stop(self) -> None:
        """The operation is to stop: its loop at its next step, its commands by SIGTERM."""
        self._stop = True
        self._going.set()
        self._stopping.set()

    def pause(self) -> None:
        """Stand still, at the next step."""
        if not self._stop:
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
    said = printed.strip().splitlines()
    text = f"{name} {how}" + (f": {said[-1].strip()}" if said else "")
    return CommandFailed(text, exit=code, signal=number, output=printed)
