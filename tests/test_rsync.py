"""rsync: recordings, what is added and taken out again, and the real one, wherever its output goes."""

from __future__ import annotations

import json
import os
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from terminals import Terminal, shell
from tool_runs import looked_at

from pollprog.launch import Command
from pollprog.probes import program
from pollprog.probes import rsync as rsync_module
from pollprog.probes.program import Whole
from pollprog.probes.rsync import TOOL
from pollprog.probes.rsync_lines import Listened, filter_joined, filters
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Unit
from pollprog.streams import Splitter

RECORDINGS = Path(__file__).parent / "data" / "recordings"
WORDS = ["rsync", "-a", "--info=progress2", "a/", "b/"]


# --- what it says


@pytest.mark.parametrize("size", [None, 1, 100])
def test_a_recording_is_told_in_bytes_however_it_is_cut(size: int | None) -> None:
    recording = Recording.load(RECORDINGS / "rsync_progress2")
    samples = play(TOOL, recording, size=size)
    assert all(old.current <= new.current for old, new in pairwise(samples))
    last = samples[-1]
    assert last.total is not None
    assert 0.99 < last.current / last.total <= 1
    assert (last.unit, last.bound, last.source) == (Unit.BYTES, Bound.LOWER, "rsync")


def test_what_it_prints_when_it_is_asked_is_told() -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "rsync_vtalrm"), size=1)
    assert samples[-1].current == 84_000_000


def test_while_it_looks_for_files_there_is_no_total() -> None:
    line = b"\r  %d00,000,000  %d%%  9.99MB/s    0:00:09 (xfr#%d, %s-chk=3/9)"
    data = line % (1, 50, 1, b"ir") + line % (2, 40, 2, b"ir") + line % (3, 30, 3, b"to") + b"\n"
    totals = [sample.total for sample in play(TOOL, Recording(WORDS, {1: data}), size=1)]
    assert totals[:2] == [None, None]
    assert totals[-1] is not None
    assert 300e6 / 0.31 <= totals[-1] <= 300e6 / 0.30


def test_a_single_large_file_has_a_total_from_the_start() -> None:
    data = b"".join(b"\r %d,000,000 %d%% 9.99MB/s 0:00:09  " % (n, n) for n in range(1, 100)) + b"\n"
    samples = play(TOOL, Recording(WORDS, {1: data}), size=1)
    assert samples[-1].total is not None
    assert abs(samples[-1].total - 100_000_000) < 1_100_000
    assert samples[0].bound is Bound.ESTIMATE


def test_what_is_zero_percent_says_nothing_yet() -> None:
    data = b"\r         32,768   0%    0.00kB/s    0:00:00  \r  104,333,312  33%   97.33MB/s    0:00:02  \r"
    (sample,) = play(TOOL, Recording(WORDS, {1: data}), size=1)
    assert sample.current == 104_333_312


@pytest.mark.parametrize("part", ["0:00:02  ", "0:00:03 (xfr#1, to-chk=0/1)", "0:00:03 (xfr#21, ir-chk=10/1021)"])
def test_a_piece_is_heard_when_it_is_written_and_not_when_the_next_one_comes(part: str) -> None:
    splitter = Splitter(Listened().whole)
    piece = f"    104,333,312  33%   97.33MB/s    {part}".encode()
    heard = [splitter.split(b"\r" + piece[:1]), *(splitter.split(bytes([byte])) for byte in piece[1:])]
    assert heard == [[]] * (len(piece) - 1) + [[piece]]
    assert splitter.split(b"   \r") == [b"   "]


def test_where_it_tells_of_each_file_files_are_counted() -> None:
    data = (
        b"f1\n\r 32,768   2%    0.00kB/s    0:00:00  \r 1,500,000 100%  116.61MB/s    0:00:00 (xfr#1, to-chk=4/6)\n"
        b"f2\n\r 32,768   2%    0.00kB/s    0:00:00  \r 1,500,000 100%  116.61MB/s    0:00:00 (xfr#2, to-chk=1/6)\n"
    )
    samples = play(TOOL, Recording(["rsync", "-aP", "a", "b"], {1: data}), size=1)
    assert [(s.current, s.total, s.unit) for s in dict.fromkeys(samples)][-1] == (5, 6, Unit.ITEMS)


