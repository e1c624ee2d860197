"""The operations that are commands: each a real one, under the probe that fits it, because they are the ones that say nothing."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import trio

from pollprog.configured import Ran
from pollprog.errors import DestinationExists, InvalidParameter, IsDirectory, NotAFile, NotDirectory, UsageError
from pollprog.messages import Int
from pollprog.operations import operation
from pollprog.paths import called, checked, open_source, parameter, refusal, sync_directory
from pollprog.process import open_process
from pollprog.publishing import Place
from pollprog.sizes import parse_total
from pollprog.status import Outcome, State
from pollprog.tools import check
from pollprog.work import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["OPERATIONS"]

Compression = Literal["none", "gzip", "bzip2", "xz", "zstd"]


class Written(msgspec.Struct, frozen=True):
    """A file that was made."""

    size: Annotated[Int, "Its size in bytes."]


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a process ended that was watched."""

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
    total: Annotated[str | None, "What the work amounts to, as after --total: 4G, @FILE."] = None,
) -> Ran:
    """Run any command."""
    if not argv:
        raise InvalidParameter("argv: there is no command in it", parameter="argv")
    try:
        if probe is not None:
            check(probe)
        whole = None if total is None else parse_total(total)
    except UsageError as error:
        raise InvalidParameter(str(error), parameter="probe" if total is None else "total") from error
    printed = await running().command(
        argv,
        probe=probe,
        total=whole,
        directory=None if directory is None else str(directory),
        environment=environment,
    )
    return Ran(printed)


@operation
async def dd(
    source: Annotated[Path, "File or device to read."],
    destination: Annotated[Path, "File or device to write into; nothing beyond what is written is cut off."],
    block_size: Annotated[int, "Bytes read and written at a time."] = 1 << 20,
    count: Annotated[int | None, "So many blocks; none: to the end of the source."] = None,
    skip: Annotated[int, "Blocks of the source to pass over."] = 0,
    seek: Annotated[int, "Blocks of the destination to pass over."] = 0,
) -> Ran:
    """Copy with dd, in place."""
    for name, value, least in (
        ("block_size", block_size, 1),
        ("count", count, 0),
        ("skip", skip, 0),
        ("seek", seek, 0),
    ):
        if value is not None and value < least:
            raise InvalidParameter(f"{name}: has to be {least} or more", parameter=name)
    words = ["dd", f"if={source}", f"of={destination}", f"bs={block_size}", f"skip={skip}", f"seek={seek}"]
    words += [] if count is None else [f"count={count}"]
    return Ran(await running().command([*words, "conv=notrunc,fsync", "iflag=fullblock"]))


@operation
async def tar_in(
    archive: Annotated[Path, "The archive; how it is compressed is found out."],
    directory: Annotated[Path, "Where to unpack it; it has to be there."],
) -> Ran:
    """Unpack an archive with tar."""
    with ExitStack() as stack:
        opened(stack, archive)
    check_directory(directory)
    return Ran(await running().command(["tar", "--extract", f"--file={archive}", f"--directory={directory}"]))


@operation
async def tar_out(
    directory: Annotated[Path, "What to pack."],
    archive: Annotated[Path, "Name of the archive: it is there when all of it is."],
    compression: Annotated[Compression, "How to compress it."] = "none",
    *,
    overwrite: Annotated[bool, "Replace what has that name."] = False,
) -> Written:
    """Pack a directory into an archive with tar."""
    check_directory(directory)
    words = ["tar", "--create", "--file=-", f"--directory={directory}"]
    words += [] if compression == "none" else [f"--{compression}"]
    async with fresh(archive, overwrite=overwrite) as descriptor:
        await running().command([*words, "."], output=descriptor)
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
    with ExitStack() as stack:
        reader = opened(stack, source)
        async with fresh(destination, overwrite=overwrite) as descriptor:
            await running().command([compression, "-c"], source=reader, output=descriptor)
            return Written(os.fstat(descriptor).st_size)


@operation
async def observe(pid: Annotated[int, "The number of the process."]) -> Ended:
    """Watch a process that already runs, to its end. Cancelling ends the watching, not the process."""
    if not 0 < pid < 1 << 31:
        raise InvalidParameter(f"pid: {pid} is no process id", parameter="pid")
    process = open_process(pid)
    try:
        outcome = await running().observe(process)
    finally:
        process.close()
    return Ended(outcome.exit, outcome.signal)


OPERATIONS = (run, dd, tar_in, tar_out, compress_out, observe)


# --- files


def opened(stack: ExitStack, path: Path) -> int:
    """A descriptor of a file or a block device to read. Raises which of our errors it is if it cannot be read."""
    raw = checked(path)
    try:
        return open_source(stack, raw)[0]
    except OSError as error:
        raise refusal(error, "read", raw) from error


def check_directory(path: Path) -> None:
    """Raise which of our errors it is if this is no directory."""
    raw = checked(path)
    try:
        if not stat.S_ISDIR(os.stat(raw).st_mode):
            raise NotDirectory(f"{called(raw)} is no directory", path=parameter(raw))
    except OSError as error:
        raise refusal(error, "read", raw) from error


@asynccontextmanager
async def fresh(path: Path, *, overwrite: bool) -> AsyncIterator[int]:
    """A descriptor of a new file, which has its name when all has gone well, and is gone otherwise."""
    raw = checked(path)
    with ExitStack() as stack:
        try:
            check_free(raw, overwrite=overwrite)
            place = Place(stack, raw)
            descriptor = os.open(place.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=place.directory)
            stack.callback(os.close, descriptor)
            stack.callback(discard, place)
            yield descriptor
            await trio.to_thread.run_sync(os.fsync, descriptor)
            place.publish_file(force=overwrite)
            discard(place)
            await trio.to_thread.run_sync(sync_directory, place.directory, raw)
        except OSError as error:
            raise refusal(error, "write", raw) from error


def check_free(path: bytes, *, overwrite: bool) -> None:
    """Raise what stands there already, unless it may be replaced."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(info.st_mode):
        raise IsDirectory(f"{called(path)} is a directory: name the file to be written", path=parameter(path))
    if not stat.S_ISREG(info.st_mode):
        raise NotAFile(f"{called(path)} is no regular file, and is not replaced by one", path=parameter(path))
    if not overwrite:
        raise DestinationExists(f"{called(path)} exists (`overwrite` replaces it)", path=parameter(path))


def discard(place: Place) -> None:
    """Remove the temporary name, if it is there."""
    with suppress(OSError):
        os.unlink(place.temporary, dir_fd=place.directory)
