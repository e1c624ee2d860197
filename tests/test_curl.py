"""curl: recordings of its meter and its headers, and the real one, wherever its output goes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tool_runs import PLACES, gets, told, told_of_a_running_one
from web import web

from pollprog.launch import Command
from pollprog.probes import curl as tool_module
from pollprog.probes.curl import TOOL
from pollprog.probes.testing import Recording, play
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDINGS = Path(__file__).parent / "data" / "recordings"
MIB = 1 << 20
HEADERS = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "CURL_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


# --- its meter


@pytest.mark.parametrize("size", [None, 1, 7])
def test_the_meter_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "curl"), size=size)
    done = list(dict.fromkeys((sample.current, sample.total, sample.bound) for sample in samples))
    assert done == [(int(12.7 * MIB), 24 * MIB, Bound.ESTIMATE), (24 * MIB, 24 * MIB, Bound.ESTIMATE)]


@pytest.mark.parametrize("size", [None, 1, 7])
def test_the_bar_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "curl_hash"), size=size)
    assert samples[0].current == 62
    assert (samples[-1].current, samples[-1].total, samples[-1].unit) == (1000, 1000, Unit.PARTS)


def test_figures_of_less_than_a_mebibyte_are_understood() -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "curl_stdout_pipe"), size=1)
    assert (samples[0].current, samples[0].total) == (6400 << 10, 24 * MIB)


@pytest.mark.parametrize("size", [None, 1, 7])
def test_where_the_length_is_not_known_the_percentage_is_not_believed(size: int | None) -> None:
    assert play(TOOL, Recording.load(RECORDINGS / "curl_nolen"), size=size) == []


def test_each_transfer_of_several_is_a_phase() -> None:
    meter = (RECORDINGS / "curl").with_suffix(".stderr").read_bytes()
    samples = play(TOOL, Recording(["curl", "a", "b"], {2: meter + b"\n" + meter}), size=1)
    assert [sample.phase for sample, other in pairwise(samples) if sample.phase != other.phase] == [""]
    assert samples[-1].phase == "transfer 2"


def test_what_curl_never_prints_says_nothing() -> None:
    data = (
        b"100 24.0M   50 12.7M    0     0  12.5M      0  0:00:01  0:00:01 --:--:-- 12.5M\r"
        b" 53 24.0M   53 99.0M    0     0  12.5M      0  0:00:01  0:00:01 --:--:-- 12.5M\r"
        b" 53 24,0M   53 12,7M    0     0  12.5M      0  0:00:01  0:00:01 --:--:-- 12.5M\r"
        b" 53 24.0M   53 12.7M    0     0  12.5M\r### 106.2%\r 6.2\r\xff\x00%\n" + b"#" * 5000 + b" 6.2%\r"
    )
    assert play(TOOL, Recording(["curl", "a"], {2: data})) == []


# --- the headers


def answer(*heads: bytes, words: tuple[str, ...] = (), written: int = 500) -> list[tuple[int, int | None, str, Bound]]:
    """What is told once these headers have come and so much has been written, to a pipe."""
    io = {"rchar": 0, "wchar": written, "read_bytes": 0, "write_bytes": 0}
    look = {"t": 0.0, "pid": 1000, "argv": ["curl", *words, "a"], "io": io}
    recording = Recording(["curl", *words, "a"], {3: b"".join(heads)}, looks=[(0.0, [look])])
    return [(one.current, one.total, one.phase, one.bound) for one in play(TOOL, recording)[-1:]]


def test_the_length_is_that_of_the_answer_which_brings_the_file() -> None:
    told_then = [(500, 1000, "", Bound.ESTIMATE)]
    assert answer(HEADERS) == told_then
    assert (
        answer(HEADERS.replace(b"/1.1", b"/2").replace(b" OK", b" ").replace(b"Content-L", b"content-l")) == told_then
    )
    moved = b"HTTP/1.1 302 Found\r\nContent-Length: 7\r\nLocation: x\r\n\r\n"
    assert answer(b"HTTP/1.1 200 Connection established\r\n\r\n", moved, HEADERS)[0][:2] == (500, 1000)
    assert answer(moved) == answer(b"HTTP/1.1 404 x\r\nContent-Length: 7\r\n\r\n") == []
    assert answer(HEADERS.replace(b"Content-Length", b"X-Content-Length")) == []


@pytest.mark.parametrize("length", [b"1_000", b"-1000", b"1000 bytes", b"9" * 19, b"", b"\xff"])
def test_what_is_no_length_is_not_believed(length: bytes) -> None:
    assert answer(HEADERS.replace(b"1000", length)) == []


def test_of_what_is_unpacked_on_the_way_the_length_is_no_total() -> None:
    packed = HEADERS.replace(b"Server: x", b"Content-Encoding: gzip")
    assert answer(packed, words=("--compressed",)) == []
    assert len(answer(packed)) == len(answer(HEADERS, words=("--compressed",))) == 1


def test_what_was_written_before_is_none_of_the_second_transfer() -> None:
    assert answer(HEADERS, HEADERS, written=1200) == [(200, 1000, "transfer 2", Bound.ESTIMATE)]
    unsized = HEADERS.replace(b"Content-Length: 1000\r\n", b"")
    assert answer(unsized, HEADERS, written=1200) == []


# --- what is added


@pytest.mark.tool("curl")
@pytest.mark.parametrize("before", [[], ["-q"], ["--disable"]])
def test_a_descriptor_is_added(before: list[str]) -> None:
    command = TOOL.prepare(Command(["curl", *before, "-fsSL", "-o", "x", "a"]))
    assert command.status is not None
    added = ["curl", *before, "-D", "/proc/self/fd/9", "-fsSL", "-o", "x", "a"]
    assert list(command.status(command.argv, 9)) == added


@pytest.mark.parametrize(
    "words",
    [
        ["-D", "x"],
        ["--dump-h", "x"],
        ["-K", "x"],
        ["-sI"],
        ["-i"],
        ["a", "--next"],
        ["-:"],
        ["-Z"],
        ["-T", "x"],
        ["-qo", "x"],
    ],
)
def test_the_users_own_option_wins(words: list[str]) -> None:
    assert TOOL.prepare(Command(["curl", *words, "a"])).status is None


@pytest.mark.tool("curl")
@pytest.mark.parametrize(
    ("line", "added"),
    [
        ("dump-header = x", False),
        ("dump: x", False),
        (" -D x", False),
        ("-sD x", False),
        ("parallel", False),
        ("# -D x\nuser-agent = -D\nheader = a\nconnect-timeout 3\n--proxy x", True),
    ],
)
def test_the_users_own_configuration_wins(line: str, *, added: bool, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".curlrc").write_text(f"silent\n{line}\n")
    assert (TOOL.prepare(Command(["curl", "a"])).status is not None) is added
    assert TOOL.prepare(Command(["curl", "-q", "a"])).status is not None


def test_a_program_that_does_not_know_it_is_not_given_it_but_heard_if_it_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tool_module, "listening", lambda command, _: command.with_words(["heard"]))
    assert TOOL.prepare(Command(["/bin/true", "a"])).argv == ("heard",)
    silent = Command(["/bin/true", "-s", "a"])
    assert TOOL.prepare(silent) is silent


# --- the real one


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with web() as where:
        yield where


@pytest.mark.tool("curl")
@pytest.mark.parametrize("place", PLACES)
def test_what_it_prints_and_writes_and_how_it_ends_is_as_without_us(place: str, address: str, tmp_path: Path) -> None:
    # of a file, as what it prints of a server is another each time
    fresh = "rm -f body; head -c 3000 /dev/zero > small"
    gets(f"curl -# -o body file://{tmp_path}/small -o none file://{tmp_path}/none", place, tmp_path, fresh=fresh)
    assert (tmp_path / "body").stat().st_size == 3000
    gets(
        f"curl -sSfL -o none {address}/nothing -o body -w '%{{http_code}}\\n' {address}/moved/3000/a",
        place,
        tmp_path,
        fresh=fresh,
    )
    assert (tmp_path / "body").stat().st_size == 3000


@pytest.mark.tool("curl")
def test_in_a_terminal_it_prints_what_it_prints_without_us(address: str, tmp_path: Path) -> None:
    fresh = "head -c 3000 /dev/zero > small; head -c 99 /dev/zero > part"
    gets(f"curl -# -C - -o part file://{tmp_path}/small", "", tmp_path, terminal=True, fresh=fresh)
    assert (tmp_path / "part").stat().st_size == 3000
    gets(f"curl -sSf {address}/nothing", "2>err", tmp_path, terminal=True)


@pytest.mark.tool("curl")
def test_it_is_told_to_the_byte_in_a_terminal_though_it_is_silent_and_goes_on_where_it_was(
    address: str, tmp_path: Path
) -> None:
    (tmp_path / "part").write_bytes(bytes(4_000_000))
    said = told(f"curl -sL -C - -o part {address}/moved/slow/5000000/a", tmp_path, "curl", terminal=True)[:-1]
    assert len(said) >= 2
    assert {(line["total"], line["bound"]) for line in said} == {(5_000_000, "exact")}
    assert all(4_000_000 <= old["current"] <= new["current"] for old, new in pairwise(said))
    assert (tmp_path / "part").read_bytes() == bytes(5_000_000)


@pytest.mark.tool("curl")
def test_what_it_writes_to_a_pipe_is_told_and_not_what_somebody_writes_to_a_file_that_it_was_given(
    address: str, tmp_path: Path
) -> None:
    lines = told(f"curl -s {address}/slow/5000000/a", tmp_path, "curl")  # it is given the file of these lines
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {5_000_000}
    assert lines[-2]["current"] > 2_000_000


@pytest.mark.tool("curl")
def test_without_a_length_evidence_says_how_much_has_come(address: str, tmp_path: Path) -> None:
    lines = told(f"curl -o body {address}/unsized/slow/5000000/a 2>err", tmp_path, "evidence:output-size")
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {None}


@pytest.mark.tool("curl")
def test_one_that_runs_already_is_told_by_the_file_into_which_its_bar_goes(address: str, tmp_path: Path) -> None:
    lines = told_of_a_running_one(f"curl -# -o body {address}/slow/slow/5000000/a 2>err", tmp_path, "curl")
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {1000}
