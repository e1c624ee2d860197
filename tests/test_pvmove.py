"""LVM: what lvs says of a volume in which something is copied, by a program that stands in for it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from children import descriptors, wait_until

from pollprog.errors import ProcessError, UsageError
from pollprog.probes import asked
from pollprog.probes.pvmove import RESOURCE, parse_report
from pollprog.status import Outcome, Sample, State, Unit

REPORT = (Path(__file__).parent / "data/resources/lvs.pvmove").read_bytes()
LOST, WELL = Outcome(State.LOST), Outcome(State.SUCCEEDED, 0)


def test_each_volume_has_its_percentage_if_any() -> None:
    assert parse_report(REPORT) == {
        "root": None,
        "data": 48.75,
        "whole": 100.0,
        "data_rimage_0": None,
        "pvmove0": 12.34,
    }


@pytest.mark.parametrize("said", ["12,34", "-1.00", "100.01", "1e1", "zwölf", "12.345", "nan", "\u0661"])
def test_what_is_no_percentage_is_none(said: str) -> None:
    told = parse_report(REPORT.replace(b"12.34", said.encode()))
    assert told is not None
    assert told["pvmove0"] is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b'{"report": 7}',
        b'{"report": [{"lv": [7]}]}',
        b'{"report": [{"lv": [{"lv_name": "a"}]}]}',
        b'{"report": [{"lv": [{"lv_name": "a", "copy_percent": 7}]}]}',
        b"[" * 100_000,
        b"\xff\x00",
        REPORT[:-9],
    ],
)
def test_what_is_no_report_says_nothing(data: bytes) -> None:
    assert parse_report(data) is None


class Lvs:
    """What stands in for lvs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.says()
        program = folder / "bin/lvs"
        program.parent.mkdir()
        place = shlex.quote(str(folder))
        program.write_text(f'#!/bin/sh\necho "$@" > {place}/words\ncat {place}/report\n. {place}/end\n')
        program.chmod(0o755)

    def says(self, report: bytes = REPORT, end: str = "exit 0") -> None:
        for name, data in (("report", report), ("end", end.encode())):
            (self.folder / "new").write_bytes(data)
            (self.folder / "new").rename(self.folder / name)


@pytest.fixture
def lvs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lvs:
    monkeypatch.setattr(asked, "GAP", 0)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Lvs(tmp_path)


def ended(volume: Any) -> Outcome | None:
    """How it is told to have ended, once it is."""
    wait_until(lambda: volume.sample() is None and volume.outcome)
    volume.close()
    outcome: Outcome | None = volume.outcome
    return outcome


def test_a_volume_is_watched_to_its_end(lvs: Lvs) -> None:
    before = descriptors()
    (move,) = RESOURCE.open("vg0")
    (named,) = RESOURCE.open("vg0/pvmove0")
    (mirror,) = RESOURCE.open("vg0/data")
    assert "--all --reportformat json --options lv_name,copy_percent vg0\n" in (lvs.folder / "words").read_text()
    assert [one.name for one in (move, named, mirror)] == ["vg0/pvmove0", "vg0/pvmove0", "vg0/data"]
    samples: list[Sample] = []
    wait_until(lambda: samples.extend(filter(None, [move.sample()])) or samples)
    assert samples == [Sample(123_400, 1_000_000, Unit.PARTS, source="lvs")]
    lvs.says(REPORT.replace(b"12.34", b"100.00").replace(b"48.75", b"100.00"))
    wait_until(lambda: (said := move.sample()) and said.current == said.total)
    assert move.outcome is None, "it is over when its volume is gone"
    assert ended(mirror) == WELL
    lvs.says(REPORT.replace(b"[pvmove0]", b"other"))
    assert ended(move) == LOST
    lvs.says(end="echo '  gone' >&2; exit 5")
    assert ended(named) == LOST
    assert descriptors() == before


@pytest.mark.parametrize(
    ("argument", "error", "text"),
    [
        ("", UsageError, "names no volume; write pvmove:VG/LV"),
        ("-vg", UsageError, "names no volume"),
        ("a/b/c", UsageError, "names no volume"),
        ("a b", UsageError, "names no volume"),
        ("vg0/root", ProcessError, "pvmove:vg0/root: nothing is under way there"),
        ("vg0/whole", ProcessError, "nothing is under way there"),
        ("vg0/none", ProcessError, "there is no such volume; lvs -a vg0 lists them"),
    ],
)
def test_what_cannot_be_watched_is_told_in_a_line(lvs: Lvs, argument: str, error: type[Exception], text: str) -> None:
    assert lvs.folder.exists()
    with pytest.raises(error, match=text):
        RESOURCE.open(argument)


def test_what_lvs_complains_of_is_told(lvs: Lvs) -> None:
    lvs.says(b"", "echo '  Volume group \"vg0\" not found' >&2; exit 5")
    with pytest.raises(ProcessError, match='pvmove:vg0: Volume group "vg0" not found'):
        RESOURCE.open("vg0")
    lvs.says(b"LV Copy%\n")
    with pytest.raises(ProcessError, match="its answer is not understood, with exit status 0"):
        RESOURCE.open("vg0")


@pytest.mark.tool("lvs")
def test_the_real_one_knows_these_words() -> None:
    with pytest.raises(ProcessError, match=r"Volume group \"no-such-group\" not found|ermission denied"):
        RESOURCE.open("no-such-group")
