"""The far side of a link without the link: standard streams to a daemon's socket, and a daemon that is handed its only client.

varlinkctl is not in every distribution. What its ``exec:`` and ``ssh-exec:`` do to a program is done here: a connected socket as
descriptor 3 with the variables of socket activation; standard streams with ``SYSTEMD_VARLINK_LISTEN=-``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from far_side import far_side, wait
from services import Daemon
from terminals import ENVIRONMENT, PATIENCE, POLLPROG, pollprog

from pollprog import bridge
from pollprog.varlink import encode_call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INFO = encode_call("org.varlink.service.GetInfo")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    yield daemon
    daemon.stop()


@contextlib.contextmanager
def run(*words: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """pollprog with pipes for standard streams."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    given = {"env": ENVIRONMENT, **streams, **options}
    with subprocess.Popen([POLLPROG, *words], start_new_session=True, **given) as process:
        try:
            yield process
        finally:
            process.kill()


def call(method: str, *, more: bool = False, **parameters: Any) -> bytes:
    return encode_call(f"org.pollprog.operations.{method}", parameters, more=more)


def replies(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\0"), data
    return [msgspec.json.decode(message) for message in data[:-1].split(b"\0")]


def test_replies_come_after_the_end_of_standard_input(daemon: Daemon) -> None:
    with run("dial-stdio", "--socket", str(daemon.path)) as process:
        out, err = process.communicate(INFO + call("Run", argv=["sleep", ".3"]), timeout=PATIENCE)
    assert (process.returncode, err) == (0, b"")
    info, ran = replies(out)
    assert info["parameters"]["product"] == "pollprog"
    assert ran == {"parameters": {"result": {"output": ""}}}


def test_a_call_is_cancelled_when_nobody_reads_standard_output(daemon: Daemon, tmp_path: Path) -> None:
    with run("dial-stdio", "--socket", str(daemon.path)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        words = ["sh", "-c", f"echo $$ > {tmp_path}/pid; mv {tmp_path}/pid {tmp_path}/begun; sleep 1000"]
        process.stdin.write(call("Run", argv=words))  # without `more`: nothing would be written before its end
        process.stdin.flush()
        wait((tmp_path / "begun").exists)
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
    pid = int((tmp_path / "begun").read_text())
    wait(lambda: not os.path.exists(f"/proc/{pid}"))


def test_it_ends_with_the_daemon(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    daemon = Daemon(tmp_path / "d")
    with run("dial-stdio", "--socket", str(daemon.path)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(INFO)
        process.stdin.flush()
        assert process.stdout.read(1) == b"{"
        daemon.stop()
        assert process.wait(PATIENCE) == 0


def test_much_goes_both_ways_at_once_whether_or_not_streams_wait(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    source, feeding = os.pipe()
    draining, sink = os.pipe()
    for end in (source, sink):
        os.set_blocking(end, False)
    data = os.urandom(1 << 21)
    got: list[bytes] = []

    def drain() -> None:
        while chunk := os.read(draining, 1 << 16):
            got.append(chunk)

    def feed() -> None:
        bridge.write_all(feeding, data)
        os.close(feeding)

    def echo() -> None:
        with theirs:
            while chunk := theirs.recv(1 << 16):
                theirs.sendall(chunk)

    threads = [threading.Thread(target=one) for one in (drain, feed, echo)]
    for thread in threads:
        thread.start()
    with ours:
        bridge.pump(source, sink, ours)
    os.close(sink)
    for thread in threads:
        thread.join(PATIENCE)
    assert b"".join(got) == data
    os.close(source)
    os.close(draining)


def test_a_socket_in_a_directory_that_is_open_to_all_is_refused_with_the_reason(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ran = pollprog("dial-stdio", "--socket", f"{tmp_path}/sock")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"a daemon was started for unix:{tmp_path}/sock, and does not listen: " in ran.stderr
    assert "is open to others" in ran.stderr


def test_a_socket_that_is_mistyped_makes_no_directory(tmp_path: Path) -> None:
    ran = pollprog("dial-stdio", "--socket", f"{tmp_path}/no/sock")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"pollprog: nobody listens at unix:{tmp_path}/no/sock; ")
    assert list(tmp_path.iterdir()) == []


def test_a_daemon_does_not_get_what_is_true_of_a_login_only() -> None:
    assert bridge.surroundings({"SSH_AUTH_SOCK": "x", "SSH_CONNECTION": "x", "HOME": "/"}) == {"HOME": "/"}


# --- varlinkctl


def test_a_connected_socket_that_is_handed_over_is_served_and_nothing_else() -> None:
    ours, theirs = socket.socketpair()
    activate = (
        "import os,sys;os.dup2(int(sys.argv[1]),3);os.set_inheritable(3,True);"
        "os.environ.update(LISTEN_FDS='1',LISTEN_FDNAMES='varlink',LISTEN_PID=str(os.getpid()));os.execvp(sys.argv[2],sys.argv[2:])"
    )
    words = [sys.executable, "-ISc", activate, str(theirs.fileno()), POLLPROG, "daemon"]
    with subprocess.Popen(words, env=ENVIRONMENT, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE) as process:
        theirs.close()
        with ours:
            ours.settimeout(PATIENCE)
            ours.sendall(INFO)
            assert b'"product":"pollprog"' in ours.recv(1 << 16)
            ours.sendall(call("Run", more=True, argv=["true"]))
            assert b'"result"' in ours.recv(1 << 16)
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize("pair", [True, False])
def test_standard_streams_are_served_where_varlink_says_so(pair: bool, tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "SYSTEMD_VARLINK_LISTEN": "-"}
    environment |= {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    said = INFO + call("Run", argv=["sh", "-c", 'printf %s "$SYSTEMD_VARLINK_LISTEN"; cat'])
    if pair:
        ours, theirs = socket.socketpair()
        with run("daemon", stdin=theirs, stdout=theirs, env=environment) as process, ours:
            theirs.close()
            ours.settimeout(PATIENCE)
            ours.sendall(said)
            ours.shutdown(socket.SHUT_WR)
            out = b"".join(iter(lambda: ours.recv(1 << 16), b""))
            assert process.wait(PATIENCE) == 0
    else:
        with run("daemon", env=environment) as process:
            out, err = process.communicate(said, timeout=PATIENCE)
            assert (process.returncode, err) == (0, b"")
    assert replies(out)[1] == {"parameters": {"result": {"output": ""}}}
    assert not (tmp_path / "pollprog").exists()


def test_a_client_of_standard_streams_that_goes_away_ends_the_daemon_and_its_call(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with run("daemon", stdin=theirs, stdout=theirs, env={**ENVIRONMENT, "SYSTEMD_VARLINK_LISTEN": "-"}) as process:
        theirs.close()
        ours.sendall(call("Run", argv=["sh", "-c", f"touch {tmp_path}/begun; sleep 1000"]))
        wait((tmp_path / "begun").exists)
        ours.close()
        assert process.wait(PATIENCE) == 0


@pytest.mark.tool("sshd", "ssh", "ssh-keygen")
def test_varlinkctl_s_way_through_ssh_reaches_a_daemon_of_its_own() -> None:
    with far_side() as far:
        ssh = [*far.environment["POLLPROG_SSH"].split(), "-T", "-e", "none", "-p", str(far.port), "127.0.0.1"]
        for command in (
            "env SYSTEMD_VARLINK_LISTEN=- pollprog daemon",
            "env SYSTEMD_VARLINK_LISTEN=- pollprog dial-stdio",
        ):
            with subprocess.Popen([*ssh, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                out, _ = process.communicate(INFO, timeout=PATIENCE)
            assert replies(out)[0]["parameters"]["product"] == "pollprog"
