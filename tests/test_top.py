import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from children import PATIENCE, as_nobody, child, descriptors, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from terminals import POLLPROG, Terminal, pollprog, shell
from wcwidth import wcwidth

from pollprog import looks, top
from pollprog.process import Process
from pollprog.status import Bound, Sample, State, Status, Unit

SIZE = 1 << 33
SLOW = "import sys,time;f=open(sys.argv[1],'rb',buffering=0)\nwhile f.read(1<<20):time.sleep(.02)"
CHUNK = bytes(1 << 16)


@contextlib.contextmanager
def running(*words: str, **options) -> Iterator[subprocess.Popen]:
    """A command that is ended behind the test, in a process group of its own, as an interactive shell starts it."""
    popen = subprocess.Popen(
        words, **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "process_group": 0} | options
    )
    try:
        yield popen
    finally:
        if os.getpgid(popen.pid) == popen.pid:
            os.killpg(popen.pid, signal.SIGKILL)
        popen.kill()
        popen.wait()


def slow(file: Path) -> tuple[str, ...]:
    """The words of a command that reads this file, and takes its time."""
    return sys.executable, "-I", "-S", "-c", SLOW, str(file)


@pytest.fixture
def big(tmp_path) -> Path:
    path = tmp_path / "big"
    path.touch()
    os.truncate(path, SIZE)
    return path


@pytest.fixture
def fifo(tmp_path) -> Iterator[tuple[Path, int]]:
    """A named pipe, and a descriptor that keeps both of its ends open."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    yield path, end
    os.close(end)


@contextlib.contextmanager
def every(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    """Do this again and again meanwhile."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(seconds):
            with contextlib.suppress(BlockingIOError):
                act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.asynccontextmanager
async def looking() -> AsyncIterator[looks.Looks]:
    """A top that looks ten times a second."""
    async with trio.open_nursery() as nursery:
        seen = looks.Looks()
        nursery.start_soon(seen.sampler.run)

        async def update() -> None:
            while True:
                seen.update(0.1)
                await trio.sleep(0.05)

        nursery.start_soon(update)
        yield seen
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 # nobody tells us: this is the kernel's doing
            await trio.sleep(0.02)


def rows_of(seen: looks.Looks) -> dict[int, tuple[looks.Job, Status]]:
    return {job.found.pid: (job, status) for job, status in seen.rows()}


async def row_for(seen: looks.Looks, pid: int) -> tuple[looks.Job, Status]:
    """The row of this process, as soon as there is one."""
    await until(lambda: pid in rows_of(seen))
    return rows_of(seen)[pid]


def probed(seen: looks.Looks, pid: int, times: int) -> bool:
    """Whether the job of that process has been looked at so many times."""
    return any(job.found.pid == pid and job._channel.latest().seq >= times for job in seen._jobs.values())


# --- what is a job


async def test_a_script_is_one_row_with_what_its_child_reads(tmp_path, big):
    script = tmp_path / "script.sh"
    script.write_text(f"sleep 0\n{shlex.join(slow(big))}\ntrue\n")
    with running("sh", str(script)) as shell:
        async with looking() as seen:
            job, status = await row_for(seen, shell.pid)
            assert job.command == f"sh {script}"
            assert status.total == SIZE
            children = Process(shell.pid, keep=False).children()
            assert children
            assert not set(children) & rows_of(seen).keys()


@pytest.mark.tool("bash")
async def test_a_pipeline_of_a_shell_with_job_control_is_one_row_without_the_shell(tmp_path, big):
    line = f"set -m; {shlex.join(slow(big))} | cat | cat > '{tmp_path}/out' & echo $!; wait"
    with running("bash", "-c", line, stdout=subprocess.PIPE) as shell:
        last = int(shell.stdout.readline())
        head = os.getpgid(last)
        assert shell.pid != head != last
        try:
            async with looking() as seen:
                _, status = await row_for(seen, head)
                assert status.total == SIZE
                assert not {shell.pid, last} & rows_of(seen).keys()
        finally:
            os.killpg(head, signal.SIGKILL)
            shell.stdout.close()


