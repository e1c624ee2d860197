"""The operations that are commands: each a real one, under the probe that fits it, because they are the ones that say nothing.

What they have in common is in `wrapping`. What writes into something that is there says in its error which bytes it has written, as
far as the command tells.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from pollprog.configured import Ran
from pollprog.errors import (
    Cancelled,
    CommandFailed,
    InvalidParameter,
    IsDirectory,
    NoSpace,
    OperationFailed,
    PathNotAbsolute,
    PermissionDenied,
    SameFile,
    UsageError,
)
from pollprog.messages import Int
from pollprog.operations import operation
from pollprog.paths import called, checked, natural, parameter, refusal, size_text
from pollprog.probes.resource import kind_of, one_resource
from pollprog.process import block_device_size, open_process
from pollprog.sizes import parse_total
from pollprog.status import Outcome, State
from pollprog.tools import check
from pollprog.work import command_failed, running
from pollprog.wrapping import FULL, Written, fresh, make_file, opened, plain, remove, said_plainly, stat_of_directory

if TYPE_CHECKING:
    from pollprog.ending import Ended
    from pollprog.work import Work

__all__ = ["OPERATIONS"]

Compression = Literal["none", "gzip", "bzip2", "xz", "zstd"]
LEAST = 1024
"""Bytes a second that rsync can be held to."""
STATISTICS = ("Number of regular files transferred: ([0-9,]+)", "Total transferred file size: ([0-9,]+)")
"""What rsync says at its end."""


class Synced(msgspec.Struct, frozen=True):
    """What was copied, because it differed."""

    files: Annotated[Int, "How many files."]
    size: Annotated[Int, "Their size in bytes."]


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
        await said_plainly([*words, f"--exclude={os.path.basename(temporary)}", "."], archive, output=descriptor)
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
async def rsync(
    source: Annotated[Path, "File to copy, or directory, of which all that is in it is copied."],
    destination: Annotated[Path, "Directory, which becomes like the source; it is made if it is not there."],
    exclude: Annotated[list[str], "Patterns of what is left out, as rsync has them."] = [],  # noqa: B006 # nobody changes it
    limit: Annotated[int | None, "Bytes a second at the most."] = None,
    *,
    delete: Annotated[bool, "Delete in the destination what the source does not have."] = False,
    checksum: Annotated[bool, "Compare what is in the files, and not their sizes and times."] = False,
) -> Synced:
    """Make a directory like another with rsync, copying what differs. What has been copied stays, whatever happens."""
    work = running()

    def look() -> bool:
        raw = checked(source)
        try:
            return stat.S_ISDIR(os.stat(raw).st_mode)
        except OSError as error:
            raise refusal(error, "read", raw) from error

    behind = "/" if await work.thread(look) else ""
    if limit is not None and limit < LEAST:
        raise InvalidParameter(f"limit: has to be {LEAST} or more", parameter="limit")
    words = ["rsync", "--archive", "--stats", *(f"--exclude={pattern}" for pattern in exclude)]
    words += [] if limit is None else [f"--bwlimit={limit / 1024:.2f}"]
    words += [f"--{name}" for name, wanted in (("delete", delete), ("checksum", checksum)) if wanted]
    printed = await said_plainly([*words, "--", f"{source}{behind}", f"{destination}/"], destination)
    found = [int((match[1] if (match := re.search(line, printed)) else "0").replace(",", "")) for line in STATISTICS]
    return Synced(*found)


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


OPERATIONS = (run, dd, tar_in, tar_out, compress_out, rsync, observe)


# --- files


def total_of(text: str) -> int | str:
    """What a total says."""
    if text.startswith("@") and not text.startswith("@/"):
        raise PathNotAbsolute(f"total: {text!r} names no absolute path: write @/…", path=text[1:])
    try:
        return parse_total(text)
    except UsageError as error:
        raise InvalidParameter(f"total: {error}", parameter="total") from error


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
