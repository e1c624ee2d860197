"""The commands that look at a daemon's jobs, on a real daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from services import Daemon
from terminals import PATIENCE, Terminal, pollprog, started

from pollprog.messages import JobMessage, StatusMessage
from pollprog.viewing import jobs_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    yield daemon
    daemon.stop()


def asked(daemon: Daemon, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return pollprog(words[0], "--connect", daemon.address, *words[1:], **options)


def submitted(daemon: Daemon, *words: str, name: str = "it") -> str:
    assert daemon.call("Submit", method="Run", parameters={"argv": words, "job": name})["job"] == name
    return name


def state(daemon: Daemon, name: str = "it") -> str:
    told: str = daemon.call("Get", job=name)["job"]["state"]
    return told


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_jobs_are_listed_newest_first(daemon: Daemon) -> None:
    submitted(daemon, "true", name="first")
    submitted(daemon, "sleep", "60", name="second")
    until(lambda: state(daemon, "first") == "succeeded")
    rows = asked(daemon, "list").stdout.splitlines()
    assert rows[0].split() == ["JOB", "STATE", "DONE", "LEFT", "STARTED", "WORK"]
    assert [row.split()[:2] for row in rows[1:]] == [["second", "running"], ["first", "succeeded"]]
    told = [json.loads(line) for line in asked(daemon, "list", "--json", "--state", "running").stdout.splitlines()]
    assert [job["id"] for job in told] == ["second"]


@pytest.mark.parametrize("columns", [30, 60, 80, 110])
@pytest.mark.parametrize("name", ["compressout-1f2e3d4c", "x" * 48])
def test_only_what_a_job_does_is_cut_to_the_width(columns: int, name: str) -> None:
    told = {
        "job": name,
        "seq": 3,
        "state": "cancelling",
        "unit": "bytes",
        "elapsed": 3.0,
        "rate": 1.0,
        "bound": "estimate",
    }
    status = StatusMessage(**told, current=1023 << 20, total=4000 << 20, fraction=0.25, remaining=90000.0)  # type: ignore[arg-type] # as it is sent
    path = "/srv/a folder with a long name/" * 5
    job = JobMessage(name, "CompressOut", f"CompressOut {path}", 0, "cancelling", 0.0, status=status)
    head, row = jobs_table([job], columns)
    assert row.startswith(f"{name}  cancelling  ~25%  ")
    assert "CompressOut" in row
    assert row.endswith("…")
    assert len(row) <= max(columns, len(f"{name}  cancelling  ~25%  ") + 14)
    assert head.split()[:3] == ["JOB", "STATE", "DONE"]
    assert ("STARTED" in head) == ("1970" in row)


def test_a_job_may_be_named_by_how_its_id_begins(daemon: Daemon) -> None:
    submitted(daemon, "sleep", "60", name="one-1")
    submitted(daemon, "sleep", "60", name="one-12")
    submitted(daemon, "sleep", "60", name="two")
    assert asked(daemon, "show", "t").stdout.startswith("job:         two\n")
    assert asked(daemon, "pause", "one-1").stdout == "one-1: paused\n"  # which is a whole id
    ran = asked(daemon, "cancel", "one", "tw")
    assert (ran.returncode, ran.stdout) == (2, "two: cancelling\n")
    assert ran.stderr == "pollprog: 2 jobs begin with 'one': one-12, one-1\n"
    assert asked(daemon, "watch", "tw").returncode == 130


def test_without_jobs_that_is_said_and_standard_output_stays_empty(daemon: Daemon) -> None:
    ran = asked(daemon, "list")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "pollprog: there are no jobs\n")


def test_a_list_that_finds_no_room_is_told_in_one_line(daemon: Daemon) -> None:
    submitted(daemon, "true")
    with open("/dev/full", "w") as full:
        done = asked(daemon, "list", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert (done.returncode, done.stderr) == (1, "pollprog: cannot write to standard output: No space left on device\n")


def test_all_that_is_known_of_a_job_is_shown(daemon: Daemon) -> None:
    submitted(daemon, "sh", "-c", "echo oh; exit 3")
    until(lambda: state(daemon) == "failed")
    shown = asked(daemon, "show", "it").stdout
    for line in (
        r"job: +it",
        r"does: +Run sh -c .*",
        r"state: +failed",
        r"uid: +\d+",
        r"error: +CommandFailed: sh ended .*",
    ):
        assert re.search(f"^{line}$", shown, re.MULTILINE), shown


def test_a_job_without_a_total_is_shown_without_a_gauge(daemon: Daemon) -> None:
    ran = asked(daemon, "submit", "Run", "job=it", "--", "sh", "-c", "head -c 5000000 /dev/zero; exec sleep 60")
    assert ran.returncode == 0
    until(lambda: daemon.call("Get", job="it")["job"]["status"].get("current"))
    asked(daemon, "pause", "it")
    [row] = [row for row in asked(daemon, "show", "it").stdout.splitlines() if row.startswith("progress:")]
    assert "paused" in row
    assert "[" not in row


def test_what_a_terminal_would_obey_is_never_printed(daemon: Daemon) -> None:
    submitted(daemon, "sh", "-c", "exit 3 # \033]0;title\007\033[31m")
    until(lambda: state(daemon) == "failed")
    for command in (["list"], ["show", "it"]):
        ran = asked(daemon, *command)
        assert "\033" not in ran.stdout + ran.stderr
        assert "\007" not in ran.stdout + ran.stderr


def test_a_job_is_paused_resumed_and_cancelled(daemon: Daemon) -> None:
    submitted(daemon, "sleep", "60")
    assert asked(daemon, "pause", "it").stdout == "it: paused\n"
    assert state(daemon) == "paused"
    assert json.loads(asked(daemon, "resume", "--json", "it").stdout) == {"job": "it", "state": "running"}
    assert asked(daemon, "cancel", "it").stdout == "it: cancelling\n"
    until(lambda: state(daemon) == "cancelled")


def test_of_several_jobs_each_is_told_and_one_that_cannot_be_says_why(daemon: Daemon) -> None:
    submitted(daemon, "sleep", "60", name="one")
    submitted(daemon, "sleep", "60", name="two")
    ran = asked(daemon, "cancel", "one", "nobody", "two")
    assert ran.stdout == "one: cancelling\ntwo: cancelling\n"
    assert ran.stderr.startswith("pollprog: there is no job 'nobody'")
    assert ran.returncode == 1


def test_what_is_over_cannot_be_cancelled(daemon: Daemon) -> None:
    submitted(daemon, "true")
    until(lambda: state(daemon) == "succeeded")
    for command in ("cancel", "pause", "resume"):
        ran = asked(daemon, command, "it")
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
        assert "over" in ran.stderr


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143)])
def test_watching_one_job_ends_as_that_does(daemon: Daemon, script: str, status: int) -> None:
    submitted(daemon, "sh", "-c", f"sleep 0.3; {script}")
    assert asked(daemon, "watch", "it").returncode == status
    assert asked(daemon, "watch", "it").returncode == status


def test_watching_one_job_writes_lines_of_json_to_a_descriptor(daemon: Daemon, tmp_path: Path) -> None:
    submitted(daemon, "sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 3")
    reader, writer = os.pipe()
    with started(
        "watch", "--connect", daemon.address, "--progress-fd", str(writer), "it", pass_fds=[writer]
    ) as process:
        os.close(writer)
        with open(reader) as told:
            assert json.loads(told.readline())["state"] == "running"
            (tmp_path / "go").touch()
            last = [json.loads(line) for line in told][-1]
        assert process.wait(PATIENCE) == 3
    assert (last["job"], last["state"], last["exit"]) == ("it", "failed", 3)


def test_lines_of_json_to_a_descriptor_are_those_of_one_job(daemon: Daemon) -> None:
    ran = asked(daemon, "watch", "--progress-fd", "1")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)


def test_leaving_a_watch_leaves_the_job_alone(daemon: Daemon) -> None:
    submitted(daemon, "sleep", "60")
    with started("watch", "--connect", daemon.address, "--json", "it") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["state"] == "running"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode in (130, -signal.SIGINT)
    assert state(daemon) == "running"


def test_all_jobs_are_watched_first_as_they_are_then_what_changes(daemon: Daemon) -> None:
    submitted(daemon, "sleep", "60", name="old")
    with started("watch", "--connect", daemon.address, "--json", "--interval", "0.1") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert (first["id"], first["state"]) == ("old", "running")
        asked(daemon, "cancel", "old")
        submitted(daemon, "true", name="new")
        seen = {}
        while seen.get("old") != "cancelled" or seen.get("new") != "succeeded":
            told = json.loads(process.stdout.readline())
            seen[told["id"]] = told["state"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + signal.SIGTERM


def test_a_daemon_that_ends_ends_the_watch_with_a_line(daemon: Daemon) -> None:
    submitted(daemon, "true")
    with started("watch", "--connect", daemon.address, "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        daemon.kill()
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert daemon.address in errors
        assert errors.count("\n") == 1


def test_all_jobs_are_a_table_on_a_terminal(daemon: Daemon) -> None:
    submitted(daemon, "sleep", "60", name="sleeper")
    terminal = Terminal(columns=100)
    try:
        process = terminal.run("pollprog", "watch", "--connect", daemon.address)
        terminal.wait(lambda rows: any(row.startswith("sleeper") and "running" in row for row in rows))
        asked(daemon, "pause", "sleeper")
        terminal.wait(lambda rows: any(row.startswith("sleeper") and "paused" in row for row in rows))
        process.send_signal(signal.SIGINT)
        terminal.wait_end()
    finally:
        terminal.close()