async def test_commands_beside_us_without_job_control_are_a_row_each(big):
    script = f"{shlex.join(slow(big))}; true"
    with running(*slow(big), process_group=None) as one, child() as other:
        assert os.getpgid(one.pid) == os.getpgid(other.pid) == os.getpgrp()
        other.does(f"run = subprocess.Popen(['sh', '-c', {script!r}], stdout=subprocess.DEVNULL)")
        try:
            async with looking() as seen:
                await row_for(seen, one.pid)
                _, status = await row_for(seen, other.pid)
                assert status.total == SIZE
                assert os.getpid() not in rows_of(seen)
        finally:
            worker = int(other.does("answer = open(f'/proc/{run.pid}/task/{run.pid}/children').read().split()[0]"))
            os.kill(worker, signal.SIGKILL)
            other.does("run.wait()")


async def test_a_row_bears_the_name_of_what_the_process_has_become(big):
    line = f"import os,time;time.sleep(.3);os.execv(sys.executable,[{slow(big)!r}[0],*{slow(big)[1:]!r}])"
    with running(sys.executable, "-c", f"import sys;{line}") as changing:
        async with looking() as seen:
            await row_for(seen, changing.pid)
            words = " ".join((os.path.basename(sys.executable), *slow(big)[1:]))
            await until(lambda: rows_of(seen)[changing.pid][0].command.endswith(words))


# --- whose progress can be told


@pytest.mark.tool("cp")
async def test_cp_has_a_row_with_a_total(tmp_path, fifo):
    path, end = fifo
    full = tmp_path / "full"
    full.write_bytes(CHUNK * 1024)
    with running("cp", str(full), str(path)) as copying, every(0.02, lambda: os.read(end, 1 << 16)):
        async with looking() as seen:
            job, status = await row_for(seen, copying.pid)
            assert job.command == f"cp {full} {path}"
            assert status.total == len(CHUNK) * 1024
            await until(lambda: rows_of(seen)[copying.pid][1].rate)


@pytest.mark.tool("tar")
async def test_tar_has_a_row_with_the_size_of_the_folder_that_it_reads(tmp_path, fifo):
    path, end = fifo
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in "abcd":
        (folder / name).write_bytes(CHUNK * 256)
    with running("tar", "cf", str(path), str(folder)) as packing, every(0.02, lambda: os.read(end, 1 << 16)):
        async with looking() as seen:
            await row_for(seen, packing.pid)
            await until(lambda: (rows_of(seen)[packing.pid][1].total or 0) >= len(CHUNK) * 1024)


@pytest.mark.tool("busybox")
async def test_busybox_dd_has_a_row_with_a_total(big, fifo):
    path, end = fifo
    with running("busybox", "dd", f"if={big}", f"of={path}", "bs=64k", stderr=subprocess.DEVNULL) as copying:
        async with looking() as seen:
            with every(0.02, lambda: os.read(end, 1 << 16)):
                _, status = await row_for(seen, copying.pid)
            assert status.total == SIZE


@pytest.mark.tool("busybox")
async def test_what_only_writes_has_a_row_without_a_total(tmp_path, fifo):
    path, end = fifo
    with (
        running("sh", "-c", f"exec busybox cat '{path}' > '{tmp_path}/out'") as writing,
        every(0.01, lambda: os.write(end, CHUNK)),
    ):
        async with looking() as seen:
            _, status = await row_for(seen, writing.pid)
            assert status.total is None
            assert status.current > 0
            assert "output" in status.source
            bar = next(
                line for line in top.lines_of(seen, 120, unicode=False, colour=False) if f"{writing.pid} " in line
            )
            assert "%" not in bar
            assert "#" in bar


