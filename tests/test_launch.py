"""A command under pollprog is what it would be without: each difference that there could be is looked for in /proc."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from terminals import ENVIRONMENT, POLLPROG, kill_session, pollprog, shell

from pollprog import launch as launching
from pollprog.errors import CommandNotExecutable, CommandNotFound
from pollprog.launch import Command, Launched, claimable, launch, resolve

GIVEN = re.compile(r"Uid|Gid|Groups|NoNewPrivs|Cap\w+|Seccomp|Umask|Sig(Blk|Ign|Cgt)|\w+_allowed")
"""What /proc/PID/status says of what a process was given, and did not make of itself."""


def script(path: Path, text: str, mode: int = 0o755) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def portrait(pid: int, leader: int) -> dict[str, Any]:
    """Everything that a process was given at its start."""
    proc = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    found: dict[str, Any] = {name: value for name, value in status.items() if GIVEN.fullmatch(name)}
    # posix_spawn of glibc ignores signals 32 and 33, which are its own: no program can use them, or see the difference.
    found["SigIgn"] = int(status["SigIgn"], 16) & ~(0b11 << 31)
    for name in ("environ", "limits", "cmdline", "oom_score_adj", "timerslack_ns", "personality", "cgroup"):
        found[name] = (proc / name).read_bytes()
    for name in ("cwd", "root", "exe", "ns/mnt", "ns/pid"):
        found[name] = os.readlink(proc / name)
    found["group and session"] = [int(number) - leader for number in fields[2:4]]
    found["terminal, nice and scheduling"] = fields[4], fields[16], fields[37:39]
    for number in os.listdir(proc / "fd"):
        told = (proc / "fdinfo" / number).read_text()
        found[f"descriptor {number}"] = os.readlink(proc / "fd" / number), told.split("flags:")[1].split()[0]
    return found


def compare(folder: Path, before: str, *, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Start a command as a script does, without and with pollprog, and compare what it was given; that, if it is the same."""
    portraits = []
    for wrapper in ([], [POLLPROG, "run", "--progress", "none", "--"]):
        shell = subprocess.Popen(
            ["sh", "-c", f'{before}\nexec "$@"', "sh", *wrapper, "sleep", "600"],
            cwd=folder,
            env=environment or ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            portraits.append(portrait(wait_for_sleep(shell.pid), shell.pid))
        finally:
            kill_session(shell.pid)
            shell.wait()
    without, under = portraits
    assert under == without
    return under


def wait_for_sleep(pid: int) -> int:
    """The pid of the sleep that this process has become or started."""
    found: list[int] = []

    def look() -> bool:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for candidate in (pid, *map(int, children)):
            with contextlib.suppress(OSError):
                if " (sleep) S " in Path(f"/proc/{candidate}/stat").read_text():  # and no longer in the loader
                    found.append(candidate)
        return bool(found)

    wait_until(look)
    return found[0]


# --- the same as without


def test_a_command_is_given_what_a_plain_start_gives(tmp_path):
    given = compare(tmp_path, "")
    assert given["group and session"] == [0, 0]
    assert given["cmdline"] == b"sleep\x00600\x00"


def test_every_inherited_descriptor_is_there_and_none_of_ours(tmp_path):
    given = compare(tmp_path, "exec 3>file 5</dev/null 7>&1 9<>file 2>>log")
    assert {name for name in given if name.startswith("desc")} == {
        f"descriptor {number}" for number in (0, 1, 2, 3, 5, 7, 9)
    }


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_stream_that_is_closed_stays_closed(closed, tmp_path):
    given = compare(tmp_path, f"exec {closed}")
    assert len([name for name in given if name.startswith("desc")]) == 3 - closed.count("&-")


def test_folder_umask_limits_and_nice_value_are_inherited(tmp_path):
    given = compare(tmp_path, "mkdir -p sub; cd sub; umask 027; ulimit -n 321; ulimit -c 0; renice -n 5 $$ >/dev/null")
    assert given["cwd"] == str(tmp_path / "sub")
    assert given["Umask"] == "\t0027"
    assert b"321 " in given["limits"]


def after(code: str) -> str:
    """What makes the script start the command through a process that does this first."""
    code = f"import os,signal,sys; [signal.signal(n, signal.SIG_DFL) for n in (13, 25)]; {code}; os.execvp(*sys.argv[1:2], sys.argv[1:])"
    return f"set -- {sys.executable} -ISc '{code}' \"$@\""


def test_ignored_signals_stay_ignored(tmp_path):
    numbers = [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTSTP, signal.SIGCHLD, 40]
    given = compare(tmp_path, after(f"[signal.signal(n, signal.SIG_IGN) for n in {[*map(int, numbers)]}]"))
    assert given["SigIgn"] == sum(1 << number - 1 for number in numbers)


def test_blocked_signals_stay_blocked(tmp_path):
    given = compare(tmp_path, after("signal.pthread_sigmask(signal.SIG_BLOCK, [10, 15, 40])"))
    assert int(given["SigBlk"], 16) == 1 << 9 | 1 << 14 | 1 << 39


def test_the_interpreter_gives_sigpipe_and_sigxfsz_back(tmp_path):
    assert compare(tmp_path, "")["SigIgn"] == 0


@pytest.mark.parametrize(
    "locale",
    [{}, {"LC_ALL": "C"}, {"LANG": "C", "LC_CTYPE": "POSIX"}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "warn"}],
    ids=["none", "C", "POSIX", "told to warn"],
)
def test_the_environment_is_the_users_and_not_what_the_interpreter_made_of_it(locale, tmp_path):
    plain = {"PATH": ENVIRONMENT["PATH"], "A B": "c", "BASH_FUNC_f%%": "() { :; }", "EMPTY": "", "RAW": "\udcff\n=x"}
    environment = plain | locale
    process = subprocess.Popen(
        [POLLPROG, "run", "--progress", "none", "--", "sleep", "600"], env=environment, start_new_session=True
    )
    try:
        given = Path(f"/proc/{wait_for_sleep(process.pid)}/environ").read_bytes()
        assert given == Path(f"/proc/{process.pid}/environ").read_bytes()
        assert given == b"".join(
            f"{name}={value}\0".encode("utf-8", "surrogateescape") for name, value in environment.items()
        )
    finally:
        kill_session(process.pid)
        process.wait()


