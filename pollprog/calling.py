"""Calls of a daemon from the command line.

A call shows a bar, and its result on standard output. Ctrl-C asks the daemon to cancel, and waits until the work has really ended;
a second one leaves at once. Over ssh the work is submitted and followed: a link that drops does not end it, and is made anew.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio

from pollprog import signals, wording
from pollprog.addresses import Ssh, Unix, parse_address
from pollprog.asking import find, parameters_of
from pollprog.client import open_client
from pollprog.display import Display
from pollprog.errors import (
    Cancelled,
    CommandFailed,
    ConnectionLost,
    JobExists,
    JobOver,
    NoSuchJob,
    PollprogError,
    Unreachable,
)
from pollprog.hearing import Hearing, Leaving
from pollprog.messages import JobMessage, OperationMessage
from pollprog.mirror import Mirror
from pollprog.output import show
from pollprog.status import Outcome, State
from pollprog.varlink import error_from

if TYPE_CHECKING:
    import signal
    from collections.abc import Awaitable, Callable, Sequence

    from pollprog.client import Client
    from pollprog.signals import Held

__all__ = [
    "Asker",
    "Followed",
    "asker_of",
    "call",
    "clean_lines",
    "interruptible",
    "list_operations",
    "new_job",
    "persist",
    "run",
    "show_result",
    "shown",
    "submit",
    "text",
    "work_of",
]

log = logging.getLogger("pollprog")

T = TypeVar("T")

BAR_INTERVAL = 1 / 3
PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds until a link that was lost is made anew: at first, and at the most, for it doubles with each attempt."""
CANCELLING = 30.0
"""Seconds within which a cancel has to be heard; over ssh it takes a login."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who is asked, and how the answer is shown."""

    address: Unix | Ssh
    progress: str = "auto"
    interval: float | None = None
    as_json: bool = False

    @property
    def directory(self) -> str | None:
        """Where relative paths begin; None if the files are elsewhere."""
        return os.getcwd() if isinstance(self.address, Unix) else None

    @property
    def bar_interval(self) -> float:
        """Seconds between two statuses."""
        return self.interval or (1.0 if self.as_json else BAR_INTERVAL)

    async def ask(self, method: str, /, **parameters: Any) -> Any:
        """One quick question, on a connection of its own."""
        async with open_client(self.address) as client:
            return await client.call(method, **parameters).result()

    async def operations(self, client: Client | None = None) -> list[OperationMessage]:
        """What can be called there."""
        told = await (client.call("Describe").result() if client is not None else self.ask("Describe"))
        return msgspec.convert(told["operations"], list[OperationMessage])

    async def jobs(self, **which: Any) -> list[JobMessage]:
        """The jobs there, newest first."""
        return msgspec.convert((await self.ask("List", **which))["jobs"], list[JobMessage])


# --- one call