async def test_idle_chattering_and_logging_processes_have_no_row(tmp_path, big):
    log = f"f=open('{tmp_path}/log','ab',buffering=0)\nwhile True:f.write(b'a line of log\\n');time.sleep(.02)"
    chatter = "import os\nr,w=os.pipe()\nwhile True:os.write(w,bytes(60000));os.read(r,60000);time.sleep(.02)"
    sleep = f"f=open('{big}','rb+');time.sleep(1000)"
    with (
        running(sys.executable, "-c", f"import time;{log}") as logging,
        running(sys.executable, "-c", f"import time;{chatter}") as chattering,
        running(sys.executable, "-c", f"import time;{sleep}") as idle,
        running(*slow(big)) as working,
    ):
        async with looking() as seen:
            await row_for(seen, working.pid)
            await until(lambda: probed(seen, logging.pid, 5) and probed(seen, chattering.pid, 5))
            assert not {logging.pid, chattering.pid, idle.pid} & rows_of(seen).keys()


async def test_a_row_goes_when_its_work_has_stood_for_long(big, monkeypatch):
    monkeypatch.setattr(looks, "LINGER", 0.5)
    with running(*slow(big)) as working:
        async with looking() as seen:
            await row_for(seen, working.pid)
            os.kill(working.pid, signal.SIGSTOP)
            await until(lambda: working.pid not in rows_of(seen))
            await until(lambda: all(job.found.pid != working.pid for job in seen._jobs.values()))
            os.kill(working.pid, signal.SIGCONT)
            await row_for(seen, working.pid)


async def test_a_row_goes_with_its_process_and_gives_back_every_descriptor(big):
    before = descriptors()
    async with looking() as seen:
        with running(*slow(big)) as working:
            await row_for(seen, working.pid)
        await until(lambda: working.pid not in rows_of(seen))
    await until(lambda: descriptors() <= before)


async def test_no_more_jobs_are_probed_than_there_are_descriptors_for(big, monkeypatch):
    monkeypatch.setattr(looks, "MOST_JOBS", 1)
    with running(*slow(big)) as one, running(*slow(big)) as other:
        async with looking() as seen:
            await until(lambda: {one.pid, other.pid} <= {found.pid for found in seen._found.values()})
            await until(lambda: len(seen._jobs) == 1)
            assert len(seen.rows()) <= 1


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        (Sample(1, 100), Sample(2, 100), True),
        (Sample(1, 100), Sample(1, 100, activity=1), False),
        (Sample(100, 100), Sample(120, 120), False),
        (Sample(1, 1 << 30, bound=Bound.ESTIMATE), Sample(1 << 15, 1 << 30, bound=Bound.ESTIMATE), False),
        (Sample(1, 1 << 30, bound=Bound.ESTIMATE), Sample(1 << 17, 1 << 30, bound=Bound.ESTIMATE), True),
        (Sample(1), Sample(1 << 15), False),
        (Sample(1), Sample(1 << 17), True),
        (Sample(1), Sample(1 << 17, source="evidence:wchar"), False),
        (Sample(1, source="evidence:wchar"), Sample(1 << 17, source="evidence:wchar"), False),
        (Sample(1, unit=Unit.ITEMS), Sample(2, unit=Unit.ITEMS), True),
        (Sample(1, 100, phase="one"), Sample(2, 100, phase="two"), False),
    ],
)
async def test_only_what_grows_beyond_doubt_has_a_row(first, second, shown):
    async with looking() as seen:
        job = looks.Job(looks.Found(os.getpid(), 0, "me", []), seen.sampler, 1000.0)
        job._take(first)
        assert job.row() is None
        job._take(second)
        assert (job.row() is not None) is shown


# --- the table


async def test_a_table_that_is_too_long_says_how_many_rows_are_missing(monkeypatch):
    async with looking() as seen:
        monkeypatch.setattr(seen, "rows", lambda: [row("cp", pid) for pid in range(1, 9)])
        monkeypatch.setattr(seen, "notes", lambda rows: ["a note"])
        lines = [line.split()[0] for line in top.lines_of(seen, 100, 7, unicode=True, colour=False)]
        assert lines == ["PID", "1", "2", "3", "4", "+4", "a"]
        lines = top.lines_of(seen, 100, 20, unicode=True, colour=False)
        assert not any("more" in line for line in lines)


