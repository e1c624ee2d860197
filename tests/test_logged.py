"""What a program prints into a file: read there from the first look on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from children import child, target_for

from pollprog.launch import Command
from pollprog.probes.logged import Logged
from pollprog.probes.program import Whole
from pollprog.status import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from children import Child

    from pollprog.probes import Target


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, bytes]] = []
        self.closed = False

    def feed(self, stream: int, record: bytes) -> None:
        self.told.append((stream, record))

    def sample(self) -> Sample | None:
        return Sample(len(self.told))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[tuple[Child, Target]]:
    """A child whose standard error goes into a file that holds something already."""
    log = str(tmp_path / "log")
    with child() as started:
        started.does(f"open({log!r}, 'w').write('old\\n'); f = os.open({log!r}, os.O_WRONLY | os.O_APPEND)")
        started.does("os.dup2(f, 2); os.close(f)")
        with target_for(started.pid) as target:
            yield started, target


def says(worker: Child, text: str) -> None:
    worker.does(f"os.write(2, {text.encode()!r})")


def test_what_stood_there_before_is_remembered_if_somebody_wants_it(worker: tuple[Child, Target]) -> None:
    started, target = worker
    listener, remembered = Listener(), list[bytes]()
    probe = Logged(target, listener, (1, 2), remember=remembered.append)
    assert probe.sample() == Sample(0)
    says(started, "one\n")
    assert probe.sample() == Sample(1)
    assert (remembered, listener.told) == ([b"old"], [(2, b"one")])


def test_what_is_written_from_the_first_look_on_is_told_record_by_record(worker: tuple[Child, Target]) -> None:
    started, target = worker
    listener = Listener()
    probe = Logged(target, listener, (1, 2))
    assert probe.sample() == Sample(0)
    says(started, "one\rtw")
    assert probe.sample() == Sample(1)
    says(started, "o\n")
    probe.sample()
    probe.sample()
    assert listener.told == [(2, b"one"), (2, b"two")]
    probe.close()
    assert listener.closed


def test_what_is_heard_is_not_read_as_the_other_stream_that_goes_there(worker: tuple[Child, Target]) -> None:
    started, target = worker
    target.claims = {1: Whole()}
    target.ends = {1: os.open(f"/proc/{started.pid}/fd/2", os.O_RDONLY)}  # as of a job
    listener = Listener()
    probe = Logged(target, listener, (1, 2))
    probe.sample()
    says(started, "heard\n")
    probe.sample()
    os.close(target.ends[1])
    assert listener.told == []


def test_of_very_much_the_last_is_told_whole(worker: tuple[Child, Target]) -> None:
    started, target = worker
    listener = Listener()
    probe = Logged(target, listener, (2,))
    probe.sample()
    started.does("os.write(2, b'x' * 300000 + b'\\nlast\\n')")
    probe.sample()
    assert listener.told == [(2, b"last")]


def test_a_file_that_is_begun_anew_is_followed_from_there(worker: tuple[Child, Target]) -> None:
    started, target = worker
    listener = Listener()
    probe = Logged(target, listener, (2,))
    probe.sample()
    says(started, "half")
    probe.sample()
    started.does("os.ftruncate(2, 0)")
    probe.sample()
    says(started, "new\n")
    probe.sample()
    assert listener.told == [(2, b"new")]


def test_two_streams_into_one_file_are_told_once(worker: tuple[Child, Target]) -> None:
    started, target = worker
    listener = Listener()
    probe = Logged(target, listener, (2, 5))
    started.does("os.dup2(2, 5)")
    probe.sample()
    says(started, "one\n")
    probe.sample()
    assert listener.told == [(2, b"one")]


def test_a_log_that_the_program_opens_itself_is_known_by_its_name(worker: tuple[Child, Target], tmp_path: Path) -> None:
    started, target = worker
    listener = Listener()
    probe = Logged(target, listener, (), named=lambda path: path.endswith("/own"))
    started.does(f"g = open({str(tmp_path / 'own')!r}, 'w'); h = open({str(tmp_path / 'other')!r}, 'w')")
    probe.sample()
    started.does("print('a', file=g, flush=True); print('b', file=h, flush=True)")
    probe.sample()
    assert listener.told == [(2, b"a")]


def test_a_stream_that_is_claimed_is_not_read_and_what_is_heard_is_passed_on(worker: tuple[Child, Target]) -> None:
    started, target = worker
    target.claims.update(Command(["x"], claims={2: Whole()}).claims)
    listener = Listener()
    probe = Logged(target, listener, (2,))
    probe.sample()
    says(started, "one\n")
    probe.sample()
    assert listener.told == []
    probe.feed(2, b"heard")
    assert listener.told == [(2, b"heard")]


def test_what_is_no_file_is_left_alone(worker: tuple[Child, Target]) -> None:
    started, target = worker
    started.does("r, w = os.pipe(); os.dup2(w, 2); os.write(2, b'one\\n')")
    listener = Listener()
    probe = Logged(target, listener, (0, 1, 2, 7))
    probe.sample()
    assert probe.sample() == Sample(0)
    assert started.does("answer = os.read(r, 9)") == "b'one\\n'"
