"""The operations that are loops of ours, behind a socket: what they do, what they refuse, what they leave when they stop."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from disks import small_disk
from doors import Door, Refused, door
from lasting import MIB, Place, place

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with door(tmp_path_factory.mktemp("served")) as one:
        yield one


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as made:
        yield made


def file(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def refused(served: Door, method: str, **parameters: Any) -> Refused:
    """The error that a call is answered with."""
    with pytest.raises(Refused) as raised:
        served.call(method, **parameters)
    return raised.value


def test_each_does_what_it_says(served: Door, tmp_path: Path) -> None:
    data = bytes(range(256)) * 16
    source = file(tmp_path, "source", data)
    copy = tmp_path / "copy"
    assert served.call("CopyFile", source=source, destination=str(copy))["result"] == {"size": 4096}
    assert copy.read_bytes() == data
    told = served.call(
        "CopySize", source=source, destination=str(copy), size=10, source_offset=1, destination_offset=20
    )
    assert told["result"] == {"size": 10}
    assert copy.read_bytes() == data[:20] + data[1:11] + data[30:]
    assert served.call("Fill", path=str(copy), size=5, offset=2, pattern="ab")["result"] == {"size": 5}
    assert copy.read_bytes()[:8] == data[:2] + b"ababa" + data[7:8]
    assert served.call("Zero", path=str(copy), offset=4090)["result"] == {"size": 6}
    assert copy.read_bytes()[4086:] == data[4086:4090] + bytes(6)
    assert served.call("ZeroDevice", device=str(copy))["result"] == {"size": 4096}
    assert copy.read_bytes() == bytes(4096)
    told = served.call("Checksum", path=source)["result"]
    assert told == {"digest": hashlib.sha256(data).hexdigest(), "files": 1, "size": 4096}
    assert served.call("CopyTree", source=str(tmp_path), destination=f"{tmp_path}-copy")["result"] == {"size": 8192}
    assert Path(f"{tmp_path}-copy", "source").read_bytes() == data


def test_what_exists_is_replaced_only_if_that_was_asked_for(served: Door, tmp_path: Path) -> None:
    source, there = file(tmp_path, "source", b"new"), file(tmp_path, "there", b"old")
    error = refused(served, "CopyFile", source=source, destination=there)
    assert (error.name, error.parameters["path"]) == ("DestinationExists", there)
    assert Path(there).read_bytes() == b"old"
    served.call("CopyFile", source=source, destination=there, overwrite=True)
    assert Path(there).read_bytes() == b"new"
    error = refused(served, "CopyTree", source=str(tmp_path), destination=there)
    assert error.name == "DestinationExists"


WRONG = {
    "CopyFile": ("source", {"destination": "{new}"}),
    "CopyTree": ("source", {"destination": "{new}"}),
    "CopySize": ("source", {"destination": "{new}"}),
    "Fill": ("path", {"size": 3}),
    "Zero": ("path", {}),
    "ZeroDevice": ("device", {}),
    "Checksum": ("path", {}),
}


@pytest.mark.parametrize("method", WRONG)
def test_a_path_that_is_relative_or_leads_nowhere_is_told_by_name(served: Door, tmp_path: Path, method: str) -> None:
    key, rest = WRONG[method]
    rest = {name: str(tmp_path / "new") if value == "{new}" else value for name, value in rest.items()}
    for path, error in (
        ("relative/file", "PathNotAbsolute"),
        (str(tmp_path / "no" / "file"), "NoSuchFile"),
        ("/dev/null/file", "NotDirectory"),
    ):
        told = refused(served, method, **{key: path}, **rest)
        assert (told.name, told.parameters["path"]) == (error, path)
    told = refused(served, method, **{key: "/a\0b"}, **rest)
    assert (told.name, told.parameters["parameter"]) == ("InvalidParameter", key)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["CopyFile", "CopySize"])
def test_a_destination_that_ends_with_a_slash_is_no_name_of_a_file(served: Door, tmp_path: Path, method: str) -> None:
    source = file(tmp_path, "source", b"x")
    told = refused(served, method, source=source, destination=f"{tmp_path}/new/")
    assert (told.name, told.parameters["path"]) == ("IsDirectory", f"{tmp_path}/new/")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_directory_a_fifo_and_the_same_file_are_told_by_name(served: Door, tmp_path: Path) -> None:
    source = file(tmp_path, "source", bytes(100))
    os.mkfifo(tmp_path / "fifo")
    for method in ("CopyFile", "CopySize"):
        told = refused(served, method, source=str(tmp_path), destination=str(tmp_path / "new"))
        assert (told.name, told.parameters["path"]) == ("IsDirectory", str(tmp_path))
        told = refused(served, method, source=str(tmp_path / "fifo"), destination=str(tmp_path / "new"))
        assert (told.name, told.parameters["path"]) == ("NotAFile", str(tmp_path / "fifo"))
        told = refused(served, method, source=source, destination=source)
        assert told.name == "SameFile"
        assert told.parameters["source"] == told.parameters["destination"] == source
    told = refused(served, "Fill", path=str(tmp_path), size=1)
    assert (told.name, told.parameters["path"]) == ("IsDirectory", str(tmp_path))
    told = refused(served, "CopyTree", source=source, destination=str(tmp_path / "new"))
    assert (told.name, told.parameters["path"]) == ("NotDirectory", source)
    told = refused(served, "CopyTree", source=str(tmp_path), destination=str(tmp_path / "inside"))
    assert told.name == "SameFile"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "source"]


@pytest.mark.parametrize(
    ("parameters", "culprit"),
    [({"size": -1}, "size"), ({"size": 1, "offset": -1}, "offset"), ({"size": 1, "pattern": ""}, "pattern"), ({"size": 1 << 64}, "size")],
)  # fmt: skip
def test_a_number_that_cannot_be_is_told_by_name(
    served: Door, tmp_path: Path, parameters: dict[str, Any], culprit: str
) -> None:
    told = refused(served, "Fill", path=str(tmp_path / "new"), **parameters)
    assert (told.name, told.parameters["parameter"]) == ("InvalidParameter", culprit)
    assert list(tmp_path.iterdir()) == []


OVER: dict[str, Any] = {
    "Fill": {"pattern": "x"},
    "Zero": {},
    "CopySize": {},
}


def over(method: str, path: str, at: int, size: int, source: str) -> dict[str, Any]:
    """The parameters of a call that writes over a stretch of a file that is there."""
    if method == "CopySize":
        return {"source": source, "destination": path, "destination_offset": at, "size": size}
    return {"path": path, "offset": at, "size": size, **OVER[method]}


def check_rest(path: str, at: int, written: int, old: int) -> None:
    """All of the file is as it was, but for the stretch that is said to be written."""
    with open(path, "rb") as opened:
        head = opened.read(at)
        assert head == bytes([old]) * at
        opened.seek(at + written)
        while piece := opened.read(MIB):
            assert piece.count(old) == len(piece)


@pytest.mark.parametrize("method", OVER)
def test_what_writes_into_a_file_and_is_cancelled_says_which_stretch_and_leaves_the_rest(
    served: Door, here: Place, method: str
) -> None:
    at, size = 3 * MIB + 1, 600 * MIB
    path = here.path("there")
    with open(path, "wb") as opened:
        opened.writelines(b"o" * MIB for _ in range(4 + size // MIB))
    before = os.stat(path)
    line = served.line()
    line.send(method, job=f"over-{method}", **over(method, path, at, size, here.dense(size)))
    line.reply()
    served.call("Cancel", job=f"over-{method}")
    told = line.replies()[-1]
    assert told.error is not None
    assert told.error.endswith(".Cancelled")
    written = told.parameters["written"]
    assert (told.parameters["path"], told.parameters["offset"]) == (path, at)
    assert 0 < written < size
    after = os.stat(path)
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    check_rest(path, at, written, ord("o"))


@pytest.mark.tool("mount")
@pytest.mark.parametrize("method", OVER)
def test_where_the_disk_is_full_half_way_the_stretch_is_told_and_the_rest_is_as_it_was(
    served: Door, here: Place, tmp_path: Path, method: str
) -> None:
    with small_disk(tmp_path, 8 * MIB) as disk:
        path = file(disk, "there", b"o" * MIB)
        told = refused(served, method, **over(method, path, MIB // 2, 64 * MIB, here.dense(64 * MIB)))
        assert told.name == "NoSpace"
        assert (told.parameters["path"], told.parameters["errno"], told.parameters["offset"]) == (
            path,
            "ENOSPC",
            MIB // 2,
        )
        assert 0 < told.parameters["written"] < 8 * MIB
        assert Path(path).read_bytes()[: MIB // 2] == b"o" * (MIB // 2)
        os.unlink(path)
        told = refused(served, method, **over(method, path, 0, 64 * MIB, here.dense(64 * MIB)))
        assert told.name == "NoSpace"
        assert list(disk.iterdir()) == [], "what it had made itself is gone"


@pytest.mark.tool("mount")
def test_a_copy_for_which_there_is_no_room_is_gone(served: Door, here: Place, tmp_path: Path) -> None:
    source = here.dense(64 * MIB)
    with small_disk(tmp_path, 8 * MIB) as disk:
        kept = file(disk, "kept", b"kept")
        for method, path in (("CopyFile", source), ("CopyTree", os.path.dirname(source))):
            told = refused(served, method, source=path, destination=str(disk / "new"))
            assert (told.name, told.parameters["errno"]) == ("NoSpace", "ENOSPC")
            assert os.listdir(disk) == ["kept"]
        told = refused(served, "CopyFile", source=source, destination=kept, overwrite=True)
        assert told.name == "NoSpace"
        assert Path(kept).read_bytes() == b"kept"