def status_of(**fields) -> Status:
    given = {
        "job": "j", "seq": 1, "state": State.RUNNING, "current": 5 << 20, "total": 10 << 20, "unit": Unit.BYTES, "phase": "",
        "fraction": 0.5, "rate": 1e6, "remaining": 5.0, "low": 4.0, "high": 6.0, "elapsed": 5.0, "age": 0.0, "idle": 0.0,
        "moving": True, "stalled": False, "finishing": False, "source": "evidence:input-position", "bound": Bound.EXACT,
    }  # fmt: skip
    return Status(**given | fields)


def row(command: str, pid: int = 7, **fields) -> tuple:
    return SimpleNamespace(pid=pid, command=command, pulse=0), status_of(**fields)


def test_a_wide_table_says_everything():
    head, line = top.table([row("cp a b", 4711)], room=119, unicode=True, colour=False)
    assert head.split() == ["PID", "COMMAND", "PROGRESS", "DONE", "RATE", "LEFT"]
    assert re.fullmatch(r" *4711  cp a b +\[█+▌? *\] +50%  5\.0 of 10\.0 MiB  977 KiB/s  about 5 s", line)


def test_a_narrow_table_says_what_matters_most():
    head, line = top.table([row("/usr/bin/cp a /b", 4711)], room=39, unicode=True, colour=False)
    assert head.split() == ["PID", "COMMAND", "LEFT"]
    assert re.fullmatch(r"4711  cp a /b +50%  5s", line)


def test_a_stalled_row_says_so_in_colour_and_in_words():
    _, plain = top.table([row("cp", stalled=True, idle=30.0)], room=119, unicode=True, colour=False)
    _, yellow = top.table([row("cp", stalled=True, idle=30.0)], room=119, unicode=True, colour=True)
    assert "stalled 30 s" in plain
    assert "\x1b" not in plain
    assert "\x1b[33m" in yellow


@settings(deadline=None, max_examples=50)
@given(st.text(), st.integers(20, 200), st.booleans())
def test_no_line_is_wider_than_its_room_or_moves_the_cursor_whatever_a_command_is_called(command, room, unicode):
    lines = top.table(
        [row(command), row("cp a b", total=None, fraction=None)], room=room, unicode=unicode, colour=False
    )
    assert len(lines) == 3
    for line in lines:
        assert line.isprintable()
        assert sum(max(0, wcwidth(char)) for char in line) <= room
        assert unicode or line.isascii()


# --- the command


def test_json_says_for_each_job_what_run_says_and_who_it_is(big):
    said = {}

    def found() -> bool:
        done = pollprog("top", "--json")
        assert done.returncode == 0, done.stderr
        said.update({line["pid"]: line for line in map(json.loads, done.stdout.splitlines())})
        return working.pid in said

    with running("cp\x1b]0;mine\x07\n[red]\udcff", *slow(big)[1:], executable=sys.executable) as working:
        wait_until(found)
    line = said[working.pid]
    assert list(line) == [
        "v", "job", "seq", "state", "current", "total", "unit", "phase", "fraction", "rate", "remaining", "low", "high",
        "elapsed", "age", "moving", "stalled", "finishing", "source", "bound", "pid", "command",
    ]  # fmt: skip
    assert (line["v"], line["state"], line["total"]) == (1, "running", SIZE)
    assert 0 < line["current"] < SIZE
    assert line["elapsed"] > 0
    assert line["command"].startswith("cp]0;mine [red]? -I -S -c import sys")


def test_the_table_and_json_name_the_same_process_of_a_job(tmp_path, big):
    script = tmp_path / "script.sh"
    script.write_text(f"{shlex.join(slow(big))}\ntrue\n")

    def named() -> tuple[set[int], set[int]]:
        said = [json.loads(line) for line in pollprog("top", "--json").stdout.splitlines()]
        rows = [line.split() for line in pollprog("top").stdout.splitlines()]
        return {line["pid"] for line in said}, {int(row[0]) for row in rows if row[0].isdigit()}

    with running("sh", str(script)) as shell:
        wait_until(lambda: all(shell.pid in pids for pids in named()))
        (worker,) = Process(shell.pid, keep=False).children()
        assert all(worker not in pids for pids in named())


