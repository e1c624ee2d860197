from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from children import wait_until
from dd_runs import SIZE, Fifo, Run, answered, assert_never_asked, make_source

from pollprog.probes import Target
from pollprog.probes.dd_probe import DdProbe
from pollprog.status import Bound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.tool("dd")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_source(tmp_path)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    with Fifo(tmp_path / "fifo") as made:
        yield made


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[int]:
    """Our end of a pipe called ``feed`` that a dd reads from; it can be opened at once."""
    os.mkfifo(tmp_path / "feed")
    end = os.open(tmp_path / "feed", os.O_RDWR | os.O_CLOEXEC)
    yield end
    os.close(end)


def test_the_position_in_the_input_is_counted_from_where_dd_began(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=1000", "skip=300", "count=500"]) as run:
        sample = run.full()
        assert 60_000 <= sample.current <= 80_000, "what a pipe holds, and the block on its way"
        assert (sample.total, sample.source, sample.bound) == (500_000, "dd:input-position", Bound.EXACT)


def test_the_total_is_no_more_than_the_input_has(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=1000", "skip=300", "count=5000"]) as run:
        sample = run.full()
        assert sample.total == SIZE - 300_000


def test_a_total_that_the_user_gave_comes_first(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=1000", "skip=300"]) as run:
        probe = DdProbe(run.target(total=123_456), interval=0.0)
        wait_until(probe.sample)
        assert answered(probe).total == 123_456


def test_standard_input_that_was_read_from_before_is_an_estimate(source: Path, fifo: Fifo) -> None:
    with Run(["sh", "-c", f"exec <{source}; head -c 400000 >/dev/null; dd of={fifo} bs=1000; true"]) as run:
        sample = run.full()
        assert sample.bound is Bound.ESTIMATE
        assert sample.source == "dd:input-position"
        assert sample.total is not None
        assert abs(sample.total - 600_000) < 100_000
        assert sample.current < 200_000


def test_standard_input_that_is_read_from_its_start_is_exact(source: Path, fifo: Fifo) -> None:
    with Run(["sh", "-c", f"exec dd of={fifo} bs=1000 skip=200 <{source}"]) as run:
        sample = run.full()
        assert (sample.total, sample.bound) == (SIZE - 200_000, Bound.EXACT)
        assert sample.current <= 80_000


def test_what_is_read_from_a_pipe_is_told_by_the_position_in_the_output(tmp_path: Path, feed: int) -> None:
    operands = [f"if={tmp_path}/feed", f"of={tmp_path}/out", "bs=1000", "seek=5", "count=9"]
    for more, bound in ([], Bound.LOWER), (["iflag=fullblock"], Bound.EXACT):
        with Run(["dd", *operands, *more]) as run:
            probe = DdProbe(Target(run.tree, run.dd(), launched=False))
            early = probe.sample()
            assert early is None or early.current == 0
            os.write(feed, bytes(3000))
            wait_until(lambda probe=probe: (sample := probe.sample()) and sample.current == 3000)  # type: ignore[misc] # as above
            sample = probe.sample()
            assert sample is not None
            assert (sample.total, sample.source, sample.bound) == (9000, "dd:output-position", bound)


def test_between_two_pipes_what_was_written_is_told(tmp_path: Path, feed: int) -> None:
    with Run(["dd", f"if={tmp_path}/feed", "of=/dev/null", "bs=1000"]) as run:
        probe = DdProbe(Target(run.tree, run.dd(), launched=False))
        os.write(feed, bytes(2000))
        wait_until(lambda: (sample := probe.sample()) and sample.current == 2000)
        sample = probe.sample()
        assert sample is not None
        assert (sample.total, sample.source, sample.bound) == (None, "dd:written", Bound.EXACT)


def test_what_is_appended_is_told_by_what_was_written(tmp_path: Path, feed: int) -> None:
    (tmp_path / "out").write_bytes(bytes(5000))
    with Run(["dd", f"if={tmp_path}/feed", f"of={tmp_path}/out", "bs=1000", "oflag=append", "conv=notrunc"]) as run:
        probe = DdProbe(Target(run.tree, run.dd(), launched=False))
        os.write(feed, bytes(2000))
        wait_until(lambda: (sample := probe.sample()) and sample.current == 2000)


def test_a_count_of_blocks_from_an_endless_device_is_exact(fifo: Fifo) -> None:
    with Run(["dd", "if=/dev/zero", f"of={fifo}", "bs=1000", "count=500"]) as run:
        sample = run.full()
        assert (sample.total, sample.source, sample.bound) == (500_000, "dd:written", Bound.EXACT)


def test_a_file_that_dd_was_started_with_is_not_taken_for_its_input(source: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "late")
    with Run(["sh", "-c", f"exec dd if={tmp_path}/late of=/dev/null bs=1000 <{source}"]) as run:
        probe = DdProbe(run.target(), interval=0.0)
        wait_until(lambda: run.process.catches(signal.SIGUSR1))
        assert probe.sample() is None
        assert_never_asked(probe, "shorten")


def test_an_input_that_is_not_there_any_more_is_not_looked_at(source: Path, fifo: Fifo) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=1000"]) as run:
        wait_until(lambda: (io := run.dd().io()) and io.wchar)
        source.unlink()
        sample = run.full()
        assert sample.source == "dd:written"


def test_what_was_known_is_told_while_dd_ends(source: Path, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(["dd", f"if={source}", f"of={fifo}", "bs=4k"]) as run:
        probe = run.unheard()
        before = probe.sample()
        monkeypatch.setattr(type(probe._process), "file", lambda *_: None)  # it has closed its files
        after = probe.sample()
        assert before is not None
        assert after is not None
        assert (after.current, after.total, after.source) == (before.current, before.total, before.source)
