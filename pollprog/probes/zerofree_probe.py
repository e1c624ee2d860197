"""How far a zerofree is: what it has read of the free blocks."""

from __future__ import annotations

from struct import unpack_from
from typing import TYPE_CHECKING

from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.process import OpenFile

__all__ = ["ZerofreeProbe", "free_bytes"]

START, SIZE = 1024, 1024
"""Where the superblock of ext2, ext3 and ext4 is, and its size."""
MAGIC = 0xEF53
WIDE = 0x80
"""Among the features: counts of 64 bits."""


class ZerofreeProbe:
    """The probe of one zerofree."""

    def __init__(self, target: Target) -> None:
        self._process = target.process
        self._activity = Activity(target.tree)
        self._total = target.total
        self._free: int | None = None

    def sample(self) -> Sample | None:
        """Bytes read, of those that are free; None as long as the file system, or what was read, is not to be seen."""
        activity = self._activity.look()
        if self._free is None:
            self._free = next((free for file in self._process.files() if (free := self._look(file))), None)
        io = self._process.io()
        if not self._free or io is None:
            return None
        total = self._total or self._free
        return Sample(min(io.rchar, total), total, source="zerofree", bound=Bound.ESTIMATE, activity=activity)

    def _look(self, file: OpenFile) -> int | None:
        if not file.size:
            return None
        try:
            return free_bytes(self._process.read(file, START, SIZE), file.size)
        except OSError:
            return None

    def close(self) -> None:
        """Nothing is held."""


def free_bytes(superblock: bytes, size: int) -> int | None:
    """Bytes in free blocks of a file system that has `size` bytes at most; None for what is no superblock."""
    if len(superblock) < SIZE or unpack_from("<H", superblock, 0x38)[0] != MAGIC:
        return None
    free, scale = unpack_from("<I", superblock, 0x0C)[0], unpack_from("<I", superblock, 0x18)[0]
    if unpack_from("<I", superblock, 0x60)[0] & WIDE:
        free |= unpack_from("<I", superblock, 0x158)[0] << 32
    if scale > 6:  # a block has 1 KiB << scale, 64 KiB at most
        return None
    found: int = free << 10 + scale
    return found if 0 < found <= size else None
