"""The evidence probe on recordings of real commands, on real commands, and on a process that does one step at a time."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pollprog.errors import UsageError
from pollprog.probes.evidence import Evidence, probe
from pollprog.probes.naming import named, script_among, started_in
from pollprog.process import Io, OpenFile, Process, ProcessTree, Stat
from pollprog.status import Bound
from tests.children import child, target_for, wait_until
from tests.tool_runs import looked_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pollprog.status import Sample

TOLD = "until [ -s lines ]; do sleep 0.05; done"
"""For a shell: wait until something has been told."""
RECORDINGS = Path(__file__).parent / "data" / "evidence"
MIB = 1 << 20


@pytest.mark.parametrize(
    ("folder", "words", "started"),
    [
        ("/a/b/files", ["-a", "files/", "out"], "/a/b/"),
        ("/a/b/out", ["-a", "files/", "./out"], "/a/b/"),
        ("/a/b/c", ["b//c"], "/a/"),
        ("/a/b", ["/a/b", "b/c"], "/a/b"),
        ("/a/b", ["", ".", "..", "xb", "../b"], "/a/b"),
        ("/a", ["a"], "/"),
        ("/", ["/", "a"], "/"),
    ],
)
def test_where_a_program_was_started_that_has_gone_to_what_it_was_told_of(
    folder: str, words: list[str], started: str
) -> None:
    assert started_in(folder, words) == started


@pytest.mark.parametrize(
    ("program", "words", "place"),
    [
        ("python3.11", "python3 -u -W ignore pack.py data", 3),  # the value of an option: as if there were no script
        ("python3", "/usr/bin/python3 pack data", 1),
        ("python3", "python3 -m pack data", 0),
        ("python3", "python3 -Ic code data", 0),
        ("perl", "perl -w pack.pl data", 2),
        ("perl", "perl -lane code data", 0),
        ("node", "node --eval=code data", 0),
        ("python3", "python3 -", 0),
        ("python3", "python3", 0),
        ("cat", "cat pack.py data", 0),
    ],
)
def test_the_script_that_is_run_is_told_from_what_it_works_on(program: str, words: str, place: int) -> None:
    assert script_among(program, words.split()) == place


def test_a_script_that_maps_its_input_is_not_told_of_itself(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(MIB))
    (tmp_path / "pack").write_text(
        f"{'# a long line of words' * 5000}\nimport mmap, time\n"
        "with open('data', 'rb') as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:\n"
        " for _ in range(20):\n  data[:]; time.sleep(0.05)\n"
    )
    script = f"{sys.executable} pack data"
    assert {sample.total for sample in looked_at(script, tmp_path)} == {None}
    (tmp_path / "pack").write_text(
        "import time\nwith open('data', 'rb') as file:\n while file.read(50_000): time.sleep(0.05)\n"
    )
    assert {(sample.total, sample.source) for sample in looked_at(script, tmp_path)} >= {
        (MIB, "evidence:input-position")
    }


# --- recordings: what /proc said of a real command, every 50 ms or so


class Recorded:
    """A process of a recording, at one of its moments."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.start = 1
        self.row: dict[str, object] = {}

    def io(self) -> Io | None:
        counters = self.row["io"]
        return Io(*counters) if isinstance(counters, list) else None

    def files(self) -> list[OpenFile]:
        descriptors = self.row["fd"]
        assert isinstance(descriptors, dict)
        return [
            OpenFile(int(fd), 1, hash(path) & 0xFFFFFFFF, size, blocks, position, int(flags, 8))
            for fd, (path, position, flags, size, blocks) in descriptors.items()
        ]

    def path(self, file: OpenFile) -> str:
        descriptors = self.row["fd"]
        assert isinstance(descriptors, dict)
        return str(descriptors[str(file.fd)][0])

    def argv(self) -> list[str]:
        return ["recorded"]

    def environ(self) -> dict[str, str]:
        return {}

    def link(self, _name: str) -> str:
        return "/"


class Recording:
    """A tree that stands still at each moment of a recording in turn."""

    def __init__(self, name: str) -> None:
        rows = [json.loads(line) for line in (RECORDINGS / f"{name}.jsonl").read_text().splitlines()]
        self.moments: list[list[dict[str, object]]] = [[row] for row in rows]
        self._processes: dict[int, Recorded] = {}
        self.root: Recorded | None = None
        self._now: list[dict[str, object]] = []

    def look(self) -> list[tuple[Recorded, Stat]]:
        found = []
        for row in self._now:
            pid = int(str(row["pid"]))
            process = self._processes.setdefault(pid, Recorded(pid))
            process.row = row
            self.root = self.root or process
            found.append((process, Stat(str(row["name"]), "R", 1, 0, 0, int(str(row["threads"])), 1)))
        return found

    def play(self) -> Iterator[tuple[list[dict[str, object]], Sample]]:
        """What was recorded at each moment from the second on, and what evidence makes of it."""
        evidence = Evidence(self)  # type: ignore[arg-type] # a recording is looked at as a tree is
        for moment in self.moments:
            self._now = moment
            sample = evidence.sample()
            if sample is not None and moment is not self.moments[0]:
                yield moment, sample


def of_file(suffix: str, field: int) -> Callable[[list[dict[str, object]]], float]:
    """One field of the recorded file with this name: 1 its position, 3 its size."""

    def look(rows: list[dict[str, object]]) -> float:
        for row in rows:
            descriptors = row["fd"]
            assert isinstance(descriptors, dict)
            for file in descriptors.values():
                if file[0].endswith(suffix):
                    return float(file[field])
        return float("nan")

    return look


