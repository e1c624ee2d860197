"""A run that is recorded, and played again; a run that every probe explains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from disks import small_disk
from terminals import ENVIRONMENT, pollprog, shell

from pollprog.probes.contract import STATUS
from pollprog.probes.e2fsck import TOOL as E2FSCK
from pollprog.probes.rsync import TOOL
from pollprog.probes.testing import FakeProc, Recording, directory_of, play, unsound, words_of
from pollprog.process import Process
from pollprog.recording import described
from pollprog.status import Sample, Unit

SCRIPT = "echo one; echo err >&2; sleep 0.3; printf two; exit 7"


def test_a_command_is_recorded_and_gives_what_it_gives_without(tmp_path: Path) -> None:
    done = pollprog("record", "-o", str(tmp_path / "run"), "--", "sh", "-c", SCRIPT, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (7, "one\ntwo", "err\n")
    recording = Recording.load(tmp_path / "run")
    assert recording.argv == ["sh", "-c", SCRIPT]
    assert recording.directory == str(tmp_path)
    assert recording.output == {1: b"one\ntwo", 2: b"err\n"}
    assert sorted(piece[1:] for piece in recording.pieces) == [(1, 3), (1, 4), (2, 4)]
    times = [piece[0] for piece in recording.pieces]
    assert times == sorted(times)
    names = {look["Name"] for _, looks in recording.looks for look in looks}
    assert {"sh", "sleep"} <= names
    assert b"".join(data for _, stream, data in recording.cut(1) if stream == 1) == b"one\ntwo"


@pytest.mark.tool("e2fsck", "mke2fs")
def test_what_a_tool_adds_is_recorded_too(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    script = f"PATH=$PATH:/sbin:/usr/sbin; mke2fs -q -F {image}; exec pollprog record -o {tmp_path}/run -- e2fsck -fy {image}"
    assert shell(script).returncode == 0
    recording = Recording.load(tmp_path / "run")
    assert recording.argv == ["e2fsck", "-fy", str(image)]
    assert recording.output[STATUS].startswith(b"1 ")
    assert play(E2FSCK, recording)[-1].current == 1_000_000


def test_a_descriptor_that_the_command_names_is_recorded(tmp_path: Path) -> None:
    script = 'printf "1 of 2\\n" >&"$1"; echo end'
    done = pollprog("record", "-o", str(tmp_path / "run"), "--", "bash", "-c", script, "words", "{fd}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
    recording = Recording.load(tmp_path / "run")
    assert recording.output == {1: b"end\n", STATUS: b"1 of 2\n"}
    assert recording.argv[-1] == "{fd}"
    assert "{fd}" in pollprog("record", "--help").stdout


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "run.stderr").write_text("mine")
    done = pollprog("record", "-o", str(tmp_path / "run"), "--", "true")
    assert done.returncode == 1
    assert done.stderr.startswith("pollprog: ")
    assert "run.stderr is there already; choose another name with -o" in done.stderr
    assert (tmp_path / "run.stderr").read_text() == "mine"


@pytest.mark.parametrize("words", [["record"], ["record", "true"], ["probes", "--explain"], ["probes", "--", "true"]])
def test_what_cannot_be_meant_is_refused(words: list[str]) -> None:
    done = pollprog(*words)
    assert (done.returncode, done.stdout) == (2, "")


def test_each_probe_has_its_column(tmp_path: Path) -> None:
    with (tmp_path / "source").open("wb") as file:
        file.truncate(3 << 20)
    script = f"exec 3<{tmp_path}/source; dd bs=1M count=1 <&3 of=/dev/null 2>/dev/null; sleep 1; exit 3"
    done = pollprog("probes", "--explain", "--", "sh", "-c", script)
    head, *rows = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (3, "")
    assert head.split() == ["elapsed", "run", "evidence", "fdinfo", "procio"]
    assert rows
    assert all(row.lstrip()[0].isdigit() for row in rows)


def explained(tmp_path: Path, pattern: str, where: str = "| cat") -> list[str]:
    """What is said of a script that prints steps, by a table with this pattern."""
    folder = tmp_path / "pollprog"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(f"[tools.steps]\nstream = 'stdout'\npattern = '{pattern}'\n")
    (tmp_path / "steps").write_text("#!/bin/sh\nfor step in 1 2 3; do echo step $step of 3; sleep 1; done; echo done\n")
    (tmp_path / "steps").chmod(0o755)
    environment = {**ENVIRONMENT, "XDG_CONFIG_HOME": str(tmp_path)}
    return shell(f"pollprog probes --explain -- {tmp_path}/steps {where}", env=environment).stderr.splitlines()


def test_a_plugin_that_said_nothing_is_told_with_what_it_heard(tmp_path: Path) -> None:
    said = explained(tmp_path, "steps (?P<current>[0-9])")[-1]
    assert (
        said
        == "the plugin for steps said nothing: it heard 4 lines, and took nothing from them; the last with a number: step 3 of 3"
    )
    said = explained(tmp_path, "step (?P<current>[0-9])", "> /dev/null")[-1]
    assert said.startswith("the plugin for steps said nothing: it was not listened to, ")
    rows = explained(tmp_path, "step (?P<current>[0-9]) of (?P<total>[0-9])")
    assert "% steps" in rows[-1]


def test_what_is_more_than_there_is_has_no_percentage() -> None:
    assert described(Sample(12, 10, Unit.BYTES, source="a")) == "12 bytes a"
    assert described(Sample(5, 10, Unit.BYTES, source="a")) == "50.0 % a"


@pytest.mark.tool("mount")
def test_a_full_disk_spoils_the_recording_and_not_the_command(tmp_path: Path) -> None:
    with small_disk(tmp_path, 1 << 16) as disk:
        script = "head -c 300000 /dev/zero; sleep 0.2; echo err >&2; exit 5"
        done = pollprog("record", "-o", f"{disk}/run", "--", "sh", "-c", script)
        assert (done.returncode, len(done.stdout)) == (5, 300_000)
        assert done.stderr == f"err\npollprog: the recording {disk}/run is not whole: No space left on device\n"
        done = pollprog("record", "-o", f"{disk}/other", "--", "touch", str(tmp_path / "begun"))
        assert (done.returncode, done.stderr) == (1, f"pollprog: {disk}/other.cmd: No space left on device\n")
    assert not (tmp_path / "begun").exists()


# --- playing


def test_a_process_of_a_recording_looks_like_one(tmp_path: Path) -> None:
    files = {"5": {"path": "/data/a", "pos": 77, "flags": "0100000", "size": 1000, "blk": 0}}
    proc = FakeProc(str(tmp_path), ["cp", "a b"])
    proc.show(42, {"Name": "cp", "State": "S (sleeping)", "SigCgt": "0000000000000200", "fd": files}, ticks=9)
    process = Process(42, root=str(tmp_path))
    assert process.argv() == ["cp", "a b"]
    told = process.stat()
    assert (told.name, told.state, told.ticks) == ("cp", "S", 9)
    assert process.catches(10)
    assert not process.catches(11)
    (file,) = process.files()
    assert (file.fd, file.position, file.size, file.reads) == (5, 77, 1000, True)
    proc.show(42, {"Name": "cp", "io": {"rchar": 1, "wchar": 2, "read_bytes": 3, "write_bytes": 4}})
    assert process.files() == []
    io = process.io()
    assert io is not None
    assert (io.rchar, io.write_bytes) == (1, 4)
    process.close()


def test_where_it_ran_what_it_had_open_is_found_by_its_name(tmp_path: Path) -> None:
    proc = FakeProc(str(tmp_path), ["cat", "a"], directory="/data/sub", contents={"/data/a": b"text"})
    files = {
        "3": {"path": "/data/a", "pos": 0, "flags": "0100000", "size": 9},
        "4": {"path": "pipe:[7]", "pos": 0, "flags": "01", "size": 0},
    }
    proc.show(42, {"fd": {**files, "5": {**files["3"], "path": "/data/a/below"}}})
    process = Process(42, root=str(tmp_path))
    assert Path(process.inside("../a")).read_bytes() == b"text" + bytes(5)
    assert len({file.key for file in process.files()}) == 3
    proc.show(42, {"fd": {"3": {**files["3"], "path": "/data/b", "size": 7}}})
    assert [file.size for file in process.files()] == [7], "the number is another file's now"
    process.close()


@pytest.mark.parametrize(
    ("text", "directory"), [("# cwd '/a b'\ncat a\n", "/a b"), ("cat a\n# cwd\n", "/"), ("# cwd \ncat a\n", "/")]
)
def test_where_it_ran_is_said_by_a_comment(text: str, directory: str) -> None:
    assert directory_of(text) == directory


def test_words_are_read_as_they_were_typed() -> None:
    text = "# cwd /data env LC_ALL=C\ne2fsck -f -C 3 'a b' 3>pipe\n# rc=0\n"
    assert words_of(text) == ["e2fsck", "-f", "-C", "3", "a b"]


def test_what_is_not_recognised_is_not_played() -> None:
    with pytest.raises(AssertionError, match="does not recognise"):
        play(TOOL, Recording(["cp", "a", "b"]))


@pytest.mark.parametrize(
    ("samples", "wrong"),
    [
        ([Sample(1, 2), Sample(2, 2)], ""),
        ([Sample(3, 2)], "more than there is"),
        ([Sample(2, 9), Sample(1, 9)], "it falls"),
        ([Sample(2, 9), Sample(1, 9, phase="next")], ""),
        ([Sample(2, 9, activity=2), Sample(3, 9, activity=1)], "the activity falls"),
    ],
)
def test_what_no_probe_may_say_is_found(samples: list[Sample], wrong: str) -> None:
    assert wrong in unsound(samples)
    assert bool(wrong) == bool(unsound(samples))


def test_the_recordings_that_the_tests_have_can_be_read() -> None:
    folder = Path(__file__).parent / "data" / "recordings"
    for path in folder.glob("*.cmd"):
        recording = Recording.load(path.with_suffix(""))
        assert recording.argv
        assert json.dumps(recording.looks)
