"""What it costs to be asked and to be called back: a handle, against itself without, and a request against a bare echo.

    python bench/client.py [--rounds N] [--requests N]

The daemon is a real one, in a process of its own. All sides take turns, and a ratio is the median of those of each round. A call is
that of a command that sleeps, with a status each tenth of a second. The looks come from a second thread of the same process,
while the call waits, and each of them is timed. The echo is a trio server that sends back what it has read, to a client that is in trio, too:
what no protocol in trio can do without. Our clients ask the daemon beside it. Besides, a bare socket without any of trio asks both servers: that shows what
the daemon costs, and what the handle does itself. All are asked back to back, where the server is awake yet, and with a millisecond between, where both
sides have to be woken. The exit status is 0 whatever the figures are.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import trio
from cost import judged, tell, tell_ratio

import pollprog
from pollprog.conversation import Asked, Conversation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

SLEEP = "2"
LOOKS = 10_000
COPIED = 1 << 30
DAEMON = """
import sys
from pollprog.config import parse
from pollprog.daemon import main
main(parse("[daemon]\\ninitial_delay = 0.1\\ninterval = 0.1\\n", ""), sys.argv[1])
"""
ECHO = """
import socket, sys, trio
async def echo(stream):
    while data := await stream.receive_some(65536):
        await stream.send_all(data)
async def main():
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(sys.argv[1])
    listener.listen()
    print("listening", file=sys.stderr, flush=True)
    await trio.serve_listeners(echo, [trio.SocketListener(listener)])
