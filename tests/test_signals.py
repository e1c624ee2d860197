"""Who gets which signal, and how often: real shells, real terminals, and a command that counts."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import wait_until
from terminals import BIN, COUNTING, ENVIRONMENT, POLLPROG, Counting, Terminal, session, shell, started

from pollprog import signals, tools
from pollprog.launch import Command, is_stopped, launch

if TYPE_CHECKING:
    from collections.abc import Callable

SENT = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGPIPE", "SIGALRM", "SIGXFSZ", "SIGWINCH", "SIGRTMIN", "SIGTERM"]
IGNORED = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT]


@pytest.fixture
def counting(tmp_path):
    return Counting(tmp_path / "counted", *SENT, "SIGCONT")


@pytest.fixture
def terminal():
    window = Terminal()
    yield window
    window.close()


def is_measuring(pid: int) -> bool:
    """Whether this pollprog is beyond the first moment, and hears signals in a thread."""
    return len(os.listdir(f"/proc/{pid}/task")) > 1


# --- what somebody sends to pollprog


@pytest.mark.parametrize("progress", ["none", "log"])
def test_what_is_sent_to_pollprog_is_passed_on_once(counting, progress):
    with started("run", "--progress", progress, *counting.words) as process:
        pid = counting.wait_started()
        if progress == "log":
            wait_until(lambda: is_measuring(process.pid))
        for number, name in enumerate(SENT, 1):
            process.send_signal(getattr(signal, name))
            counting.wait_counted(number)
        assert counting.counted() == SENT
        os.kill(pid, signal.SIGKILL)
        assert process.wait(30) == 128 + signal.SIGKILL


def test_a_command_that_runs_is_not_told_to_go_on(counting):
    with started("run", "--progress", "none", *counting.words) as process:
        counting.wait_started()
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGUSR1)
        assert counting.wait_counted(1) == ["SIGUSR1"]


def test_a_command_that_stands_still_is_told_to_go_on(counting):
    with started("run", "--progress", "none", *counting.words) as process:
        pid = counting.wait_started()
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(pid))
        process.send_signal(signal.SIGCONT)
        assert counting.wait_counted(1) == ["SIGCONT"]


def test_what_the_command_sends_to_its_own_group_is_not_sent_back(counting):
    sender = "if os.fork() == 0: signal.signal(10, signal.SIG_IGN); os.read(0, 1); os.killpg(0, 10); os._exit(0)"
    words = [sys.executable, "-ISc", COUNTING.replace("while True:", f"{sender}\nwhile True:"), *counting.words[5:]]
    with started("run", "--progress", "none", *words, stdin=subprocess.PIPE) as process:
        counting.wait_started()
        process.stdin.write("x")
        process.stdin.flush()
        counting.wait_counted(1)
        process.send_signal(signal.SIGTERM)
        assert counting.wait_counted(2) == ["SIGUSR1", "SIGTERM"]


def test_stopping_pollprog_alone_stops_nothing_else(counting):
    with started("run", *counting.words) as process:
        pid = counting.wait_started()
        wait_until(lambda: is_measuring(process.pid))
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(process.pid))
        os.kill(pid, signal.SIGUSR1)
        counting.wait_counted(1)
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        assert counting.wait_counted(2) == ["SIGUSR1", "SIGTERM"]


def test_what_a_script_starts_in_the_background_goes_on_ignoring_the_keyboard():
    done = shell("pollprog run -- cat /proc/self/status & wait $!")
    ignored = re.search(r"SigIgn:\s*(\w+)", done.stdout)
    assert int(ignored[1], 16) & 0xFFFF == 1 << 1 | 1 << 2


@pytest.mark.parametrize("number", IGNORED)
def test_what_is_ignored_on_our_behalf_ends_nothing(tmp_path, number):
    counting = Counting(tmp_path / "counted", "SIGRTMIN")
    with started("run", "--progress", "none", *counting.words, preexec_fn=ignore) as process:
        counting.wait_started()
        process.send_signal(number)
        process.send_signal(signal.SIGRTMIN)
        assert counting.wait_counted(1) == ["SIGRTMIN"]


@pytest.mark.parametrize("number", IGNORED)
def test_what_is_ignored_on_our_behalf_reaches_a_command_that_handles_it(counting, number):
    with started("run", "--progress", "none", *counting.words, preexec_fn=ignore) as process:
        counting.wait_started()
        process.send_signal(number)
        process.send_signal(signal.SIGRTMIN)
        assert counting.wait_counted(2) == [number.name, "SIGRTMIN"]


def ignore() -> None:
    """What nohup does, and a shell without job control for what it starts in the background."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)


