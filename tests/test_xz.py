"""xz: a recording, what is asked and taken out again, and the real one, wherever its output goes."""

from __future__ import annotations

import json
import lzma
import os
import re
import shlex
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from terminals import ENVIRONMENT, Terminal, shell

from pollprog.launch import Command
from pollprog.probes import xz as xz_module
from pollprog.probes.asking import AnswerFilter
from pollprog.probes.testing import Recording, play
from pollprog.probes.xz import ANSWER, TITLE, TOOL

RECORDINGS = Path(__file__).parent / "data" / "recordings"


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """The recorded one, with a file of ours for its own, which is elsewhere."""
    with (tmp_path / "txt.bin").open("wb") as file:
        file.truncate(1_000_000)
    said = Recording.load(RECORDINGS / "xz_v_usr1_nop")
    return Recording([*said.argv[:-1], str(tmp_path / "txt.bin")], said.output)


@pytest.mark.parametrize("size", [None, 1, 5])
def test_a_recording_is_told_however_it_is_cut(recording: Recording, size: int | None) -> None:
    samples = play(TOOL, recording, size=size)
    assert list(dict.fromkeys(sample.current for sample in samples)) == [42_000, 94_000, 148_000]
    assert {sample.total for sample in samples} == {1_000_000}


def test_of_several_files_those_that_are_done_count(recording: Recording) -> None:
    said = b"a (1/3)\n\r 50.0 %  x\r\nb (2/3)\n\r 50.0 %  x\r\nb (7/9)\n\r 60,0 %  x\r\n"
    samples = play(TOOL, Recording(["xz", *[recording.argv[-1]] * 3], {2: said}), size=1)
    assert list(dict.fromkeys(sample.current for sample in samples)) == [500_000, 1_500_000, 1_600_000]


@pytest.mark.parametrize(
    "said", [b"\r --- %  1.5 MiB\r\n", b"42 percent\n", b"xz: 42 % of it\n", b"\xff 4 %\n", b"\r 4.2\r\n"]
)
def test_what_says_no_share_says_nothing(recording: Recording, said: bytes) -> None:
    assert play(TOOL, Recording(recording.argv, {2: said})) == []


def test_without_files_nothing_is_said_or_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xz_module, "can_hear", lambda *_: True)
    command = Command(["xz", "-9"])
    assert TOOL.prepare(command) is command
    assert play(TOOL, Recording(["xz", "-9"], {2: b"\r  4.2 %  x\r\n"})) == []


def test_a_name_that_would_tear_a_line_keeps_it_from_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xz_module, "can_hear", lambda *_: True)
    command = Command(["xz", "a\nb"])
    assert TOOL.prepare(command) is command


# --- what is taken out


ANSWERS = [
    b"\r  4.2 %           1.4 MiB / 4.0 MiB = 0.350                                    \r\n",
    b"\r --- %  1.5 MiB\r\n",
]
OTHERS = [b"xz: a: Compressed data is corrupt\n", b"big (1/1)\n", b"\n", b"4.2 %\n", b"\xff\xfe\n", b"begun"]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(["answer", "title", "other"]), st.integers(0, 9)), max_size=20),
    st.integers(1, 99),
)
def test_exactly_the_answers_are_left_out(events, size) -> None:
    through = AnswerFilter(ANSWER, TITLE)
    plain, passed = b"", b""
    for kind, which in events:
        said = b""
        if kind == "other":
            said = OTHERS[which % len(OTHERS)]
            if not said.endswith(b"\n"):
                said += b"\n"
            plain += said
        else:
            through.expect(1)
            if kind == "title":
                said += b"big.img (%d/12)\n" % which
            said += ANSWERS[which % 2]
        for start in range(0, len(said), size):
            passed += through.passing(said[start : start + size])
    passed += through.end()
    assert passed == plain
    assert through.expected == 0


def test_what_somebody_else_asked_for_passes() -> None:
    through = AnswerFilter(ANSWER, TITLE)
    said = b"big (1/1)\n" + ANSWERS[0]
    assert through.passing(said) + through.end() == said


