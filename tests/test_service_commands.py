"""The daemon's command line: what is typed is checked before anything listens."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from terminals import PATIENCE, pollprog, started

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def listening(process: subprocess.Popen[str]) -> str:
    """What a daemon says first."""
    assert process.stderr is not None
    return process.stderr.readline()


def test_a_daemon_says_where_it_listens_and_ends_in_order(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with started("daemon", "--socket", f"{tmp_path}/sock") as process:
        assert listening(process) == f"pollprog: listening on unix:{tmp_path}/sock\n"
        assert pollprog("list", "--connect", f"unix:{tmp_path}/sock").returncode == 0
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert not (tmp_path / "sock").exists()


def test_a_socket_may_be_named_from_here_and_the_address_is_said_once_on_standard_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with started("daemon", "--socket", "sock", cwd=tmp_path) as process:
        address = listening(process).removeprefix("pollprog: listening on ").strip()
        assert address == f"unix:{tmp_path}/sock"
        assert pollprog("list", "--connect", address).returncode == 0
        process.send_signal(signal.SIGTERM)
        printed, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, printed) == (0, "")
        assert "listening" not in said


def test_what_is_typed_comes_before_what_the_file_says(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "config.toml").write_text("[daemon]\njobs = 5\ninterval = 7.0\n")
    words = ["--socket", f"{tmp_path}/sock", "--config", f"{tmp_path}/config.toml", "--jobs", "1"]
    with started("daemon", *words) as process:
        listening(process)
        address = f"unix:{tmp_path}/sock"
        assert pollprog("submit", "--connect", address, "Run", "--", "sleep", "60").returncode == 0
        ran = pollprog("submit", "--connect", address, "Run", "--", "true")
        assert ran.returncode == 1
        assert "limit" in ran.stderr
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--jobs", "0"], "--jobs: "),
        (["--message-size", "5"], "--message-size: "),
        (["--interval", "0"], "argument --interval: '0' is not a number of seconds"),
        (["--connections", "many"], "argument --connections: 'many' is not a number"),
        (["--config", "/nowhere"], "/nowhere: "),
    ],
)
def test_a_limit_that_cannot_be_is_one_line(tmp_path: Path, words: list[str], complaint: str) -> None:
    ran = pollprog("daemon", "--socket", f"{tmp_path}/sock", *words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"pollprog: {complaint}")
    assert ran.stderr.count("\n") == 1


def test_a_configuration_with_a_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[daemon]\n\njobz = 5\n")
    ran = pollprog("daemon", "--socket", f"{tmp_path}/sock", "--config", f"{tmp_path}/config.toml")
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"pollprog: {tmp_path}/config.toml, line 3: ")


def test_a_second_daemon_says_that_there_is_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with started("daemon", "--socket", f"{tmp_path}/sock") as process:
        listening(process)
        ran = pollprog("daemon", "--socket", f"{tmp_path}/sock")
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
        assert f"{tmp_path}/sock" in ran.stderr
        process.terminate()
        process.communicate(timeout=PATIENCE)
