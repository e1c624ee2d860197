"""What a short command says, asked for at one look and read at a later one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from children import descriptors, wait_until
from doors import is_alive

from pollprog.errors import ProcessError
from pollprog.probes import asked as module
from pollprog.probes.asked import LOST, Answer, Asked, AskedWork, Said, found_program
from pollprog.status import Sample

if TYPE_CHECKING:
    from pathlib import Path


def shell(script: str, **options: float) -> Asked:
    return Asked(["sh", "-c", script], **options)


def test_no_look_waits_for_the_answer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    asked = shell(f"echo begun; read line < {tmp_path}/fifo; echo $line; echo wrong >&2; exit 3", gap=0)
    assert [asked.look() for _ in range(10)] == [None] * 10
    (tmp_path / "fifo").write_text("over\n")
    answers: list[Answer] = []
    wait_until(lambda: answers.extend(filter(None, [asked.look()])) or answers)
    asked.close()
    assert answers == [Answer(3, b"begun\nover\n", "wrong\n")]


def test_it_is_asked_again_and_the_old_answer_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a long line\n")
    asked = shell(f"cat {file}", gap=0)
    assert asked.first().output == b"a long line\n"
    file.write_text("short\n")
    assert asked.first().output == b"short\n"
    asked.close()


def test_between_two_questions_there_is_a_moment() -> None:
    asked = shell("echo $$", gap=1000)
    first = asked.first()
    assert [asked.look() for _ in range(10)] == [None] * 10
    asked.close()
    assert first.code == 0


def test_one_that_takes_too_long_is_ended_and_so_is_one_that_nobody_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    file = tmp_path / "pid"
    asked = shell(f"echo $$ > {file}; exec sleep 1000", gap=1000)
    asked.look()
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    pid = int(file.read_text())
    assert is_alive(pid)
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    assert asked.look() is None
    assert not is_alive(pid)
    with pytest.raises(ProcessError, match="sh gives no answer"):
        asked.first()
    asked.close()
    last = shell(f"echo $$ > {file}; exec sleep 1000")
    file.unlink()
    last.look()
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    last.close()
    assert not is_alive(int(file.read_text()))
    assert descriptors() == before


def test_it_speaks_english_and_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    asked = shell("echo $LC_ALL; cat; pwd")
    assert asked.first().output == b"C\n/\n"
    asked.close()


def test_of_an_endless_answer_the_beginning_is_read() -> None:
    asked = shell("head -c 3000000 /dev/zero")
    assert len(asked.first().output) == module.LARGEST
    asked.close()


def test_one_answer_that_is_none_ends_nothing_and_three_in_a_row_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "GAP", 0)
    well = Said(Sample(1, 2))
    answers = iter([well, None, None, well, None, Said(), None, None, None])
    heard: list[Sample] = []
    work = AskedWork("this", "that", ["sh", "-c", "echo out of order >&2; exit 1"], lambda _: next(answers))
    assert work.under_way()
    wait_until(lambda: heard.extend(filter(None, [work.sample()])) or work.outcome)
    work.close()
    assert (heard, work.outcome) == ([Sample(1, 2)], LOST)
    assert next(answers, "all") == "all"
    assert caplog.messages == ["this: out of order"]


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ("ERROR: not there\nmore\n", "not there"),
        ("  WARNING: Running as a non-root user.\n  no lock\n", "no lock"),
        ("", "its answer is not understood, with exit status 5"),
    ],
)
def test_what_it_complains_of_is_one_line(errors: str, said: str) -> None:
    assert Answer(5, b"", errors).complaint() == said


def test_a_program_is_found_where_root_has_his_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool").touch(mode=0o755)
    monkeypatch.setattr(module, "SBIN", str(tmp_path))
    assert found_program("tool", "tools") == str(tmp_path / "tool")
    with pytest.raises(ProcessError, match=r"there is no program tool2 here.* in the package tools"):
        found_program("tool2", "tools")
