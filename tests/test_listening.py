"""Sockets that a daemon listens on: whose they are, who else is there, and what systemd hands over."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from children import as_nobody, child, descriptors

from pollprog.listening import ListenError, handed_over, listening, notify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "own" / "sock")


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def reached(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


# --- a socket of our own


def test_where_no_client_could_reach_it_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="107 bytes at most"), listening(f"{tmp_path}/{'x' * 100}/sock"):
        pass


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_socket_is_for_its_owner_alone_and_so_is_its_directory(path: str, umask: int) -> None:
    old = os.umask(umask)
    try:
        if umask == 0o777:
            os.mkdir(os.path.dirname(path))
            os.chmod(os.path.dirname(path), 0o700)
        with listening(path) as sock:
            assert mode(os.path.dirname(path)) == 0o700
            assert mode(path) & 0o077 == 0
            assert not os.get_inheritable(sock.fileno())
            if umask != 0o777:
                assert mode(path) == 0o600
                assert reached(path)
    finally:
        os.umask(old)


def test_afterwards_the_socket_is_gone_and_nothing_stays_open(path: str) -> None:
    before = descriptors()
    for _ in range(2):
        with listening(path):
            assert reached(path)
        assert not os.path.exists(path)
    assert descriptors() == before


def test_what_a_killed_daemon_has_left_behind_is_taken_over(path: str) -> None:
    os.mkdir(os.path.dirname(path), 0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    assert os.path.exists(path)
    with listening(path):
        assert reached(path)


def test_where_one_listens_no_other_does(path: str) -> None:
    before = descriptors()
    with listening(path):
        inside = descriptors()
        with pytest.raises(ListenError, match="another daemon listens there already"), listening(path):
            pass
        assert descriptors() == inside
        assert reached(path), "the first is unharmed"
    assert descriptors() == before


def test_where_a_stranger_listens_we_do_not(path: str) -> None:
    os.mkdir(os.path.dirname(path), 0o700)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(path)
        stranger.listen()
        with pytest.raises(ListenError, match="another program listens there"), listening(path):
            pass
        assert reached(path)


def make_file(path: str) -> None:
    with open(path, "w") as file:
        file.write("precious")


@pytest.mark.parametrize("make", [make_file, os.mkdir, os.mkfifo, lambda path: os.symlink("/nowhere", path)])
def test_what_else_has_that_name_stays_as_it_is(path: str, make: Callable[[str], None]) -> None:
    os.mkdir(os.path.dirname(path), 0o700)
    make(path)
    before = os.lstat(path)
    with pytest.raises(ListenError, match="something else has that name") as raised, listening(path):
        pass
    assert "\n" not in str(raised.value)
    assert os.path.samestat(os.lstat(path), before)


def test_what_has_taken_the_name_meanwhile_is_not_removed(path: str) -> None:
    with listening(path):
        os.unlink(path)
        make_file(path)
    assert os.path.exists(path)


@pytest.mark.parametrize("open_to", [0o701, 0o710, 0o750, 0o755, 0o777])
def test_a_directory_that_is_open_to_others_is_refused(path: str, open_to: int) -> None:
    os.mkdir(os.path.dirname(path))
    os.chmod(os.path.dirname(path), open_to)
    with pytest.raises(ListenError, match="is open to others"), listening(path):
        pass
    assert os.listdir(os.path.dirname(path)) == []


def test_a_directory_of_somebody_else_is_refused(path: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.mkdir(os.path.dirname(path), 0o700)
    os.chown(os.path.dirname(path), 65534, 65534)
    with pytest.raises(ListenError, match="belongs to uid 65534"), listening(path):
        pass


def test_a_directory_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ListenError), listening(str(tmp_path / "link" / "sock")):
        pass
    assert list((tmp_path / "real").iterdir()) == []


@pytest.mark.parametrize("place", ["/no/such/place/sock", "/proc/self/sock", "/dev/null/sock"])
def test_a_place_where_nothing_can_be_is_refused_in_a_line(place: str) -> None:
    before = descriptors()
    with pytest.raises(ListenError) as raised, listening(place):
        pass
    assert "\n" not in str(raised.value)
    assert raised.value.exit_status == 1
    assert descriptors() == before


def test_a_place_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with as_nobody(), pytest.raises(ListenError), listening(str(tmp_path / "own" / "sock")):
        pass


def test_the_socket_of_a_process_that_was_killed_is_taken_over(path: str) -> None:
    with child() as other:
        other.does(f"sys.path[:0] = {sys.path!r}; from pollprog.listening import listening")
        other.does(f"held = listening({path!r}); held.__enter__()")
        with pytest.raises(ListenError), listening(path):
            pass
        other.popen.kill()
        other.popen.wait()
    assert os.path.exists(path)
    with listening(path):
        assert reached(path)


# --- sockets that systemd hands over

GIVEN = """
import json, os, socket, sys
from pollprog.listening import ListenError, handed_over
try:
    listeners, connected = handed_over(os.environ)
