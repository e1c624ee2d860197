"""One job in this terminal, without a daemon: a command under a bar, processes or resources at work already, a copy of our own.

Whatever becomes of the display, the job goes on. The terminal is given back on every way out, and before we stop.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from pollprog import runner, signals
from pollprog.channel import Channel, Clock
from pollprog.copying import copy_file
from pollprog.counting import Counter
from pollprog.display import Display, JsonLines
from pollprog.ending import exit_code, outcome_of
from pollprog.errors import Cancelled, OperationError, PollprogError, ProcessError
from pollprog.hearing import Hearing, Leaving
from pollprog.process import Process, open_process
from pollprog.sampler import Sampler
from pollprog.status import Outcome, State

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

    from pollprog.ending import Ended
    from pollprog.launch import Launched
    from pollprog.probes.resource import Resource
    from pollprog.signals import Held

__all__ = ["Options", "attach", "copy", "run"]

BAR_INTERVAL = 1 / 3
LOST = 123
"""Exit status of ``attach`` where nobody can know how the process ended."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of how to measure and how to show it."""

    total: int | str | None = None
    """In bytes; a folder whose contents are the total; None."""
    probe: str | None = None
    progress: str = "auto"
    progress_fd: int | None = None
    interval: float | None = None

    @property
    def bar_interval(self) -> float:
        """Seconds between two frames, and between two looks."""
        return self.interval or BAR_INTERVAL

    @property
    def line_interval(self) -> float:
        """Seconds between two lines of JSON."""
        return self.interval or 1.0

    def display(self, *, shares_terminal: bool) -> Display:
        """Where to show it."""
        return Display(self.progress, interval=self.bar_interval, shares_terminal=shares_terminal)

    def lines(self) -> JsonLines | None:
        """Where to write lines of JSON, if anywhere."""
        return None if self.progress_fd is None else JsonLines(self.progress_fd, self.line_interval)


def own_files(display: Display, lines: JsonLines | None) -> frozenset[tuple[int, int]]:
    """Device and inode of the files into which we write ourselves, though a command may write there too."""
    return display.own_files | (frozenset() if lines is None else lines.own_files)


class Job:
    """One channel, and what its work says of itself."""

    def __init__(self, name: str, job: str, *, started: float | None = None) -> None:
        self.name = name
        self.channel = Channel(job, clock=Clock(started=started))

    def change(self, state: State, *, since: float = 0.0) -> None:
        """The work was stopped so many seconds ago, or goes on."""
        if state is State.PAUSED:
            self.channel.clock.pause(since=since)
        self.channel.change(state)


# --- a command


def run(launched: Launched, held: Held, options: Options) -> Ended:
    """Show a launched command until it ends; how it ended."""
    return trio.run(_run, launched, held, options)


async def _run(launched: Launched, held: Held, options: Options) -> Ended:
    name = launched.command.name
    job = Job(name, f"{name}-{launched.pid}", started=launched.started)
    sampler = Sampler()
    lines = options.lines()
    shares = any(os.isatty(stream) for stream in range(3))
    with options.display(shares_terminal=shares) as display:
        launched.aside |= own_files(display, lines)
        async with trio.open_nursery() as parts:
            parts.start_soon(sampler.run)
            stops = partial(signals.is_time_to_stop, held=held, launched=launched)
            parts.start_soon(Hearing(held, display, partial(signals.pass_on, launched=launched), stops=stops).run)
            async with trio.open_nursery() as readers:
                readers.start_soon(partial(display.follow, name, job.channel, ending=False))
                if lines is not None:
                    readers.start_soon(lines.follow, job.channel)
                ended = await runner.run(
                    launched,
                    sampler,
                    job.channel.report,
                    job.change,
                    total=options.total,
                    probe=options.probe,
                    interval=min(options.bar_interval, options.line_interval),
                )
                job.channel.finish(outcome_of(ended))
            parts.cancel_scope.cancel()
    return ended


# --- processes that already run


def attach(
    pids: Sequence[int],
    held: Held,
    options: Options,
    *,
    resources: Sequence[Resource] = (),
    refused: Sequence[str] = (),
) -> int:
    """Show processes that already run, and work that none stands for, until all have ended; the exit status that comes to.

    Each that cannot be watched has a line that says why, and makes the exit status 1 at the least; ProcessError if none can.
    `resources` are closed here; `refused`: the lines of those that could not be opened.
    """
    processes: list[Process] = []
    refused = list(refused)
    try:
        for pid in dict.fromkeys(pids):
            try:
                processes.append(watchable(pid))
            except ProcessError as error:
                refused.append(str(error))
        if not processes and not resources:
            raise ProcessError("; ".join(refused))
        targets: list[Process | Resource] = [*processes, *resources]
        status = trio.run(_attach, targets, refused, held, options)
    finally:
        for process in processes:
            process.close()
    return max(status, 1) if refused else status


