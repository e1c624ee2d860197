from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from children import as_nobody, child, descriptors, let_pass, target_for, wait_until

from pollprog.errors import UsageError
from pollprog.probes import Surveys, treesize
from pollprog.probes.treesize import ENTRIES, TreeSize, began, probe, survey_tree
from pollprog.process import Process
from pollprog.status import Bound, Sample, Unit


def total_of(path: Path | str) -> int:
    """What a walk says in the end."""
    *_, total = survey_tree(str(path))
    return total


def fill(folder: Path, count: int, size: int = 1) -> None:
    """Put files into a folder, which is made."""
    folder.mkdir()
    for number in range(count):
        (folder / str(number)).write_bytes(bytes(size))


def look(looked: TreeSize) -> Sample | None:
    """What a probe says after its next walk, done as the sampler does it."""

    def walked() -> bool:
        walk = looked.survey()
        return walk is not None and all(size >= 0 for size in walk)

    wait_until(walked)
    return looked.sample()


# -- the walk


def test_regular_files_count_with_the_size_they_say_they_have(tmp_path: Path) -> None:
    fill(tmp_path / "a", 3, 100)
    fill(tmp_path / "a" / "b", 2, 10)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert total_of(tmp_path) == 320 + (1 << 40)


def test_links_are_not_followed_but_the_path_itself_may_be_one(tmp_path: Path) -> None:
    fill(tmp_path / "real", 2, 100)
    fill(tmp_path / "walked", 1, 7)
    (tmp_path / "walked" / "folder").symlink_to(tmp_path / "real")
    (tmp_path / "walked" / "file").symlink_to(tmp_path / "real" / "0")
    (tmp_path / "walked" / "circle").symlink_to(tmp_path / "walked")
    (tmp_path / "walked" / "nowhere").symlink_to("nothing")
    (tmp_path / "link").symlink_to(tmp_path / "walked")
    assert total_of(tmp_path / "link") == 7


def test_a_file_of_several_names_counts_once(tmp_path: Path) -> None:
    fill(tmp_path / "a", 1, 1000)
    (tmp_path / "b").mkdir()
    for name in ("x", "y", "z"):
        os.link(tmp_path / "a" / "0", tmp_path / "b" / name)
    assert total_of(tmp_path) == 1000
    assert total_of(tmp_path / "b") == 1000


def test_what_is_no_regular_file_is_neither_counted_nor_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"123")
    assert total_of(tmp_path) == 3


def test_names_may_hold_anything(tmp_path: Path) -> None:
    for name in (b"\xff\xfe", b"new\nline", b" ", b"-rf", "größe".encode()):
        folder = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(folder)
        with open(folder + b"/" + name, "wb") as file:
            file.write(bytes(10))
    assert total_of(tmp_path) == 50


