"""The job comes first: whatever of ours is broken or missing, the command runs, and its exit status is ours."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

POLLPROG = [sys.executable, "-m", "pollprog", "run"]
SABOTAGE = """
import os, sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["BROKEN_MODULE"]:
            raise ImportError("broken " + name)
sys.meta_path.insert(0, Broken())
for name in [name for name in sys.modules if name == os.environ["BROKEN_MODULE"]]:
    del sys.modules[name]
"""
NO_THREADS = """
import _thread, sys
def refuse(*_, **__):
    raise RuntimeError("can't start new thread")  # as the interpreter does where memory or a limit forbids it
_thread.start_new_thread = refuse
if "threading" in sys.modules:  # as where coverage is measured
    sys.modules["threading"]._start_new_thread = sys.modules["threading"]._start_joinable_thread = refuse
"""
OURS = ["foreground", "status", "wording", "terminal", "streams", "process", "probes.evidence", "probes.dd", "channel"]


@pytest.fixture
def broken(tmp_path: Path):
    """An environment in which one module cannot be imported."""
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)

    def environment(module: str) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(tmp_path), "BROKEN_MODULE": module}

    return environment


@pytest.mark.parametrize("module", ["trio", "select", "threading", *(f"pollprog.{name}" for name in OURS)])
@pytest.mark.parametrize("probe", [[], ["--probe", "dd"]], ids=["evidence", "a claimed stream"])
def test_with_a_broken_module_the_command_runs_and_its_exit_status_is_ours(
    broken, module: str, probe: list[str]
) -> None:
    command = ["sh", "-c", "echo out; echo err >&2; sleep 0.4; echo later >&2; exit 7"]
    ran = subprocess.run(
        [*POLLPROG, *probe, "--progress-fd", "1", "--", *command],
        env=broken(module),
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert ran.returncode == 7
    assert "out\n" in ran.stdout
    assert "err\n" in ran.stderr
    assert "later\n" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("probe", [[], ["--probe", "dd"]], ids=["evidence", "a claimed stream"])
def test_where_no_thread_can_be_started_the_command_runs_to_its_end(tmp_path: Path, probe: list[str]) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_THREADS)
    ran = subprocess.run(
        [*POLLPROG, *probe, "--", "sh", "-c", "echo a >&2; sleep 0.5; echo b >&2; exit 7"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert ran.returncode == 7
    assert [line for line in ran.stderr.splitlines() if not line.startswith("pollprog:")] == ["a", "b"]
    assert "can't start new thread" in ran.stderr


def test_a_fault_is_not_told_to_a_reader_that_never_reads(broken) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writer, True)
    ran = subprocess.run(
        [*POLLPROG, "--", "sh", "-c", "sleep 0.4; exit 4"],
        env=broken("trio"),
        stderr=writer,
        start_new_session=True,
        timeout=30,
    )
    os.close(reader)
    os.close(writer)
    assert ran.returncode == 4


@pytest.mark.tool("unshare", "mount")
@pytest.mark.parametrize(
    ("namespace", "line"),
    [
        ("--mount", "mount -t tmpfs none /dev && exec {} -- /bin/echo hello"),
        ("--mount", "mount -t tmpfs none /proc && exec {} -- sh -c 'sleep 0.5; echo hello'"),
    ],
    ids=["no /dev", "no /proc"],
)
def test_in_a_bare_system_the_command_runs(namespace: str, line: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    ran = subprocess.run(
        ["unshare", namespace, "sh", "-c", line.format(" ".join(POLLPROG))], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, "hello\n")


@pytest.mark.tool("unshare")
def test_the_proc_of_another_pid_namespace_is_not_believed() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a namespace")
    ran = subprocess.run(
        ["unshare", "--pid", "--fork", *POLLPROG, "--progress", "none", "--progress-fd", "1", "--", "sleep", "1.3"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0
    assert len(ran.stdout.splitlines()) == 1, "nothing is known but the outcome"
    assert '"current":null' in ran.stdout


def test_pollprog_does_not_watch_itself() -> None:
    line = f"exec {sys.executable} -m pollprog attach $$"
    ran = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "itself" in ran.stderr
