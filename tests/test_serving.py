from __future__ import annotations

import array
import errno
import json
import logging
import os
import resource
import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing
from msgspec import Struct

from pollprog import serving
from pollprog.connection import Peer
from pollprog.errors import ConnectionLost, NoSpace, NoSuchJob
from pollprog.serving import Interface, Limits, Method, Service
from pollprog.varlink import OPERATIONS, SERVICE, Framer, Int, encode_call, encode_reply, parse_reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from pollprog.serving import Request
    from pollprog.varlink import Reply

PATIENCE = 20.0
"""Seconds after which what should come counts as failed."""
NAME = "org.example.test"
DESCRIPTION = f"interface {NAME}\n\nmethod Echo(text: string, number: ?int) -> (text: string)\n"


class Echo(Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    number: Int = 0


class Client:
    """The far end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self.socket = sock
        self._framer = Framer(1 << 24)

    async def write(self, data: bytes) -> None:
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.socket)

    def fill(self, data: bytes) -> int:
        """Say it over and over until nobody takes any more; how many bytes that were."""
        sent = 0
        with suppress(BlockingIOError):
            while True:
                sent += self.socket.send(data[sent % len(data) :])
        return sent

    async def ask(self, method: str, parameters: dict[str, Any] | None = None, **flags: bool) -> None:
        await self.write(encode_call(method if "." in method else f"{NAME}.{method}", parameters, **flags))

    async def reply(self) -> Reply:
        """The next one. EOFError if there is none."""
        with trio.fail_after(PATIENCE):
            while (message := self._framer.next()) is None:
                await trio.lowlevel.wait_readable(self.socket)
                try:
                    data = self.socket.recv(1 << 16)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    data = b""
                if not data:
                    assert not self._framer.unread, "the last frame is whole"
                    raise EOFError
                self._framer.feed(data)
            return parse_reply(message)

    async def call(self, method: str, parameters: dict[str, Any] | None = None, **flags: bool) -> Any:
        """What one call is answered with: the parameters, or the error's name and its parameters."""
        await self.ask(method, parameters, **flags)
        return told(await self.reply())

    async def replies(self) -> list[Reply]:
        """All replies to one call."""
        found = [await self.reply()]
        while found[-1].continues:
            found.append(await self.reply())
        return found

    async def closed(self) -> bool:
        """Whether the connection ends without another word."""
        try:
            await self.reply()
        except EOFError:
            return True
        return False

    def hung_up(self) -> bool:
        """Whether the far end has closed, whatever is still to be read."""
        poll = select.poll()
        poll.register(self.socket, 0)
        return bool(poll.poll(0))

    async def is_served(self) -> bool:
        return bool(await self.call("Echo", {"text": "still here"}) == {"text": "still here"})

    def close(self) -> None:
        self.socket.close()


def told(reply: Reply) -> Any:
    parameters = json.loads(bytes(reply.parameters))
    return parameters if reply.error is None else (reply.error, parameters)


class Serves:
    """A service at a socket of its own, whose handlers tell what becomes of them."""

    def __init__(self, path: Path, nursery: trio.Nursery) -> None:
        self.path = path
        self.nursery = nursery
        self.log: list[str] = []
        self.go_on = trio.Event()
        self.cancelled = trio.Event()
        self._clients: list[Client] = []

    def start(self, *methods: Method, limits: Limits | None = None, **others: Any) -> None:
        own = (
            Method("Echo", self.echo, Echo),
            Method("Wait", self.wait, more="may"),
            Method("Note", self.note, Echo),
        )
        interface = Interface(NAME, DESCRIPTION, (*own, *methods))
        service = Service(
            [interface], vendor="us", product="a test", version="1", url="https://example.org", limits=limits, **others
        )
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(64)
        self.nursery.start_soon(service.serve, [self.listener])

    def client(self) -> Client:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.path))
        self._clients.append(Client(sock))
        return self._clients[-1]

    def close(self) -> None:
        self.listener.close()
        for client in self._clients:
            client.close()

    async def echo(self, request: Request[Echo]) -> Any:
        return {"text": request.parameters.text}

    async def note(self, request: Request[Echo]) -> None:
        await trio.lowlevel.checkpoint()
        self.log.append(request.parameters.text)

    async def wait(self, _: Request[Any]) -> Any:
        self.log.append("waits")
        try:
            await self.go_on.wait()
        except trio.Cancelled:
            self.log.append("cancelled")
            self.cancelled.set()
            raise
        return {"waited": True}

    async def waits(self) -> None:
        await self.until(lambda: "waits" in self.log)

    async def until(self, true: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not true():  # noqa: ASYNC110 - what is waited for has no event
                await trio.sleep(0.001)


@pytest.fixture
async def serves(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Serves]:
    made = Serves(tmp_path / "socket", nursery)
    yield made
    nursery.cancel_scope.cancel()
    made.close()


def fails(name: str, error: Exception) -> Method:
    async def handler(_: Request[Any]) -> None:
        raise error

    return Method(name, handler)


# --- what every service has


async def test_a_service_tells_who_it_is_and_what_it_has(serves: Serves) -> None:
    serves.start()
    client = serves.client()
    assert await client.call(f"{SERVICE}.GetInfo") == {
        "vendor": "us",
        "product": "a test",
        "version": "1",
        "url": "https://example.org",
        "interfaces": [SERVICE, NAME],
    }
    assert await client.call(f"{SERVICE}.GetInterfaceDescription", {"interface": NAME}) == {"description": DESCRIPTION}
    own = await client.call(f"{SERVICE}.GetInterfaceDescription", {"interface": SERVICE})
    assert own["description"].count("\nmethod ") == 2
    unknown = await client.call(f"{SERVICE}.GetInterfaceDescription", {"interface": "org.example"})
    assert unknown == (f"{SERVICE}.InterfaceNotFound", {"interface": "org.example"})


@pytest.mark.parametrize(
    ("method", "parameters", "error", "what"),
    [
        (f"{NAME}.Nothing", {}, "MethodNotFound", {"method": f"{NAME}.Nothing"}),
        ("org.example.other.Echo", {}, "InterfaceNotFound", {"interface": "org.example.other"}),
        (".", {}, "MethodNotFound", {"method": "."}),
        (f"{NAME}.Echo", {"text": 1}, "InvalidParameter", {"parameter": "text"}),
        (f"{NAME}.Echo", {}, "InvalidParameter", {"parameter": "text"}),
        (f"{NAME}.Echo", {"text": "", "tone": ""}, "InvalidParameter", {"parameter": "tone"}),
        (f"{NAME}.Echo", {"text": "", "number": 2**63}, "InvalidParameter", {"parameter": "number"}),
        (f"{NAME}.Wait", {"text": ""}, "InvalidParameter", {"parameter": "text"}),
    ],
)
async def test_a_call_that_cannot_be_is_answered_and_the_next_one_too(
    serves: Serves, method: str, parameters: dict[str, Any], error: str, what: dict[str, str]
) -> None:
    serves.start()
    client = serves.client()
    name, told = await client.call(method, parameters)
    assert name == f"{SERVICE}.{error}"
    assert {key: value for key, value in told.items() if key != "message"} == what
    assert await client.is_served()


async def test_a_connection_that_came_by_another_way_is_served_to_its_end() -> None:
    near, far = socket.socketpair()
    service = Service([], vendor="", product="", version="", url="")
    client = Client(far)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.serve_connection, near)
            assert (await client.call(f"{SERVICE}.GetInfo"))["interfaces"] == [SERVICE]
            client.close()
    assert near.fileno() == -1


