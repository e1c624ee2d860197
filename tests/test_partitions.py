"""A partition table, as sfdisk tells it, and how it looks on a larger disk."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from lasting import MIB, program

from pollprog.partitions import SECTOR, Table

if TYPE_CHECKING:
    from pathlib import Path

NAMED = r"""label: gpt
label-id: 6A43DD08-412D-F54C-9920-189AADE10D4A
first-lba: 34

start=2048, size=2048, name="a \x22q\x22 \x5c b, c é", attrs="RequiredPartition GUID:63"
start=6144, size=4096, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F, uuid=1BD09338-206C-554A-81F2-A060D9DD15EB
"""
BOOTED = """label: dos
label-id: 0x2e8a2bb1

start=2048, size=2048, type=83, bootable
start=6144, size=4096, type=82
"""


def on_disk(path: Path, script: bytes, size: int) -> dict[str, Any]:
    """What sfdisk tells of a disk that it has written by this script."""
    with path.open("wb") as file:
        file.truncate(size)
    subprocess.run([program("sfdisk"), "--quiet", path], input=script, check=True)
    done = subprocess.run([program("sfdisk"), "--json", path], capture_output=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def parsed(told: dict[str, Any]) -> Table:
    return Table.parse(json.dumps(told).encode())


@pytest.mark.tool("sfdisk")
@pytest.mark.parametrize("script", [NAMED, BOOTED])
@pytest.mark.parametrize("number", [None, 1, 2])
def test_a_table_is_the_same_on_a_larger_disk_but_for_what_grows(
    script: str, number: int | None, tmp_path: Path
) -> None:
    told = on_disk(tmp_path / "old", script.encode(), 8 * MIB)
    grown, old, new = parsed(told).grown(32 * MIB // SECTOR, number)
    after = on_disk(tmp_path / "new", grown.script(), 32 * MIB)["partitiontable"]
    before = told["partitiontable"]
    assert (after["label"], after["id"], after.get("firstlba")) == (
        before["label"],
        before["id"],
        before.get("firstlba"),
    )
    more = new.size - old.size
    assert more % 2048 == 0
    assert more > 20 * MIB // SECTOR
    for one, other in zip(before["partitions"], after["partitions"], strict=True):
        grows = one["start"] == old.start
        moves = number == 1 and not grows
        del one["node"], other["node"]
        assert other == {**one, "size": one["size"] + grows * more, "start": one["start"] + moves * more}
    end = after["partitions"][-1]["start"] + after["partitions"][-1]["size"]
    assert end <= after.get("lastlba", 32 * MIB // SECTOR - 1) + 1


TOLD: dict[str, Any] = {
    "label": "dos",
    "device": "d",
    "unit": "sectors",
    "sectorsize": 512,
    "partitions": [{"node": "d1", "start": 2048, "size": 2048, "type": "83"}],
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"label": "bsd"}, "kind bsd"),
        ({"sectorsize": 4096}, "4096"),
        ({"partitions": []}, "no partition"),
        ({"partitions": [{"node": "d1", "start": 1, "size": 9, "type": "f"}]}, "extended"),
        ({"partitions": [{"node": "d1", "start": 1, "size": 9, "type": "ee"}]}, "GPT is damaged"),
        ({"partitions": [{"node": "d1", "size": 9}]}, "not understood"),
        ({"partitions": [{"node": "e", "start": 1, "size": 9}]}, "not understood"),
        ({"partitions": 5}, "not understood"),
    ],
)
def test_what_cannot_be_done_with_a_table_is_said(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parsed({"partitiontable": {**TOLD, **change}})


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"partitiontable": 5}'])
def test_what_is_no_table_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match="not understood"):
        Table.parse(data)


def test_where_there_is_no_room_or_no_such_partition_nothing_grows() -> None:
    table = parsed({"partitiontable": TOLD})
    for sectors in (0, 4096, 4096 + 2047):
        with pytest.raises(ValueError, match="larger size"):
            table.grown(sectors)
    with pytest.raises(ValueError, match="there is no partition 7; there are 1"):
        table.grown(1 << 20, 7)
    assert table.grown(4096 + 2048)[2].size == 4096
    assert table.grown(1 << 40)[2].end <= 1 << 32
