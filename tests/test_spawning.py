"""A job's command: what it is given, what is kept of what it says, and that all of it ends."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
from children import PATIENCE, as_nobody, descriptors, wait_until
from compiled import compiled
from disks import small_disk
from doors import is_alive, pids_in

from pollprog import spawning
from pollprog.errors import (
    CommandNotExecutable,
    CommandNotFound,
    InvalidParameter,
    NoSuchFile,
    NotDirectory,
    PermissionDenied,
)
from pollprog.launch import Command
from pollprog.printed import KEPT, TAIL
from pollprog.probes.program import Program, can_hear
from pollprog.spawning import Spawned, prepared, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAIN = {"PATH": os.environ["PATH"]}


@contextmanager
def running(
    *argv: str, directory: str = "/", environment: dict[str, str] | None = None, **rest: Any
) -> Iterator[Spawned]:
    spawned = spawn(argv, directory=directory, environment=environment or PLAIN, **rest)
    try:
        yield spawned
    finally:
        spawned.close()


def printed(*argv: str, **rest: Any) -> str:
    with running(*argv, **rest) as spawned:
        wait_until(spawned.launched.reap)
        return spawned.printed()


# --- what it is given


def test_a_command_gets_its_directory_and_its_environment(tmp_path: Path) -> None:
    said = printed("sh", "-c", "pwd; echo $WORD", directory=str(tmp_path), environment={**PLAIN, "WORD": "some words"})
    assert said.splitlines() == [str(tmp_path), "some words"]


def test_a_command_has_nothing_to_read_and_none_of_our_descriptors() -> None:
    with open("/dev/null") as kept:
        os.set_inheritable(kept.fileno(), True)
        assert printed("sh", "-c", "cat; cd /proc/self/fd; echo *").split()[:3] == ["0", "1", "2"]
        names = printed("ls", "/proc/self/fd").split()
    assert [name for name in names if int(name) > 3] == []  # 3 is that of ls itself


def test_a_command_has_a_session_of_its_own_and_the_signals_that_a_shell_would_give() -> None:
    assert printed("sh", "-c", "ps -o sid= -p $$ || echo $$").strip() != str(os.getsid(0))
    ignored = next(line for line in printed("cat", "/proc/self/status").splitlines() if line.startswith("SigIgn"))
    assert int(ignored.split()[1], 16) & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)) == 0


def test_its_streams_can_be_files_of_ours(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from a file\n")
    with open(tmp_path / "in") as source, open(tmp_path / "out", "w") as output:
        said = printed("sh", "-c", "cat; echo aside >&2", source=source.fileno(), output=output.fileno())
    assert (said, (tmp_path / "out").read_text()) == ("aside\n", "from a file\n")


def test_a_program_is_found_where_its_own_environment_says_and_from_its_own_directory(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho here\n")
    program.chmod(0o755)
    assert printed("program", environment={"PATH": f"/nowhere:{tmp_path}"}) == "here\n"
    assert printed("./program", directory=str(tmp_path)) == "here\n"
    assert printed("sh", "-c", "echo plain", environment={"A": "1"}) == "plain\n"


def test_a_script_without_a_first_line_goes_to_the_shell(tmp_path: Path) -> None:
    script = tmp_path / "plain-script"
    script.write_text("echo $1\n")
    script.chmod(0o755)
    assert printed(str(script), "a word") == "a word\n"
    assert printed("plain-script", "by name", environment={"PATH": f"{tmp_path}:{PLAIN['PATH']}"}) == "by name\n"


# --- what it says


def test_what_is_printed_on_both_streams_is_kept_in_order() -> None:
    assert printed("sh", "-c", "echo one; echo two >&2; echo three") == "one\ntwo\nthree\n"


def test_what_is_written_by_the_name_of_a_stream_loses_nothing_that_comes_later() -> None:
    assert printed("sh", "-c", "echo one; echo two > /dev/stderr; echo three").endswith("two\nthree\n")


def test_the_tail_is_kept_and_begins_with_a_whole_character() -> None:
    said = printed("sh", "-c", "head -c 9000 /dev/zero | tr '\\0' x; printf 'é%.0s' $(seq 3000)")
    assert set(said) == {"é"}
    assert TAIL - 4 <= len(said.encode()) <= TAIL


def test_a_command_that_talks_a_lot_fills_no_disk() -> None:
    with running("sh", "-c", f"head -c {4 * KEPT} /dev/zero | tr '\\0' x; echo; echo last; sleep 100") as spawned:
        wait_until(lambda: spawned.printed().endswith("last\n"))
        descriptor = spawned._printed.descriptor
        before = os.fstat(descriptor)
        spawned.trim()
        after = os.fstat(descriptor)
        assert before.st_blocks * 512 >= 4 * KEPT
        assert after.st_blocks * 512 <= KEPT // 8
        assert spawned.printed().endswith("xxx\nlast\n")


# --- its end


async def end(spawned: Spawned, grace: float, **rest: Any) -> None:
    with trio.fail_after(PATIENCE):
        await spawned.end(grace, **rest)


FAMILY = "sleep 100 & echo $! >> $PIDS; setsid sleep 100 & echo $! >> $PIDS; echo $$ >> $PIDS; wait"


@pytest.mark.tool("setsid")
async def test_all_that_descends_from_it_ends(tmp_path: Path) -> None:
    with running("sh", "-c", FAMILY, environment={**PLAIN, "PIDS": str(tmp_path / "pids")}) as spawned:
        pids = pids_in(tmp_path / "pids", 3)
        assert all(map(is_alive, pids))
        await end(spawned, 20.0)
        assert not any(map(is_alive, pids))
        assert spawned.launched.reap() == (None, signal.SIGTERM)


async def test_what_was_orphaned_before_anybody_looked_ends_too(tmp_path: Path) -> None:
    orphan = "(trap '' TERM; sh -c 'echo $$ >> $PIDS; sleep 100; sleep 100' &); echo $$ >> $PIDS; exec sleep 100"
    with running("sh", "-c", orphan, environment={**PLAIN, "PIDS": str(tmp_path / "pids")}) as spawned:
        pids = pids_in(tmp_path / "pids", 2)
        await end(spawned, 0.2)
        assert not any(map(is_alive, pids))


async def test_what_ignores_the_request_is_killed_after_its_grace(tmp_path: Path) -> None:
    stubborn = "trap 'echo asked >> $SAID' TERM; echo $$ >> $PIDS; while :; do sleep 0.1; done"
    told = {**PLAIN, "PIDS": str(tmp_path / "pids"), "SAID": str(tmp_path / "said")}
    with running("sh", "-c", stubborn, environment=told) as spawned:
        pids_in(tmp_path / "pids", 1)
        began = time.monotonic()
        await end(spawned, 0.5)
        assert time.monotonic() - began >= 0.5
        assert (tmp_path / "said").read_text() == "asked\n"
        assert spawned.launched.reap() == (None, signal.SIGKILL)


async def test_what_stands_still_hears_the_request_and_ends_by_it(tmp_path: Path) -> None:
    with running("sh", "-c", FAMILY, environment={**PLAIN, "PIDS": str(tmp_path / "pids")}) as spawned:
        pids = pids_in(tmp_path / "pids", 3)
        spawned.send(signal.SIGSTOP)
        wait_until(spawned.launched.is_stopped)
        await end(spawned, 20.0)
        assert not any(map(is_alive, pids))
        assert spawned.launched.reap() == (None, signal.SIGTERM)


async def test_patience_can_end_before_the_grace_has(tmp_path: Path) -> None:
    with running("sh", "-c", "trap '' TERM; echo $$ >> $PIDS; while :; do sleep 0.1; done",
                 environment={**PLAIN, "PIDS": str(tmp_path / "pids")}) as spawned:  # fmt: skip
        pids_in(tmp_path / "pids", 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end, spawned, 1000.0)
            await trio.sleep(0.1)
            assert spawned.launched.reap() is None
            spawned.hurry()
        assert spawned.launched.reap() == (None, signal.SIGKILL)


async def test_the_request_can_be_another_signal() -> None:
    with running("sleep", "100") as spawned:
        await spawned.end(20.0, signal.SIGINT)
        assert spawned.launched.reap() == (None, signal.SIGINT)


def test_until_it_is_let_go_its_number_is_nobody_elses() -> None:
    with running("true") as spawned:
        wait_until(spawned.launched.reap)
        assert spawned.launched.reap() == (0, None)
        pid = spawned.launched.pid
        assert os.path.exists(f"/proc/{pid}")
    assert not os.path.exists(f"/proc/{pid}")


def test_what_still_lives_when_it_is_let_go_is_killed_and_nothing_stays_open(tmp_path: Path) -> None:
    before = descriptors()
    with running("sh", "-c", FAMILY, environment={**PLAIN, "PIDS": str(tmp_path / "pids")}):
        pids = pids_in(tmp_path / "pids", 3)
    wait_until(lambda: not any(map(is_alive, pids)))
    assert descriptors() == before


def test_how_it_ended_is_unknown_where_somebody_else_has_reaped_it() -> None:
    with running("true") as spawned:
        os.waitpid(spawned.launched.pid, 0)
        assert spawned.launched.reap() == (None, None)


# --- what cannot be started


@pytest.mark.parametrize(
    ("argv", "environment", "error", "parameter"),
    [
        ([], {}, InvalidParameter, "argv"),
        ([""], {}, InvalidParameter, "argv"),
        (["true", "a\0b"], {}, InvalidParameter, "argv"),
        (["true"], {"A": "a\0b"}, InvalidParameter, "environment"),
        (["true"], {"A=B": "c"}, InvalidParameter, "environment"),
        (["true"], {"": "c"}, InvalidParameter, "environment"),
        (["no-such-program"], {}, CommandNotFound, None),
        (["./no/such/program"], {}, CommandNotFound, None),
        (["/etc/passwd"], {}, CommandNotExecutable, None),
        (["/tmp"], {}, CommandNotExecutable, None),
        (["true", "x" * (1 << 18)], {}, CommandNotExecutable, None),
        (["true"], {f"V{n}": "x" * 100_000 for n in range(100)}, CommandNotExecutable, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_run_is_told_by_name(
    argv: list[str], environment: dict[str, str], error: type[Exception], parameter: str | None
) -> None:
    before = descriptors()
    with pytest.raises(error) as raised:
        spawn(argv, directory="/tmp", environment={**PLAIN, **environment})
    assert "\n" not in str(raised.value)
    assert getattr(raised.value, "parameter", None) == parameter
    assert descriptors() == before


def test_a_directory_that_is_none_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, error in (("gone", NoSuchFile), ("file", NotDirectory)):
        with pytest.raises(error, match="cannot run a command in") as raised:
            spawn(["true"], directory=str(tmp_path / name), environment=PLAIN)
        assert raised.value.path == str(tmp_path / name)
    with pytest.raises(InvalidParameter):
        spawn(["true"], directory="/tmp/\0", environment=PLAIN)


def test_a_directory_that_may_not_be_entered_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    with as_nobody(), pytest.raises(PermissionDenied):
        spawn(["true"], directory=str(tmp_path / "closed"), environment=PLAIN)


def test_a_program_whose_interpreter_is_missing_is_not_called_missing_itself(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    with pytest.raises(CommandNotExecutable, match="interprets"):
        spawn([str(script)], directory="/", environment=PLAIN)


def test_a_binary_of_an_unknown_format_does_not_go_to_the_shell(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fNOT\0ELF\0\n")
    program.chmod(0o755)
    with pytest.raises(CommandNotExecutable):
        spawn([str(program)], directory="/", environment=PLAIN)


# --- a status descriptor


@pytest.mark.tool("gcc")
def test_a_program_that_can_writes_its_status_to_a_descriptor_of_its_own(tmp_path):
    script = '#!/bin/bash\n[ "$1" = -C ] && echo "1 1 2 image" >&"$2"\nls -l /proc/self/fd; exit 3\n'
    program = compiled(tmp_path / "e2fsck", script, "[-C fd]")
    spawned = spawn([program, "image"], directory="/", environment={"PATH": os.environ["PATH"]})
    try:
        wait_until(lambda: spawned.launched.reap() is not None)
        assert spawned.launched.reap() == (3, None)
        assert spawned.launched.command.argv[1:] == ("image",)
        assert os.pread(spawned.launched.status, 100, 0) == b"1 1 2 image\n"
        assert len(spawned.launched.aside) == 2
        assert spawned.printed().count("memfd") == 1
    finally:
        spawned.close()
    assert spawned.launched.status is None


def test_a_plugin_that_fails_does_not_keep_a_job_from_starting(monkeypatch, caplog):
    monkeypatch.setattr(spawning.tools, "find", lambda _: 1 / 0)
    assert prepared(Command(["dd"])).argv == ("dd",)
    assert "the plugin for dd is left out" in caplog.text


# --- what is heard


class Talker(Program):
    """Has its program print how far it is, if that can be heard."""

    name = "talker"

    def prepare(self, command: Command) -> Command:
        if not can_hear(1, 2):
            return command
        return command.with_words((*command.argv, "--progress")).claiming(1, WithoutNumbers())


class WithoutNumbers:
    """Takes out what was printed for us."""

    def passing(self, data: bytes) -> bytes:
        return b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(b"%"))

    def end(self) -> bytes:
        return b""


@pytest.fixture
def talker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    program = tmp_path / "talker"
    program.write_text("#!/bin/sh\necho said: $*\necho %1\necho %2\necho why >&2\necho %3\n")
    program.chmod(0o755)
    monkeypatch.setattr(spawning.tools, "find", lambda command: Talker() if command.name == "talker" else None)
    return str(program)


def test_what_a_tool_has_a_command_print_is_heard_and_people_read_the_rest(talker: str) -> None:
    with running(talker, "a") as spawned:
        wait_until(spawned.launched.reap)
        told = spawned.launched.printed.records()
        assert told == [(1, b"said: a --progress"), (1, b"%1"), (1, b"%2"), (1, b"why"), (1, b"%3")]
        assert spawned.launched.printed.records() == []
        assert spawned.printed() == "said: a --progress\nwhy\n"
        assert os.path.samestat(os.fstat(spawned.launched.ends[1]), os.fstat(spawned._printed.descriptor))


def test_where_nothing_may_be_prepared_nothing_is_added(talker: str) -> None:
    with running(talker, "a", prepare=False) as spawned:
        wait_until(spawned.launched.reap)
        assert spawned.printed() == "said: a\n%1\n%2\nwhy\n%3\n"


def test_a_stream_that_goes_elsewhere_is_not_heard(talker: str, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, running(talker, "a", output=out.fileno()) as spawned:
        wait_until(spawned.launched.reap)
        assert spawned.launched.printed.records() == []
        assert spawned.printed() == "why\n"
    assert (tmp_path / "out").read_text() == "said: a\n%1\n%2\n%3\n"


def test_what_no_tool_listens_to_is_not_read() -> None:
    with running("sh", "-c", "echo one; echo two >&2") as spawned:
        wait_until(spawned.launched.reap)
        assert spawned.launched.printed.records() == []
        assert spawned.printed() == "one\ntwo\n"


def test_a_tool_that_is_named_prepares_the_command_whatever_starts_its_program(talker: str, monkeypatch) -> None:
    monkeypatch.setattr(spawning.tools, "named", lambda name: Talker() if name == "talker" else None)
    with running("sh", "-c", 'exec "$@"', "sh", talker, probe="talker") as spawned:
        wait_until(spawned.launched.reap)
        assert spawned.printed() == "said: --progress\nwhy\n"


# --- where nothing can be written


@pytest.mark.tool("mount", "umount")
def test_a_full_disk_of_ours_does_not_change_what_a_command_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path, 1 << 20) as disk:
        monkeypatch.setattr("tempfile.tempdir", str(disk))
        with suppress(OSError):
            (disk / "filler").write_bytes(bytes(2 << 20))
        with running("sh", "-c", "echo words && echo more") as spawned:
            wait_until(lambda: spawned.launched.reap() is not None)
            assert (spawned.launched.reap(), spawned.printed()) == ((0, None), "words\nmore\n")


def test_without_a_place_for_temporary_files_a_command_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with running("echo", "words") as spawned:
        wait_until(lambda: spawned.launched.reap() is not None)
        assert (spawned.launched.reap(), spawned.printed()) == ((0, None), "words\n")
