from __future__ import annotations

import os
import signal
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from pollprog.connection import Connection, HangUps, peer_of
from pollprog.errors import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 20.0
"""Seconds after which what should come counts as failed."""
LONG = b"x" * 100_000 + b"\0"
"""A frame that the kernel takes in part only."""


class Pair:
    """A connection, and the socket at its far end."""

    def __init__(self, patience: float = PATIENCE) -> None:
        near, self.far = socket.socketpair()
        self.far.settimeout(0)
        self.near = near
        self.connection = Connection(near, peer_of(near), patience=patience, send_buffer=1 << 14)
        self.connection.begin(awaited=True, asked=self)

    def fill(self) -> bytes:
        """Offer short frames until one is refused; all that were taken."""
        taken = b""
        for number in range(100_000):
            frame = b"short %d\0" % number
            if not self.connection.offer(frame):
                assert not self.connection.offer(frame)
                return taken
            taken += frame
        raise AssertionError("the kernel takes everything")

    def read(self) -> bytes:
        """What has come so far."""
        data = b""
        while True:
            try:
                more = self.far.recv(1 << 16)
            except BlockingIOError:
                return data
            if not more:
                return data
            data += more

    async def read_until(self, end: bytes) -> bytes:
        """What comes until it ends so."""
        data = b""
        with trio.fail_after(PATIENCE):
            while not data.endswith(end):
                await trio.lowlevel.wait_readable(self.far)
                data += self.read()
        return data


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.near.close()
    made.far.close()


def test_the_kernel_knows_who_connected() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert peer_of(near) == (os.geteuid(), os.getegid(), os.getpid())


async def test_an_offer_is_taken_whole_or_refused(pair: Pair) -> None:
    taken = pair.fill()
    assert taken
    assert pair.read() == taken


async def test_a_slow_reader_is_not_far_behind(pair: Pair) -> None:
    assert pair.fill().count(b"\0") < 100


async def test_an_offer_that_was_begun_is_finished_before_the_next(pair: Pair) -> None:
    assert pair.connection.offer(LONG)
    begun = pair.read()
    assert 0 < len(begun) < len(LONG)
    data, refused = begun, 0
    while len(data) < len(LONG):
        refused += not pair.connection.offer(b"next\0")
        data += pair.read()
    assert refused
    assert (data + pair.read()).removesuffix(b"next\0") == LONG


async def test_a_frame_waits_for_what_was_begun_before(pair: Pair, nursery: trio.Nursery) -> None:
    assert pair.connection.offer(LONG)
    nursery.start_soon(pair.connection.deliver, b"reply\0")
    assert await pair.read_until(b"reply\0") == LONG + b"reply\0"


async def test_a_frame_waits_for_a_reader_who_comes_late(pair: Pair, nursery: trio.Nursery) -> None:
    taken = pair.fill()
    nursery.start_soon(pair.connection.deliver, b"reply\0")
    await trio.testing.wait_all_tasks_blocked()
    assert await pair.read_until(b"reply\0") == taken + b"reply\0"


async def test_a_frame_that_is_taken_at_once_waits_for_nobody(pair: Pair) -> None:
    with trio.testing.assert_no_checkpoints():
        await pair.connection.deliver(b"reply\0")
    assert pair.read() == b"reply\0"


async def test_a_sender_that_is_cancelled_leaves_no_half_frame(pair: Pair, nursery: trio.Nursery) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await pair.connection.deliver(LONG)
    assert scope.cancelled_caught
    nursery.start_soon(pair.connection.deliver, b"reply\0")
    assert await pair.read_until(b"reply\0") == LONG + b"reply\0"


async def test_frames_of_many_tasks_do_not_mix(pair: Pair) -> None:
    frames = [bytes([letter]) * 30_000 + b"\0" for letter in b"abcdefghij"]
    offered = []

    async def offer() -> None:
        for number in range(200):
            frame = b"offer %d\0" % number
            if pair.connection.offer(frame):
                offered.append(frame)
            await trio.lowlevel.checkpoint()

    async def read() -> None:
        nonlocal data
        while True:
            data += pair.read()
            await trio.lowlevel.checkpoint()

    data = b""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as reading:
            reading.start_soon(read)
            async with trio.open_nursery() as writing:
                writing.start_soon(offer)
                for frame in frames:
                    writing.start_soon(pair.connection.deliver, frame)
            reading.cancel_scope.cancel()
    data += pair.read()
    assert sorted(data.split(b"\0")[:-1]) == sorted(frame[:-1] for frame in [*frames, *offered])


async def test_whoever_waits_for_room_goes_on_when_there_is_some(pair: Pair, nursery: trio.Nursery) -> None:
    taken, gone_on = pair.fill(), trio.Event()

    async def wait() -> None:
        await pair.connection.flushed()
        gone_on.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert not gone_on.is_set()
    assert pair.read() == taken
    with trio.fail_after(PATIENCE):
        await gone_on.wait()
    assert pair.connection.offer(b"again\0")


