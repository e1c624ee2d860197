"""The commands on another machine: through a real sshd, with links that are cut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from far_side import FarSide, below, far_side, wait
from terminals import PATIENCE, POLLPROG, Terminal, pollprog, started

import pollprog as api
from pollprog.errors import Cancelled, ConnectionLost, Unreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

pytestmark = pytest.mark.tool("sshd", "ssh", "ssh-keygen")

WAITS = "echo x >> {0}/begun; while [ ! -e {0}/go ]; do sleep .05; done; echo done"
"""Begins, waits until it may go on, and ends well."""


@pytest.fixture(scope="module")
def far() -> Iterator[FarSide]:
    with far_side() as machine:
        yield machine


@pytest.fixture
def other() -> Iterator[FarSide]:
    """One that a test may spoil."""
    with far_side() as machine:
        yield machine


def asked(far: FarSide, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return pollprog(words[0], "--connect", far.address, *words[1:], **{"env": far.environment, **options})


def calling(far: FarSide, *words: str, **options: object) -> AbstractContextManager[subprocess.Popen[str]]:
    """A client that runs."""
    return started(words[0], "--connect", far.address, *words[1:], env=far.environment, **options)


def waiting(folder: Path) -> list[str]:
    """A call of what waits."""
    return ["call", "Run", "--", "sh", "-c", WAITS.format(folder)]


def ssh_of(process: subprocess.Popen[str]) -> list[int]:
    """The ssh that a client has started."""
    return [pid for pid in below(process.pid) if Path(f"/proc/{pid}/comm").read_text() == "ssh\n"]


def jobs(far: FarSide) -> list[dict[str, object]]:
    return [json.loads(line) for line in asked(far, "list", "--json").stdout.splitlines()]


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What it says on standard error, to the line with these words."""
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


# --- each command


def test_a_call_prints_its_result(far: FarSide) -> None:
    ran = asked(far, "call", "Checksum", f"path={far.folder}/empty", "algorithm=md5")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "digest: d41d8cd98f00b204e9800998ecf8427e\nfiles: 1\nsize: 0\n"


def test_a_call_prints_its_statuses_as_json(far: FarSide) -> None:
    ran = asked(far, "call", "--json", "--interval", ".1", "Run", "--", "sleep", "1.5")
    *statuses, result = [json.loads(line) for line in ran.stdout.splitlines()]
    assert result == {"result": {"output": ""}}
    assert len(statuses) >= 2


def test_a_call_has_a_bar_on_a_terminal(far: FarSide, tmp_path: Path) -> None:
    terminal = Terminal(columns=100)
    try:
        process = terminal.run(
            POLLPROG, "call", "--connect", far.address, *waiting(tmp_path)[1:], environment=far.environment
        )
        terminal.wait(lambda rows: any(row.startswith("Run ") for row in rows))
        (tmp_path / "go").touch()
        assert process.wait(PATIENCE) == 0
        terminal.wait(lambda rows: rows[0] == "done")
    finally:
        terminal.close()


def test_neither_our_environment_nor_our_directory_goes_there(far: FarSide, tmp_path: Path) -> None:
    environment = {**far.environment, "MARK": "ours"}
    ran = asked(
        far, "call", "Run", "--", "sh", "-c", "pwd; echo mark=$MARK ssh=$SSH_CONNECTION", env=environment, cwd=tmp_path
    )
    assert ran.stdout == "/\nmark= ssh=\n"