def test_a_tree_deeper_than_recursion_and_than_paths_go_is_walked_as_far_as_they_do(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for depth in range(2070):
            if depth in (0, 1500, 2060):
                os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
                os.truncate(f"/proc/self/fd/{here}/file", 10)
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        assert total_of(tmp_path) == 20
    finally:
        os.close(here)
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


def test_a_folder_that_we_may_not_read_is_passed_over() -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        fill(top / "open", 1, 5)
        fill(top / "closed", 1, 50)
        (top / "closed").chmod(0o700 if os.geteuid() == 0 else 0)
        try:
            if os.geteuid() == 0:
                with as_nobody():
                    assert total_of(top) == 5
            else:
                assert total_of(top) == 5
        finally:
            (top / "closed").chmod(0o700)


@pytest.mark.parametrize("path", ["nothing", "file", "file/below", "a\0b", "x" * 5000])
def test_where_there_is_no_directory_there_is_nothing(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123")
    assert set(survey_tree(f"{tmp_path}/{path}")) == {0}


def test_the_sum_is_told_often_and_never_falls(tmp_path: Path) -> None:
    for name in "abc":
        fill(tmp_path / name, 2 * ENTRIES)
    told = list(survey_tree(str(tmp_path)))
    assert len(told) >= 6
    assert told == sorted(told)
    assert told[-1] == 6 * ENTRIES


def test_empty_folders_are_paused_in_too(tmp_path: Path) -> None:
    for number in range(2 * ENTRIES):
        (tmp_path / str(number)).mkdir()
    assert len(list(survey_tree(str(tmp_path)))) >= 4


def test_a_tree_that_goes_away_under_the_walk_does_no_harm(tmp_path: Path) -> None:
    for name in "abc":
        fill(tmp_path / name, 2 * ENTRIES)
    walk = survey_tree(str(tmp_path))
    first = next(walk)
    for name in "abc":
        shutil.rmtree(tmp_path / name)
    rest = list(walk)
    assert first <= rest[-1] <= 6 * ENTRIES
    assert rest == sorted(rest)


def test_a_folder_that_becomes_a_link_under_the_walk_is_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", 1, 1 << 20)
    top = tmp_path / "top"
    fill(top, 2 * ENTRIES)
    (top / "folder").mkdir()
    walk = survey_tree(str(top))
    next(walk)  # in the first folder still
    (top / "folder").rmdir()
    (top / "folder").symlink_to(tmp_path / "elsewhere")
    assert list(walk)[-1] == 2 * ENTRIES


def test_a_walk_that_is_given_up_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(treesize, "BREATH", float("inf"))
    fill(tmp_path / "a", 2 * ENTRIES)
    before = descriptors()
    walk = survey_tree(str(tmp_path))
    next(walk)
    assert descriptors() > before
    del walk
    assert descriptors() == before


def test_proc_and_sys_have_nothing_in_them() -> None:
    assert total_of("/proc") == 0
    assert total_of("/sys") == 0


@pytest.mark.tool("unshare")
def test_other_file_systems_are_entered_but_not_proc_and_sys(tmp_path: Path) -> None:
    for name in ("memory", "system", "processes"):
        (tmp_path / name).mkdir()
    mounts = (
        "mount -t tmpfs none memory && head -c 500 /dev/zero > memory/file"
        " && mount --rbind /sys system && mount -t proc none processes"
    )
    walk = "from pollprog.probes.treesize import survey_tree; *_, last = survey_tree('.'); print(last)"
    command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-c"]
    environment = {**os.environ, "PYTHONPATH": str(Path(treesize.__file__).parents[2])}
    mounted = subprocess.run([*command, mounts], cwd=tmp_path, capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount anything, not even in a namespace of its own")
    script = f'{mounts} && exec "$0" -c "$1"'
    result = subprocess.run(
        [*command, script, sys.executable, walk], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("500\n", "")


# -- the probe


def test_what_a_process_puts_into_a_directory_is_told(tmp_path: Path) -> None:
    with child() as writer, target_for(writer.pid, total=5000) as target:
        looked = probe(target, str(tmp_path / "out"))
        assert look(looked) is None, "there is no directory yet"
        writer.does(f"os.mkdir({str(tmp_path / 'out')!r})")
        empty = look(looked)
        writer.does(f"open({str(tmp_path / 'out' / 'file')!r}, 'wb').write(bytes(3000))")
        filled = look(looked)
        assert empty is not None
        assert filled is not None
        assert (empty.current, filled.current, filled.total) == (0, 3000, 5000)
        assert (filled.unit, filled.source, filled.bound) == (Unit.BYTES, "treesize", Bound.LOWER)
        assert filled.activity > empty.activity
        shutil.rmtree(tmp_path / "out")
        assert look(looked) is None
        looked.close()


def test_what_was_there_before_does_not_count_until_it_is_written_again(tmp_path: Path) -> None:
    for name in ("untouched", "rewritten"):
        (tmp_path / name).write_bytes(bytes(1000))
    let_pass(tmp_path / "rewritten")
    with child() as writer, target_for(writer.pid) as target:
        looked = probe(target, str(tmp_path))
        before = look(looked)
        writer.does(f"f = open({str(tmp_path / 'rewritten')!r}, 'wb', buffering=0); f.write(bytes(300))")
        # a date in the past, as cp -p and tar set it, deceives nobody
        writer.does(
            f"f = open({str(tmp_path / 'new')!r}, 'wb', buffering=0); f.write(bytes(20)); os.utime(f.fileno(), (0, 0))"
        )
        after = look(looked)
        assert before is not None
        assert after is not None
        assert (before.current, after.current) == (0, 320)


@pytest.mark.parametrize("there", [True, False])
def test_what_pollprog_runs_is_told_by_the_directory_that_it_fills(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
    written = f"test -s {tmp_path}/lines && grep -q treesize {tmp_path}/lines"
    script = (
        f"mkdir -p {out}; for i in 1 2 3; do head -c 1000000 /dev/zero >{out}/$i; done;"
        f" for i in $(seq 200); do {written} && break; sleep 0.05; done"
    )
    named = f"--probe treesize:{out} --total 8000000 --interval 0.1 --progress none --progress-fd 3"
    line = f"{sys.executable} -m pollprog run {named} -- sh -c '{script}' 3>{tmp_path}/lines"
    subprocess.run(["sh", "-c", line], check=True, timeout=60)
    told = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    walked = [line for line in told[:-1] if line["source"] == "treesize"]
    assert {(line["current"], line["total"], line["bound"]) for line in walked} == {(3_000_000, 8_000_000, "lower")}
    assert told[-1]["current"] == 3_000_000


@pytest.mark.tool("cp")
@pytest.mark.parametrize("arguments", [["-r"], ["-a"]])
def test_a_real_copy_of_a_tree_is_followed_to_its_end(tmp_path: Path, arguments: list[str]) -> None:
    source = tmp_path / "source"
    fill(source, 40, 1 << 18)
    fill(source / "below", 20, 1 << 18)
    total = total_of(source)
    let_pass(source)
    destination = tmp_path / "destination"
    fill(destination, 1, 12345)
    let_pass(destination)
    with subprocess.Popen(["cp", *arguments, source, destination]) as copy, target_for(copy.pid, total=total) as target:
        looked = probe(target, str(destination))
        told = []

        def ended() -> bool:
            over = copy.poll() is not None
            sample = look(looked)
            assert sample is not None
            told.append(sample.current)
            return over

        wait_until(ended)
        assert copy.returncode == 0
        assert told == sorted(told)
        assert told[-1] == total == 60 << 18


def test_a_size_is_told_when_the_walk_is_over_and_not_before(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with child() as writer, target_for(writer.pid) as target:
        looked = probe(target, str(out))
        assert isinstance(looked, Surveys)
        writer.does(
            f"os.mkdir({str(out)!r}); [open({str(out)!r} + f'/{{n}}', 'wb').write(b'12') for n in range({3 * ENTRIES})]"
        )
        walk = looked.survey()
        assert walk is not None
        next(walk)
        assert looked.sample() is None
        assert list(walk)[-1] == 6 * ENTRIES
        first = looked.sample()
        assert first is not None
        assert first.current == 6 * ENTRIES
        writer.does(f"open({str(out / 'more')!r}, 'wb').write(bytes(5))")
        second = look(looked)
        assert second is not None
        assert second.current == 6 * ENTRIES + 5


def test_no_walk_is_wanted_until_as_much_time_has_passed_as_the_last_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with target_for(os.getpid()) as target:
        looked = probe(target, str(tmp_path))
        walk = looked.survey()
        assert walk is not None
        next(walk)
        now = 110.0
        assert list(walk) == []
        assert looked.survey() is None
        now = 119.9
        assert looked.survey() is None
        now = 120.0
        assert looked.survey() is not None


def test_a_directory_that_shrinks_is_told_as_it_is(tmp_path: Path) -> None:
    with child() as writer, target_for(writer.pid) as target:
        looked = probe(target, str(tmp_path))
        writer.does(f"open({str(tmp_path / 'file')!r}, 'wb').write(bytes(10))")
        full = look(looked)
        (tmp_path / "file").unlink()
        empty = look(looked)
        assert full is not None
        assert empty is not None
        assert (full.current, empty.current) == (10, 0)


def test_a_relative_path_is_taken_from_our_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with child() as writer, target_for(writer.pid) as target:
        looked = probe(target, "out")
        monkeypatch.chdir("/")
        writer.does(f"os.mkdir({str(tmp_path / 'out')!r})")
        sample = look(looked)
        assert sample is not None
        assert sample.current == 0


def test_the_start_of_a_process_is_known_as_a_time_of_day() -> None:
    before = time.time_ns()
    with child() as started:
        after = time.time_ns()
        process = Process(started.pid)
        start = began(process)
        process.close()
    assert before - 100_000_000 < start < after


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        (None, "treesize:DIRECTORY"),
        ("", "treesize:DIRECTORY"),
        ("file", "filesize:file"),
        ("a\0b", "cannot be the name"),
    ],
)
def test_what_cannot_be_a_directory_is_refused_with_what_to_say(
    argument: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with target_for(os.getpid()) as target, pytest.raises(UsageError, match=reason) as raised:
        probe(target, argument)
    assert str(raised.value).isprintable()
