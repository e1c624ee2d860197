"""A claimed stream: what the command writes is heard, and arrives where the user sent it, byte for byte."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from children import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from terminals import PATIENCE, started

from pollprog import streams
from pollprog.launch import Command, launch
from pollprog.probes.program import Whole
from pollprog.streams import Ear, listen, write_all


class Through:
    """Passes everything on."""

    def passing(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class Marked(Through):
    """Leaves out each x, and has a last word."""

    def passing(self, data: bytes) -> bytes:
        return data.replace(b"x", b"")

    def end(self) -> bytes:
        return b"<end>"


class Silent(Through):
    def passing(self, data: bytes) -> bytes:
        return b""


class Ended(Through):
    """Knows that a record is all there when it has a full stop."""

    def whole(self, record: bytes) -> bool:
        return record.endswith(b".")


class Broken(Through):
    def passing(self, data: bytes) -> bytes:
        raise RuntimeError(data)


class Leaving(Through):
    def passing(self, data: bytes) -> bytes:
        raise SystemExit(3)


class Wordless(Through):
    def passing(self, data: bytes) -> bytes:
        return None  # type: ignore[return-value] # which is what is wrong with it


class Torn(Through):
    def whole(self, record: bytes) -> bool:
        raise RuntimeError(record)


class Claim:
    """An ear between a pipe that the test writes to and one that it reads from."""

    def __init__(self, through: Through) -> None:
        end, self.writer = os.pipe()
        self.reader, self.stream = os.pipe()
        self.records: list[bytes] = []
        self.ear = Ear(self.stream, end, through)
        self.ear.tell(lambda _, record: self.records.append(record))

    def end(self) -> bytes:
        """The command ends: what has arrived."""
        os.close(self.writer)
        self.ear.finish(PATIENCE)
        os.close(self.stream)
        with open(self.reader, "rb") as file:
            return file.read()


def test_what_is_written_passes_and_the_filter_has_the_last_word():
    claim = Claim(Marked())
    os.write(claim.writer, b"one\rtwo\nxx\n")
    assert claim.end() == b"one\rtwo\n\n<end>"
    assert claim.records == [b"one", b"two", b"xx"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=30) | st.sampled_from([b"\r", b"\n", b"\b", b"\r\n"]), max_size=12))
def test_records_are_the_same_however_they_are_cut(chunks):
    claim = Claim(Through())
    for chunk in chunks:
        os.write(claim.writer, chunk)
    whole = b"".join(chunks)
    assert claim.end() == whole
    for separator in (b"\r", b"\b"):
        whole = whole.replace(separator, b"\n")
    assert claim.records == [record for record in whole.split(b"\n") if record]


def test_a_record_that_does_not_end_is_heard_in_part():
    claim = Claim(Through())
    for letter in (b"a", b"b", b"c"):
        os.write(claim.writer, letter * 32768)
        os.read(claim.reader, 32768)
    assert claim.end() == b""
    assert claim.records == [b"b" * 32768 + b"c" * 32768]


def test_a_record_is_heard_when_its_filter_knows_that_it_is_all_there():
    claim = Claim(Ended())
    os.write(claim.writer, b"\rone")
    os.write(claim.writer, b".")
    wait_until(lambda: claim.records == [b"one."])
    os.write(claim.writer, b"\rtw")
    assert claim.end() == b"\rone.\rtw"
    assert claim.records == [b"one.", b"tw"]


def test_what_was_said_before_anybody_listened_is_heard_then():
    end, writer = os.pipe()
    ear = Ear(2, end, Silent())
    os.write(writer, b"one\ntwo\nthr")
    heard: list[tuple[int, bytes]] = []
    wait_until(lambda: ear._splitter.rest == b"thr")
    ear.tell(lambda stream, record: heard.append((stream, record)))
    assert heard == [(2, b"one"), (2, b"two")]
    os.close(writer)
    ear.finish(PATIENCE)
    assert heard[2:] == [(2, b"thr")]


@pytest.mark.parametrize("through", [Broken, Leaving, Wordless])
def test_a_filter_that_fails_is_done_with_and_every_byte_passes(through, caplog):
    claim = Claim(through())
    os.write(claim.writer, b"one\n")
    assert claim.end() == b"one\n"
    assert "the filter of stream" in caplog.text
    assert claim.records == [b"one"]


def test_a_filter_that_fails_to_say_what_is_whole_is_done_with_too(caplog):
    claim = Claim(Torn())
    os.write(claim.writer, b"one")
    wait_until(lambda: "the filter of stream" in caplog.text)
    os.write(claim.writer, b"two\nthree\n")
    assert claim.end() == b"onetwo\nthree\n"
    assert claim.records[-1] == b"three"


def test_a_command_that_is_only_listened_to_is_told_at_once_that_its_reader_has_gone():
    claim = Claim(Whole())
    os.close(claim.reader)
    wait_until(lambda: not claim.ear.alive)
    with pytest.raises(BrokenPipeError):
        os.write(claim.writer, b"one\n")
    os.close(claim.writer)
    os.close(claim.stream)


def test_what_is_ours_alone_does_not_fail_for_want_of_a_reader():
    claim = Claim(Silent())
    os.close(claim.reader)
    for word in (b"one", b"two", b"three"):
        os.write(claim.writer, word + b"\n")
        wait_until(lambda word=word: word in claim.records)
    os.close(claim.writer)
    claim.ear.finish(PATIENCE)
    os.close(claim.stream)


def test_of_a_flood_the_newest_is_heard_and_every_byte_passes(monkeypatch):
    """What nobody could listen to in time is not cut into records: the command does not wait for that."""
    monkeypatch.setattr(streams, "PAUSE", 3600)
    claim = Claim(Whole())
    words = b"".join(b"line %d\n" % number for number in range(1_000_000))
    got: list[bytes] = []
    reading = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(claim.reader, 1 << 16), b"")))
    reading.start()
    write_all(claim.writer, words)
    os.close(claim.writer)
    claim.ear.finish(PATIENCE)
    os.close(claim.stream)
    reading.join(PATIENCE)
    os.close(claim.reader)
    assert b"".join(got) == words
    assert claim.records[0] == b"line 0"
    assert claim.records[-1] == b"line 999999"
    assert len(claim.records) < 500_000
    assert set(claim.records) <= set(words.splitlines())


def test_where_nobody_reads_the_command_is_told_as_it_would_have_been():
    claim = Claim(Through())
    os.close(claim.reader)
    os.write(claim.writer, b"one\n")
    with pytest.raises(BrokenPipeError):
        write_for_ever(claim.writer)
    os.close(claim.writer)
    claim.ear.finish(PATIENCE)
    os.close(claim.stream)


def test_a_stream_that_somebody_holds_open_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(streams, "DRAIN", 0.05)
    claim = Claim(Through())
    os.write(claim.writer, b"one\n")
    claim.ear.finish(PATIENCE)
    assert not claim.ear.alive
    assert os.read(claim.reader, 100) == b"one\n"
    for descriptor in (claim.writer, claim.stream, claim.reader):
        os.close(descriptor)


def test_a_reader_who_takes_his_time_gets_every_word():
    claim = Claim(Through())
    words = b"words " * 30_000
    writing = threading.Thread(target=write_all, args=(claim.writer, words))
    writing.start()
    got = os.read(claim.reader, 1)
    claim.ear.finish(0.01)
    assert claim.ear.alive
    while len(got) < len(words):
        got += os.read(claim.reader, 65536)
    writing.join(PATIENCE)
    assert claim.end() == b""
    assert got == words


def test_a_full_end_that_does_not_block_is_waited_for():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    words = b"x" * 300_000
    writing = threading.Thread(target=write_all, args=(writer, words))
    writing.start()
    got = b""
    while len(got) < len(words):
        got += os.read(reader, 65536)
    writing.join(PATIENCE)
    assert got == words
    os.close(reader)
    os.close(writer)


def test_a_launched_command_has_an_ear_for_each_claim():
    reader, writer = os.pipe()
    saved = os.dup(2)
    os.dup2(writer, 2)
    try:
        launched = launch(Command(["sh", "-c", "echo words >&2"], claims={2: Marked()}))
        listen(launched)
        for ear in launched.ears:
            ear.finish(PATIENCE)
    finally:
        os.dup2(saved, 2)
        os.close(saved)
    wait_until(launched.reap)
    launched.close()
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read() == b"words\n<end>"


# --- the whole of it


@pytest.mark.tool("dd")
def test_ctrl_c_ends_what_waits_only_for_a_slow_reader(tmp_path):
    (tmp_path / "input").write_bytes(b"x" * 1000)
    reader, writer = os.pipe()
    filler = os.dup(writer)
    os.set_blocking(filler, False)
    with pytest.raises(BlockingIOError):
        write_for_ever(filler)
    os.set_blocking(filler, True)  # it is the same open file description, and the command's
    words = ["dd", f"if={tmp_path}/input", f"of={tmp_path}/output"]
    with started("run", "--progress", "none", "--probe", "dd", *words, stderr=writer) as process:
        wait_until(lambda: (tmp_path / "output").exists() and not children(process.pid))
        wait_until(lambda: process.poll() is not None or process.send_signal(signal.SIGINT))
        assert process.returncode == -signal.SIGINT
    for descriptor in (reader, writer, filler):
        os.close(descriptor)


def write_for_ever(descriptor: int) -> None:
    while True:
        os.write(descriptor, b"words\n")


def children(pid: int) -> bytes:
    with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
        return file.read()