@pytest.mark.parametrize(
    ("name", "truth", "whole", "source"),
    [
        ("cp_ext4", of_file("cp1.bin", 3), 402653184, "evidence:output-size"),
        ("cp_4_7G_ext4", of_file("big5.cp", 3), None, "evidence:output-size"),
        ("cat", of_file("cat1.bin", 3), 402653184, "evidence:output-size"),
        ("gzip", of_file("txt.bin", 1), 101133497, "evidence:input-position"),
        ("sha256sum", of_file("big4.bin", 1), 402653184, "evidence:input-position"),
    ],
)
def test_a_recorded_command_is_told_as_its_files_show(name, truth, whole, source) -> None:
    looks = list(Recording(name).play())
    told = [(sample, truth(rows)) for rows, sample in looks if sample.source == source]
    assert len(told) >= len(looks) * 0.6
    for sample, expected in told:
        if not math.isnan(expected):
            assert abs(sample.current - expected) <= 0.01 * (whole or sample.total)
        if whole is not None:
            assert sample.total == whole
    fractions = [sample.current / sample.total for sample, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.6


def test_a_recorded_copy_to_another_file_system_is_told_by_its_position() -> None:
    for rows, sample in Recording("cp_to_tmpfs").play():
        if sample.total is not None:
            assert 0 <= sample.current <= sample.total
            assert abs(sample.current - of_file(".bin", 1)(rows)) <= MIB


def test_a_recorded_qemu_img_is_not_at_its_end_from_the_start() -> None:
    looks = list(Recording("qemu-img_W").play())
    assert of_file("rnd.bin", 1)(looks[0][0]) == 100663296, "its position is"
    fractions = [sample.current / sample.total for _, sample in looks if sample.total]
    assert {sample.source for _, sample in looks} == {"evidence:rchar"}
    assert fractions[0] < 0.5
    assert fractions == sorted(fractions)


def test_recorded_threads_that_read_ahead_make_the_position_an_upper_bound() -> None:
    samples = [sample for _, sample in Recording("zstd_T2").play()]
    assert {sample.bound for sample in samples if sample.source == "evidence:input-position"} == {Bound.UPPER}


# --- a process that does one step at a time


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(os.urandom(8 * MIB))
    return tmp_path


def steps(obedient, evidence: Evidence, *lines: str) -> Sample:
    """Look, let the child take each step, look again; the last look."""
    evidence.sample()
    for line in lines:
        obedient.does(line)
        sample = evidence.sample()
    assert sample is not None
    return sample


def test_a_file_that_is_read_is_told_by_its_position(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        sample = steps(
            obedient, Evidence(target.tree), f"f = os.open({str(folder / 'a')!r}, 0)", f"os.read(f, {2 * MIB})"
        )
        assert (sample.current, sample.total, sample.source) == (2 * MIB, 8 * MIB, "evidence:input-position")
        assert sample.bound is Bound.EXACT


def test_a_library_that_is_loaded_is_no_input(folder: Path) -> None:
    library = folder / "libpq.so.5.15"
    library.write_bytes(bytes(MIB))
    output = str(folder / "made")
    with child() as obedient, target_for(obedient.pid) as target:
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"f = os.open({str(library)!r}, 0); os.read(f, 832)",
            f"g = os.open({output!r}, os.O_WRONLY | os.O_CREAT)",
            f"os.write(g, bytes({2 * MIB}))",
        )
        assert (sample.current, sample.total, sample.source) == (2 * MIB, None, "evidence:output-size")
        sample = steps(obedient, Evidence(target.tree), "os.lseek(f, 0, 0)", f"os.read(f, {MIB // 2})")
        assert (sample.current, sample.total) == (MIB // 2, MIB), "one that is read is"


def test_a_file_whose_head_is_read_before_it_is_mapped_has_no_total(folder: Path) -> None:
    opening = f"f = os.open({str(folder / 'a')!r}, 0)"
    with child() as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        sample = steps(obedient, evidence, opening, "os.read(f, 12)", "os.read(f, 4084)")
        assert sample.total is None
        sample = steps(obedient, evidence, f"os.read(f, {2 * MIB})")
        assert (sample.current, sample.total) == (2 * MIB + 4096, 8 * MIB), "one that is read on is the one"


@pytest.mark.parametrize("name", ["module.py", "module.cpython-311.pyc", "Module.pm"])
def test_a_module_that_an_interpreter_reads_is_no_input(name: str, folder: Path) -> None:
    (folder / name).write_bytes(bytes(MIB))
    with child() as obedient, target_for(obedient.pid) as target:
        opening, reading = f"f = os.open({str(folder / name)!r}, 0)", f"os.read(f, {MIB})"
        evidence = Evidence(target.tree)
        assert steps(obedient, evidence, opening, reading, "os.close(f)").total is None
        opening = f"f = os.open({str(folder / 'a')!r}, 0)"
        sample = steps(obedient, evidence, opening, f"os.read(f, {2 * MIB})")
        assert (sample.current, sample.total) == (2 * MIB, 8 * MIB), "what it reads then is the one"


def test_what_was_read_ahead_by_threads_stays_an_upper_bound_once_they_have_ended(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        begin = "stop = threading.Event(); thread = threading.Thread(target=stop.wait); thread.start()"
        sample = steps(obedient, evidence, f"{begin}; f = os.open({str(folder / 'a')!r}, 0)", f"os.read(f, {2 * MIB})")
        assert sample.bound is Bound.UPPER
        sample = steps(obedient, evidence, "stop.set(); thread.join()", f"os.read(f, {2 * MIB})")
        assert (sample.current, sample.bound) == (4 * MIB, Bound.UPPER)
        sample = steps(obedient, evidence, f"os.read(f, {4 * MIB}); os.close(f)")
        assert (sample.current, sample.total, sample.bound) == (8 * MIB, 8 * MIB, Bound.UPPER)


@pytest.mark.parametrize(
    ("words", "places"),
    [
        (["cf", "out", "-C", "a", "b"], ["", "", "a"]),
        (["cf", "out", "--directory=a", "b", "-C", "c", "d"], ["", "", "a", "a/c"]),
        (["cf", "out", "--directory", "/a", "b", "-Cc", "d", "-C", "/e", "f"], ["", "", "/a", "/a/c", "/e"]),
        (["cf", "out", "-C"], ["", ""]),
    ],
)
def test_what_tar_takes_from_another_folder_is_looked_for_there(words: list[str], places: list[str]) -> None:
    assert [place for _, place in named(words, elsewhere=True)] == places
    assert list(named(words, elsewhere=False)) == [(word, "") for word in words]


def test_files_that_are_named_count_together(folder: Path) -> None:
    names = [str(folder / name) for name in ("a", "b", "c")]
    with child(*names) as obedient, target_for(obedient.pid) as target:
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"f = os.open({names[0]!r}, 0); os.read(f, {8 * MIB}); os.close(f)",
            f"f = os.open({names[1]!r}, 0); os.read(f, {4 * MIB})",
        )
        assert sample.total == 24 * MIB
        assert 12 * MIB <= sample.current <= 14 * MIB, "what the interpreter reads for itself counts too"
        assert sample.bound is Bound.ESTIMATE


def test_a_file_counts_as_often_as_it_is_named(folder: Path) -> None:
    name = str(folder / "a")
    with child(name, name, name) as obedient, target_for(obedient.pid) as target:
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"f = os.open({name!r}, 0); os.read(f, {8 * MIB}); os.close(f)",
            f"f = os.open({name!r}, 0); os.read(f, {4 * MIB})",
        )
        assert sample.total == 24 * MIB
        assert 12 * MIB <= sample.current <= 14 * MIB
        assert sample.bound is Bound.ESTIMATE


def test_a_folder_counts_as_often_as_it_is_named(folder: Path) -> None:
    with child(str(folder), str(folder)) as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        steps(obedient, evidence, f"f = os.open({str(folder / 'a')!r}, 0)", f"os.read(f, {MIB})")
        walk = evidence.survey()
        assert walk is not None
        assert list(walk)[-1] == 24 * MIB
        sample = evidence.sample()
        assert sample is not None
        assert sample.total == 48 * MIB


def test_the_second_copy_of_a_file_is_seen_while_it_is_made_inside_one_call(folder: Path) -> None:
    name = str(folder / "a")
    with child(name, name) as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        steps(
            obedient,
            evidence,
            f"f = os.open({name!r}, 0); g = os.open({str(folder / 'out')!r}, os.O_WRONLY | os.O_CREAT)",
            f"os.copy_file_range(f, g, {8 * MIB})",
        )
        before = evidence.sample()
        assert before is not None
        # what such a call has copied is in the size alone: positions and counters follow when it returns
        sample = steps(obedient, evidence, "os.lseek(f, 0, 0)", f"os.ftruncate(g, {12 * MIB})")
        assert sample.total == 16 * MIB
        assert 4 * MIB <= sample.current - before.current <= 5 * MIB


def test_the_end_of_a_file_was_reached_if_as_much_was_read_since_as_lacked(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        sample = steps(obedient, evidence, f"f = os.open({str(folder / 'a')!r}, 0)", f"os.read(f, {2 * MIB})")
        obedient.does(f"os.read(f, {4 * MIB})")
        io = target.tree.root.io()
        assert io is not None
        assert not evidence.reached(sample, io.rchar)
        obedient.does(f"os.read(f, {2 * MIB})")
        io = target.tree.root.io()
        assert io is not None
        assert evidence.reached(sample, io.rchar)


def test_of_two_that_read_at_the_same_time_one_is_not_all(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        code = "import os, sys\nf = os.open(sys.argv[1], 0)\nfor line in sys.stdin: print(len(os.read(f, 1 << 20)), flush=True)"
        for name in ("a", "b"):
            obedient.does(
                f"p{name} = subprocess.Popen([sys.executable, '-I', '-S', '-c', {code!r}, {str(folder / name)!r}], "
                "stdin=subprocess.PIPE, stdout=subprocess.PIPE)"
            )
        reading = "[(p.stdin.write(b'x' + bytes([10])), p.stdin.flush(), p.stdout.readline()) for p in (pa, pb)]"
        sample = steps(obedient, evidence, reading, reading)
        assert (sample.current, sample.total, sample.bound) == (2 * MIB, 8 * MIB, Bound.ESTIMATE)
        obedient.does("pa.communicate(); pb.communicate()")
        assert not evidence.reached(sample, 1 << 40)


def test_the_end_was_reached_though_what_was_told_last_stood_for_a_while(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        steps(obedient, evidence, f"f = os.open({str(folder / 'a')!r}, 0); os.read(f, {6 * MIB})")
        sample = steps(obedient, evidence, f"g = os.dup(f); os.close(f); os.pread(g, {2 * MIB}, {6 * MIB})")
        io = target.tree.root.io()
        assert io is not None
        assert (sample.current, sample.total) == (6 * MIB, 8 * MIB)
        assert evidence.reached(sample, io.rchar)


@pytest.mark.tool("cat")
@pytest.mark.parametrize(("command", "total"), [("cat a - c <b", 24 * MIB), ("cat b | cat a - c", None)])
def test_a_pipe_among_what_is_named_has_no_total(folder: Path, command: str, total: int | None) -> None:
    running = subprocess.Popen(["sh", "-c", f"{command}; :"], cwd=folder, stdout=subprocess.PIPE)
    assert running.stdout is not None
    try:
        process = Process(running.pid)
        evidence = Evidence(ProcessTree(process))
        seen = []
        for _ in range(40):  # the slow consumer; what it leaves stands in the pipe
            running.stdout.read(1 << 17)
            sample = evidence.sample()
            seen.append(sample.total if sample is not None and sample.source == "evidence:rchar" else None)
        process.close()
    finally:
        running.kill()
        running.stdout.close()
        running.wait()
    assert set(seen[10:]) == {total}


def test_another_pass_over_an_input_of_a_script_that_is_named_too_has_no_total(folder: Path) -> None:
    script, name = folder / "script", str(folder / "a")
    script.write_text("pass")
    with child(str(script), name) as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        whole = f"f = os.open({name!r}, 0); os.read(f, {8 * MIB}); os.close(f)"
        sample = steps(obedient, evidence, f"f = os.open({name!r}, 0); os.read(f, {6 * MIB})")
        assert sample.total == 8 * MIB + 4
        sample = steps(obedient, evidence, f"os.close(f); {whole}; f = os.open({name!r}, 0); os.read(f, {MIB})")
        assert (sample.total, sample.source) == (None, "evidence:rchar")


def test_another_pass_over_an_input_that_is_named_once_has_no_total(folder: Path) -> None:
    name = str(folder / "a")
    with child(name) as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        reading = [f"os.read(f, {4 * MIB})"] * 2
        sample = steps(obedient, evidence, f"f = os.open({name!r}, 0)", *reading)
        assert (sample.total, sample.bound) == (8 * MIB, Bound.EXACT)
        sample = steps(obedient, evidence, f"os.close(f); f = os.open({name!r}, 0); os.read(f, {MIB})")
        assert (sample.total, sample.bound, sample.source) == (None, Bound.ESTIMATE, "evidence:rchar")
        assert sample.current >= 9 * MIB
        assert steps(obedient, evidence, f"os.read(f, {7 * MIB})").total is None


@pytest.mark.tool("sha512sum")
def test_a_real_command_that_is_given_one_file_three_times_is_told_by_all_three(tmp_path: Path) -> None:
    with (tmp_path / "in").open("wb") as file:
        file.truncate(96 * MIB)
    told = lines_of(tmp_path, "$run --progress none -- sha512sum in in in >out 3>lines")
    assert told[-1]["current"] == told[-1]["total"] == 288 * MIB
    assert told[-1]["bound"] == "exact"
    assert {line["bound"] for line in told[:-1] if line["total"]} <= {"estimate"}


def test_what_is_written_is_no_input_though_it_is_named(folder: Path) -> None:
    names = [str(folder / "a"), str(folder / "out")]
    with child(*names) as obedient, target_for(obedient.pid) as target:
        (folder / "out").write_bytes(b"old" * MIB)
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"f = os.open({names[0]!r}, 0); g = os.open({names[1]!r}, os.O_WRONLY | os.O_TRUNC)",
            f"os.write(g, os.read(f, {MIB})[:100000])",
            f"os.write(g, os.read(f, {MIB})[:100000])",
        )
        assert (sample.current, sample.total) == (2 * MIB, 8 * MIB)


def test_a_named_folder_that_is_read_is_surveyed(folder: Path) -> None:
    with child(str(folder)) as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        sample = steps(obedient, evidence, f"f = os.open({str(folder / 'a')!r}, 0)", f"os.read(f, {MIB})")
        assert sample.total is None, "nobody has walked the tree yet"
        walk = evidence.survey()
        assert walk is not None
        assert list(walk)[-1] == 24 * MIB
        assert evidence.survey() is None
        sample = evidence.sample()
        assert sample is not None
        assert sample.total == 24 * MIB


def test_a_folder_that_is_written_is_no_input(folder: Path) -> None:
    target_folder = folder / "into"
    target_folder.mkdir()
    with child(str(folder / "a"), str(target_folder)) as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        sample = steps(
            obedient,
            evidence,
            f"f = os.open({str(folder / 'a')!r}, 0); g = os.open({str(target_folder / 'a')!r}, os.O_WRONLY | os.O_CREAT)",
            f"os.write(g, os.read(f, {MIB}))",
        )
        assert evidence.survey() is None
        assert sample.total == 8 * MIB


def test_a_copy_with_holes_is_told_by_what_is_allocated(tmp_path: Path) -> None:
    source, copy = tmp_path / "sparse", tmp_path / "copy"
    with source.open("wb") as file:
        file.truncate(100 * MIB)
        file.seek(60 * MIB)
        file.write(os.urandom(8 * MIB))
    with child() as obedient, target_for(obedient.pid) as target:
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"f = os.open({str(source)!r}, 0); g = os.open({str(copy)!r}, os.O_WRONLY | os.O_CREAT)",
            f"os.lseek(f, {60 * MIB}, 0); os.lseek(g, {60 * MIB}, 0); os.write(g, os.read(f, {2 * MIB}))",
            f"os.write(g, os.read(f, {2 * MIB}))",
        )
        assert sample.source == "evidence:output-blocks"
        assert sample.bound is Bound.ESTIMATE
        assert sample.total is not None
        assert abs(sample.current / sample.total - 0.5) < 0.05


def test_a_copy_that_fills_the_holes_is_told_by_its_position(tmp_path: Path) -> None:
    source, copy = tmp_path / "sparse", tmp_path / "copy"
    with source.open("wb") as file:
        file.write(os.urandom(4 * MIB))
        file.truncate(40 * MIB)
    with child() as obedient, target_for(obedient.pid) as target:
        opening = f"f = os.open({str(source)!r}, 0); g = os.open({str(copy)!r}, os.O_WRONLY | os.O_CREAT)"
        evidence = Evidence(target.tree)
        told = [steps(obedient, evidence, opening, f"os.write(g, os.read(f, {4 * MIB}))")]
        told += [steps(obedient, evidence, f"os.write(g, os.read(f, {8 * MIB}))") for _ in range(4)]
        assert [sample.current for sample in told] == [n * MIB for n in (4, 12, 20, 28, 36)]
        assert {sample.total for sample in told} == {40 * MIB}


def test_a_copy_that_fills_the_holes_inside_one_call_is_told_by_its_size(tmp_path: Path) -> None:
    source, copy = tmp_path / "sparse", tmp_path / "copy"
    with source.open("wb") as file:
        file.write(os.urandom(4 * MIB))
        file.truncate(40 * MIB)
    with child() as obedient, target_for(obedient.pid) as target:
        # what such a call has copied is in the size alone: positions and counters follow when it returns
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"f = os.open({str(source)!r}, 0); os.read(f, 1); os.lseek(f, 0, 0)",
            f"g = os.open({str(copy)!r}, os.O_WRONLY | os.O_CREAT)",
            f"os.pwrite(g, bytes({20 * MIB}), 0)",
        )
        assert (sample.current, sample.total, sample.source) == (20 * MIB, 40 * MIB, "evidence:output-size")


def test_a_copy_that_fills_the_holes_is_told_by_its_size(tmp_path: Path) -> None:
    source, copy = tmp_path / "sparse", tmp_path / "copy"
    with source.open("wb") as file:
        file.truncate(100 * MIB)
        file.seek(20 * MIB)
        file.write(os.urandom(8 * MIB))
    with child() as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        sample = steps(
            obedient,
            evidence,
            f"f = os.open({str(source)!r}, 0); g = os.open({str(copy)!r}, os.O_WRONLY | os.O_CREAT)",
            f"os.write(g, os.read(f, {10 * MIB}))",
            f"os.write(g, os.read(f, {10 * MIB}))",
        )
        assert (sample.current, sample.total, sample.source) == (20 * MIB, 100 * MIB, "evidence:input-position")
        obedient.does(f"os.write(g, os.read(f, {30 * MIB}))")
        last = evidence.sample()
        assert last is not None
        assert (last.current, last.total) == (50 * MIB, 100 * MIB)


def test_where_the_position_jumps_it_says_nothing(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        sample = steps(
            obedient,
            evidence,
            f"f = os.open({str(folder / 'a')!r}, 0)",
            f"os.read(f, {2 * MIB})",
            f"os.lseek(f, {6 * MIB}, 0); os.read(f, {MIB}); os.lseek(f, {MIB}, 0); os.read(f, {MIB})",
        )
        assert sample.total == 8 * MIB, "it has only been seen further on"
        obedient.does(f"os.lseek(f, {7 * MIB}, 0); os.read(f, {MIB})")
        evidence.sample()
        obedient.does(f"os.lseek(f, {2 * MIB}, 0); os.read(f, 70000)")
        last = evidence.sample()
        assert last is not None
        assert (last.total, last.source, last.bound) == (None, "evidence:rchar", Bound.ESTIMATE)


def test_what_begins_in_the_middle_has_no_percentage(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"f = os.open({str(folder / 'a')!r}, 0); os.lseek(f, {6 * MIB}, 0); os.read(f, 80000)",
            "os.read(f, 80000)",
        )
        assert (sample.total, sample.source) == (None, "evidence:rchar")


def test_what_may_be_mapped_has_no_percentage(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"import mmap; f = os.open({str(folder / 'a')!r}, 0); m = mmap.mmap(f, 0, prot=mmap.PROT_READ)",
            "sum(m[:100000])",
            "sum(m[:200000])",
        )
        assert sample.total is None


def test_one_large_file_after_another_that_no_word_names_has_no_total(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        first = steps(
            obedient,
            evidence,
            f"f = os.open({str(folder / 'a')!r}, 0); os.read(f, {3 * MIB})",
            f"os.read(f, {5 * MIB})",
        )
        second = steps(
            obedient,
            evidence,
            f"os.close(f); f = os.open({str(folder / 'b')!r}, 0); os.read(f, 100000)",
            "os.read(f, 100000)",
        )
        assert first.total == 8 * MIB
        assert (second.total, second.source) == (None, "evidence:rchar")
        assert second.current > first.current
        assert second.phase != first.phase


def test_a_script_is_no_input_of_its_shell(tmp_path: Path) -> None:
    script = f"#!/bin/bash\n{'# a long line of words' * 20000}\n{TOLD}\n{'# another' * 20000}\n"
    (tmp_path / "script").write_text(script.replace("# a", "\n# a"))
    told = lines_of(tmp_path, "$run --progress none -- bash script 3>lines")
    assert {line["fraction"] for line in told[:-1]} == {None}


def test_standard_input_counts_where_a_word_names_it(tmp_path: Path) -> None:
    for name, size in (("a", 30), ("b", 50), ("c", 10)):
        (tmp_path / name).write_bytes(bytes(size * MIB))
    told = lines_of(tmp_path, "$run --progress none -- sh -c 'exec sha512sum a - c | cat' <b 3>lines; true")
    assert {line["total"] for line in told[:-1] if line["total"]} <= {90 * MIB}


def test_reads_that_leave_the_position_alone_are_counted(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"f = os.open({str(folder / 'a')!r}, 0); os.lseek(f, 0, os.SEEK_END)",
            f"os.pread(f, {4 * MIB}, 0)",
        )
        assert sample.source == "evidence:rchar"
        assert sample.total == 8 * MIB
        assert 4 * MIB <= sample.current <= 6 * MIB


def test_a_deleted_output_still_grows(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"g = os.open({str(folder / 'out')!r}, os.O_WRONLY | os.O_CREAT); os.unlink({str(folder / 'out')!r})",
            f"os.write(g, bytes({MIB}))",
            f"os.write(g, bytes({MIB}))",
        )
        assert (sample.current, sample.total, sample.source) == (2 * MIB, None, "evidence:output-size")


def test_a_writer_through_a_mapping_moves_and_has_no_total(folder: Path) -> None:
    path = str(folder / "mapped")
    with child() as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        obedient.does("import mmap")
        obedient.does(f"g = os.open({path!r}, os.O_RDWR | os.O_CREAT); os.truncate(g, {16 * MIB})")
        obedient.does(f"m = mmap.mmap(g, {16 * MIB})")
        first = evidence.sample()
        obedient.does(f"m[:{4 * MIB}] = bytes({4 * MIB})")
        second = evidence.sample()
        obedient.does(f"m[{4 * MIB}:{8 * MIB}] = bytes({4 * MIB})")
        third = evidence.sample()
        assert first is not None
        assert second is not None
        assert third is not None
        assert second.total is third.total is None
        assert first.current < second.current < third.current
        assert first.activity < second.activity < third.activity


def test_the_users_total_holds_for_what_moves_most(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid, total=10 * MIB) as target:
        sample = steps(
            obedient,
            probe(target, None),
            f"g = os.open({str(folder / 'out')!r}, os.O_WRONLY | os.O_CREAT)",
            f"os.write(g, bytes({MIB}))",
            f"os.write(g, bytes({4 * MIB}))",
        )
        assert (sample.current, sample.total) == (5 * MIB, 10 * MIB)


def test_more_than_a_small_total_of_the_users_is_no_chatter(tmp_path: Path) -> None:
    writing = f"head -c 100000 /dev/zero >zz; {TOLD}"
    told = lines_of(tmp_path, f"$run --progress none --total 5000 -- sh -c '{writing}' 3>lines")
    assert {line["total"] for line in told} == {None}, "twenty times that is written: it is not believed"
    told = lines_of(tmp_path, f"$run --progress none --total 200K -- sh -c '{writing}' 3>lines")
    assert {line["total"] for line in told[:-1]} == {200 << 10}
    assert all(0 < line["current"] < 200 << 10 for line in told[:-1])


def test_the_next_reader_of_a_script_begins_a_new_phase(folder: Path) -> None:
    code = "import os, sys\nf = os.open(sys.argv[1], 0)\nfor line in sys.stdin: print(len(os.read(f, 1 << 20)), flush=True)"
    with child() as shell, target_for(shell.pid) as target:
        evidence = Evidence(target.tree)
        phases = []
        for name in ("a", "b"):
            shell.does(
                f"p = subprocess.Popen([sys.executable, '-I', '-S', '-c', {code!r}, {str(folder / name)!r}], "
                "stdin=subprocess.PIPE, stdout=subprocess.PIPE)"
            )
            for _ in range(3):
                shell.does("p.stdin.write(b'x' + bytes([10])); p.stdin.flush(); answer = p.stdout.readline()")
                sample = evidence.sample()
            assert sample is not None
            assert (sample.current, sample.total) == (3 * MIB, 8 * MIB)
            phases.append(sample.phase)
            shell.does("p.communicate(); p.wait()")
            evidence.sample()
        assert phases[0], "it is not the whole script"
        assert phases[1].endswith(", part 2")


@pytest.mark.parametrize("early", [True, False])
def test_a_shell_that_has_opened_the_file_for_its_command_is_no_part_of_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    monkeypatch.setattr("pollprog.probes.evidence.SETTLING", 0.01)
    monkeypatch.setattr("pollprog.probes.evidence.IDLE", 0.05)
    code = "import os\nwhile os.read(3, 1): print(len(os.read(0, 1 << 20)), flush=True)"
    script = f"exec 3<&0 <{folder / 'a'}; echo opened; read line <&3; {sys.executable} -I -S -c '{code}'; :"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    with subprocess.Popen(["sh", "-c", script], **pipes) as shell, target_for(shell.pid) as target:
        assert shell.stdin is not None
        assert shell.stdout is not None
        evidence = Evidence(target.tree)
        assert shell.stdout.readline() == b"opened\n"
        if early:  # its command is not there yet
            evidence.sample()
        shell.stdin.write(b"\n")
        told = []
        for _ in range(5):
            shell.stdin.write(b"x")
            assert shell.stdout.readline() == b"%d\n" % MIB
            told.append(evidence.sample())
            time.sleep(0.1)
        shell.stdin.close()
    assert [(sample.current, sample.total) for sample in told if sample] == [(n * MIB, 8 * MIB) for n in range(1, 6)]
    assert {sample.phase for sample in told if sample} <= {"", Path(sys.executable).name[:15]}


def test_what_one_command_has_written_is_read_by_the_next_at_once(folder: Path) -> None:
    made = str(folder / "made")
    code = f"import os, sys\nf = os.open(sys.argv[1], 0)\nfor line in sys.stdin: print(len(os.read(f, {2 * MIB})), flush=True)"
    with child() as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        sample = steps(
            obedient, evidence, f"g = os.open({made!r}, os.O_WRONLY | os.O_CREAT)", f"os.write(g, bytes({8 * MIB}))"
        )
        assert (sample.total, sample.source) == (None, "evidence:output-size")
        start = (
            f"os.close(g); p = subprocess.Popen([sys.executable, '-I', '-S', '-c', {code!r}, {made!r}], "
            "stdin=subprocess.PIPE, stdout=subprocess.PIPE)"
        )
        reading = "p.stdin.write(b'x' + bytes([10])), p.stdin.flush(), p.stdout.readline()"
        sample = steps(obedient, evidence, f"{start}; {reading}", reading)
        assert (sample.current, sample.total, sample.source) == (4 * MIB, 8 * MIB, "evidence:input-position")
        obedient.does("p.communicate()")


def test_a_shell_that_opens_the_inputs_of_its_commands_is_not_who_reads_them(folder: Path) -> None:
    reads = f"import os, sys\nos.read(0, {2 * MIB})\nopen(sys.argv[1] + '.there', 'w')\nopen(sys.argv[1]).read()"
    for name in ("one", "two"):
        os.mkfifo(folder / name)
    line = '"$0" -I -S -c "$1" one <a; "$0" -I -S -c "$1" two <b; exit 0'
    told = []
    with (
        subprocess.Popen(["sh", "-c", line, sys.executable, reads], cwd=folder) as shell,
        target_for(shell.pid) as target,
    ):
        evidence = Evidence(target.tree)
        for name in ("one", "two"):
            wait_until((folder / f"{name}.there").exists)
            evidence.sample()
            told.append(evidence.sample())
            (folder / name).write_text("go on")
    assert shell.returncode == 0
    for sample in told:
        assert sample is not None
        assert (sample.current, sample.total, sample.source) == (2 * MIB, 8 * MIB, "evidence:input-position")


def test_what_is_put_by_and_read_again_is_neither_input_nor_exact_output(folder: Path) -> None:
    name, kept = str(folder / "a"), str(folder / "kept")
    with child(name) as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        steps(obedient, evidence, f"f = os.open({name!r}, 0)", f"data = os.read(f, {6 * MIB})")
        obedient.does("data += os.read(f, len(data)); os.close(f)")
        obedient.does(f"g = os.open({kept!r}, os.O_WRONLY | os.O_CREAT); os.write(g, data)")
        sample = steps(obedient, evidence, "os.close(g)")
        assert (sample.current, sample.total) == (8 * MIB, 8 * MIB), "all of it was read"
        for _ in range(4):
            again = f"f = os.open({kept!r}, 0); data = os.read(f, {8 * MIB})"
            sample = steps(obedient, evidence, again, "os.close(f)")
            assert (sample.current, sample.total) == (8 * MIB, 8 * MIB)


def test_a_file_that_has_lost_its_name_is_no_exact_output(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        sample = steps(
            obedient,
            Evidence(target.tree),
            f"g = os.open({str(folder / 'out')!r}, os.O_WRONLY | os.O_CREAT); os.unlink({str(folder / 'out')!r})",
            f"os.write(g, bytes({MIB}))",
        )
        assert (sample.current, sample.bound) == (MIB, Bound.ESTIMATE)


def test_of_files_that_are_closed_only_so_much_is_certain(folder: Path) -> None:
    with child() as obedient, target_for(obedient.pid) as target:
        opening = f"g = os.open({str(folder / 'out')!r}, os.O_WRONLY | os.O_CREAT)"
        sample = steps(obedient, Evidence(target.tree), opening, f"os.write(g, bytes({MIB}))", "os.close(g)")
        assert (sample.current, sample.bound) == (MIB, Bound.LOWER)


@pytest.fixture(scope="module")
def disorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three million lines to sort."""
    folder = tmp_path_factory.mktemp("disorder")
    (folder / "temporary").mkdir()
    with (folder / "in").open("w") as file:
        file.writelines(f"{(number * 2654435761) % 4294967296}\n" for number in range(3_000_000))
    return folder


@pytest.mark.tool("sort")
@pytest.mark.parametrize("how", ["sort -S 2M -o out in", "sort -S 2M <in >out"])
def test_a_real_sort_is_told_by_its_reading_and_then_finishes(disorder: Path, how: str) -> None:
    told = lines_of(
        disorder, f"export TMPDIR={disorder}/temporary LC_ALL=C; $run --probe evidence -- {how} 3>lines 2>/dev/null"
    )
    assert {line["total"] for line in told} == {(disorder / "in").stat().st_size}
    assert {line["source"] for line in told[:-1]} <= {"evidence:input-position"}


def test_a_small_script_is_not_what_is_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("# a few words\n" * 100)
    with child(str(script)) as obedient, target_for(obedient.pid) as target:
        sample = steps(obedient, Evidence(target.tree), f"f = os.open({str(script)!r}, 0)", "os.read(f, 4096)")
        assert sample.total is None


def test_an_input_that_is_read_over_and_over_has_no_total(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(bytes(MIB))
    with child(str(path)) as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        steps(obedient, evidence, f"f = os.open({str(path)!r}, 0)", f"os.read(f, {MIB})")
        again = f"os.lseek(f, 0, 0); [(os.lseek(f, 0, 0), os.read(f, {MIB})) for _ in range(12)]"
        sample = steps(obedient, evidence, again, again)
        assert sample.total is None


def test_a_process_that_has_no_words_yet_is_asked_for_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = [tmp_path / "one", tmp_path / "other"]
    for path in named:
        path.write_bytes(bytes(MIB))
    with child(*map(str, named)) as obedient, target_for(obedient.pid) as target:
        evidence = Evidence(target.tree)
        with monkeypatch.context() as within_an_exec:
            within_an_exec.setattr(Process, "argv", lambda _: [])
            evidence.sample()
        sample = steps(obedient, evidence, f"f = os.open({str(named[0])!r}, 0)", "os.read(f, 65536)")
        assert sample.total == 2 * MIB


def test_the_end_of_the_tree_says_nothing() -> None:
    ended = subprocess.Popen(["true"])
    process = Process(ended.pid)
    ended.wait()
    assert Evidence(ProcessTree(process)).sample() is None
    process.close()


def test_evidence_takes_no_argument() -> None:
    with child() as obedient, target_for(obedient.pid) as target, pytest.raises(UsageError, match="no argument"):
        probe(target, "x")


def test_an_open_log_is_not_taken_for_the_copy(folder: Path) -> None:
    log = folder / "log"
    log.write_bytes(bytes(100))
    with child() as obedient, target_for(obedient.pid) as target:
        copying = "os.copy_file_range(f, g, {}, {}, {})"
        lines = [
            f"l = os.open({str(log)!r}, os.O_WRONLY | os.O_APPEND)",
            f"f = os.open({str(folder / 'a')!r}, 0); g = os.open({str(folder / 'out')!r}, os.O_WRONLY | os.O_CREAT)",
            *(copying.format(2 * MIB, at * MIB, at * MIB) for at in (0, 2, 4)),  # with offsets, positions stand still
        ]
        evidence = Evidence(target.tree)
        sample = steps(obedient, evidence, *lines)
        assert (sample.current, sample.total, sample.source) == (6 * MIB, 8 * MIB, "evidence:output-size")
        sample = steps(obedient, evidence, "os.close(g)")
        assert (sample.current, sample.total) == (6 * MIB, 8 * MIB), "the copy is closed before its source"


def test_our_own_lines_of_log_are_not_the_commands_work(tmp_path: Path) -> None:
    line = f"exec {sys.executable} -m pollprog run --progress log --progress-fd 1 --interval 0.1 -- sleep 1.5 2>{tmp_path}/log"
    told = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout.splitlines()
    assert (tmp_path / "log").stat().st_size > 0
    assert len(told) > 1
    assert {json.loads(line)["current"] for line in told} == {0}


# --- where a command that is run shares its files with others


def lines_of(folder: Path, line: str) -> list[dict[str, object]]:
    """Run this line of shell, in which ``$run`` writes its lines of JSON to a file; those lines."""
    run = f"{sys.executable} -m pollprog run --interval 0.1 --progress-fd 3"
    subprocess.run(["sh", "-c", f"run='{run}'; {line}"], cwd=folder, check=True)
    return [json.loads(told) for told in (folder / "lines").read_text().splitlines()]


@pytest.mark.parametrize("progress", ["", "--progress log --total 1M", "--progress none"])
@pytest.mark.parametrize("into", [">log", ">>log"])
def test_what_stood_in_a_shared_log_and_what_we_write_to_it_is_not_the_commands_work(tmp_path, into, progress) -> None:
    told = lines_of(tmp_path, f"{{ seq 100000; $run {progress} -- sh -c '{TOLD}' 3>lines; }} {into} 2>&1")
    assert len(told) > 1
    assert {line["current"] for line in told} == {0}


def test_the_log_lines_of_a_pollprog_within_are_no_work(tmp_path: Path) -> None:
    said = "until [ -s lines -a -s log ]; do sleep 0.05; done"
    within = f"{sys.executable} -m pollprog run --progress log -- sh -c '{said}'"
    told = lines_of(tmp_path, f"$run --progress none -- {within} >log 2>&1 3>lines")
    assert (tmp_path / "log").stat().st_size > 0
    assert len(told) > 1
    written = [line for line in told[:-1] if line["source"] == "evidence:output-size"]
    assert not any(line["current"] for line in written), "what it reads to start may show, what it says not"


@pytest.mark.parametrize("shared", ["{{ seq 100000; {}; }} >out", "seq 100000 >out; {} >>out", "seq 9 >out; {} 1<>out"])
def test_only_what_is_written_to_an_inherited_file_is_counted(tmp_path: Path, shared: str) -> None:
    command = f"$run --progress none -- sh -c 'sleep .2; head -c 3000000 /dev/zero; {TOLD}' 3>lines"
    told = lines_of(tmp_path, shared.format(command))
    assert (told[-1]["current"], told[-1]["total"], told[-1]["bound"]) == (3000000, None, "lower")
    assert {(line["source"], line["bound"]) for line in told[:-1]} == {("evidence:output-size", "exact")}


def test_a_file_that_is_handed_on_in_the_middle_is_read_from_there(tmp_path: Path) -> None:
    with (tmp_path / "in").open("wb") as file:
        file.truncate(3 * MIB)
    reading = f"head -c 1048576 >&2; {TOLD}"
    command = f"$run --progress none -- sh -c '{reading}' 3>lines 2>out"
    told = lines_of(tmp_path, f"{{ dd bs=1M count=1 of=first status=none; {command}; }} <in")
    assert {(line["current"], line["total"]) for line in told[:-1]} == {(MIB, 2 * MIB)}


def test_beside_a_shared_log_a_command_is_told_by_what_it_reads(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(4 * MIB))
    reading = f"{{ head -c 1048576; {TOLD}; cat; }} <in >out"
    told = lines_of(tmp_path, f"$run --progress log -- sh -c '{reading}' >log 2>&1 3>lines")
    assert (told[0]["current"], told[0]["total"]) == (MIB, 4 * MIB)


# --- real commands: each look lies between two of our own, by path


@pytest.mark.parametrize("how", ["cp {} {}", "cat {} > {}", "cp {} {} # to another file system"])
def test_a_real_copy_is_told_by_what_stands_in_its_output(tmp_path: Path, how: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(MIB) * 192)
    copy = Path("/dev/shm" if "#" in how else tmp_path, f"copy-{os.getpid()}")
    try:
        for _ in range(5):
            copy.unlink(missing_ok=True)
            if told_between(how.format(source, copy), source, copy):
                break
        else:
            pytest.fail("no look fell into the copy")
    finally:
        copy.unlink(missing_ok=True)


def told_between(command: str, source: Path, copy: Path) -> int:
    """Run it, and count the looks whose figure lay between the size of the copy before and behind them."""
    told = 0
    running = subprocess.Popen(["sh", "-c", command])
    try:
        process = Process(running.pid)
        evidence = Evidence(ProcessTree(process))
        while running.poll() is None:
            before = copy.stat().st_size if copy.exists() else 0
            sample = evidence.sample()
            behind = copy.stat().st_size if copy.exists() else 0
            if sample is None or sample.total is None or not 0 < before <= behind < source.stat().st_size:
                continue  # not begun, or over by the end of this look
            if sample.source in ("evidence:output-size", "evidence:input-position"):
                assert sample.total == source.stat().st_size
                assert before <= sample.current <= behind + MIB
                told += 1
        process.close()
    finally:
        running.kill()
        running.wait()
    return told
