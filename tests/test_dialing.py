"""An address becomes a socket, or an error that names it and says what to do."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys

import pytest
from services import PATIENCE, speaking, wait

from pollprog.addresses import Unix, default_path
from pollprog.dialing import dial
from pollprog.errors import Unreachable


def test_a_socket_is_connected_and_closed_on_exec(tmp_path) -> None:
    said: list[bytes] = []
    with speaking(tmp_path, lambda sock: said.append(sock.recv(3))) as address, dial(Unix(address[5:])) as sock:
        assert not sock.get_inheritable()
        sock.sendall(b"abc")
        wait(lambda: said)
    assert said == [b"abc"]


def test_nobody_listens_where_nothing_is_and_where_somebody_did(tmp_path) -> None:
    path = tmp_path / "sock"
    with pytest.raises(Unreachable, match="start one with: pollprog daemon"):
        dial(Unix(str(path)))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(Unreachable, match="start one with: pollprog daemon") as caught:
        dial(Unix(str(path)))
    assert caught.value.address == f"unix:{path}"


def test_a_file_is_nobody(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/sock"):
        with pytest.raises(Unreachable, match="nobody listens"):
            dial(Unix(str(path)))


CLOSED = """
import os, sys
from pollprog.addresses import Unix
from pollprog.dialing import dial
from pollprog.errors import Unreachable
if os.geteuid() == 0:
    os.setuid(int(sys.argv[2]))
try:
    dial(Unix(sys.argv[1]))
except Unreachable as error:
    print(error)
"""


def test_what_is_closed_to_us_is_for_somebody_else(tmp_path) -> None:
    path = tmp_path / "sock"
    nobody = pwd.getpwnam("nobody").pw_uid
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        words = [sys.executable, "-c", CLOSED, str(path), str(nobody)]
        run = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert run.stdout == f"unix:{path} is for somebody else: Permission denied\n"


def test_one_who_takes_nobody_in_is_not_waited_for(tmp_path) -> None:
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with dial(Unix(path)), pytest.raises(Unreachable, match="no more connections"):
            dial(Unix(path), seconds=0.05)


LISTENS = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    os.chmod(sys.argv[1], 0o666)
    if os.geteuid() == 0:
        os.setuid(int(sys.argv[2]))
    listener.listen()
    print("listening", flush=True)
    sys.stdin.read()
"""
"""Whoever listens is whom the kernel names."""


def test_somebody_else_where_our_own_daemon_is_looked_for_is_not_talked_to(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "pollprog"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    words = [sys.executable, "-c", LISTENS, default_path(), str(pwd.getpwnam("nobody").pw_uid)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "listening\n"
        if os.geteuid() != 0:
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(Unreachable, match="belongs to user"):
            dial(Unix(default_path()))
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/elsewhere")
        dial(Unix(words[3])).close()  # it was named, and so is meant


def test_a_path_that_no_socket_can_have_is_told(tmp_path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(Unreachable, match="cannot be reached"):
        dial(Unix(str(loop)))