def test_a_title_without_an_answer_passes_after_a_moment() -> None:
    through = AnswerFilter(ANSWER, TITLE)
    through.expect(1)
    assert through.passing(b"big (1/1)\n") == b""
    assert through.passing(b"") == b"big (1/1)\n"
    through.expect(-1)
    assert through.passing(b"overwrite? ") == b"overwrite? "


# --- the real one


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(os.urandom(300_000))
    (tmp_path / "bad.xz").write_bytes(lzma.compress(os.urandom(300_000))[:-100])
    return tmp_path


@pytest.mark.tool("xz")
@pytest.mark.parametrize("streams", ["2>err", "2>&1 | cat", "> out 2>err", "> out", "2>/dev/null"])
@pytest.mark.parametrize("words", ["-kc -1 file", "-kcv -1 -T2 file file", "-dkc bad.xz", "-c -1 < file"])
def test_what_it_prints_and_how_it_ends_is_as_without_us(source: Path, words: str, streams: str) -> None:
    results = []
    for before in ("", "pollprog run --progress none --"):
        script = f"cd {source}; rm -f out err; {before} xz {words} {streams} | sha256sum; echo ${{PIPESTATUS[0]}}"
        done = shell(f"exec bash -c {shlex.quote(script)}")
        files = [path.read_bytes() if (path := source / name).exists() else b"" for name in ("out", "err")]
        said = done.stdout + done.stderr + files[1].decode()
        results.append(
            (re.sub(r"iB = .*|.* +-\n", "", said) if "2>&1" in streams else re.sub(r"iB = .*", "", said), files[0])
        )
    assert results[0] == results[1]


@pytest.mark.tool("xz")
@pytest.mark.parametrize("options", ["-0", "-0 -T2 --block-size=512KiB"])
def test_progress_comes_and_none_of_it_stays_in_the_log(tmp_path: Path, options: str) -> None:
    (tmp_path / "file").write_bytes(os.urandom(6_000_000))
    reader, writer = os.pipe()
    words = f"cd {tmp_path}; exec pollprog run --progress none --progress-fd 3 --interval 0.1 -- xz {options} -kc file 3>lines 2>err"
    packed = b""
    with subprocess.Popen(["sh", "-c", words], stdout=writer, env=ENVIRONMENT) as running:
        os.close(writer)
        while data := os.read(reader, 65536):  # no faster than it takes to be asked now and then
            packed += data
            if len(told(tmp_path)) < 5 and running.poll() is None:
                time.sleep(0.05)
    os.close(reader)
    assert (running.returncode, (tmp_path / "err").read_text()) == (0, "")
    assert lzma.decompress(packed) == (tmp_path / "file").read_bytes()
    lines = told(tmp_path)
    assert len(lines) >= 5
    assert all(old["fraction"] <= new["fraction"] < 1 for old, new in pairwise(lines))


def told(folder: Path) -> list[dict[str, Any]]:
    """What was told on the word of xz itself, in whole lines: one may be just being written."""
    lines = (
        [json.loads(line) for line in (folder / "lines").read_text().rpartition("\n")[0].splitlines()]
        if (folder / "lines").exists()
        else []
    )
    return [line for line in lines if line.get("source") == "xz"]


@pytest.mark.tool("xz")
def test_in_a_terminal_it_is_not_asked(source: Path) -> None:
    terminal = Terminal()
    try:
        terminal.run("sh", "-c", f"cd {source}; pollprog run --progress none xz -k -1 file")
        assert terminal.wait_end() == 0
    finally:
        terminal.close()
    assert terminal.seen == b""
    assert lzma.decompress((source / "file.xz").read_bytes()) == (source / "file").read_bytes()


@pytest.mark.tool("xz")
def test_in_a_terminal_it_is_listened_to_where_it_tells_by_itself(source: Path) -> None:
    terminal = Terminal()
    try:
        script = f"cd {source}; pollprog run --progress none --progress-fd 9 --interval 0.1 xz -v -k -9 --threads=1 file 9>lines"
        terminal.run("bash", "-c", script)
        assert terminal.wait_end() == 0
    finally:
        terminal.close()
    assert b"100 %" in terminal.seen
