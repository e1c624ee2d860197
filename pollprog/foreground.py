"""One job in this terminal, without a daemon: a command under a bar, processes that already run, a copy of our own.

Whatever becomes of the display, the job goes on, and its exit status is ours. The terminal is given back on every way out, and
before we stop.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from pollprog import runner, signals, terminal, wording
from pollprog.channel import Channel, Clock
from pollprog.copying import Counter, copy_file
from pollprog.errors import Cancelled, PollprogError
from pollprog.process import Process, open_process
from pollprog.sampler import Sampler
from pollprog.status import Bound, Outcome, State, Status, Unit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from typing import Self

    from pollprog.launch import Launched
    from pollprog.signals import Held

__all__ = ["Options", "attach", "copy", "run", "tell_end"]

log = logging.getLogger("pollprog")

BAR_INTERVAL = 1 / 3
LOST = 123
"""Exit status of ``attach`` where nobody can know how the process ended."""
OURS = 125
LAST_LINE = 2.0
"""Seconds for which a reader of ``--progress-fd`` may take to make room for the last line."""


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
        """Seconds between two frames."""
        return self.interval or BAR_INTERVAL

    @property
    def line_interval(self) -> float:
        """Seconds between two lines of JSON."""
        return self.interval or 1.0


class Display:
    """Where the progress of this terminal's jobs is shown, if anywhere: a bar, or a log on standard error."""

    def __init__(self, options: Options, *, shares_terminal: bool) -> None:
        self.mode = terminal.choose(options.progress, os.environ, 2, shares_terminal=shares_terminal)
        self.interval = options.bar_interval
        self.unicode = terminal.unicode_understood(os.environ)
        self.colour = terminal.colour_wanted(os.environ)
        self.errors = terminal.LineWriter(2)
        self.screen: terminal.Screen | None = None
        self._pulses: dict[str, int] = {}
        if self.mode in (terminal.Mode.BOTTOM, terminal.Mode.LINE):
            path = terminal.terminal_path(2)
            try:
                if path is not None:
                    taskbar = terminal.taskbar_understood(os.environ)
                    self.screen = terminal.Screen(path, bottom=self.mode is terminal.Mode.BOTTOM, taskbar=taskbar)
            except OSError:
                pass
            if self.screen is None:
                self.mode = terminal.Mode.LOG
        self._handler = Notes(self)

    def __enter__(self) -> Self:
        log.addHandler(self._handler)
        log.propagate = False
        return self

    def __exit__(self, *_exception: object) -> None:
        log.removeHandler(self._handler)
        log.propagate = True
        if self.screen is not None:
            self.screen.close()
        self.errors.close()

    def say(self, text: str, *, last: bool = False) -> None:
        """One line of our own, above the bar or in the log."""
        if self.screen is not None:
            self.screen.say(text)
        elif last:
            self.errors.write_last(wording.clean(text, unicode=self.unicode))
        else:
            self.errors.write(wording.clean(text, unicode=self.unicode))

    def draw(self, jobs: Sequence[tuple[str, Status]]) -> None:
        """Show how far each is."""
        if self.screen is None:
            return
        columns = self.screen.size().columns
        lines = []
        for name, status in jobs:
            pulse = self._pulses.get(status.job, 0) + (1 if status.moving else 0)
            self._pulses[status.job] = pulse
            lines.append(
                wording.bar_line(
                    status, columns=columns, unicode=self.unicode, colour=self.colour, name=name, pulse=pulse
                )
            )
        self.screen.draw(lines, taskbar=wording.taskbar(jobs[0][1]) if len(jobs) == 1 else "")

    async def follow(self, jobs: Sequence[tuple[str, Channel]], *, ending: bool) -> None:
        """Show the jobs until all have ended; `ending`: say in a line how each did."""
        statuses: dict[str, Status] = {}
        logs = {channel.job: wording.LogLines(name, unicode=self.unicode) for name, channel in jobs}

        def show(name: str, status: Status) -> None:
            statuses[status.job] = status
            if self.mode is terminal.Mode.LOG:
                for line in logs[status.job].due(status):
                    self.say(line, last=status.outcome is not None)
            elif self.screen is not None:
                going = [(n, statuses[c.job]) for n, c in jobs if c.job in statuses and not statuses[c.job].outcome]
                if status.outcome is not None:
                    if ending:
                        self.screen.take_back()
                        self.say(wording.outcome_line(status, name=name, unicode=self.unicode))
                    elif not going:
                        self.screen.draw(
                            [
                                wording.bar_line(
                                    status,
                                    columns=self.screen.size().columns,
                                    unicode=self.unicode,
                                    colour=self.colour,
                                    name=name,
                                )
                            ],
                            taskbar=wording.taskbar(status),
                        )
                if going:
                    self.draw(going)

        async def follow_one(name: str, channel: Channel) -> None:
            if self.mode is terminal.Mode.LOG:
                show(name, channel.latest())
            async for status in statuses_of(channel, self.interval):
                show(name, status)

        async with trio.open_nursery() as nursery:
            for name, channel in jobs:
                nursery.start_soon(follow_one, name, channel)


