from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from children import as_nobody, block_device, child, descriptors, wait_until
from hypothesis import given
from hypothesis import strategies as st

import pollprog
from pollprog import process as module
from pollprog.errors import ProcessError
from pollprog.process import (
    Io,
    OpenFile,
    Process,
    ProcessTree,
    Stat,
    block_device_size,
    exit_status,
    open_process,
    parse_fdinfo,
    parse_io,
    parse_stat,
)

STAT = b"42 (%s) %s 7 42 42 0 -1 %d 1 2 3 4 100 20 3 4 20 0 %d 0 5000 1 2 18446744073709551615 1 1\n"


def stat_line(name: bytes = b"dd", state: bytes = b"S", flags: int = 0x400000, threads: int = 1) -> bytes:
    return STAT % (name, state, flags, threads)


class FakeProc:
    """A directory that stands in for /proc."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, pid: int, stat: bytes = b"", **files: str) -> None:
        """Add a process; `files` by their names, with _ for each slash."""
        (self.path / str(pid) / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
        (self.path / str(pid) / "fd").mkdir(exist_ok=True)
        self.write(pid, "stat", stat or stat_line())
        for name, text in files.items():
            self.write(pid, name.replace("_", "/"), text.encode())

    def write(self, pid: int, name: str, data: bytes) -> None:
        file = self.path / str(pid) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def children(self, pid: int, *children: int, thread: int | None = None) -> None:
        """Say whose children are whose."""
        self.write(pid, f"task/{thread or pid}/children", b"".join(b"%d " % number for number in children))

    def process(self, pid: int) -> Process:
        return Process(pid, root=str(self.path))

    def tree(self, pid: int) -> ProcessTree:
        return ProcessTree(self.process(pid), proc=str(self.path))


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


def pids(tree: ProcessTree) -> list[int]:
    """Who is in the tree."""
    return [process.pid for process, _ in tree.look()]


# -- parsing


@pytest.mark.parametrize(
    "name", [b"dd", b"", b" ", b") R 1 (x", b"((", b"))", b") (", b"a\nb", b"tmux: server", b"\xff\xfe", b"1 2 3"]
)
def test_a_name_may_hold_anything(name: bytes) -> None:
    told = parse_stat(stat_line(name))
    assert os.fsencode(told.name) == name
    assert (told.state, told.parent, told.flags, told.ticks, told.threads, told.start) == (
        "S",
        7,
        0x400000,
        127,
        1,
        5000,
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"42", b"42 (dd", b"42 dd) S 1", b"42 (dd) S 1 2 3", b")(", stat_line().replace(b"5000", b"x"), b"\0" * 500],
)  # fmt: skip # a list
def test_what_is_no_stat_line_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_stat(data)


def test_the_counters_are_read_by_their_names() -> None:
    text = b"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\ncancelled_write_bytes: 7\n"
    assert parse_io(text) == Io(rchar=1, wchar=2, read_bytes=5, write_bytes=6)
    assert parse_io(b"\n".join(reversed(text.splitlines()))) == Io(rchar=1, wchar=2, read_bytes=5, write_bytes=6)


@pytest.mark.parametrize("data", [b"", b"rchar: 1\nwchar: 2\n", b"rchar: x\nwchar: 2\nread_bytes: 5\nwrite_bytes: 6\n"])
def test_what_is_no_io_file_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_io(data)


def test_the_position_and_the_flags_are_read() -> None:
    assert parse_fdinfo(b"pos:\t4096\nflags:\t0100001\nmnt_id:\t29\nino:\t9\n") == (4096, 0o100001, 9)
    assert parse_fdinfo(b"pos:\t0\nflags:\t02\nmnt_id:\t29\n") == (0, 2, 0)
    assert parse_fdinfo(b"pos:\t0\nflags:\t02\nmnt_id:\t29\nino:") == (0, 2, 0)


@pytest.mark.parametrize(
    "data", [b"", b"pos:\t1\n", b"flags:\t02\n", b"pos:\tx\nflags:\t02\n", b"pos:\t1\nflags:\t9\n"]
)
def test_what_is_no_fdinfo_file_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_fdinfo(data)


PIECES = st.sampled_from(
    [b"(", b")", b" ", b"\n", b": ", b"\t", b"1", b"-1", b"0", b"S", b"rchar: ", b"wchar: ", b"read_bytes: ", b"write_bytes: ", b"pos:", b"flags:"]
)  # fmt: skip # a list
GARBAGE = st.binary(max_size=300) | st.lists(PIECES | st.binary(max_size=4), max_size=80).map(b"".join)


@given(GARBAGE)
def test_garbage_is_a_value_error_and_nothing_else(data: bytes) -> None:
    results: list[object] = []
    for parse in (parse_stat, parse_io, parse_fdinfo):
        try:
            results.append(parse(data))
        except ValueError:
            continue
    assert all(isinstance(result, Stat | Io | tuple) for result in results)


@given(st.binary(max_size=40), st.sampled_from(b"RSDTtZXI"), st.integers(0, 2**32 - 1), st.integers(1, 10**6))
def test_every_stat_line_that_the_kernel_can_write_is_read(name: bytes, state: int, flags: int, threads: int) -> None:
    told = parse_stat(stat_line(name, bytes([state]), flags, threads))
    assert (os.fsencode(told.name), told.state, told.flags, told.threads) == (name, chr(state), flags, threads)


# -- one process, a real one


def test_we_ourselves_are_as_the_system_says() -> None:
    process = Process(os.getpid())
    told = process.stat()
    assert told.parent == os.getppid()
    assert told.state == "R"
    assert not told.ended
    assert told.start == process.start
    assert process.argv()[0]
    assert process.uid() == os.getuid()
    assert process.link("cwd") == str(Path.cwd())
    assert process.link("exe") == str(Path(sys.executable).resolve())
    assert process.link("nothing") == ""
    assert process.inside("file") == str(Path.cwd() / "file")
    assert process.inside("/file") == "/file"
    process.close()


def test_a_name_with_brackets_does_not_deceive_about_the_rest() -> None:
    with child() as other:
        process = Process(other.pid)
        other.does("open('/proc/self/comm', 'w').write(') Z 1 (x')")
        told = process.stat()
        assert (told.name, told.parent, told.threads) == (") Z 1 (x", os.getpid(), 1)
        assert told.state in "RS"
        process.close()


def test_the_words_and_the_environment_are_those_it_was_started_with() -> None:
    words = ["sh", "-c", "read line", "", "two words", "\udcff"]
    environment = {"PATH": "/bin:/usr/bin", "EMPTY": "", "EQUALS": "a=b=c", "BYTES": "\udcff"}
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE) as other:
        process = Process(other.pid)
        wait_until(lambda: process.argv() and process.environ())  # within the exec it has neither yet
        assert process.argv() == words
        assert process.environ() == environment
        assert other.stdin is not None
        other.stdin.close()
        assert other.wait(20) is not None
        assert process.argv() == []
        assert process.environ() == {}
        process.close()


def test_the_counters_grow_with_what_is_written() -> None:
    with child() as other:
        process = Process(other.pid)
        before = process.io()
        other.does("open('/dev/null', 'wb').write(bytes(100_000))")
        after = process.io()
        assert before is not None
        assert after is not None
        assert after.wchar - before.wchar >= 100_000
        process.close()


def test_regular_files_are_listed_with_their_positions_and_nothing_else_is(tmp_path: Path) -> None:
    read, written = tmp_path / "read", tmp_path / "written"
    read.write_bytes(bytes(5000))
    with child() as other:
        process = Process(other.pid)
        assert process.files() == []
        other.does(f"a = os.open({str(read)!r}, os.O_RDONLY); os.lseek(a, 1234, 0)")
        other.does(f"b = os.open({str(written)!r}, os.O_RDWR | os.O_CREAT); os.write(b, bytes(777))")
        other.does(f"path = os.open({str(read)!r}, os.O_PATH); folder = os.open('/', os.O_RDONLY); pipe = os.pipe()")
        one, two = process.files()
        fd = int(other.does("answer = a"))
        assert (one.fd, one.position, one.size, one.reads, one.writes) == (fd, 1234, 5000, True, False)
        assert one.blocks >= 5000
        assert one.key == (read.stat().st_dev, read.stat().st_ino)
        assert (two.position, two.size, two.reads, two.writes) == (777, 777, False, True)
        assert process.file(fd) == one
        assert process.path(one) == str(read)
        standard = process.stream(0)
        assert standard is not None
        assert process.stream(999) is None
        assert process.file(0) is None
        assert process.file(999) is None
        other.does("os.close(a)")
        assert process.file(fd) is None
        process.close()


def test_a_deleted_file_is_a_file_still(tmp_path: Path) -> None:
    with child() as other:
        process = Process(other.pid)
        other.does(f"f = open({str(tmp_path / 'x')!r}, 'wb', buffering=0); f.write(b'abc'); os.unlink(f.name)")
        (file,) = process.files()
        assert file.size == 3
        assert process.path(file).startswith(str(tmp_path / "x"))
        assert process.path(OpenFile(999, 0, 0, 0, 0, 0, 0)) == ""
        process.close()


@pytest.mark.tool("losetup")
def test_a_block_device_that_is_open_has_its_size() -> None:
    with block_device() as (path, size):
        number = os.stat(path).st_rdev
        assert block_device_size(number) == size
        with child() as other:
            process = Process(other.pid)
            other.does(f"fd = os.open({path!r}, os.O_RDONLY); os.lseek(fd, 512, 0)")
            (file,) = process.files()
            assert (file.size, file.position, file.key) == (size, 512, (number, 0))
            process.close()


def test_a_block_device_that_is_not_there_has_no_size() -> None:
    assert block_device_size(os.makedev(4000, 99)) == 0


def test_a_handler_for_a_signal_is_seen_when_it_is_set() -> None:
    with child() as other:
        process = Process(other.pid)
        assert not process.catches(signal.SIGUSR1)
        other.does("import signal; signal.signal(signal.SIGUSR1, lambda *_: None)")
        assert process.catches(signal.SIGUSR1)
        assert not process.catches(signal.SIGUSR2)
        other.does("signal.signal(signal.SIGUSR1, signal.SIG_IGN)")
        assert not process.catches(signal.SIGUSR1)
        process.close()


def test_a_signal_reaches_the_process_and_no_other_that_comes_after() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        process = Process(sleeper.pid)
        process.send(signal.SIGTERM)
        assert sleeper.wait(20) == -signal.SIGTERM
        with pytest.raises(ProcessLookupError):
            process.send(signal.SIGTERM)
        process.close()


def test_how_it_ended_is_told_where_the_kernel_knows() -> None:
    with subprocess.Popen(["sh", "-c", "exit 7"]) as one, subprocess.Popen(["sleep", "60"]) as two:
        pidfds = [os.pidfd_open(one.pid), os.pidfd_open(two.pid)]
        assert exit_status(pidfds[1]) is None, "it runs still"
        two.kill()
        assert (one.wait(20), two.wait(20)) == (7, -signal.SIGKILL)
        told = [exit_status(pidfd) for pidfd in pidfds]
        for pidfd in pidfds:
            os.close(pidfd)
        release = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])
        assert told == ([(7, None), (None, signal.SIGKILL)] if release >= (6, 15) else [None, None])


@pytest.mark.parametrize(("script", "how"), [("exit 0", (0, None)), ("exit 7", (7, None)), ("kill -9 $$", (None, 9))])
def test_how_it_ended_is_told_to_its_owner_before_its_parent_has_asked(
    script: str, how: tuple[int | None, ...]
) -> None:
    with subprocess.Popen(["sh", "-c", f"read x; {script}"], stdin=subprocess.PIPE) as ended:
        process = Process(ended.pid)
        assert process.outcome() is None, "it runs still"
        assert ended.stdin is not None
        ended.stdin.close()
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert process.outcome() == how
    assert process.outcome() is None, "it is gone"
    process.close()


def test_a_process_that_has_ended_is_a_lookup_error_in_every_look() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        process = Process(sleeper.pid)
        early = Process(sleeper.pid)
        early.stat(), early.io(), early.children(), early.uid()
        sleeper.kill()
    for gone in (process, early):
        with pytest.raises(ProcessLookupError):
            gone.stat()
        with pytest.raises(ProcessLookupError):
            _ = gone.pidfd
        assert gone.io() is None
        assert gone.children() == gone.children(threads=5) == []
        assert gone.files() == []
        assert gone.file(0) is gone.stream(0) is gone.uid() is None
        assert gone.argv() == []
        assert gone.environ() == {}
        assert gone.link("exe") == ""
        assert not gone.catches(signal.SIGTERM)
        gone.close()
    with pytest.raises(ProcessLookupError):
        Process(sleeper.pid)


REUSE = """
import os, sys
from pollprog.process import Process, ProcessTree

