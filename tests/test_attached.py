"""Programs that a plugin measures when pollprog starts them, and that are measured otherwise when they run already: each for real.

Each is stopped and looked at between its steps. Those that are measured by what they print into a file, and those that need a server, have
this in the tests of their own.
"""

from __future__ import annotations

import random
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from tool_runs import looked_at

from pollprog.probes.seen import BACK

if TYPE_CHECKING:
    from pathlib import Path

    from pollprog.status import Sample

MIB = 1 << 20
SIZE = 12 * MIB
PATIENCE = 60.0
"""Seconds after which a command counts as stuck."""
FEWEST = 3
"""Statuses on the way, at the least."""
MOST = 1.03
"""What a program reads of itself and its libraries is counted, too, where bytes read are; the channel says no more than all."""
TRIES = 10
"""On a busy machine it may have run to its end before we came to look at it again."""

RUNS = {
    "7z": "7z a -mx1 -mmt1 -bd out.7z large",
    "dd": "dd if=large of=out bs=512",
    "ddrescue": "ddrescue -q -b 512 -c 4 large out",
    "ffmpeg": "ffmpeg -nostdin -v error -i sound.wav -y out.flac",
    "nbdcopy": "nbdcopy --requests=1 --threads=1 --request-size=65536 large out",
    "qemu-img": "qemu-img convert -c -O qcow2 large out",
    "xz": "xz -0 -T1 -k -f large",
}
"""What is run for each, on a file that cannot be packed well."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``large``, and the same as a sound."""
    folder = tmp_path_factory.mktemp("attached")
    folder.chmod(0o700)
    chance = random.Random(1)
    (folder / "large").write_bytes(
        b"".join(chance.randbytes(512) + b"many words " * 46 + b"......" for _ in range(SIZE // 1024))
    )
    with (folder / "sound.wav").open("wb") as file:
        file.write(header(SIZE))
        file.write((folder / "large").read_bytes())
    return folder


def header(size: int) -> bytes:
    """Of a sound of so many bytes: one channel of 16 bits, 44,100 a second."""
    numbers = [
        (36 + size, 4),
        b"WAVEfmt ",
        (16, 4),
        (1, 2),
        (1, 2),
        (44_100, 4),
        (88_200, 4),
        (2, 2),
        (16, 2),
        b"data",
        (size, 4),
    ]
    return b"RIFF" + b"".join(
        part if isinstance(part, bytes) else part[0].to_bytes(part[1], "little") for part in numbers
    )


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.tool(name)) for name in RUNS])
def test_one_that_runs_already_is_told_on_its_way_and_never_falls(name: str, inputs: Path) -> None:
    samples: list[Sample] = []
    told: list[float] = []
    for _ in range(TRIES):
        subprocess.run(["sh", "-ec", "rm -rf out*"], cwd=inputs, check=True, timeout=PATIENCE)
        samples = [sample for sample in looked_at(RUNS[name], inputs, launched=False) if sample.total]
        told = [sample.current / (sample.total or 1) for sample in samples]
        if len({fraction for fraction in told if 0 < fraction < 1}) >= FEWEST and told[-1] > 0.5:
            break
    assert len({fraction for fraction in told if 0 < fraction < 1}) >= FEWEST, (told, samples[-2:])
    assert told[-1] > 0.5
    assert max(told) < MOST
    for old, new in pairwise(samples):
        if (old.total, old.phase, old.source) == (new.total, new.phase, new.source):
            assert old.current <= new.current + BACK  # ffmpeg reads a little of its input twice
    assert SIZE <= (samples[-1].total or 0) <= SIZE + 100