# --- order


async def test_calls_that_were_sent_ahead_are_answered_in_their_order(serves: Serves) -> None:
    serves.start()
    client = serves.client()
    calls = b"".join(encode_call(f"{NAME}.Echo", {"text": str(number)}) for number in range(3000))
    serves.nursery.start_soon(client.write, calls)
    assert [told(await client.reply())["text"] for _ in range(3000)] == [str(number) for number in range(3000)]


async def test_a_call_that_comes_byte_by_byte_is_answered(serves: Serves) -> None:
    serves.start()
    client = serves.client()
    for byte in encode_call(f"{NAME}.Echo", {"text": "ä"}):
        await client.write(bytes([byte]))
        await trio.lowlevel.checkpoint()
    assert told(await client.reply()) == {"text": "ä"}


async def test_what_is_sent_ahead_of_a_running_call_stays_in_the_kernel(serves: Serves) -> None:
    serves.start(limits=Limits(message=1 << 16))
    client = serves.client()
    await client.ask("Wait")
    await serves.waits()
    call = encode_call(f"{NAME}.Echo", {"text": "x" * 1000})
    sent = client.fill(call)
    assert sent < 1 << 22
    serves.go_on.set()
    assert told(await client.reply()) == {"waited": True}
    serves.nursery.start_soon(client.write, call[sent % len(call) :])
    for _ in range(sent // len(call) + 1):
        assert len(told(await client.reply())["text"]) == 1000


async def test_whoever_sends_many_calls_ahead_is_not_served_alone(serves: Serves) -> None:
    async def invite(_: Request[Any]) -> None:
        other.socket.send(encode_call(f"{NAME}.Note", {"text": "the other"}))

    async def quick(_: Request[Any]) -> None:
        serves.log.append("quick")

    serves.start(Method("Invite", invite), Method("Quick", quick))
    client, other = serves.client(), serves.client()
    assert await other.is_served()
    await client.write(encode_call(f"{NAME}.Invite") + encode_call(f"{NAME}.Quick", oneway=True) * 500)
    await serves.until(lambda: len(serves.log) == 501)
    assert serves.log.index("the other") < 100


async def test_a_oneway_call_gets_no_reply_not_even_an_error(serves: Serves) -> None:
    serves.start(fails("Fail", NoSuchJob("no", job="j")), fails("Break", ValueError("no")))
    client = serves.client()
    for method in "Echo", "Nothing", "Fail", "Break":
        await client.ask(method, {"text": "unanswered"} if method == "Echo" else {}, oneway=True)
    await client.ask("Echo", {"tone": "wrong"}, oneway=True)
    await client.ask("Note", {"text": "done"}, oneway=True)
    assert await client.is_served()
    assert serves.log == ["done"]


# --- several replies


async def count(request: Request[Echo]) -> dict[str, int]:
    for number in range(request.parameters.number):
        if request.more:
            await request.send({"at": number})
    return {"end": request.parameters.number}


async def test_data_comes_whole_and_in_order_before_the_reply(serves: Serves) -> None:
    serves.start(Method("Count", count, Echo, more="may"))
    client = serves.client()
    await client.ask("Count", {"text": "", "number": 5000}, more=True)
    replies = await client.replies()
    assert [told(reply) for reply in replies] == [{"at": number} for number in range(5000)] + [{"end": 5000}]
    assert [reply.continues for reply in replies] == [True] * 5000 + [False]


async def test_whoever_sends_much_lets_others_run_in_between(serves: Serves) -> None:
    async def send(request: Request[Any]) -> None:
        with trio.testing.assert_checkpoints():
            await request.send({})

    serves.start(Method("Send", send, more="must"))
    client = serves.client()
    await client.ask("Send", more=True)
    assert [reply.error for reply in await client.replies()] == [None, None]


async def test_without_more_there_is_one_reply(serves: Serves) -> None:
    serves.start(Method("Count", count, Echo, more="may"))
    assert await serves.client().call("Count", {"text": "", "number": 3}) == {"end": 3}


async def test_a_method_with_one_answer_has_one_with_more_too(serves: Serves) -> None:
    seen: list[bool] = []

    async def once(request: Request[Any]) -> None:
        seen.append(request.more)

    serves.start(Method("Once", once))
    client = serves.client()
    await client.ask("Once", more=True)
    reply = await client.reply()
    assert (reply.continues, reply.error, seen) == (False, None, [False])


async def test_a_method_that_needs_more_says_so(serves: Serves) -> None:
    serves.start(Method("Count", count, Echo, more="must"))
    client = serves.client()
    assert await client.call("Count", {"text": "", "number": 3}) == (f"{SERVICE}.ExpectedMore", {})
    assert await client.is_served()


async def test_a_handler_cannot_continue_where_nobody_asked_for_more(
    serves: Serves, caplog: pytest.LogCaptureFixture
) -> None:
    offered: list[bool] = []

    async def insist(request: Request[Any]) -> None:
        frame = encode_reply({}, continues=True)
        offered.extend([request.offer(frame), request.connection.offer(frame)])
        await request.send({})

    serves.start(Method("Insist", insist, more="may"))
    client = serves.client()
    assert (await client.call("Insist"))[0] == f"{OPERATIONS}.InternalError"
    assert offered == [False, False]
    assert await client.is_served()


async def test_a_status_is_there_before_the_reply_of_a_handler_that_never_yields(serves: Serves) -> None:
    arrived: list[bytes] = []

    async def busy(request: Request[Any]) -> dict[str, bool]:
        assert request.offer(encode_reply({"status": 1}, continues=True))
        arrived.append(client.socket.recv(1 << 16))
        return {"done": True}

    serves.start(Method("Busy", busy, more="may"))
    client = serves.client()
    assert await client.call("Busy", more=True) == {"done": True}
    assert arrived == [encode_reply({"status": 1}, continues=True)]


async def test_a_reader_that_sleeps_loses_statuses_only_and_the_last_one_comes_before_the_reply(serves: Serves) -> None:
    refused = trio.Event()
    taken: list[int] = []

    async def run(request: Request[Any]) -> dict[str, bool]:
        number = 0
        while not refused.is_set() or taken[-1] != number:
            number += 0 if refused.is_set() else 1
            if request.offer(encode_reply({"status": number}, continues=True)):
                taken.append(number)
            elif not refused.is_set():
                refused.set()
            await trio.lowlevel.checkpoint()
        return {"done": True}

    serves.start(Method("Run", run, more="may"))
    client, other = serves.client(), serves.client()
    await client.ask("Run", more=True)
    with trio.fail_after(PATIENCE):
        await refused.wait()
    assert await other.is_served()
    replies = [told(reply) for reply in await client.replies()]
    assert replies == [{"status": number} for number in taken] + [{"done": True}]


async def test_nothing_follows_the_reply(serves: Serves) -> None:
    kept: list[Request[Any]] = []

    async def keep(request: Request[Any]) -> None:
        kept.append(request)

    serves.start(Method("Keep", keep, more="may"))
    client = serves.client()
    assert await client.call("Keep", more=True) == {}
    frame = encode_reply({"status": "late"}, continues=True)
    assert not kept[0].offer(frame)
    assert not kept[0].connection.offer(frame)
    await client.ask("Wait", more=True)
    await serves.waits()
    assert not kept[0].offer(frame), "nor is it taken for one of the next call"
    serves.go_on.set()
    assert told(await client.reply()) == {"waited": True}


async def test_an_upgrade_is_refused_and_the_connection_stays_what_it_is(serves: Serves) -> None:
    serves.start()
    client = serves.client()
    await client.write(b'{"method":"%s.Wait","upgrade":true}\0' % NAME.encode())
    assert told(await client.reply()) == (f"{SERVICE}.MethodNotImplemented", {"method": f"{NAME}.Wait"})
    assert await client.is_served()
    assert serves.log == []


# --- what handlers raise


async def test_an_error_of_ours_is_the_reply(serves: Serves) -> None:
    serves.start(fails("Fail", NoSpace("it is full", path="/a", written=5)))
    name, parameters = await serves.client().call("Fail")
    assert name == f"{OPERATIONS}.NoSpace"
    assert parameters == {"message": "it is full", "path": "/a", "errno": "", "offset": 0, "written": 5}


@pytest.mark.parametrize(
    "group",
    [
        ExceptionGroup("", [NoSuchJob("none", job="j")]),
        ExceptionGroup("", [ExceptionGroup("", [NoSuchJob("none", job="j")])]),
        ExceptionGroup("", [NoSuchJob("none", job="j"), NoSpace("it is full")]),
    ],
)
async def test_an_error_of_ours_is_found_in_a_group(serves: Serves, group: Exception) -> None:
    serves.start(fails("Fail", group))
    assert await serves.client().call("Fail") == (f"{OPERATIONS}.NoSuchJob", {"message": "none", "job": "j"})


async def test_an_error_that_leaves_a_nursery_is_the_reply_too(serves: Serves) -> None:
    async def fail() -> None:
        raise NoSuchJob("none", job="j")

    async def split(_: Request[Any]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    serves.start(Method("Split", split))
    assert await serves.client().call("Split") == (f"{OPERATIONS}.NoSuchJob", {"message": "none", "job": "j"})


@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret"),
        RecursionError("secret"),
        MemoryError(),
        OSError(5, "secret"),
        ExceptionGroup("secret", [NoSuchJob("none"), ValueError("secret")]),
        msgspec.ValidationError("secret"),
    ],
    ids=repr,
)
async def test_any_other_failure_is_told_plainly_and_logged_at_length(
    serves: Serves, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    serves.start(fails("Break", error))
    client = serves.client()
    name, parameters = await client.call("Break")
    assert name == f"{OPERATIONS}.InternalError"
    assert "secret" not in parameters["message"]
    assert f"{NAME}.Break" in parameters["message"]
    (record,) = caplog.records
    assert (record.name, record.levelno, record.exc_info and record.exc_info[1]) == ("pollprog", logging.ERROR, error)
    assert await client.is_served()


async def test_a_reply_that_cannot_be_written_is_a_failure_like_any_other(
    serves: Serves, caplog: pytest.LogCaptureFixture
) -> None:
    async def strange(_: Request[Any]) -> dict[str, object]:
        return {"what": object()}

    serves.start(Method("Strange", strange))
    client = serves.client()
    assert (await client.call("Strange"))[0] == f"{OPERATIONS}.InternalError"
    assert caplog.records
    assert await client.is_served()


def test_a_keyboard_interrupt_in_a_handler_is_for_the_program() -> None:
    async def interrupt(_: Request[Any]) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        service = Service([Interface(NAME, "", (Method("I", interrupt),))], vendor="", product="", version="", url="")
        near, far = socket.socketpair()
        far.sendall(encode_call(f"{NAME}.I"))
        with far, trio.fail_after(PATIENCE):
            await service.serve_connection(near)

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.group_contains(KeyboardInterrupt)


async def test_a_service_that_is_cancelled_ends_quietly_whatever_its_handlers_do(
    serves: Serves, caplog: pytest.LogCaptureFixture
) -> None:
    async def stubborn() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("not like this")

    async def split(_: Request[Any]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn)
            serves.log.append("waits")
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        serves.nursery = nursery
        serves.start(Method("Split", split))
        client = serves.client()
        await client.ask("Split")
        await serves.waits()
        nursery.cancel_scope.cancel()
    assert await client.closed()
    assert [record.exc_info is not None for record in caplog.records] == [True]


# --- closing


async def test_a_client_that_closes_cancels_its_call(serves: Serves) -> None:
    serves.start()
    client, other = serves.client(), serves.client()
    await client.ask("Wait")
    await serves.waits()
    client.close()
    with trio.fail_after(PATIENCE):
        await serves.cancelled.wait()
    assert await other.is_served()


async def test_a_client_that_closes_with_something_unread_on_both_sides_cancels_its_call(
    serves: Serves, caplog: pytest.LogCaptureFixture
) -> None:
    serves.start(Method("Count", count, Echo, more="may"))
    client = serves.client()
    await client.ask("Count", {"text": "", "number": 3}, more=True)
    await client.ask("Wait")
    await client.ask("Echo", {"text": "never"})
    await serves.waits()
    client.close()
    with trio.fail_after(PATIENCE):
        await serves.cancelled.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert not caplog.records


@pytest.mark.parametrize("more", [False, True])
async def test_a_client_that_only_stops_sending_gets_its_replies(serves: Serves, more: bool) -> None:
    serves.start()
    client = serves.client()
    await client.ask("Wait", more=more)
    await client.ask("Echo", {"text": "last"})
    client.socket.shutdown(socket.SHUT_WR)
    await serves.waits()
    await trio.testing.wait_all_tasks_blocked()
    serves.go_on.set()
    assert told(await client.reply()) == {"waited": True}
    assert told(await client.reply()) == {"text": "last"}
    assert await client.closed()
    assert serves.log == ["waits"]


async def test_a_client_that_stopped_sending_may_still_close(serves: Serves) -> None:
    serves.start()
    client = serves.client()
    await client.ask("Wait")
    client.socket.shutdown(socket.SHUT_WR)
    await serves.waits()
    client.close()
    with trio.fail_after(PATIENCE):
        await serves.cancelled.wait()


async def test_what_wants_no_reply_is_done_even_for_a_client_that_has_closed(serves: Serves) -> None:
    serves.start()
    client = serves.client()
    await client.ask("Wait")
    await client.ask("Note", {"text": "first"}, oneway=True)
    await client.ask("Wait")
    await client.ask("Note", {"text": "second"}, oneway=True)
    await serves.waits()
    client.close()
    await serves.until(lambda: "second" in serves.log)
    assert serves.log == ["waits", "cancelled", "first", "waits", "cancelled", "second"]


async def test_a_oneway_call_is_not_cancelled_by_closing(serves: Serves) -> None:
    serves.start()
    client = serves.client()
    await client.ask("Wait", oneway=True)
    await client.ask("Note", {"text": "behind it"}, oneway=True)
    await serves.waits()
    client.close()
    await trio.testing.wait_all_tasks_blocked()
    serves.go_on.set()
    await serves.until(lambda: "behind it" in serves.log)
    assert "cancelled" not in serves.log


async def test_a_failure_on_the_way_out_of_a_cancelled_call_disturbs_nobody(serves: Serves) -> None:
    async def stubborn() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise NoSuchJob("it is gone")

    async def split(_: Request[Any]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn)
            serves.log.append("waits")
            await trio.sleep_forever()

    serves.start(Method("Split", split))
    client, other = serves.client(), serves.client()
    await client.ask("Split")
    await client.ask("Note", {"text": "behind it"}, oneway=True)
    await serves.waits()
    client.close()
    await serves.until(lambda: "behind it" in serves.log)
    assert await other.is_served()


async def test_a_handler_that_lets_nothing_disturb_it_outlives_its_client(serves: Serves) -> None:
    async def shielded(_: Request[Any]) -> None:
        with trio.CancelScope(shield=True):
            serves.log.append("waits")
            await serves.go_on.wait()
            serves.log.append("went on")

    serves.start(Method("Shielded", shielded))
    client = serves.client()
    await client.ask("Shielded")
    await serves.waits()
    client.close()
    await trio.testing.wait_all_tasks_blocked()
    serves.go_on.set()
    await serves.until(lambda: "went on" in serves.log)


async def test_a_handler_that_goes_on_for_nobody_is_told_when_it_sends(serves: Serves) -> None:
    async def insists(request: Request[Any]) -> None:
        with trio.CancelScope(shield=True):
            try:
                while True:
                    await request.send({})
                    serves.log.append("waits")
            except ConnectionLost:
                serves.log.append("lost")

    serves.start(Method("Insists", insists, more="must"))
    client = serves.client()
    await client.ask("Insists", more=True)
    await serves.waits()
    client.close()
    await serves.until(lambda: "lost" in serves.log)


# --- readers


async def test_a_reader_that_never_reads_is_given_up_and_pins_nobody(serves: Serves) -> None:
    ended: list[str] = []

    async def pour(request: Request[Any]) -> None:
        try:
            while True:
                await request.send({"text": "x" * 1000})
        except (ConnectionLost, trio.Cancelled) as error:
            ended.append(type(error).__name__)
            raise

    serves.start(Method("Pour", pour, more="must"), limits=Limits(patience=0.05))
    client, other = serves.client(), serves.client()
    await client.ask("Pour", more=True)
    await client.ask("Note", {"text": "too late"}, oneway=True)
    assert await other.is_served()
    await serves.until(client.hung_up)
    assert len(ended) == 1
    assert await other.is_served()
    assert serves.log == []


async def test_a_reply_that_nobody_reads_is_given_up_too(serves: Serves) -> None:
    async def much(_: Request[Any]) -> dict[str, str]:
        return {"text": "x" * 1_000_000}

    serves.start(Method("Much", much), limits=Limits(patience=0.05))
    client = serves.client()
    await client.ask("Much")
    await serves.until(client.hung_up)
    assert client.socket.recv(1 << 16).startswith(b'{"parameters":{"text":"xxx')


async def test_a_handler_that_gives_up_sending_leaves_whole_frames(serves: Serves) -> None:
    async def hasty(request: Request[Any]) -> dict[str, str]:
        with trio.CancelScope() as scope:
            scope.cancel()
            await request.send({"text": "never begun"})
        with trio.CancelScope() as scope:
            serves.nursery.start_soon(cancel_when_blocked, scope)
            await request.send({"text": "x" * 1_000_000})
        assert scope.cancelled_caught
        return {"text": "the end"}

    async def cancel_when_blocked(scope: trio.CancelScope) -> None:
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        serves.go_on.set()

    serves.start(Method("Hasty", hasty, more="may"))
    client = serves.client()
    await client.ask("Hasty", more=True)
    with trio.fail_after(PATIENCE):
        await serves.go_on.wait()
    assert [len(told(reply)["text"]) for reply in await client.replies()] == [1_000_000, len("the end")]


# --- hostile clients

HOSTILE = {
    "no JSON": b"GET / HTTP/1.1\r\n\r\n\0",
    "an empty message": b"\0",
    "only NULs": b"\0" * 1000,
    "an array": b"[]\0",
    "no method": b'{"parameters":{}}\0',
    "an unknown member": b'{"method":"org.example.test.Echo","token":"x"}\0',
    "two flags": b'{"method":"org.example.test.Note","more":true,"oneway":true}\0',
    "a flag that is a number": b'{"method":"org.example.test.Echo","more":1}\0',
    "bad UTF-8": b'{"method":"org.example.test.Echo","parameters":{"text":"\xff"}}\0',
    "a lone surrogate": rb'{"method":"org.example.test.Echo","parameters":{"text":"\ud800"}}' + b"\0",
    "NaN": b'{"method":"org.example.test.Echo","parameters":{"text":NaN}}\0',
    "a deep array": b'{"method":"org.example.test.Echo","parameters":' + b"[" * 200_000 + b"\0",
    "a message without end": b"x" * ((1 << 18) + 1),
    "a string without end": b'{"method":"org.example.test.Echo","parameters":{"text":"' + b"x" * (1 << 18),
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_client_is_closed_and_the_other_unharmed(
    serves: Serves, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    caplog.set_level(logging.INFO, "pollprog")
    serves.start(limits=Limits(message=1 << 18))
    hostile, other = serves.client(), serves.client()
    await other.ask("Wait")
    await serves.waits()
    assert await hostile.is_served()
    with suppress(BrokenPipeError, ConnectionResetError):  # it may be closed before all is said
        await hostile.write(said)
    assert await hostile.closed()
    serves.go_on.set()
    assert told(await other.reply()) == {"waited": True}
    assert await other.is_served()
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage().isprintable()


async def test_a_client_that_goes_in_the_middle_of_a_message_is_forgotten(serves: Serves) -> None:
    serves.start()
    client, other = serves.client(), serves.client()
    await client.write(b'{"method":"org.example.te')
    client.close()
    assert await other.is_served()


async def test_a_message_may_be_as_long_as_the_limit(serves: Serves) -> None:
    limit = 100_000
    serves.start(limits=Limits(message=limit))
    client = serves.client()
    empty = len(encode_call(f"{NAME}.Echo", {"text": ""}))
    serves.nursery.start_soon(client.write, encode_call(f"{NAME}.Echo", {"text": "x" * (limit - empty)}) * 3)
    for _ in range(3):
        assert len(told(await client.reply())["text"]) == limit - empty
    with pytest.raises((EOFError, BrokenPipeError)):
        await client.call("Echo", {"text": "x" * (limit - empty + 1)})


async def test_descriptors_that_come_along_are_not_received(serves: Serves) -> None:
    serves.start()
    client = serves.client()
    assert await client.is_served()
    reader, writer = os.pipe()
    before = len(os.listdir("/proc/self/fd"))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer] * 100))]
    client.socket.sendmsg([encode_call(f"{NAME}.Echo", {"text": "a gift"})], rights)
    assert told(await client.reply()) == {"text": "a gift"}
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(writer)
    assert os.read(reader, 1) == b"", "nobody else holds the other end"
    os.close(reader)


