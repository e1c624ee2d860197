"""What docs/daemon.md says, done: its units, its configuration, its commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from services import Daemon, wait
from terminals import ENVIRONMENT, PATIENCE
from terminals import pollprog as typed_pollprog

import pollprog
from pollprog import addresses, config
from pollprog.arguments import parse
from pollprog.catalogue import ours
from pollprog.config import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).parent.parent
PAGE = (REPO / "docs/daemon.md").read_text()
UNITS = [REPO / "examples/systemd" / name for name in ("pollprog.socket", "pollprog.service")]


def blocks(language: str) -> list[str]:
    """The blocks of the page in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def typed() -> list[str]:
    """Every line of the page that a user types."""
    return [line.strip() for line in PAGE.splitlines() if line.startswith("    pollprog ")]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    yield daemon
    daemon.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the lines are typed."""
    (tmp_path / "disk.img").write_bytes(os.urandom(1 << 16))
    (tmp_path / "jobs.txt").write_text(blocks("text")[0])
    return tmp_path


def answer(daemon: Daemon, folder: Path, line: str) -> str:
    """What a line prints; it has to end well."""
    words = shlex.split(line)[1:]
    ran = typed_pollprog(*words, cwd=folder, env={**ENVIRONMENT, "POLLPROG_ADDRESS": daemon.address})
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


# --- the page


@pytest.mark.parametrize("line", typed())
def test_each_line_that_is_typed_is_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    assert parse(words).command == words[0]


def test_the_links_of_the_page_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (REPO / "docs" / link).exists(), link


def test_the_block_of_defaults_has_every_key_and_is_what_holds_without_it() -> None:
    (block,) = blocks("toml")
    told = tomllib.loads(block)["daemon"]
    assert list(told) == list(Service.__struct_fields__)
    assert config.parse(block, "page").daemon == Service()


def test_the_table_has_every_key_with_its_option_and_its_default() -> None:
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if re.match(r"\| `[a-z_]+` \| `--", line)
    ]
    assert [row[0] for row in rows] == list(Service.__struct_fields__)
    for key, option, _, default, _ in rows:
        assert default == str(getattr(Service(), key)), key
        assert getattr(parse(["daemon", option, default]), key) == getattr(Service(), key)
        assert getattr(parse(["daemon"]), key) is None, "the file's word counts where nothing is typed"


def test_the_configuration_is_where_the_page_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert config.default_path() == f"{tmp_path}/.config/pollprog/config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    assert config.default_path() == f"{tmp_path}/elsewhere/pollprog/config.toml"


def test_the_socket_is_where_the_page_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    places = [line.split("`")[1] for line in PAGE.splitlines() if re.match(r"\| `[$/].*sock`", line)]
    first, second, third = (place.replace("UID", str(os.geteuid())) for place in places)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert addresses.default_path() == first.replace("$XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(addresses.os.path, "isdir", lambda _: True)
    assert addresses.default_path() == second
    monkeypatch.setattr(addresses.os.path, "isdir", lambda _: False)
    assert addresses.default_path() == third


# --- the units


def test_the_page_shows_the_units_as_they_are() -> None:
    assert blocks("ini") == [unit.read_text() for unit in UNITS]


def test_the_units_listen_where_clients_look_and_start_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listened, started = (dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE)) for unit in UNITS)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert listened["ListenStream"].replace("%t", str(tmp_path)) == addresses.default_path()
    program, *words = started["ExecStart"].split()
    assert (Path(program).name, parse(words).command) == ("pollprog", "daemon")
    assert float(started["TimeoutStopSec"]) > Service().grace


@pytest.mark.tool("systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    program = tmp_path / ".local/bin/pollprog"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    tmp_path.chmod(0o700)
    for unit in UNITS:
        shutil.copy(unit, tmp_path)
    home = {**ENVIRONMENT, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    words = ["systemd-analyze", "--user", "verify", *(str(tmp_path / unit.name) for unit in UNITS)]
    ran = subprocess.run(words, env=home, capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


# --- what can be typed


def test_a_job_is_named_paused_resumed_and_cancelled_as_the_page_types_it(daemon: Daemon, folder: Path) -> None:
    submit, pause, resume, cancel = (line for line in typed() if "nightly" in line)
    with pollprog.connect(daemon.address) as handle:

        def state() -> str:
            return str(handle.call("Get", job="nightly")["job"]["state"])

        assert answer(daemon, folder, submit) == "nightly\n"
        answer(daemon, folder, pause)
        wait(lambda: state() == "paused")
        answer(daemon, folder, resume)
        wait(lambda: state() == "running")
        answer(daemon, folder, cancel)
        wait(lambda: state() == "cancelled")
        with pytest.raises(pollprog.JobExists):  # as long as it is remembered
            handle.submit("Run", argv=["true"], job="nightly")


def test_a_call_and_its_environment_are_as_the_page_types_them(daemon: Daemon, folder: Path) -> None:
    checksum, env = (line for line in typed() if line.startswith("pollprog call"))
    assert "digest" in answer(daemon, folder, checksum)
    assert sorted(answer(daemon, folder, env).split()) == ["LANG=C", "PATH=/usr/bin:/bin"]


def test_the_lines_of_the_file_are_done_by_the_shell(daemon: Daemon, folder: Path) -> None:
    (line,) = (line for line in typed() if line.startswith("pollprog shell"))
    (folder / "copy.img").write_bytes(b"there already")
    said = answer(daemon, folder, line)
    assert "digest" in said
    assert "later" in said
    assert (folder / "copy.img").read_bytes() == b"there already"


# --- what it says beside them


def test_a_command_has_no_terminal_nothing_to_read_and_a_short_memory(daemon: Daemon) -> None:
    with pollprog.connect(daemon.address) as handle:
        script = "readlink /proc/$$/fd/0; ls /proc/$$/fd; cut -d' ' -f6 /proc/$$/stat; echo $$"
        stdin, *descriptors, session, pid = handle.call("Run", argv=["sh", "-c", script])["output"].split()
        assert (stdin, session) == ("/dev/null", pid)
        assert set(descriptors) <= {"0", "1", "2", "10"}  # the last is the shell's own
        long = handle.call("Run", argv=["sh", "-c", "head -c 10000 /dev/zero | tr '\\0' x; echo end >&2"])["output"]
        assert len(long) == 4096
        assert long.endswith("xend\n")


def test_a_message_that_is_too_long_ends_its_connection(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "[daemon]\nmessage_size = 4096\n")
    try:
        with pollprog.connect(daemon.address) as handle:
            with pytest.raises(pollprog.ConnectionLost):
                handle.call("Run", argv=["true", "x" * 5000])
            assert handle.jobs() == []
    finally:
        daemon.stop()


def test_commands_of_a_daemon_that_is_killed_go_on(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    try:
        with pollprog.connect(daemon.address) as handle:
            script = (
                f"echo > {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo > {tmp_path}/done"
            )
            handle.submit("Run", argv=["sh", "-c", script])
            wait((tmp_path / "begun").exists)
            daemon.kill()
            (tmp_path / "go").touch()
            wait((tmp_path / "done").exists)
            daemon.start()
            assert handle.jobs() == []
    finally:
        daemon.stop()


def test_the_call_of_varlinkctl_is_one_that_the_daemon_takes() -> None:
    (block,) = (block for block in blocks("sh") if "varlinkctl" in block)
    *_, method, parameters = shlex.split(block.replace("\\\n", " "))
    interface, _, name = method.rpartition(".")
    assert interface == "org.pollprog.operations"
    operation = ours()[name]
    assert operation.progress
    operation.arguments(msgspec.convert(json.loads(parameters), operation.struct))