def test_a_command_of_somebody_else_cannot_be_told_and_goes_on():
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    launched = launch(Command(["sleep", "600"]))
    try:
        os.setresuid(65534, 65534, 0)
        assert not launched.send(signal.SIGTERM)
    finally:
        os.setresuid(0, 0, 0)
        launched.send(signal.SIGKILL)
        wait_until(launched.reap)
        launched.close()


def test_a_stop_that_is_still_to_come_stops_us_no_second_time():
    code = """
import os, signal
from pollprog import signals
signals.hold()
os.kill(os.getpid(), signal.SIGTSTP)  # as the terminal does, and it is not taken in yet
signals.stop_ourselves()
"""
    with subprocess.Popen([sys.executable, "-c", code], process_group=0) as process:
        try:
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            assert is_stopped(process.pid)
            process.send_signal(signal.SIGCONT)
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert not os.WIFSTOPPED(status)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
        finally:
            if process.returncode is None:
                process.kill()


# --- what the terminal sends


@pytest.mark.tool("bash")
@pytest.mark.parametrize("progress", ["none", "bar"])
@pytest.mark.parametrize("how", ["Ctrl-Z", "kill"])
def test_a_command_that_takes_ctrl_z_for_itself_stops_nobody(tmp_path, terminal, progress, how):
    counting = Counting(tmp_path / "counted", "SIGTSTP", "SIGRTMIN", "SIGTERM")
    process = in_shell(terminal, counting.words, progress)
    pid = counting.wait_started()
    if progress == "bar":
        terminal.wait(lambda rows: "0:0" in rows[-1])
    if how == "Ctrl-Z":
        terminal.type("\x1a")
    else:
        os.kill(process(), signal.SIGTSTP)
    counting.wait_counted(1)
    os.kill(process(), signal.SIGRTMIN)  # which is heard after SIGTSTP
    wait_until(lambda: is_stopped(process()) or len(counting.counted()) > 1)
    assert counting.counted() == ["SIGTSTP", "SIGRTMIN"]
    assert not is_stopped(process())
    os.kill(pid, signal.SIGKILL)
    terminal.wait(lambda rows: any("status 137" in row for row in rows))


@pytest.mark.tool("bash")
@pytest.mark.parametrize("progress", ["none", "bar"])
def test_a_command_that_puts_things_in_order_before_it_stops_is_waited_for(terminal, tmp_path, progress):
    (tmp_path / "tidy.py").write_text(TIDY)
    process = in_shell(terminal, [sys.executable, "-IS", str(tmp_path / "tidy.py")], progress)
    terminal.wait(lambda rows: "ready" in rows and (progress == "none" or "0:0" in rows[-1]))
    terminal.type("\x1a")
    terminal.wait(lambda rows: any("tidying up" in row for row in rows))
    assert not is_stopped(process())
    os.kill(process(), signal.SIGUSR1)
    terminal.wait(lambda rows: any("Stopped" in row for row in rows))
    assert is_stopped(process())
    terminal.type("fg; echo ended $?\n")
    terminal.wait(lambda rows: any("ended 7" in row for row in rows))


TIDY = r"""
import os, signal, sys
def stop(*_):
    os.write(1, b"tidying up\n")
    signal.sigwait({signal.SIGUSR1})
    signal.raise_signal(signal.SIGSTOP)
    os._exit(7)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
signal.signal(signal.SIGTSTP, stop)
os.write(1, b"ready\n")
while True:
    signal.pause()
"""


def in_shell(terminal: Terminal, words: list[str], progress: str) -> Callable[[], int]:
    """Run it under pollprog from a shell's prompt; what tells pollprog's pid."""
    shell_ = terminal.bash()
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
        script.write(shlex.join(["pollprog", "run", "--progress", progress, "--", *words]))
        script.flush()
        terminal.type(f"clear; . {script.name}; echo status $?\n")
        wait_until(lambda: "pollprog\n" in map(name, session(shell_.pid)))
    return lambda: next(pid for pid in session(shell_.pid) if name(pid) == "pollprog\n")


@pytest.mark.parametrize("progress", ["none", "bar"])
def test_what_is_typed_reaches_the_command_once(counting, terminal, progress):
    process = terminal.run("pollprog", "run", "--progress", progress, *counting.words)
    counting.wait_started()
    if progress == "bar":
        wait_until(lambda: is_measuring(process.pid))
    terminal.type("\x03")
    counting.wait_counted(1)
    terminal.type("\x1c")
    counting.wait_counted(2)
    process.send_signal(signal.SIGTERM)
    assert counting.wait_counted(3) == ["SIGINT", "SIGQUIT", "SIGTERM"]