async def test_a_stranger_is_closed_without_a_word(serves: Serves) -> None:
    asked: list[Any] = []

    def allowed(peer: Any) -> bool:
        asked.append(peer)
        return False

    serves.start(allowed=allowed)
    client = serves.client()
    assert await client.closed()
    assert asked == [(os.geteuid(), os.getegid(), os.getpid())]


@pytest.mark.parametrize(("uid", "served"), [(0, True), (os.geteuid(), True), (54321, False)])
async def test_we_and_root_are_served_and_nobody_else(uid: int, served: bool) -> None:
    near, far = socket.socketpair()
    service = Service([], vendor="", product="", version="", url="")
    client = Client(far)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.serve_connection, near, Peer(uid, 1, 1))
            if served:
                assert await client.call(f"{SERVICE}.GetInfo")
            else:
                assert await client.closed()
            client.close()


async def test_a_handler_knows_who_asks(serves: Serves) -> None:
    async def who(request: Request[Any]) -> dict[str, object]:
        return {**request.peer._asdict(), "method": request.method}

    serves.start(Method("Who", who))
    assert await serves.client().call("Who") == {
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "pid": os.getpid(),
        "method": f"{NAME}.Who",
    }


# --- too many


async def test_one_connection_too_many_is_told_so_and_closed(serves: Serves) -> None:
    serves.start(limits=Limits(connections=2))
    first, second = serves.client(), serves.client()
    assert await first.is_served()
    assert await second.is_served()
    third = serves.client()
    name, parameters = await third.call("Echo", {"text": "me too"})
    assert (name, parameters["limit"]) == (f"{OPERATIONS}.TooBusy", 2)
    assert await third.closed()
    assert await first.is_served()
    second.close()
    with trio.fail_after(PATIENCE):
        while not await serves.client().is_served():
            pass


