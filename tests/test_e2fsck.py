"""e2fsck: a recording played to its probe, and the real one, wherever its output goes."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from compiled import compiled
from terminals import PATIENCE, Terminal, pollprog, shell
from tool_runs import looked_at

from pollprog.launch import Command
from pollprog.probes.e2fsck import PASSES, TOOL
from pollprog.probes.testing import Recording, play
from pollprog.status import Unit

RECORDINGS = Path(__file__).parent / "data" / "recordings"
PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_recording_is_told_pass_by_pass_however_it_is_cut(size: int | None) -> None:
    samples = play(TOOL, Recording.load(RECORDINGS / "e2fsck_C3"), size=size)
    phases = list(dict.fromkeys(sample.phase for sample in samples))
    assert phases[0] == "inodes, blocks and sizes"
    assert phases[-1] == "group summaries"
    assert (samples[-1].current, samples[-1].total, samples[-1].unit) == (1_000_000, 1_000_000, Unit.PARTS)
    assert all(old.current <= new.current for old, new in pairwise(samples))
    ends = {sample.phase: sample.current for sample in samples}
    assert 590_000 < ends["inodes, blocks and sizes"] <= 700_000


def test_what_e2fsck_never_writes_is_not_believed() -> None:
    data = b"1 2\n6 1 2 fs.img\n1 5 4 fs.img\nP\xe4sse 1 2\n1 1 0 x\n\xff\x00\n"
    assert play(TOOL, Recording(["e2fsck"], {3: data})) == []


def test_where_it_begins_again_the_fraction_stands() -> None:
    data = b"1 1 2 a\n2 1 2 a\n1 1 2 a\n1 2 2 a\n3 1 2 a\n"
    samples = play(TOOL, Recording(["e2fsck"], {3: data}), size=8)
    assert [sample.current for sample in samples] == [350_000, 800_000, 800_000, 800_000, 910_000]


@pytest.mark.tool("e2fsck")
@pytest.mark.parametrize("words", [["e2fsck", "-fy", "a"], ["/sbin/fsck.ext4", "a"]])
def test_a_descriptor_is_added(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", PATH)
    command = TOOL.prepare(Command(words))
    assert TOOL.recognise(command)
    assert command.status is not None
    assert list(command.status(command.argv, 9)) == [words[0], "-C", "9", *words[1:]]


@pytest.mark.parametrize("option", ["-C0", "-C", "-fC", "-fyC3"])
def test_the_users_own_option_wins(option: str) -> None:
    assert TOOL.prepare(Command(["e2fsck", option, "0", "a"])).status is None


def test_the_weights_are_those_of_its_own_bar() -> None:
    assert sum(PASSES.values()) == 100


# --- the real one


@pytest.fixture
def image(tmp_path: Path) -> str:
    """A small file system, with something to mend."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(16 << 20)
    make = ["mke2fs", "-q", "-F", "-t", "ext4", str(path)]
    subprocess.run(make, check=True, env={"PATH": PATH}, timeout=PATIENCE)
    words = ["debugfs", "-w", "-R", "set_inode_field <2> links_count 7", str(path)]
    subprocess.run(words, check=True, env={"PATH": PATH}, timeout=PATIENCE, capture_output=True)
    return str(path)


@pytest.mark.tool("e2fsck", "mke2fs")
@pytest.mark.parametrize("streams", ["", "2>&1", "2>err", "> out 2>err", "> out", "| cat"])
def test_what_it_prints_and_how_it_ends_is_as_without_us(image: str, streams: str, tmp_path: Path) -> None:
    results = []
    whole = Path(image).read_bytes()
    for before in ("", "pollprog run --progress none --"):
        Path(image).write_bytes(whole)
        script = f"PATH=$PATH:{PATH}; cd {tmp_path}; set -o pipefail; {before} e2fsck -fy image {streams}; echo $?"
        done = subprocess_of(script)
        files = [path.read_bytes() if (path := tmp_path / name).exists() else b"" for name in ("out", "err")]
        results.append((done.stdout, done.stderr, files))
    assert results[0] == results[1]
    assert "\n1\n" in f"\n{results[0][0]}"


def subprocess_of(script: str) -> subprocess.CompletedProcess[str]:
    return shell(f"exec bash -c {shlex.quote(script)}")


def make(path: Path, tebibytes: int) -> None:
    """Make an image of that size, with next to nothing in it."""
    with path.open("wb") as file:
        file.truncate(tebibytes << 40)
    options = ["-E", "lazy_itable_init=1,nodiscard", "-O", "^resize_inode,^has_journal,^64bit", "-i", "1048576"]
    words = ["mke2fs", "-q", "-F", "-t", "ext4", *options, str(path)]
    subprocess.run(words, check=True, env={"PATH": PATH}, timeout=PATIENCE)


@pytest.mark.tool("e2fsck", "mke2fs")
def test_a_large_one_is_told_in_a_terminal_too(tmp_path: Path) -> None:
    make(tmp_path / "image", 14)
    terminal = Terminal()
    words = "pollprog run --interval 0.1 --progress-fd 3 e2fsck -f image 3>lines"
    try:
        terminal.run("sh", "-c", f"PATH=$PATH:{PATH}; cd {tmp_path}; {words}")
        assert terminal.wait_end() == 0
    finally:
        terminal.close()
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    told = [line for line in lines[:-1] if line["source"] == "e2fsck"]
    assert len(told) >= 2
    assert all(old["fraction"] <= new["fraction"] for old, new in pairwise(told))
    assert all(line["fraction"] < 1 for line in told)
    assert lines[-1]["fraction"] == 1


@pytest.mark.tool("gcc")
def test_without_preparing_nothing_is_added(tmp_path: Path) -> None:
    program = compiled(tmp_path / "e2fsck", "#!/bin/sh\necho $*\nls -l /proc/self/fd\n", "[-C fd]")
    assert "memfd" in pollprog("run", "--", program, "a").stdout
    done = pollprog("run", "--no-prepare", "--", program, "a")
    assert done.stdout.startswith("a\n")
    assert "memfd" not in done.stdout


@pytest.mark.parametrize("before", [(), ("--probe", "e2fsck", "--", "nice")])
def test_what_does_not_know_the_option_is_not_given_it(before: tuple[str, ...], tmp_path: Path) -> None:
    program = tmp_path / "e2fsck"
    program.write_text("#!/bin/sh\necho $*\n")
    program.chmod(0o755)
    assert pollprog("run", *before, str(program), "a").stdout == "a\n"


@pytest.mark.tool("e2fsck", "mke2fs")
def test_one_that_runs_already_has_no_total(tmp_path: Path) -> None:
    make(tmp_path / "image", 2)
    program = shutil.which("e2fsck", path=PATH)
    samples = looked_at(f"{program} -fn image", tmp_path, launched=False)
    assert len({sample.current for sample in samples}) >= 3
    assert {sample.total for sample in samples} == {None}
