"""The blocking handle: each sentence that is promised of it, against the real daemon, and against services that mean no good."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from services import PATIENCE, Daemon, heard, reply, speaking, status, until_closed, wait

import pollprog
from pollprog import Progress
from pollprog import handle as handle_module
from pollprog.errors import (
    Busy,
    Cancelled,
    CommandFailed,
    ConnectionLost,
    InvalidParameter,
    MethodNotFound,
    NoSuchFile,
    NoSuchJob,
    PathNotAbsolute,
    ProtocolError,
    Unreachable,
    UsageError,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

NOTHING = Progress(-1, -1)
SIZE = 1 << 29
TALK = "org.example.Talk"
LONG = ["sleep", "60"]
"""A command that ends when it is cancelled."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    yield daemon
    daemon.stop()


@pytest.fixture
def handle(daemon) -> Iterator[pollprog.Handle]:
    with pollprog.connect(daemon.address) as handle:
        yield handle


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """A file that takes a moment to sum up."""
    path: Path = tmp_path_factory.mktemp("image") / "big.img"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


class Elsewhere:
    """Something that runs in another thread; what it returns or raises."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self.result: object = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:
            self.result = error

    def join(self) -> object:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.result


def state_of(daemon: Daemon, job: str) -> str:
    with pollprog.connect(daemon.address) as other:
        state: str = other.call("Get", job=job)["job"]["state"]
        return state


def is_over(daemon: Daemon, job: str) -> bool:
    return state_of(daemon, job) in ("succeeded", "failed", "cancelled", "lost")


# --- a call


def test_a_call_returns_the_result_as_plain_values(handle, tmp_path) -> None:
    (tmp_path / "a.img").write_bytes(b"x" * 1000)
    copied = handle.call("CopySize", source=str(tmp_path / "a.img"), destination=str(tmp_path / "b.img"))
    assert copied == {"size": 1000}
    assert (tmp_path / "b.img").read_bytes() == b"x" * 1000


def test_a_method_without_a_result_returns_the_parameters_of_its_reply(handle) -> None:
    assert isinstance(handle.call("List")["jobs"], list)


def test_a_method_of_another_interface_is_called_by_its_whole_name(handle) -> None:
    told = handle.call("org.varlink.service.GetInfo")
    assert "org.pollprog.operations" in told["interfaces"]


def test_an_error_is_one_of_ours_with_its_typed_attributes(handle, tmp_path) -> None:
    with pytest.raises(NoSuchFile) as caught:
        handle.call("Checksum", path=tmp_path / "nothing")
    assert caught.value.path == str(tmp_path / "nothing")
    with pytest.raises(CommandFailed) as failed:
        handle.call("Run", argv=["sh", "-c", "exit 7"])
    assert (failed.value.exit, failed.value.signal) == (7, None)
    with pytest.raises(InvalidParameter) as invalid:
        handle.call("Checksum", path=7)
    assert invalid.value.parameter == "path"
    with pytest.raises(MethodNotFound) as unknown:
        handle.call("Nonsense")
    assert unknown.value.method.endswith(".Nonsense")
    assert handle.call("Run", argv=["true"]) == {"output": ""}  # the connection is as good as before


def test_a_path_is_made_absolute_and_text_is_sent_as_it_is(handle, tmp_path, monkeypatch) -> None:
    (tmp_path / "a").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert handle.call("Checksum", path=Path("a"))["size"] == 0
    with pytest.raises(PathNotAbsolute):
        handle.call("Checksum", path="a")


def test_what_is_none_is_not_said(handle) -> None:
    assert handle.call("Run", argv=["true"], probe=None, total=None, job=None) == {"output": ""}


def test_progress_is_asked_for_where_the_method_has_some_and_what_it_has_is_asked_once(tmp_path) -> None:
    calls: list[dict[str, object]] = []
    operations = [
        {"name": name, "doc": "", "progress": name == "Loud", "parameters": []} for name in ("Loud", "Silent")
    ]

    def talk(sock: socket.socket) -> None:
        while True:
            calls.append(heard(sock))
            name = str(calls[-1]["method"]).rpartition(".")[2]
            sock.sendall(reply(operations=operations) if name == "Describe" else reply(result=name))

    with speaking(tmp_path, talk) as address, pollprog.connect(address) as handle:
        assert [handle.call(name) for name in ("Loud", "Silent", "Loud")] == ["Loud", "Silent", "Loud"]
        assert handle.call("Loud", more=False) == "Loud"
        handle.call("org.example.Talk")
        handle.call("org.example.Talk", more=True)
    told = [(str(call["method"]).rpartition(".")[2], call.get("more", False)) for call in calls]
    once = [("Describe", False), ("Loud", True), ("Silent", False), ("Loud", True)]
    assert told == [*once, ("Loud", False), ("Talk", False), ("Talk", True)]


def test_the_address_may_be_that_of_the_environment(daemon, monkeypatch) -> None:
    monkeypatch.setenv("POLLPROG_ADDRESS", daemon.address)
    with pollprog.connect() as handle:
        assert str(handle.address) == daemon.address
        handle.jobs()


# --- how far it is


def test_get_progress_is_minus_one_twice_before_the_first_status_and_after_the_reply(tmp_path) -> None:
    asked, send, end = threading.Event(), threading.Event(), threading.Event()

    def talk(sock: socket.socket) -> None:
        heard(sock)
        asked.set()
        assert send.wait(PATIENCE)
        sock.sendall(status(7, 100))
        assert end.wait(PATIENCE)
        sock.sendall(reply(result="done"))

    with speaking(tmp_path, talk) as address, pollprog.connect(address) as handle:
        assert (handle.get_progress(), handle.status, handle.busy) == (NOTHING, None, False)
        call = Elsewhere(lambda: handle.call(TALK, more=True))
        assert asked.wait(PATIENCE)
        assert (handle.get_progress(), handle.status, handle.busy) == (NOTHING, None, True)
        send.set()
        wait(lambda: handle.get_progress() != NOTHING)
        assert handle.get_progress() == Progress(total=100, current=7)
        end.set()
        assert call.join() == "done"
        assert (handle.get_progress(), handle.busy) == (NOTHING, False)
        assert handle.status.current == 7


def test_an_unknown_total_is_minus_one_and_current(handle) -> None:
    call = Elsewhere(lambda: handle.call("Run", argv=LONG))
    wait(lambda: handle.get_progress() != NOTHING)
    assert handle.get_progress().total == -1
    assert handle.get_progress().current >= 0
    handle.cancel()
    assert isinstance(call.join(), Cancelled)


def test_the_status_is_there_whole(handle, image) -> None:
    handle.call("Checksum", path=image)
    assert handle.status.state is pollprog.State.SUCCEEDED
    assert (handle.status.current, handle.status.total) == (SIZE, SIZE)
    assert handle.status.unit is pollprog.Unit.BYTES


def test_a_status_before_the_first_sample_says_nothing_of_how_far_it_is(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(status(0, None).replace(b'"current":0', b'"current":null'))
        sock.sendall(reply())

    with speaking(tmp_path, talk) as address, pollprog.connect(address) as handle:
        told: list[object] = []
        handle.set_progress_callback(lambda *values: told.append(values))
        handle.call(TALK, more=True)
        assert handle.status is not None
        assert handle.status.current is None
    assert told == []


def test_ten_thousand_looks_from_a_second_thread_hold_up_nobody(handle) -> None:
    handle.set_progress_callback(lambda total, current: None)
    call = Elsewhere(lambda: handle.call("Run", argv=["sleep", "0.7"]))
    wait(lambda: handle.busy)
    looks = Elsewhere(lambda: [handle.get_progress() for _ in range(10_000)])
    seen = looks.join()
    assert handle.busy  # it ended long before the call
    assert isinstance(seen, list)
    assert all(isinstance(look, Progress) for look in seen)
    assert call.join() == {"output": ""}


def test_looking_from_a_second_thread_and_from_a_callback_never_deadlocks(handle) -> None:
    looks: list[object] = []
    handle.set_progress_callback(lambda *_: looks.append((handle.get_progress(), handle.busy, handle.status)))
    stop = threading.Event()

    def look() -> int:
        number = 0
        while not stop.is_set():
            number += 1
            assert handle.get_progress() is not None
            assert handle.busy in (True, False)
        return number

    looking = Elsewhere(look)
    for _ in range(2):
        assert handle.call("Run", argv=["sleep", "0.5"]) == {"output": ""}
    stop.set()
    assert looking.join()
    assert looks


def test_a_hundred_thousand_statuses_are_taken(tmp_path) -> None:
    many = 100_000

    def talk(sock: socket.socket) -> None:
        heard(sock)
        before, after = status(0, many).split(b'"current":0')
        for start in range(0, many, 1000):
            numbers = (b'"current":%d' % number for number in range(start, start + 1000))
            sock.sendall(b"".join(before + number + after for number in numbers))
        sock.sendall(reply(result=many))

    with speaking(tmp_path, talk) as address, pollprog.connect(address) as handle:
        told: list[int] = []
        handle.set_progress_callback(lambda total, current: told.append(current))
        assert handle.call(TALK, more=True) == many
        assert handle.status.current == many - 1
    assert told == sorted(told)
    assert told[-1] == many - 1


# --- callbacks


def test_a_callback_is_called_with_total_and_current(handle, image) -> None:
    told: list[tuple[int, int]] = []
    handle.set_progress_callback(lambda total, current: told.append((total, current)))
    handle.call("Checksum", path=image)
    handle.close()
    assert all(total == SIZE for total, _ in told)
    assert told[-1] == (SIZE, SIZE)


def test_none_clears_the_callback_and_another_takes_its_place(tmp_path) -> None:
    told: dict[str, list[int]] = {"first": [], "second": [], "added": []}

    def talk(sock: socket.socket) -> None:
        for number in range(3):
            heard(sock)
            sock.sendall(status(number) + reply())

    with speaking(tmp_path, talk) as address, pollprog.connect(address) as handle:
        handle.set_progress_callback(lambda _, current: told["first"].append(current))
        remove = handle.add_progress_callback(lambda _, current: told["added"].append(current))
        handle.call(TALK, more=True)
        wait(lambda: told["added"] == [0])
        handle.set_progress_callback(lambda _, current: told["second"].append(current))
        handle.call(TALK, more=True)
        wait(lambda: told["second"] == [1])
        handle.set_progress_callback(None)
        handle.call(TALK, more=True)
        wait(lambda: told["added"] == [0, 1, 2])
        remove()
        remove()
    assert told == {"first": [0], "second": [1], "added": [0, 1, 2]}


def test_a_slow_callback_gets_the_newest_and_holds_up_nothing(tmp_path) -> None:
    entered, go = threading.Event(), threading.Event()
    told: list[int] = []

    def slow(_: int, current: int) -> None:
        entered.set()
        assert go.wait(PATIENCE)
        told.append(current)

    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(status(0))
        assert entered.wait(PATIENCE)
        sock.sendall(b"".join(status(number) for number in range(1, 50)) + reply(result="done"))

    with speaking(tmp_path, talk) as address, pollprog.connect(address) as handle:
        handle.set_progress_callback(slow)
        assert handle.call(TALK, more=True) == "done"
        assert told == []  # it is in its first status yet, and the call is over
        go.set()
    assert told == [0, 49]  # and the last one was told before the handle was closed


def test_callbacks_run_in_one_thread_of_the_handle(handle) -> None:
    threads: set[threading.Thread] = set()
    for _ in range(3):
        handle.add_progress_callback(lambda *_: threads.add(threading.current_thread()))
    for _ in range(2):
        handle.call("Run", argv=["sleep", "0.4"])
    wait(lambda: threads)
    handle.close()
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_a_callback_that_raises_is_logged_and_the_call_goes_on(handle, caplog) -> None:
    with caplog.at_level(logging.ERROR, "pollprog"):
        handle.set_progress_callback(lambda *_: 1 / 0)
        assert handle.call("Run", argv=["sleep", "0.5"]) == {"output": ""}
        handle.close()
    assert {record.exc_info[0] for record in caplog.records if record.exc_info} == {ZeroDivisionError}


def test_a_call_from_inside_a_callback_raises_busy(handle) -> None:
    raised: list[BaseException] = []
    go = threading.Event()

    def calls(*_: int) -> None:
        while True:  # while the call runs, and after it
            try:
                handle.call("List")
            except Busy as error:
                raised.append(error)
            if not handle.busy:
                go.set()
                return

    handle.set_progress_callback(calls)
    handle.call("Run", argv=["sleep", "0.5"])
    assert go.wait(PATIENCE)
    assert raised


def test_a_call_from_another_thread_while_one_runs_raises_busy(handle) -> None:
    call = Elsewhere(lambda: handle.call("Run", argv=LONG))
    wait(lambda: handle.busy)
    with pytest.raises(Busy):
        handle.call("List")
    handle.cancel()
    assert isinstance(call.join(), Cancelled)
    assert "jobs" in handle.call("List")


# --- cancel


def test_cancel_ends_the_call_with_its_own_reply_and_the_work_with_it(handle, daemon) -> None:
    call = Elsewhere(lambda: handle.call("Run", argv=LONG, job="cancelled-one"))
    wait(lambda: handle.get_progress() != NOTHING)
    handle.cancel()
    assert isinstance(call.join(), Cancelled)
    assert state_of(daemon, "cancelled-one") == "cancelled"
    assert "jobs" in handle.call("List")


def test_cancel_from_a_callback(handle) -> None:
    handle.set_progress_callback(lambda *_: handle.cancel())
    with pytest.raises(Cancelled):
        handle.call("Run", argv=LONG)


def test_cancel_from_a_signal_handler_in_the_thread_that_waits(handle) -> None:
    main = threading.get_ident()

    def send() -> None:
        wait(lambda: handle.get_progress() != NOTHING)
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: handle.cancel())
    try:
        sending = Elsewhere(send)
        with pytest.raises(Cancelled):
            handle.call("Run", argv=LONG)
        assert sending.join() is None
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_early_cancel_is_not_lost(daemon) -> None:
    """Whenever it comes: before the daemon has read the call, or even before it was described."""
    for number in range(20):
        with pollprog.connect(daemon.address) as handle:
            if number % 2:
                handle.call("Run", argv=["true"])
            call = Elsewhere(lambda handle=handle: handle.call("Run", argv=LONG))
            wait(lambda handle=handle: handle.busy)
            handle.cancel()
            assert isinstance(call.join(), Cancelled)


def test_a_cancel_that_comes_before_the_daemon_knows_the_job_is_said_again(tmp_path) -> None:
    operations = [{"name": "Work", "doc": "", "progress": True, "parameters": []}]
    cancels: list[object] = []
    known = threading.Event()
    asked = threading.Event()

    def work(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(reply(operations=operations))
        job = heard(sock)["parameters"]["job"]  # type: ignore[index] # it has parameters
        asked.set()
        assert known.wait(PATIENCE)
        assert set(cancels) == {job}
        sock.sendall(b'{"error":"org.pollprog.operations.Cancelled","parameters":{"message":"stopped","written":3}}\0')

    def cancel(sock: socket.socket) -> None:
        cancels.append(heard(sock)["parameters"]["job"])  # type: ignore[index] # it has parameters
        if len(cancels) < 3:
            sock.sendall(b'{"error":"org.pollprog.operations.NoSuchJob","parameters":{"message":"who?"}}\0')
        else:
            sock.sendall(reply(state="cancelling"))
            known.set()

    with speaking(tmp_path, work, cancel) as address, pollprog.connect(address) as handle:
        call = Elsewhere(lambda: handle.call("Work"))
        assert asked.wait(PATIENCE)
        handle.cancel()
        error = call.join()
    assert isinstance(error, Cancelled)
    assert error.written == 3  # its own reply
    assert len(cancels) == 3


def test_cancel_without_a_call_does_nothing(handle) -> None:
    handle.cancel()
    assert handle.call("Run", argv=["true"]) == {"output": ""}
    handle.cancel()
    handle.cancel()
    assert handle.call("Run", argv=["true"]) == {"output": ""}
    handle.close()
    handle.cancel()


def test_a_cancel_that_cannot_be_delivered_closes_the_connection(tmp_path) -> None:
    daemon = Daemon(tmp_path)
    try:
        with pollprog.connect(daemon.address) as handle:
            call = Elsewhere(lambda: handle.call("Run", argv=LONG, job="stuck"))
            wait(lambda: handle.get_progress() != NOTHING)
            daemon.signal(signal.SIGSTOP)
            handle.cancel()
            error = call.join()
            assert isinstance(error, ConnectionLost)
            assert "cancel" in str(error)
            assert "stuck" in str(error)
            daemon.signal(signal.SIGCONT)
            wait(lambda: state_of(daemon, "stuck") == "cancelled")  # because the connection was closed
            assert "jobs" in handle.call("List")
    finally:
        daemon.stop()


def test_what_is_no_operation_is_not_waited_for_any_more(handle, daemon) -> None:
    job = handle.submit("Run", argv=LONG)
    following = Elsewhere(lambda: handle.follow(job))
    wait(lambda: handle.get_progress() != NOTHING)
    handle.cancel()
    assert isinstance(following.join(), Cancelled)
    assert state_of(daemon, job) == "running"
    handle.call("Cancel", job=job)
    wait(lambda: is_over(daemon, job))


# --- the end


def test_leaving_the_block_cancels_what_another_thread_waits_for(daemon) -> None:
    with pollprog.connect(daemon.address) as handle:
        call = Elsewhere(lambda: handle.call("Run", argv=LONG, job="left-alone"))
        wait(lambda: handle.get_progress() != NOTHING)
    assert isinstance(call.join(), ConnectionLost)
    wait(lambda: state_of(daemon, "left-alone") == "cancelled")


def test_ctrl_c_closes_the_connection_and_the_handle_can_be_used_again(handle, daemon) -> None:
    main = threading.get_ident()

    def send() -> None:
        wait(lambda: handle.get_progress() != NOTHING)
        signal.pthread_kill(main, signal.SIGINT)

    sending = Elsewhere(send)
    with pytest.raises(KeyboardInterrupt):
        handle.call("Run", argv=LONG, job="interrupted")
    assert sending.join() is None
    assert not handle.busy
    wait(lambda: state_of(daemon, "interrupted") == "cancelled")
    assert "jobs" in handle.call("List")


def test_the_thread_that_waits_cannot_close_the_handle_in_a_signal_handler(handle) -> None:
    main = threading.get_ident()
    raised: list[BaseException] = []

    def close(*_: object) -> None:
        try:
            handle.close()
        except Busy as error:
            raised.append(error)
        handle.cancel()

    before = signal.signal(signal.SIGUSR1, close)
    try:
        sending = Elsewhere(
            lambda: (wait(lambda: handle.get_progress() != NOTHING), signal.pthread_kill(main, signal.SIGUSR1))
        )
        with pytest.raises(Cancelled):
            handle.call("Run", argv=LONG)
        sending.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert raised


def test_a_callback_may_close_the_handle(handle) -> None:
    handle.set_progress_callback(lambda *_: handle.close())
    with pytest.raises(ConnectionLost, match="closed"):
        handle.call("Run", argv=LONG)


def test_a_closed_handle_says_so_and_may_be_closed_again(daemon) -> None:
    handle = pollprog.connect(daemon.address)
    handle.close()
    handle.close()
    with pytest.raises(UsageError, match="closed"):
        handle.call("List")
    assert "closed" in repr(handle)


OWN = """
import os, sys, threading, pollprog
def sockets():
    return [link for link in (os.readlink(f"/proc/self/fd/{n}") if os.path.exists(f"/proc/self/fd/{n}") else "" for n in os.listdir("/proc/self/fd")) if link.startswith("socket:")]