def run(function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """What `function` returns, run by trio; an error that a nursery has wrapped is raised as it was."""
    try:
        return trio.run(function, *arguments)
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


def call(asker: Asker, method: str, words: Sequence[str], rest: Sequence[str] | None, held: Held) -> int:
    """``pollprog call``: the exit status."""
    return run(partial(_call, asker, method, words, rest, held))


async def _call(asker: Asker, method: str, words: Sequence[str], rest: Sequence[str] | None, held: Held) -> int:
    async with AsyncExitStack() as stack:

        async def prepare() -> tuple[Client, OperationMessage, dict[str, Any]]:
            client = await stack.enter_async_context(open_client(asker.address))
            return client, *await prepared(asker, client, method, words, rest)

        client, operation, parameters = await interruptible(held, prepare)
        add_surroundings(asker, operation, parameters)
        parameters.setdefault("interval", asker.bar_interval)
        work = work_of(asker, client, operation.name, parameters)
        try:
            return show_result(asker, await shown(asker, operation.name, work, held))
        except CommandFailed as error:
            if not asker.as_json:
                show(clean_lines(error.output))
            raise


async def prepared(
    asker: Asker, client: Client, method: str, words: Sequence[str], rest: Sequence[str] | None
) -> tuple[OperationMessage, dict[str, Any]]:
    """The operation that was typed, and its parameters, with a name for the job."""
    operation = find(await asker.operations(client), method)
    parameters = parameters_of(operation, words, rest, directory=asker.directory)
    parameters.setdefault("job", new_job(operation.name))
    return operation, parameters


def new_job(method: str) -> str:
    """A name for a job of this operation that no other has."""
    return f"{method.lower()[:40]}-{secrets.token_hex(4)}"


async def interruptible(held: Held, function: Callable[[], Awaitable[T]]) -> T:
    """What it returns. A signal that ends programs ends the waiting for it: Cancelled."""
    result: T | None = None
    failure: PollprogError | None = None
    with Display("none", interval=1.0, shares_terminal=False) as display:
        async with trio.open_nursery() as parts:
            leaving = Leaving(parts.cancel_scope)
            parts.start_soon(Hearing(held, display, leaving).run)
            try:
                result = await function()
            except PollprogError as error:
                failure = error
            parts.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if result is None:
        left = Cancelled("left, before anything was done")
        left.exit_status = leaving.status or left.exit_status
        raise left
    return result


def add_surroundings(asker: Asker, operation: OperationMessage, parameters: dict[str, Any]) -> None:
    """Where a command runs, and its environment, are those of whoever types it, if it takes them and is on this machine."""
    optional = {parameter.name: parameter.kind for parameter in operation.parameters if not parameter.required}
    if asker.directory is not None:
        if optional.get("directory") == "path":
            parameters.setdefault("directory", asker.directory)
        if optional.get("environment") == "map":
            parameters.setdefault("environment", environment())


def environment() -> dict[str, str]:
    """Our environment, as far as JSON can carry it."""
    return {
        name: value for name, value in os.environ.items() if (name + value).isprintable() or encodable(name + value)
    }


def encodable(text: str) -> bool:
    """Whether it has no bytes in it that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Called:
    """A call that ends with its connection."""

    def __init__(self, asker: Asker, client: Client, method: str, parameters: dict[str, Any]) -> None:
        self.asker = asker
        self.client = client
        self.method = method
        self.parameters = parameters
        self.job: str = parameters["job"]
        self._running = client.call(method, **parameters)

    async def run(self, mirror: Mirror) -> Any:
        """Call, tell the mirror each status, and return the result."""
        async for status in self._running:
            mirror.take(status)
        return await self._running.result()

    async def cancel(self) -> None:
        """Ask the daemon to end it."""
        await self._running.cancel()


async def persist(asker: Asker, client: Client, step: Callable[[], Awaitable[T]]) -> T:
    """What this returns, tried again whenever the link is lost. On this machine there is nothing to try again."""
    lost, pause = "", PAUSE
    while True:
        try:
            if lost:
                await client.connection()
                log.warning("the link to %s is back", asker.address)
                lost, pause = "", PAUSE
            return await step()
        except Unreachable as error:
            if isinstance(asker.address, Unix) or isinstance(error, Gone):
                raise
            if str(error) != lost:
                log.warning("what runs there goes on, and the link is made anew: %s", error)
            lost = str(error)
        await trio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


class Gone(ConnectionLost):
    """The daemon that knew of the job has ended: nothing is to be had by trying again."""


class Followed:
    """A job that was there before us, or stays when we go."""

    def __init__(self, asker: Asker, client: Client, job: str) -> None:
        self.asker = asker
        self.client = client
        self.job = job
        self._cancelled = False
        """It was asked to end, and nobody has heard that yet."""

    async def run(self, mirror: Mirror) -> Any:
        """Follow it to its end, over as many links as that takes; its result."""
        return await persist(self.asker, self.client, partial(self._follow, mirror))

    async def _follow(self, mirror: Mirror) -> Any:
        if self._cancelled:
            await self._say_cancel(self.client)
        known = mirror.latest()
        running = self.client.call(
            "Follow", job=self.job, interval=self.asker.bar_interval, after=None if known is None else known.seq
        )
        try:
            async for status in running:
                mirror.take(status)
            return result_of(msgspec.convert((await running.result())["job"], JobMessage))
        except NoSuchJob as error:
            if known is None:
                raise
            text = f"{self.asker.address}: the daemon there has ended meanwhile; how job {self.job} ended is not known"
            raise Gone(text, address=str(self.asker.address)) from error

    async def cancel(self) -> None:
        """Ask the daemon to end it; over ssh by another link. What is not heard now is said again when a lost link is back."""
        self._cancelled = True
        with trio.move_on_after(CANCELLING):
            try:
                async with open_client(self.asker.address) as client:
                    await self._say_cancel(client)
            except PollprogError as error:
                log.warning("the cancel has not been heard yet; once more to leave (%s)", error)

    async def _say_cancel(self, client: Client) -> None:
        try:
            await client.call("Cancel", job=self.job).result()
        except NoSuchJob:
            return  # it has not begun yet; who begins it will say so
        except JobOver:
            pass
        self._cancelled = False


class Submitted(Followed):
    """Work that is to go on when a link is lost."""

    def __init__(self, asker: Asker, client: Client, method: str, parameters: dict[str, Any]) -> None:
        super().__init__(asker, client, parameters["job"])
        self.method = method
        self.parameters = parameters
        self._tried = False

    async def run(self, mirror: Mirror) -> Any:
        """Begin it, and follow it to its end."""
        await self.begin()
        return await super().run(mirror)

    async def begin(self) -> None:
        """Submit it, once: the daemon takes no two jobs of one name, so an attempt of which nothing was heard may be repeated."""
        await persist(self.asker, self.client, self._submit)

    async def _submit(self) -> None:
        again, self._tried = self._tried, True
        told: dict[str, Any] = {"method": self.method, "parameters": self.parameters}
        if self.asker.directory is not None:
            told |= {"directory": self.asker.directory, "environment": environment()}
        try:
            await self.client.call("Submit", **told).result()
        except JobExists:
            if not again or not await self._is_ours():
                raise

    async def _is_ours(self) -> bool:
        """Whether the job of this name is what an earlier attempt has begun."""
        job = msgspec.convert((await self.client.call("Get", job=self.job).result())["job"], JobMessage)
        return job.detached and job.method == self.method


def work_of(asker: Asker, client: Client, method: str, parameters: dict[str, Any]) -> Called | Submitted:
    """A call as it is made to this daemon: what is far away is submitted and followed, for links drop."""
    kind = Submitted if isinstance(asker.address, Ssh) else Called
    return kind(asker, client, method, parameters)


def result_of(job: JobMessage) -> Any:
    """What a job that is over returned; raises what it ended with."""
    if job.error is not None:
        raise error_from(job.error, job.parameters or {})
    return job.result


async def shown(asker: Asker, name: str, work: Called | Followed, held: Held, *, cancelling: bool = True) -> Any:
    """Show work until it has ended; what it returned. `cancelling`: a signal ends the work, and not only the showing."""
    mirror = Mirror(work.job)
    asked: list[int] = []
    error: PollprogError | None = None
    result: Any = None
    ended = False
    progress = "none" if asker.as_json else asker.progress
    with Display(progress, interval=asker.bar_interval, shares_terminal=False) as display:
        async with trio.open_nursery() as parts:

            def act(info: signal.struct_siginfo) -> None:
                if info.si_signo in signals.LEAVING:
                    asked.append(info.si_signo)
                    if len(asked) > 1 or not cancelling:
                        parts.cancel_scope.cancel()
                    else:
                        parts.start_soon(work.cancel)

            parts.start_soon(Hearing(held, display, act).run)
            async with trio.open_nursery() as readers:
                readers.start_soon(partial(display.follow, name, mirror, ending=False))
                if asker.as_json:
                    readers.start_soon(print_statuses, mirror)
                try:
                    result = await work.run(mirror)
                    mirror.finish(Outcome(State.SUCCEEDED, 0))
                except PollprogError as raised:
                    error = raised
                    state = State.CANCELLED if isinstance(raised, Cancelled) else State.FAILED
                    mirror.finish(Outcome(state, raised.exit_status))
                ended = True
            parts.cancel_scope.cancel()
    if not ended:
        raise Cancelled("left; the work may go on")
    if error is not None:
        if isinstance(error, Cancelled) and asked:
            error.exit_status = 128 + asked[0]
        raise error
    return result


async def print_statuses(mirror: Mirror) -> None:
    """Each status as a line of JSON, but the last: that comes with the result."""
    after = 0
    while True:
        status = await mirror.next(after)
        if status.outcome is not None:
            return
        show(wording.json_line(status))
        after = status.seq


def show_result(asker: Asker, result: Any) -> int:
    """Print what a call returned."""
    if asker.as_json:
        show(json.dumps({"result": result}, ensure_ascii=False) + "\n")
    elif isinstance(result, dict):
        if set(result) == {"output"}:
            show(clean_lines(result["output"]))
        else:
            show("".join(f"{name}: {wording.clean(text(value))}\n" for name, value in result.items()))
    elif result is not None:
        show(f"{wording.clean(text(result))}\n")
    return 0


def text(value: Any) -> str:
    """A value in a line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def clean_lines(printed: str) -> str:
    """What a command printed, without what a terminal would obey."""
    return "".join(f"{wording.clean(line)}\n" for line in printed.splitlines())


# --- jobs


def submit(asker: Asker, method: str, words: Sequence[str], rest: Sequence[str] | None) -> int:
    """``pollprog submit``: prints the job's id."""

    async def ask() -> str:
        async with open_client(asker.address) as client:
            operation, parameters = await prepared(asker, client, method, words, rest)
            work = Submitted(asker, client, operation.name, parameters)
            await work.begin()
            return work.job

    job = trio.run(ask)
    show(json.dumps({"job": job}) + "\n" if asker.as_json else f"{job}\n")
    return 0


def list_operations(asker: Asker) -> int:
    """``pollprog call`` alone: what can be called."""
    operations = trio.run(asker.operations)
    if asker.as_json:
        show(b"".join(msgspec.json.encode(one) + b"\n" for one in operations))
        return 0
    wide = max(len(one.name) for one in operations)
    show("".join(f"{one.name:{wide}}  {wording.clean(one.doc.splitlines()[0])}\n" for one in operations))
    return 0


def asker_of(connect: str | None, **rest: Any) -> Asker:
    """Who is asked, by what was typed after ``--connect``."""
    return Asker(parse_address(connect), **rest)