def test_without_a_terminal_the_table_is_printed_once_as_plain_text(big):
    def found() -> bool:
        done = pollprog("top")
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        return any(line.split()[:1] == [str(working.pid)] for line in done.stdout.splitlines())

    with running(*slow(big)) as working:
        wait_until(found)


@pytest.mark.parametrize("words", ["top", "top --json"])
def test_a_table_that_finds_no_room_is_told_in_one_line(words, big):
    def told() -> bool:
        full, closed = (shell(f"pollprog {words} >{where}") for where in ("/dev/full", "&-"))
        assert "fault" not in full.stderr + closed.stderr
        return "cannot write to standard output: No space left on device" in full.stderr and (
            "cannot write to standard output: Bad file descriptor" in closed.stderr
        )

    with running(*slow(big)):
        wait_until(told)


async def test_who_has_nothing_to_see_is_told_so_and_what_is_hidden(big, capfd):
    with running(*slow(big)) as working, as_nobody():
        async with looking() as seen:
            await until(lambda: seen._hidden)
            assert working.pid not in {found.pid for found in seen._found.values()}
            nothing, hidden = seen.notes([])
            assert nothing == "nothing whose progress can be told"
            assert re.fullmatch(r"[1-9]\d* processes of other users are hidden; root sees them", hidden)
            assert top.lines_of(seen, 100, unicode=True, colour=False)[-1] == hidden
            assert len(top.lines_of(seen, 30, unicode=True, colour=False)[-1]) < 30
            top.print_json(seen)
    assert f"pollprog: {hidden}" in capfd.readouterr().err.splitlines()


def test_if_the_processes_cannot_be_found_it_says_so():
    broken = (
        "import sys,psutil;psutil.pids=lambda:1/0\nfrom pollprog import top\nsys.exit(top.main(once=True,interval=1))"
    )
    done = subprocess.run([sys.executable, "-c", broken], capture_output=True, timeout=60)
    assert done.returncode == 125
    assert done.stderr.startswith(b"pollprog: the probe Looks is dropped: ZeroDivisionError")


# --- on a terminal


def shows(terminal: Terminal, pid: int) -> bool:
    """Whether there is a row with a percentage for that process."""
    return any(line.split()[:1] == [str(pid)] and "%" in line for line in terminal.rows())


@contextlib.contextmanager
def window() -> Iterator[Terminal]:
    terminal = Terminal(24, 100)
    try:
        yield terminal
    finally:
        terminal.close()


TOP = (POLLPROG, "top", "--interval", "0.2")


def test_on_a_terminal_it_is_refreshed_until_ctrl_c_and_nothing_is_left_behind(big):
    with running(*slow(big)) as working, window() as terminal:
        terminal.run(*TOP)
        wait_until(lambda: shows(terminal, working.pid))
        first = terminal.rows()
        wait_until(lambda: shows(terminal, working.pid) and terminal.rows() != first)
        terminal.type("\x03")
        assert terminal.wait_end() == -signal.SIGINT
        assert "\n".join(terminal.rows()).replace("^C", "").strip() == ""


def test_on_a_terminal_the_table_follows_the_width_of_the_window_until_it_is_terminated(big):
    with running(*slow(big)) as working, window() as terminal:
        viewing = terminal.run(*TOP)
        wait_until(lambda: shows(terminal, working.pid))
        assert "RATE" in "".join(terminal.rows())
        terminal.resize(24, 50)
        wait_until(lambda: shows(terminal, working.pid) and "RATE" not in "".join(terminal.rows()))
        terminal.resize(24, 120)
        wait_until(lambda: shows(terminal, working.pid) and "RATE" in "".join(terminal.rows()))
        viewing.terminate()
        assert terminal.wait_end() == 143
        assert "".join(terminal.rows()) == ""


