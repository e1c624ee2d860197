from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from children import as_nobody, block_device, child, target_for, wait_until

from pollprog.errors import UsageError
from pollprog.probes.fdinfo import probe
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    file = tmp_path / "large"
    file.write_bytes(bytes(100_000))
    return file


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small"
    file.write_bytes(bytes(1_000))
    return file


def test_the_position_in_the_largest_file_that_is_read_is_told(large: Path, small: Path) -> None:
    with child() as reader, target_for(reader.pid) as target:
        looked = probe(target, None)
        assert looked.sample() is None
        reader.does(f"a = open({str(small)!r}, 'rb', buffering=0); b = open({str(large)!r}, 'rb', buffering=0)")
        fd = reader.does("b.read(70_000); a.read(500); answer = b.fileno()")
        sample = looked.sample()
        assert sample is not None
        assert (sample.current, sample.total, sample.unit) == (70_000, 100_000, Unit.BYTES)
        assert (sample.source, sample.phase, sample.bound) == (f"fdinfo:{fd}", "large", Bound.EXACT)
        looked.close()


def test_a_file_that_was_chosen_stays_so_until_it_is_closed_and_the_next_is_a_new_phase(
    large: Path, small: Path
) -> None:
    with child() as reader, target_for(reader.pid) as target:
        looked = probe(target, None)
        reader.does(f"a = open({str(small)!r}, 'rb', buffering=0); a.read(500)")
        first = looked.sample()
        reader.does(f"b = open({str(large)!r}, 'rb', buffering=0)")
        second = looked.sample()
        reader.does("a.close()")
        third = looked.sample()
        reader.does("b.close()")
        assert first is not None
        assert second is not None
        assert third is not None
        assert [(s.current, s.total, s.phase) for s in (first, second, third)] == [
            (500, 1_000, "small"),
            (500, 1_000, "small"),
            (0, 100_000, "large"),
        ]
        assert looked.sample() is None


def test_another_file_behind_the_same_descriptor_is_not_taken_for_the_old_one(large: Path, small: Path) -> None:
    with child() as reader, target_for(reader.pid) as target:
        looked = probe(target, None)
        reader.does(f"fd = os.open({str(small)!r}, os.O_RDONLY); os.read(fd, 700)")
        first = looked.sample()
        reader.does(f"new = os.open({str(large)!r}, os.O_RDONLY); os.dup2(new, fd); os.close(new)")
        second = looked.sample()
        assert first is not None
        assert second is not None
        assert (first.current, first.phase, second.current, second.phase) == (700, "small", 0, "large")


def test_a_descriptor_can_be_named(large: Path, small: Path) -> None:
    with child() as reader, target_for(reader.pid, total=5_000) as target:
        reader.does(f"fd = os.open({str(small)!r}, os.O_RDONLY); os.dup2(fd, 200); os.read(200, 10)")
        reader.does(f"b = open({str(large)!r}, 'rb')")
        looked = probe(target, "200")
        sample = looked.sample()
        assert sample is not None
        assert (sample.current, sample.total, sample.source) == (10, 5_000, "fdinfo:200")
        reader.does("os.close(200)")
        assert looked.sample() is None
        assert probe(target, "0").sample() is None, "a pipe has no position"


def test_what_is_written_has_no_total_but_that_of_the_user(tmp_path: Path) -> None:
    with child() as writer, target_for(writer.pid) as target:
        fd = writer.does(
            f"f = open({str(tmp_path / 'new')!r}, 'wb', buffering=0); f.write(bytes(9)); answer = f.fileno()"
        )
        assert probe(target, None).sample() is None
        looked = probe(target, fd)
        without = looked.sample()
        target.total = 18
        with_total = looked.sample()
        assert without is not None
        assert with_total is not None
        assert (without.current, without.total) == (9, None)
        assert (with_total.current, with_total.total) == (9, 18)


def test_a_process_of_several_threads_may_have_read_ahead(large: Path) -> None:
    with child() as reader, target_for(reader.pid) as target:
        reader.does(f"f = open({str(large)!r}, 'rb', buffering=0); f.read(10)")
        reader.does("gate = threading.Event(); other = threading.Thread(target=gate.wait); other.start()")
        looked = probe(target, None)
        sample = looked.sample()
        assert sample is not None
        assert sample.bound is Bound.UPPER
        reader.does("gate.set(); other.join()")
        wait_until(lambda: target.process.stat().threads == 1)
        sample = looked.sample()
        assert sample is not None
        assert sample.bound is Bound.EXACT


def test_a_file_that_was_cut_off_behind_the_reader_is_read_to_its_end(large: Path) -> None:
    with child() as reader, target_for(reader.pid) as target:
        looked = probe(
            target, reader.does(f"f = open({str(large)!r}, 'rb', buffering=0); f.read(); answer = f.fileno()")
        )
        os.truncate(large, 40_000)
        cut = looked.sample()
        os.truncate(large, 0)
        empty = looked.sample()
        assert cut is not None
        assert empty is not None
        assert (cut.current, cut.total) == (40_000, 40_000)
        assert (empty.current, empty.total) == (0, None)


def test_a_name_that_is_no_text_makes_a_phase_that_is(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe.img"
    with open(name, "wb") as file:
        file.write(bytes(10))
    with child() as reader, target_for(reader.pid) as target:
        reader.does(f"f = open({name!r}, 'rb')")
        sample = probe(target, None).sample()
        assert sample is not None
        assert sample.phase.encode("utf-8").decode("utf-8").endswith(".img")


@pytest.mark.tool("losetup")
def test_a_block_device_has_a_position_and_a_size() -> None:
    with block_device() as (device, size), child() as reader, target_for(reader.pid) as target:
        reader.does(f"fd = os.open({device!r}, os.O_RDONLY); os.lseek(fd, 4096, 0)")
        sample = probe(target, None).sample()
        assert sample is not None
        assert (sample.current, sample.total) == (4096, size)


def test_nothing_is_said_of_a_process_that_has_ended_or_hides_its_files(large: Path) -> None:
    with child() as reader, target_for(reader.pid) as target:
        reader.does(f"f = open({str(large)!r}, 'rb')")
        looked = probe(target, None)
        with as_nobody():
            assert looked.sample() is None
        assert looked.sample() is not None
        reader.end()
        assert looked.sample() is None


@pytest.mark.parametrize("argument", ["", "x", "-1", "3.0", "٣", " 3", "9" * 30, "/dev/null"])
def test_what_is_no_descriptor_is_refused_with_an_example(argument: str) -> None:
    with target_for(os.getpid()) as target, pytest.raises(UsageError, match="fdinfo:3"):
        probe(target, argument)