@pytest.mark.parametrize(
    "said",
    [
        b"12 34%",
        b"sent 1,000 bytes  received 2 bytes",
        b"  1.000.000  99%  1,2MB/s",
        b"\xff\xfe",
        b"f 50% 1.0MB/s 0:00:01",
    ],
)
def test_what_looks_otherwise_says_nothing(said: bytes) -> None:
    assert play(TOOL, Recording(WORDS, {1: said + b"\n"})) == []


# --- what is added


@pytest.fixture
def pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both streams may be heard, and rsync knows the option."""
    for module in (program, rsync_module):
        monkeypatch.setattr(module, "can_hear", lambda *_: True)
        monkeypatch.setattr(module, "holds", lambda *_: True)
    monkeypatch.setattr(
        Command, "claiming", lambda self, stream, through: self._with(claims={**self.claims, stream: through})
    )


def test_where_both_streams_can_be_heard_the_option_is_added(pipes: None) -> None:
    command = TOOL.prepare(Command(["rsync", "-av", "a", "b"]))
    assert command.argv == ("rsync", "--info=progress2", "-av", "a", "b")
    assert set(command.claims) == {1, 2}


@pytest.mark.parametrize("option", ["--info=name", "--info=stats2,del1", "--info=NAME0"])
def test_an_info_that_is_not_about_progress_keeps_nothing_from_being_added(option: str, pipes: None) -> None:
    command = TOOL.prepare(Command(["rsync", option, "a", "b"]))
    assert command.argv == ("rsync", "--info=progress2", option, "a", "b")
    assert set(command.claims) == {1, 2}


@pytest.mark.parametrize(
    "option",
    [
        *("-P", "-avP", "--progress", "--info=progress2", "--info", "--no-progress"),
        *("--info=name,progress0", "--info=none", "--info=ALL0", "--info=name,", "--info=help", "--inf=name"),
    ],
)
def test_what_the_user_says_of_progress_wins_and_is_listened_to(option: str, pipes: None) -> None:
    command = TOOL.prepare(Command(["rsync", option, "a", "b"]))
    assert command.argv == ("rsync", option, "a", "b")
    assert isinstance(command.claims[1], Whole)
    assert set(command.claims) == {1}


@pytest.mark.parametrize(
    "option", ["--server", "--daemon", "-q", "-aq", "--quiet", "--out-format=%n", "--stderr=all", "--list-only"]
)
def test_others_are_left_alone(option: str, pipes: None) -> None:
    command = Command(["rsync", option, "a", "b"])
    assert TOOL.prepare(command) is command


def test_an_rsync_that_does_not_know_the_option_is_not_given_it(
    tmp_path: Path, pipes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(rsync_module, "can_hear", lambda *_: True)
    script = tmp_path / "rsync"
    script.write_text("#!/bin/sh\n# total transfer progress PROGRESS\n")
    script.chmod(0o755)
    command = Command([str(script), "a", "b"])
    assert TOOL.prepare(command) is command
    assert TOOL.prepare(Command([f"{tmp_path}/no/rsync", "a", "b"])).claims == {}


# --- what is taken out


PIECES = [
    b"\r         32,768   0%    0.00kB/s    0:00:00  ",
    b"\r      1,500,000   1%  279.85MB/s    0:00:00 (xfr#1, to-chk=460/462)",
    b"\r          1.50M   1%  279.85MB/s    0:00:00 (xfr#12, ir-chk=1460/1462)   ",
]


class Rsync:
    """Writes as rsync does: without progress, and with what that adds."""

    def __init__(self) -> None:
        self.plain = {1: b"", 2: b""}
        self.written: list[tuple[int, bytes]] = []
        self._due = False

    def progress(self, piece: bytes) -> None:
        self.written.append((1, piece))
        self._due = True

    def message(self, stream: int, text: bytes) -> None:
        self.plain[stream] += text
        self.written.append((stream, (b"\n" if self._due else b"") + text))
        self._due = False

    def end(self) -> None:
        if self._due:
            self.written.append((1, b"\n"))


EVENTS = st.lists(
    st.tuples(st.just(0), st.sampled_from(PIECES))
    | st.tuples(st.just(1), st.sampled_from([b"f1\n", b"a b\n", b"x -> y\n", b"created directory d\n", b"\n"]))
    | st.tuples(st.just(2), st.sampled_from([b"rsync: [sender] failed\n", b"file has vanished: x\n"])),
    max_size=20,
)


@settings(deadline=None, max_examples=300)
@given(EVENTS, st.booleans(), st.lists(st.integers(1, 50), max_size=30))
@example([(0, PIECES[1]), (2, b"rsync: failed\n")], True, [])
def test_what_passes_is_what_rsync_would_have_printed(events, summary, sizes) -> None:
    rsync = Rsync()
    for kind, text in events:
        if kind == 0:
            rsync.progress(text)
        elif text != b"\n":
            rsync.message(kind, text)
    if summary:
        rsync.message(1, b"\n")
        rsync.message(1, b"sent 1,000 bytes  received 35 bytes  345.00 bytes/sec\n")
        rsync.message(1, b"total size is 10,000\n")
    rsync.end()
    output, errors = through = filters()
    passed = {1: b"", 2: b""}
    for stream, data in rsync.written:
        left = data
        while left:
            size = sizes.pop() if sizes else len(left)
            passed[stream] += through[stream - 1].passing(left[:size])
            left = left[size:]
        for number in (2, 1):
            passed[number] += through[number - 1].passing(b"") if not sizes else b""
    passed[1] += output.end()
    passed[2] += errors.end()
    assert passed == rsync.plain


@pytest.mark.parametrize("late", [1, 2])
def test_whichever_stream_comes_late_each_gets_its_own(late: int) -> None:
    rsync = Rsync()
    rsync.message(1, b"f1\n")
    rsync.progress(PIECES[1])
    rsync.message(2, b"rsync: [sender] failed\n")
    rsync.message(1, b"\n")
    rsync.message(1, b"sent 1 bytes\n")
    through = filters()
    passed = {1: b"", 2: b""}
    for number in (3 - late, late):
        for stream, data in rsync.written:
            if stream == number:
                passed[stream] += through[stream - 1].passing(data)
    for number in (1, 2):  # a moment later
        passed[number] += through[number - 1].passing(b"")
        passed[number] += through[number - 1].end()
    assert passed == rsync.plain


def test_what_only_begins_like_progress_passes() -> None:
    output, _ = filters()
    assert output.passing(b"a\r 1,5") == b"a"
    assert output.passing(b"") == b"\r 1,5"
    assert output.passing(b"\rx\n") == b"\rx\n"
    assert output.passing(b"\r" + b" " * 300) == b"\r" + b" " * 300
    assert output.end() == b""


# --- the real one


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder to copy, of which one file cannot be read by whom the test runs rsync as."""
    for number in range(6):
        (tmp_path / "tree" / f"sub {number}").mkdir(parents=True)
        (tmp_path / "tree" / f"sub {number}" / f"sent {number}").write_bytes(os.urandom(400_000))
    (tmp_path / "tree" / "sub 3" / "hidden").write_bytes(b"x" * 1000)
    (tmp_path / "tree" / "sub 3" / "hidden").chmod(0)
    return tmp_path


