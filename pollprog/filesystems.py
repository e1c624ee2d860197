"""The operations on file systems: each a command of e2fsprogs or the like, on a device or on an image of one, where it lies.

None of them is run on what is mounted: the kernel refuses to open a mounted device for that. What was there stays, whatever happens, and
a file that the call has made itself is removed if it fails.
"""

from __future__ import annotations

import os
import re
import struct
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from pollprog.errors import Cancelled, CommandFailed, DestinationExists, InvalidParameter, OperationFailed
from pollprog.messages import Int
from pollprog.notify import steps
from pollprog.operations import operation
from pollprog.paths import called, checked, natural, parameter, refusal
from pollprog.work import command_failed, running
from pollprog.wrapping import in_place, make_file, plain, remove, said_plainly

__all__ = ["OPERATIONS", "check", "is_ext", "resize"]

REPAIR = {"no": "-n", "safe": "-p", "yes": "-y"}
CORRECTED, LEFT = 1, 4
"""Bits of the exit status of e2fsck: errors were corrected; errors were left."""
FAILED = ~7
"""The others that are no good end: it could not do its work, or was stopped."""
LABEL = 16
"""Bytes of the longest label."""
LOOKED_AT = 1 << 20
"""Of what a file system is to be made on, so many bytes are looked at for something that would be lost."""
COUNTS = re.compile(r"(\d+)/(\d+)/(\d+)\s*$")
"""What zerofree says at its end: blocks that were zeroed, that are free, that there are."""


class Checked(msgspec.Struct, frozen=True):
    """What a check has found."""

    corrected: Annotated[bool, "Whether there were errors, which are corrected now."]
    output: Annotated[str, "The last of what e2fsck printed."]


class Filesystem(msgspec.Struct, frozen=True):
    """An ext file system."""

    size: Annotated[Int, "Its size in bytes."]
    block_size: Annotated[Int, "Bytes of a block."]


class Zeroed(msgspec.Struct, frozen=True):
    """What is free in a file system, in bytes."""

    zeroed: Annotated[Int, "Was not zero, and is now."]
    free: Annotated[Int, "Free, all of it."]
    size: Annotated[Int, "The whole file system."]


@operation
async def check_filesystem(
    device: Annotated[Path, "Device with an ext file system, or an image of one; not mounted."],
    repair: Annotated[Literal["no", "safe", "yes"], "What to correct: nothing, what is safe, or all."] = "no",
    *,
    force: Annotated[bool, "Check it even if it says that it is clean."] = False,
) -> Checked:
    """Check an ext file system with e2fsck, and correct it if you say so. Errors that are left are an error."""
    await running().thread(partial(usable, device, write=repair != "no"))
    return await check(device, REPAIR[repair], *(["-f"] if force else []))


@operation
async def make_filesystem(
    device: Annotated[Path, "Device, or an image of one; a file that is not there is made."],
    kind: Annotated[Literal["ext4", "ext3", "ext2"], "Which file system."] = "ext4",
    label: Annotated[str | None, "Its name."] = None,
    size: Annotated[int | None, "Bytes; none: as large as the device. A file that is made needs one."] = None,
    block_size: Annotated[int | None, "Bytes of a block: 1024, 2048 or 4096; none: as mke2fs finds best."] = None,
    *,
    lazy: Annotated[bool, "Leave to the first mount what can be left to it."] = True,
    overwrite: Annotated[bool, "Make it even where there is something already."] = False,
) -> Filesystem:
    """Make an ext file system with mke2fs."""
    work = running()
    if len((label or "").encode()) > LABEL:
        raise InvalidParameter(f"label: at most {LABEL} bytes fit there", parameter="label")
    if block_size not in (None, 1024, 2048, 4096):
        raise InvalidParameter("block_size: 1024, 2048 and 4096 can be", parameter="block_size")
    words = ["mke2fs", "-F", "-t", kind, "-E", f"lazy_itable_init={lazy:d},lazy_journal_init={lazy:d}"]
    words += [] if label is None else ["-L", label]
    words += [] if block_size is None else ["-b", str(block_size)]
    made = await work.thread(partial(room, device, size, overwrite=overwrite))
    undo = None if made is None else partial(remove, checked(device), made)
    try:
        await said_plainly([*words, str(device), *size_words(size)], device, probe="mke2fs")
        return await work.thread(partial(described, device))
    except BaseException:
        if undo is not None:
            await work.undo(undo)
        raise


@operation
async def resize_filesystem(
    device: Annotated[Path, "Device with an ext file system, or an image of one; not mounted."],
    size: Annotated[int | None, "Bytes, of which whole blocks count; none: as large as the device."] = None,
) -> Filesystem:
    """Check an ext file system, then make it larger or smaller with resize2fs; an image becomes as long as it. If cancelled, repair it."""
    work = running()
    size_words(size)
    await work.thread(partial(usable, device))
    plan = steps(check=1, resize=2)
    plan.begin("check")
    await check(device, "-f", "-p")
    plan.begin("resize")
    try:
        return await resize(device, size)
    except Cancelled as error:
        text = f"{error}; {called(checked(device))} may be half done: correct it, as by CheckFilesystem repair=yes"
        raise Cancelled(text, path=parameter(checked(device))) from error


