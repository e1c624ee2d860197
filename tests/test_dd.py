from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from children import target_for

from pollprog import tools
from pollprog.errors import UsageError
from pollprog.launch import Command
from pollprog.probes.dd import TOOL, is_busybox, probe
from pollprog.probes.dd_probe import DdProbe
from pollprog.probes.dd_reports import ReportFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def stream(number: int, path: Path | str) -> Iterator[None]:
    """One of our own streams, sent elsewhere."""
    kept = os.dup(number)
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    os.dup2(opened, number)
    os.close(opened)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


@pytest.fixture
def claimed(tmp_path: Path) -> Callable[..., bool]:
    """Whether standard error is heard, of a dd started as ``dd ... 2>dd.log <input``; all else has to be as it was typed."""
    (tmp_path / "input").write_bytes(bytes(1000))

    def prepare(*argv: str, stdin: Path = tmp_path / "input") -> bool:
        before = Command(argv)
        with stream(0, stdin), stream(2, tmp_path / "dd.log"):
            after = TOOL.prepare(before)
        assert after.argv == before.argv
        assert set(after.claims) <= {2}
        return isinstance(after.claims.get(2), ReportFilter)

    return prepare


@pytest.mark.parametrize(
    ("argv", "executable"),
    [
        (["dd", "bs=1"], None),
        (["dd", "bs=1"], "/usr/bin/dd"),
        (["dd", "bs=1"], "/bin/busybox"),
        (["/bin/dd"], "/usr/bin/coreutils"),
        (["busybox", "dd"], "/bin/busybox"),
        (["coreutils", "--coreutils-prog=dd"], "/usr/bin/coreutils"),
    ],
)
def test_dd_is_recognised(argv: list[str], executable: str | None) -> None:
    command = Command(argv, executable=executable)
    assert TOOL.recognise(command)
    assert tools.find(command) is TOOL


@pytest.mark.parametrize(
    ("argv", "executable"),
    [
        (["ddrescue"], None),
        (["sh", "-c", "dd"], None),
        (["dd"], "/usr/bin/python3.11"),
        (["/bin/sh", "/tmp/dd"], "/usr/bin/dash"),
        (["busybox", "sh"], "/bin/busybox"),
        ([], "/usr/bin/dd"),
    ],
)
def test_what_only_looks_like_dd_is_not_recognised(argv: list[str], executable: str | None) -> None:
    assert not TOOL.recognise(Command(argv, executable=executable))


def test_a_dd_that_may_be_asked_is_heard(tmp_path: Path, claimed: Callable[..., bool]) -> None:
    assert claimed("dd", "of=/dev/null")
    assert claimed("dd", f"if={tmp_path}/input", "of=/dev/null")
    assert claimed("busybox", "dd", f"if={tmp_path}/input")
    assert claimed("dd", "if=/dev/urandom", "count=5", "iflag=fullblock")


@pytest.mark.parametrize(
    "operand",
    [
        "status=none",
        "status=progress",
        "conv=noerror",
        "conv=sync",
        "bs=nonsense",
        "if=/dev/zero",
        "if=/no/such/file",
        "if=a\0b",
    ],
)
def test_a_dd_that_may_not_be_asked_keeps_its_standard_error(operand: str, claimed: Callable[..., bool]) -> None:
    assert not claimed("dd", operand)


def test_a_dd_that_reads_a_pipe_keeps_its_standard_error(tmp_path: Path, claimed: Callable[..., bool]) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert not claimed("dd", f"if={tmp_path}/fifo")
    assert not claimed("dd", stdin=tmp_path / "fifo")
    assert claimed("dd", "iflag=fullblock", stdin=tmp_path / "fifo")


def test_under_posixly_correct_a_dd_keeps_its_standard_error(
    monkeypatch: pytest.MonkeyPatch, claimed: Callable[..., bool]
) -> None:
    monkeypatch.setenv("POSIXLY_CORRECT", "")
    assert not claimed("dd")


def test_what_the_user_named_is_heard_whatever_it_is(claimed: Callable[..., bool]) -> None:
    assert claimed("sh", "-c", "dd if=a of=b; true")


def test_a_standard_error_that_goes_where_standard_output_goes_is_left_alone(
    tmp_path: Path, claimed: Callable[..., bool]
) -> None:
    with stream(1, tmp_path / "dd.log"):
        assert not claimed("dd")


def test_a_standard_error_that_somebody_hears_already_is_left_to_them() -> None:
    through = ReportFilter()
    command = Command(["dd"], claims={2: through})
    assert TOOL.prepare(command).claims[2] is through


def test_the_dd_of_busybox_is_known_by_its_program() -> None:
    assert is_busybox(Command(["busybox", "dd"]))
    assert is_busybox(Command(["dd"], executable="/bin/busybox"))
    assert not is_busybox(Command(["dd"], executable="/usr/bin/dd"))
    assert not is_busybox(Command(["dd"]))


def test_the_probe_can_be_named_without_an_argument() -> None:
    with target_for(os.getpid()) as target:
        assert isinstance(probe(target, None), DdProbe)
        assert isinstance(TOOL.probe(target), DdProbe)
        with pytest.raises(UsageError, match="dd takes no argument"):
            probe(target, "fast")
