"""Links, with other programs in the place of ssh; with the real one, see test_remote.py."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from doors import is_alive
from far_side import below, wait
from services import PATIENCE, Daemon

from pollprog.addresses import Ssh
from pollprog.dialing import dial
from pollprog.errors import ConnectionLost, Unreachable, UsageError
from pollprog.links import command_of
from pollprog.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

FAR = Ssh("far")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    yield daemon
    daemon.stop()


@pytest.fixture
def ssh(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of ssh, which gets to the daemon; it leaves behind how it was called."""
    return replaced(
        tmp_path,
        monkeypatch,
        f'printf "%s\\n" "$@" > {tmp_path}/words\ncat /proc/self/status > {tmp_path}/status\n'
        f"exec pollprog dial-stdio --socket {daemon.path}",
    )


def replaced(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    path = folder / "my ssh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setenv("POLLPROG_SSH", f"'{path}' -F 'a file'")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return path


def children() -> list[int]:
    """Ours that live."""
    return [pid for pid in below(os.getpid()) if is_alive(pid)]


def test_nothing_that_is_typed_becomes_an_option_or_a_word_of_a_shell() -> None:
    address = Ssh("fe80::1", "me", 2222, "/a b/$(reboot);'")
    words = command_of(address, batch=True)
    assert words[0] == "ssh"
    assert words[-7:-1] == ["-p", "2222", "-l", "me", "--", "fe80::1"]
    assert words[-1] == """pollprog dial-stdio --socket '/a b/$(reboot);'"'"''"""
    assert "BatchMode=yes" in words
    assert "BatchMode=yes" not in command_of(address, batch=False)
    assert command_of(FAR, batch=False)[-3:] == ["--", "far", "pollprog dial-stdio"]


def test_another_ssh_may_be_named_with_arguments(ssh: Path, tmp_path: Path) -> None:
    with dial(FAR):
        assert (tmp_path / "words").read_text().splitlines()[:2] == ["-F", "a file"]


def test_what_is_named_has_to_make_sense(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLLPROG_SSH", "ssh 'unclosed")
    with pytest.raises(UsageError, match="POLLPROG_SSH: No closing quotation"):
        dial(FAR)
    monkeypatch.setenv("POLLPROG_SSH", str(tmp_path))
    with pytest.raises(Unreachable, match="command not found"):
        dial(FAR)


def test_it_ignores_ctrl_c_and_finds_nothing_blocked(ssh: Path, tmp_path: Path) -> None:
    with dial(FAR):
        status = (tmp_path / "status").read_text()
    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    assert blocked == 0
    assert ignored & (1 << 31) - 1 == 1 << signal.SIGINT - 1 | 1 << signal.SIGQUIT - 1


def test_it_ends_when_its_link_is_closed_or_forgotten(ssh: Path) -> None:
    before = set(children())  # which may end meanwhile
    with dial(FAR):
        assert set(children()) - before
    wait(lambda: not set(children()) - before)
    kept = [dial(FAR)]
    assert set(children()) - before
    with pytest.warns(ResourceWarning):
        kept.clear()
    wait(lambda: not set(children()) - before)


def test_one_that_does_not_want_to_end_is_killed(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(
        tmp_path, monkeypatch, f"trap '' TERM\npollprog dial-stdio --socket {daemon.path}; while :; do sleep 1; done"
    )
    before = set(children())
    dial(FAR).close()
    wait(lambda: not set(children()) - before)


def test_it_does_not_end_with_a_child_of_ours(ssh: Path) -> None:
    with dial(FAR) as sock:
        pid = os.fork()
        if pid == 0:
            sock.close()
            os._exit(0)
        os.waitpid(pid, 0)
        sock.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
        assert sock.recv(1) == b"{"


def test_what_it_says_last_is_the_reason_whatever_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(
        tmp_path, monkeypatch, r"yes 0123456789 | head -c 100000 >&2; printf '\n\nthe \033[31mlast\r\n\n' >&2; exit 255"
    )
    with pytest.raises(Unreachable, match=r"^ssh://far cannot be reached: the \[31mlast$"):
        dial(FAR)


def test_one_that_ends_without_a_word_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = replaced(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(Unreachable, match=f"{path} ended without a word"):
        dial(FAR)


def test_a_link_that_is_lost_says_why(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(
        tmp_path,
        monkeypatch,
        f"exec 3<&0; pollprog dial-stdio --socket {daemon.path} <&3 & while [ ! -e {tmp_path}/cut ]; do sleep .02; done; "
        "kill $!; echo 'Timeout, server far not responding.' >&2; exit 255",
    )
    wire = Wire(dial(FAR), FAR)
    (tmp_path / "cut").touch()

    assert select.select([wire], [], [], PATIENCE)[0]
    with pytest.raises(ConnectionLost, match=r"^ssh://far: the link is lost: Timeout, server far not responding.$"):
        wire.advance()
    wire.close()
