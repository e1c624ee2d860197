"""Calls of a daemon from the command line.

A call shows a bar, and its result on standard output. Ctrl-C asks the daemon to cancel, and waits until the work has really ended;
a second one leaves at once. Over ssh the work is submitted and followed: a link that drops does not end it, and is made anew.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from pollprog import signals, wording
from pollprog.addresses import Ssh, Unix, parse_address
from pollprog.asking import find, parameters_of
from pollprog.client import open_client
from pollprog.display import Display
from pollprog.errors import Cancelled, CommandFailed, ConnectionLost, JobExists, PollprogError, Unreachable
from pollprog.hearing import Hearing
from pollprog.messages import JobMessage, OperationMessage
from pollprog.mirror import Mirror
from pollprog.output import show
from pollprog.status import Outcome, State
from pollprog.varlink import error_from

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

    from pollprog.client import Client
    from pollprog.signals import Held

__all__ = [
    "Asker",
    "Followed",
    "asker_of",
    "call",
    "clean_lines",
    "list_operations",
    "show_result",
    "shown",
    "submit",
    "text",
]

log = logging.getLogger("pollprog")

BAR_INTERVAL = 1 / 3
TRIES = (0.5, 1, 2, 5, 10)
"""Seconds between attempts to make a link anew; the last of them again and again."""


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


def call(asker: Asker, method: str, words: Sequence[str], rest: Sequence[str] | None, held: Held) -> int:
    """``pollprog call``: the exit status."""
    return trio.run(partial(_call, asker, method, words, rest, held))


async def _call(asker: Asker, method: str, words: Sequence[str], rest: Sequence[str] | None, held: Held) -> int:
    operation = find(await asker.operations(), method)
    parameters = parameters_of(operation, words, rest, directory=asker.directory)
    add_surroundings(asker, operation, parameters)
    parameters.setdefault("job", f"{operation.name.lower()}-{secrets.token_hex(4)}")
    parameters.setdefault("interval", asker.bar_interval)
    work = (
        Submitted(asker, operation, parameters)
        if isinstance(asker.address, Ssh)
        else Called(asker, operation, parameters)
    )
    try:
        return show_result(asker, await shown(asker, operation.name, work, held))
    except CommandFailed as error:
        if not asker.as_json:
            show(clean_lines(error.output))
        raise


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

    def __init__(self, asker: Asker, operation: OperationMessage, parameters: dict[str, Any]) -> None:
        self.asker = asker
        self.operation = operation
        self.parameters = parameters
        self.job: str = parameters["job"]

    async def run(self, mirror: Mirror) -> Any:
        """Call, tell the mirror each status, and return the result."""
        async with open_client(self.asker.address) as client:
            running = client.call(self.operation.name, **self.parameters)
            async for status in running:
                mirror.take(status)
            return await running.result()

    async def cancel(self) -> None:
        """Ask the daemon to end it."""
        with trio.move_on_after(5):
            try:
                await self.asker.ask("Cancel", job=self.job)
            except PollprogError:
                pass  # it is over, or its connection is


class Followed(Called):
    """A job that was there before us, or stays when we go."""

    def __init__(self, asker: Asker, job: str) -> None:
        self.asker = asker
        self.job = job

    async def run(self, mirror: Mirror) -> Any:
        """Follow it to its end, over as many links as that takes; its result."""
        tries = 0
        while True:
            try:
                async with open_client(self.asker.address) as client:
                    await self.begin(client)
                    running = client.call("Follow", job=self.job, interval=self.asker.bar_interval)
                    async for status in running:
                        mirror.take(status)
                        tries = 0
                    return result_of(msgspec.convert((await running.result())["job"], JobMessage))
            except (ConnectionLost, Unreachable):
                if isinstance(self.asker.address, Unix) or (tries == 0 and mirror.latest() is None and not self.begun):
                    raise
                pause = TRIES[min(tries, len(TRIES) - 1)]
                tries += 1
                log.warning(
                    "the link to %s is lost; the work goes on there; trying again in %g s", self.asker.address, pause
                )
                await trio.sleep(pause)

    begun = True

    async def begin(self, client: Client) -> None:
        """What comes before following."""


class Submitted(Followed):
    """Work that is to go on when a link is lost."""

    def __init__(self, asker: Asker, operation: OperationMessage, parameters: dict[str, Any]) -> None:
        Called.__init__(self, asker, operation, parameters)
        self.begun = False

    async def begin(self, client: Client) -> None:
        """Submit it, once; that it is there already says that an earlier attempt came through."""
        if self.begun:
            return
        try:
            await client.call("Submit", **submission(self.asker, self.operation, self.parameters)).result()
        except JobExists:
            pass
        self.begun = True


def submission(asker: Asker, operation: OperationMessage, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of Submit for this call."""
    told: dict[str, Any] = {"method": operation.name, "parameters": parameters}
    if asker.directory is not None:
        told |= {"directory": asker.directory, "environment": environment()}
    return told


def result_of(job: JobMessage) -> Any:
    """What a job that is over returned; raises what it ended with."""
    if job.error is not None:
        raise error_from(job.error, job.parameters or {})
    return job.result


async def shown(asker: Asker, name: str, work: Called, held: Held, *, cancelling: bool = True) -> Any:
    """Show work until it has ended; what it returned. `cancelling`: a signal ends the work, and not only the showing."""
    mirror = Mirror(work.job)
    asked: list[int] = []
    error: PollprogError | None = None
    result: Any = None
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
            parts.cancel_scope.cancel()
    if asked and (error is None or not cancelling) and result is None:
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
        operation = find(await asker.operations(), method)
        parameters = parameters_of(operation, words, rest, directory=asker.directory)
        told: str = (await asker.ask("Submit", **submission(asker, operation, parameters)))["job"]
        return told

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
