"""What a person sees and types: a real shell in a terminal, a bar in its bottom row, Ctrl-Z and Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from children import wait_until
from terminals import ENVIRONMENT, PATIENCE, Terminal, pollprog, session, started

from pollprog.launch import is_stopped

HALF = "mkfifo hold; head -c 2097152 /dev/zero > out; echo words; read x < hold"
"""Half of what it says is to be done, and then nothing, until `let_end`."""
KERNEL_TELLS = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2]) >= (6, 15)


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    window = Terminal()
    yield window
    window.close()


def half(options: str = "", *, command: str = HALF) -> str:
    """The line that a person types for it."""
    return f"pollprog run --total 4M {options} -- sh -c {shlex.quote(command)}\n"


def let_end() -> None:
    with open("hold", "w") as hold:
        hold.write("\n")


def is_bar(row: str) -> bool:
    return re.search(r"\b5\d ?%", row) is not None


def has_bar(rows: list[str]) -> bool:
    return is_bar(rows[-1])


def has_no_bar(rows: list[str]) -> bool:
    return not any(is_bar(row) for row in rows)


def is_prompt(rows: list[str]) -> bool:
    """Whether the shell waits for a line."""
    return [row for row in rows if row][-1:] == ["$"]


def descendant(pid: int, name: str) -> int:
    """The process of this name in a session."""
    return next(candidate for candidate in session(pid) if told(candidate, "comm") == f"{name}\n")


def told(pid: int, name: str) -> str:
    """What the kernel tells of a process; nothing if there is none."""
    try:
        with open(f"/proc/{pid}/{name}") as file:
            return file.read()
    except OSError:
        return ""


# --- a command and its bar


@pytest.mark.tool("bash")
def test_a_bar_is_in_the_bottom_row_while_the_command_runs_and_leaves_no_trace(terminal):
    terminal.bash()
    before = terminal.settings()
    terminal.type(f"clear; {half()}")
    rows = terminal.wait(has_bar)
    assert rows[0] == "words"
    assert re.match(r"sh +~?5\d % +.*0:0\d", rows[-1])
    terminal.resize(14, 50)
    rows = terminal.wait(lambda rows: has_bar(rows) and has_no_bar(rows[:-1]))
    assert len(rows) == 14
    assert terminal.screen.margins == (0, 12)
    let_end()
    assert [row for row in terminal.wait(is_prompt) if row] == ["words", "$"]
    assert terminal.screen.margins is None
    assert terminal.settings()[3] == before[3]


@pytest.mark.tool("bash")
@pytest.mark.parametrize("how", ["Ctrl-Z", "SIGTSTP to pollprog", "SIGSTOP to the group"])
def test_a_stop_stops_both_and_going_on_goes_on_with_both(terminal, how):
    shell = terminal.bash()
    started_at = time.monotonic()
    terminal.type(f"clear; {half('--progress-fd 3').strip()} 3>lines\n")
    terminal.wait(has_bar)
    pid = descendant(shell.pid, "pollprog")
    if how == "Ctrl-Z":
        terminal.type("\x1a")
    elif how == "SIGTSTP to pollprog":
        os.kill(pid, signal.SIGTSTP)
    else:
        os.killpg(pid, signal.SIGSTOP)
    terminal.wait(lambda rows: any("Stopped" in row for row in rows))
    stopped_at = time.monotonic()
    below = int(told(pid, f"task/{pid}/children"))
    wait_until(lambda: is_stopped(below))
    if how != "SIGSTOP to the group":
        assert has_no_bar(terminal.rows())
        assert terminal.screen.margins is None
    wait_until(lambda: time.monotonic() > stopped_at + 3)
    terminal.type("clear\n")
    terminal.wait(lambda rows: has_no_bar(rows) and is_prompt(rows))
    went_on_at = time.monotonic()
    terminal.type("fg\n")
    terminal.wait(has_bar)
    let_end()
    terminal.wait(is_prompt)
    took, stood = time.monotonic() - started_at, went_on_at - stopped_at
    assert terminal.screen.margins is None
    with open("lines") as file:
        *_, last = (json.loads(line) for line in file)
    assert last["elapsed"] < took - stood / 2
    assert (last["state"], last["exit"]) == ("succeeded", 0)


@pytest.mark.tool("bash")
@pytest.mark.parametrize("command", ["bash --norc --noprofile", "sh -c 'kill -TSTP $$; echo went on; read x'"])
def test_what_stops_by_itself_leaves_the_terminal_to_the_shell(terminal, command):
    terminal.bash()
    terminal.type(f"clear; pollprog run -- {command}\n")
    if command.startswith("bash"):
        terminal.wait(lambda rows: rows[0] == "$")
        terminal.type("echo inner; suspend\n")
    terminal.wait(lambda rows: any("Stopped" in row for row in rows) and is_prompt(rows))
    terminal.type("clear; echo outer\n")
    terminal.wait(lambda rows: "outer" in rows and is_prompt(rows))
    terminal.type("clear; fg\n")
    terminal.wait(lambda rows: any(row.startswith("pollprog run") for row in rows))
    terminal.type("exit 3\n")
    terminal.wait(is_prompt)
    terminal.type("clear; echo over\n")
    terminal.wait(lambda rows: "over" in rows and is_prompt(rows))


@pytest.mark.tool("bash")
def test_in_the_background_nothing_is_drawn_and_nothing_stops(terminal):
    shell = terminal.bash()
    terminal.stop_output(background=True)
    terminal.type(half("--progress-fd 3", command=HALF.replace("echo words", ":")).replace("\n", " 3>lines &\n"))
    wait_until(lambda: os.path.exists("lines") and os.path.getsize("lines"))
    assert has_no_bar(terminal.rows())
    assert b"\x1b[r" not in terminal.seen
    assert not is_stopped(descendant(shell.pid, "pollprog"))
    terminal.type("clear; fg\n")
    terminal.wait(has_bar)
    let_end()
    terminal.wait(is_prompt)


@pytest.mark.parametrize("size", [(4, 60), (10, 24), (10, 6)], ids=["low", "narrow", "tiny"])
def test_a_small_window_has_a_smaller_bar(terminal, size):
    terminal.resize(*size)
    terminal.run("sh", "-c", half())
    rows = terminal.wait(lambda rows: any(is_bar(row) for row in rows))
    assert "words" in rows
    assert all(len(row) < size[1] for row in rows)
    let_end()
    assert terminal.wait_end() == 0
    assert has_no_bar(terminal.rows())
    assert terminal.screen.margins is None


def test_a_terminal_that_cannot_draw_gets_lines(terminal):
    terminal.run("sh", "-c", half(), environment={"TERM": "dumb"})
    rows = terminal.wait(lambda rows: any(is_bar(row) for row in rows))
    assert re.fullmatch(r"sh: ~?5\d %, .* elapsed", next(filter(is_bar, rows)))
    let_end()
    assert terminal.wait_end() == 0
    assert b"\x1b" not in terminal.seen


def test_with_its_streams_elsewhere_the_bar_is_a_line_at_the_cursor(terminal):
    with open("log", "wb") as log:
        terminal.run("sh", "-c", half(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    rows = terminal.wait(lambda rows: is_bar(rows[0]))
    assert not any(rows[1:])
    let_end()
    assert terminal.wait_end() == 0
    assert not any(terminal.rows())
    with open("log") as log:
        assert log.read() == "words\n"


@pytest.mark.tool("cp")
def test_questions_can_be_answered_above_the_bar(terminal):
    for name in ("from", "to"):
        with open(name, "w") as file:
            file.write(name)
    terminal.run("pollprog", "run", "cp", "-i", "from", "to")
    terminal.wait(lambda rows: "cp: overwrite 'to'?" in rows[0] and "0:0" in rows[-1])
    terminal.type("y\n")
    assert terminal.wait_end() == 0
    with open("to") as file:
        assert file.read() == "from"
    assert [row for row in terminal.rows() if row] == ["cp: overwrite 'to'? y"]


def test_what_our_own_parts_have_to_say_is_a_line_above_the_bar(terminal):
    terminal.run("sh", "-c", half("--total 1000"))
    rows = terminal.wait(lambda rows: "0:0" in rows[-1] and any("--total" in row for row in rows))
    assert "words" in rows
    assert "pollprog: more is done than --total says (1000): it is not b" in rows
    let_end()
    assert terminal.wait_end() == 0


@pytest.mark.tool("tmux")
def test_in_tmux_the_bar_is_below_what_the_command_says(tmp_path, monkeypatch):
    socket = f"pollprog-foreground-{os.getpid()}"

    def tmux(*words: str) -> str:
        command = ["tmux", "-L", socket, "-f", "/dev/null", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT, cwd=tmp_path).stdout

    def rows() -> list[str]:
        return tmux("capture-pane", "-p").split("\n")[:-1]

    monkeypatch.chdir(tmp_path)
    tmux("new-session", "-d", "-x", "60", "-y", "10", f"{half().strip()}; echo status $?; exec sleep 600")
    try:
        tmux("set-option", "-g", "status", "off")
        wait_until(lambda: has_bar(rows()))
        assert rows()[0] == "words"
        let_end()
        wait_until(lambda: "status 0" in rows())
        assert [row for row in rows() if row] == ["words", "status 0"]
    finally:
        path = tmux("display-message", "-p", "#{socket_path}").strip()
        tmux("kill-server")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


# --- processes that already run


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.mark.skipif(not KERNEL_TELLS, reason="the kernel tells the exit status of other people's children since 6.15")
def test_an_attached_process_has_a_bar_and_its_exit_status(terminal, sleeper):
    process = terminal.run("pollprog", "attach", str(sleeper.pid))
    terminal.wait(lambda rows: "sleep" in rows[0] and "0:0" in rows[0])
    os.kill(sleeper.pid, signal.SIGSTOP)
    terminal.wait(lambda rows: "paused" in rows[0])
    os.kill(sleeper.pid, signal.SIGCONT)
    sleeper.terminate()
    terminal.wait(lambda rows: "sleep: ended" in rows)
    sleeper.wait(PATIENCE)
    assert terminal.wait_end() == 128 + signal.SIGTERM
    assert any(row.startswith("sleep: killed by SIGTERM after") for row in terminal.rows())
    assert process.returncode == 143


def test_ctrl_c_leaves_an_attached_process_alone(terminal, sleeper):
    terminal.run("sh", "-c", f"pollprog attach {sleeper.pid}; echo status $?")
    terminal.wait(lambda rows: "sleep" in rows[0])
    terminal.type("\x03")
    terminal.wait_end()
    assert sleeper.poll() is None
    assert "0:0" not in "".join(terminal.rows())
    with started("attach", str(sleeper.pid)) as process:
        assert process.stderr.readline().startswith("sleep: ")
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert sleeper.poll() is None


@pytest.mark.skipif(not KERNEL_TELLS, reason="as above")
def test_of_several_processes_all_have_to_end_well():
    codes = (0, 3)
    children = [subprocess.Popen(["sh", "-c", f"read x; exit {code}"], stdin=subprocess.PIPE) for code in codes]
    with started("attach", *(str(child.pid) for child in children)) as process:
        assert process.stderr.readline().startswith("sh ")
        for child in children:
            child.communicate(b"\n")
        assert process.wait(PATIENCE) == 3
        text = process.stderr.read()
    for child, code in zip(children, codes, strict=True):
        ending = "done" if code == 0 else "failed with exit status 3"
        assert re.search(rf"^sh {child.pid}: {ending}", text, re.MULTILINE)


@pytest.mark.parametrize("code", [0, 7])
def test_the_exit_status_is_known_though_nobody_has_asked_for_it(code):
    child = subprocess.Popen(["sh", "-c", f"read x; exit {code}"], stdin=subprocess.PIPE)
    with started("attach", str(child.pid)) as process:
        assert process.stderr.readline().startswith("sh: ")
        child.stdin.write(b"\n")
        child.stdin.close()
        assert process.wait(PATIENCE) == code
    assert child.wait(PATIENCE) == code


def test_where_nobody_can_know_how_it_ended_that_is_said(tmp_path):
    text = "from pollprog import process, runner\nrunner.REAPED = 0.05\nprocess.Process.outcome = lambda _: None\n"
    (tmp_path / "sitecustomize.py").write_text(text)
    child = subprocess.Popen(["sh", "-c", "read x"], stdin=subprocess.PIPE)
    with started("attach", str(child.pid), env={**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}) as process:
        assert process.stderr.readline().startswith("sh: ")
        child.stdin.close()
        assert process.wait(PATIENCE) == 123
        assert re.fullmatch(r"sh: ended, exit status unknown, after .*\n", process.stderr.read())
    child.wait(PATIENCE)


def test_a_process_that_is_gone_has_a_line_and_the_others_are_watched():
    with subprocess.Popen(["true"]) as gone:
        pass
    with subprocess.Popen(["sh", "-c", "read x"], stdin=subprocess.PIPE) as child:
        with started("attach", str(gone.pid), str(child.pid)) as process:
            assert process.stderr.readline() == f"pollprog: there is no process {gone.pid}\n"
            assert process.stderr.readline().startswith(f"sh {child.pid}: ")
            child.communicate(b"\n")
            status = process.wait(PATIENCE)
        assert status == (1 if KERNEL_TELLS else 123)
    for words in ([gone.pid], [gone.pid, child.pid]):
        done = pollprog("attach", *map(str, words))
        assert done.returncode == 1
        assert done.stderr == f"pollprog: {'; '.join(f'there is no process {pid}' for pid in words)}\n"


def test_the_lines_of_all_attached_processes_go_to_one_reader_each_with_its_job():
    words = ["sh", "-c", "read x; exit 3"]
    children = [subprocess.Popen(words, stdin=subprocess.PIPE) for _ in range(3)]
    names = {f"sh-{child.pid}" for child in children}
    reader, writer = os.pipe()
    options = ["--progress", "none", "--interval", "0.1", "--progress-fd", str(writer)]
    with started("attach", *options, *(str(child.pid) for child in children), pass_fds=[writer]) as process:
        os.close(writer)
        with open(reader) as file:
            told = set()
            while told < names:
                line = json.loads(file.readline())
                assert line["state"] == "running"
                told.add(line["job"])
            for child in children:
                child.communicate(b"\n")
            last = [json.loads(line) for line in file if "exit" in json.loads(line)]
        process.wait(PATIENCE)
    assert told == names == {line["job"] for line in last}
    assert len(last) == len(names)
    assert {line["exit"] for line in last} == ({3} if KERNEL_TELLS else {None})


def test_a_process_that_cannot_be_watched_is_told_in_one_line():
    with subprocess.Popen(["true"]) as ended:
        wait_until(lambda: " Z " in told(ended.pid, "stat"))
        done = pollprog("attach", str(ended.pid))
    text = f"pollprog: process {ended.pid} (true) has already ended, with exit status 0\n"
    assert (done.returncode, done.stderr) == (1, text)


def test_a_thread_of_the_kernel_is_not_watched():
    if told(2, "comm") != "kthreadd\n":
        pytest.skip("no thread of the kernel is to be seen here")
    done = pollprog("attach", "2")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "process 2 (kthreadd) is a thread of the kernel" in done.stderr


def test_a_process_of_another_user_is_not_watched(sleeper):
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    code = "import os, sys; from pollprog import cli, foreground; os.seteuid(65534); status = cli.main(sys.argv[1:]); "
    words = [sys.executable, "-c", f"{code} os.seteuid(0); sys.exit(status)", "attach", str(sleeper.pid)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    text = f"pollprog: process {sleeper.pid} belongs to another user (uid 0); to watch it, become that user or root, as with sudo\n"
    assert done.stderr == text


# --- our own loop


def dense(path, mebibytes):
    block = os.urandom(1 << 20)
    with open(path, "wb") as file:
        file.writelines(block for _ in range(mebibytes))


def test_a_copy_is_the_whole_file_with_what_was_asked_for(tmp_path):
    dense(tmp_path / "a", 2)
    os.chmod(tmp_path / "a", 0o640)
    os.utime(tmp_path / "a", (1_000_000, 2_000_000))
    done = pollprog("copy", "--progress-fd", "1", "a", "b", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = (json.loads(line) for line in done.stdout.splitlines())
    assert (line["state"], line["exit"], line["current"], line["total"]) == ("succeeded", 0, 2 << 20, 2 << 20)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    done = pollprog("copy", "a", "b", cwd=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"pollprog: b exists[^\n]*--force replaces it[^\n]*\n", done.stderr)
    assert pollprog("copy", "--force", "--preserve", "a", "b", cwd=tmp_path).returncode == 0
    assert os.stat(tmp_path / "b").st_mtime == 2_000_000


def test_a_copy_into_a_folder_has_the_name_of_its_source(tmp_path):
    (tmp_path / "from" / "a").mkdir(parents=True)
    (tmp_path / "to" / "taken").mkdir(parents=True)
    for name in ("one", "two", "taken"):
        (tmp_path / "from" / name).write_text(name)
    for words in (["from/one", "to"], ["from/two", "./to/"]):
        assert pollprog("copy", *words, cwd=tmp_path).returncode == 0
    assert {name: (tmp_path / "to" / name).read_text() for name in ("one", "two")} == {"one": "one", "two": "two"}
    done = pollprog("copy", "from/one", "to", cwd=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"pollprog: to/one exists[^\n]*\n", done.stderr)
    for words in (["from/taken", "to"], ["from/a", "to"], ["from/one", "nowhere/"], ["nothing", "to"]):
        done = pollprog("copy", *words, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert sorted(os.listdir(tmp_path / "to")) == ["one", "taken", "two"]


@pytest.fixture
def slow(tmp_path):
    """An environment in which each step of a copy takes its time."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW)
    return {"PYTHONPATH": str(tmp_path / "slow")}


