"""A partition table, as sfdisk tells it and takes it; and how it looks on a larger disk, one partition grown. Nothing here touches a disk.

Whatever stands behind the partition that grows moves by as much as that grows, which is whole MiB, so what was aligned stays so. A
table with an extended partition, which has tables of its own in it, is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SECTOR", "Partition", "Table"]

SECTOR = 512
"""Bytes of a sector, in an image."""
ALIGNED = (1 << 20) // SECTOR
"""Sectors of which a partition grows by a multiple."""
BEHIND = 33
"""Sectors of the copy that a GPT has at the end of the disk."""
MOST = 1 << 32
"""Sectors that an MBR can count."""
EXTENDED = frozenset({"5", "f", "85", "05", "0f"})
"""Types of an extended partition, in hexadecimal."""
PROTECTIVE = "ee"
"""The type of the one partition of the MBR that stands before a GPT: seen alone where the GPT cannot be read."""
KEPT = ("type", "uuid", "name", "attrs", "bootable")
"""What a partition keeps, in the words of sfdisk."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition, counted in sectors."""

    number: int
    start: int
    size: int
    kept: Mapping[str, Any]
    """What else sfdisk says of it."""

    @property
    def end(self) -> int:
        """The first sector behind it."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Table:
    """A partition table."""

    label: str
    """gpt or dos."""
    headers: Mapping[str, Any]
    """What else sfdisk says of it that is kept."""
    partitions: tuple[Partition, ...]
    """In the order in which they lie."""

    @classmethod
    def parse(cls, data: bytes) -> Table:
        """From what ``sfdisk --json`` prints. ValueError says, in words, what cannot be done with it."""
        try:
            told = json.loads(data)["partitiontable"]
            device, label = told["device"], told["label"]
            found = [
                Partition(
                    int(one["node"].removeprefix(device).removeprefix("p")),
                    int(one["start"]),
                    int(one["size"]),
                    {key: one[key] for key in KEPT if key in one},
                )
                for one in told.get("partitions", ())
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("sfdisk tells of its partition table in words that are not understood") from error
        if label not in ("gpt", "dos"):
            raise ValueError(f"its partition table is of the kind {label}: GPT and MBR can be resized")
        if int(told.get("sectorsize", SECTOR)) != SECTOR:
            raise ValueError(f"its sectors have {told['sectorsize']} bytes: {SECTOR} can be resized")
        if not found:
            raise ValueError("there is no partition in it")
        if any(label == "dos" and one.kept.get("type") in EXTENDED for one in found):
            raise ValueError("it has an extended partition, which cannot be moved")
        if any(label == "dos" and one.kept.get("type") == PROTECTIVE for one in found):
            raise ValueError("its GPT is damaged, or is not all of it there")
        headers = {"label-id": told.get("id"), "first-lba": told.get("firstlba")}
        kept = {key: value for key, value in headers.items() if value is not None}
        return cls(label, kept, tuple(sorted(found, key=lambda one: one.start)))

    def grown(self, sectors: int, number: int | None = None) -> tuple[Table, Partition, Partition]:
        """The table for a disk of so many sectors; and the partition that grows, as it was and as it is. The last one, if none is named.

        ValueError says what is wrong.
        """
        numbers = [one.number for one in self.partitions]
        which = numbers[-1] if number is None else number
        if which not in numbers:
            raise ValueError(f"there is no partition {which}; there are {', '.join(map(str, sorted(numbers)))}")
        old = self.partitions[numbers.index(which)]
        end = sectors - BEHIND if self.label == "gpt" else min(sectors, MOST)
        more = (end - self.partitions[-1].end) // ALIGNED * ALIGNED
        if more <= 0:
            raise ValueError("there is no room to grow: choose a larger size")
        new = replace(old, size=old.size + more)
        moved = [
            new if one is old else replace(one, start=one.start + more) if one.start > old.start else one
            for one in self.partitions
        ]
        return replace(self, partitions=tuple(moved)), old, new

    def script(self) -> bytes:
        """As sfdisk reads it from its standard input."""
        lines = [
            f"label: {self.label}",
            *(f"{key}: {value}" for key, value in self.headers.items()),
            "unit: sectors",
            "",
        ]
        for one in self.partitions:
            words = [f"start={one.start}", f"size={one.size}"]
            words += [
                key if value is True else f"{key}={quoted(key, value)}" for key, value in one.kept.items() if value
            ]
            lines.append(f"p{one.number} : {', '.join(words)}")
        return "\n".join([*lines, ""]).encode()


def quoted(key: str, value: object) -> str:
    """A value in a script: what a person has chosen stands in quotes, and what would end them by its number."""
    if key not in ("name", "attrs"):
        return str(value)
    text = "".join(
        f"\\x{ord(letter):02x}" if letter in '"\\' or not letter.isprintable() else letter for letter in str(value)
    )
    return f'"{text}"'
