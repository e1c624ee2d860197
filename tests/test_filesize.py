from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from children import block_device, child, let_pass, target_for, wait_until

from pollprog.errors import UsageError
from pollprog.probes.filesize import probe
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from pathlib import Path

    from children import Child

MIB = 1 << 20


def opens(writer: Child, path: Path) -> None:
    """Let the child open a file for writing, as its ``f``."""
    writer.does(f"f = open({str(path)!r}, 'wb', buffering=0)")


def writes(writer: Child, size: int) -> None:
    """Let the child write bytes into its ``f`` that no file system can make smaller."""
    writer.does(f"f.write(os.urandom({size})); os.fsync(f.fileno())")


def test_what_a_process_writes_into_its_file_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with child() as writer, target_for(writer.pid, total=10_000) as target:
        looked = probe(target, str(out))
        assert looked.sample() is None, "there is no file yet"
        opens(writer, out)
        empty = looked.sample()
        writes(writer, 3000)
        filled = looked.sample()
        writes(writer, 4000)
        more = looked.sample()
        assert empty is not None
        assert filled is not None
        assert more is not None
        assert (empty.current, filled.current, more.current, more.total) == (0, 3000, 7000, 10_000)
        assert (more.unit, more.source, more.bound) == (Unit.BYTES, "filesize", Bound.EXACT)
        assert empty.activity < filled.activity < more.activity
        out.unlink()
        assert looked.sample() is None
        looked.close()


@pytest.mark.tool("cp")
def test_a_real_copy_is_followed_to_its_end(tmp_path: Path) -> None:
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.write_bytes(os.urandom(32 * MIB))
    with subprocess.Popen(["cp", source, destination]) as copy, target_for(copy.pid) as target:
        looked = probe(target, str(destination))
        told = []

        def ended() -> bool:
            over = copy.poll() is not None
            sample = looked.sample()
            if sample is not None:
                told.append(sample.current)
            return over

        wait_until(ended)
        assert copy.returncode == 0
        assert told == sorted(told)
        assert told[-1] == 32 * MIB


def test_the_file_that_was_there_before_says_nothing_until_it_is_touched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(bytes(9000))
    let_pass(out)
    with child() as writer, target_for(writer.pid, total=10_000) as target:
        looked = probe(target, str(out))
        assert looked.sample() is None
        opens(writer, out)
        writes(writer, 100)
        sample = looked.sample()
        assert sample is not None
        assert sample.current == 100


def test_the_file_that_takes_its_place_is_looked_at_afresh(tmp_path: Path) -> None:
    out, new = tmp_path / "out", tmp_path / ".out.new"
    out.write_bytes(bytes(9000))
    let_pass(out)
    with child() as writer, target_for(writer.pid) as target:
        looked = probe(target, str(out))
        opens(writer, new)
        writes(writer, 500)
        assert looked.sample() is None, "it is the old one still"
        writer.does(f"os.rename({str(new)!r}, {str(out)!r})")
        first = looked.sample()
        writes(writer, 200)
        second = looked.sample()
        assert first is not None
        assert second is not None
        assert (first.current, second.current) == (500, 700)


def test_where_the_end_is_set_first_what_is_allocated_tells(tmp_path: Path) -> None:
    out = tmp_path / "disk.img"
    with child() as writer, target_for(writer.pid) as target:
        looked = probe(target, str(out))
        opens(writer, out)
        assert looked.sample() is not None
        writer.does(f"f.truncate({4 * MIB})")
        empty = looked.sample()
        writes(writer, MIB)
        quarter = looked.sample()
        writes(writer, MIB)
        half = looked.sample()
        assert empty is not None
        assert quarter is not None
        assert half is not None
        assert empty.current < MIB // 2 < quarter.current < MIB * 3 // 2 < half.current < MIB * 5 // 2
        assert (half.total, half.source, half.bound) == (4 * MIB, "filesize:blocks", Bound.ESTIMATE)
        target.total = 8 * MIB
        told = looked.sample()
        assert told is not None
        assert told.total == 8 * MIB


