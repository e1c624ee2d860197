"""A status descriptor: a program that was told to writes there, and nothing that becomes of us becomes of it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap

import pytest
from children import descriptors, wait_until
from compiled import compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from terminals import PATIENCE, started

from pollprog import streams
from pollprog.launch import Command, launch
from pollprog.streams import Splitter, StatusFile


def saying(script: str) -> Command:
    """A command that is told the number of its status descriptor in $1."""
    return Command(["bash", "-c", script]).with_status(lambda argv, number: (*argv, "sh", str(number)))


def finished(launched) -> tuple[int | None, int | None]:
    wait_until(launched.reap)
    return launched.reap()


def test_what_a_program_writes_there_is_read():
    before = descriptors()
    launched = launch(saying("eval \"echo one >&$1; printf 'two\\rthr' >&$1\""))
    assert finished(launched) == (0, None)
    file = StatusFile(os.dup(launched.status))
    assert file.records() == [b"one", b"two"]
    assert file.records() == []
    file.close()
    launched.close()
    assert descriptors() == before


def test_its_number_is_that_of_nothing_that_the_command_inherits():
    inherited = os.dup(0)
    os.set_inheritable(inherited, True)
    script = "echo $1; ls -l /proc/self/fd/"
    reader, writer = os.pipe()
    saved = os.dup(1)
    os.dup2(writer, 1)
    try:
        launched = launch(saying(script))
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(writer)
    assert finished(launched) == (0, None)
    with open(reader) as file:
        number, *listed = file.read().split("\n")
    os.close(inherited)
    assert int(number) == launched.status > 2
    assert int(number) != inherited
    assert sum("memfd" in line for line in listed) == 1
    assert any(f" {number} -> /memfd:pollprog status" in line for line in listed)
    assert not os.get_inheritable(launched.status)
    launched.close()


@pytest.mark.parametrize("ignored", [False, True])
def test_it_is_given_also_where_sigchld_is_ignored(ignored):
    if ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        launched = launch(saying('eval "echo one >&$1"'))
        wait_until(lambda: os.fstat(launched.status).st_size)
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    finished(launched)
    launched.close()


def test_where_the_length_of_files_is_limited_nothing_is_added():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, hard))
    try:
        launched = launch(saying("exit $#"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert launched.status is None
    assert finished(launched) == (0, None)
    launched.close()


def test_words_that_raise_do_so_before_anything_is_started():
    with pytest.raises(ZeroDivisionError):
        Command(["true"]).with_status(lambda argv, number: 1 / 0)


def test_a_command_that_cannot_be_started_leaves_nothing_open():
    before = descriptors()
    with pytest.raises(Exception, match="no such file"):
        launch(Command(["/no/such/program"]).with_status(lambda argv, number: argv))
    assert descriptors() == before


# --- reading


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"\n", b"\r", b"\b"]), max_size=20))
def test_records_are_the_same_however_they_are_written(chunks):
    descriptor = os.memfd_create("test")
    file = StatusFile(os.dup(descriptor))
    records = []
    for chunk in chunks:
        os.write(descriptor, chunk)
        records += file.records()
    assert records == Splitter().split(b"".join(chunks))
    file.close()
    os.close(descriptor)


def test_of_very_much_the_last_is_read_and_memory_is_given_back(monkeypatch):
    monkeypatch.setattr(streams, "MOST", 100)
    monkeypatch.setattr(streams, "KEPT", 1 << 16)
    descriptor = os.memfd_create("test")
    file = StatusFile(os.dup(descriptor))
    lines = [b"line %d" % number for number in range(100_000)]
    os.write(descriptor, b"half a ")
    assert file.records() == []
    os.write(descriptor, b"\n".join(lines) + b"\n")
    records = file.records()
    assert records == lines[-len(records) :]
    assert 5 < len(records) < 10
    assert os.fstat(descriptor).st_blocks * 512 < 1 << 16
    os.write(descriptor, b"more\n")
    assert file.records() == [b"more"]
    file.close()
    os.close(descriptor)


def test_a_file_that_is_begun_anew_is_read_anew():
    descriptor = os.memfd_create("test")
    file = StatusFile(os.dup(descriptor))
    os.write(descriptor, b"one\ntwo\n")
    assert file.records() == [b"one", b"two"]
    os.truncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, b"new\n")
    assert file.records() == [b"new"]
    file.close()
    os.close(descriptor)


# --- the whole of it: a program called e2fsck, which is ours


PROGRAM = """
    import os, signal, sys, time
    number = int(sys.argv[sys.argv.index("-C") + 1])
    go = sys.argv[-1]
    def wait(name):
        while not os.path.exists(go + name):
            time.sleep(0.01)
"""


@pytest.fixture
def program(tmp_path):
    """Makes a program called e2fsck with this body; what runs is python, so it is measured by the name that it is given."""

    def make(body: str) -> str:
        script = f"#!{sys.executable} -IS\n{textwrap.dedent(PROGRAM)}{textwrap.dedent(body)}"
        return compiled(tmp_path / "e2fsck", script, "[-C fd]")

    return make


@pytest.mark.tool("gcc")
def test_a_program_is_not_held_up_and_does_not_die_when_we_are_killed(program, tmp_path):
    script = program("""
        os.write(number, b"1 1 9 x\\n")
        open(go + "started", "w").close()
        wait("killed")
        for _ in range(100):
            os.write(number, b"1 2 9 x\\n" * 10_000)  # much more than a pipe holds
        open(go + "done", "w").close()
    """)
    with started("run", script, f"{tmp_path}/") as process:
        wait_until((tmp_path / "started").exists)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        (tmp_path / "killed").touch()
        wait_until((tmp_path / "done").exists)


@pytest.mark.tool("gcc")
def test_what_never_writes_or_leaves_a_descendant_that_holds_it_open_is_not_waited_for(program, tmp_path):
    script = program("""
        if os.fork() == 0:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.closerange(0, 3)
            wait("over")
            os._exit(0)
        time.sleep(1.2)
        sys.exit(7)
    """)
    with started("run", "--progress", "log", script, f"{tmp_path}/") as process:
        process.wait(PATIENCE)
        assert process.returncode == 7
        (tmp_path / "over").touch()


@pytest.mark.tool("gcc")
def test_the_file_is_not_taken_for_the_work_of_the_command(program, tmp_path):
    script = program("""
        for _ in range(30):
            os.write(number, b"x" * (1 << 20))
            time.sleep(0.05)
    """)
    command = (
        f"exec pollprog run --progress none --progress-fd 3 --interval 0.1 -- {script} {tmp_path}/ 3>{tmp_path}/lines"
    )
    done = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:/bin:/usr/bin"},
        timeout=PATIENCE,
    )
    assert done.returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert not [line for line in lines if "output" in line.get("source", "")]
