"""The operations that are commands: each a real one, under the probe that fits it, because they are the ones that say nothing.

What makes a file makes it under another name first, as our own loops do (see `publishing`). What writes into something that is there
removes nothing, and says in its error which bytes it has written, as far as the command tells.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from pollprog.configured import Ran
from pollprog.copying import dress, replaceable
from pollprog.errors import (
    Cancelled,
    CommandFailed,
    DestinationExists,
    InvalidParameter,
    IsDirectory,
    NoSpace,
    NotDirectory,
    OperationFailed,
    PathNotAbsolute,
    PermissionDenied,
    SameFile,
    UsageError,
)
from pollprog.messages import Int
from pollprog.operations import operation
from pollprog.paths import called, checked, natural, open_source, parameter, refusal, size_text, sync_directory
from pollprog.probes.resource import kind_of, one_resource
from pollprog.process import block_device_size, open_process
from pollprog.publishing import Place
from pollprog.sizes import parse_total
from pollprog.status import Outcome, State
from pollprog.tools import check
from pollprog.work import command_failed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pollprog.ending import Ended
    from pollprog.work import Work

__all__ = ["OPERATIONS"]

Compression = Literal["none", "gzip", "bzip2", "xz", "zstd"]


class Written(msgspec.Struct, frozen=True):
    """A file that was made."""

    size: Annotated[Int, "Its size in bytes."]


class Exit(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a process ended that was watched; nothing where nobody knows."""

    exit: Annotated[Int | None, "Its exit code, where the kernel tells it."] = None
    signal: Annotated[Int | None, "The signal that ended it."] = None

    def outcome(self) -> Outcome:
        """The same as the outcome of the job."""
        if self.exit is None and self.signal is None:
            return Outcome(State.LOST)
        return Outcome(State.SUCCEEDED if self.exit == 0 else State.FAILED, self.exit, self.signal)


@operation
async def run(
    argv: Annotated[list[str], "The command, a word each; nothing goes through a shell."],
    directory: Annotated[Path | None, "Where it runs."] = None,
    environment: Annotated[dict[str, str] | None, "Its environment, instead of the job's."] = None,
    probe: Annotated[str | None, "How to measure it: a probe as after --probe."] = None,
    total: Annotated[str | None, "What the work amounts to, as after --total: 4G, @/FILE."] = None,
    *,
    prepare: Annotated[bool, "Whether a plugin may have it say how far it is, as by --info=progress2."] = True,
) -> Ran:
    """Run any command."""
    work = running()
    if probe is not None:
        try:
            check(probe)
        except UsageError as error:
            raise InvalidParameter(f"probe: {error}", parameter="probe") from error
    whole = None if total is None else await work.thread(partial(total_of, total))
    where = None if directory is None else str(directory)
    return Ran(
        await work.command(argv, probe=probe, prepare=prepare, total=whole, directory=where, environment=environment)
    )


@operation
async def dd(
    source: Annotated[Path, "File or device to read."],
    destination: Annotated[Path, "File or device to write into, in place; a file that is not there is made."],
    block_size: Annotated[int, "Bytes read and written at a time."] = 1 << 20,
    count: Annotated[int | None, "So many blocks; none: to the end of the source."] = None,
    skip: Annotated[int, "Blocks of the source to pass over."] = 0,
    seek: Annotated[int, "Blocks of the destination to pass over."] = 0,
) -> Ran:
    """Copy with dd, in place: the rest of the destination stays as it is."""
    work = running()
    if block_size < 1:
        raise InvalidParameter("block_size: has to be 1 or more", parameter="block_size")
    for name, blocks in (("count", count), ("skip", skip), ("seek", seek)):
        natural((blocks or 0) * block_size, name)
    size = None if count is None else count * block_size
    old, new = checked(source), checked(destination)
    made = await work.thread(partial(prepare_dd, old, new, skip * block_size, seek * block_size, size))
    words = ["dd", f"if={source}", f"of={destination}", f"bs={block_size}", f"skip={skip}", f"seek={seek}"]
    words += [] if count is None else [f"count={count}"]
    undo = None if made is None else partial(remove, new, made)
    try:
        ended, printed = await work.attempt(
            [*words, "conv=notrunc,fsync", "iflag=fullblock"], environment=plain(work), number=SIGINT
        )
        if ended != (0, None) or work.to_stop:
            raise dd_error(work, ended, printed, new, offset=seek * block_size, kept=undo is None)
    except BaseException:
        if undo is not None:
            await work.undo(undo)
        raise
    return Ran(printed)


