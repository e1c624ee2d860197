"""ffmpeg: a recording played to its probe; and the real one, where it is installed, wherever its output goes."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from terminals import ENVIRONMENT, PATIENCE, Terminal
from tool_runs import BEFORE, told

from pollprog.launch import Command
from pollprog.probes import ffmpeg
from pollprog.probes.ffmpeg import TOOL
from pollprog.probes.ffmpeg_probe import keeps_length, length, seconds
from pollprog.probes.testing import Recording, play

RECORDINGS = Path(__file__).parent / "data" / "recordings"
REAL = pytest.mark.tool("ffmpeg")


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "ffmpeg_progress"), size=size)
    assert {sample.total for sample in samples} == {60_000_000}
    assert all(old.current <= new.current for old, new in pairwise(samples))
    assert samples[-1].current == 60_000_000 or samples[-1].current > 59_000_000
    assert len({sample.current for sample in samples}) > 5


def test_without_its_standard_error_there_is_no_total() -> None:
    recording = Recording.load(RECORDINGS / "ffmpeg_progress")
    samples = play(TOOL, Recording(recording.argv, {3: recording.output[3]}), size=7)
    assert {sample.total for sample in samples} == {None}
    assert samples[-1].current > 59_000_000


def test_what_becomes_longer_than_its_input_loses_its_total() -> None:
    errors = b"  Duration: 00:00:10.00, start: 0.000000\n"
    progress = b"out_time_us=9000000\nout_time_us=10040000\nout_time_us=20000000\n"
    pieces = [(0.0, 2, len(errors)), (1.0, 3, len(progress))]
    samples = play(TOOL, Recording(["ffmpeg", "-i", "a", "b"], {2: errors, 3: progress}, pieces), size=1)
    numbers = dict.fromkeys((sample.current, sample.total) for sample in samples)
    assert (10_000_000, 10_000_000) in numbers
    assert list(numbers)[-1] == (20_000_000, None)


def test_what_ffmpeg_never_writes_is_not_believed() -> None:
    errors = b"  Duration: N/A, start: 0\n  Dauer: 00:00:10.00, x\nDuration: 1\n"
    data = b"out_time_us=N/A\nout_time_us=-23220\nout_time_ms=5\nout_time=00:00:01\nout_time_us=\xff\n\x00\n"
    assert play(TOOL, Recording(["ffmpeg", "-i", "a"], {2: errors, 3: data})) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-i a b", 100),
        ("-ss 10 -i a b", 90),
        ("-i a -ss 0:10 -t 5 b", 5),
        ("-t 1:30 -i a -ss 10 b", 80),
        ("-ss 20 -i a -to 00:01:00.5 b", 60.5),
        ("-i a -ss 20 -to 60 b", 40),
        ("-i a -t 500 b", 100),
        ("-i a -t 500ms b", 0.5),
        ("-i a -ss 200 b", None),
        ("-i a -i b c", None),
        ("-i a -filter:v setpts=2*PTS b", None),
        ("-i a -filter_complex x b", None),
        ("-i a -vf setpts=2*PTS b", None),
        ("-i a -vf scale=1280:-2,fps=25 -af volume=2 -r 30 -r:v 30 b", 100),
        ("-ss 10 -i a -filter:v:0 yadif@one -filter:a loudnorm b", 90),
        ("-r 50 -i a b", None),
        ("-r:v 50 -i a b", None),
        ("-i a -vf scale,trim=end=5 b", None),
        ("-i a -vf scale -af atempo=2 b", None),
        ("-i a -vf scale -vf tpad=stop_duration=5 b", None),
        ("-i a -vf fps=25:start_time=9 b", None),
        ("-i a -filter_script:v x b", None),
        ("-stream_loop 3 -i a b", None),
        ("-sseof -5 -i a b", None),
        ("-i a -frames:v 5 b", None),
        ("-i a -t soon b", None),
        ("-f lavfi b", None),
    ],
)
def test_how_long_the_output_becomes(words: str, expected: float | None) -> None:
    assert length(["ffmpeg", *words.split()], 100) == (None if expected is None else int(expected * 1e6))


@pytest.mark.parametrize(
    ("graph", "keeps"),
    [
        ("scale", True),
        (" hflip , vflip", True),
        ("drawtext=text='a, trim=1; b':x=if(eq(1\\,1)\\,2\\,3),crop=80:60", True),
        ("drawtext=text='it'\\\\\\''s',negate", True),
        ("drawtext=text='trim", False),
        ("scale,setpts=PTS/2", False),
        ("split[a][b];[a][b]hstack", False),
        ("[in]scale[out]", False),
        ("movie=a.png", False),
        ("sws_flags=lanczos;scale", False),
        ("scale2ref", False),
        ("", False),
    ],
)
def test_which_filters_keep_the_length(graph: str, *, keeps: bool) -> None:
    assert keeps_length(graph) is keeps


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:02:03.5", 3723.5),
        ("2:03", 123),
        ("7", 7),
        ("250us", 0.00025),
        ("1:5ms", None),
        ("-5", None),
        ("", None),
        ("N/A", None),
    ],
)
def test_how_a_time_is_written(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


@pytest.fixture
def knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is one that knows the option."""
    monkeypatch.setattr(ffmpeg, "holds", lambda *_: True)
    monkeypatch.delenv("FFREPORT", raising=False)