@pytest.mark.tool("fallocate")
def test_where_space_is_allocated_first_the_end_tells(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.touch()
    if subprocess.run(["fallocate", "-n", "-l", str(4 * MIB), out], capture_output=True).returncode:
        pytest.skip("this file system cannot allocate beforehand")
    with child() as writer, target_for(writer.pid, total=4 * MIB) as target:
        looked = probe(target, str(out))
        writer.does(f"f = open({str(out)!r}, 'r+b', buffering=0)")
        writes(writer, MIB)
        sample = looked.sample()
        assert sample is not None
        assert (sample.current, sample.source, sample.bound) == (MIB, "filesize", Bound.EXACT)


def test_a_sparse_file_whose_end_moves_on_and_on_is_as_long_as_its_end_says(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with child() as writer, target_for(writer.pid, total=100 * MIB) as target:
        looked = probe(target, str(out))
        opens(writer, out)
        told = []
        for _ in range(4):
            sample = looked.sample()
            assert sample is not None
            told.append(sample.current)
            writer.does(f"f.seek({10 * MIB}, 1)")
            writes(writer, 4096)
        sample = looked.sample()
        assert sample is not None
        assert told == sorted(told)
        assert (sample.current, sample.source, sample.bound) == (4 * (10 * MIB + 4096), "filesize", Bound.EXACT)


def test_a_file_that_is_full_from_the_start_says_nothing_until_it_moves(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with child() as writer, target_for(writer.pid, total=MIB) as target:
        opens(writer, out)
        writes(writer, MIB)
        looked = probe(target, str(out))
        assert looked.sample() is None
        writer.does("f.seek(0)")
        writes(writer, 4096)
        assert looked.sample() is None, "it is overwritten in place: how far, its size does not tell"
        writer.does("f.truncate(0); f.seek(0)")
        assert looked.sample() is not None
        writes(writer, 1000)
        sample = looked.sample()
        assert sample is not None
        assert sample.current == 1000


def test_a_process_that_only_computes_is_alive(tmp_path: Path) -> None:
    with child() as writer, target_for(writer.pid) as target:
        opens(writer, tmp_path / "out")
        looked = probe(target, str(tmp_path / "out"))
        first = looked.sample()
        assert first is not None

        def moved() -> bool:
            writer.does("sum(range(300000))")
            sample = looked.sample()
            assert sample is not None
            assert sample.current == first.current
            return sample.activity > first.activity

        wait_until(moved)


def test_what_becomes_something_else_than_a_file_says_nothing(tmp_path: Path) -> None:
    with child() as writer, target_for(writer.pid) as target:
        looked = probe(target, str(tmp_path / "out"))
        (tmp_path / "out").mkdir()
        assert looked.sample() is None


def test_a_relative_path_is_taken_from_our_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with child() as writer, target_for(writer.pid) as target:
        looked = probe(target, "out")
        monkeypatch.chdir("/")
        opens(writer, tmp_path / "out")
        assert looked.sample() is not None


def test_what_cannot_be_an_output_file_is_refused_with_what_to_say(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reasons = {
        None: "filesize:FILE",
        "": "filesize:FILE",
        str(tmp_path): f"treesize:{tmp_path}",
        "/dev/null": "procio:wchar",
        str(tmp_path / "fifo"): "procio:wchar",
        "a\0b": "cannot be the name",
    }
    with target_for(os.getpid()) as target:
        for argument, reason in reasons.items():
            with pytest.raises(UsageError, match=re.escape(reason)) as raised:
                probe(target, argument)
            assert str(raised.value).isprintable()


@pytest.mark.tool("losetup")
def test_a_block_device_is_refused_as_its_size_does_not_grow() -> None:
    with (
        block_device() as (path, _),
        target_for(os.getpid()) as target,
        pytest.raises(UsageError, match="block device"),
    ):
        probe(target, path)