async def test_far_too_many_connections_are_closed_at_once(serves: Serves) -> None:
    serves.start(limits=Limits(connections=1))
    first = serves.client()
    assert await first.is_served()
    waiting = [serves.client() for _ in range(serving.TURNED_AWAY)]
    assert await serves.client().closed()
    for client in waiting:
        assert (await client.call("Echo", {"text": ""}))[0] == f"{OPERATIONS}.TooBusy"
    assert await first.is_served()


async def test_one_too_many_who_says_nothing_is_told_all_the_same(
    serves: Serves, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "TURNED_AWAY_PATIENCE", 0.05)
    serves.start(limits=Limits(connections=1))
    first = serves.client()
    assert await first.is_served()
    assert await serves.client().closed()


async def test_a_judge_of_strangers_who_fails_costs_that_one_connection(
    serves: Serves, caplog: pytest.LogCaptureFixture
) -> None:
    verdicts = iter([ValueError("no idea"), True])

    def allowed(_: Peer) -> bool:
        verdict = next(verdicts)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    serves.start(allowed=allowed)
    assert await serves.client().closed()
    assert await serves.client().is_served()
    assert len(caplog.records) == 1


class Counted(socket.socket):
    """A listener that knows how often it was asked."""

    asked = 0
    fails: tuple[OSError | None, ...] = ()

    def accept(self) -> Any:
        self.asked += 1
        error = self.fails[self.asked - 1] if self.asked <= len(self.fails) else None
        if error is not None:
            raise error
        return super().accept()


