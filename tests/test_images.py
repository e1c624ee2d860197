"""The operations on images of disks, behind a socket."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from disks import small_disk
from doors import Door, door
from lasting import MIB, Place, place, program
from test_commands import refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with door(tmp_path_factory.mktemp("served")) as one:
        yield one


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as made:
        yield made


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.tool("qemu-img")
def test_an_image_is_converted_and_back_again(served: Door, here: Place) -> None:
    source, packed, back = here.dense(4 * MIB), here.path("packed"), here.path("back")
    with open(source, "ab") as file:
        file.truncate(64 * MIB)
    told = served.call("ConvertImage", source=source, destination=packed)
    assert told["result"]["size"] == os.path.getsize(packed) < 8 * MIB
    assert read(packed).startswith(b"QFI\xfb")
    assert served.call("ConvertImage", source=packed, destination=back, to="raw") == {"result": {"size": 64 * MIB}}
    assert read(back) == read(source)
    assert os.stat(back).st_blocks * 512 < 8 * MIB
    # a raw image that only looks like another is what its caller says that it is
    served.call("ConvertImage", source=packed, destination=back, to="raw", source_format="raw", overwrite=True)
    assert read(back)[: os.path.getsize(packed)] == read(packed)


@pytest.mark.tool("qemu-img")
def test_an_image_is_compressed_if_asked_for(served: Door, here: Place) -> None:
    source = here.path("words")
    with open(source, "wb") as file:
        file.write(b"words " * MIB)
    sizes = [
        served.call("ConvertImage", source=source, destination=here.new("image"), compress=compress)["result"]["size"]
        for compress in (False, True)
    ]
    assert sizes[1] * 4 < sizes[0]


@pytest.mark.tool("qemu-img")
def test_a_conversion_is_told_by_what_qemu_img_says_of_itself(served: Door, here: Place) -> None:
    source = here.dense(64 * MIB)
    *statuses, reply = served.line().talk("ConvertImage", source=source, destination=here.path("new"), compress=True)
    assert reply.error is None
    told = [one.status for one in statuses if one.status["state"] == "running"]
    assert len(told) >= 2
    assert {(status["source"], status["total"]) for status in told} == {("qemu-img", 1_000_000)}


def ntfs_data(path: str) -> bytes:
    return subprocess.run([program("ntfscat"), path, "data"], capture_output=True, check=True).stdout


@pytest.mark.tool("ntfsclone")
def test_an_ntfs_is_saved_and_restored_and_cloned(served: Door, here: Place) -> None:
    source, saved, back, cloned = here.ntfs(8 * MIB), *map(here.path, ("saved", "back", "cloned"))
    data = read(here.dense(8 * MIB))
    told = served.call("NtfsClone", source=source, destination=saved, how="save")
    assert told["result"]["size"] == os.path.getsize(saved) < os.path.getsize(source)
    served.call("NtfsClone", source=saved, destination=back, how="restore")
    served.call("NtfsClone", source=source, destination=cloned)
    assert ntfs_data(source) == ntfs_data(back) == ntfs_data(cloned) == data
    told_ = refused(served, "NtfsClone", source=source, destination=cloned)
    assert (told_.name, told_.parameters["path"]) == ("DestinationExists", cloned)


@pytest.mark.tool("ntfsclone")
def test_a_clone_is_told_by_what_ntfsclone_says_of_itself(served: Door, here: Place) -> None:
    for size in (96 * MIB, 512 * MIB):  # the smaller is over too soon on a fast disk
        *statuses, reply = served.line().talk("NtfsClone", source=here.ntfs(size), destination=here.path(f"new-{size}"))
        assert reply.error is None
        told = [one.status for one in statuses if one.status["state"] == "running"]
        if any("source" in status for status in told):
            break
    assert {(status["source"], status["total"]) for status in told if "source" in status} == {("ntfsclone", 1_000_000)}


@pytest.mark.tool("qemu-img", "ntfsclone")
def test_what_cannot_be_done_is_told_by_name_and_nothing_is_left(served: Door, here: Place) -> None:
    source, new, no, there = here.dense(MIB), here.path("new"), here.path("no/such"), here.path("there")
    with open(there, "wb") as file:
        file.write(b"QFI\xfb and no more")
    before = here.names()
    wrong: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
        (
            "ConvertImage",
            {"source": source, "to": "raw", "compress": True},
            "InvalidParameter",
            {"parameter": "compress"},
        ),
        ("ConvertImage", {"source": there, "source_format": "qcow2"}, "CommandFailed", {"exit": 1}),
        ("NtfsClone", {"source": source}, "CommandFailed", {"exit": 1}),
        ("NtfsClone", {"source": source, "how": "restore"}, "CommandFailed", {"exit": 1}),
    ]
    for name in ("ConvertImage", "NtfsClone"):
        wrong += [
            (name, {"source": no}, "NoSuchFile", {"path": no}),
            (name, {"source": str(here.folder)}, "IsDirectory", {"path": str(here.folder)}),
            (name, {"source": source, "destination": no}, "NoSuchFile", {"path": no}),
            (name, {"source": source, "destination": there}, "DestinationExists", {"path": there}),
            (name, {"source": source, "destination": source, "overwrite": True}, "SameFile", {}),
        ]
    for name, parameters, error, members in wrong:
        told = refused(served, name, **{"destination": new, **parameters})
        assert told.name == error, (name, parameters, told.parameters)
        assert members.items() <= told.parameters.items()
    assert here.names() == before
    told = refused(served, "NtfsClone", source=source, destination=new)  # and not by the last of much advice
    assert re.search("exit status 1: ERROR.* as NTFS failed: Invalid argument$", told.parameters["message"])


@pytest.mark.tool("qemu-img", "ntfsclone", "mount")
def test_on_a_full_disk_nothing_is_left(served: Door, here: Place, tmp_path: Path) -> None:
    with small_disk(tmp_path, 2 * MIB) as disk:
        for name, source in (("ConvertImage", here.dense(8 * MIB)), ("NtfsClone", here.ntfs(8 * MIB))):
            told = refused(served, name, source=source, destination=str(disk / "new"))
            assert (told.name, told.parameters["path"]) == ("NoSpace", str(disk / "new"))
            assert list(disk.iterdir()) == []