@pytest.mark.tool("bash")
def test_a_shell_gets_its_terminal_back_at_ctrl_z_and_the_view_returns_with_fg(big):
    words = shlex.join(slow(big))
    with window() as terminal:
        shell = terminal.bash()
        terminal.type(f"{words} & echo $'\\n'job $!.\n")
        told = terminal.wait(lambda rows: [row for row in rows if re.fullmatch(r"job \d+\.", row)])
        working = int(next(row for row in told if row.startswith("job "))[4:-1])
        terminal.type(f"clear; {' '.join(TOP)}\n")
        wait_until(lambda: shows(terminal, working))
        assert not shows(terminal, shell.pid)
        terminal.type("\x1a")
        terminal.wait(lambda rows: any("Stopped" in row for row in rows))
        assert not shows(terminal, working)
        terminal.type("clear; fg\n")
        wait_until(lambda: shows(terminal, working))
        terminal.type("\x03")
        wait_until(lambda: not shows(terminal, working))
        terminal.type("echo ended with $?\n")
        terminal.wait(lambda rows: "ended with 130" in rows)


@pytest.mark.parametrize("key", ["q", "Q"])
def test_q_quits_and_what_is_typed_is_not_shown(key, big):
    with running(*slow(big)) as working, window() as terminal:
        before = terminal.settings()
        terminal.run(*TOP)
        wait_until(lambda: shows(terminal, working.pid))
        assert terminal.settings() != before
        terminal.type("abc\n")
        shown = len(terminal.seen)
        wait_until(lambda: shows(terminal, working.pid) and len(terminal.seen) > shown)
        assert not any("abc" in row for row in terminal.rows())
        terminal.type(key)
        assert terminal.wait_end() == 0
        assert terminal.settings() == before
        assert "".join(terminal.rows()) == ""


@pytest.mark.parametrize("leave", ["\x03", "\x1c"], ids=["Ctrl-C", "Ctrl-Backslash"])
def test_the_keyboard_is_given_back_whatever_ends_the_view(leave):
    with window() as terminal:
        before = terminal.settings()
        terminal.run(*TOP)
        wait_until(lambda: terminal.settings() != before)
        terminal.type(leave)
        terminal.wait_end()
        assert terminal.settings() == before


def test_a_keyboard_is_left_alone_whose_table_goes_elsewhere(big):
    with window() as terminal:
        before = terminal.settings()
        viewing = terminal.run(*TOP, stdout=subprocess.DEVNULL)
        while viewing.poll() is None:
            assert terminal.settings() == before


@pytest.mark.tool("bash")
def test_the_keyboard_is_the_shells_at_ctrl_z_and_in_the_background_and_ours_with_fg():
    with window() as terminal:
        terminal.bash()
        terminal.type(f"clear; {' '.join(TOP)}\n")
        wait_until(lambda: shows_table(terminal))
        terminal.type("\x1a")
        terminal.wait(lambda rows: any("Stopped" in row for row in rows))
        terminal.type("clear; bg; stty -a | tr ' ;' '\\n\\n' | grep -x -e icanon -e echo; echo q$((6 * 7))\n")
        rows = terminal.wait(lambda rows: "q42" in rows)
        assert {"icanon", "echo"} <= set(rows)
        terminal.type("clear; fg\n")
        wait_until(lambda: shows_table(terminal))
        wait_until(lambda: not terminal.settings()[3] & (termios.ICANON | termios.ECHO))
        terminal.type("q")
        wait_until(lambda: is_prompt(terminal))
        terminal.type("clear; echo status $?\n")
        terminal.wait(lambda rows: "status 0" in rows)


def shows_table(terminal: Terminal) -> bool:
    """Whether there is a table, or a line that says that there is nothing to put into one."""
    return any("COMMAND" in row or "nothing whose progress" in row for row in terminal.rows())


def is_prompt(terminal: Terminal) -> bool:
    """Whether the shell waits for a line."""
    return [row for row in terminal.rows() if row][-1:] == ["$"]
