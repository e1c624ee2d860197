"""sort: what it reads and writes, in memory and not, and the real one, wherever its output goes."""

from __future__ import annotations

import os
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import child, target_for
from terminals import PATIENCE
from tool_runs import PLACES, gets, looked_at

from pollprog.launch import Command
from pollprog.phases import WHOLE
from pollprog.probes import chooser
from pollprog.probes.sort import TOOL, parse
from pollprog.probes.sort_probe import SortProbe
from pollprog.probes.testing import Recording, play
from pollprog.process import Process
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pollprog.probes import Target

MIB = 1 << 20
RECORDINGS = Path(__file__).parent / "data" / "recordings"
TRIES = 10
"""On a busy machine it may have run to its end before we came to look at it again."""


def test_a_recording_in_memory_is_told_step_by_step() -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "sort"))
    assert list(dict.fromkeys(sample.phase for sample in samples)) == ["reading", "sorting", "writing"]
    assert {(sample.total, sample.source) for sample in samples} == {(WHOLE, "sort")}
    assert all(old.current <= new.current for old, new in pairwise(samples))


@pytest.mark.parametrize(
    ("words", "options", "files"),
    [
        ("sort -o out -k2,2n a -", "ok", ["a", "-"]),
        ("sort -k 2 -nrS 5M -t , a b -T /tmp", "knrStT", ["a", "b"]),
        ("sort -Tcm -uoout a -- -c", "Tuo", ["a", "-c"]),
        ("sort", "", []),
    ],
)
def test_its_words_say_what_it_reads(words: str, options: str, files: list[str]) -> None:
    assert parse(words.split()) == (set(options), files)
    assert TOOL.recognise(Command(words.split()))
    assert TOOL.prepare(Command(words.split())).argv == tuple(words.split())


def test_the_value_of_a_long_option_is_no_file() -> None:
    assert parse(["sort", "--key", "1", "--out=x", "--buffer", "1M", "--unique", "a"])[1] == ["a"]


@pytest.mark.parametrize("word", ["-c", "-C", "-nm", "--merge", "--check=quiet", "--files0-from=list", "--vers"])
def test_what_does_not_sort_is_left_to_evidence(word: str) -> None:
    assert not TOOL.recognise(Command(["sort", word, "a"]))


@pytest.fixture
def sorting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SortProbe]:
    """A probe of a process that is a sort with these words, by what they say."""

    def made(target: Target, *words: str) -> SortProbe:
        monkeypatch.setattr(Process, "argv", lambda _: ["sort", *words])
        return SortProbe(target)

    return made


def test_what_is_in_memory_stands_between_reading_and_writing(
    sorting: Callable[..., SortProbe], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(bytes(8 * MIB))
    with child() as worker, target_for(worker.pid) as target:
        worker.does(f"import os; f = open({str(tmp_path / 'a')!r}, 'rb'); o = open({str(tmp_path / 'out')!r}, 'wb')")
        worker.does("import sys; sys.stdout = os.fdopen(os.dup(1), 'w', 1); os.dup2(o.fileno(), 1)")
        probe = sorting(target, str(tmp_path / "a"))
        samples = [probe.sample()]
        for step in ("f.read()", "1", "os.write(1, bytes(4 << 20))", "os.write(1, bytes(4 << 20))"):
            worker.does(step)
            samples.append(probe.sample())
        worker.does("os.write(1, bytes(4 << 20))")
        assert probe.sample() is None  # more than it can be
    shares = [sample.current / WHOLE for sample in samples if sample]
    assert shares[0] < 0.2
    assert shares[1:] == [0.35, 0.35, 0.825, 1.0]
    assert [sample.phase for sample in samples if sample] == ["reading", "sorting", "sorting", "writing", "writing"]
    assert {(sample.unit, sample.bound) for sample in samples if sample} == {(Unit.PARTS, Bound.ESTIMATE)}


def test_what_goes_to_no_file_counts_as_written_unless_some_was_put_by(
    sorting: Callable[..., SortProbe], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(bytes(8 * MIB))
    with child() as worker, target_for(worker.pid) as target:
        worker.does(f"import os; n = os.open('/dev/null', os.O_WRONLY); f = open({str(tmp_path / 'a')!r}, 'rb')")
        in_memory = sorting(target, str(tmp_path / "a"))
        worker.does("f.read(); os.write(n, bytes(4 << 20))")
        told = in_memory.sample()
        assert told is not None
        assert told.phase == "writing"
        assert 0.82 < told.current / WHOLE < 0.84
    with child() as worker, target_for(worker.pid) as target:
        worker.does(f"import os; n = os.open('/dev/null', os.O_WRONLY); f = open({str(tmp_path / 'a')!r}, 'rb')")
        put_by = sorting(target, str(tmp_path / "a"))
        worker.does("f.read(4 << 20); os.write(n, bytes(4 << 20))")
        assert put_by.sample() is not None
        worker.does("f.read(); os.write(n, bytes(6 << 20))")
        told = put_by.sample()
        assert told is not None
        assert (told.phase, told.current / WHOLE) == ("sorting", 0.7)


def test_of_a_pipe_of_a_small_one_and_of_what_it_writes_over_nothing_is_said(
    sorting: Callable[..., SortProbe], tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(b"a\n")
    (tmp_path / "large").write_bytes(bytes(8 * MIB))
    os.mkfifo(tmp_path / "pipe")
    with child() as worker, target_for(worker.pid) as target:
        for name in ("small", "pipe", "missing"):
            assert sorting(target, str(tmp_path / name)).sample() is None, name
        assert sorting(target).sample() is None
        assert sorting(target, str(tmp_path / "large")).sample() is not None
        worker.does(
            f"import os, sys; sys.stdout = os.fdopen(os.dup(1), 'w', 1); os.dup2(os.open({str(tmp_path / 'large')!r}, os.O_WRONLY), 1)"
        )
        target.launched = False
        assert sorting(target, str(tmp_path / "large")).sample() is None


# --- the real one


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A folder with lines to sort, some megabytes."""
    with (tmp_path / "large").open("w") as file:
        file.writelines(f"{number * 2654435761 % 4294967296:x} and what else there is\n" for number in range(300_000))
    return tmp_path


@pytest.mark.tool("sort")
@pytest.mark.parametrize(
    "command", ["sort -S 2M -T . -o out large", "sort -S 2M -T . < large > out", "sort -o large large"]
)
def test_it_is_told_from_reading_to_writing(command: str, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chooser, "LOOK_AGAIN", 0.0)  # it was a shell a moment ago
    launched = "large large" in command  # one that runs already may be writing over it
    for _ in range(TRIES):
        samples = [sample for sample in looked_at(command, lines, launched=launched) if sample.source == "sort"]
        if len({sample.current for sample in samples}) >= 3 and samples[-1].phase == "writing":
            break
    assert len({sample.current for sample in samples}) >= 3
    assert all(old.current <= new.current for old, new in pairwise(samples))
    assert samples[-1].phase == "writing"
    subprocess.run(["sort", "-c", "large" if launched else "out"], cwd=lines, check=True, timeout=PATIENCE)


@pytest.mark.tool("sort")
def test_what_it_prints_is_as_without_us(lines: Path) -> None:
    for place in PLACES[:3]:
        assert b"status 2" in b"".join(gets("sort missing", place, lines))
    gets("sort -u large", "> out 2>err", lines)