async def test_a_client_that_is_gone_before_it_is_taken_is_no_matter(
    tmp_path: Path, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    with Counted(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
        listener.fails = (ConnectionAbortedError(), BlockingIOError())
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        nursery.start_soon(Service([], vendor="", product="", version="", url="").serve, [listener])
        sock.connect(str(tmp_path / "socket"))
        assert await Client(sock).call(f"{SERVICE}.GetInfo")
        nursery.cancel_scope.cancel()
    assert listener.asked >= 3
    assert not caplog.records


async def test_a_service_without_descriptors_waits_for_some_and_says_so_once(
    tmp_path: Path, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "EXHAUSTED_PAUSE", 0.001)
    with Counted(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        nursery.start_soon(Service([], vendor="", product="", version="", url="").serve, [listener])
        await trio.testing.wait_all_tasks_blocked()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            sock.connect(str(tmp_path / "socket"))
            with trio.fail_after(PATIENCE):
                while listener.asked < 5:  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(0.001)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (await Client(sock).call(f"{SERVICE}.GetInfo"))["interfaces"] == [SERVICE]
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING


async def test_a_service_says_anew_that_it_is_exhausted_if_it_was_not_in_between(
    tmp_path: Path, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "EXHAUSTED_PAUSE", 0.001)
    full = OSError(errno.ENFILE, "too many open files in system")
    with Counted(socket.AF_UNIX) as listener:
        listener.fails = (full, full, None, full, full)
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        nursery.start_soon(Service([], vendor="", product="", version="", url="").serve, [listener])
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(tmp_path / "socket"))
                assert await Client(sock).call(f"{SERVICE}.GetInfo")
        nursery.cancel_scope.cancel()
    assert (listener.asked, len(caplog.records)) == (6, 2)


async def test_a_listener_that_is_none_is_a_fault_of_the_program() -> None:
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind("")
        with pytest.raises(ExceptionGroup) as caught, trio.fail_after(PATIENCE):
            await Service([], vendor="", product="", version="", url="").serve([nobody])
        assert caught.group_contains(OSError)


async def test_several_listeners_are_one_service(tmp_path: Path, nursery: trio.Nursery) -> None:
    listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for number, listener in enumerate(listeners):
        listener.bind(str(tmp_path / str(number)))
        listener.listen()
    nursery.start_soon(Service([], vendor="", product="", version="", url="").serve, listeners)
    for listener in listeners:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(listener.getsockname())
            assert await Client(sock).call(f"{SERVICE}.GetInfo")
    nursery.cancel_scope.cancel()
    for listener in listeners:
        listener.close()