before = sockets()
handle = pollprog.connect(sys.argv[1])
assert len(sockets()) > len(before)
child = os.fork()
if child == 0:
    try:
        assert sockets() == before, sockets()
        handle.cancel()
        handle.close()
        try:
            handle.call("List")
        except pollprog.UsageError as error:
            assert "fork" in str(error)
        else:
            raise AssertionError
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(handle.call("Run", argv=["echo", "here"])["output"].strip())
code = "import os; print([l for l in (os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')) if l.startswith('socket:')])"
import subprocess
print(subprocess.run([sys.executable, "-c", code], close_fds=False, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.strip())
handle.close()
"""


def test_nothing_is_inherited_over_a_fork_or_an_exec(daemon) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", OWN, daemon.address],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines() == ["here", "[]"]


# --- nobody, strangers, and daemons that die


def test_nobody_there_is_unreachable_and_says_what_to_do(tmp_path) -> None:
    with pytest.raises(Unreachable, match=r"nobody listens at unix:.*start one with: pollprog daemon") as caught:
        pollprog.connect(f"unix:{tmp_path}/nobody")
    assert caught.value.address == f"unix:{tmp_path}/nobody"


@pytest.mark.parametrize(
    "said",
    [b"SSH-2.0-OpenSSH_9.2\r\n\0", b"HTTP/1.1 400 Bad Request\r\n\r\n\0", b"[" * 200_000 + b"\0", b"\0\0\0", status(1)],
    ids=["ssh", "http", "brackets", "nuls", "status"],
)
def test_a_stranger_is_unreachable_and_is_named(tmp_path, said) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(said)
        until_closed(sock)

    with speaking(tmp_path, talk) as address, pollprog.connect(address) as handle:
        with pytest.raises(Unreachable, match="no pollprog daemon") as caught:
            handle.call("Fill")
        assert not isinstance(caught.value, ConnectionLost)
        assert caught.value.address == address
        assert address in str(caught.value)


def test_another_varlink_service_is_a_stranger_too(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(b'{"error":"org.varlink.service.InterfaceNotFound","parameters":{"interface":"x"}}\0')
        until_closed(sock)

    with (
        speaking(tmp_path, talk) as address,
        pollprog.connect(address) as handle,
        pytest.raises(Unreachable, match="no pollprog daemon"),
    ):
        handle.call("Fill")


def test_one_who_closes_without_a_word_may_not_serve_us(tmp_path) -> None:
    with (
        speaking(tmp_path, lambda sock: None) as address,
        pollprog.connect(address) as handle,
        pytest.raises(ConnectionLost, match="without a word") as caught,
    ):
        handle.call("List")
    assert caught.value.address == address


@pytest.mark.parametrize(
    "said",
    [b"\xff\0", b"[" * 200_000 + b"\0", b'{"parameters":{"x":' + b"[" * 200_000 + b"\0", b'{"continues":7}\0'],
    ids=["bytes", "brackets", "inner", "type"],
)
def test_garbage_in_the_middle_of_a_call_is_a_protocol_error_and_ends_the_connection(tmp_path, said) -> None:
    closed = threading.Event()

    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(status(7) + said)
        until_closed(sock)
        closed.set()

    def better(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(reply(result="better"))
        until_closed(sock)

    with speaking(tmp_path, talk, better) as address, pollprog.connect(address) as handle:
        with pytest.raises((ProtocolError, Unreachable), match=r"protocol|no pollprog daemon"):
            handle.call(TALK, more=True)
        assert closed.wait(PATIENCE)
        assert handle.get_progress() == NOTHING
        assert handle.call(TALK, more=True) == "better"  # over a connection made anew


def test_a_status_that_was_not_asked_for_is_a_protocol_error(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(reply())
        heard(sock)
        sock.sendall(status(7))
        until_closed(sock)

    with speaking(tmp_path, talk) as address, pollprog.connect(address) as handle:
        handle.call(TALK)
        with pytest.raises(ProtocolError, match="continues") as caught:
            handle.call(TALK)
        assert address in str(caught.value)
        assert handle.get_progress() == NOTHING


def test_a_reply_that_nobody_asked_for_is_never_taken_for_the_next_one(tmp_path) -> None:
    sent = threading.Event()

    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(reply(result="first"))
        sock.sendall(reply(result="never asked for"))
        sent.set()
        until_closed(sock)

    def better(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(reply(result="second"))
        until_closed(sock)

    with speaking(tmp_path, talk, better) as address, pollprog.connect(address) as handle:
        assert handle.call(TALK) == "first"
        assert sent.wait(PATIENCE)
        assert handle.call(TALK) == "second"


def test_half_a_message_and_then_the_end_is_a_connection_lost(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        heard(sock)
        sock.sendall(status(7) + reply(result="done")[:-5])

    with speaking(tmp_path, talk) as address, pollprog.connect(address) as handle:
        with pytest.raises(ConnectionLost) as caught:
            handle.call(TALK, more=True)
        assert caught.value.address == address
        assert handle.get_progress() == NOTHING


def test_a_daemon_that_is_killed_in_the_middle_is_a_connection_lost_and_the_next_one_serves(tmp_path) -> None:
    daemon = Daemon(tmp_path)
    try:
        with pollprog.connect(daemon.address) as handle:
            call = Elsewhere(lambda: handle.call("Run", argv=["sleep", "5"]))
            wait(lambda: handle.get_progress() != NOTHING)
            daemon.kill()
            error = call.join()
            assert isinstance(error, ConnectionLost)
            assert daemon.address in str(error)
            assert (handle.busy, handle.get_progress()) == (False, NOTHING)
            with pytest.raises(Unreachable, match="nobody listens"):
                handle.call("List")
            daemon.start()
            assert handle.call("List") == {"jobs": []}
    finally:
        daemon.stop()


def test_a_long_call_and_a_long_reply_go_through(handle) -> None:
    words = "x" * 100_000
    assert handle.call("Run", argv=["true", *[words] * 8])["output"] == ""
    with pytest.raises(NoSuchJob):
        handle.call("Get", job=words)


def test_a_reply_that_comes_while_the_call_is_still_being_sent_is_heard(tmp_path) -> None:
    def talk(sock: socket.socket) -> None:
        sock.recv(1)
        sock.sendall(b'{"error":"org.pollprog.operations.TooBusy","parameters":{"message":"full","limit":3}}\0')

    with speaking(tmp_path, talk) as address, pollprog.connect(address) as handle:
        with pytest.raises(pollprog.TooBusy) as caught:
            handle.call(TALK, words="x" * 3_000_000)
        assert caught.value.limit == 3


# --- what is there for convenience


def test_submitted_work_runs_here_with_our_environment_and_outlives_the_handle(daemon, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OURS", "yes")
    monkeypatch.setitem(os.environ, "BYTES", os.fsdecode(b"\xff"))
    with pollprog.connect(daemon.address) as handle:
        job = handle.submit("Run", argv=["sh", "-c", 'sleep 0.3; pwd; echo "$OURS"'])
    with pollprog.connect(daemon.address) as handle:
        told = handle.follow(job)
    assert told["state"] == "succeeded"
    assert told["result"]["output"].split() == [str(tmp_path), "yes"]


def test_what_is_submitted_takes_paths_as_a_call_does(handle, tmp_path, monkeypatch) -> None:
    (tmp_path / "a").write_bytes(b"12")
    monkeypatch.chdir(tmp_path)
    assert handle.follow(handle.submit("Checksum", path=Path("a")))["result"]["size"] == 2


def test_work_cannot_be_submitted_from_a_directory_that_is_gone(handle, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(UsageError, match="directory"):
        handle.submit("Run", argv=["true"])


def test_following_a_job_is_told_as_a_call_is(handle) -> None:
    told: list[int] = []
    handle.set_progress_callback(lambda _, current: told.append(current))
    job = handle.submit("Run", argv=["sleep", "0.5"])
    assert handle.follow(job, interval=0.1)["id"] == job
    handle.close()
    assert told


def test_a_followed_job_raises_its_error_if_that_is_wanted(handle) -> None:
    job = handle.submit("Run", argv=["sh", "-c", "exit 5"])
    assert handle.follow(job)["error"] == "org.pollprog.operations.CommandFailed"
    with pytest.raises(CommandFailed) as caught:
        handle.follow(job, check=True)
    assert caught.value.exit == 5
    assert handle.follow(handle.submit("Run", argv=["true"]), check=True)["state"] == "succeeded"


def test_jobs_are_those_that_are_there_newest_first(handle) -> None:
    ids = [handle.submit("Run", argv=["true"]) for _ in range(2)]
    assert [job["id"] for job in handle.jobs()[:2]] == ids[::-1]


def test_the_names_are_public() -> None:
    assert pollprog.connect is handle_module.connect
    assert pollprog.Handle is handle_module.Handle