@operation
async def tar_in(
    archive: Annotated[Path, "The archive; how it is compressed is found out."],
    directory: Annotated[Path, "Where to unpack it; it has to be there."],
) -> Ran:
    """Unpack an archive with tar. What has been unpacked stays, whatever happens."""
    work = running()

    def look() -> None:
        with ExitStack() as stack:
            opened(stack, archive)
        stat_of_directory(directory)

    await work.thread(look)
    return Ran(await said_plainly(["tar", "--extract", f"--file={archive}", f"--directory={directory}"], directory))


@operation
async def tar_out(
    directory: Annotated[Path, "What to pack."],
    archive: Annotated[Path, "Name of the archive: it is there when all of it is."],
    compression: Annotated[Compression, "How to compress it."] = "none",
    *,
    overwrite: Annotated[bool, "Replace what has that name."] = False,
) -> Written:
    """Pack a directory into an archive with tar."""
    work = running()
    info = await work.thread(partial(stat_of_directory, directory))
    words = ["tar", "--create", "--file=-", f"--directory={directory}", "--no-wildcards"]
    words += [] if compression == "none" else [f"--{compression}"]
    async with fresh(directory, info, archive, overwrite=overwrite) as (descriptor, temporary):
        # The archive may lie in what is packed, and is no part of it.
        await said_plainly([*words, f"--exclude={temporary}", "."], archive, output=descriptor)
        return Written(os.fstat(descriptor).st_size)


@operation
async def compress_out(
    source: Annotated[Path, "File or block device to compress."],
    destination: Annotated[Path, "Name of the compressed file: it is there when all of it is."],
    compression: Annotated[Literal["gzip", "bzip2", "xz", "zstd"], "How."] = "gzip",
    *,
    overwrite: Annotated[bool, "Replace what has that name."] = False,
) -> Written:
    """Compress a file or a device."""
    work = running()
    with ExitStack() as stack:
        reader, info = await work.thread(partial(opened, stack, source))
        async with fresh(source, info, destination, overwrite=overwrite) as (descriptor, _):
            await said_plainly([compression, "-c"], destination, source=reader, output=descriptor)
            return Written(os.fstat(descriptor).st_size)


@operation
async def observe(
    pid: Annotated[int | None, "The number of the process."] = None,
    resource: Annotated[
        str | None, "Instead of that, work that no process stands for: KIND:NAME, as in md:md0."
    ] = None,
) -> Exit:
    """Watch a process that already runs, or other work that is under way, to its end. Cancelling ends the watching, not the work."""
    if (pid is None) is (resource is None):
        raise InvalidParameter("name either a process, as pid, or a resource", parameter="pid")
    if resource is not None:
        return await observe_resource(running(), resource)
    assert pid is not None
    if not 0 < pid < 1 << 31:
        raise InvalidParameter(f"pid: {pid} is no process id", parameter="pid")
    process = open_process(pid)
    try:
        outcome = await running().observe(process)
    finally:
        process.close()
    return Exit(outcome.exit, outcome.signal)


async def observe_resource(work: Work, word: str) -> Exit:
    """Watch the one piece of work that is under way at a resource."""
    try:
        kind = kind_of(word)
        if kind.argument == "PATH" and not word.partition(":")[2].startswith("/"):
            raise PathNotAbsolute(f"resource: {word!r} names no absolute path", path=word.partition(":")[2])
        resource = await work.thread(partial(one_resource, word))
    except UsageError as error:
        raise InvalidParameter(f"resource: {error}", parameter="resource") from error
    outcome = await work.follow(resource)
    return Exit(outcome.exit, outcome.signal)


OPERATIONS = (run, dd, tar_in, tar_out, compress_out, observe)


# --- files


def total_of(text: str) -> int | str:
    """What a total says."""
    if text.startswith("@") and not text.startswith("@/"):
        raise PathNotAbsolute(f"total: {text!r} names no absolute path: write @/…", path=text[1:])
    try:
        return parse_total(text)
    except UsageError as error:
        raise InvalidParameter(f"total: {error}", parameter="total") from error


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