async def test_nothing_is_written_to_who_has_closed(pair: Pair) -> None:
    pair.far.close()
    assert not pair.connection.offer(b"news\0")
    assert pair.connection.lost
    with trio.fail_after(PATIENCE):
        await pair.connection.deliver(LONG)
        with pytest.raises(ConnectionLost):
            await pair.connection.flushed()


async def test_no_signal_comes_of_writing_to_who_has_closed(pair: Pair) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGPIPE, lambda number, _: came.append(number))
    try:
        assert pair.connection.offer(LONG)
        pair.far.close()
        assert not pair.connection.offer(b"news\0")
        assert not pair.connection.offer(b"news\0")
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert not came


async def test_a_reader_who_closes_in_the_middle_of_a_frame_is_not_waited_for(pair: Pair) -> None:
    assert pair.connection.offer(LONG)
    pair.far.close()
    with trio.fail_after(PATIENCE):
        await pair.connection.deliver(b"reply\0")
    assert pair.connection.lost


async def test_a_reader_who_takes_nothing_is_given_up() -> None:
    pair = Pair(patience=0.05)
    pair.fill()
    with trio.fail_after(PATIENCE), trio.CancelScope() as pair.connection.scope:
        await pair.connection.deliver(b"reply\0")
        assert pair.connection.given_up
        assert pair.connection.scope.cancel_called, "what runs for it is over too"
    assert not pair.connection.offer(b"news\0")
    pair.near.close()
    pair.far.close()


async def test_a_reader_who_was_given_up_in_the_middle_of_a_frame_gets_no_other(nursery: trio.Nursery) -> None:
    pair = Pair(patience=0.05)
    assert pair.connection.offer(LONG)
    nursery.start_soon(pair.connection.deliver, b"waits behind it\0")
    with trio.fail_after(PATIENCE), trio.CancelScope() as pair.connection.scope:
        await pair.connection.deliver(b"reply\0")
    begun = pair.read()
    assert LONG.startswith(begun)
    assert not pair.connection.offer(b"news\0")
    with trio.fail_after(PATIENCE):
        await pair.connection.deliver(b"another reply\0")
    await trio.testing.wait_all_tasks_blocked()
    assert pair.read() == b""
    pair.near.close()
    pair.far.close()


async def test_a_reader_who_takes_a_little_now_and_then_is_not(autojump_clock: trio.testing.MockClock) -> None:
    pair = Pair(patience=30)
    done = trio.Event()

    async def send() -> None:
        await pair.connection.deliver(LONG)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        data = b""
        while len(data) < len(LONG):
            await trio.sleep(20)
            data += pair.read()
        await done.wait()
    assert data == LONG
    assert trio.current_time() > 60
    pair.near.close()
    pair.far.close()


# --- hanging up


class Watched:
    """A pair, and how often its hang-up was told."""

    def __init__(self, hang_ups: HangUps) -> None:
        self.near, self.far = socket.socketpair()
        self.told = 0
        self._first = trio.Event()
        hang_ups.watch(self.near.fileno(), self._tell)

    def _tell(self) -> None:
        self.told += 1
        self._first.set()

    async def hangs_up(self) -> None:
        with trio.fail_after(PATIENCE):
            await self._first.wait()


async def test_only_a_closed_connection_hangs_up_and_once(nursery: trio.Nursery) -> None:
    with closing(HangUps()) as hang_ups:
        nursery.start_soon(hang_ups.run)
        closed, unread, both, half, silent = (Watched(hang_ups) for _ in range(5))
        unread.far.sendall(b"something")
        half.far.sendall(b"something")
        half.far.shutdown(socket.SHUT_WR)
        await trio.testing.wait_all_tasks_blocked()
        assert not unread.told
        closed.far.close()
        unread.far.close()
        both.far.shutdown(socket.SHUT_RDWR)
        for one in closed, unread, both:
            await one.hangs_up()
        last = Watched(hang_ups)
        last.far.close()
        await last.hangs_up()
        assert [one.told for one in (closed, unread, both, half, silent, last)] == [1, 1, 1, 0, 0, 1]
        half.far.close()
        await half.hangs_up()
        nursery.cancel_scope.cancel()
    for one in closed, unread, both, half, silent, last:
        one.near.close()
        one.far.close()


async def test_one_that_had_closed_before_hangs_up_too_and_one_that_is_forgotten_does_not(
    nursery: trio.Nursery,
) -> None:
    with closing(HangUps()) as hang_ups:
        forgotten = Watched(hang_ups)
        hang_ups.forget(forgotten.near.fileno())
        hang_ups.forget(forgotten.near.fileno())
        forgotten.far.close()
        before = Watched(hang_ups)
        before.far.close()
        nursery.start_soon(hang_ups.run)
        await before.hangs_up()
        assert forgotten.told == 0
        nursery.cancel_scope.cancel()
    forgotten.near.close()
    before.near.close()