SLOW = """
import os, time
step = os.copy_file_range
def slow(*arguments, **options):
    time.sleep(0.2)
    return step(*arguments, **options)
os.copy_file_range = slow
"""


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_a_copy_that_is_called_off_leaves_nothing_and_says_how_far_it_was(terminal, slow, how):
    dense("a", 40)
    process = terminal.run("pollprog", "copy", "a", "b", environment=slow)
    wait_until(lambda: any(os.path.getsize(name) for name in os.listdir() if name not in ("a", "slow")))
    if how == "Ctrl-C":
        terminal.type("\x03")
    else:
        process.terminate()
    assert terminal.wait_end() == (-signal.SIGINT if how == "Ctrl-C" else 128 + signal.SIGTERM)
    assert sorted(os.listdir()) == ["a", "slow"]
    text = "".join(terminal.rows())
    assert re.search(r"pollprog: .*after [\d.]+ MiB of 40.0 MiB; what was copied has been removed", text)


def test_a_copy_has_a_bar_and_the_time_in_which_it_stood_still_does_not_count(terminal, slow):
    dense("a", 40)
    began = time.monotonic()
    process = terminal.run("sh", "-c", "exec pollprog copy --progress-fd 3 a b 3>lines", environment=slow)
    terminal.wait(lambda rows: "%" in rows[0])
    os.kill(process.pid, signal.SIGSTOP)
    stopped = time.monotonic()
    wait_until(lambda: time.monotonic() > stopped + 3)
    os.kill(process.pid, signal.SIGCONT)
    stood = time.monotonic() - stopped
    assert terminal.wait_end() == 0
    took = time.monotonic() - began
    assert not any(terminal.rows())
    with open("lines") as file:
        *_, last = (json.loads(line) for line in file)
    assert last["elapsed"] < took - stood / 2
    assert last["current"] == 40 << 20
