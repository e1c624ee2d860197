"""What a daemon is asked to do, from the first word to the result.

On this machine a call ends with its connection. Over ssh it is submitted and followed: a link that drops does not end the work, and is
made anew until the result is there.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio

from pollprog.addresses import Ssh, Unix, parse_address
from pollprog.client import open_client
from pollprog.conversation import environment
from pollprog.errors import ConnectionLost, JobExists, JobOver, NoSuchJob, PollprogError, Unreachable
from pollprog.messages import JobMessage, OperationMessage
from pollprog.varlink import error_from

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pollprog.client import Client
    from pollprog.mirror import Mirror

__all__ = ["Asker", "Called", "Followed", "Submitted", "asker_of", "persist", "work_of"]

log = logging.getLogger("pollprog")

T = TypeVar("T")

BAR_INTERVAL, LINE_INTERVAL = 1 / 3, 1.0
"""Seconds between two statuses, unless somebody says otherwise."""
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
    progress_fd: int | None = None
    """Where lines of JSON go besides."""

    @property
    def directory(self) -> str | None:
        """Where relative paths begin; None if the files are elsewhere."""
        return os.getcwd() if isinstance(self.address, Unix) else None

    @property
    def bar_interval(self) -> float:
        """Seconds between two statuses."""
        return self.interval or (LINE_INTERVAL if self.as_json else BAR_INTERVAL)

    @property
    def line_interval(self) -> float:
        """Seconds between two lines of JSON."""
        return self.interval or LINE_INTERVAL

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


def asker_of(connect: str | None, **rest: Any) -> Asker:
    """Who is asked, by what was typed after ``--connect``."""
    return Asker(parse_address(connect), **rest)


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
