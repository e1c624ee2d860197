"""The client for trio: a call is iterated for its statuses and awaited for its result, and leaving the block ends the work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from services import PATIENCE, Daemon, heard, reply, speaking, status, until_closed

import pollprog
from pollprog.errors import Busy, Cancelled, CommandFailed, ConnectionLost, ProtocolError, Unreachable
from pollprog.status import State, Status

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterator

TALK = "org.example.Talk"
LONG = ["sleep", "60"]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    yield daemon
    daemon.stop()


@pytest.fixture(autouse=True)
async def bound():
    with trio.fail_after(PATIENCE):
        yield


async def state_of(daemon: Daemon, job: str) -> str:
    async with pollprog.open_client(daemon.address) as client:
        state: str = (await client.call("Get", job=job))["job"]["state"]
        return state


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    while not await condition():  # noqa: ASYNC110 # what is waited for happens in another process
        await trio.sleep(0.01)


async def each(told: AsyncIterator[object], do: Callable[[], object]) -> None:
    """Do this at each of them."""
    async for _ in told:
        done = do()
        if isinstance(done, Awaitable):
            await done


async def test_a_call_is_awaited_for_its_result(daemon, tmp_path, monkeypatch) -> None:
    (tmp_path / "a").write_bytes(b"12")
    monkeypatch.chdir(tmp_path)
    async with pollprog.open_client(daemon.address) as client:
        call = client.call("Checksum", path=Path("a"))
        assert (await call.result())["size"] == 2
        assert (await call)["size"] == 2  # as often as one likes
        assert (await client.call("Run", argv=["echo", "x"])) == {"output": "x\n"}


async def test_a_call_is_iterated_for_its_statuses(daemon) -> None:
    async with pollprog.open_client(daemon.address) as client:
        call = client.call("Run", argv=["sleep", "0.6"])
        statuses = [told async for told in call]
        assert all(isinstance(told, Status) for told in statuses)
        assert statuses[-1].state is State.SUCCEEDED
        assert statuses[-1] is call.status
        assert [told.seq for told in statuses] == sorted({told.seq for told in statuses})
        assert await call.result() == {"output": ""}
        assert [told async for told in call] == []


async def test_a_call_begins_when_it_is_awaited(daemon) -> None:
    async with pollprog.open_client(daemon.address) as client:
        client.call("Run", argv=["true"], job="never-begun")
        assert "never-begun" not in [job["id"] for job in (await client.call("List"))["jobs"]]


async def test_an_error_is_raised_by_both(daemon) -> None:
    async with pollprog.open_client(daemon.address) as client:
        call = client.call("Run", argv=["sh", "-c", "sleep 0.4; exit 3"])
        with pytest.raises(CommandFailed) as caught:
            await each(aiter(call), list)
        assert caught.value.exit == 3
        with pytest.raises(CommandFailed):
            await call.result()
        assert await client.call("Run", argv=["true"]) == {"output": ""}


async def test_one_call_at_a_time(daemon) -> None:
    async with pollprog.open_client(daemon.address) as client:
        first = client.call("Run", argv=["sleep", "0.5"])
        with trio.move_on_after(0.1):
            await first
        with pytest.raises(Busy):
            await client.call("List")
        assert await first == {"output": ""}
        assert "jobs" in await client.call("List")


async def test_an_await_that_is_cancelled_loses_nothing(daemon) -> None:
    async with pollprog.open_client(daemon.address) as client:
        call = client.call("Run", argv=["sleep", "0.6"])
        rounds = 0
        while True:
            rounds += 1
            with trio.move_on_after(0.01) as scope:
                result = await call
            if not scope.cancelled_caught:
                break
        assert result == {"output": ""}
        assert rounds > 1


async def test_leaving_the_block_cancels_the_work(daemon) -> None:
    async with pollprog.open_client(daemon.address) as client:
        async for _ in client.call("Run", argv=LONG, job="left"):
            break
        assert await state_of(daemon, "left") == "running"

    async def over() -> bool:
        return await state_of(daemon, "left") == "cancelled"

    await until(over)


async def test_cancelling_the_scope_cancels_the_work(daemon) -> None:
    with trio.CancelScope() as scope:
        async with pollprog.open_client(daemon.address) as client:
            async for _ in client.call("Run", argv=LONG, job="scoped"):
                scope.cancel()

    async def over() -> bool:
        return await state_of(daemon, "scoped") == "cancelled"

    assert scope.cancelled_caught
    await until(over)


async def test_cancel_ends_the_call_with_its_own_reply(daemon) -> None:
    async with pollprog.open_client(daemon.address) as client:
        call = client.call("Run", argv=LONG, job="cancelled")
        with pytest.raises(Cancelled):
            await each(aiter(call), call.cancel)
        assert await state_of(daemon, "cancelled") == "cancelled"
        await call.cancel()  # it is over: nothing happens
        assert "jobs" in await client.call("List")


async def test_cancel_from_another_task_at_any_time(daemon) -> None:
    for number in range(20):
        async with pollprog.open_client(daemon.address) as client, trio.open_nursery() as nursery:
            if number % 2:
                await client.call("Run", argv=["true"])
            call = client.call("Run", argv=LONG)

            async def cancel(call: object = call, yields: int = number) -> None:
                for _ in range(yields // 2):
                    await trio.lowlevel.checkpoint()
                await call.cancel()

            nursery.start_soon(cancel)
            with pytest.raises(Cancelled):
                await call


async def test_who_waits_when_the_block_is_left_is_told(daemon) -> None:
    async with trio.open_nursery() as nursery, pollprog.open_client(daemon.address) as client:
        call = client.call("Run", argv=LONG)

        async def waits() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await call

        nursery.start_soon(waits)
        while call.status is None:  # noqa: ASYNC110 # nobody else tells
            await trio.sleep(0.01)


async def test_what_is_no_operation_is_not_waited_for_any_more(daemon) -> None:
    async with pollprog.open_client(daemon.address) as client:
        watching = client.call("Watch")
        with pytest.raises(Cancelled):
            await each(watching.replies(), watching.cancel)


async def test_a_cancel_that_nobody_hears_closes_the_connection(tmp_path) -> None:
    daemon = Daemon(tmp_path)
    try:
        async with pollprog.open_client(daemon.address) as client:
            call = client.call("Run", argv=LONG, job="stuck")
            async for _ in call:
                break
            daemon.signal(signal.SIGSTOP)
            await call.cancel()
            with pytest.raises(ConnectionLost, match="did not hear"):
                await call
            daemon.signal(signal.SIGCONT)

            async def over() -> bool:
                return await state_of(daemon, "stuck") == "cancelled"

            await until(over)
    finally:
        daemon.stop()


async def test_of_the_statuses_that_have_come_meanwhile_the_newest_is_told(tmp_path) -> None:
    sent = threading.Event()

    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(status(0))
        sock.sendall(b"".join(status(number) for number in range(1, 50)) + reply(result="done"))
        sent.set()

    with speaking(tmp_path, talk) as address:
        async with pollprog.open_client(address) as client:
            call = client.call(TALK, more=True)
            told = []
            async for one in call:
                told.append(one.current)
                await trio.to_thread.run_sync(sent.wait, PATIENCE)
            assert told[-1] == 49
            assert len(told) <= 3
            assert await call == "done"


async def test_what_is_told_bit_by_bit_comes_whole(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        for number in range(1000):
            sock.sendall(b'{"parameters":{"number":%d},"continues":true}\0' % number)
        sock.sendall(reply())

    with speaking(tmp_path, talk) as address:
        async with pollprog.open_client(address) as client:
            told = [one["number"] async for one in client.call(TALK, more=True).replies()]
            assert told == list(range(1000))


async def test_a_long_call_is_sent_whole(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        call = heard(sock)
        sock.sendall(reply(result=len(call["parameters"]["words"])))  # type: ignore[index] # it has parameters

    with speaking(tmp_path, talk) as address:
        async with pollprog.open_client(address) as client:
            assert await client.call(TALK, words="x" * 3_000_000) == 3_000_000


async def test_nobody_there_is_unreachable(tmp_path) -> None:
    with pytest.raises(Unreachable, match="nobody listens"):
        async with pollprog.open_client(f"unix:{tmp_path}/nobody"):
            raise AssertionError


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n\0", b"[" * 200_000 + b"\0"], ids=["http", "["])
async def test_a_stranger_is_unreachable_and_is_named(tmp_path, said) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(said)
        until_closed(sock)

    with speaking(tmp_path, talk) as address:
        async with pollprog.open_client(address) as client:
            with pytest.raises(Unreachable, match="no pollprog daemon"):
                await client.call("Fill")


async def test_another_varlink_service_is_a_stranger_too(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(b'{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"x"}}\0')

    with speaking(tmp_path, talk) as address:
        async with pollprog.open_client(address) as client:
            with pytest.raises(Unreachable, match="no pollprog daemon"):
                await client.call("Fill")


async def test_a_service_that_cannot_describe_itself_is_asked_for_nothing(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(b'{"error":"org.pollprog.operations.TooBusy","parameters":{"message":"full","limit":3}}\0')

    with speaking(tmp_path, talk) as address:
        async with pollprog.open_client(address) as client:
            call = client.call("Fill")
            for _ in range(2):
                with pytest.raises(pollprog.TooBusy):
                    await call


async def test_half_a_message_and_then_the_end_is_a_connection_lost_and_the_next_call_makes_another(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(status(7) + reply(result="done")[:-5])

    def better(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(reply(result="better"))

    with speaking(tmp_path, talk, better) as address:
        async with pollprog.open_client(address) as client:
            call = client.call(TALK, more=True)
            for _ in range(2):
                with pytest.raises(ConnectionLost) as caught:
                    await call
                assert caught.value.address == address
            assert await client.call(TALK) == "better"


async def test_a_status_that_was_not_asked_for_is_a_protocol_error(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(reply())
        heard(sock)
        sock.sendall(status(7))
        until_closed(sock)

    with speaking(tmp_path, talk) as address:
        async with pollprog.open_client(address) as client:
            await client.call(TALK)
            with pytest.raises(ProtocolError, match="continues"):
                await client.call(TALK)


async def test_a_daemon_that_is_killed_in_the_middle_is_a_connection_lost(tmp_path) -> None:
    daemon = Daemon(tmp_path)
    try:
        async with pollprog.open_client(daemon.address) as client:
            with pytest.raises(ConnectionLost):
                await each(aiter(client.call("Run", argv=["sleep", "5"])), daemon.kill)
    finally:
        daemon.stop()


async def test_a_client_is_of_no_use_outside_of_its_block(daemon) -> None:
    async with pollprog.open_client(daemon.address) as client:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await client.call("List")
