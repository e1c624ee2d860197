"""The example of a plugin in a package of its own: BorgBackup, by recordings and for real, found by its entry point."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from terminals import ENVIRONMENT, PATIENCE, shell
from tool_runs import gets, told

from pollprog import strangers
from pollprog.probes.testing import Recording, play
from pollprog.status import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).parents[1]
PACKAGE = REPO / "examples/pollprog-borg"
RECORDINGS = REPO / "tests/data/recordings"
MOST = 60
"""Lines of which a plugin has fewer."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Install the package, built from a copy of it, where Python finds it; its tool."""
    folder = tmp_path_factory.mktemp("borg")
    target = folder / "packages"
    shutil.copytree(PACKAGE, folder / "source")
    words = [
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        target,
        folder / "source",
    ]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True, timeout=PATIENCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(target))
        patch.setitem(ENVIRONMENT, "PYTHONPATH", str(target))
        patch.setitem(ENVIRONMENT, "BORG_BASE_DIR", str(folder / "borg"))
        patch.setitem(ENVIRONMENT, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes")
        strangers.find.cache_clear()
        yield strangers.load(strangers.find()["borg"])
    sys.modules.pop("pollprog_borg", None)
    strangers.find.cache_clear()


def test_it_is_short() -> None:
    assert len((PACKAGE / "pollprog_borg.py").read_text().splitlines()) < MOST


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(("kind", "unit"), [("create", Unit.BYTES), ("extract", Unit.BYTES), ("check", Unit.PARTS)])
def test_a_recording_is_told(kind: str, unit: Unit, size: int | None, installed: Any) -> None:
    samples = play(installed, Recording.load(RECORDINGS / f"borg_{kind}"), size=size)
    assert len({sample.current for sample in samples}) >= 2
    assert {sample.unit for sample in samples} == {unit}


def test_what_borg_never_says_is_not_believed(installed: Any) -> None:
    said = b'{"original_size": -3, "type": "archive_progress"}\n{"original_size": 3\n7 MB O 6 MB C\n\xff{"type": "archive_progress"}\n'
    assert play(installed, Recording(["borg", "create"], {2: said})) == []


# --- the real one


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory, installed: Any) -> Path:
    """A folder with something to back up, and a repository with an archive of less."""
    assert installed.name == "borg"
    folder = tmp_path_factory.mktemp("backup")
    for name, size in (("little", 1 << 17), ("data", 2 << 20)):
        (folder / name).mkdir()
        for number in range(4):
            (folder / name / str(number)).write_bytes(os.urandom(size))
    shell(f"cd {folder} && borg init -e none repo && borg create repo::one little")
    return folder


@pytest.mark.tool("borg")
def test_a_backup_is_told_with_a_total(backup: Path) -> None:
    borg = "borg --log-json --progress create --compression lzma,6 --chunker-params fixed,65536"
    *lines, last = told(f"--probe borg {borg} repo::two data 2>log", backup, "borg")
    assert len(lines) >= 2
    assert 8 << 20 in {line["total"] for line in lines}
    assert [line["current"] for line in lines] == sorted(line["current"] for line in lines)
    assert last["state"] == "succeeded"


@pytest.mark.tool("borg")
@pytest.mark.parametrize("place", ["2>err", "> out 2>err", "2>&1 | cat"])
def test_what_it_prints_and_how_it_ends_is_as_without_us(
    place: str, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tool_runs.BEFORE", ("", "pollprog run --probe borg --progress none --"))
    printed = gets("borg --log-json --progress check repo", place, backup, blurred=re.compile(rb'"time": [0-9.]+'))
    assert b"progress_percent" in b"".join(printed)