def printed(text: bytes) -> bytes:
    """What rsync printed, without what is another each time."""
    return re.sub(
        rb"[\d.,]+ bytes/sec|(sent|received|speedup is) [\d.,]+|time: [\d.,]+|bytes (sent|received): [\d,]+", b"N", text
    )


@pytest.mark.tool("rsync", "setpriv")
@pytest.mark.parametrize("streams", ["2>err | cat", "> out 2>err", "2>&1 | cat", "2>err", "> out"])
@pytest.mark.parametrize("options", ["-a", "-av --stats", "-aP", "-a --info=name,stats2"])
def test_what_it_prints_and_how_it_ends_is_as_without_us(tree: Path, options: str, streams: str) -> None:
    drop = "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all" if os.geteuid() == 0 else ""
    results = []
    for before in ("", "pollprog run --progress none --"):
        script = f"cd {tree}; rm -rf copy out err; {before} rsync {options} --bwlimit=9999 tree/ copy/ {streams}; echo ${{PIPESTATUS[0]}}"
        done = shell(f"exec {drop} bash -c {shlex.quote(script)}")
        files = [printed(path.read_bytes()) if (path := tree / name).exists() else b"" for name in ("out", "err")]
        said = [re.sub(rb"\r[^\r\n]*", b"\r", printed(done.stdout.encode())), printed(done.stderr.encode())]
        results.append((said, files))
        assert (tree / "copy" / "sub 5" / "sent 5").read_bytes() == (tree / "tree" / "sub 5" / "sent 5").read_bytes()
    if "P" not in options:
        assert results[0] == results[1]
    assert [said[0].splitlines()[-1] for said, _ in results] == [b"23", b"23"]


