"""Calls from the command line, to a real daemon."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from doors import Refused
from services import Daemon
from terminals import ENVIRONMENT, PATIENCE, Terminal, pollprog, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    yield daemon
    daemon.stop()


def asked(daemon: Daemon, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return pollprog(words[0], "--connect", daemon.address, *words[1:], **options)


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_call_prints_its_result(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    ran = asked(daemon, "call", "Checksum", "path=file", "algorithm=md5", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "digest: 900150983cd24fb0d6963f7d28e17f72\nfiles: 1\nsize: 3\n"


def test_a_call_prints_its_statuses_and_its_result_as_json(daemon: Daemon) -> None:
    ran = asked(daemon, "call", "--json", "--interval", ".1", "Run", "--", "sleep", "1.5")
    *statuses, result = lines(ran.stdout)
    assert result == {"result": {"output": ""}}
    assert len(statuses) >= 3
    assert all(status["v"] == 1 and status["state"] == "running" for status in statuses)


def test_a_command_runs_where_it_is_typed_and_with_that_environment(daemon: Daemon, tmp_path: Path) -> None:
    ran = asked(
        daemon, "call", "Run", "--", "sh", "-c", "pwd; echo $MARK", cwd=tmp_path, env={**ENVIRONMENT, "MARK": "x y"}
    )
    assert ran.stdout == f"{tmp_path}\nx y\n"


def test_what_a_failed_command_said_is_told(daemon: Daemon) -> None:
    ran = asked(daemon, "call", "Run", "--", "sh", "-c", "echo one; echo two; exit 3")
    assert (ran.returncode, ran.stdout) == (3, "one\ntwo\n")
    assert ran.stderr == "pollprog: sh ended with exit status 3: two\n"


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM)])
def test_a_call_ends_as_its_command_does(daemon: Daemon, script: str, status: int) -> None:
    assert asked(daemon, "call", "Run", "--", "sh", "-c", script).returncode == status


@pytest.mark.parametrize(("script", "state", "code"), [("sleep 1.5", "succeeded", 0), ("exit 3", "failed", 3)])
def test_lines_of_json_go_to_a_descriptor_and_the_last_says_how_it_ended(
    daemon: Daemon, tmp_path: Path, script: str, state: str, code: int
) -> None:
    with open(tmp_path / "lines", "w") as file:
        number = file.fileno()
        words = ["--progress-fd", str(number), "--interval", ".1", "Run", "--", "sh", "-c", script]
        ran = asked(daemon, "call", *words, pass_fds=[number])
    assert ran.returncode == code
    *statuses, last = lines((tmp_path / "lines").read_text())
    assert (last["v"], last["state"], last["exit"], last["signal"]) == (1, state, code, None)
    assert all(status["state"] == "running" for status in statuses)
    assert len(statuses) >= 3 or code


def test_nothing_that_a_command_said_is_obeyed_by_the_terminal(daemon: Daemon) -> None:
    ran = asked(daemon, "call", "Run", "--", "printf", r"a\033[2Jb\n")
    assert ran.stdout == "a[2Jb\n"


def test_without_a_method_those_that_there_are_are_listed(daemon: Daemon) -> None:
    ran = asked(daemon, "call")
    assert re.search(r"^CopyFile +Copy a file", ran.stdout, re.MULTILINE)
    assert {"CopyFile", "Run"} <= {line["name"] for line in lines(asked(daemon, "call", "--json").stdout)}


@pytest.mark.parametrize("command", ["call", "submit"])
@pytest.mark.parametrize("words", [["Checksum", "--help"], ["-h", "Checksum"]])
def test_help_with_an_operation_names_its_parameters(daemon: Daemon, command: str, words: list[str]) -> None:
    ran = asked(daemon, command, *words)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "usage: Checksum path=… [algorithm=…]" in ran.stdout
    assert f"usage: pollprog {command}" in asked(daemon, command, "--help").stdout


def test_help_behind_two_dashes_is_the_commands(daemon: Daemon) -> None:
    assert asked(daemon, "call", "Run", "--", "echo", "x", "--help").stdout == "x --help\n"


def test_help_with_an_operation_that_nobody_knows_says_who_may(daemon: Daemon, tmp_path: Path) -> None:
    assert asked(daemon, "call", "Checksm", "--help").stderr.startswith("pollprog: there is no operation 'Checksm'")
    nobody = ["--connect", f"unix:{tmp_path}/sock"]
    ran = pollprog("call", *nobody, "Checksm", "--help")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("pollprog: there is no operation 'Checksm'")
    assert "nobody listens" in ran.stderr
    assert "pollprog daemon" in ran.stderr


@pytest.mark.parametrize("command", ["call", "submit"])
def test_help_with_an_operation_of_ours_needs_no_daemon(daemon: Daemon, tmp_path: Path, command: str) -> None:
    ran = pollprog(command, "--connect", f"unix:{tmp_path}/sock", "copy-file", "--help")
    assert (ran.returncode, ran.stdout) == (0, asked(daemon, command, "CopyFile", "--help").stdout)
    assert "nobody listens" in ran.stderr
    assert "your own operations" in ran.stderr


def test_what_exists_is_replaced_by_what_is_typed(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    words = ["CopyFile", f"source={tmp_path}/a", f"destination={tmp_path}/b"]
    ran = asked(daemon, "call", *words)
    assert (ran.returncode, ran.stderr) == (1, f"pollprog: {tmp_path}/b exists: overwrite=yes replaces it\n")
    assert asked(daemon, "call", *words, "overwrite=yes").returncode == 0
    assert (tmp_path / "b").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["Checksm", "path=/a"], 2, "there is no operation 'Checksm'; did you mean Checksum or CheckFilesystem?"),
        (["Checksum"], 2, "Checksum needs path; usage: Checksum path="),
        (["Checksum", "path=/a", "x=1"], 2, "Checksum has no parameter 'x'"),
        (["Checksum", "path=/nowhere"], 1, "cannot read /nowhere: No such file or directory"),
        (["Fill", "path=/a", "size:=true"], 1, "parameter size: expected an integer, got true or false"),
        (["Run", "job=!", "--", "true"], 1, "job: an id has"),
        (["Run", "--", "no-such-command"], 127, "no-such-command: command not found"),
    ],
)
def test_what_cannot_be_is_one_line_and_an_exit_status(
    daemon: Daemon, words: list[str], status: int, complaint: str
) -> None:
    ran = asked(daemon, "call", *words)
    assert (ran.returncode, ran.stdout) == (status, "")
    assert ran.stderr.startswith(f"pollprog: {complaint}")
    assert ran.stderr.count("\n") == 1


def test_with_json_what_went_wrong_is_a_line_too(daemon: Daemon, tmp_path: Path) -> None:
    ran = asked(daemon, "call", "--json", "Checksum", "path=/nowhere")
    [told] = lines(ran.stdout)
    assert (told["error"], told["parameters"]) == ("NoSuchFile", {"path": "/nowhere"})
    assert (ran.returncode, ran.stderr) == (1, f"pollprog: {told['message']}\n")
    ran = asked(daemon, "call", "--json", "Run", "--", "sh", "-c", "echo oh; exit 3")
    [told] = lines(ran.stdout)
    assert (told["error"], told["parameters"]) == ("CommandFailed", {"exit": 3, "output": "oh\n"})
    [told] = lines(asked(daemon, "submit", "--json", "Checksm", "path=/nowhere").stdout)
    assert told["error"] == "UsageError"
    ran = asked(daemon, "cancel", "--json", "nobody")
    [told] = lines(ran.stdout)
    assert (told["error"], told["parameters"], ran.returncode) == ("NoSuchJob", {"job": "nobody"}, 1)
    [told] = lines(pollprog("list", "--json", "--connect", f"unix:{tmp_path}/sock").stdout)
    assert (told["error"], told["parameters"]) == ("Unreachable", {"address": f"unix:{tmp_path}/sock"})


def test_a_call_that_is_cancelled_says_how_far_it_came(daemon: Daemon, tmp_path: Path) -> None:
    script = f"head -c 4194304 /dev/zero > {tmp_path}/half; exec sleep 60"
    words = ["Run", "total=8M", f"probe=filesize:{tmp_path}/half", "--", "sh", "-c", script]
    with started("call", "--connect", daemon.address, "--json", *words) as process:
        assert process.stdout is not None
        while json.loads(process.stdout.readline())["current"] != 4 << 20:
            pass
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE)
    assert errors == "pollprog: Run was cancelled, after 4.0 MiB of 8.0 MiB\n"
    assert lines(rest)[-1]["error"] == "Cancelled"


def test_a_destination_that_exists_names_the_parameter_that_replaces_it(daemon: Daemon, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    ran = asked(daemon, "call", "CopyFile", "source=a", "destination=b", cwd=tmp_path)
    assert ran.returncode == 1
    assert "exists" in ran.stderr
    assert "overwrite" in ran.stderr
    ran = asked(daemon, "call", "CopyFile", "source=a", "destination=b", "overwrite=yes", cwd=tmp_path)
    assert (ran.returncode, (tmp_path / "b").read_bytes()) == (0, b"a")


def test_a_daemon_that_is_not_there_is_told_with_what_starts_one(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/sock"
    ran = pollprog("call", "--connect", address, "Checksum", "path=/a")
    assert ran.returncode == 1
    assert address in ran.stderr
    assert "pollprog daemon" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "address", ["relative", "unix:relative", "ssh://", "ssh://-o@x", "tcp:1", "unix:/" + "x" * 200]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    ran = pollprog("list", "--connect", address)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)


def test_the_address_may_come_from_the_environment(daemon: Daemon) -> None:
    ran = pollprog("list", "--json", env={**ENVIRONMENT, "POLLPROG_ADDRESS": daemon.address})
    assert ran.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_call_and_waits_for_its_end(daemon: Daemon, tmp_path: Path, number: int) -> None:
    mark = tmp_path / "ended"
    script = f"trap 'sleep 0.3; touch {mark}; exit' TERM; touch {tmp_path}/begun; while :; do sleep 0.05; done"
    with started("call", "--connect", daemon.address, "Run", "--", "sh", "-c", script) as process:
        until((tmp_path / "begun").exists)
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode in (128 + number, -number)
        assert "cancelled" in errors
    assert mark.exists()


def test_a_second_ctrl_c_leaves_at_once(daemon: Daemon, tmp_path: Path) -> None:
    script = f"trap '' TERM; touch {tmp_path}/begun; exec sleep 60"
    with started("call", "--connect", daemon.address, "Run", "job=stubborn", "--", "sh", "-c", script) as process:
        until((tmp_path / "begun").exists)
        process.send_signal(signal.SIGINT)
        until(lambda: job(daemon, "stubborn")["state"] == "cancelling")
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode != 0
        assert time.monotonic() - begun < PATIENCE / 2
    until(lambda: job(daemon, "stubborn")["state"] == "cancelled")


def test_the_result_into_a_full_disk_is_told(daemon: Daemon) -> None:
    with open("/dev/full", "w") as full:
        ran = asked(
            daemon, "call", "Checksum", "path=/etc/passwd", stdout=full, capture_output=False, stderr=subprocess.PIPE
        )
    assert ran.returncode == 1
    assert ran.stderr == "pollprog: cannot write to standard output: No space left on device\n"


def test_a_marked_call_has_a_bar_on_a_terminal(daemon: Daemon, tmp_path: Path) -> None:
    with open(tmp_path / "big", "wb") as file:
        file.truncate(3 << 28)
    terminal = Terminal()
    try:
        terminal.run("pollprog", "call", "--connect", daemon.address, "Checksum", f"path={tmp_path}/big")
        terminal.wait(lambda rows: any("%" in row and "MiB" in row for row in rows))
        assert terminal.wait_end() == 0
        assert any(row.startswith("digest: ") for row in terminal.rows())
        assert not any("%" in row for row in terminal.rows())
    finally:
        terminal.close()


def test_submitted_work_goes_on_and_prints_its_id(daemon: Daemon, tmp_path: Path) -> None:
    ran = asked(daemon, "submit", "Run", "--", "sh", "-c", "sleep 0.3; pwd > here", cwd=tmp_path)
    assert ran.returncode == 0
    name = ran.stdout.strip()
    until(lambda: job(daemon, name)["state"] == "succeeded")
    assert (tmp_path / "here").read_text() == f"{tmp_path}\n"
    assert job(daemon, name)["detached"] is True


def until(condition: object) -> None:
    """Wait for it, within bounds."""
    end = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator] # a function
        assert time.monotonic() < end
        time.sleep(0.02)


def job(daemon: Daemon, name: str) -> dict[str, object]:
    """What the daemon knows of a job; nothing if it has none of that name."""
    try:
        return daemon.call("Get", job=name)["job"]
    except Refused:
        return {"state": None}
