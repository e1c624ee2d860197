"""pollprog as a script runs it: exit statuses, streams, lines of JSON, and whatever may go wrong on the way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from terminals import ENVIRONMENT, PATIENCE, POLLPROG, pollprog, shell, started

from pollprog import cli

STATUS = {
    "v": int, "job": str, "seq": int, "state": str, "current": int, "total": int, "unit": str, "phase": str, "fraction": float,
    "rate": float, "remaining": float, "low": float, "high": float, "elapsed": float, "age": float, "moving": bool,
    "stalled": bool, "finishing": bool, "source": str, "bound": str,
}  # fmt: skip
LAST = {
    "v": int, "job": str, "seq": int, "state": str, "exit": int, "signal": int, "current": int, "total": int, "unit": str,
    "phase": str, "fraction": float, "elapsed": float, "bound": str,
}  # fmt: skip
NULLABLE = {"current", "total", "fraction", "rate", "remaining", "low", "high", "exit", "signal", "bound"}


def check_shape(line: dict[str, object], shape: dict[str, type]) -> None:
    assert list(line) == list(shape)
    for key, value in line.items():
        if value is None:
            assert key in NULLABLE, key
        elif shape[key] is float:
            assert isinstance(value, (int, float)), key
        else:
            assert type(value) is shape[key], key


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


# --- exit statuses


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
@pytest.mark.parametrize("wait", ["", "sleep 0.3; "], ids=["at once", "after a while"])
def test_the_exit_status_is_the_commands(script, status, wait):
    done = pollprog("run", "--", "sh", "-c", wait + script)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("run nosuchcommand", 127, "nosuchcommand: command not found"),
        ("run ./nothing", 127, "./nothing: no such file or directory"),
        ("run /etc/passwd", 126, "permission denied; if it is a program, chmod +x it"),
        ("run /etc", 126, "/etc: is a directory"),
        ("run", 2, "no command to run; as in: pollprog run -- cp big.img /mnt/backup/"),
        ("run --probe nosuch true", 2, "there is no probe 'nosuch'; there are: 7z, apt, "),
        ("run --tot 4G true", 2, "--tot"),
        ("run --total lots true", 2, "'lots' is not a size; say it like 4G"),
        ("run --total 0 true", 2, "'0' is not a size"),
        ("run --total -5 true", 2, "'-5' is not a size"),
        ("run --total @nowhere true", 2, "'nowhere': no such file"),
        ("run --progress-fd 7 true", 2, "'7' is not a descriptor open for writing"),
        ("attach 0", 2, "'0' is not a process id"),
        ("attach x", 2, "'x' is not a process id"),
        ("attach 4194305", 1, "there is no process 4194305"),
        ("attach --probe nosuch 1", 2, "there is no probe 'nosuch'"),
        ("probes nosuch", 2, "there is no probe 'nosuch'"),
        ("copy nothing x", 1, "nothing"),
        ("frobnicate", 2, "invalid choice"),
        ("", 2, "COMMAND"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(words, status, reason, tmp_path):
    done = pollprog(*words.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert re.fullmatch(r"pollprog: [^\n]+\n", done.stderr)
    assert reason in done.stderr
    assert os.listdir(tmp_path) == []


def test_what_is_typed_does_not_reach_the_terminal_as_it_is():
    done = pollprog("run", "\x1b[2Jno\nsuch\udcff")
    assert done.stderr == "pollprog: [2Jno such?: command not found\n"


@pytest.mark.parametrize("closed", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_without_streams_there_is_nothing_to_say_and_the_status_is_right(closed):
    assert shell(f"pollprog run -- nosuchcommand {closed}").returncode == 127
    done = shell(f"exec 9>&1 {closed}; pollprog run -- sh -c 'sleep 0.3; echo words >&9; exit 7'; exit $?")
    assert (done.returncode, done.stdout) == (7, "words\n")


# --- streams


def test_a_short_command_is_as_if_nobody_was_there():
    done = pollprog("run", "--", "sh", "-c", "cat; echo error >&2; sleep 0.2", stdin=None, input="words")
    assert (done.stdout, done.stderr) == ("words", "error\n")


def test_questions_can_be_answered():
    with started(
        "run", "--", "sh", "-c", "printf 'name? '; read name; echo hello $name", stdin=subprocess.PIPE
    ) as process:
        assert process.stdout.read(6) == "name? "
        process.stdin.write("you\n")
        process.stdin.flush()
        assert process.stdout.read() == "hello you\n"
        assert process.wait(PATIENCE) == 0


def test_in_a_pipeline_every_byte_passes(tmp_path):
    (tmp_path / "data").write_bytes(os.urandom(3_000_000))
    text = (
        "pollprog run -- cat data | pollprog run -- sh -c 'sleep 0.3; cat' | pollprog run --total @data -- cat > copy"
    )
    assert shell(text, cwd=tmp_path).returncode == 0
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "data").read_bytes()


def test_a_log_is_a_few_lines_on_standard_error():
    done = pollprog("run", "--", "sh", "-c", "echo words; sleep 1.3; exit 3")
    assert done.stdout == "words\n"
    first, last = done.stderr.splitlines()
    assert re.fullmatch(r"sh: .*elapsed", first)
    assert re.fullmatch(r"sh: failed with exit status 3 after 1\.\d s.*", last)


def test_a_log_is_not_wanted():
    done = pollprog("run", "--progress", "none", "--", "sleep", "1.2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_total_that_was_too_small_is_told_once_and_dropped(tmp_path):
    grow = "head -c 3000000 /dev/zero > out; sleep 1.6; exit 4"
    done = shell(f"pollprog run --total 1000 --progress-fd 3 -- sh -c '{grow}' 3>lines", cwd=tmp_path)
    assert done.returncode == 4
    assert [line for line in done.stderr.splitlines() if "total" in line] == [
        "pollprog: more is done than --total says (1000): it is not believed any more"
    ]
    assert "%" not in done.stderr
    assert {line["total"] for line in lines((tmp_path / "lines").read_text())} == {None}


@pytest.mark.tool("dd")
def test_what_a_tool_heard_passes_on_as_if_it_had_not(tmp_path):
    (tmp_path / "input").write_bytes(bytes(3_000_000))
    for words in (
        "if=input of=output bs=1M",
        "if=nothing of=output",
        "if=input of=output bs=1M status=none",
        "if=input of=/dev/full",
    ):
        done = [shell(f"{before} dd {words} 2>errors", cwd=tmp_path).returncode for before in ("exec", "pollprog run")]
        plain = shell(f"dd {words}", cwd=tmp_path)
        assert done == [plain.returncode] * 2
        assert without_times((tmp_path / "errors").read_text()) == without_times(plain.stderr)


def without_times(text: str) -> str:
    return re.sub(r"copied, .*", "copied", text)


# --- lines of JSON


def test_statuses_and_outcome_have_the_shape_that_was_promised(tmp_path):
    text = "head -c 3000000 /dev/zero > out; sleep 2.2; exit 3"
    done = shell(
        f"pollprog run --total 16M --progress log --progress-fd 3 -- sh -c '{text}' 3>lines 2>/dev/null", cwd=tmp_path
    )
    assert done.returncode == 3
    *statuses, last = lines((tmp_path / "lines").read_text())
    assert statuses
    for line in statuses:
        check_shape(line, STATUS)
        assert line["state"] == "running"
        assert line["elapsed"] >= 1
    check_shape(last, LAST)
    assert (last["state"], last["exit"], last["signal"], last["total"]) == ("failed", 3, None, 16 << 20)
    assert len({line["job"] for line in (*statuses, last)}) == 1
    assert [line["seq"] for line in (*statuses, last)] == sorted({line["seq"] for line in (*statuses, last)})


@pytest.mark.parametrize(
    ("script", "state", "code", "number"),
    [
        ("exit 0", "succeeded", 0, None),
        ("exit 3", "failed", 3, None),
        ("sleep 0.4; exit 0", "succeeded", 0, None),
        ("sleep 0.4; kill -9 $$", "failed", None, 9),
    ],
)
def test_work_that_is_over_within_a_second_has_one_line(script, state, code, number, tmp_path):
    shell('pollprog run --progress-fd 3 -- sh -c "$1" 3>lines', script, cwd=tmp_path)
    (line,) = lines((tmp_path / "lines").read_text())
    check_shape(line, LAST)
    assert (line["state"], line["exit"], line["signal"]) == (state, code, number)


def test_the_descriptor_for_progress_is_not_the_commands(tmp_path):
    done = shell("pollprog run --progress-fd 3 -- sh -c 'ls -l /proc/$$/fd' 3>lines", cwd=tmp_path)
    assert "lines" not in done.stdout
    done = shell("pollprog run --progress-fd 1 -- sh -c 'echo words'")
    assert done.stdout.startswith('words\n{"v":1,')


@pytest.mark.parametrize("wait", ["", "sleep 0.4; "], ids=["at once", "after a while"])
def test_a_full_disk_harms_no_command(wait):
    done = shell(f"pollprog run --progress-fd 3 -- sh -c '{wait}exit 7' 3>/dev/full")
    assert (done.returncode, done.stderr) == (7, "")


@pytest.mark.parametrize("wait", ["", "sleep 0.4; "], ids=["at once", "after a while"])
def test_a_reader_that_goes_away_harms_no_command(wait):
    reader, writer = os.pipe()
    os.close(reader)
    done = pollprog("run", "--progress-fd", str(writer), "--", "sh", "-c", f"{wait}exit 7", pass_fds=[writer])
    os.close(writer)
    assert (done.returncode, done.stderr) == (7, "")


def test_how_it_ended_is_said_in_the_log_though_nobody_knew_how_far_it_was():
    done = pollprog("run", "--probe", "make", "--progress", "log", "--", "sh", "-c", "sleep 1.2; exit 7")
    assert done.returncode == 7
    assert re.fullmatch(r"sh: failed with exit status 7 after 1\.\d s\n", done.stderr)


def test_a_reader_that_never_reads_harms_no_command_and_a_slow_one_gets_the_last_line():
    reader, writer = os.pipe()
    size = fill(writer)
    words = ["run", "--progress-fd", str(writer), "--progress", "none", "--interval", "0.1"]
    done = pollprog(*words, "--", "sh", "-c", "sleep 1.2; exit 7", pass_fds=[writer])
    assert (done.returncode, done.stderr) == (7, "")
    with started(*words, "--", "sh", "-c", "sleep 0.3; echo over; exit 8", pass_fds=[writer]) as process:
        os.close(writer)
        assert process.stdout.readline() == "over\n"
        with open(reader, "rb") as file:
            rest = file.read()[size:]
        assert process.wait(PATIENCE) == 8
    (line,) = lines(rest.decode())
    assert line["exit"] == 8


def fill(descriptor: int) -> int:
    """Write until nothing more is taken; how much that was."""
    size = 0
    os.set_blocking(descriptor, False)
    try:
        while True:
            size += os.write(descriptor, b"." * 4096)
    except BlockingIOError:
        return size
    finally:
        os.set_blocking(descriptor, True)


# --- what goes wrong with ourselves


@pytest.fixture
def broken(tmp_path):
    """An environment in which trio cannot be imported."""
    folder = tmp_path / "broken" / "trio"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('broken on purpose')\n")
    return {**ENVIRONMENT, "PYTHONPATH": str(folder.parent)}


def test_a_fault_of_our_own_is_one_line_and_the_command_goes_on(broken):
    done = pollprog("run", "--", "sh", "-c", "sleep 1; echo words; exit 7", env=broken)
    assert (done.returncode, done.stdout) == (7, "words\n")
    fault = "RuntimeError: broken on purpose"
    assert done.stderr == f"pollprog: a fault of pollprog's own; the command goes on, without progress: {fault}\n"


def test_after_a_fault_of_our_own_there_still_is_a_last_line(broken, tmp_path):
    shell("pollprog run --progress-fd 3 -- sh -c 'sleep 1; exit 7' 3>lines 2>/dev/null", env=broken, cwd=tmp_path)
    (line,) = lines((tmp_path / "lines").read_text())
    assert line["exit"] == 7


def test_a_fault_of_our_own_can_be_looked_for(broken):
    done = pollprog("run", "sleep", "1", env={**broken, "POLLPROG_DEBUG": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_after_a_fault_of_our_own_signals_are_passed_on(broken):
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    with started("run", "--", "sh", "-c", script, env=broken) as process:
        assert "fault" in process.stderr.readline()
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 5


@pytest.mark.tool("dd")
def test_after_a_fault_of_our_own_what_a_tool_claimed_passes_on(broken, tmp_path):
    (tmp_path / "slow").write_text("#!/bin/sh\nsleep 1\nexec dd if=/dev/zero of=out bs=1k count=2\n")
    (tmp_path / "slow").chmod(0o755)
    done = pollprog("run", "--probe", "dd", "./slow", env=broken, cwd=tmp_path)
    assert done.returncode == 0
    assert "fault of pollprog's own" in done.stderr
    assert "2+0 records out" in done.stderr


def test_attach_without_its_parts_is_one_line_too(broken):
    done = pollprog("attach", str(os.getpid()), env=broken)
    assert (done.returncode, done.stderr) == (
        125,
        "pollprog: a fault of pollprog's own: RuntimeError: broken on purpose\n",
    )
    assert pollprog("attach", str(os.getpid()), env={**broken, "POLLPROG_DEBUG": "1"}).returncode == 1


@pytest.mark.parametrize("limit", [6, 8, 10, 14, 20])
def test_with_few_descriptors_the_command_runs_all_the_same(limit):
    done = shell(f"ulimit -n {limit}; exec pollprog run -- sh -c 'sleep 0.3; echo words; exit 7'")
    assert (done.returncode, done.stdout) == (7, "words\n")
    assert len(done.stderr.splitlines()) <= 1


def test_a_plugin_that_cannot_be_loaded_is_left_out(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("from pollprog import tools\ntools.TOOLS['true'] = 'pollprog.nothing'\n")
    done = pollprog("run", "true", env={**ENVIRONMENT, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0
    assert re.fullmatch(
        r"pollprog: a fault of the plugin for true, which is left out: ModuleNotFoundError: .*\n", done.stderr
    )
    debug = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path), "POLLPROG_DEBUG": "1"}
    assert "Traceback" in pollprog("run", "true", env=debug).stderr


def test_a_reader_of_our_own_words_may_go_away():
    done = subprocess.run(
        ["sh", "-c", f"{{ {POLLPROG} completion bash; echo $? >&2; }} | :"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.stderr in ("141\n", "0\n")


def test_ctrl_c_before_anything_has_begun_ends_us_without_a_word():
    code = "import os, signal, sys; from pollprog import cli; cli.parse = lambda _: os.kill(os.getpid(), 2); sys.exit(cli.main([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


# --- the others


def test_every_probe_has_a_line_and_a_page(capfd):
    done = pollprog("probes")
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == sorted(names)
    assert {"dd", "evidence", "filesize"} <= set(names)
    assert len(pollprog("probes", names[0]).stdout) > 100
    for name in names:
        assert cli.main(["probes", name]) == 0
        page = capfd.readouterr().out
        assert len(page) > 100, name
        assert len(page.splitlines()) > 1, name


# --- cost


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["run", "true"],
        ["run", "nosuchcommand"],
        ["run", "dd", "if=/dev/null", "status=none"],
        ["run", "--progress", "none", "sleep", "0.2"],
    ],
)
def test_nothing_heavy_is_imported_for_a_short_command(words):
    code = "import sys, pollprog.cli as cli\ntry: cli.main(sys.argv[1:])\nexcept SystemExit: pass\nprint(*sys.modules, sep='\\n', file=sys.__stdout__)"
    done = subprocess.run(
        [sys.executable, "-ISc", f"import sys; sys.path[:0] = {sys.path!r}\n{code}", *words],
        capture_output=True,
        text=True,
    )
    loaded = set(done.stdout.split())
    assert "pollprog.cli" in loaded
    heavy = {
        "trio",
        "psutil",
        "rich",
        "msgspec",
        "dataclasses",
        "typing",
        "inspect",
        "subprocess",
        "threading",
        "logging",
        "wcwidth",
        "shtab",
        "shutil",
        "lzma",
    }
    heavy |= {"pollprog.foreground", "pollprog.runner", "pollprog.terminal", "importlib.metadata", "ctypes"}
    if "nosuchcommand" in words:  # what is wrong is told in clean words
        heavy -= {"dataclasses", "inspect", "typing"}
    assert loaded & heavy == set()
