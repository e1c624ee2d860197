"""Where a daemon is: what is typed, and what holds if nothing is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from children import as_nobody

from pollprog.addresses import Ssh, Unix, default_path, parse_address
from pollprog.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLLPROG_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/pollprog/sock", Unix("/run/pollprog/sock")),
        ("/run/pollprog/sock", Unix("/run/pollprog/sock")),
        ("unix:/with space/and:colon", Unix("/with space/and:colon")),
        ("ssh://host", Ssh("host")),
        ("ssh://host/", Ssh("host")),
        ("ssh://user@host", Ssh("host", "user")),
        ("ssh://user@host:2222", Ssh("host", "user", 2222)),
        ("ssh://host/run/sock", Ssh("host", path="/run/sock")),
        ("ssh://user@[fe80::1%eth0]:22/s", Ssh("fe80::1%eth0", "user", 22, "/s")),
    ],
)
def test_an_address_is_read_and_said_again(text: str, address: Unix | Ssh) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "unix:", "unix:relative", "relative", "unix:/a\0b", "unix:@abstract", "tcp:host:1", "http://host",
        "ssh:", "ssh://", "ssh:host", "ssh://@host", "ssh://host:", "ssh://host:0", "ssh://host:65536", "ssh://host:x",
        "ssh://-oProxyCommand=x", "ssh://-x@host", "ssh://a@b@c", "ssh://[nonsense]", "ssh://host:22:22",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_what_to_type(text: str) -> None:
    with pytest.raises(UsageError, match=r"like|port is") as raised:
        parse_address(text)
    assert "\n" not in str(raised.value)


def test_a_path_that_no_socket_can_have_is_refused() -> None:
    assert parse_address("unix:/" + "x" * 106) == Unix("/" + "x" * 106)
    for path in ("/" + "x" * 107, "/" + "é" * 54):
        with pytest.raises(UsageError, match="too long"):
            parse_address(path)


def test_the_variable_holds_if_nothing_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLPROG_ADDRESS", "ssh://host")
    assert parse_address() == parse_address("") == Ssh("host")
    assert parse_address("/x") == Unix("/x")


def test_ones_own_daemon_is_in_ones_own_runtime_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_path() == f"{tmp_path}/pollprog/sock"
    assert parse_address() == Unix(f"{tmp_path}/pollprog/sock")


def test_without_a_runtime_directory_it_is_where_the_system_would_put_one(monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"/run/user/{os.geteuid()}"
    for isdir, path in ((True, f"{own}/pollprog/sock"), (False, f"/tmp/pollprog-{os.geteuid()}/sock")):
        for said in (None, "", "relative"):
            monkeypatch.setattr(os.path, "isdir", lambda name, isdir=isdir: isdir and name == own)
            if said is not None:
                monkeypatch.setenv("XDG_RUNTIME_DIR", said)
            assert default_path() == path


def test_somebody_elses_runtime_directory_is_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with as_nobody():
        assert not default_path().startswith(str(tmp_path))
