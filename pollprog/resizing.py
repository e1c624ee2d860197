"""A larger copy of an image of a disk: its partitions, of which one grows, and the ext file system in that.

The partition whose file system grows is copied into a file of its own first, where e2fsck and resize2fs can work on it without any
device being made, and from there into its place; all others go there at once. Holes stay holes. What lies before the first partition,
where boot loaders are, and the code in the first sector are copied as they are. All of it is one fraction, and the new image has its
name when it is finished.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from pollprog.errors import CommandFailed, InvalidParameter, OperationFailed
from pollprog.filesystems import check, is_ext, resize
from pollprog.loops import Loop
from pollprog.messages import Int
from pollprog.notify import steps
from pollprog.operations import operation
from pollprog.partitions import SECTOR, Table
from pollprog.paths import allocated, called, checked, has_holes, natural, parameter, refusal
from pollprog.syscalls import punch_hole
from pollprog.transfer import Transfer, became_shorter, stretches
from pollprog.work import Work, running
from pollprog.wrapping import fresh, opened, plain, said_plainly

if TYPE_CHECKING:
    from pollprog.partitions import Partition

__all__ = ["OPERATIONS"]

BOOT_CODE = 440
"""Bytes of the first sector that are a program."""
BEFORE = {"dos": SECTOR, "gpt": 34 * SECTOR}
"""Where a table of this kind ends."""
PIECE = 64 << 20
"""Bytes of what is moved after which their room is given back."""
LEAST = 1 << 20
"""Bytes that a step counts for at least."""
GONE = "what was copied has been removed"

Stretch = tuple[int, int, int]
"""Where bytes begin and end, and how much further on they go."""


class Resized(msgspec.Struct, frozen=True):
    """The image that was made."""

    size: Annotated[Int, "Its size in bytes."]
    partition: Annotated[Int, "The number of the partition that has grown."]
    partition_size: Annotated[Int, "How large that is now, in bytes."]
    filesystem: Annotated[bool, "Whether an ext file system in it has grown, too."]


@operation
async def resize_image(
    source: Annotated[Path, "Image of a disk, as it is and not qcow2, with GPT or MBR; or a block device."],
    destination: Annotated[Path, "Name of the new image: it is there when all of it is."],
    size: Annotated[int, "Bytes of the new image: more than the old one has."],
    partition: Annotated[int | None, "Number of the partition that grows; none: the last one."] = None,
    *,
    filesystem: Annotated[bool, "Grow the ext file system in it, too."] = True,
    overwrite: Annotated[bool, "Replace what has that name."] = False,
) -> Resized:
    """Make a larger copy of an image of a disk, in which a partition is larger, and the ext file system in that."""
    work = running()
    if natural(size, "size") % SECTOR:
        raise InvalidParameter(f"size: has to be a multiple of {SECTOR}", parameter="size")
    if filesystem and "?" in str(destination):
        text = f"destination: {called(checked(destination))}: resize2fs takes what follows a ? for options; choose another name"
        raise InvalidParameter(text, parameter="destination")
    with ExitStack() as stack:
        reader, info = await work.thread(partial(opened, stack, source))
        table = await read_table(work, source)
        try:
            grown, old, new = table.grown(size // SECTOR, partition)
        except ValueError as error:
            wrong = "partition" if "no partition" in str(error) else "size"
            raise InvalidParameter(f"{wrong}: {error}", parameter=wrong) from error
        async with fresh(source, info, destination, overwrite=overwrite) as (writer, temporary):
            await work.thread(partial(lengthen, writer, size, destination))
            await write_table(work, grown, temporary, destination)
            copy = Copy(work, source, reader, destination, writer)
            ext = filesystem and await work.thread(partial(is_ext, checked(source), old.start * SECTOR))
            if ext:
                await with_filesystem(copy, table, grown, old, new, f"{temporary}.part")
            else:
                data = await work.loop(partial(copy.survey, all_but(table, grown, None)))
                steps(copy=1).begin("copy")
                await work.loop(partial(copy.bring, data))
    return Resized(size, new.number, new.size * SECTOR, ext)


OPERATIONS = (resize_image,)


async def with_filesystem(copy: Copy, table: Table, grown: Table, old: Partition, new: Partition, apart: str) -> None:
    """Bring everything, and the partition that grows by way of a file of its own, where its file system grows."""
    work, path, length = copy.work, Path(apart), new.size * SECTOR
    others = await work.loop(partial(copy.survey, all_but(table, grown, old)))
    own = await work.loop(partial(copy.survey, [(old.start * SECTOR, old.end * SECTOR, -old.start * SECTOR)]))
    weights = [max(LEAST, amount(data)) for data in (others, own)]
    plan = steps(
        copy=weights[0], filesystem=weights[1], check=max(LEAST, weights[1] / 20), resize=max(LEAST, weights[1] / 20),
        place=weights[1],
    )  # fmt: skip
    plan.begin("copy")
    await work.loop(partial(copy.bring, others))
    with ExitStack() as stack:
        try:
            between = await work.thread(partial(make_between, stack, apart, length, copy.destination))
            plan.begin("filesystem")
            await work.loop(partial(Copy(work, copy.source, copy.reader, copy.destination, between).bring, own))
            plan.begin("check")
            try:
                await check(path, "-f", "-p")
            except CommandFailed as error:
                what = f"the file system in partition {old.number} of {called(checked(copy.source))} has errors"
                text = f"{what}: correct them first, or copy it as it is (`filesystem` says that it does not grow)"
                raise CommandFailed(text, exit=error.exit, signal=error.signal, output=error.output) from error
            plan.begin("resize")
            await resize(path, None, made=copy.destination)
            plan.begin("place")
            back = Copy(work, path, between, copy.destination, copy.writer)
            await work.loop(partial(back.move, (0, length, new.start * SECTOR)))
        finally:
            await work.undo(stack.close)


# --- the table


async def read_table(work: Work, source: Path) -> Table:
    """The partition table of an image. OperationFailed for one that is not as it has to be."""
    with os.fdopen(os.memfd_create("pollprog table"), "w+b") as told:
        await work.command(["sfdisk", "--json", str(source)], environment=plain(work), output=told.fileno())
        data = os.pread(told.fileno(), os.fstat(told.fileno()).st_size, 0)
    try:
        return Table.parse(data)
    except ValueError as error:
        raw = checked(source)
        raise OperationFailed(f"{called(raw)} cannot be resized: {error}", path=parameter(raw)) from error


async def write_table(work: Work, table: Table, image: str, destination: Path) -> None:
    """Write a partition table into an image where nothing is yet."""
    with os.fdopen(os.memfd_create("pollprog table"), "w+b") as script:
        os.pwrite(script.fileno(), table.script(), 0)
        words = ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", image]
        await said_plainly(words, destination, source=script.fileno())
    work.check_here()


# --- what is copied


class Copy:
    """One file that is read, and one that is written, of which nothing is there yet but holes."""

    def __init__(self, work: Work, source: Path, reader: int, destination: Path, writer: int) -> None:
        self.work = work
        self.source = source
        self.reader = reader
        self.destination = destination
        self.writer = writer

    def loop(self) -> Loop:
        """One call of a loop."""
        old, new = checked(self.source), checked(self.destination)
        doing = f"making {called(new)}"
        loop = Loop(doing, new, self.work.counter, self.work.stopped, gone=GONE)
        loop.reading(old)
        return loop

    def survey(self, wanted: list[Stretch]) -> list[Stretch]:
        """Where there is data of what is wanted."""
        loop, found = self.loop(), []
        with loop.explained():
            info = os.fstat(self.reader)
            length, holes = allocated(self.reader, info), has_holes(info)
            for start, end, shift in wanted:
                if end > length:
                    text = f"{called(checked(self.source))} ends within a partition"
                    raise OperationFailed(text, path=parameter(checked(self.source)))
                for begin, stop in stretches(self.reader, end, holes=holes, start=start):
                    loop.check()
                    found.append((begin, stop, shift))
        return found

    def move(self, whole: Stretch) -> None:
        """Bring all that there is of this over, and give its room back on the way, so that it is not there twice."""
        start, end, shift = whole
        found = self.survey([(start, min(end, os.fstat(self.reader).st_size), shift)])
        pieces = [(at, min(at + PIECE, stop), shift) for begin, stop, _ in found for at in range(begin, stop, PIECE)]
        self.bring(pieces, give_back=True)

    def bring(self, data: list[Stretch], *, give_back: bool = False) -> None:
        """Bring these over, and see that they are on disk."""
        loop = self.loop()
        with loop.explained():
            transfer = Transfer(loop, self.reader, checked(self.source), self.writer, checked(self.destination))
            loop.begin("", amount(data))
            loop.writing(checked(self.destination))
            for start, end, shift in data:
                if transfer.stretch(start, end, shift) < end:
                    raise became_shorter(checked(self.source))
                if give_back:
                    with suppress(OSError):  # a file system that cannot do it keeps all
                        punch_hole(self.reader, start, end - start)
            loop.check()
            os.fsync(self.writer)


def amount(data: list[Stretch]) -> int:
    """How many bytes that is."""
    return sum(end - start for start, end, _ in data)


def all_but(table: Table, grown: Table, apart: Partition | None) -> list[Stretch]:
    """All that goes into the new image as it is: what is before the partitions, and each of them but one."""
    first = min(one.start for one in table.partitions) * SECTOR
    found = [(0, BOOT_CODE, 0), (min(BEFORE[table.label], first), first, 0)]
    for old, new in zip(table.partitions, grown.partitions, strict=True):
        if old is not apart:
            found.append((old.start * SECTOR, old.end * SECTOR, (new.start - old.start) * SECTOR))
    return found


def lengthen(descriptor: int, size: int, path: Path) -> None:
    """Make a new file as long as it has to be, of nothing but a hole."""
    try:
        os.ftruncate(descriptor, size)
    except OSError as error:
        raise refusal(error, "write", checked(path)) from error


def make_between(stack: ExitStack, path: str, length: int, destination: Path) -> int:
    """Make the file in which a file system grows; `stack` closes and removes it."""
    try:
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise refusal(error, "write", checked(destination)) from error
    stack.callback(os.unlink, path)
    stack.callback(os.close, made)
    lengthen(made, length, destination)
    return made
