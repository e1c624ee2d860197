"""The operations on file systems, behind a socket, on images: what they make of them, what they refuse, what stays."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from disks import small_disk
from doors import Door, door
from lasting import MIB, Place, place, program
from test_commands import refused

from pollprog.filesystems import Filesystem, superblock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.tool("e2fsck", "mke2fs", "resize2fs", "debugfs")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with door(tmp_path_factory.mktemp("served")) as one:
        yield one


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as made:
        yield made


@pytest.fixture
def image(here: Place, tmp_path: Path) -> str:
    """An image of 64 MiB with a few files in it."""
    content = tmp_path / "content"
    content.mkdir()
    for number in range(5):
        (content / str(number)).write_bytes(bytes([number]) * MIB)
    return here.ext(64 * MIB, "-d", str(content), name="image")


def content(path: str, name: str) -> bytes:
    """What a file holds in an image."""
    words = [program("debugfs"), "-R", f"cat {name}", path]
    return subprocess.run(words, capture_output=True, check=True).stdout


def change(path: str, what: str) -> None:
    subprocess.run([program("debugfs"), "-w", "-R", what, path], capture_output=True, check=True)


def is_clean(path: str) -> bool:
    done = subprocess.run([program("e2fsck"), "-f", "-n", path], capture_output=True, text=True)
    assert done.returncode in (0, 4), done
    return done.returncode == 0


def test_a_file_system_is_made_as_it_was_asked_for(served: Door, tmp_path: Path) -> None:
    path = str(tmp_path / "new")
    told = served.call("MakeFilesystem", device=path, kind="ext3", label="words", size=32 * MIB, block_size=2048)
    assert told == {"result": {"size": 32 * MIB, "block_size": 2048}}
    assert os.path.getsize(path) == 32 * MIB
    assert is_clean(path)
    shown = subprocess.run([program("dumpe2fs"), "-h", path], capture_output=True, text=True).stdout
    assert "Filesystem volume name:   words" in shown
    assert "has_journal" in shown
    assert "extent" not in shown


def test_what_holds_something_is_made_anew_only_if_that_was_asked_for(served: Door, image: str, here: Place) -> None:
    told = refused(served, "MakeFilesystem", device=image)
    assert (told.name, told.parameters["path"]) == ("DestinationExists", image)
    assert content(image, "1") == b"\1" * MIB
    assert served.call("MakeFilesystem", device=image, size=16 * MIB, overwrite=True)["result"]["size"] == 16 * MIB
    assert content(image, "1") == b""
    blank = here.sparse(32 * MIB)
    assert served.call("MakeFilesystem", device=blank)["result"]["size"] == 32 * MIB


def test_what_is_clean_is_said_to_be_and_errors_are_corrected_if_asked_for(served: Door, image: str) -> None:
    assert "clean" in served.call("CheckFilesystem", device=image)["result"]["output"]
    change(image, "freei <12>")
    with open(image, "rb") as file:
        before = file.read()
    told = refused(served, "CheckFilesystem", device=image, force=True)
    assert (told.name, told.parameters["exit"]) == ("CommandFailed", 4)
    assert told.parameters["message"].startswith(f"{image} has errors, which are left as they are")
    with open(image, "rb") as file:
        assert file.read() == before
    for corrected in (True, False):
        told_ = served.call("CheckFilesystem", device=image, repair="yes", force=True)["result"]
        assert told_["corrected"] is corrected
        assert is_clean(image)


def test_a_check_is_told_by_what_e2fsck_says_of_itself(served: Door, here: Place) -> None:
    path = here.ext(256 << 30, "-O", "^metadata_csum,^uninit_bg", "-E", "lazy_itable_init=0")
    *statuses, reply = served.line().talk("CheckFilesystem", device=path, force=True)
    assert reply.parameters["result"]["corrected"] is False
    told = [one.status for one in statuses if one.status["state"] == "running"]
    assert len(told) >= 2
    assert {(status["source"], status["total"]) for status in told if status.get("total")} == {("e2fsck", 1_000_000)}


def sources(served: Door, name: str, **parameters: Any) -> set[str]:
    """Who has said how far a call was, while it ran."""
    *statuses, reply = served.line().talk(name, **parameters)
    assert reply.error is None, reply
    return {one.status["source"] for one in statuses if one.status["state"] == "running" and "source" in one.status}


@pytest.mark.tool("zerofree")
def test_the_others_are_told_by_what_is_known_of_their_programs(served: Door, here: Place) -> None:
    told = sources(served, "MakeFilesystem", device=here.path("large"), size=1 << 40, block_size=1024, lazy=False)
    assert told == {"mke2fs"}
    assert sources(served, "ZeroFree", device=here.ext(4 << 30)) == {"zerofree"}
    assert "resize2fs" in sources(served, "ResizeFilesystem", device=here.ext(64 << 30, name="shrunk"), size=32 << 30)


@pytest.mark.parametrize("size", [200 * MIB, 48 * MIB, 20 * MIB, None])
def test_a_file_system_becomes_larger_or_smaller_and_holds_the_same(served: Door, image: str, size: int | None) -> None:
    if size is None:
        os.truncate(image, 128 * MIB)
    told = served.call("ResizeFilesystem", device=image, **({} if size is None else {"size": size}))
    assert told == {"result": {"size": size or 128 * MIB, "block_size": 1024}}
    assert os.path.getsize(image) == (size or 128 * MIB)
    assert is_clean(image)
    for number in range(5):
        assert content(image, str(number)) == bytes([number]) * MIB


def test_check_and_change_of_size_are_one_fraction_that_never_falls(served: Door, here: Place) -> None:
    path = here.ext(32 << 30, name="large")
    *statuses, reply = served.line().talk("ResizeFilesystem", device=path, size=16 << 30)
    assert reply.error is None
    told = [one.status["fraction"] for one in statuses if one.status.get("fraction") is not None]
    assert told == sorted(told)
    assert {one.status["phase"].partition(":")[0] for one in statuses if one.status.get("phase")} <= {"check", "resize"}
    assert is_clean(path)


def test_a_file_system_that_has_errors_is_not_resized(served: Door, image: str) -> None:
    change(image, "sif <12> mode 0")
    change(image, "sif <13> block[0] 1")
    told = refused(served, "ResizeFilesystem", device=image, size=100 * MIB)
    assert (told.name, told.parameters["exit"] & 4) == ("CommandFailed", 4)
    assert os.path.getsize(image) == 64 * MIB


def test_a_size_for_which_there_is_too_much_in_it_is_refused(served: Door, image: str) -> None:
    told = refused(served, "ResizeFilesystem", device=image, size=4 * MIB)
    assert told.name == "CommandFailed"
    assert "smaller than minimum" in told.parameters["message"]
    assert is_clean(image)


def test_a_change_of_size_that_is_cancelled_says_that_it_may_be_half_done(served: Door, here: Place) -> None:
    path = here.ext(128 << 30, name="large")
    line = served.line()
    line.send("ResizeFilesystem", device=path, size=64 << 30, job="half")
    while "resize" not in line.reply().status.get("phase", ""):
        pass
    served.call("Cancel", job="half")
    told = line.replies()[-1]
    assert told.error is not None
    assert told.error.endswith(".Cancelled")
    assert "CheckFilesystem repair=yes" in told.parameters["message"]
    assert told.parameters["path"] == path
    served.call("CheckFilesystem", device=path, repair="yes", force=True)


@pytest.mark.tool("zerofree")
def test_what_is_free_becomes_zero_and_the_rest_stays(served: Door, image: str) -> None:
    served.call("MakeFilesystem", device=image, kind="ext2", overwrite=True, lazy=False)
    assert served.call("ZeroFree", device=image)["result"]["zeroed"] == 0
    source = os.path.join(os.path.dirname(image), "source")
    with open(source, "wb") as file:
        file.write(b"kept" * (MIB // 4))
    for name in ("kept", "gone"):
        change(image, f"write {source} {name}")
    change(image, "rm gone")
    told = served.call("ZeroFree", device=image)["result"]
    assert MIB <= told["zeroed"] <= MIB + (64 << 10)  # and what said where they were
    assert told["zeroed"] < told["free"] < told["size"] == 64 * MIB
    assert content(image, "kept") == b"kept" * (MIB // 4)
    with open(image, "rb") as file:
        assert file.read().count(b"kept" * 1024) == MIB // 4096


def test_what_cannot_be_done_is_told_by_name_and_nothing_is_left(served: Door, image: str, here: Place) -> None:
    new, no, folder, question = here.path("new"), here.path("no/such"), str(here.folder), here.path("a?offset=0")
    other = here.dense(MIB)
    os.symlink(image, question)
    before = here.names()
    wrong: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
        ("MakeFilesystem", {"device": new}, "InvalidParameter", {"parameter": "size"}),
        ("MakeFilesystem", {"device": new, "size": -1}, "InvalidParameter", {"parameter": "size"}),
        (
            "MakeFilesystem",
            {"device": new, "size": MIB, "block_size": 1},
            "InvalidParameter",
            {"parameter": "block_size"},
        ),
        ("MakeFilesystem", {"device": new, "size": 1023}, "InvalidParameter", {"parameter": "size"}),
        ("MakeFilesystem", {"device": new, "size": 8192}, "CommandFailed", {}),
        ("MakeFilesystem", {"device": new, "size": MIB, "label": "x" * 17}, "InvalidParameter", {"parameter": "label"}),
        ("MakeFilesystem", {"device": no, "size": MIB}, "NoSuchFile", {"path": no}),
        ("ResizeFilesystem", {"device": image, "size": 0}, "InvalidParameter", {"parameter": "size"}),
        ("ResizeFilesystem", {"device": image, "size": -1}, "InvalidParameter", {"parameter": "size"}),
    ]
    for name in ("CheckFilesystem", "MakeFilesystem", "ResizeFilesystem", "ZeroFree"):
        wrong += [
            (name, {"device": folder}, "IsDirectory", {"path": folder}),
            (name, {"device": "/dev/null"}, "NotAFile", {"path": "/dev/null"}),
            (name, {"device": question}, "InvalidParameter", {"parameter": "device"}),
        ]
    for name in ("CheckFilesystem", "ResizeFilesystem", "ZeroFree"):
        wrong.append((name, {"device": no}, "NoSuchFile", {"path": no}))
    for name in ("CheckFilesystem", "ResizeFilesystem"):
        wrong.append((name, {"device": other}, "CommandFailed", {"exit": 8}))
    wrong.append(("ZeroFree", {"device": other}, "OperationFailed", {"path": other}))
    for name, parameters, error, members in wrong:
        told = refused(served, name, **parameters)
        assert told.name == error, (name, parameters, told.parameters)
        assert members.items() <= told.parameters.items()
        assert "\n" not in told.parameters["message"]
    assert here.names() == before
    told = refused(served, "CheckFilesystem", device=other)
    assert "Bad magic number" in told.parameters["message"]


@pytest.mark.tool("mount")
def test_on_a_full_disk_nothing_is_left(served: Door, tmp_path: Path) -> None:
    with small_disk(tmp_path, 2 * MIB) as disk:
        told = refused(served, "MakeFilesystem", device=str(disk / "new"), kind="ext2", size=64 << 30)
        assert (told.name, told.parameters["path"]) == ("NoSpace", str(disk / "new"))
        assert list(disk.iterdir()) == []


@pytest.mark.tool("mount")
def test_a_file_system_that_cannot_grow_for_want_of_room_says_so_and_stays(served: Door, tmp_path: Path) -> None:
    with small_disk(tmp_path, 2 * MIB) as disk:
        path = str(disk / "image")
        served.call("MakeFilesystem", device=path, size=64 * MIB, block_size=4096)
        with suppress(OSError):
            (disk / "filler").write_bytes(bytes(4 * MIB))
        told = refused(served, "ResizeFilesystem", device=path, size=64 << 30)
        assert (told.name, told.parameters["path"]) == ("NoSpace", path)
        assert sorted(os.listdir(disk)) == ["filler", "image"]


def test_a_superblock_is_read_as_it_is_and_nothing_else_is_one(here: Place, image: str) -> None:
    assert superblock(image.encode()) == Filesystem(64 * MIB, 1024)
    assert superblock(image.encode(), MIB) is None
    assert superblock(here.dense(MIB).encode()) is None
    assert superblock(b"/dev/null") is None
    large = here.ext(20 << 40, "-O", "64bit", name="large")
    assert superblock(large.encode()) == Filesystem(20 << 40, 4096)
