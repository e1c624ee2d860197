"""The interactive client: lines from a file, a pipe, and a person at a prompt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from services import Daemon
from terminals import Terminal, pollprog, started

from pollprog.addresses import parse_address
from pollprog.candidates import paths
from pollprog.errands import Asker
from pollprog.errors import UsageError
from pollprog.shell import COMMANDS, HELP, Shell, offers
from pollprog.signals import Held

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def shell(daemon: Daemon) -> Shell:
    return Shell(Asker(parse_address(daemon.address)), Held(set(), set()))


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(rows=20, columns=90)
    yield terminal
    terminal.close()


def obeyed(daemon: Daemon, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "script").write_text(text)
    return pollprog("shell", "--connect", daemon.address, "script", cwd=folder)


# --- lines from a file


def test_each_line_is_a_call(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"abc")
    ran = obeyed(
        daemon,
        "# a comment\n\nCopyFile source='a b' destination=c\nChecksum path=c algorithm=md5 # and another\n",
        tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "size: 3\ndigest: 900150983cd24fb0d6963f7d28e17f72\nfiles: 1\nsize: 3\n"


def test_lines_may_come_from_a_pipe(daemon: Daemon) -> None:
    with started("shell", "--connect", daemon.address, stdin=-1) as process:
        output, errors = process.communicate("Run -- echo hi\n", timeout=30)
    assert (process.returncode, output, errors) == (0, "hi\n", "")


def test_the_first_error_ends_a_script_with_its_exit_status(daemon: Daemon, tmp_path: Path) -> None:
    ran = obeyed(daemon, "Run -- false\nRun -- echo never\n", tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "pollprog: script, line 1: false ended with exit status 1\n"


def test_a_line_that_may_fail_does_not_end_a_script(daemon: Daemon, tmp_path: Path) -> None:
    ran = obeyed(daemon, "-Run -- false\nRun -- echo on\n", tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "on\n")
    assert ran.stderr == "pollprog: script, line 1: false ended with exit status 1\n"


def test_relative_paths_follow_cd(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_bytes(b"x")
    assert obeyed(daemon, "cd deep\nChecksum path=file\n", tmp_path).returncode == 0
    ran = obeyed(daemon, "cd nowhere\n", tmp_path)
    assert (ran.returncode, ran.stderr) == (2, "pollprog: script, line 1: cd: nowhere: No such file or directory\n")


def test_a_script_submits_and_looks_at_jobs(daemon: Daemon, tmp_path: Path) -> None:
    script = "submit Run job=mine -- sleep 60\npause mine\nresume mine\nlist\nshow mine\ncancel mine\n-watch mine\nquit\nnonsense\n"
    ran = obeyed(daemon, script, tmp_path)
    assert ran.returncode == 0
    told = ran.stdout.splitlines()
    assert told[:3] == ["mine", "mine: paused", "mine: running"]
    assert "mine: cancelling" in told


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Checksum 'path=x", "No closing quotation: Checksum 'path=x"),
        ("Nonsense", "there is no operation 'Nonsense'"),
        ("show", "name one job; list shows them"),
        ("submit", "submit what?"),
        ("help Nonsense", "there is no operation 'Nonsense'"),
    ],
)
def test_what_cannot_be_is_one_line(daemon: Daemon, tmp_path: Path, line: str, complaint: str) -> None:
    ran = obeyed(daemon, f"{line}\n", tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"pollprog: script, line 1: {complaint}")
    assert ran.stderr.count("\n") == 1


def test_a_script_that_is_not_there_is_told(daemon: Daemon) -> None:
    ran = pollprog("shell", "--connect", daemon.address, "/nowhere")
    assert (ran.returncode, ran.stderr) == (2, "pollprog: /nowhere: No such file or directory\n")


def test_help_tells_of_every_operation_and_of_one(daemon: Daemon, tmp_path: Path) -> None:
    ran = obeyed(daemon, "help\nhelp CopyFile\n", tmp_path)
    assert "CopySize " in ran.stdout
    assert "cancel JOB" in ran.stdout
    assert "usage: CopyFile source=" in ran.stdout


def test_help_tells_of_the_commands_too(daemon: Daemon, tmp_path: Path) -> None:
    ran = obeyed(daemon, "help watch\nhelp pause\nhelp exit\nhelp call\n", tmp_path)
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["watch", "cancel", "quit", "[call]"]
    assert {name for name in COMMANDS if not any(name in typed for typed in HELP)} == {"?", "exit"}


# --- completion


def test_operations_and_commands_are_completed(shell: Shell) -> None:
    assert offers(shell, [], "Copy") == ["CopyFile ", "CopyTree ", "CopySize "]
    assert offers(shell, [], "copyf") == ["CopyFile "]
    assert offers(shell, [], "pa") == ["pause "]
    assert offers(shell, ["help"], "Zero") == ["Zero ", "ZeroDevice ", "ZeroFree "]
    assert offers(shell, ["submit"], "TarI") == ["TarIn "]


def test_parameters_and_what_may_be_chosen_are_completed(shell: Shell) -> None:
    assert offers(shell, ["Checksum"], "") == ["path=", "algorithm="]
    assert offers(shell, ["submit", "Checksum"], "al") == ["algorithm="]
    assert offers(shell, ["Checksum"], "algorithm=sha") == ["algorithm=sha256 ", "algorithm=sha512 "]
    assert offers(shell, ["CopyFile"], "overwrite=t") == ["overwrite=true "]
    assert offers(shell, ["Nonsense"], "x") == []
    assert offers(shell, ["Checksum"], "nonsense=") == []


def test_files_are_completed_with_their_spaces_quoted(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b").touch()
    (tmp_path / "ad").mkdir()
    (tmp_path / ".hidden").touch()
    monkeypatch.chdir(tmp_path)
    assert offers(shell, ["Checksum"], "path=a") == [r"path=a\ b", "path=ad/"]
    assert offers(shell, ["cd"], "") == ["ad/"]
    assert paths(f"{tmp_path}/.h") == [f"{tmp_path}/.hidden"]
    assert paths("/nowhere/x") == []


def test_jobs_are_completed(shell: Shell) -> None:
    shell.run("submit Run job=complete-me -- true")
    assert offers(shell, ["show"], "comp") == ["complete-me "]


def test_a_line_of_nothing_does_nothing(shell: Shell) -> None:
    assert shell.run("  # nothing") == 0
    with pytest.raises(UsageError):
        shell.run("'")


# --- at a prompt


def test_a_prompt_has_bars_history_and_survives_errors(daemon: Daemon, terminal: Terminal, tmp_path: Path) -> None:
    with open(tmp_path / "big", "wb") as file:
        file.truncate(3 << 28)
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    terminal.run("pollprog", "shell", "--connect", daemon.address, cwd=tmp_path, environment=environment)
    terminal.wait(lambda rows: any(row.startswith("pollprog>") for row in rows))
    terminal.type("nonsense\n")
    terminal.wait(lambda rows: any("there is no operation 'nonsense'" in row for row in rows))
    terminal.type("Checksum path=big\n")
    terminal.wait(lambda rows: any("%" in row and "MiB" in row for row in rows))
    terminal.wait(lambda rows: any(row.startswith("digest: ") for row in rows))
    terminal.type("quit\n")
    assert terminal.wait_end() == 0
    assert "Checksum path=big" in (tmp_path / "state/pollprog/history").read_text()


def test_tab_completes_at_the_prompt(daemon: Daemon, terminal: Terminal, tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    terminal.run("pollprog", "shell", "--connect", daemon.address, environment=environment)
    terminal.wait(lambda rows: any(row.startswith("pollprog>") for row in rows))
    terminal.type("Checks\tpa\t/etc/passw\t\n")
    terminal.wait(lambda rows: any(row.startswith("digest: ") for row in rows))
    terminal.wait(lambda rows: sum(row.startswith("pollprog>") for row in rows) == 2)
    terminal.type("\x04")
    assert terminal.wait_end() == 0


def test_ctrl_c_cancels_the_call_and_keeps_the_shell(daemon: Daemon, terminal: Terminal, tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    terminal.run("pollprog", "shell", "--connect", daemon.address, environment=environment)
    terminal.wait(lambda rows: any(row.startswith("pollprog>") for row in rows))
    terminal.type(f"Run job=long -- sh -c 'touch {tmp_path}/begun; sleep 60'\n")
    terminal.wait(lambda rows: (tmp_path / "begun").exists())
    terminal.type("\x03")
    terminal.wait(lambda rows: any("cancelled" in row for row in rows))
    ran = pollprog("show", "--connect", daemon.address, "--json", "long")
    assert json.loads(ran.stdout)["state"] == "cancelled"
    terminal.type("half a line\x03")  # at the prompt it takes back the line
    terminal.wait(lambda rows: sum(row.startswith("pollprog>") for row in rows) == 3)
    terminal.type("Run -- echo still here\n")
    terminal.wait(lambda rows: "still here" in rows)
    terminal.type("quit\n")
    assert terminal.wait_end() == 0


def test_without_bars_there_are_none(daemon: Daemon, terminal: Terminal, tmp_path: Path) -> None:
    with open(tmp_path / "big", "wb") as file:
        file.truncate(3 << 28)
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    words = ["shell", "--no-progress-bars", "--connect", daemon.address]
    terminal.run("pollprog", *words, cwd=tmp_path, environment=environment)
    terminal.wait(lambda rows: any(row.startswith("pollprog>") for row in rows))
    terminal.type("Checksum path=big\n")
    terminal.wait(lambda rows: any(row.startswith("digest: ") for row in rows))
    assert b"%" not in terminal.seen
    terminal.type("exit\n")
    assert terminal.wait_end() == 0
