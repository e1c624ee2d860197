"""One job's status to a thousand watchers: the CPU of a fan, against asyncio's timers and transports.

    python bench/fan.py [--rounds N] [--watchers N]

Each watcher has a socket and an interval of its own, from 0.5 to 1.5 seconds, and samples come five times a second. Both
sides take them into the same kind of channel, encode a status with the same function, and keep it equally long; asyncio has
a ``call_later`` for each watcher, and a ``write`` on its transport. Each run is a process of its own, and so is the one that
reads. The two sides take turns, and a ratio is the median of those of each round. A delay is what passed between two
statuses at the reading end, beyond the watcher's interval; that of the outcome counts from when it was known.

Then both once more, with a hundred watchers besides that never read, and whose buffers are full. The exit status is 0
whatever the figures are.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import select
import socket
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles
from typing import TYPE_CHECKING

import trio
from cost import tell_ratio

from pollprog.channel import Channel, Clock
from pollprog.fan import FRESH, Fan
from pollprog.status import Outcome, Sample, State
from pollprog.wording import json_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from pollprog.status import Status

SILENT = 100
"""Watchers that never read."""
SHORTEST, LONGEST = 0.5, 1.5
BETWEEN_SAMPLES = 0.2
WARM_UP, WINDOW = 2.0, 3.0
"""Seconds before the count of CPU begins, when each watcher has been told, and for which it lasts."""
DONE = Outcome(State.SUCCEEDED, 0)
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Told:
    """What one side says of its run; moments are those of the monotonic clock."""

    cpu: float
    begun: float
    ended: float
    over: float
    """When the outcome was known."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one side."""

    cpu: float
    delays: list[float]
    outcomes: list[float]
    statuses: int


class Meter:
    """Counts CPU between two calls."""

    def __init__(self) -> None:
        self._begun = self._used = self.over = 0.0

    def begin(self) -> None:
        self._begun, self._used = time.monotonic(), time.process_time()

    def end(self) -> Callable[[], Told]:
        cpu, ended = time.process_time() - self._used, time.monotonic()
        return lambda: Told(cpu, self._begun, ended, self.over)


def channel_of_old_work() -> Channel:
    return Channel("bench", clock=Clock(started=time.monotonic() - 100))


def sample(number: int) -> Sample:
    return Sample(number << 20, 1 << 40, source="evidence:output-size")


# --- our side


class Socket:
    """A sink: a small frame is taken whole or not at all by a socket of this kind."""

    def __init__(self, end: socket.socket) -> None:
        self._send = end.send

    def offer(self, frame: bytes) -> bool:
        try:
            self._send(frame)
        except BlockingIOError:
            return False
        return True


def run_ours(ends: list[socket.socket], intervals: list[float]) -> Told:
    async def report(channel: Channel) -> None:
        for number in range(1, 1_000_000):
            channel.report(sample(number))
            await trio.sleep(BETWEEN_SAMPLES)

    async def run() -> Told:
        channel, meter = channel_of_old_work(), Meter()
        fan = Fan(channel, json_line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(report, channel)
            nursery.start_soon(fan.run)
            for end, interval in zip(ends, intervals, strict=True):
                fan.add(Socket(end), interval=interval)
            await trio.sleep(WARM_UP)
            meter.begin()
            await trio.sleep(WINDOW)
            told = meter.end()
            meter.over = time.monotonic()
            channel.finish(DONE)
            await trio.sleep(0.3)
            nursery.cancel_scope.cancel()
        return told()

    return trio.run(run)


# --- asyncio


def run_asyncio(ends: list[socket.socket], intervals: list[float]) -> Told:
    async def make() -> Channel:
        return channel_of_old_work()  # which has to be made under trio; nobody waits for it here

    channel, meter = trio.run(make), Meter()
    kept: tuple[float, Status, bytes] | None = None

    def newest(now: float) -> bytes:
        nonlocal kept
        if kept is None or kept[1].seq != channel.seq or now - kept[0] > FRESH:
            status = channel.latest()
            kept = now, status, json_line(status)
        return kept[2]

    async def run() -> Told:
        loop = asyncio.get_running_loop()

        def report(number: int) -> None:
            channel.report(sample(number))
            loop.call_later(BETWEEN_SAMPLES, report, number + 1)

        def tell(transport: asyncio.WriteTransport, interval: float) -> None:
            if meter.over:
                return
            if channel.seq:
                transport.write(newest(loop.time()))
            loop.call_later(interval, tell, transport, interval)

        transports = []
        report(1)
        for end, interval in zip(ends, intervals, strict=True):
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=end)
            transports.append(transport)
            tell(transport, interval)
        await asyncio.sleep(WARM_UP)
        meter.begin()
        await asyncio.sleep(WINDOW)
        told = meter.end()
        meter.over = time.monotonic()
        channel.finish(DONE)
        last = newest(loop.time())
        for transport in transports:
            transport.write(last)
        await asyncio.sleep(0.3)
        for transport in transports:
            transport.abort()
        return told()

    return asyncio.run(run())


# --- a run: a process that tells, one that reads, and what they say of it