@pytest.mark.tool("rsync")
def test_progress_comes(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(30):
        (tmp_path / "tree" / str(number)).write_bytes(os.urandom(1_000_000))
    script = f"cd {tmp_path}; pollprog run --progress none --progress-fd 3 --interval 0.1 rsync -a --bwlimit=12000 tree/ copy/ 3>lines 2>err | cat"
    done = shell(script)
    assert (done.stdout, (tmp_path / "err").read_text()) == ("", "")
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    told = [line for line in lines[:-1] if line["source"] == "rsync"]
    assert len(told) >= 5
    assert all(old["current"] <= new["current"] for old, new in pairwise(told))
    assert all(line["fraction"] is None or line["fraction"] < 1 for line in told)
    assert lines[-1]["state"] == "succeeded"


@pytest.mark.tool("rsync")
@pytest.mark.parametrize("source", ["tree/", "tree", "{}/tree/"])
def test_a_folder_is_told_of_one_that_runs_already(source: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(100):
        (tmp_path / "tree" / str(number)).write_bytes(os.urandom(200_000))
    samples = looked_at(f"rsync -a --bwlimit=16000 {source.format(tmp_path)} copy", tmp_path, launched=False)
    told = [sample for sample in samples if sample.total == 20_000_000]
    assert len({sample.current for sample in told}) >= 3
    assert all(old.current <= new.current for old, new in pairwise(told))
    assert samples[-1].total == 20_000_000  # and not what it has written, too
    assert samples[-1].current > 10_000_000


@pytest.mark.tool("rsync", "setpriv")
@pytest.mark.parametrize("options", ["-a", "-av --stats", "-v"])
def test_in_a_terminal_what_is_seen_is_as_without_us(tree: Path, options: str) -> None:
    drop = "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all" if os.geteuid() == 0 else ""
    seen = []
    for before in ("", "pollprog run --progress none --progress-fd 9 --"):
        command = f"{before} rsync {options} -r --bwlimit=9999 tree/ copy/ 9>lines"
        terminal = Terminal(12, 80)
        try:
            terminal.run("sh", "-c", f"cd {tree}; rm -rf copy; {drop} bash -c {shlex.quote(command)}; echo status $?")
            assert terminal.wait_end() == 0
        finally:
            terminal.close()
        seen.append(printed(terminal.seen))
    assert seen[0] == seen[1]
    assert b"status 23" in seen[0]


@pytest.mark.tool("rsync")
@pytest.mark.parametrize("option", ["-a", "-aP", "--info=progress2 -a"])
def test_in_a_terminal_progress_comes(tmp_path: Path, option: str) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(20):
        (tmp_path / "tree" / str(number)).write_bytes(os.urandom(1_000_000))
    script = (
        f"cd {tmp_path}; pollprog run --progress-fd 9 --interval 0.1 rsync {option} --bwlimit=12000 tree/ copy/ 9>lines"
    )
    terminal = Terminal(12, 80)
    try:
        terminal.run("bash", "-c", script)
        assert terminal.wait_end() == 0
    finally:
        terminal.close()
    told = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()][:-1]
    told = [line for line in told if line["source"].startswith("rsync")]
    assert len(told) >= 2
    assert all(old["current"] <= new["current"] for old, new in pairwise(told))


@given(st.lists(st.sampled_from([*PIECES, b"f1\n", b"rsync: failed\n", b"\n"])), st.integers(1, 60))
def test_what_goes_to_one_place_passes_as_it_would_have_been_printed(parts: list[bytes], size: int) -> None:
    plain = written = b""
    due = False
    for part in parts:
        if part in PIECES:
            written, due = written + part, True
        else:
            plain, written, due = plain + part, written + (b"\n" if due else b"") + part, False
    written += b"\n" if due else b""
    through = filter_joined()
    passed = [through.passing(written[at : at + size]) for at in range(0, len(written), size)]
    assert b"".join([*passed, through.end()]) == plain
