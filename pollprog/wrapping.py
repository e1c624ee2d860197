"""What the operations that are commands have in common: what is looked at before they begin, what they make, and what they say.

What makes a file makes it under another name first, as our own loops do (see `publishing`). What writes into something that is there
removes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec

from pollprog.copying import dress, replaceable
from pollprog.errors import CommandFailed, DestinationExists, IsDirectory, NotAFile, NotDirectory
from pollprog.messages import Int
from pollprog.paths import called, checked, open_source, parameter, refusal, sync_directory
from pollprog.publishing import Place
from pollprog.work import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pollprog.work import Work

__all__ = [
    "FULL",
    "Written",
    "fresh",
    "in_place",
    "make_file",
    "opened",
    "plain",
    "remove",
    "said_plainly",
    "stat_of_directory",
]


class Written(msgspec.Struct, frozen=True):
    """A file that was made."""

    size: Annotated[Int, "Its size in bytes."]


# --- files


def opened(stack: ExitStack, path: Path) -> tuple[int, os.stat_result]:
    """A file or a block device to read: its descriptor, and its stat. Raises which of our errors it is if it cannot be read."""
    raw = checked(path)
    try:
        return open_source(stack, raw)[:2]
    except OSError as error:
        raise refusal(error, "read", raw) from error


def stat_of_directory(path: Path) -> os.stat_result:
    """Raises which of our errors it is if this is no directory."""
    raw = checked(path)
    try:
        info = os.stat(raw)
    except OSError as error:
        raise refusal(error, "read", raw) from error
    if not stat.S_ISDIR(info.st_mode):
        raise NotDirectory(f"{called(raw)} is no directory", path=parameter(raw))
    return info


def in_place(path: Path, *, write: bool = True) -> os.stat_result:
    """A file or block device that a command is to work on where it lies: its stat. Raises which of our errors it is if it cannot."""
    raw = checked(path)
    try:
        info = os.stat(raw)
        if stat.S_ISDIR(info.st_mode):
            raise IsDirectory(f"{called(raw)} is a directory: name a device, or an image of one", path=parameter(raw))
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISBLK(info.st_mode)):
            raise NotAFile(f"{called(raw)} is no device that keeps anything, nor an image of one", path=parameter(raw))
        exclusive = os.O_EXCL if write and stat.S_ISBLK(info.st_mode) else 0  # so the kernel refuses what is mounted
        os.close(os.open(raw, (os.O_RDWR if write else os.O_RDONLY) | exclusive))
    except OSError as error:
        raise refusal(error, "write" if write else "read", raw) from error
    return info


def make_file(path: bytes) -> os.stat_result:
    """Make an empty file that nobody else has made; its stat."""
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError as error:
        text = f"{called(path)} is a symbolic link to nothing, or appeared meanwhile"
        raise DestinationExists(text, path=parameter(path)) from error
    except OSError as error:
        raise refusal(error, "write", path) from error
    try:
        return os.fstat(made)
    finally:
        os.close(made)


def remove(path: bytes, made: os.stat_result) -> None:
    """Remove what was made here, if it still has that name."""
    with suppress(OSError):
        if os.path.samestat(os.lstat(path), made):
            os.unlink(path)


@asynccontextmanager
async def fresh(source: Path, info: os.stat_result, path: Path, *, overwrite: bool) -> AsyncIterator[tuple[int, str]]:
    """A descriptor of a new file, and its temporary path; it has its own when all has gone well, and is gone otherwise."""
    work = running()
    stack = ExitStack()

    def make() -> tuple[Place, int]:
        target, replaced = replaceable(checked(source), info, checked(path), overwrite=overwrite)
        place = Place(stack, target)
        mode = 0o666 if replaced is None else 0o600
        made = os.open(place.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode, dir_fd=place.directory)
        stack.callback(os.close, made)
        stack.callback(discard, place)
        if replaced is not None:
            dress(made, replaced, preserve=False)
        return place, made

    def finish() -> None:
        place.publish_file(overwrite=overwrite)
        discard(place)
        sync_directory(place.directory, place.path)

    try:
        place, descriptor = await work.thread(make)
        yield descriptor, os.fsdecode(place.temporary_path)
        await work.thread(partial(os.fsync, descriptor))
        await work.thread(finish)
    except OSError as error:
        raise refusal(error, "write", checked(path)) from error
    finally:
        await work.undo(stack.close)


def discard(place: Place) -> None:
    """Remove the temporary name, if it is there."""
    with suppress(OSError):
        os.unlink(place.temporary, dir_fd=place.directory)


# --- what commands say

FULL = (errno.ENOSPC, errno.EDQUOT)
FEARED = "doesn't have enough free space"
"""So says ntfsclone, before it tries."""
SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where the programs for file systems are, which are not on everybody's path."""


def plain(work: Work) -> dict[str, str]:
    """An environment in which a command of ours is found, and speaks as it is written, for who reads what it says."""
    return {**work.environment, "LC_ALL": "C", "PATH": f"{work.environment.get('PATH', os.defpath)}:{SYSTEM}"}


async def said_plainly(
    argv: list[str], path: Path, *, output: int | None = None, source: int | None = None, probe: str | None = None
) -> str:
    """Run a command of ours, which writes at `path`. Raises NoSpace where that was why it failed.

    `probe`: who alone is to say how far it is, of a program that always says it.
    """
    work = running()
    try:
        return await work.command(argv, environment=plain(work), output=output, source=source, probe=probe)
    except CommandFailed as error:
        code = next((code for code in FULL if os.strerror(code) in error.output), None)
        if code is None and (FEARED in error.output or is_full(path if output is None else output)):
            code = errno.ENOSPC  # tar says "wrote only", and not why
        if code is None:
            raise
        raise refusal(OSError(code, os.strerror(code)), "write", checked(path)) from error


def is_full(path: Path | int) -> bool:
    """Whether nothing more can be written there."""
    for place in (path, path if isinstance(path, int) else path.parent):  # what is being made may not be there yet
        with suppress(OSError):
            return os.statvfs(place).f_bavail == 0
    return False