def test_a_resize_is_heard_by_the_command_once(counting, terminal):
    process = terminal.run("pollprog", "run", *counting.words)
    counting.wait_started()
    wait_until(lambda: is_measuring(process.pid))
    terminal.resize(20, 70)
    counting.wait_counted(1)
    process.send_signal(signal.SIGTERM)
    assert counting.wait_counted(2) == ["SIGWINCH", "SIGTERM"]


@pytest.mark.tool("bash")
@pytest.mark.parametrize("command", ["sleep 600", "pollprog run sleep 600", "pollprog run --progress none sleep 600"])
def test_the_loop_of_a_shell_ends_at_ctrl_c(terminal, command):
    terminal.bash()
    terminal.type(f"for i in 1 2 3; do echo turn $i; {command}; done\n")
    wait_until(lambda: "sleep\n" in map(name, session(terminal.leader)))
    terminal.type("\x03")
    terminal.wait(lambda rows: "^C" in rows)
    terminal.type("echo status $?\n")
    assert "turn 2" not in terminal.wait(lambda rows: "status 130" in rows)


@pytest.mark.tool("bash")
def test_a_command_that_takes_ctrl_c_for_itself_does_not_end_the_loop(terminal):
    terminal.bash()
    command = "sh -c 'trap \"exit 0\" INT; echo ready $1; while :; do sleep 0.05; done' sh $i"
    terminal.type(f"clear; for i in 1 2; do pollprog run --progress none -- {command}; done; echo status $?\n")
    for turn in (1, 2):
        terminal.wait(lambda rows, turn=turn: any(f"ready {turn}" in row for row in rows))
        terminal.type("\x03")
    terminal.wait(lambda rows: any("status 0" in row for row in rows))


def name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read()
    except OSError:
        return ""


# --- hang-ups


@pytest.mark.parametrize("progress", ["none", "bar"])
def test_a_window_that_is_closed_ends_the_command_and_pollprog(terminal, tmp_path, progress):
    with open(tmp_path / "errors", "wb") as errors:
        process = terminal.run("pollprog", "run", "--progress", progress, "--", "sleep", "600", stderr=errors)
    if progress == "bar":
        terminal.wait(lambda rows: "elapsed" in rows[-1] or "0:0" in rows[-1])
    else:
        wait_until(lambda: len(session(process.pid)) > 1)
    terminal.hang_up()
    assert process.wait(30) == 128 + signal.SIGHUP
    assert session(process.pid) == []
    assert (tmp_path / "errors").read_bytes() == b""


@pytest.mark.tool("bash")
def test_a_window_with_a_shell_that_is_closed_ends_everything_in_it(terminal, tmp_path):
    shell_ = terminal.bash()
    terminal.type(f"pollprog run -- sleep 600 2> {tmp_path}/errors\n")
    terminal.wait(lambda rows: "0:0" in rows[-1])
    terminal.hang_up()
    shell_.wait(30)
    wait_until(lambda: session(shell_.pid) == [])
    assert (tmp_path / "errors").read_bytes() == b""


@pytest.mark.tool("bash")
def test_a_shell_that_sends_a_hang_up_to_pollprog_alone_reaches_the_command(terminal, counting):
    terminal.bash()
    line = " ".join(f"'{word}'" for word in counting.words)
    terminal.type(f"clear; pollprog run --progress none {line} &\n")
    counting.wait_started()
    terminal.type("kill -HUP $!; kill -TERM $!\n")
    assert counting.wait_counted(2) == ["SIGHUP", "SIGTERM"]


# --- corners


def test_what_has_no_terminal_has_none_to_lose(monkeypatch):
    def refuse(*_):
        raise OSError

    monkeypatch.setattr(os, "open", refuse)
    assert not signals.terminal_is_there()


def test_who_descends_from_whom():
    assert signals.descends(os.getpid(), os.getpid())
    assert signals.descends(os.getpid(), os.getppid())
    assert not signals.descends(os.getppid(), os.getpid())
    assert not signals.descends(1 << 22, os.getpid())