@operation
async def zero_free(
    device: Annotated[Path, "Device with an ext file system, or an image of one; not mounted."],
) -> Zeroed:
    """Write zeroes over all that is free in an ext file system, with zerofree, so that an image of it compresses well."""
    work = running()
    await work.thread(partial(usable, device))
    before = await work.thread(partial(described, device))
    printed = await said_plainly(["zerofree", "-v", str(device)], device, probe="zerofree")
    counts = COUNTS.search(printed)
    if counts is None:
        raise OperationFailed(f"zerofree did not say what it has done: {printed.strip()[-80:]}", path=str(device))
    zeroed, free, blocks = (int(count) * before.block_size for count in counts.groups())
    return Zeroed(zeroed, free, blocks)


OPERATIONS = (check_filesystem, make_filesystem, resize_filesystem, zero_free)


# --- steps of theirs, and of others


async def check(device: Path, *options: str) -> Checked:
    """Run e2fsck. CommandFailed for errors that are left, and for what is none of its file systems."""
    work = running()
    words = ["e2fsck", *options, str(device)]
    (code, number), printed = await work.attempt(words, probe="e2fsck", environment=plain(work))
    work.check_here()
    if number is not None or code is None or code & FAILED:
        raise command_failed("e2fsck", (code, number), printed)
    if code & LEFT:
        text = f"{called(checked(device))} has errors, which are left as they are: `repair` says which are corrected"
        raise CommandFailed(text, exit=code, output=printed)
    return Checked(bool(code & CORRECTED), printed)


async def resize(device: Path, size: int | None, *, made: Path | None = None) -> Filesystem:
    """Run resize2fs, on what has been checked. `made`: what it is a part of, if that is being made and not there yet."""
    await said_plainly(["resize2fs", "-p", str(device), *size_words(size)], made or device)
    return await running().thread(partial(described, device))


# --- what is looked at


def usable(device: Path, *, write: bool = True) -> os.stat_result:
    """A file or device that these commands may be given. Raises what is wrong with it."""
    if "?" in str(device):
        text = f"{called(checked(device))}: these programs take what follows a ? for options; give it another name"
        raise InvalidParameter(text, parameter="device")
    return in_place(device, write=write)


def size_words(size: int | None) -> list[str]:
    """A size as these commands take it."""
    if size is not None and natural(size, "size") < SUPERBLOCK:
        raise InvalidParameter("size: no file system is so small", parameter="size")  # and 0 would mean all there is
    return [] if size is None else [f"{size >> 10}K"]


def room(device: Path, size: int | None, *, overwrite: bool) -> os.stat_result | None:
    """Where a file system is to be made: raises what is in the way. Makes the file if it is not there, and says what was made then."""
    raw = checked(device)
    size_words(size)
    if not os.path.lexists(raw):
        if size is None:
            text = f"{called(raw)} is not there, and no size to make it with"
            raise InvalidParameter(f"size: {text}", parameter="size")
        made = make_file(raw)
        try:
            os.truncate(raw, size)
        except OSError as error:
            remove(raw, made)
            raise refusal(error, "write", raw) from error
        return made
    usable(device)
    with open(raw, "rb") as file:
        if not overwrite and file.read(LOOKED_AT).strip(b"\0"):
            text = f"{called(raw)} holds something already: `overwrite` makes a file system over it"
            raise DestinationExists(text, path=parameter(raw))
    return None


SUPERBLOCK = 1024
"""Where it is; and its length."""
MAGIC = 0xEF53
WIDE = 0x80
"""The feature that counts of blocks have 64 bits."""


def is_ext(path: bytes, offset: int = 0) -> bool:
    """Whether an ext file system begins there, as far as its superblock says."""
    return superblock(path, offset) is not None


def superblock(path: bytes, offset: int = 0) -> Filesystem | None:
    """What a superblock says there; None if it is none."""
    with open(path, "rb") as file:
        file.seek(offset + SUPERBLOCK)
        data = file.read(SUPERBLOCK)
    if len(data) < SUPERBLOCK or struct.unpack_from("<H", data, 56)[0] != MAGIC:
        return None
    (low,), (power,), (features,), (high,) = (struct.unpack_from("<I", data, at) for at in (4, 24, 96, 336))
    if power > 6:
        return None
    blocks = low + (high << 32 if features & WIDE else 0)
    return Filesystem(blocks * (1024 << power), 1024 << power)


def described(device: Path) -> Filesystem:
    """What is there. OperationFailed if it is no ext file system."""
    raw = checked(device)
    try:
        found = superblock(raw)
    except OSError as error:
        raise refusal(error, "read", raw) from error
    if found is None:
        raise OperationFailed(f"{called(raw)} is no ext file system", path=parameter(raw))
    return found