@asynccontextmanager
async def fresh(source: Path, info: os.stat_result, path: Path, *, overwrite: bool) -> AsyncIterator[tuple[int, str]]:
    """A descriptor of a new file, and its temporary name; it has its own when all has gone well, and is gone otherwise."""
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
        yield descriptor, os.fsdecode(place.temporary)
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


def plain(work: Work) -> dict[str, str]:
    """An environment in which a command speaks as it is written, for who reads what it says."""
    return {**work.environment, "LC_ALL": "C"}


async def said_plainly(argv: list[str], path: Path, *, output: int | None = None, source: int | None = None) -> str:
    """Run a command of ours, which writes at `path`. Raises NoSpace where that was why it failed."""
    work = running()
    try:
        return await work.command(argv, environment=plain(work), output=output, source=source)
    except CommandFailed as error:
        code = next((code for code in FULL if os.strerror(code) in error.output), None)
        if code is None and is_full(path if output is None else output):
            code = errno.ENOSPC  # tar says "wrote only", and not why
        if code is None:
            raise
        raise refusal(OSError(code, os.strerror(code)), "write", checked(path)) from error


def is_full(path: Path | int) -> bool:
    """Whether nothing more can be written there."""
    with suppress(OSError):
        return os.statvfs(path).f_bavail == 0
    return False


# --- dd

COPIED = re.compile(r"^(\d+) bytes? .*copied", re.MULTILINE)


def prepare_dd(source: bytes, destination: bytes, start: int, goal: int, size: int | None) -> os.stat_result | None:
    """Raise why dd could not do it, before it begins. Makes the destination if it is not there, and says what was made then."""
    try:
        info = os.stat(source)
        if stat.S_ISDIR(info.st_mode):
            raise IsDirectory(f"{called(source)} is a directory: name a file or a device", path=parameter(source))
        if not os.access(source, os.R_OK):
            raise PermissionDenied(f"{called(source)} may not be read by this user", path=parameter(source))
    except OSError as error:
        raise refusal(error, "read", source) from error
    try:
        there = os.stat(destination)
    except FileNotFoundError:
        return make_file(destination)
    except OSError as error:
        raise refusal(error, "write", destination) from error
    if stat.S_ISDIR(there.st_mode):
        raise IsDirectory(f"{called(destination)} is a directory: name a file or a device", path=parameter(destination))
    if not os.access(destination, os.W_OK):
        raise PermissionDenied(f"{called(destination)} may not be written by this user", path=parameter(destination))
    length = size
    if length is None:
        length = (block_device_size(info.st_rdev) if stat.S_ISBLK(info.st_mode) else info.st_size) - start
    if is_same(info, there) and start < goal + length and goal < start + length:
        text = (
            f"{called(source)} and {called(destination)} are the same file, and the two stretches have bytes in common"
        )
        raise SameFile(text, source=parameter(source), destination=parameter(destination))
    return None


def is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether what is kept there is the same; a character device keeps nothing."""
    if stat.S_ISBLK(one.st_mode) and stat.S_ISBLK(other.st_mode):
        return one.st_rdev == other.st_rdev
    return stat.S_ISREG(one.st_mode) and os.path.samestat(one, other)


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


def dd_error(
    work: Work, ended: Ended, printed: str, path: bytes, *, offset: int, kept: bool
) -> OperationFailed | CommandFailed:
    """What dd's bad end is called, with the bytes that it has written: by its own count, or by ours if it could not say."""
    counts = COPIED.findall(printed)
    written = int(counts[-1]) if counts else work.seen
    fate = f", which stay, from byte {offset} on" if kept else "; what was written has been removed"
    far = f", after {size_text(written)}{fate}" if written else ""
    told = {"path": parameter(path), "offset": offset, "written": written}
    if work.to_stop:
        return Cancelled(f"dd was cancelled{far}", **told)
    code = next((code for code in errno.errorcode if f": {os.strerror(code)}\n" in printed), None)
    if not counts or code is None:
        return command_failed("dd", ended, printed)
    kind = NoSpace if code in FULL else OperationFailed
    return kind(f"dd: {os.strerror(code)}{far}", errno=errno.errorcode[code], **told)