trio.run(main)
"""


@contextmanager
def serving(program: str, path: Path) -> Iterator[str]:
    """The address of a service in a process of its own."""
    with subprocess.Popen([sys.executable, "-c", program, path], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "listening" in process.stderr.readline()
        try:
            yield str(path)
        finally:
            process.send_signal(signal.SIGTERM)


def seconds(
    address: str, *, callback: Callable[[int, int], object] | None = None, looks: list[int] | None = None
) -> float:
    """How long a call takes, from its beginning to its return; `looks` gets the nanoseconds of each."""
    with pollprog.connect(address) as handle:
        handle.set_progress_callback(callback)
        looking = threading.Thread(target=look, args=(handle, looks))
        looking.start()
        begun = time.perf_counter()
        handle.call("Run", argv=["sleep", SLEEP])
        took = time.perf_counter() - begun
        looking.join()
    return took


def look(handle: pollprog.Handle, looks: list[int] | None) -> None:
    if looks is None:
        return
    while handle.get_progress().current < 0:
        time.sleep(0.01)
    for _ in range(LOOKS):
        begun = time.perf_counter_ns()
        handle.get_progress()
        looks.append(time.perf_counter_ns() - begun)
    assert handle.busy, "the call was over before the looks were"


def calls(address: str, rounds: int) -> None:
    without, slow, looked = [], [], []
    looks: list[int] = []
    for _ in range(rounds):
        without.append(seconds(address))
        slow.append(seconds(address, callback=lambda *_: time.sleep(1)))
        looked.append(seconds(address, looks=looks))
    ratios = [median(one / bare for one, bare in zip(side, without, strict=True)) for side in (slow, looked)]
    bare = f"the call without: {median(without):.3f} s"
    tell_ratio("a call with a callback that sleeps 1 s / the call without", ratios[0], 1.02, bare)
    tell_ratio(f"a call with {LOOKS} looks from a second thread / the call without", ratios[1], 1.02, bare)
    hundredths = quantiles(looks, n=100)
    milliseconds = hundredths[98] / 1e6
    note = f"p50 {hundredths[49] / 1e3:.2f} µs, longest {max(looks) / 1e6:.2f} ms"
    tell(
        "get_progress() from a second thread during a call, p99",
        f"{milliseconds:.4f} ms",
        "<= 0.1 ms",
        judged(milliseconds, 0.1),
        note,
    )


def requests(daemon: str, echo: str, rounds: int, number: int) -> None:
    asked = Conversation().ask(Asked("org.pollprog.operations.List", {"limit": 0}))
    with (
        pollprog.connect(daemon) as handle,
        socket.socket(socket.AF_UNIX) as sock,
        socket.socket(socket.AF_UNIX) as plain,
    ):
        sock.connect(echo)
        plain.connect(daemon.removeprefix("unix:"))

        def bounce() -> None:
            sock.sendall(asked)
            assert sock.recv(65536)

        def talk() -> None:
            plain.sendall(asked)
            assert plain.recv(65536)

        def ask() -> None:
            handle.call("List", limit=0)

        for pause, words in (0.0, "back to back"), (0.001, "a millisecond apart"):
            sides: dict[str, tuple[Callable[[], None], list[float]]] = {
                "echo": (bounce, []),
                "the same socket": (talk, []),
                "a handle": (ask, []),
            }
            for _ in range(rounds):
                for what, took in sides.values():
                    took.append(median(timed(what, number, pause)))
            theirs = sides.pop("echo")[1]
            for who, (_, ours) in sides.items():
                ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
                note = f"p50 {median(ours) * 1e6:.0f} µs; {median(theirs) * 1e6:.0f} µs"
                tell(f"request and reply, {words}, by {who} / by a bare socket", f"{ratio:.3f}", "", "", note)


async def in_trio(daemon: str, echo: str, rounds: int, number: int) -> None:
    """The same beside an echo of which both sides are in trio; our clients take turns with it."""
    asked = Conversation().ask(Asked("org.pollprog.operations.List", {"limit": 0}))
    stream = await trio.open_unix_socket(echo)
    async with stream, pollprog.open_client(daemon) as client:
        with pollprog.connect(daemon) as handle:

            async def bounce() -> None:
                await stream.send_all(asked)
                assert await stream.receive_some(65536)

            async def ask() -> None:
                await client.call("List", limit=0)

            async def ask_blocking() -> None:
                handle.call("List", limit=0)

            for pause, words in (0.0, "back to back"), (0.001, "a millisecond apart"):
                theirs: list[float] = []
                sides = {"a client in trio": (ask, []), "a handle": (ask_blocking, [])}
                for _ in range(rounds):
                    for took, what in (theirs, bounce), *((took, what) for what, took in sides.values()):
                        took.append(median([await timed_in_trio(what, pause) for _ in range(number)]))
                for who, (_, ours) in sides.items():
                    ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
                    note = f"p50 {median(ours) * 1e6:.0f} µs; {median(theirs) * 1e6:.0f} µs"
                    tell_ratio(f"request and reply, {words}, by {who} / bare trio echo", ratio, 2.0, note)


async def timed_in_trio(what: Callable[[], Awaitable[None]], pause: float) -> float:
    await trio.sleep(pause)
    begun = time.perf_counter()
    await what()
    return time.perf_counter() - begun


def copies(daemon: str, rounds: int) -> None:
    """In memory, where a sync costs nothing: so both promise the same."""
    with TemporaryDirectory(prefix="pollprog-bench-", dir="/dev/shm") as folder, pollprog.connect(daemon) as handle:
        source, copy = Path(folder, "source"), Path(folder, "copy")
        source.write_bytes(os.urandom(1 << 20) * (COPIED >> 20))
        ours, theirs = [], []
        for _ in range(4 * rounds + 1):  # five are too few for some hundredths
            for took, what in (
                (theirs, lambda: subprocess.run(["cp", source, copy], check=True)),
                (ours, lambda: handle.call("CopyFile", source=source, destination=copy)),
            ):
                took.append(timed(what, 1, 0)[0])
                copy.unlink()
        ratio = median(one / other for one, other in zip(ours[1:], theirs[1:], strict=True))  # the first warms up
        note = f"{median(ours[1:]) * 1e3:.0f} ms; {median(theirs[1:]) * 1e3:.0f} ms"
        tell_ratio("CopyFile through the daemon / cp, 1 GiB in memory", ratio, 1.05, note)


def timed(what: Callable[[], object], number: int, pause: float) -> list[float]:
    took = []
    for _ in range(number):
        begun = time.perf_counter()
        while time.perf_counter() < begun + pause:
            pass  # a sleep would put this side to rest, too
        begun = time.perf_counter()
        what()
        took.append(time.perf_counter() - begun)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to be asked and to be called back.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000, help="of each kind, in each round")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {arguments.rounds} rounds")
    print(f"{'':66} {'measured':>9} {'goal':>9}")
    with (
        TemporaryDirectory(prefix="pollprog-bench-") as folder,
        serving(DAEMON, Path(folder, "sock")) as daemon,
        serving(ECHO, Path(folder, "echo")) as echo,
    ):
        requests(daemon, echo, arguments.rounds, arguments.requests)
        trio.run(in_trio, daemon, echo, arguments.rounds, arguments.requests)
        copies(daemon, arguments.rounds)
        calls(daemon, arguments.rounds)


if __name__ == "__main__":
    main()