class Notes(logging.Handler):
    """Takes what our own parts log to where the user sees it: one line each, without tracebacks."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.INFO)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        self._display.say(f"pollprog: {record.getMessage()}")


async def statuses_of(channel: Channel, interval: float) -> AsyncIterator[Status]:
    """Each status of a job that this reader is due, to the outcome."""
    after, last = 0, None
    while True:
        status = await channel.next(after, interval=interval, last=last)
        yield status
        if status.outcome is not None:
            return
        after, last = status.seq, trio.current_time()


async def write_json(channel: Channel, descriptor: int, interval: float) -> None:
    """Each status as a line of JSON; the last one is waited for a little, if the reader is slow."""
    writer = terminal.LineWriter(descriptor)
    async for status in statuses_of(channel, interval):
        if status.outcome is None:
            writer.write(wording.json_line(status))
        else:
            await trio.to_thread.run_sync(
                partial(writer.write_last, wording.json_line(status), seconds=LAST_LINE), abandon_on_cancel=True
            )


# --- signals


class SignalTask:
    """Hears the held signals in a thread, and acts on them in the trio thread.

    `act` is called for each that is not about stopping and going on.
    """

    def __init__(
        self, held: Held, display: Display, channels: Sequence[Channel], act: Callable[[signal.struct_siginfo], None]
    ) -> None:
        self._signals = held.signals - {int(signal.SIGCHLD)}
        self._display = display
        self._channels = channels
        self._act = act
        self._token = trio.lowlevel.current_trio_token()
        self._beat = time.monotonic()

    async def run(self) -> None:
        """Hear, until cancelled."""
        threading.Thread(target=self._hear, name="pollprog signals", daemon=True).start()
        while True:
            self._beat = time.monotonic()
            await trio.sleep(1)

    def _hear(self) -> None:
        while True:
            info = signal.sigwaitinfo(self._signals)
            try:
                self._token.run_sync_soon(self._handle, info)
            except trio.RunFinishedError:
                return

    def _handle(self, info: signal.struct_siginfo) -> None:
        if info.si_signo == signal.SIGCONT:
            self._continued()
        self._act(info)
        if info.si_signo == signal.SIGTSTP:
            self._stop()

    def _stop(self) -> None:
        if self._display.screen is not None:
            self._display.screen.take_back()
        for channel in self._channels:
            channel.clock.pause()
        signals.stop_ourselves()
        self._beat = time.monotonic()
        for channel in self._channels:
            channel.clock.go_on()
        if self._display.screen is not None:
            self._display.screen.resume()

    def _continued(self) -> None:
        """After a SIGSTOP that nobody could hear, the time for which nothing ran does not count."""
        stood = time.monotonic() - self._beat - 1.0
        if stood > 0.5:
            for channel in self._channels:
                channel.clock.pause(since=stood)
                channel.clock.go_on()
            if self._display.screen is not None:
                self._display.screen.resume()


# --- the three kinds of job


def exit_code(outcome: Outcome, *, lost: int = OURS) -> int:
    """The exit status of a shell for this outcome."""
    if outcome.signal is not None:
        return 128 + outcome.signal
    if outcome.exit is not None:
        return outcome.exit
    return lost


def run(launched: Launched, held: Held, options: Options) -> int:
    """Show a launched command until it ends; its exit status."""
    return trio.run(_run, launched, held, options)


async def _run(launched: Launched, held: Held, options: Options) -> int:
    name = launched.command.name
    channel = Channel(f"{name}-{launched.pid}", clock=Clock(started=launched.started))
    sampler = Sampler()
    shares = any(os.isatty(stream) for stream in range(3))
    interrupted = False

    def act(info: signal.struct_siginfo) -> None:
        nonlocal interrupted
        interrupted = interrupted or (info.si_signo == signal.SIGINT and signals.sent_by_terminal(info))
        signals.pass_on(info, launched)

    with Display(options, shares_terminal=shares) as display:
        async with trio.open_nursery() as parts:
            parts.start_soon(sampler.run)
            parts.start_soon(SignalTask(held, display, [channel], act).run)
            async with trio.open_nursery() as readers:
                readers.start_soon(partial(display.follow, [(name, channel)], ending=False))
                if options.progress_fd is not None:
                    readers.start_soon(write_json, channel, options.progress_fd, options.line_interval)
                outcome = await runner.run(
                    launched,
                    sampler,
                    channel.report,
                    channel.change,
                    total=options.total,
                    probe=options.probe,
                    interval=min(options.bar_interval, options.line_interval),
                )
                channel.finish(outcome)
            parts.cancel_scope.cancel()
    if interrupted and outcome.signal == signal.SIGINT:
        signals.die_by(signal.SIGINT)  # so that the shell's loop around us ends too; $? is 130 as well
    return exit_code(outcome)


def tell_end(launched: Launched, ended: tuple[int | None, int | None], descriptor: int) -> None:
    """The one line for a command that was over before anybody was told anything."""
    outcome = runner.outcome_of(ended)
    status = Status(
        job=f"{launched.command.name}-{launched.pid}", seq=1, state=outcome.state, current=None, total=None,
        unit=Unit.BYTES, phase="", fraction=None, rate=None, remaining=None, low=None, high=None,
        elapsed=time.monotonic() - launched.started, age=0.0, idle=0.0, moving=False, stalled=False, finishing=False,
        source="", bound=Bound.EXACT, outcome=outcome,
    )  # fmt: skip
    terminal.LineWriter(descriptor).write_last(wording.json_line(status), seconds=LAST_LINE)


def attach(pids: Sequence[int], held: Held, options: Options) -> int:
    """Show processes that already run until all have ended. Raises ProcessError for one that cannot be watched."""
    processes: list[Process] = []
    try:
        processes.extend(open_process(pid) for pid in pids)
        return trio.run(_attach, processes, held, options)
    finally:
        for process in processes:
            process.close()


async def _attach(processes: Sequence[Process], held: Held, options: Options) -> int:
    sampler = Sampler()
    outcomes: list[Outcome] = []
    jobs = []
    for process in processes:
        name = process.stat().name
        jobs.append((f"{name} {process.pid}" if len(processes) > 1 else name, Channel(f"{name}-{process.pid}")))
    leave: signal.Signals | None = None
    with Display(options, shares_terminal=False) as display:
        async with trio.open_nursery() as parts:

            def act(info: signal.struct_siginfo) -> None:
                nonlocal leave
                if info.si_signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                    leave = signal.Signals(info.si_signo)
                    parts.cancel_scope.cancel()

            async def watch(process: Process, name: str, channel: Channel) -> None:
                outcome = await runner.attach(
                    process,
                    sampler,
                    channel.report,
                    channel.change,
                    lambda: display.say(f"{name}: ended") if display.screen else None,
                    total=options.total,
                    probe=options.probe,
                    interval=min(options.bar_interval, options.line_interval),
                )
                outcomes.append(outcome)
                channel.finish(outcome)

            parts.start_soon(sampler.run)
            parts.start_soon(SignalTask(held, display, [channel for _, channel in jobs], act).run)
            async with trio.open_nursery() as readers:
                readers.start_soon(partial(display.follow, jobs, ending=True))
                for process, (name, channel) in zip(processes, jobs, strict=True):
                    readers.start_soon(watch, process, name, channel)
            parts.cancel_scope.cancel()
    if leave is not None:
        return 128 + leave
    if len(outcomes) == 1:
        return exit_code(outcomes[0], lost=LOST)
    return max((exit_code(outcome, lost=LOST) for outcome in outcomes), default=0)


def copy(source: str, destination: str, held: Held, options: Options, *, force: bool, preserve: bool) -> int:
    """Copy a file under a bar. Raises CopyError."""
    return trio.run(partial(_copy, source, destination, held, options, force=force, preserve=preserve))


async def _copy(source: str, destination: str, held: Held, options: Options, *, force: bool, preserve: bool) -> int:
    counter = Counter()
    channel = Channel(f"copy-{os.getpid()}")
    sampler = Sampler()
    stop = threading.Event()
    by: list[int] = []

    def act(info: signal.struct_siginfo) -> None:
        if info.si_signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            by.append(info.si_signo)
            channel.change(State.CANCELLING)
            stop.set()

    failure: PollprogError | None = None
    with Display(options, shares_terminal=False) as display:
        async with trio.open_nursery() as parts:
            parts.start_soon(sampler.run)
            parts.start_soon(SignalTask(held, display, [channel], act).run)
            entry = sampler.add(counter, channel.report, interval=min(options.bar_interval, options.line_interval))
            async with trio.open_nursery() as readers:
                name = os.path.basename(destination) or destination
                readers.start_soon(partial(display.follow, [(name, channel)], ending=False))
                if options.progress_fd is not None:
                    readers.start_soon(write_json, channel, options.progress_fd, options.line_interval)
                try:
                    await trio.to_thread.run_sync(
                        partial(
                            copy_file,
                            source,
                            destination,
                            counter=counter,
                            cancel=stop.is_set,
                            force=force,
                            preserve=preserve,
                        )
                    )
                    outcome = Outcome(State.SUCCEEDED, 0)
                except Cancelled as error:
                    failure, outcome = error, Outcome(State.CANCELLED, 128 + by[0] if by else 130)
                except PollprogError as error:
                    failure, outcome = error, Outcome(State.FAILED, error.exit_status)
                sampler.remove(entry)
                channel.report(counter.sample())
                channel.finish(outcome)
            parts.cancel_scope.cancel()
    if failure is not None:
        if not isinstance(failure, Cancelled):
            raise failure
        terminal.LineWriter(2).write(f"pollprog: {failure}")
    return outcome.exit or 0