def test_what_is_no_variable_is_left_out_of_the_environment(tmp_path):
    odd = "import ctypes,os,sys; c = ctypes.CDLL(None); A = ctypes.c_char_p * 5; a = [*map(os.fsencode, sys.argv[1:])]; c.execve"
    odd += "(a[0], (ctypes.c_char_p * (len(a) + 1))(*a, None), A(b'=x', b'noequals', b'GOOD=1', b'=x=y', None))"
    words = [sys.executable, "-ISc", odd, sys.executable, POLLPROG, "run", "--", "/usr/bin/env"]
    assert subprocess.run(words, capture_output=True, check=True, text=True).stdout == "GOOD=1\n"


def test_words_arrive_byte_for_byte(tmp_path):
    words = ["printf", "%s\\n", "a b", "", "--", "--total", "\udcff", "*", "--help", "ü"]
    for locale in ("C", "C.UTF-8", "nosuch"):
        done = subprocess.run(
            [POLLPROG, "run", *words], capture_output=True, env={"LC_ALL": locale, "PATH": "/bin:/usr/bin"}
        )
        assert done.stdout == b"a b\n\n--\n--total\n\xff\n*\n--help\n\xc3\xbc\n"


def test_the_zeroth_word_is_what_was_typed(tmp_path):
    os.symlink("/bin/sh", tmp_path / "link")
    for word in ("link", str(tmp_path / "link"), "sh"):
        environment = {**ENVIRONMENT, "PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}"}
        done = pollprog("run", word, "-c", "tr '\\0' '\\n' < /proc/$$/cmdline | head -1", env=environment)
        assert done.stdout == f"{word}\n"


@pytest.mark.tool("bash")
def test_what_bash_hands_over_as_a_file_can_be_read(tmp_path):
    text = "pollprog run -- cat <(echo one) /dev/fd/3 3< <(echo two); pollprog run -- tee >(tr a-z A-Z >&2) <<< three >/dev/null; wait"
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert (done.stdout, done.stderr) == ("one\ntwo\n", "THREE\n")


