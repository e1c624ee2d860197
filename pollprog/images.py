"""The operations on images of disks: each makes a file, which has its name when all of it is there (see `wrapping`)."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pollprog.errors import InvalidParameter
from pollprog.operations import operation
from pollprog.paths import checked, refusal
from pollprog.work import running
from pollprog.wrapping import Written, fresh, opened, said_plainly

__all__ = ["OPERATIONS"]


@operation
async def convert_image(
    source: Annotated[Path, "Image, or block device."],
    destination: Annotated[Path, "Name of the new image: it is there when all of it is."],
    to: Annotated[Literal["qcow2", "raw"], "Which format it becomes."] = "qcow2",
    source_format: Annotated[
        Literal["qcow2", "raw"] | None, "Which it has; none: as it looks. Say it where others can write into the image."
    ] = None,
    *,
    compress: Annotated[bool, "Compress what is in a qcow2."] = False,
    overwrite: Annotated[bool, "Replace what has that name."] = False,
) -> Written:
    """Convert an image of a disk with qemu-img, from raw or qcow2 to either. What is zero takes no room."""
    work = running()
    if compress and to == "raw":
        raise InvalidParameter("compress: there is nothing compressed in a raw image", parameter="compress")
    words = ["qemu-img", "convert", "-p", *([] if source_format is None else ["-f", source_format]), "-O", to]
    with ExitStack() as stack:
        _, info = await work.thread(partial(opened, stack, source))
        async with fresh(source, info, destination, overwrite=overwrite) as (_, temporary):
            await said_plainly(
                [*words, *(["-c"] if compress else []), str(source), temporary], destination, probe="qemu-img"
            )
            return await work.thread(partial(size_of, temporary))


@operation
async def ntfs_clone(
    source: Annotated[Path, "Device with an NTFS, an image of one, or what `save` has made; not mounted."],
    destination: Annotated[Path, "Name of the copy: it is there when all of it is."],
    how: Annotated[
        Literal["clone", "save", "restore"],
        "A sparse image; ntfsclone's own format, which has no holes; or back from that.",
    ] = "clone",
    *,
    force: Annotated[bool, "Even if it was not unmounted in order."] = False,
    overwrite: Annotated[bool, "Replace what has that name."] = False,
) -> Written:
    """Copy what is in use of an NTFS with ntfsclone, into an image."""
    work = running()
    words = ["ntfsclone", *{"clone": [], "save": ["--save-image"], "restore": ["--restore-image"]}[how]]
    with ExitStack() as stack:
        _, info = await work.thread(partial(opened, stack, source))
        async with fresh(source, info, destination, overwrite=overwrite) as (_, temporary):
            forced = ["--force"] if force else []
            await said_plainly([*words, *forced, "--overwrite", temporary, str(source)], destination, probe="ntfsclone")
            return await work.thread(partial(size_of, temporary))


OPERATIONS = (convert_image, ntfs_clone)


def size_of(path: str) -> Written:
    """How large a file is that was made."""
    try:
        return Written(os.stat(path).st_size)
    except OSError as error:
        raise refusal(error, "read", checked(path)) from error
