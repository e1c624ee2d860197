"""The commands that look at a daemon's jobs: list, show, watch, cancel, pause, resume."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from pollprog import wording
from pollprog.calling import Left, complain, interruptible, run, show_result, shown, text
from pollprog.client import open_client
from pollprog.display import Display
from pollprog.errands import Asker, Followed, persist
from pollprog.errors import PollprogError, Unreachable, UsageError
from pollprog.hearing import Hearing, Leaving
from pollprog.messages import INTERFACE, JobMessage, status_of
from pollprog.output import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.client import Client
    from pollprog.signals import Held
    from pollprog.status import Status

__all__ = ["jobs_table", "list_jobs", "order", "show_job", "watch"]

GAP = 2
"""Cells between two columns of a table."""
LEAST_WORK = 12
"""Cells in which what a job does says anything."""


def list_jobs(asker: Asker, state: str | None) -> int:
    """``pollprog list``."""
    jobs = trio.run(partial(asker.jobs, **({"state": state} if state else {})))
    if asker.as_json:
        show(b"".join(msgspec.json.encode(job) + b"\n" for job in jobs))
    elif jobs:
        show("".join(f"{line}\n" for line in jobs_table(jobs, columns())))
    else:
        print("pollprog: there are no jobs", file=sys.stderr)
    return 0


def show_job(asker: Asker, job: str) -> int:
    """``pollprog show``: one job, with all that is known of it."""
    told = run(_get, asker, job)
    if asker.as_json:
        show(json.dumps(told, ensure_ascii=False) + "\n")
        return 0
    one = msgspec.convert(told, JobMessage)
    lines = [
        ("job", one.id),
        ("does", one.title),
        ("state", one.state),
        ("uid", str(one.uid)),
        ("started", when(one.started)),
    ]
    if one.ended is not None:
        lines.append(("ended", when(one.ended)))
    if one.status is not None:
        status = status_of(one.status)
        told_of = "" if status.state.over else standing_line(status)
        lines += [("progress", told_of.strip())] if told_of else []
        lines += [("measured by", status.source)] if status.source else []
    if one.message:
        lines.append(("error", f"{(one.error or '').removeprefix(INTERFACE + '.')}: {one.message}"))
    if one.result is not None:
        lines.append(("result", text(one.result)))
    show("".join(f"{name + ':':13}{wording.clean(value)}\n" for name, value in lines))
    return 0


def standing_line(status: Status) -> str:
    """How far it is, in a line that does not move: without a total there is no gauge, for it would show a part of nothing."""
    if status.fraction is None:
        return wording.LogLines(unicode=False).due(status)[0]
    return wording.bar_line(status, columns=79, unicode=False, colour=False)


async def _get(asker: Asker, job: str) -> Any:
    async with open_client(asker.address) as client:
        return (await client.call("Get", job=await whole_id(client, job)).result())["job"]


async def whole_id(client: Client, typed: str) -> str:
    """The id of the only job that begins so; what was typed if there is none, or that is an id. UsageError if there are several."""
    jobs = msgspec.convert((await client.call("List").result())["jobs"], list[JobMessage])
    near = [job.id for job in jobs if job.id.startswith(typed)]
    if typed in near or not typed or len(near) == 0:
        return typed
    if len(near) > 1:
        raise UsageError(
            f"{len(near)} jobs begin with {typed!r}: {', '.join(near[:5])}{', …' if len(near) > 5 else ''}"
        )
    return near[0]


def order(asker: Asker, method: str, jobs: Sequence[str]) -> int:
    """``pollprog cancel``, ``pause``, ``resume``: for each job; the exit status of the last that could not."""
    return trio.run(_order, asker, method, jobs)


async def _order(asker: Asker, method: str, jobs: Sequence[str]) -> int:
    status = 0
    async with open_client(asker.address) as client:
        for typed in jobs:
            try:
                job = await whole_id(client, typed)
                state = (await client.call(method, job=job).result())["state"]
                show(json.dumps({"job": job, "state": state}) + "\n" if asker.as_json else f"{job}: {state}\n")
            except Unreachable:
                raise
            except PollprogError as error:
                complain(error, as_json=asker.as_json)
                status = error.exit_status
    return status


def watch(asker: Asker, job: str | None, held: Held) -> int:
    """``pollprog watch``: one job to its end, and its exit status; or all jobs, until somebody ends it."""
    try:
        return run(_watch_all, asker, held) if job is None else run(_watch, asker, job, held)
    except Left:
        return 130


async def _watch(asker: Asker, job: str, held: Held) -> int:
    async with AsyncExitStack() as stack:

        async def prepare() -> tuple[Client, JobMessage]:
            client = await stack.enter_async_context(open_client(asker.address))
            told = await client.call("Get", job=await whole_id(client, job)).result()
            return client, msgspec.convert(told["job"], JobMessage)

        client, told = await interruptible(held, prepare)
        work = Followed(asker, client, told.id)
        return show_result(asker, await shown(asker, told.method, work, held, cancelling=False))


async def _watch_all(asker: Asker, held: Held) -> int:
    known: dict[str, JobMessage] = {}
    from rich.text import Text

    live = os.isatty(1) and not asker.as_json
    with Display("auto" if live else "none", interval=asker.bar_interval, shares_terminal=False) as display:

        def take(changed: Sequence[JobMessage]) -> None:
            known.update({one.id: one for one in changed})
            if asker.as_json:
                show(b"".join(msgspec.json.encode(one) + b"\n" for one in changed))
            elif display.screen is not None:
                width, height = display.screen.size()
                shown_jobs = list(reversed(known.values()))[: max(1, (height or 24) - 3)]
                table = [Text(line) for line in jobs_table(shown_jobs, width - 1)]
                for line in table:
                    line.truncate(width - 1)
                display.screen.draw([*(line.plain for line in table), ""])
            else:
                show("".join(f"{job_line(one)}\n" for one in changed))

        async with trio.open_nursery() as parts:
            leaving = Leaving(parts.cancel_scope)
            parts.start_soon(Hearing(held, display, leaving).run)
            async with open_client(asker.address) as client:

                async def follow() -> None:
                    async for reply in client.call("Watch", interval=asker.interval or 1.0).replies():
                        take(msgspec.convert(reply["jobs"], list[JobMessage]))

                await persist(asker, client, follow)
            parts.cancel_scope.cancel()
    return leaving.status or 0


def job_line(job: JobMessage) -> str:
    """A job in a line of a log."""
    status = status_of(job.status) if job.status is not None else None
    done = wording.percent_of(status, short=True) if status is not None and status.fraction is not None else ""
    return wording.clean(" ".join(filter(None, [job.id, job.state, done.strip(), job.title])))


def jobs_table(jobs: Sequence[JobMessage], room: int) -> list[str]:
    """Jobs as the lines of a table of that many cells. What each does is cut to fit, and if need be some columns are left out; how
    it is called, its state and how far it is are never cut, though a line be too long.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = {head: [head] for head in ("JOB", "STATE", "DONE", "LEFT", "STARTED", "WORK")}
    for job in jobs:
        status = status_of(job.status) if job.status is not None else None
        cells = [job.id, job.state, *columns_of(status), when(job.started), job.title]
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(wording.clean(cell))
    widths = {head: max(map(cell_len, column)) for head, column in columns.items()}
    widths["WORK"] = min(widths["WORK"], LEAST_WORK)
    for head in ("STARTED", "LEFT"):
        if sum(widths.values()) + GAP * len(widths) > room:
            del columns[head], widths[head]
    grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), expand=True, show_header=False)
    for head, width in widths.items():
        ratio = 1 if head == "WORK" else None
        grid.add_column(no_wrap=True, overflow="ellipsis", min_width=width, ratio=ratio)
    for row in zip(*columns.values(), strict=True):
        grid.add_row(*map(Text, row))
    page = StringIO()  # of its own: a Console without one writes to standard output, even if it is captured
    Console(file=page, width=max(room, sum(widths.values()) + GAP * len(widths)), color_system=None).print(grid)
    return [line.rstrip() for line in page.getvalue().rstrip("\n").split("\n")]


def columns_of(status: Status | None) -> tuple[str, str]:
    """How much is done, and how long it takes."""
    if status is None:
        return "", ""
    standing = "" if status.outcome is not None else wording.standing_of(status, short=True)
    percent = wording.percent_of(status, short=True).strip() if status.fraction is not None else ""
    return percent or (wording.amount_of(status) if status.current else ""), standing


def when(moment: float) -> str:
    """A time, for people: of today, without the date."""
    then = time.localtime(moment)
    today = time.localtime()[:3] == then[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", then)


def columns() -> int:
    """How wide standard output is."""
    return os.get_terminal_size(1).columns if os.isatty(1) else 160