@pytest.mark.usefixtures("knows")
@pytest.mark.parametrize("words", [["ffmpeg", "-i", "a", "b"], ["/opt/ffmpeg", "-y", "-v", "error", "-i", "a", "b"]])
def test_a_descriptor_is_added(words: list[str]) -> None:
    command = TOOL.prepare(Command(words))
    assert command.status is not None
    assert list(command.status(command.argv, 9)) == [words[0], "-progress", "pipe:9", *words[1:]]


@pytest.mark.usefixtures("knows")
@pytest.mark.parametrize(
    "words",
    [["-progress", "x", "-i"], ["-report", "-i"], ["-v", "debug", "-i"], ["-loglevel", "level+verbose", "-i"], ["-h"]],
)
def test_the_users_own_option_wins_and_its_log_of_options_stays_as_it_is(words: list[str]) -> None:
    assert TOOL.prepare(Command(["ffmpeg", *words, "a"])).status is None


def test_a_program_that_does_not_know_it_is_not_given_it() -> None:
    assert TOOL.prepare(Command(["/bin/true", "-i", "a"])).status is None


# --- the real one


def film(folder: Path, length: float) -> None:
    words = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc=d={length}:s=320x240", "-c:v", "mpeg4", "film.avi"]
    subprocess.run(words, cwd=folder, check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)


@REAL
@pytest.mark.parametrize("place", ["2>err", "2>err >out", "2>&1"])
@pytest.mark.parametrize("options", ["-nostats", "-v error", "-nostats -v error -i missing"])
def test_what_it_prints_and_writes_is_as_without_us(place: str, options: str, tmp_path: Path) -> None:
    film(tmp_path, 2)
    results = []
    for before in BEFORE:
        script = (
            f"{before} ffmpeg -y -nostdin {options} -i film.avi -c:v mpeg4 -fflags +bitexact new.avi {place}; echo $?"
        )
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, check=True, timeout=PATIENCE,
            env=ENVIRONMENT,
        )  # fmt: skip
        names = [tmp_path / name for name in ("out", "err", "new.avi")]
        results.append([done.stdout, done.stderr, *(path.read_bytes() if path.exists() else b"" for path in names)])
    assert masked(results[0]) == masked(results[1])


def masked(results: list[bytes]) -> list[bytes]:
    """Without the addresses and the paces that ffmpeg prints, which differ each time."""
    return [re.sub(rb"@ 0x[0-9a-f]+|(?:fps|speed)= *[0-9.]+x?", b"@", text) for text in results]


@REAL
def test_a_slow_one_is_told_with_a_total_in_a_terminal_too(tmp_path: Path) -> None:
    film(tmp_path, 2.4)
    command = "ffmpeg -y -nostdin -re -i film.avi -c:v mpeg4 new.avi"
    lines = told(f"{command} 2>err", tmp_path, "ffmpeg")
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {2_400_000}
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(lines))
    terminal = Terminal()
    try:
        terminal.run("bash", "-c", f"cd {tmp_path}; pollprog run --progress-fd 3 {command} 3>lines2")
        assert terminal.wait_end() == 0
    finally:
        terminal.close()
    assert '"total":2400000' in (tmp_path / "lines2").read_text()


@REAL
@pytest.mark.parametrize(
    ("options", "total"),
    [
        ("-vf scale=160:120,fps=10,drawbox -r 30", 2_400_000),
        ("-filter:v yadif=1,setpts=0.9*PTS", None),
    ],
)
def test_filters_that_keep_the_length_leave_a_total(options: str, total: int | None, tmp_path: Path) -> None:
    film(tmp_path, 2.4)
    lines = told(f"ffmpeg -y -nostdin -re -i film.avi {options} -c:v mpeg4 new.avi 2>err", tmp_path, "ffmpeg")
    assert len(lines) >= 3
    assert {line["total"] for line in lines[:-1]} == {total}
