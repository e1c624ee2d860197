"""Foreign clients against our wire code: each runs in its own process, and so does the service."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from certification import DESCRIPTION, MYTYPE, NAME, STEPS

from pollprog import varlink

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 30.0

TYPED = """
import asyncio, json, sys
from asyncvarlink import VarlinkClientProtocol, VarlinkErrorReply, VarlinkMethodCall, connect_unix_varlink
from asyncvarlink.serviceinterface import VarlinkServiceInterface

async def main(path, interface, before, mytype):
    transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, path)
    print(json.dumps((await protocol.make_proxy(VarlinkServiceInterface).GetInfo())["interfaces"]))

    async def call(method, **parameters):
        reply, _ = await protocol.call(VarlinkMethodCall(f"{interface}.{method}", parameters))
        assert reply.error is None, reply.error
        return reply.parameters

    client = await call("Start")
    got = {}
    for method in before:
        got = await call(method, **client, **got)
    assert got == {"mytype": mytype}, got
    texts, more = [], VarlinkMethodCall(f"{interface}.Test10", client | got, more=True)
    async for reply, _ in protocol.call_more(more):
        texts.append(reply.parameters["string"])
    await protocol.call(VarlinkMethodCall(f"{interface}.Test11", client | {"last_more_replies": texts}, oneway=True))
    print(json.dumps(await call("End", **client)))
    transport.close()

asyncio.run(main(*json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where org.varlink.certification is served."""
    address = f"unix:{tmp_path_factory.mktemp('varlink') / 'socket'}"
    script = Path(__file__).with_name("certification.py")
    with subprocess.Popen([sys.executable, script, address], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        assert service.stdout.readline().startswith("listening")
        yield address
        assert service.poll() is None, "the service outlives all of its clients"
        service.kill()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """A foreign client, to its end."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=PATIENCE)


def command(*words: str) -> str:
    """What varlink's own command prints."""
    done = run("-m", "varlink.cli", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def walk_to_test10(address: str) -> str:
    """A client's id for which Test10 is next."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address.removeprefix("unix:"))
        framer = varlink.Framer()

        def call(method: str, parameters: dict[str, object]) -> dict[str, object]:
            client.sendall(varlink.encode_call(f"{NAME}.{method}", parameters))
            while (message := framer.next()) is None:
                framer.feed(client.recv(4096))
            reply = varlink.parse_reply(message)
            assert reply.error is None
            return json.loads(bytes(reply.parameters))

        identity = call("Start", {})
        got: dict[str, object] = {}
        for step in STEPS[:9]:
            got = call(step.name, identity | got)
        return str(identity["client_id"])


def test_the_client_of_the_reference_implementation_certifies_us(address: str) -> None:
    done = run("-m", "varlink.tests.test_certification", "--client", f"--varlink={address}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Certification passed\n")


def test_an_asynchronous_client_is_answered_in_every_step(address: str) -> None:
    before = [step.name for step in STEPS[:9]]
    done = run("-c", TYPED, json.dumps([address.removeprefix("unix:"), NAME, before, MYTYPE]))
    assert (done.returncode, done.stderr) == (0, "")
    interfaces, end = map(json.loads, done.stdout.splitlines())
    assert interfaces == ["org.varlink.service", NAME]
    assert end == {"all_ok": True}


def test_the_varlink_command_tells_who_we_are(address: str) -> None:
    told = command("info", address)
    for word in "Vendor: pollprog", "Product: certification", "Version: 1", "org.varlink.service", NAME:
        assert word in told


@pytest.mark.parametrize("interface", [NAME, "org.varlink.service"])
def test_the_varlink_command_can_read_our_descriptions(address: str, interface: str) -> None:
    told = command("help", f"{address}/{interface}")
    assert f"interface {interface}\n" in told
    if interface == NAME:
        assert told.strip() == DESCRIPTION.strip()


def test_the_varlink_command_prints_each_of_several_replies(address: str) -> None:
    parameters = json.dumps({"client_id": walk_to_test10(address), "mytype": MYTYPE})
    printed = command("call", "--more", f"{address}/{NAME}.Test10", parameters)
    decoder, replies, rest = json.JSONDecoder(), [], printed.strip()
    while rest:
        reply, end = decoder.raw_decode(rest)
        replies.append(reply["string"])
        rest = rest[end:].lstrip()
    assert replies == [f"Reply number {number}" for number in range(1, 11)]


@pytest.mark.parametrize(
    ("method", "parameters", "error"),
    [
        (f"{NAME}.Test10", {"client_id": "nobody", "mytype": MYTYPE}, "org.varlink.service.ExpectedMore"),
        (f"{NAME}.Test12", {}, "org.varlink.service.MethodNotFound"),
        ("org.varlink.nowhere.Test01", {}, "org.varlink.service.InterfaceNotFound"),
        (f"{NAME}.Test01", {"client": "nobody"}, "org.varlink.service.InvalidParameter"),
        (f"{NAME}.Test01", {"client_id": "nobody"}, f"{NAME}.ClientIdError"),
    ],
)
def test_the_varlink_command_is_told_what_was_wrong(
    address: str, method: str, parameters: dict[str, object], error: str
) -> None:
    done = run("-m", "varlink.cli", "call", f"{address}/{method}", json.dumps(parameters))
    assert error in done.stderr
    assert done.stdout == ""


def test_a_wrong_value_fails_the_certification(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(address.removeprefix("unix:"))
        client.sendall(varlink.encode_call(f"{NAME}.Start"))
        identity = json.loads(bytes(varlink.parse_reply(client.recv(4096)[:-1]).parameters))
        client.sendall(varlink.encode_call(f"{NAME}.Test01", identity))
        assert client.recv(4096) == b'{"parameters":{"bool":true}}\0'
        client.sendall(varlink.encode_call(f"{NAME}.Test02", identity | {"bool": False}))
        reply = varlink.parse_reply(client.recv(4096)[:-1])
    assert reply.error == f"{NAME}.CertificationError"
    told = json.loads(bytes(reply.parameters))
    assert (told["wants"]["parameters"]["bool"], told["got"]["parameters"]["bool"]) == (True, False)
