"""Where a command is going to run: what is said of it holds while it is prepared, and in no other thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from pollprog.errors import CommandNotFound
from pollprog.launch import Command, claimable
from pollprog.probes.apt import TOOL as APT
from pollprog.probes.program import Whole, can_hear, holds
from pollprog.spawning import Given
from pollprog.surroundings import Surroundings, here, within


def job(
    streams: tuple[int, ...] = (1, 2), environment: dict[str, str] | None = None, source: int | None = None
) -> Given:
    return Given(streams, "/", environment or {}, source)


def test_a_command_inherits_what_we_have_unless_somebody_says_otherwise() -> None:
    ours = here()
    assert type(ours) is Surroundings
    assert ours.environment is os.environ
    assert os.path.samestat(ours.stat(0), os.fstat(0))
    assert within(job(), here) is not ours
    assert here() is ours
    with pytest.raises(ZeroDivisionError):
        within(job(), lambda: 1 / 0)
    assert here() is ours


def test_other_threads_are_elsewhere() -> None:
    found = []

    def look() -> None:
        other = threading.Thread(target=lambda: found.append(here()))
        other.start()
        other.join()

    given = job()
    within(given, look)
    assert found == [here()]


def test_of_a_job_both_streams_are_heard_but_one_that_goes_elsewhere() -> None:
    assert within(job(), lambda: can_hear(1, 2))
    assert not within(job((2,)), lambda: can_hear(1, 2))
    assert within(job((2,)), lambda: can_hear(2))
    command = within(job((2,)), lambda: Command(["x"]).claiming(1, Whole()).claiming(2, Whole()))
    assert list(command.claims) == [2]
    assert not within(job(), lambda: claimable(0))


def test_a_jobs_command_is_in_no_terminal_has_its_own_environment_and_what_it_is_given_to_read() -> None:
    terminal, other = os.openpty()
    try:
        assert here().is_terminal(other)
        assert not within(job(), lambda: here().is_terminal(other))
        given = job(environment={"A": "b"}, source=terminal)
        assert given.environment == {"A": "b"}
        assert given.stat(0) == os.fstat(terminal)
        assert os.path.samestat(job().stat(0), os.stat("/dev/null"))
    finally:
        os.close(terminal)
        os.close(other)


def test_the_program_is_the_one_on_the_path_of_the_job(tmp_path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF with --option")
    program.chmod(0o755)
    assert within(job(environment={"PATH": str(tmp_path)}), lambda: holds(Command(["program"]), b"--option"))
    assert not within(job(environment={"PATH": "/nowhere"}), lambda: holds(Command(["program"]), b"--option"))
    with pytest.raises(CommandNotFound):
        job().program("no-such-program")


@pytest.mark.tool("apt-get")
def test_a_tool_asks_about_the_job(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    configuration = tmp_path / "apt.conf"
    configuration.write_text("Dpkg::Progress 1;")
    command = Command(["apt-get", "install", "x"])
    path = os.environ["PATH"]
    plain = within(job(environment={"PATH": path}), lambda: APT.prepare(command))
    told = within(job(environment={"PATH": path, "APT_CONFIG": str(configuration)}), lambda: APT.prepare(command))
    assert (plain.status is None, told.status is None) == (False, True)


def test_a_stream_that_takes_nothing_is_not_heard_so_that_its_writer_is_told() -> None:
    words = "from pollprog.surroundings import here; print(here().claimable(2), here().together(2))"
    for place, heard in (("2>/dev/full", "False ()"), ("2>/dev/null", "True (2,)")):
        command = ["sh", "-c", f'{sys.executable} -c "{words}" {place}']
        assert subprocess.run(command, input="", capture_output=True, text=True, check=True).stdout == f"{heard}\n"
