"""A larger copy of an image of a disk, behind a socket: all that was in it is there, and one partition has grown."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from disks import small_disk
from doors import Door, door
from lasting import MIB, Place, place, program
from test_commands import refused
from test_filesystems import change, content, is_clean

from pollprog.filesystems import superblock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZES = [128 * MIB, 256 * MIB, 512 * MIB, 1024 * MIB, 2048 * MIB]
"""What is in a disk: the first of these that lasts long enough for its steps to be told."""

pytestmark = pytest.mark.tool("sfdisk", "e2fsck", "mke2fs", "resize2fs", "debugfs")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with door(tmp_path_factory.mktemp("served")) as one:
        yield one


@pytest.fixture(scope="module")
def room() -> Iterator[Place]:
    with place() as made:
        yield made


@pytest.fixture
def here(room: Place) -> Iterator[Place]:
    """Where disks are that nobody changes; what is made is gone afterwards."""
    yield room
    room.clear()


def partitions(path: str) -> list[tuple[int, int]]:
    """Where each partition begins, and how long it is, in bytes."""
    done = subprocess.run([program("sfdisk"), "--json", path], capture_output=True, check=True)
    return [(one["start"] * 512, one["size"] * 512) for one in json.loads(done.stdout)["partitiontable"]["partitions"]]


def part(path: str, number: int) -> bytes:
    """What is in a partition."""
    start, size = partitions(path)[number - 1]
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(size)


def taken_out(path: str, number: int, into: str) -> str:
    """A partition as a file of its own."""
    with open(into, "wb") as file:
        file.write(part(path, number))
    return into


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_the_last_partition_grows_with_its_file_system(served: Door, here: Place, label: str) -> None:
    source, new = here.disk(8 * MIB, label), here.new("new")
    with open(source, "r+b") as file:
        file.write(b"boot code" * 48)
        file.seek(100 * 512)
        file.write(b"boot loader")
    told = served.call("ResizeImage", source=source, destination=new, size=256 * MIB)["result"]
    assert os.path.getsize(new) == told["size"] == 256 * MIB
    (one, two), was = partitions(new), partitions(source)
    assert one == was[0]
    assert (two[0], two[1]) == (was[1][0], told["partition_size"])
    assert sum(two) > 254 * MIB
    assert (told["partition"], told["filesystem"]) == (2, True)
    assert part(new, 1) == part(source, 1)
    taken = taken_out(new, 2, here.new("taken"))
    assert is_clean(taken)
    found = superblock(taken.encode())
    assert found is not None
    assert 0 <= two[1] - found.size < found.block_size
    with open(here.dense(8 * MIB), "rb") as file:
        assert content(taken, "data") == file.read()
    with open(source, "rb") as old, open(new, "rb") as file:
        assert file.read(440) == old.read(440) == (b"boot code" * 49)[:432] + bytes(8)
        file.seek(100 * 512)
        assert file.read(11) == b"boot loader"
    assert os.stat(new).st_blocks * 512 < 64 * MIB, "holes stay holes"


def test_another_partition_grows_and_those_behind_it_move(served: Door, here: Place) -> None:
    source, new = here.disk(8 * MIB), here.new("new")
    told = served.call("ResizeImage", source=source, destination=new, size=128 * MIB, partition=1)["result"]
    assert (told["partition"], told["filesystem"]) == (1, False)
    (one, two), was = partitions(new), partitions(source)
    more = one[1] - was[0][1]
    assert more > 64 * MIB
    assert (one[0], two) == (was[0][0], (was[1][0] + more, was[1][1]))
    assert part(new, 1) == part(source, 1) + bytes(more)
    assert part(new, 2) == part(source, 2)


def test_a_file_system_stays_as_it_is_if_asked_for(served: Door, here: Place) -> None:
    source, new = here.disk(8 * MIB), here.new("new")
    told = served.call("ResizeImage", source=source, destination=new, size=128 * MIB, filesystem=False)["result"]
    assert told["filesystem"] is False
    old = part(source, 2)
    assert part(new, 2) == old + bytes(told["partition_size"] - len(old))


def test_all_steps_are_one_fraction_that_never_falls(served: Door, here: Place) -> None:
    for size in SIZES:  # a fast machine may do all but one of the steps between two statuses
        *statuses, reply = served.line().talk(
            "ResizeImage", source=here.disk(size), destination=here.new("new"), size=256 << 30, interval=0.1
        )
        assert reply.error is None
        told = [(one.status["fraction"], one.status["phase"]) for one in statuses if one.status.get("phase")]
        assert told == sorted(told, key=lambda one: one[0])
        seen = list(dict.fromkeys(phase.partition(":")[0] for _, phase in told))
        assert set(seen) <= {"copy", "filesystem", "check", "resize", "place"}
        assert statuses[-1].status["fraction"] == 1
        if len(seen) > 1:
            break
        here.clear()
    assert len(seen) > 1


def test_what_cannot_be_done_is_told_by_name_and_nothing_is_left(served: Door, here: Place) -> None:
    source, new, dense = here.disk(8 * MIB), here.new("new"), here.dense(MIB)
    cuts = []
    for label in ("gpt", "dos"):
        cuts.append(here.new("cut"))
        with open(here.disk(8 * MIB, label), "rb") as file, open(cuts[-1], "wb") as cut:
            cut.write(file.read(20 * MIB))
    before = here.names()
    size = os.path.getsize(source)
    wrong: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
        ({"size": size}, "InvalidParameter", {"parameter": "size"}),
        ({"size": size + 1}, "InvalidParameter", {"parameter": "size"}),
        ({"size": -512}, "InvalidParameter", {"parameter": "size"}),
        ({"partition": 3}, "InvalidParameter", {"parameter": "partition"}),
        ({"destination": here.path("a?b")}, "InvalidParameter", {"parameter": "destination"}),
        ({"destination": dense}, "DestinationExists", {"path": dense}),
        ({"destination": source, "overwrite": True}, "SameFile", {"source": source}),
        ({"source": here.path("no")}, "NoSuchFile", {"path": here.path("no")}),
        ({"source": str(here.folder)}, "IsDirectory", {"path": str(here.folder)}),
        ({"source": dense}, "CommandFailed", {"exit": 1}),
        *(({"source": cut}, "OperationFailed", {"path": cut}) for cut in cuts),
    ]
    for parameters, error, members in wrong:
        told = refused(served, "ResizeImage", **{"source": source, "destination": new, "size": 128 * MIB, **parameters})
        assert told.name == error, (parameters, told.parameters)
        assert members.items() <= told.parameters.items(), told.parameters
    assert here.names() == before


def test_a_file_system_that_has_errors_is_named_and_nothing_is_left(served: Door, here: Place) -> None:
    source = shutil.copy(here.disk(8 * MIB), here.new("broken"))
    start, _ = partitions(source)[1]
    change(f"{source}?offset={start}", "sif <12> block[0] 1")
    change(f"{source}?offset={start}", "sif <12> mode 0")
    before = here.names()
    told = refused(served, "ResizeImage", source=source, destination=here.new("new"), size=128 * MIB)
    assert told.name == "CommandFailed"
    assert "the file system in partition 2 of" in told.parameters["message"]
    assert here.names() == before


@pytest.mark.tool("mount")
def test_on_a_full_disk_nothing_is_left(served: Door, here: Place, tmp_path: Path) -> None:
    source = here.disk(8 * MIB)
    for number, size in enumerate((2 * MIB, 12 * MIB, 18 * MIB)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with small_disk(folder, size) as disk:
            told = refused(served, "ResizeImage", source=source, destination=str(disk / "new"), size=16 << 30)
            assert (told.name, told.parameters["path"]) == ("NoSpace", str(disk / "new"))
            assert list(disk.iterdir()) == []


@pytest.mark.tool("mount")
def test_what_is_moved_into_its_place_is_not_there_twice(served: Door, here: Place, tmp_path: Path) -> None:
    with small_disk(tmp_path, 256 * MIB) as disk:  # room for the copy of 128 MiB, and for a piece of it
        told = served.call("ResizeImage", source=here.disk(128 * MIB), destination=str(disk / "new"), size=4 << 30)
        assert told["result"]["filesystem"]
        assert os.listdir(disk) == ["new"]


@pytest.mark.parametrize("step", ["filesystem", "resize", "place"])
def test_whichever_step_it_is_cancelled_in_nothing_is_left(served: Door, here: Place, step: str) -> None:
    for number in range(3 * len(SIZES)):  # a step may be over before anybody is told of it, or the cancel heard
        source = here.disk(SIZES[number // 3])
        before, job, line = here.names(), f"{step}-{number}", served.line()
        line.send("ResizeImage", job=job, source=source, destination=here.new("new"), size=1 << 40, interval=0.1)
        while (reply := line.reply()).continues and not reply.status.get("phase", "").startswith(step):
            pass
        if reply.continues:
            served.call("Cancel", job=job)
            reply = line.replies()[-1]
        if reply.error is not None:
            break
        here.clear()
    assert str(reply.error).endswith(".Cancelled")
    assert here.names() == before
