"""Writes a pattern, or zeroes, over a stretch of a file or block device, in place (see `in_place`).

Every byte of the stretch counts, and is on disk in the end: a loop over zeroes leaves no holes. Where the kernel can zero a
stretch by itself, that is many times quicker than writing, and reads the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pollprog.errors import InvalidParameter, OperationFailed
from pollprog.in_place import opened
from pollprog.loops import BUFFER, Loop
from pollprog.paths import called, checked, natural, parameter, size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from pollprog.counting import Counter
    from pollprog.in_place import InPlace
    from pollprog.paths import Path

__all__ = ["fill", "zero", "zero_device"]

GONE = "what was written has been removed"


def fill(
    path: Path,
    *,
    counter: Counter,
    cancel: Callable[[], bool],
    size: int,
    offset: int = 0,
    pattern: bytes = b"\0",
) -> int:
    """Write `pattern`, again and again, over `size` bytes from `offset` on, where its first byte comes; returns `size`.

    A file that does not exist is made, and removed again on failure; one that exists may grow.

    Raises `NoSpace` if a device is too small, `Cancelled`, or another `OperationError`; those of what could not be finished
    with the bytes that are written, from `offset` on.
    """
    natural(size, "size")
    if not pattern:
        raise InvalidParameter("pattern is empty: give at least one byte", parameter="pattern")
    if not pattern.strip(b"\0"):
        return zero(path, counter=counter, cancel=cancel, offset=offset, size=size)
    loop = _loop("filling", path, counter, cancel, offset)
    with loop.explained(), opened(loop, loop.path) as place:
        place.fit(offset + size)
        loop.begin("", size)
        repeated = memoryview(pattern * (BUFFER // len(pattern) + 2))
        while loop.done < size:
            loop.check()
            begin = loop.done % len(pattern)
            data = repeated[begin : begin + min(BUFFER, size - loop.done)]
            loop.count(loop.done + place.write(data, offset + loop.done))
        return _synced(loop, place)


def zero(path: Path, *, counter: Counter, cancel: Callable[[], bool], offset: int = 0, size: int | None = None) -> int:
    """Write zeroes over `size` bytes from `offset` on; how many that were. Without `size`, up to the end.

    A file that does not exist is made if there is a size. Raises what `fill` raises.
    """
    if size is not None:
        natural(size, "size")
    loop = _loop("zeroing", path, counter, cancel, offset)
    with loop.explained(), opened(loop, loop.path, make=size is not None) as place:
        if size is None and offset > place.size:
            text = (
                f"{called(loop.path)} ends after {size_text(place.size)}, before byte {offset}: choose another offset"
            )
            raise OperationFailed(text, path=parameter(loop.path))
        end = place.size if size is None else offset + size
        place.fit(end)
        loop.begin("", end - offset)
        place.zero_all(offset, end)
        return _synced(loop, place)


def zero_device(path: Path, *, counter: Counter, cancel: Callable[[], bool]) -> int:
    """Write zeroes over the whole of a block device, or of a file that is the image of one; how many that were."""
    return zero(path, counter=counter, cancel=cancel)


def _loop(doing: str, path: Path, counter: Counter, cancel: Callable[[], bool], offset: int) -> Loop:
    target = checked(path)
    loop = Loop(f"{doing} {called(target)}", target, counter, cancel, gone=GONE, offset=natural(offset, "offset"))
    loop.writing(target)
    return loop


def _synced(loop: Loop, place: InPlace) -> int:
    """Wait for the disk; how many bytes it was."""
    loop.sync()
    place.sync()
    loop.finish()
    return loop.done
