"""What attach and top show of this machine, shown of another: its daemon looks, and tells."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

from pollprog.calling import interruptible, new_job, run, shown
from pollprog.client import open_client
from pollprog.ending import exit_code
from pollprog.errands import persist, work_of
from pollprog.errors import MethodNotFound, PollprogError, UsageError
from pollprog.messages import TopReply, status_of
from pollprog.top import view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.client import Client
    from pollprog.errands import Asker
    from pollprog.signals import Held
    from pollprog.status import Status

__all__ = ["attach", "top"]

LOST = 123
"""Exit status of ``attach`` where nobody can know how the process ended."""


def attach(asker: Asker, targets: Sequence[int | str], held: Held) -> int:
    """``pollprog attach --connect``: the exit status of the process."""
    if len(targets) != 1:
        raise UsageError("attach --connect shows one process: name one PID, or one resource")
    return run(_attach, asker, targets[0], held)


async def _attach(asker: Asker, target: int | str, held: Held) -> int:
    name, parameter = (f"process {target}", "pid") if isinstance(target, int) else (target, "resource")
    async with AsyncExitStack() as stack:
        client = await interruptible(held, partial(stack.enter_async_context, open_client(asker.address)))
        parameters = {parameter: target, "job": new_job("Observe"), "interval": asker.bar_interval}
        ended = await shown(asker, name, work_of(asker, client, "Observe", parameters), held)
    return exit_code((ended.get("exit"), ended.get("signal")), lost=LOST)


def top(asker: Asker, held: Held) -> int:
    """``pollprog top --connect``: the exit status."""
    return run(_top, asker, held)


async def _top(asker: Asker, held: Held) -> int:
    async with AsyncExitStack() as stack:
        client = await interruptible(held, partial(stack.enter_async_context, open_client(asker.address)))
        seen = Seen(asker, client)
        status = await view(lambda: seen, held, as_json=asker.as_json, interval=asker.interval or 1.0)
    if seen.failure is not None:
        raise seen.failure
    return status


class Row:
    """What stands at the beginning of a row."""

    def __init__(self, pid: int, command: str) -> None:
        self.pid = pid
        self.command = command
        self.pulse = 0


class Seen:
    """What there is to see there, as it was told last."""

    def __init__(self, asker: Asker, client: Client) -> None:
        self.failure: PollprogError | None = None
        """Why nothing more will come."""
        self._asker = asker
        self._client = client
        self._known: dict[int, Row] = {}
        self._rows: list[tuple[Row, Status]] = []
        self._notes: list[str] = []
        self._heard = trio.Event()

    @property
    def failed(self) -> bool:
        """Whether nothing more will come."""
        return self.failure is not None

    async def run(self) -> None:
        """Take what is told, over as many links as that takes."""
        try:
            await persist(self._asker, self._client, self._listen)
        except MethodNotFound as error:
            text = f"{self._asker.address}: the pollprog there does not know how to look at its machine: update it"
            self.failure = PollprogError(text)
            self.failure.exit_status, self.failure.__cause__ = error.exit_status, error
        except PollprogError as error:
            self.failure = error
        self._heard.set()

    async def _listen(self) -> None:
        async for reply in self._client.call("Top", interval=self._asker.interval or 1.0).replies():
            told = msgspec.convert(reply, TopReply)
            rows = [(self._known.get(row.pid) or Row(row.pid, ""), row) for row in told.rows]
            for known, row in rows:
                known.command = row.command
            self._known = {known.pid: known for known, _ in rows}
            self._rows = [(known, status_of(row.status)) for known, row in rows]
            self._notes = told.notes
            self._heard.set()

    async def first(self) -> None:
        """Wait until something is known."""
        await self._heard.wait()

    def update(self, interval: float) -> None:
        """The daemon knows how often."""

    def rows(self) -> Sequence[tuple[Row, Status]]:
        """Each job there, with how far it is."""
        return self._rows

    def notes(self, rows: Sequence[object]) -> list[str]:  # noqa: ARG002 # they were made there
        """What is to be said besides the rows."""
        return self._notes