@pytest.mark.tool("make")
def test_a_make_below_shares_the_jobs_of_the_make_above(tmp_path):
    meet = "touch $@.here; n=0; while ! test -e {0}.here; do n=$$((n+1)); test $$n -lt 600 || exit 1; sleep 0.05; done"
    (tmp_path / "Makefile").write_text(f"all:\n\t+{POLLPROG} run -- $(MAKE) -f below\n")
    (tmp_path / "below").write_text(f"all: x y\nx:\n\t@{meet.format('y')}\ny:\n\t@{meet.format('x')}\n")
    done = subprocess.run(["make", "-j3"], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert "jobserver" not in done.stderr


@pytest.mark.tool("bash")
def test_a_reader_that_goes_away_ends_the_command_by_sigpipe():
    text = "pollprog run -- yes | head -1; echo ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert (done.stdout, done.stderr) == ("y\n141\n", "")


def test_a_parent_that_ignores_sigchld_still_learns_how_the_command_ended():
    ignoring = after("signal.signal(signal.SIGCHLD, signal.SIG_IGN)").replace('"$@"', POLLPROG)
    quick = '"$@" run true; echo $?; "$@" run sh -c "exit 7"; echo $?; "$@" run ./nothing; echo $?; '
    slow = '"$@" run --progress none -- sh -c "sleep 0.3; kill -9 \\$\\$"; echo $?'
    assert shell(f"{ignoring}\n{quick}{slow}").stdout == "0\n7\n127\n137\n"


# --- which program


def test_a_script_without_an_interpreter_goes_to_the_shell(tmp_path):
    path = script(tmp_path / "plain", 'echo "$0 $# $2"\n')
    assert pollprog("run", path, "a", "b c").stdout == f"{path} 2 b c\n"
    ignoring = after("signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    assert shell(f'{ignoring}; "$@"', POLLPROG, "run", path, "a", "b c").stdout == f"{path} 2 b c\n"


def test_an_interpreter_that_is_missing_is_named(tmp_path):
    done = pollprog("run", script(tmp_path / "windows", "#!/bin/sh\r\necho\r\n"))
    assert done.returncode == 126
    assert done.stderr.endswith("windows: cannot be run: '/bin/sh\\r' is not there\n")


def test_a_program_for_another_machine_does_not_go_to_the_shell(tmp_path):
    done = pollprog("run", script(tmp_path / "foreign", "\x7fELF\0\0"))
    assert (done.returncode, done.stderr) == (126, f"pollprog: {tmp_path}/foreign: cannot be run: exec format error\n")


def test_a_program_is_found_as_the_shell_finds_it(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    script(first / "here", "", 0o644)
    script(second / "here", "")
    (first / "alone").mkdir()
    script(second / "refused", "", 0o600)
    monkeypatch.chdir(second)
    monkeypatch.setenv("PATH", f"{first}:{second}:/nowhere")
    assert resolve("here") == str(second / "here")
    assert resolve("./here") == "./here"
    with pytest.raises(CommandNotFound, match=r"^alone: command not found$"):
        resolve("alone")
    with pytest.raises(CommandNotExecutable, match=r"refused: permission denied; if it is a program, chmod \+x it$"):
        resolve("refused")
    monkeypatch.setenv("PATH", str(first))
    with pytest.raises(
        CommandNotFound, match=r"^refused: command not found; for the one in this folder type \./refused$"
    ):
        resolve("refused")
    monkeypatch.setenv("PATH", "")
    assert resolve("here") == "./here"
    monkeypatch.delenv("PATH")
    assert resolve("sh").endswith("/sh")


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("", CommandNotFound, "an empty word names no command"),
        ("./nothing", CommandNotFound, "no such file or directory"),
        ("/etc/passwd/x", CommandNotExecutable, "not a directory"),
        (f"./{'x' * 300}", CommandNotExecutable, "file name too long"),
        ("/etc/passwd", CommandNotExecutable, "permission denied; if it is a program"),
        ("/etc", CommandNotExecutable, "is a directory"),
        ("nosuchcommandanywhere", CommandNotFound, "command not found"),
    ],
)
def test_what_is_no_program_is_refused_before_anything_starts(name, error, reason):
    with pytest.raises(error, match=reason):
        launch(Command([name]))


@pytest.mark.tool("bash")
@pytest.mark.parametrize("name", ["./nothing", "/etc/passwd/x", "/etc/passwd", "/etc", f"/tmp/{'x' * 300}"])
def test_what_cannot_be_run_comes_to_the_exit_status_that_bash_and_env_give_it(name):
    words = {"bash": ["-c", '"$1"', "bash"], "env": ["--"], "pollprog": ["run", "--"]}
    done = [shell('"$@"', program, *words[program], name).returncode for program in words]
    assert done == done[:1] * 3


def test_a_folder_that_may_not_be_entered_is_not_taken_for_nothing(tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    look = f"from pollprog.launch import resolve; resolve('{hidden}/x')"
    words = [sys.executable, "-c", f"import os; import pollprog.launch, pollprog.errors; os.setuid(65534); {look}"]
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    assert "CommandNotExecutable: " in subprocess.run(words, capture_output=True, text=True).stderr


# --- a launched command


def ended(launched: Launched) -> tuple[int | None, int | None]:
    wait_until(lambda: launched.reap() is not None)
    told = launched.reap()
    launched.close()
    assert told is not None
    return told


def test_how_it_ended_is_told_again_and_nothing_is_sent_to_who_has_its_number_now():
    launched = launch(Command(["sh", "-c", "exit 3"]))
    assert launched.pidfd == launched.pidfd
    assert ended(launched) == (3, None)
    assert launched.reap() == (3, None)
    assert not launched.send(signal.SIGTERM)


def test_a_signal_is_sent_and_told():
    launched = launch(Command(["sleep", "600"]))
    assert launched.reap() is None
    assert launched.send(signal.SIGTERM)
    assert ended(launched) == (None, signal.SIGTERM)


def test_a_stop_that_is_over_is_told_once():
    launched = launch(Command(["sleep", "600"]))
    assert not launched.was_stopped()
    launched.send(signal.SIGSTOP)
    wait_until(launched.is_stopped)
    launched.send(signal.SIGCONT)
    wait_until(lambda: not launched.is_stopped())
    wait_until(launched.was_stopped)
    assert not launched.was_stopped()
    launched.send(signal.SIGKILL)
    assert ended(launched) == (None, signal.SIGKILL)


def test_where_somebody_else_reaps_it_nobody_knows_how_it_ended():
    launched = launch(Command(["true"]))
    os.waitpid(launched.pid, 0)
    assert not launched.was_stopped()
    assert ended(launched) == (None, None)


def test_the_environment_is_ours_where_the_kernel_does_not_tell(monkeypatch):
    def refuse(*_arguments, **_options):
        raise PermissionError

    monkeypatch.setattr(launching, "open", refuse, raising=False)
    assert launching.original_environment() == os.environb


# --- which streams may be claimed


class Through:
    def passing(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


CLAIMABLE = (
    "from pollprog.launch import claimable; import os; os.write(9, repr([claimable(n) for n in (0, 1, 2)]).encode())"
)


@pytest.mark.parametrize(
    ("redirections", "answer"),
    [
        ("</dev/null >/dev/zero 2>log", [True, True, True]),
        ("</dev/null >out 2>log", [True, False, True]),
        ("</dev/null >out 2>&1", [True, False, False]),
        ("</dev/null >/dev/zero 2>log 5>&2", [True, True, False]),
        ("</dev/null >/dev/null 2>log", [False, False, True]),
        ("<&- >&- 2>&-", [False, False, False]),
    ],
)
def test_a_stream_is_claimed_only_where_nothing_else_may_be_the_same(redirections, answer, tmp_path):
    done = shell(f'"$1" -c "$2" 9>answer {redirections}', sys.executable, CLAIMABLE, cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "answer").read_text() == repr(answer)


def test_a_claimed_stream_is_a_pipe_and_the_others_are_inherited(tmp_path):
    out = tmp_path / "out"
    words = ["sh", "-c", f"ls -l /proc/$$/fd > {out}; echo words >&2"]
    launched = launch(Command(words, claims={2: Through()}))
    with open(launched.ends[2], "rb", closefd=False) as end:
        assert end.read() == b"words\n"
    assert ended(launched) == (0, None)
    links = dict(re.findall(r"(\d+) -> (\S+)", out.read_text()))
    ours = {str(number): os.readlink(f"/proc/self/fd/{number}") for number in (0,)}
    assert links["2"].startswith("pipe:")
    assert links["0"] == ours["0"]


def test_a_command_that_cannot_be_started_leaves_no_descriptor_behind(tmp_path):
    before = os.listdir("/proc/self/fd")
    with pytest.raises(CommandNotExecutable):
        launch(Command([script(tmp_path / "x", "#!/nowhere/at/all\n")], claims={2: Through()}))
    assert os.listdir("/proc/self/fd") == before


def test_a_command_claims_what_it_may():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        os.set_inheritable(ours.fileno(), True)
        assert claimable(ours.fileno())
        command = Command(["x"]).claiming(ours.fileno(), Through())
        assert list(command.claims) == [ours.fileno()]
        os.set_inheritable(ours.fileno(), False)
        assert Command(["x"]).claiming(ours.fileno(), Through()).claims == {}


def test_a_command_is_called_what_was_typed_last_in_its_path():
    assert Command(["/usr/bin/cp", "a", "b"]).name == "cp"
    assert Command([]).name == ""