def watchable(pid: int) -> Process:
    """The process with this number, with its pidfd. Raises ProcessError if it cannot be watched."""
    if pid == os.getpid():
        raise ProcessError(f"process {pid} is this pollprog itself")
    process = open_process(pid)
    try:
        _ = process.pidfd
    except ProcessLookupError as error:
        process.close()
        raise ProcessError(f"process {pid} has just ended") from error
    return process


async def _attach(targets: Sequence[Process | Resource], refused: Sequence[str], held: Held, options: Options) -> int:
    sampler = Sampler()
    lines = options.lines()
    jobs: list[tuple[Process | Resource, Job]] = []
    for number, target in enumerate(targets, 1):
        job = job_of(target, alone=len(targets) + len(refused) == 1)
        if any(other.channel.job == job.channel.job for _, other in jobs):  # as two servers may have one pid each
            job.channel.job += f"-{number}"
        jobs.append((target, job))
    interval = min(options.bar_interval, options.line_interval)
    codes: list[int] = []
    with options.display(shares_terminal=False) as display:
        async with trio.open_nursery() as parts:
            leaving = Leaving(parts.cancel_scope)

            async def watch(target: Process | Resource, job: Job) -> None:
                if isinstance(target, Process):
                    outcome = await watch_process(target, job)
                else:
                    outcome = await runner.follow(target, sampler, job.channel.report, interval=interval)
                codes.append(exit_code((outcome.exit, outcome.signal), lost=LOST))
                job.channel.finish(outcome)

            async def watch_process(process: Process, job: Job) -> Outcome:
                def ended() -> None:
                    job.channel.clock.stop()  # the exit status is waited for, the work is over
                    if display.screen is not None:
                        display.say(f"{job.name}: ended")

                return await runner.attach(
                    process,
                    sampler,
                    job.channel.report,
                    job.change,
                    ended,
                    total=options.total,
                    probe=options.probe,
                    interval=interval,
                    aside=own_files(display, lines),
                )

            parts.start_soon(sampler.run)
            parts.start_soon(Hearing(held, display, leaving).run)
            for text in refused:
                display.say(f"pollprog: {text}", last=True)
            for _, job in jobs:
                display.enter(job.name, job.channel)
            async with trio.open_nursery() as readers:
                for target, job in jobs:
                    readers.start_soon(partial(display.follow, job.name, job.channel, ending=True))
                    if lines is not None:
                        readers.start_soon(lines.follow, job.channel)
                    readers.start_soon(watch, target, job)
            parts.cancel_scope.cancel()
    return max(codes, default=0) if leaving.status is None else leaving.status


def job_of(process: Process | Resource, *, alone: bool) -> Job:
    """The job that this is; a process among several has its number in its name."""
    if not isinstance(process, Process):
        return Job(process.name, process.job)
    try:
        name = process.stat().name
    except ProcessLookupError:  # in this very moment
        name = "process"
    return Job(name if alone else f"{name} {process.pid}", f"{name}-{process.pid}")


# --- our own loop


def copy(source: str, destination: str, held: Held, options: Options, *, force: bool, preserve: bool) -> None:
    """Copy a file under a bar. Raises OperationError, and Cancelled with the exit status for the signal that came."""
    try:
        trio.run(partial(_copy, source, destination, held, options, force=force, preserve=preserve))
    except OperationError as error:
        error.args = (str(error).replace("`overwrite`", "--force"),)  # as it is called here
        raise


async def _copy(source: str, destination: str, held: Held, options: Options, *, force: bool, preserve: bool) -> None:
    counter = Counter()
    job = Job(os.path.basename(destination) or destination, f"copy-{os.getpid()}")
    sampler = Sampler()
    lines = options.lines()
    by: list[int] = []

    def act(info: signal.struct_siginfo) -> None:
        if info.si_signo in signals.LEAVING:
            by.append(info.si_signo)
            job.channel.change(State.CANCELLING)

    failure: PollprogError | None = None
    with options.display(shares_terminal=False) as display:
        async with trio.open_nursery() as parts:
            parts.start_soon(sampler.run)
            parts.start_soon(Hearing(held, display, act).run)
            parts.start_soon(runner.tell_stops, lambda: False, lambda: True, job.change)
            entry = sampler.add(counter, job.channel.report, interval=min(options.bar_interval, options.line_interval))
            async with trio.open_nursery() as readers:
                readers.start_soon(partial(display.follow, job.name, job.channel, ending=False))
                if lines is not None:
                    readers.start_soon(lines.follow, job.channel)
                copying = partial(copy_file, source, destination, counter=counter, cancel=lambda: bool(by))
                try:
                    await trio.to_thread.run_sync(partial(copying, overwrite=force, preserve=preserve))
                    outcome = Outcome(State.SUCCEEDED, 0)
                except Cancelled as error:
                    error.exit_status = 128 + by[0]
                    failure, outcome = error, Outcome(State.CANCELLED, error.exit_status)
                except PollprogError as error:
                    failure, outcome = error, Outcome(State.FAILED, error.exit_status)
                sampler.remove(entry)
                job.channel.report(counter.sample())
                job.channel.finish(outcome)
            parts.cancel_scope.cancel()
    if failure is not None:
        raise failure