except ListenError as error:
    print(json.dumps(str(error)))
else:
    told = [[sock.fileno() for sock in some] for some in (listeners, connected)]
    inherited = [number for number in range(3, 10) if os.path.exists(f"/proc/self/fd/{number}") and os.get_inheritable(number)]
    print(json.dumps([*told, inherited, [name for name in os.environ if name.startswith("LISTEN_")]]))
"""


def given(*sockets: socket.socket, names: str | None = None, pid: str = "$$", count: str | None = None) -> object:
    """What a process makes of sockets that it finds at 3 and further on."""
    import json

    name = f"LISTEN_FDNAMES={names}" if names is not None else ""
    copies = [fcntl.fcntl(sock, fcntl.F_DUPFD, 100) for sock in sockets]  # out of the way of 3 and further on
    moves = " ".join(f"{3 + at}<&{copy}" for at, copy in enumerate(copies))
    script = f'exec env LISTEN_PID={pid} LISTEN_FDS={count or len(sockets)} {name} "$0" "$@" {moves}'
    try:
        done = subprocess.run(
            ["bash", "-c", script, sys.executable, "-c", GIVEN],
            pass_fds=copies,
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for copy in copies:
            os.close(copy)
    return json.loads(done.stdout)


@pytest.fixture
def listener(tmp_path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "activated"))
    sock.listen()
    yield sock
    sock.close()


@pytest.fixture
def pair() -> socket.socket:
    one, other = socket.socketpair()
    yield one
    one.close()
    other.close()


@pytest.mark.tool("bash")
def test_sockets_are_told_apart_and_nobody_inherits_them_or_their_variables(
    listener: socket.socket, pair: socket.socket
) -> None:
    assert given(listener) == [[3], [], [], []]
    assert given(pair) == [[], [3], [], []]
    assert given(pair, listener)[:2] == [[4], [3]]


@pytest.mark.tool("bash")
def test_of_several_sockets_those_for_varlink_are_ours_and_the_others_are_not_inherited_either(
    listener: socket.socket, pair: socket.socket
) -> None:
    assert given(pair, listener, names="other:varlink") == [[4], [], [], []]
    assert given(pair, listener, names="varlink:varlink")[:2] == [[4], [3]]
    assert given(listener, names="unknown")[0] == [3]


@pytest.mark.tool("bash")
def test_sockets_for_another_process_are_left_alone(listener: socket.socket) -> None:
    assert given(listener, pid="1")[:2] == [[], []]
    assert given(listener, pid="")[:2] == [[], []]


@pytest.mark.tool("bash")
@pytest.mark.parametrize("count", ["0", "x", "-1", "²"])
def test_a_count_that_is_none_means_no_sockets(listener: socket.socket, count: str) -> None:
    assert given(listener, count=count)[:2] == [[], []]


@pytest.mark.tool("bash")
def test_what_is_no_socket_of_ours_is_told_in_a_line(listener: socket.socket) -> None:
    with socket.socket(socket.AF_INET) as other, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        for wrong in (other, datagrams):
            assert "descriptor 3" in str(given(wrong))
        assert "descriptor 4" in str(given(listener, count="2"))


def test_nothing_is_handed_over_where_nobody_says_so() -> None:
    assert handed_over({}) == ([], [])


# --- telling systemd


def test_systemd_hears_of_it_where_it_wants_to(tmp_path: Path) -> None:
    for address, name in (
        (str(tmp_path / "notify"), None),
        (f"@pollprog-test-{os.getpid()}", f"\0pollprog-test-{os.getpid()}"),
    ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(name or address)
            notify("READY=1", address)
            assert sock.recv(100) == b"READY=1"


def test_nobody_who_listens_is_no_error(tmp_path: Path) -> None:
    for address in ("", "relative", str(tmp_path / "nobody")):
        notify("READY=1", address)