def test_a_relative_path_is_refused(far: FarSide, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    ran = asked(far, "call", "Checksum", "path=a", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "on another machine" in ran.stderr


def test_a_job_is_submitted_listed_shown_paused_resumed_cancelled_and_watched(far: FarSide, tmp_path: Path) -> None:
    submitted = asked(far, "submit", "Run", "--", "sh", "-c", WAITS.format(tmp_path))
    job = submitted.stdout.strip()
    assert job.startswith("run-")
    assert job in asked(far, "list").stdout
    assert "running" in asked(far, "show", job).stdout
    assert asked(far, "pause", job).stdout == f"{job}: paused\n"
    assert asked(far, "resume", job).stdout == f"{job}: running\n"
    with calling(far, "watch", job) as watching:
        (tmp_path / "go").touch()
        out, _ = watching.communicate(timeout=PATIENCE)
        assert (watching.returncode, out) == (0, "done\n")
    ran = asked(far, "cancel", job)
    assert ran.returncode == 1
    assert "is over" in ran.stderr


def test_all_jobs_are_watched_until_somebody_leaves(far: FarSide) -> None:
    job = asked(far, "submit", "Checksum", f"path={far.folder}/empty").stdout.strip()
    with calling(far, "watch") as watching:
        while job not in watching.stdout.readline():
            pass
        watching.send_signal(signal.SIGINT)
        assert watching.wait(PATIENCE) == 130


def test_the_shell_calls_what_is_there(far: FarSide) -> None:
    ran = asked(far, "shell", stdin=None, input=f"checksum path={far.folder}/empty algorithm=md5\nlist\n")
    assert ran.returncode == 0
    assert ran.stdout.startswith("digest: d41d8cd98f00b204e9800998ecf8427e\n")
    assert f"Checksum {far.folder}/empty" in ran.stdout


def test_top_shows_what_moves_there(far: FarSide, tmp_path: Path) -> None:
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", 1 << 33)
    slow = "import sys,time;f=open(sys.argv[1],'rb',buffering=0)\nwhile f.read(1<<20):time.sleep(.02)"
    words = [sys.executable, "-ISc", slow, str(tmp_path / "big")]
    with subprocess.Popen(words, start_new_session=True) as reading:
        try:

            def row() -> dict[str, object] | None:
                told = [json.loads(line) for line in asked(far, "top", "--json").stdout.splitlines()]
                return next((line for line in told if line["pid"] == reading.pid), None)

            wait(row)
            told = row()
            assert told is not None
            assert told["total"] == 1 << 33
            assert str(tmp_path / "big") in str(told["command"])
            assert f"{reading.pid}  " in asked(far, "top").stdout
        finally:
            reading.kill()


def test_attach_has_the_exit_status_of_a_process_there(far: FarSide, tmp_path: Path) -> None:
    words = ["sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep .05; done; exit 7"]
    with subprocess.Popen(words) as process, calling(far, "attach", str(process.pid)) as attached:
        wait(lambda: any(job["method"] == "Observe" and job["state"] == "running" for job in jobs(far)))
        (tmp_path / "go").touch()
        process.wait(PATIENCE)
        kernel = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))
        assert attached.wait(PATIENCE) == (7 if kernel >= (6, 15) else 123)


def test_attach_says_what_it_cannot_watch(far: FarSide) -> None:
    ran = asked(far, "attach", "4194303")
    assert ran.returncode == 1
    assert ran.stderr == "pollprog: there is no process 4194303\n"
    assert asked(far, "attach", "--probe", "dd", "1").returncode == 2
    assert asked(far, "attach", "1", "2").returncode == 2
    ran = asked(far, "attach", "md:nosuch")
    assert (ran.returncode, ran.stderr) == (1, "pollprog: there is no array nosuch; cat /proc/mdstat lists them\n")
    assert asked(far, "attach", "disk:0").returncode == 2


# --- clients


