"""wget: recordings of what it prints, and the real one, wherever its output goes."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import child, target_for
from tool_runs import PLACES, gets, told, told_of_a_running_one
from web import web

from pollprog.launch import Command
from pollprog.probes import wget as tool_module
from pollprog.probes.testing import Recording, play
from pollprog.probes.wget import TOOL
from pollprog.probes.wget_probe import WgetProbe, is_log
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDINGS = Path(__file__).parent / "data" / "recordings"
WHOLE = 25165824
REQUEST = b"--2026-11-23 09:12:24--  http://127.0.0.1:1/f.bin\n"
TIMES = re.compile(rb"[0-9-]{10} [0-9:]{8}|\([0-9.]+ [KMG]?B/s\)|(?<=[0-9]%) +[0-9.]+[KMG]? *[=0-9.a-z]+|[0-9.]+m?s")
"""What wget prints is another each time: when, and how fast."""


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(
    ("name", "shares"), [("wget_dot_mega", [12, 25, 37, 50, 62, 75, 87, 100]), ("wget_force_bar", [0, 10, 20, 31, 41])]
)
def test_where_its_file_cannot_be_seen_its_percentage_of_the_length_is_told(
    name: str, shares: list[int], size: int | None
) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / name), size=size)
    done = list(dict.fromkeys(sample.current for sample in samples))
    assert done[: len(shares)] == [WHOLE * share // 100 for share in shares]
    assert done[-1] == WHOLE
    assert {(one.total, one.phase, one.bound) for one in samples} == {(WHOLE, "wg.out", Bound.LOWER)}


@pytest.mark.parametrize("size", [None, 1])
def test_without_its_words_there_is_the_percentage(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "wget_q_show"), size=size)
    assert {(one.current, one.total, one.unit) for one in samples} == {(100, 100, Unit.PARTS)}


def test_words_of_another_language_say_nothing_but_their_percentage_does() -> None:
    words = REQUEST + "Länge: 25165824 (24M)\nWird in »x« gespeichert.\n".encode()
    assert play(TOOL, Recording(["wget", "a"], {2: words})) == []
    rows = b" 3072K ........ ........ 25% 12.4M 1s\n"
    samples = play(TOOL, Recording(["wget", "a", "b"], {2: words + rows + words + rows}), size=1)
    assert [(one.current, one.total, one.unit) for one in samples[:1]] == [(25, 100, Unit.PARTS)]
    assert list(dict.fromkeys(one.phase for one in samples)) == ["", "file 2"]


def test_what_wget_never_prints_says_nothing() -> None:
    data = (
        b"Length: 1_000 (1K)\nLength: unspecified [text/html]\nLength: -4\nLength: " + b"9" * 19 + b"\n 50% of it\n"
        b" 50K ..... 101% 1M\n50%[x] 1M\nx 50%\n 50K ..... 12%\n\xff\x00K . 1% \n" + b" " * 2000 + b"1K . 1% \n"
    )
    assert play(TOOL, Recording(["wget", "a"], {2: data})) == []


def test_what_is_in_the_file_counts_and_a_second_file_is_a_phase(tmp_path: Path) -> None:
    with child() as worker, target_for(worker.pid) as target:
        probe = WgetProbe(target)
        told_of = []
        for name in ("a", "b"):
            lines = REQUEST + b"Length: 1000 (1.0K), 600 (600) remaining [x]\nSaving to: '" + name.encode() + b"'\n"
            worker.does(f"f = open({str(tmp_path / name)!r}, 'wb', buffering=0); f.write(bytes(400))")
            for line in lines.split(b"\n"):
                probe.feed(2, line)
            told_of.append(probe.sample())
        worker.does("f.write(bytes(601))")
        told_of.append(probe.sample())
    assert [(one.current, one.total, one.phase, one.bound) for one in told_of if one] == [
        (400, 1000, "a", Bound.EXACT),
        (400, 1000, "b", Bound.EXACT),
    ]
    assert told_of[-1] is None  # it is larger than it can be: it is unpacked on the way, or another file


def test_of_what_is_unpacked_the_length_is_no_total() -> None:
    data = REQUEST + b"Length: 1000\nSaving to: 'x'\n 50K ..... 12% 1M\n"
    samples = play(TOOL, Recording(["wget", "--compression=auto", "a"], {2: data}))
    assert {(one.current, one.total) for one in samples} == {(12, 100)}


def test_it_is_heard_where_it_says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_module, "listening", lambda command, stream: command.with_words(["heard", str(stream)]))
    for words in (["-q"], ["-b"], ["-nvo", "log"], ["--output-file=log"], ["--quiet", "--show-progress"]):
        command = Command(["wget", *words, "a"])
        assert TOOL.prepare(command) is command
    assert TOOL.prepare(Command(["wget", "a"])).argv == ("heard", "2")


@pytest.mark.parametrize("words", [["-o", "dir/log"], ["-olog"], ["--append-output=log"], ["-a", "log"]])
def test_its_log_is_known_by_its_name(words: list[str]) -> None:
    with child(*words) as worker, target_for(worker.pid) as target:
        logs = is_log(target)
    assert [path for path in ("/x/log", "/x/wget-log", "/wget-log.1", "/x/dir", "/x/wget", "") if logs(path)] == [
        "/x/log",
        "/x/wget-log",
        "/wget-log.1",
    ]


def test_a_file_that_it_has_closed_is_as_large_as_it_is(tmp_path: Path) -> None:
    with child() as worker, target_for(worker.pid) as target:
        probe = TOOL.probe(target)
        for line in (b"Length: 5 [text/plain]", b"Saving to: 'part'", b"     0K .......... 40% 1M 0s"):
            probe.feed(2, line)
        worker.does(f"f = open({str(tmp_path / 'part')!r}, 'wb'); f.write(b'abc'); f.flush()")
        told = [probe.sample()]
        worker.does("f.write(b'de'); f.close()")
        told.append(probe.sample())
        (tmp_path / "part").unlink()
        told.append(probe.sample())
    assert [(sample.current, sample.total, sample.bound) for sample in told] == [
        (3, 5, "exact"),
        (5, 5, "exact"),
        (2, 5, "lower"),
    ]


# --- the real one


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with web() as where:
        yield where


@pytest.mark.tool("wget")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_writes_and_how_it_ends_is_as_without_us(place: str, address: str, tmp_path: Path) -> None:
    url = f"{address}/moved/300000/a {address}/nothing"
    gets(f"wget -O body {url}", place, tmp_path, blurred=TIMES)
    assert (tmp_path / "body").stat().st_size == 300_000


@pytest.mark.tool("wget")
def test_it_is_told_to_the_byte_and_where_it_goes_on_what_is_there_counts(address: str, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(bytes(4_000_000))
    lines = told(f"wget -c -O part {address}/slow/5000000/a 2>err", tmp_path, "wget")
    assert len(lines) >= 3
    assert {(line["total"], line["bound"], line["phase"]) for line in lines[:-1]} == {(5_000_000, "exact", "part")}
    assert all(4_000_000 <= old["current"] <= new["current"] for old, new in pairwise(lines[:-1]))


@pytest.mark.tool("wget")
def test_in_a_terminal_it_is_told_too_and_prints_what_it_prints_without_us(address: str, tmp_path: Path) -> None:
    gets(f"wget -nv -O body {address}/3000/a", "", tmp_path, blurred=TIMES, terminal=True)
    lines = told(f"wget -O body {address}/slow/5000000/a", tmp_path, "wget", terminal=True)
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {5_000_000}


@pytest.mark.tool("wget")
def test_one_that_keeps_a_log_is_told_while_it_runs(address: str, tmp_path: Path) -> None:
    words = f"wget -o log -O body {address}/slow/slow/5000000/a"
    lines = told_of_a_running_one(words, tmp_path, "wget")
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {5_000_000}
