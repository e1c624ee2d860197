"""What a person gets for TAB, in a real shell."""

from __future__ import annotations

import os
import subprocess

import pytest
from daemons import serving
from terminals import ENVIRONMENT, Terminal, pollprog

from pollprog.tools import OURS, PROBES, RESOURCES

pytestmark = pytest.mark.tool("bash")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("file.img", "filling", "my file"):
        (tmp_path / name).write_text(name)
    (tmp_path / "under" / "below").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def terminal(folder):
    window = Terminal(20, 120)
    yield window
    window.close()


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("pollprog ru", "pollprog run "),
        ("pollprog run --tot", "pollprog run --total "),
        ("pollprog run --total @file", "pollprog run --total @file.img "),
        ("pollprog run --total=@file", "pollprog run --total=@file.img "),
        ("pollprog run --total @fi", "pollprog run --total @fil"),
        ("pollprog run --total @my", "pollprog run --total @my\\ file "),
        ("pollprog run --total @under/bel", "pollprog run --total @under/below/"),
        ("pollprog attach --total ./@fi", "pollprog attach --total ./@fi"),
        ("pollprog run --probe ev", "pollprog run --probe evidence "),
        ("pollprog run --probe=ev", "pollprog run --probe=evidence "),
        ("pollprog run --probe files", "pollprog run --probe filesize:"),
        ("pollprog run --probe filesize:file", "pollprog run --probe filesize:file.img "),
        ("pollprog run --probe=filesize:file", "pollprog run --probe=filesize:file.img "),
        ("pollprog run --probe treesize:un", "pollprog run --probe treesize:under/"),
        ("pollprog probes evi", "pollprog probes evidence "),
        ("pollprog run --total 4G --probe dd -- dd if=file", "pollprog run --total 4G --probe dd -- dd if=file.img "),
        ("pollprog run printe", "pollprog run printenv "),
        ("pollprog copy --progress=log file", "pollprog copy --progress=log file.img "),
        ("pollprog completion z", "pollprog completion zsh "),
    ],
)
def test_bash_completes_what_is_typed_and_eats_none_of_it(typed, shown, terminal):
    terminal.bash()
    terminal.type('eval "$(pollprog completion bash)"; clear\n')
    terminal.wait(lambda rows: rows[0] == "$" and not any(rows[1:]))
    terminal.type(f"{typed}\t.")  # the dot comes behind whatever bash has put there
    terminal.wait(lambda rows: rows[0].endswith("."))
    assert terminal.rows()[0] == f"$ {shown}."


LISTED = """
eval "$1"
COMP_LINE=$2 COMP_WORDS=($2 "$3") COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_pollprog pollprog "$3"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def listed(line: str, word: str = "", **environment: str) -> set[str]:
    """All that bash offers for `word` behind a line."""
    script = pollprog("completion", "bash").stdout
    words = ["bash", "--norc", "-c", LISTED, "bash", script, line, word]
    told = subprocess.run(words, capture_output=True, text=True, check=True, env={**ENVIRONMENT, **environment}).stdout
    return set(told.split("\n")) - {""}


def test_every_probe_is_offered():
    assert listed("pollprog run --probe ") == {"evidence", "fdinfo", "filesize:", "procio", "treesize:", *OURS}
    assert listed("pollprog probes ") == {*PROBES, *RESOURCES}


def test_processes_that_can_be_watched_are_offered():
    offered = listed("pollprog attach ")
    assert str(os.getpid()) in offered
    assert all(pid.isdigit() for pid in offered - {f"{kind}:" for kind in RESOURCES})
    assert "2" not in offered or os.path.exists("/proc/2/exe")
    assert str(os.getpid()) in listed("pollprog attach 4711 ", str(os.getpid())[:-1])


def test_work_without_a_process_is_offered(folder):
    assert {f"{kind}:" for kind in RESOURCES} <= listed("pollprog attach ")
    assert listed("pollprog attach ", "pg") == {"pg:"}
    assert listed("pollprog attach ", "pv") == {"pvmove:"}
    (folder / "a mount").mkdir()
    assert any("mount" in word for word in listed("pollprog attach ", f"btrfs:{folder}/a"))


def test_options_and_their_choices_are_offered():
    assert {"--force", "--preserve", "--progress-fd"} <= listed("pollprog copy ", "--")
    assert listed("pollprog run --progress ") == {"auto", "bar", "log", "none"}


def test_what_a_daemon_knows_is_offered(folder, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("daemon")) as daemon:
        here = {"POLLPROG_ADDRESS": f"unix:{daemon.path}"}
        assert listed("pollprog call ", "Copy", **here) == {"CopyFile ", "CopyTree ", "CopySize "}
        assert listed("pollprog submit ", "copyf", **here) == {"CopyFile "}
        assert listed(f"pollprog call --json --connect unix:{daemon.path} Checksum ", "a") == {"algorithm="}
        job = daemon.call("Submit", method="Checksum", parameters={"path": str(folder / "file.img")})["job"]
        for command in ("show", "watch", "cancel", "pause", "resume"):
            assert listed(f"pollprog {command} ", "check", **here) == {f"{job} "}
        assert "--json" in listed("pollprog call ", "--", **here)


def test_without_a_daemon_nothing_is_offered_and_nothing_is_said(tmp_path):
    assert listed("pollprog call ", "Copy", POLLPROG_ADDRESS=f"unix:{tmp_path}/nobody") == set()
    done = pollprog(
        "completion", "bash", "--", "call", "Nonsense", "x", env={**ENVIRONMENT, "POLLPROG_ADDRESS": "nonsense://"}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_operation_is_completed_as_it_is_typed(folder, terminal, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("daemon")) as daemon:
        terminal.bash(POLLPROG_ADDRESS=f"unix:{daemon.path}")
        terminal.type('eval "$(pollprog completion bash)"; clear\n')
        terminal.wait(lambda rows: rows[0] == "$" and not any(rows[1:]))
        terminal.type("pollprog call copyf\tsou\tmy\t over\ttr\t.")
        terminal.wait(lambda rows: rows[0].endswith("."))
        assert terminal.rows()[0] == r"$ pollprog call CopyFile source=my\ file overwrite=true ."


def test_zsh_has_a_completion_script_too():
    done = pollprog("completion", "zsh")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--progress-fd" in done.stdout