def test_held_signals_are_let_go_again_and_what_came_meanwhile_is_forgotten():
    code = """
import os, signal
from pollprog import signals, tools
held = signals.hold()
os.kill(os.getpid(), signal.SIGTERM)
held.release()
print(sorted(held.mask), signal.pthread_sigmask(0, []), signal.getsignal(signal.SIGINT).name, flush=True)
signals.hold(passing=False)
os.kill(os.getpid(), signal.SIGUSR2)
"""
    done = subprocess.run([BIN / "python", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("[] set() SIG_DFL\n", -signal.SIGUSR2), done.stderr


# --- before anything has begun

SCRIPT = Path(__file__).parents[1] / "scripts" / "pollprog"
MODULES = {
    "run": ["argparse", "pollprog.cli", "pollprog.launch"],
    "attach": ["argparse", "pollprog.signals"],
    "copy": ["argparse", "pollprog.signals"],
    "top": ["argparse", "pollprog.top", "psutil", "trio"],
    "probes": ["argparse", tools.PROBES[min(tools.PROBES)]],
    "completion": ["argparse", "shtab"],
}
"""By command, what it imports before it holds any signal."""
WORDS = {
    "run": ["run", "touch", "begun"],
    "attach": ["attach", "1"],
    "copy": ["copy", "nothing", "begun"],
    "top": ["top"],
    "probes": ["probes"],
    "completion": ["completion", "bash"],
}
AT_IMPORT = """
import os, signal, sys
class Watching:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["WATCHED_MODULE"]:
            {}
sys.meta_path.insert(0, Watching())
"""


def at_import(folder: Path, act: str) -> dict[str, str]:
    """An environment in which this is done when the module that WATCHED_MODULE names is about to be imported."""
    (folder / "sitecustomize.py").write_text(AT_IMPORT.format(act))
    told = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "WATCHED_MODULE": "pollprog.cli"}
    return {**ENVIRONMENT, **told}


@pytest.mark.parametrize("command", WORDS)
@pytest.mark.parametrize("door", [[POLLPROG], [sys.executable, "-m", "pollprog"]], ids=["script", "module"])
def test_ctrl_c_while_we_are_being_imported_ends_us_without_a_word_and_nothing_is_started(command, door, tmp_path):
    environment = at_import(tmp_path, "os.kill(os.getpid(), signal.SIGINT)")
    words = [*door, *WORDS[command]]
    for module in MODULES[command]:
        environment["WATCHED_MODULE"] = module
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", ""), module
    assert os.listdir(tmp_path) == ["sitecustomize.py"]


@pytest.mark.parametrize("module", ["pollprog", "pollprog.__main__"])
def test_ctrl_c_before_anything_of_ours_is_imported_ends_us_without_a_word(module, tmp_path):
    environment = {**at_import(tmp_path, "os.kill(os.getpid(), signal.SIGINT)"), "WATCHED_MODULE": module}
    words = [sys.executable, str(SCRIPT), *WORDS["run"]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    assert os.listdir(tmp_path) == ["sitecustomize.py"]


def test_the_script_that_is_installed_is_ours_and_can_be_run():
    with open(SCRIPT.parents[1] / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)
    scripts = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-scripts"]
    assert scripts == {str(SCRIPT.relative_to(SCRIPT.parents[1])): "pollprog"}
    assert "scripts" not in project["project"], "pip would write another"
    assert os.access(SCRIPT, os.X_OK)
    done = subprocess.run([sys.executable, SCRIPT, "run", "--", "sh", "-c", "echo words; exit 7"], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"words\n", b"")


@pytest.mark.parametrize("command", WORDS)
def test_ctrl_c_at_whatever_moment_of_a_start_is_no_fault(command, tmp_path):
    environment = at_import(tmp_path, "open(os.environ['PYTHONPATH'] + '/begun', 'w').close()")
    words = ["run", "--progress", "none", "sleep", "600"] if command == "run" else WORDS[command]
    for _ in range(6):
        with started(*words, env=environment, cwd=tmp_path) as process:
            wait_until((tmp_path / "begun").exists)
            time.sleep(random.uniform(0, 0.15))  # any moment will do: what is said below holds for each
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        (tmp_path / "begun").unlink()
        assert "Traceback" not in errors
        assert "fault" not in errors
        ends_by_itself = command in ("copy", "probes", "completion")
        assert ends_by_itself or process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


def test_where_ctrl_c_is_ignored_on_our_behalf_it_stays_so(tmp_path):
    environment = at_import(tmp_path, "os.kill(os.getpid(), signal.SIGINT)")
    done = shell("trap '' INT; exec pollprog run echo words", env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "words\n", "")


def test_what_is_typed_just_before_the_command_starts_reaches_it(terminal, tmp_path):
    text = "import os\nfrom pollprog import launch, signals\nfind = launch.resolve\ndef resolve(name):\n"
    text += "    os.write(1, b'now')\n    while 2 not in signals.signal.sigpending(): pass\n    return find(name)\n"
    (tmp_path / "sitecustomize.py").write_text(f"{text}launch.resolve = resolve\n")
    terminal.run("pollprog", "run", "sleep", "600", environment={"PYTHONPATH": str(tmp_path)})
    terminal.wait(lambda rows: "now" in rows)
    terminal.type("\x03")
    assert terminal.wait_end() == -signal.SIGINT
