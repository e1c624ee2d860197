"""Programs that have no tool because evidence measures them: each runs for real, stopped and looked at between its steps."""

from __future__ import annotations

import random
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tool_runs import looked_at

from pollprog.probes.evidence import Evidence
from pollprog.probes.known import KNOWN
from pollprog.probes.table import row
from pollprog.probes.testing import Recording, play

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target
    from pollprog.status import Sample

MIB = 1 << 20
PATIENCE = 60.0
"""Seconds after which a command counts as stuck."""
FEWEST = 3
"""Statuses on the way, at the least."""
TRIES = 10
"""On a busy machine it may have run to its end before we came to look at it again."""
MOST = 1.01
"""What a program reads of itself and its libraries is counted, too, where bytes read are; the channel says no more than all."""

RECORDED = {
    "b3_tar_create": 384 * MIB,
    "gunzip": 41_646_715,
    "lbzip2": 101_133_497,
    "md5sum": 384 * MIB,
    "mv_xfs": 384 * MIB,
    "pigz": 101_133_497,
    "tar_extract": 90_460_160,
    "zstd_d": 35_766_319,
}
"""How much each recorded program had to read."""
GPG = "gpg --homedir . --batch --pinentry-mode loopback --passphrase x -z 0"
RUNS = {
    "cp": "cp large out",
    "cp -r": "cp -r folder large copied",
    "install": "install large out",
    "install -t": "install -t into large copy",
    "cat": "cat large > out",
    "mv": "mv moved /dev/shm/pollprog-test-known",
    "mv -": "mv tree /dev/shm/pollprog-test-known-tree",
    "tar": "tar cf out folder large",
    "tar -C": "tar czf out -C folder .",
    "tar --directory": "tar czf out --directory=folder .",
    "tar cj": "tar cjf out one two",
    "tar cJ": "XZ_OPT=-0 tar cJf out one two",
    "tar --zstd": "tar cf out --zstd large",
    "tar xz": "tar xzf packed.tgz -C into",
    "tar x": "tar xf packed.tar -C into",
    "gzip": "gzip -k -f one two",
    "gunzip": "gunzip -k -f large.gz",
    "zcat": "zcat large.gz > out",
    "bzip2": "bzip2 -k -f one two",
    "bunzip2": "bunzip2 -k -f one.bz2",
    "bzcat": "bzcat one.bz2 > out",
    "lz4": "lz4 -q -f large out",
    "zstd": "zstd -q -f large -o out",
    "unzstd": "unzstd -q -f large.zst -o out",
    "zstdcat": "zstdcat large.zst > out",
    "pigz": "pigz -k -f one two",
    "unpigz": "unpigz -k -f large.gz",
    "lbzip2": "lbzip2 -1 -k -f one two",
    "lbunzip2": "lbunzip2 -k -f many.bz2",
    "zip": "zip -q -r out.zip folder",
    "unzip": "unzip -q -o packed.zip -d into",
    "gpg": f"{GPG} -o out -c large",
    "gpg -d": f"{GPG} -o out.d -d large.gpg",
    "cmp": "cmp large copy",
    "grep": "grep -c nothing one two large copy",
    "wc": "wc one",
    "base64": "base64 large",
    "split": "split -b 16M large into/",
    "md5sum": "md5sum large one",
    "sha1sum": "sha1sum large",
    "sha224sum": "sha224sum < large",
    "sha256sum": "cat large | sha256sum",
    "sha384sum": "sha384sum one two large",
    "sha512sum": "sha512sum large large",
    "b2sum": "b2sum large",
    "cksum": "cksum large copy one",
}
"""What is run for each program that is said to be known, in a folder with the files of `inputs`."""
ATTACHED = (
    "cp -r",
    "install",
    "cat",
    "mv",
    "tar cJ",
    "tar x",
    "bunzip2",
    "gzip",
    "zstd",
    "lbzip2",
    "zip",
    "unzip",
    "cmp",
    "gpg",
    "sha384sum",
    "cksum",
)
"""Of these, one that runs already is told in the same way."""
BELOW = {
    "bash": "bash -c 'sha256sum large large; true'",
    "nice": "nice -n 1 sha256sum large large",
    "env": "env LC_ALL=C sha256sum large large",
    "xargs": "xargs -a list sha256sum",
    "time": "time -o times sha256sum large large",
    "sudo": "sudo sha256sum large large",
    "find": "find large -exec sha256sum {} {} ;",
    "cat": "cat large large | gzip -1 | cat > out",
}
"""The same work below others, and in a pipeline whose first program alone knows how much there is."""
SERVED = {"pg_dump", "pg_dumpall", "pg_restore", "mysqldump", "mariadb-dump", "mysql", "mariadb"}
"""They need a server: test_pg_basebackup.py and test_mysqldump.py run them."""
PACKING = """
cp large copy; gzip -k -1 large; bzip2 -k one; cat one.bz2 one.bz2 one.bz2 one.bz2 > many.bz2; zstd -q large
gpg --homedir . --batch --pinentry-mode loopback --passphrase x -z 0 -c large
tar czf packed.tgz folder folder; tar cf packed.tar folder large; zip -q -r -1 packed.zip folder large
"""
FRESH = """
rm -rf out out.* into copied /dev/shm/pollprog-test-known /dev/shm/pollprog-test-known-tree; mkdir into copied
test -e moved || cp large moved; test -e tree || { cp -r folder tree; cp large tree; }
"""
SIZES = {
    "cp": "large", "install": "large", "cat": "large", "mv": "copy", "zcat": "large.gz", "lz4": "large", "zstd": "large",
    "unzstd": "large.zst", "bzip2": "one two", "pigz": "one two", "cmp": "large copy", "sha512sum": "large large",
    "cksum": "large copy one", "tar x": "packed.tar", "tar xz": "packed.tgz", "unzip": "packed.zip", "sha256sum": "large",
}  # fmt: skip
"""For some of them, the files whose sizes are the total."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``large`` has 48 MiB, ``one`` and ``two`` 2 each, ``folder`` 8 in 16 files; and the same, packed."""
    folder = tmp_path_factory.mktemp("known")
    chance = random.Random(1)

    def make(path: Path, size: int) -> None:
        with path.open("wb") as file:
            for _ in range(size // 1024):
                file.write(chance.randbytes(512) + b"many words " * 46 + b"......")

    for name, size in (("one", 2 * MIB), ("two", 2 * MIB), ("large", 48 * MIB)):
        make(folder / name, size)
    (folder / "folder" / "deeper").mkdir(parents=True)
    for number in range(16):
        make(folder / "folder" / ("deeper" if number % 2 else ".") / f"file {number}", MIB // 2)
    subprocess.run(["sh", "-ec", PACKING], cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
    yield folder
    Path("/dev/shm/pollprog-test-known").unlink(missing_ok=True)
    shutil.rmtree("/dev/shm/pollprog-test-known-tree", ignore_errors=True)
    if shutil.which("gpgconf"):  # its agent would take its sockets away while the folder is removed
        subprocess.run(["gpgconf", "--homedir", folder, "--kill", "all"], check=True, timeout=PATIENCE)
    shutil.rmtree(folder)


def test_each_program_that_is_said_to_be_known_is_run() -> None:
    sums = row("sums")
    assert sums is not None
    known = {program for one in (*KNOWN, sums) for program in one.programs}
    assert {name.partition(" ")[0] for name in RUNS} | SERVED == known
    assert all(row(program) is one for one in KNOWN for program in one.programs)


class ByEvidence:
    """Measures any program as one that has no plugin."""

    name = "evidence"

    def recognise(self, _: Command) -> bool:
        return True

    def prepare(self, command: Command) -> Command:
        return command

    def probe(self, target: Target) -> Probe:
        return Evidence(target.tree, total=target.total)


@pytest.mark.parametrize(("name", "total"), RECORDED.items(), ids=RECORDED)
def test_a_recording_is_told_from_its_begin_to_its_end(name: str, total: int) -> None:
    recording = Recording.load(Path(__file__).parent / "data" / "recordings" / name)
    samples = play(ByEvidence(), recording)
    assert len(samples) == len(recording.looks)
    told = [sample for sample in samples if sample.total is not None]
    assert {sample.total for sample in told} == {total}
    assert len(told) >= len(samples) / 2
    assert all(old.current <= new.current for old, new in pairwise(told))
    assert told[0].current < total / 2
    assert told[-1].current > total * 0.9


@pytest.mark.tool("zip", "bzip2", "zstd", "gzip")
@pytest.mark.parametrize(
    ("name", "launched"),
    [
        pytest.param(name, launched, marks=pytest.mark.tool(name.partition(" ")[0]))
        for launched, names in ((True, RUNS), (False, ATTACHED))
        for name in names
    ],
)
def test_it_is_told_on_its_way_and_never_falls(name: str, *, launched: bool, inputs: Path) -> None:
    samples: list[Sample] = []
    told: list[float] = []
    for _ in range(TRIES):
        subprocess.run(["sh", "-ec", FRESH], cwd=inputs, check=True, timeout=PATIENCE)
        samples = [sample for sample in looked_at(RUNS[name], inputs, launched=launched) if sample.total]
        told = [sample.current / (sample.total or 1) for sample in samples]
        while len(told) > FEWEST and told[-1] > MOST:  # its compressor has ended, whose reading counts as its own then
            told.pop()
        if len({fraction for fraction in told if 0 < fraction < 1}) >= FEWEST and told[-1] > 0.5:
            break
    assert len({fraction for fraction in told if 0 < fraction < 1}) >= FEWEST, (told, samples[-2:])
    assert max(told) < MOST
    assert told[-1] > 0.5
    for old, new in pairwise(samples):
        if (old.total, old.phase, old.source) == (new.total, new.phase, new.source):
            assert old.current <= new.current
    if name in SIZES:
        assert samples[-1].total == sum((inputs / file).stat().st_size for file in SIZES[name].split())


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.tool(name)) for name in BELOW])
@pytest.mark.tool("sha256sum", "gzip")
def test_what_is_below_others_is_told(name: str, inputs: Path) -> None:
    (inputs / "list").write_text("large\nlarge\n")
    command = BELOW[name].replace(" ;", r" \;")
    told: list[int] = []
    for _ in range(TRIES):
        samples = [sample for sample in looked_at(command, inputs) if sample.total == 96 * MIB]
        told = [sample.current for sample in samples]
        if len(set(told)) >= FEWEST:
            break
    assert len(set(told)) >= FEWEST
    assert told == sorted(told)
    assert told[-1] <= 96 * MIB * MOST