def start():
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    return pid, writer

pid, writer = start()
process, unread = Process(pid), Process(pid)
tree = ProcessTree(process)
assert len(tree.look()) == 1
os.close(writer)
os.waitpid(pid, 0)
with open("/proc/sys/kernel/ns_last_pid", "w") as file:
    file.write(str(pid - 1))
again, writer = start()
assert again == pid, (again, pid)
for name in ("stat", "send"):
    try:
        getattr(process, name)(*([9] if name == "send" else []))
    except ProcessLookupError:
        continue
    raise SystemExit(f"{name} took the one for the other")
assert process.io() is None and process.files() == [] and unread.children() == []
assert tree.look() == []
assert Process(pid).start >= process.start
assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the new one was killed"
print("told apart")
"""


@pytest.mark.tool("unshare")
def test_a_process_that_has_got_the_number_of_another_is_not_taken_for_it() -> None:
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*command, "test", "-w", "/proc/sys/kernel/ns_last_pid"], capture_output=True).returncode:
        pytest.skip("this user may have no namespace of process numbers of its own")
    environment = {**os.environ, "PYTHONPATH": str(Path(pollprog.__file__).parents[1])}
    result = subprocess.run([*command, sys.executable, "-c", REUSE], env=environment, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("told apart\n", "")


def test_of_another_user_only_what_everybody_may_know_is_told(tmp_path: Path) -> None:
    with child() as other, as_nobody():
        process = Process(other.pid)
        assert process.stat().parent == os.getpid()
        assert process.uid() == 0
        assert not process.catches(signal.SIGUSR1)
        assert process.argv()
        assert process.io() is None
        assert process.files() == []
        assert process.file(0) is process.stream(0) is None
        assert process.environ() == {}
        assert process.link("cwd") == ""
        with pytest.raises(PermissionError):
            process.send(signal.SIGTERM)
        process.close()


def test_every_descriptor_is_given_back() -> None:
    before = descriptors()
    process = Process(os.getpid())
    process.stat(), process.io(), process.children(), process.uid(), process.pidfd, process.files(), process.argv()
    assert descriptors() > before
    process.close()
    assert descriptors() == before
    process.close()
    with pytest.raises(ProcessLookupError):
        Process(2**22 + 1)
    assert descriptors() == before


@pytest.mark.parametrize("data", [b"", b"garbage", b"1 (x) S"])
def test_a_directory_that_is_no_process_leaves_nothing_open(proc: FakeProc, data: bytes) -> None:
    proc.put(10)
    proc.write(10, "stat", data)
    before = descriptors()
    with pytest.raises(ValueError, match="stat"):
        proc.process(10)
    assert descriptors() == before


def test_one_that_keeps_nothing_open_says_the_same() -> None:
    before = descriptors()
    process = Process(os.getpid(), keep=False)
    kept = Process(os.getpid())
    assert process.stat().start == kept.stat().start
    assert process.io() is not None
    assert process.uid() == kept.uid()
    kept.close()
    assert descriptors() == before + 1
    process.close()


# -- opening one that a user named


def test_a_process_that_can_be_watched_is_opened() -> None:
    process = open_process(os.getpid())
    assert process.stat().parent == os.getppid()
    process.close()


@pytest.mark.parametrize("pid", [2**22 + 1, 0, -1, 10**30])
def test_a_number_that_nobody_has_is_a_process_error(pid: int) -> None:
    before = descriptors()
    with pytest.raises(ProcessError, match=f"no process {pid}"):
        open_process(pid)
    assert descriptors() == before


def test_a_thread_of_the_kernel_is_refused(proc: FakeProc) -> None:
    proc.put(2, stat_line(b"kthreadd", flags=0x208040))
    before = descriptors()
    with pytest.raises(ProcessError, match="thread of the kernel"):
        open_process(2, root=str(proc.path))
    assert descriptors() == before


def test_a_thread_of_a_process_is_refused_with_the_number_of_that() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with pytest.raises(ProcessError, match=f"{thread.native_id} is a thread of process {os.getpid()} "):
            open_process(thread.native_id)
    finally:
        over.set()
        thread.join()


def test_a_real_thread_of_the_kernel_is_refused() -> None:
    if Path("/proc/2/comm").exists() and Path("/proc/2/comm").read_text() == "kthreadd\n":
        with pytest.raises(ProcessError, match="kthreadd"):
            open_process(2)
    else:
        pytest.skip("no thread of the kernel is to be seen from here")


def test_a_process_that_has_ended_is_refused_though_its_number_is_taken() -> None:
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessError, match=r"already ended, with exit status 0$"):
            open_process(ended.pid)


def test_how_a_process_of_another_user_ended_is_not_taken_for_well() -> None:
    with subprocess.Popen(["sh", "-c", "exit 7"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        with as_nobody():
            process = Process(ended.pid)
            assert process.outcome() is None
            process.close()


def test_a_process_of_another_user_is_refused_with_what_to_do() -> None:
    before = descriptors()
    with child() as other, as_nobody(), pytest.raises(ProcessError, match=r"uid 0.*sudo"):
        open_process(other.pid)
    assert descriptors() == before


# -- the tree


@pytest.mark.tool("sh")
def test_a_tree_grows_and_shrinks_with_its_processes() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 5 & sleep 5; wait"]) as shell:
        tree = ProcessTree(Process(shell.pid))
        try:
            wait_until(lambda: [told.name for _, told in tree.look()] == ["sh", "sleep", "sleep"])
            one, two = [process for process, told in tree.look() if told.name == "sleep"]
            one.send(signal.SIGTERM)
            wait_until(lambda: len(tree.look()) < 3)
            two.send(signal.SIGTERM)
            assert shell.wait(20) is not None
            assert tree.look() == []
        finally:
            for process, _ in reversed(tree.look()):
                process.send(signal.SIGKILL)
            tree.root.close()
            tree.close()


def test_the_processes_of_a_tree_are_the_same_objects_at_each_look() -> None:
    with child() as parent:
        tree = ProcessTree(Process(parent.pid))
        parent.does("one = subprocess.Popen(['cat'], stdin=subprocess.PIPE)")
        assert [process for process, _ in tree.look()] == [process for process, _ in tree.look()]
        assert tree.look()[0][0] is tree.root
        parent.does("one.stdin.close(); one.wait()")
        assert pids(tree) == [parent.pid]
        tree.close()
        tree.root.close()


def test_children_of_every_thread_are_found() -> None:
    with child() as parent:
        tree = ProcessTree(Process(parent.pid))
        parent.does(
            "gate, up = threading.Event(), threading.Event();"
            " work = lambda: (globals().update(one=subprocess.Popen(['cat'], stdin=subprocess.PIPE)), up.set(), gate.wait())"
        )
        pid = int(parent.does("other = threading.Thread(target=work); other.start(); up.wait(); answer = one.pid"))
        assert pids(tree) == [parent.pid, pid]
        parent.does("gate.set(); other.join(); one.stdin.close(); one.wait()")
        assert pids(tree) == [parent.pid]
        tree.close()
        tree.root.close()


def test_what_has_ended_and_is_not_reaped_is_not_in_the_tree() -> None:
    with child() as parent:
        tree = ProcessTree(Process(parent.pid))
        pid = int(parent.does("one = subprocess.Popen(['cat'], stdin=subprocess.PIPE); answer = one.pid"))
        assert pids(tree) == [parent.pid, pid]
        parent.does("one.stdin.close(); os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)")
        assert pids(tree) == [parent.pid]
        parent.does("one.wait()")
        tree.close()
        tree.root.close()


def test_a_process_whose_first_thread_has_ended_is_alive_as_long_as_another_runs() -> None:
    program = (
        "import ctypes, sys, threading\n"
        "threading.Thread(target=sys.stdin.read).start()\n"
        "print(flush=True)\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        tree = ProcessTree(Process(other.pid))
        wait_until(lambda: tree.root.stat().state == "Z")
        assert pids(tree) == [other.pid]
        other.stdin.close()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert pids(tree) == []
        tree.root.close()
        tree.close()


@pytest.mark.tool("sh")
def test_an_orphan_stays_in_the_tree_in_which_it_was_seen() -> None:
    with child() as parent:
        tree = ProcessTree(Process(parent.pid))
        parent.does(
            "one = subprocess.Popen(['sh', '-c', 'sleep 60 & echo $!; read line'], stdin=subprocess.PIPE,"
            " stdout=subprocess.PIPE)"
        )
        pid = int(parent.does("answer = int(one.stdout.readline())"))
        assert len(tree.look()) == 3
        parent.does("one.stdin.close(); one.wait()")
        root, orphan = [process for process, _ in tree.look()]
        assert (root.pid, orphan.pid) == (parent.pid, pid)
        orphan.send(signal.SIGKILL)
        wait_until(lambda: pids(tree) == [parent.pid])
        tree.close()
        tree.root.close()


@pytest.mark.tool("sh")
def test_a_tree_goes_on_without_its_root() -> None:
    words = ["sh", "-c", "sleep 60 & echo $!; read line"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        tree = ProcessTree(Process(shell.pid))
        assert pids(tree) == [shell.pid, pid]
        shell.stdin.close()
        shell.wait(20)
        ((orphan, _),) = tree.look()
        assert orphan.pid == pid
        orphan.send(signal.SIGKILL)
        wait_until(lambda: tree.look() == [])
        tree.close()
        tree.root.close()


@pytest.mark.tool("sh")
def test_more_children_than_one_page_of_the_kernel_lists_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 1000
    script = f"exec 3<&0; i=0; while [ $i -lt {count} ]; do (read line <&3) & i=$((i + 1)); done; echo; wait"
    monkeypatch.setattr(module, "MOST_PROCESSES", 2 * count)
    before = descriptors()
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        process = Process(shell.pid)
        tree = ProcessTree(process)
        assert shell.stdout.readline() == b"\n"
        assert len(process.children()) == count
        assert len(tree.look()) == count + 1
        assert descriptors() - before < count + 4 * module.MOST_KEPT
        monkeypatch.setattr(module, "MOST_PROCESSES", 100)
        assert len(tree.look()) == 100
        assert descriptors() - before < 5 * 100
        shell.stdin.close()
        assert shell.wait(20) == 0
        assert tree.look() == []
        tree.close()
        process.close()


def test_one_that_vanishes_while_we_look_is_left_out(proc: FakeProc) -> None:
    proc.put(10, stat_line(threads=2))
    proc.children(10, 11, 12, 13)
    proc.children(10, 14, 99, thread=15)
    proc.put(12)
    proc.children(12, 16)
    proc.put(13)
    (proc.path / "13" / "stat").unlink()  # gone between the opening of its directory and the look
    proc.put(14, b"")
    proc.write(14, "stat", b"")
    proc.put(16, stat_line(state=b"Z"))
    before = descriptors()
    tree = proc.tree(10)
    assert pids(tree) == [10, 12]
    proc.put(13)
    proc.put(14)
    proc.put(16)
    assert sorted(pids(tree)) == [10, 12, 13, 14, 16]
    tree.close()
    tree.root.close()
    assert descriptors() == before


def test_a_tree_whose_parents_lie_in_a_circle_is_looked_at_once(proc: FakeProc) -> None:
    for pid, below in ((10, 11), (11, 12), (12, 10)):
        proc.put(pid)
        proc.children(pid, below, below)
    tree = proc.tree(10)
    assert pids(tree) == [10, 11, 12]
    tree.close()
    tree.root.close()


def test_a_kernel_that_does_not_list_children_leaves_the_root(proc: FakeProc) -> None:
    proc.put(10)
    tree = proc.tree(10)
    assert pids(tree) == [10]
    shutil.rmtree(proc.path / "10" / "task")
    assert pids(tree) == [10]
    tree.close()
    tree.root.close()


def test_out_of_descriptors_a_look_says_what_it_can(proc: FakeProc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.put(10)
    proc.children(10, 11)
    proc.put(11)
    tree = proc.tree(10)
    assert pids(tree) == [10, 11]
    tree.close()
    tree = ProcessTree(tree.root, proc=str(proc.path))
    real = os.open

    def full(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith("/11"):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", full)
    assert pids(tree) == [10]
    monkeypatch.undo()
    assert pids(tree) == [10, 11]
    tree.close()
    tree.root.close()


@pytest.mark.parametrize("how", ["{}", "t = threading.Thread(target=lambda: {}); t.start(); t.join()"])
def test_a_file_that_is_opened_between_two_looks_is_found(tmp_path: Path, how: str) -> None:
    path = tmp_path / "opened"
    path.write_bytes(b"x")
    with child() as other:
        process = Process(other.pid)
        for _ in range(3):
            process.stat()
            assert str(path) not in [process.path(file) for file in process.files()]
        other.does(how.format(f"os.open({str(path)!r}, 0)"))
        process.stat()
        assert str(path) in [process.path(file) for file in process.files()]
        process.close()


@pytest.mark.parametrize("anew", [True, False])
def test_what_is_told_of_a_file_is_all_of_one_file(tmp_path: Path, *, anew: bool) -> None:
    for number in range(1000):
        (tmp_path / str(number)).write_bytes(bytes(1000))
    script = f"""
import os, signal
signal.alarm(60)
while True:
    for number in range(1000):
        descriptor = os.open(f"{tmp_path}/{{number}}", 0)
        os.read(descriptor, number)
        sum(range(3000))
        os.close(descriptor)
"""
    told = set()
    with subprocess.Popen([sys.executable, "-c", script]) as other:
        process = Process(other.pid)
        for _ in range(5000):
            told |= {(process.path(file), file.position) for file in process.files() if file.size == 1000}
            if anew:  # each look is the first
                process.close()
                process = Process(other.pid)
        process.close()
        other.kill()
    assert {position for path, position in told if str(position) != path.rpartition("/")[2]} <= {0}
    assert len(told) > 10