def fill(end: socket.socket) -> None:
    """Put as much into its buffer as it holds."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    try:
        while True:
            end.send(b"-" * 256)
    except BlockingIOError:
        pass


def tell_all(side: Callable[[list[socket.socket], list[float]], Told], ends: list[socket.socket], silent: int) -> Told:
    for end in ends:
        end.setblocking(False)
    reading = len(ends) - silent
    for end in ends[reading:]:
        fill(end)
    return side(ends, intervals_of(reading) + intervals_of(silent))


def intervals_of(count: int) -> list[float]:
    return [SHORTEST + (LONGEST - SHORTEST) * number / max(1, count - 1) for number in range(count)]


def read_all(ends: list[socket.socket]) -> list[list[float]]:
    """When something came, for each of them, to the end of each."""
    came: dict[int, list[float]] = {end.fileno(): [] for end in ends}
    poll = select.epoll()
    for descriptor in came:
        poll.register(descriptor, select.EPOLLIN)
    left = len(came)
    while left:
        for descriptor, _ in poll.poll():
            try:
                data = os.read(descriptor, 65536)
            except ConnectionResetError:
                data = b""
            if data:
                came[descriptor].append(time.monotonic())
            else:
                poll.unregister(descriptor)
                left -= 1
    return list(came.values())


def measure(side: Callable[[list[socket.socket], list[float]], Told], watchers: int, silent: int) -> Run:
    pairs = [socket.socketpair() for _ in range(watchers + silent)]
    ours, theirs = [list(ends) for ends in zip(*pairs, strict=True)]

    def in_a_process(work: Callable[[], object], other_ends: list[socket.socket]) -> tuple[Connection, object]:
        here, there = FORK.Pipe(duplex=False)

        def do() -> None:
            for end in other_ends:
                end.close()
            there.send(work())

        process = FORK.Process(target=do)
        process.start()
        there.close()
        return here, process

    reader, reading = in_a_process(lambda: read_all(theirs[:watchers]), ours)
    teller, telling = in_a_process(lambda: tell_all(side, ours, silent), theirs)
    for end in ours + theirs:
        end.close()
    told, came = teller.recv(), reader.recv()
    for process in (reading, telling):
        process.join()
    delays, statuses = [], 0
    for times, interval in zip(came, intervals_of(watchers), strict=True):
        for sooner, later in pairwise(times):
            if told.begun <= later <= told.ended:
                statuses += 1
                delays.append(later - sooner - interval)
    return Run(told.cpu, delays, [times[-1] - told.over for times in came], statuses)


# --- the table


def late(runs: list[Run]) -> str:
    """The 50th and 99th percentile of the delays, statuses and outcomes."""
    told = []
    for which in ("delays", "outcomes"):
        cuts = [quantiles(getattr(run, which), n=100) for run in runs]
        told.append(f"{median(cut[49] for cut in cuts) * 1e3:.1f}/{median(cut[98] for cut in cuts) * 1e3:.1f}")
    return f"late {told[0]} ms, outcome {told[1]} ms (p50/p99)"


def each(runs: list[Run]) -> str:
    return f"{median(run.cpu / run.statuses for run in runs) * 1e6:.1f} us a status"


def main() -> None:
    parser = argparse.ArgumentParser(description="One job's status to many watchers, against asyncio.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--watchers", type=int, default=1000)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 2 * (arguments.watchers + SILENT) + 100
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"{wanted} descriptors are needed, and {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"{'':66} {'measured':>9} {'goal':>9}")
    runs: dict[tuple[str, int], list[Run]] = {}
    for _ in range(arguments.rounds):
        for silent in (0, SILENT):
            for name, side in (("ours", run_ours), ("asyncio", run_asyncio)):
                runs.setdefault((name, silent), []).append(measure(side, arguments.watchers, silent))

    def ratio(one: tuple[str, int], other: tuple[str, int]) -> float:
        return median(a.cpu / b.cpu for a, b in zip(runs[one], runs[other], strict=True))

    what = f"CPU of status to {arguments.watchers}"
    for silent, words in ((0, " watchers"), (SILENT, f", {SILENT} more never read")):
        ours, theirs = ("ours", silent), ("asyncio", silent)
        tell_ratio(f"{what}{words} / asyncio", ratio(ours, theirs), 1.25, f"{each(runs[ours])}; {each(runs[theirs])}")
        for name, side in (("ours", ours), ("asyncio", theirs)):
            print(f"    {name}: {late(runs[side])}")
    alone = runs["ours", 0]
    statuses = [median(run.statuses for run in runs["ours", silent]) for silent in (SILENT, 0)]
    note = f"the others got {statuses[0]:.0f} statuses, without {statuses[1]:.0f}, in {WINDOW:g} s"
    noise = median(abs(one.cpu / other.cpu - 1) for one, other in pairwise(alone)) if len(alone) > 1 else 0.0
    change = ratio(("ours", SILENT), ("ours", 0))
    tell_ratio(
        f"{what}, with those that never read / without", change, 1 + SILENT / arguments.watchers, note, noise=noise
    )


if __name__ == "__main__":
    main()