def test_a_handle_calls_there_and_closing_it_cancels(far: FarSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLPROG_SSH", far.environment["POLLPROG_SSH"])
    seen: list[int] = []
    with api.connect(far.address) as handle:
        handle.set_progress_callback(lambda total, current: seen.append(current))
        assert handle.call("Checksum", path=far.folder / "empty")["size"] == 0
        with pytest.raises(UsageError, match="another machine"):
            handle.call("Checksum", path=Path("relative"))
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(handle.call, "Run", argv=["sleep", "100"], job="left-alone")
            wait(lambda: any(job["id"] == "left-alone" for job in jobs(far)))
            handle.close()
            with pytest.raises(ConnectionLost):
                running.result(PATIENCE)
    wait(lambda: next(job for job in jobs(far) if job["id"] == "left-alone")["state"] == "cancelled")


def test_a_call_of_a_handle_is_cancelled_over_a_second_link(far: FarSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLPROG_SSH", far.environment["POLLPROG_SSH"])
    with api.connect(far.address) as handle, ThreadPoolExecutor(1) as thread:
        running = thread.submit(handle.call, "Run", argv=["sleep", "100"], job="cancelled-by-handle")
        wait(lambda: any(job["id"] == "cancelled-by-handle" for job in jobs(far)))
        handle.cancel()
        with pytest.raises(Cancelled):
            running.result(PATIENCE)


async def test_a_client_for_trio_calls_there(far: FarSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLPROG_SSH", far.environment["POLLPROG_SSH"])
    with trio.fail_after(PATIENCE):
        async with api.open_client(far.address) as client:
            assert (await client.call("Checksum", path=far.folder / "empty"))["files"] == 1


# --- links that are cut


def cut_here(process: subprocess.Popen[str], far: FarSide) -> None:
    for pid in ssh_of(process):
        os.kill(pid, signal.SIGKILL)


def cut_there(process: subprocess.Popen[str], far: FarSide) -> None:
    for pid in far.sessions():
        os.kill(pid, signal.SIGKILL)


def grows(path: Path) -> None:
    """Wait until more is in it than now."""
    before = path.stat().st_size
    wait(lambda: path.stat().st_size > before)


@pytest.mark.parametrize("cut", [cut_here, cut_there])
def test_a_link_that_is_cut_neither_ends_the_work_nor_repeats_it(far: FarSide, tmp_path: Path, cut) -> None:
    told, (call, *work) = tmp_path / "told", waiting(tmp_path)
    with told.open("w") as file, calling(far, call, "--json", "--interval", ".1", *work, stdout=file) as process:
        for _ in range(2):
            grows(told)  # a link that is cut before something is asked over it is made anew without a word
            cut(process, far)
            read_until(process, "the link is made anew")
            read_until(process, "is back")
        (tmp_path / "go").touch()
        assert process.wait(PATIENCE) == 0
    assert json.loads(told.read_text().splitlines()[-1]) == {"result": {"output": "done\n"}}
    assert (tmp_path / "begun").read_text() == "x\n"


def test_a_link_on_which_nothing_comes_through_any_more_is_noticed(other: FarSide, tmp_path: Path) -> None:
    quick = "-o ServerAliveInterval=1 -o ServerAliveCountMax=1"  # what is said first holds
    other.environment["POLLPROG_SSH"] += f" {quick}"
    with calling(other, *waiting(tmp_path)) as process:
        wait((tmp_path / "begun").exists)
        for pid in other.sessions():
            os.kill(pid, signal.SIGSTOP)
        assert "not responding" in read_until(process, "is back")
        (tmp_path / "go").touch()
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "done\n")


def test_what_ended_while_the_link_was_down_is_told(other: FarSide, tmp_path: Path) -> None:
    with calling(other, *waiting(tmp_path)) as process:
        wait((tmp_path / "begun").exists)
        other.close_the_door()
        cut_there(process, other)
        read_until(process, "Permission denied")
        (tmp_path / "go").touch()
        wait(lambda: not other.processes("sh", "-c", WAITS.format(tmp_path)))
        other.open_the_door()
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "done\n")


def test_how_it_ended_is_not_invented_if_the_daemon_has_gone(other: FarSide, tmp_path: Path) -> None:
    with calling(other, "call", "--progress", "log", "--interval", ".1", *waiting(tmp_path)[1:]) as process:
        wait((tmp_path / "begun").exists)
        read_until(process, "Run")
        for pid in other.processes("daemon"):
            os.kill(pid, signal.SIGKILL)
        said = read_until(process, "is not known")
        assert process.wait(PATIENCE) == 1
    assert "the daemon there has ended meanwhile" in said


# --- Ctrl-C


def test_ctrl_c_cancels_the_work(far: FarSide, tmp_path: Path) -> None:
    with calling(far, *waiting(tmp_path)) as process:
        wait((tmp_path / "begun").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    assert not far.processes("sh", "-c", WAITS.format(tmp_path))


def test_ctrl_c_on_a_terminal_takes_the_link_from_nobody(far: FarSide, tmp_path: Path) -> None:
    terminal = Terminal(columns=100)
    try:
        words = [POLLPROG, "call", "--connect", far.address, *waiting(tmp_path)[1:]]
        process = terminal.run(*words, environment=far.environment)
        wait((tmp_path / "begun").exists)
        terminal.type("\x03")
        assert process.wait(PATIENCE) == -signal.SIGINT
        assert not any("link" in row for row in terminal.rows())
    finally:
        terminal.close()
    assert not far.processes("sh", "-c", WAITS.format(tmp_path))


def test_ctrl_c_while_the_link_is_down_is_told_when_it_is_back(other: FarSide, tmp_path: Path) -> None:
    with calling(other, *waiting(tmp_path)) as process:
        wait((tmp_path / "begun").exists)
        other.close_the_door()
        cut_there(process, other)
        read_until(process, "Permission denied")
        process.send_signal(signal.SIGINT)
        read_until(process, "the cancel has not been heard yet")
        assert other.processes("sh", "-c", WAITS.format(tmp_path))
        other.open_the_door()
        assert process.wait(PATIENCE) == 130
    assert not other.processes("sh", "-c", WAITS.format(tmp_path))


def test_a_second_ctrl_c_leaves_at_once_and_the_work_goes_on(other: FarSide, tmp_path: Path) -> None:
    with calling(other, *waiting(tmp_path)) as process:
        wait((tmp_path / "begun").exists)
        other.close_the_door()
        cut_there(process, other)
        read_until(process, "Permission denied")
        process.send_signal(signal.SIGINT)
        read_until(process, "the cancel has not been heard yet")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) != 0
        assert other.processes("sh", "-c", WAITS.format(tmp_path))


def test_ctrl_c_before_the_link_is_made_leaves_nothing_behind(tmp_path: Path, far: FarSide) -> None:
    slow = tmp_path / "ssh"
    slow.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexec sleep 100\n")
    slow.chmod(0o700)
    environment = {**far.environment, "POLLPROG_SSH": str(slow)}
    with started("call", "--connect", far.address, "Checksum", "path=/a", env=environment) as process:
        wait((tmp_path / "asked").exists)
        dialling = below(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        wait(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in dialling))


# --- what cannot be reached


def refused(far: FarSide, *, address: str | None = None, **environment: str) -> str:
    """The one line that it takes to say so."""
    ran = pollprog("list", "--connect", address or far.address, env={**far.environment, **environment})
    assert (ran.returncode, ran.stdout) == (1, ""), ran
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("pollprog: ")
    return ran.stderr


def test_an_ssh_that_is_missing_is_named(far: FarSide) -> None:
    assert "no-ssh: command not found" in refused(far, POLLPROG_SSH="no-ssh")


def test_a_pollprog_that_is_missing_there_is_told(other: FarSide) -> None:
    other.uninstall()
    assert "pollprog: command not found there; install it" in refused(other)


def test_a_pollprog_that_is_too_old_there_is_told(other: FarSide) -> None:
    other.install(script="#!/bin/sh\necho 'pollprog: invalid choice: dial-stdio' >&2; exit 2\n")
    assert "the pollprog there is another version, which cannot do this: update it" in refused(other)


def test_a_pollprog_with_another_interface_is_told(other: FarSide) -> None:
    info = {"parameters": {"product": "pollprog", "version": "9.9", "interfaces": ["org.pollprog.other"]}}
    other.install(script=f"#!/bin/sh\nprintf '%s\\0' '{json.dumps(info)}'; sleep 10\n")
    assert "pollprog 9.9 answers, and has no org.pollprog.operations; the versions do not fit" in refused(other)


def test_what_a_start_up_file_prints_there_is_told(other: FarSide) -> None:
    other.install(script="#!/bin/sh\necho Welcome to far; sleep 10\n")
    assert "says 'Welcome to far' before pollprog says anything" in refused(other)


def test_a_daemon_that_cannot_be_started_there_says_why(other: FarSide) -> None:
    (other.folder / "pollprog").mkdir()
    (other.folder / "pollprog/config.toml").write_text("[deamon]\n")
    assert "does not listen: " in (said := refused(other))
    assert "config.toml, line 1" in said


def test_a_key_that_opens_nothing_is_told(far: FarSide) -> None:
    said = refused(
        far,
        POLLPROG_SSH=f"{far.environment['POLLPROG_SSH']} -o IdentityFile={far.folder}/other_key -i {far.folder}/other_key -F /dev/null -o UserKnownHostsFile={far.folder}/known_hosts",
    )
    assert "Permission denied" in said
    assert "this has to get in first: " in said


def test_a_port_on_which_nobody_listens_is_told(far: FarSide) -> None:
    assert "Connection refused" in refused(far, address="ssh://127.0.0.1:1")


def test_a_key_of_the_machine_that_nobody_knows_is_told(other: FarSide) -> None:
    (other.folder / "known_hosts").write_text("")
    said = refused(other)
    assert "Host key verification failed; if its key is right, accept it by logging in once: ssh" in said


def test_a_machine_that_does_not_answer_is_given_up(
    far: FarSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "ssh"
    silent.write_text("#!/bin/sh\nexec sleep 100\n")
    silent.chmod(0o700)
    monkeypatch.setenv("POLLPROG_SSH", str(silent))
    from pollprog.addresses import parse_address
    from pollprog.dialing import dial

    with pytest.raises(Unreachable, match="has not answered within"):
        dial(parse_address(far.address), seconds=0.2)


# --- the daemon there


def test_a_daemon_is_started_where_there_is_none_and_ends_when_it_is_idle(other: FarSide) -> None:
    other.install(idle=0.5)
    assert not other.processes("daemon")
    assert asked(other, "list").returncode == 0
    assert asked(other, "list").returncode == 0
    wait(lambda: not other.processes())
    assert not os.path.exists(other.folder / "run/pollprog/sock")


def test_it_outlives_the_link_and_still_has_the_result_of_what_was_submitted(other: FarSide) -> None:
    other.install(idle=0.5)
    job = asked(other, "submit", "Checksum", f"path={other.folder}/empty").stdout.strip()
    daemons = other.processes("daemon")
    assert len(daemons) == 1
    time.sleep(1.5)  # long enough to end, if it would
    assert other.processes("daemon") == daemons
    assert "succeeded" in asked(other, "show", job).stdout


def test_of_several_that_come_at_once_one_starts_a_daemon_for_all(other: FarSide) -> None:
    with ThreadPoolExecutor(4) as threads:
        ran = list(threads.map(lambda _: asked(other, "list"), range(4)))
    assert [one.returncode for one in ran] == [0] * 4, ran
    wait(lambda: len(other.processes("daemon")) == 1)  # the others have found out when they have started


def test_a_socket_elsewhere_may_be_named(other: FarSide) -> None:
    path = other.folder / "run/it's here/sock"
    ran = pollprog("list", "--connect", f"{other.address}{path}", env=other.environment)
    assert ran.returncode == 1
    assert not path.parent.exists(), "what is mistyped makes nothing"
    path.parent.mkdir(mode=0o700)
    ran = pollprog("list", "--connect", f"{other.address}{path}", env=other.environment)
    assert ran.returncode == 0
    assert path.exists()
