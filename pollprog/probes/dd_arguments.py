"""What a dd was told: its operands, read as GNU dd and busybox dd read them, and how much work they make.

Sizes are bytes. GNU dd knows more suffixes, products (``2x4k``) and the ending ``B``, which turns a count of blocks into one of
bytes (since coreutils 9.1; before, ``1kB`` blocks were 1000 blocks). What dd would refuse is None here, never an exception.

This module is read before a command is started, so it imports nothing that takes time.
"""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Arguments", "operands", "parse", "parse_number"]

MOST = 2**63 - 1
"""No file is larger, so a count beyond it is no limit."""
DEFAULT_BLOCK = 512

FACTOR = re.compile(r"\s*\+?([0-9]*)(?:([kKMGTPEZYRQ])(iB|B|D)?|([cwb])?(B)?)")
"""One factor of a GNU number: digits, then a prefix of 1000 or 1024, or a unit; ``B`` last, where no prefix took it."""
BUSYBOX_NUMBER = re.compile(r"([0-9]+)(?:([kKMG])([BD])?|([cwb])?)")
UNITS = {"c": 1, "w": 2, "b": 512}
PREFIXES = {prefix: power for power, prefix in enumerate("KMGTPEZYRQ", 1)} | {"k": 1}

NUMBERS = frozenset({"bs", "ibs", "obs", "cbs", "count", "skip", "iseek", "seek", "oseek"})
LISTS = frozenset({"conv", "iflag", "oflag"})
WORDS = frozenset({"if", "of", "status"})

PADDING = frozenset({"sync", "block", "unblock", "ascii", "ebcdic", "ibm"})
"""Conversions that make the output longer or shorter than the input."""


class Arguments:
    """What one dd was told, as far as it decides how much there is to do and how that may be asked."""

    __slots__ = (
        "appends",
        "conversions",
        "full_blocks",
        "input",
        "input_block",
        "limit",
        "output",
        "output_block",
        "seek",
        "skip",
        "status",
    )

    def __init__(self, words: dict[str, str], sizes: dict[str, int], lists: dict[str, frozenset[str]]) -> None:
        self.input = words.get("if")
        """The path behind ``if=``; None for standard input."""
        self.output = words.get("of")
        self.status = words.get("status", "")
        self.conversions = lists.get("conv", frozenset())
        self.input_block = sizes.get("ibs", DEFAULT_BLOCK)
        self.output_block = sizes.get("obs", DEFAULT_BLOCK)
        self.full_blocks = "fullblock" in lists.get("iflag", ())
        """Whether a read that comes back short is gone on with."""
        self.appends = "append" in lists.get("oflag", ())
        limit = sizes.get("count")
        self.limit = limit if limit is None or limit <= MOST else None
        """At most this much is read, after what is skipped; less where blocks are counted and the input reads short."""
        self.skip = sizes.get("skip", 0)
        self.seek = sizes.get("seek", 0)

    @property
    def pads(self) -> bool:
        """Whether it may write more than it reads, or less."""
        return not self.conversions.isdisjoint(PADDING)

    @property
    def two_lines(self) -> bool:
        """Whether a report goes without the line that says bytes, by the user's wish."""
        return self.status == "noxfer"

    @property
    def unanswering(self) -> str:
        """Why nobody could tell the answer to a signal from what dd says by itself; '' if one can."""
        if self.status == "none":
            return "status=none: it would not answer"
        if self.status == "progress":
            return "status=progress: it says by itself how far it is"
        if "noerror" in self.conversions:
            return "conv=noerror: it reports by itself after each error"
        if self.pads:
            return "its reports count something else than its input"
        return ""

    def total(self, rest: int | None) -> int | None:
        """How much there is to do, for an input that has `rest` bytes after what is skipped; None: nobody knows."""
        if rest is None or self.limit is None:
            return self.limit if rest is None else rest
        return min(rest, self.limit)


def operands(argv: Sequence[str]) -> tuple[str, ...] | None:
    """The operands, if these are the words of a dd by whatever name it is called; else None."""
    match [os.path.basename(word) for word in argv[:1]] + list(argv[1:]):
        case ["dd", *rest] | ["busybox" | "coreutils", "dd" | "--coreutils-prog=dd", *rest]:
            return tuple(rest)
        case ["coreutils", "--coreutils-prog-shebang=dd", _, *rest]:
            return tuple(rest)
    return None


def parse(argv: Sequence[str], *, busybox: bool = False) -> Arguments | None:
    """Read the words of a dd; None if it is none, or one that dd would refuse. `busybox`: as that reads them."""
    rest = operands(argv)
    if rest is None:
        return None
    words: dict[str, str] = {}
    numbers: dict[str, str] = {}
    sizes: dict[str, int] = {}
    lists: dict[str, frozenset[str]] = {}
    for operand in rejoined(rest) if busybox else rest:
        name, found, value = operand.partition("=")
        if operand == "--":
            continue
        if not found or name not in NUMBERS | LISTS | WORDS:
            return None
        if name in LISTS:
            lists[name] = lists.get(name, frozenset()) | set(value.split(","))
        elif name in WORDS:
            words[name] = value
        else:
            name = {"iseek": "skip", "oseek": "seek"}.get(name, name)
            number = parse_number(value, busybox=busybox)
            if number is None or (name.endswith("bs") and number == 0):
                return None
            numbers[name], sizes[name] = value, number
            if name == "bs" and busybox:
                sizes["ibs"] = sizes["obs"] = number  # what comes later counts; for GNU dd, bs= does
    if not busybox and "bs" in sizes:
        sizes["ibs"] = sizes["obs"] = sizes["bs"]
    for name, block, flags, flag in (
        ("count", "ibs", "iflag", "count_bytes"),
        ("skip", "ibs", "iflag", "skip_bytes"),
        ("seek", "obs", "oflag", "seek_bytes"),
    ):
        in_bytes = flag in lists.get(flags, ()) or (not busybox and "B" in numbers.get(name, ""))
        if name in sizes and not in_bytes:
            sizes[name] *= sizes.get(block, DEFAULT_BLOCK)
    return Arguments(words, sizes, lists)


def rejoined(words: Sequence[str]) -> list[str]:
    """The operands of a busybox dd that runs: it ends each name in its own words, in old builds each word of a list too."""
    found: list[str] = []
    names = NUMBERS | LISTS | WORDS
    value = False
    for word in words:
        if value:
            found[-1] += "=" + word
            value = False
        elif word in names:
            found.append(word)
            value = True
        elif found and found[-1].partition("=")[0] in LISTS and "=" not in word and word != "--":
            found[-1] += "," + word
        else:
            found.append(word)
    return found


def parse_number(text: str, *, busybox: bool = False) -> int | None:
    """The number behind ``bs=`` and the like; None for what dd would refuse. No size is too large."""
    if len(text) > 64 or not text.isascii():
        return None
    if busybox:
        return _factor(BUSYBOX_NUMBER.fullmatch(text))
    product = 1
    for factor in text.split("x"):
        number = _factor(FACTOR.fullmatch(factor))
        if number is None:
            return None
        product *= number
    return product


def _factor(match: re.Match[str] | None) -> int | None:
    if match is None:
        return None
    digits, prefix, binary, unit = match.group(1, 2, 3, 4)
    if not (digits or prefix or unit):
        return None
    factor: int = (1000 if binary in ("B", "D") else 1024) ** PREFIXES.get(prefix, 0)
    return int(digits or 1) * factor * UNITS.get(unit, 1)
