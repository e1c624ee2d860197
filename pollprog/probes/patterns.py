"""Which patterns may take for ever on some line, found by looking at the pattern.

A pattern that fails is tried in every way in which its repeats can share the text between them. Two that stand side by side and take the
same characters, ``a*a*``, share n of them in n ways; three in about n²/2; a repeat of what can be split in several ways itself, ``(a+)+``, in
more ways than anybody can wait for. What stands between two repeats and takes none of their characters keeps them apart; a word that they take is
found at fewer places.

So a pattern is walked from left to right, and the repeats are counted that share one text: each that takes any number counts 1, one that takes
up to k less, by the logarithm. What is possessive or atomic, ``a++``, ``(?>…)``, takes what it takes, and shares nothing with what follows;
but it is tried anew for each way in which those before it share. The count is on the safe side: some patterns are refused that never take long. (The theory: Weideman and others, "Analyzing Matching Time Behavior of
Backtracking Regular Expression Matchers by Using Ambiguity of NFA", 2016.)
"""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeAlias

    Item: TypeAlias = tuple[Any, Any]
    """A part of a pattern, as Python's own parser makes it: its kind, and what belongs to it."""

__all__ = ["LONGEST", "check_pattern"]

LONGEST = 1024
"""Bytes of a record that are looked at."""
MOST = 2.5
"""The time that a record takes may grow with this power of its length: some tenths of a second for the longest one."""
MOST_WAYS = 64
"""Ways to a place in a pattern that are looked at."""
ALL = (1 << 256) - 1
"""Sets of bytes are numbers with a bit for each."""
CATEGORIES: Mapping[str, Callable[[bytes], bool]] = {
    "DIGIT": bytes.isdigit,
    "SPACE": bytes.isspace,
    "WORD": lambda byte: byte.isalnum() or byte == b"_",
}


class Shared(NamedTuple):
    """How much text the repeats to the left of a place share, on one way to it."""

    apart: float = 0.0
    """Of those that something keeps apart from what follows: how often one shares with one before it."""
    repeats: float = 0.0
    """Those that may share with what follows."""
    common: int = ALL
    """What all of these take."""
    between: int = 0
    """Bytes that have to stand behind the last of them: they are found at fewer places."""

    @property
    def power(self) -> float:
        """Of the length of a record, to which the time grows."""
        return 1 + self.apart + max(0.0, self.repeats - 1)

    def past(self, taken: int) -> Shared:
        """Behind something that has to be there, and takes one of these."""
        if self.common & taken:
            return self._replace(between=self.between + 1) if self.repeats else self
        return Shared(self.power - 1)

    def sharing(self, taken: int, weight: float) -> Shared:
        """Behind something that takes some of these, in ways of this weight."""
        if not self.common & taken:
            return Shared(self.power - 1, weight, taken)
        places = share_of(LONGEST // (self.between + 1)) if self.repeats else 1.0
        return Shared(self.apart, self.repeats + min(weight, places), self.common & taken)

    def covers(self, other: Shared) -> bool:
        """Whether nothing that follows makes the other one worse than this."""
        return (
            self.apart >= other.apart
            and self.repeats >= other.repeats
            and self.common & other.common == other.common
            and self.between <= other.between
        )


def check_pattern(pattern: bytes) -> None:
    """Raise ValueError for a pattern that may take for ever on some line of `LONGEST` bytes; re.error for none at all."""
    from re import _parser  # type: ignore[attr-defined] # the only place where a pattern can be looked into

    if power(_parser.parse(pattern)) > MOST:
        raise ValueError(
            f"{pattern!r} may take too long: too many of its repeats may take the same text; say what they may not hold, or make "
            "them possessive"
        )


def power(items: Sequence[Item]) -> float:
    """The worst of a pattern, on all ways through it."""
    return max(way.power for way in through(items, [Shared()]))


def through(items: Sequence[Item], ways: list[Shared]) -> list[Shared]:
    """Behind all of these, one after the other."""
    for item in items:
        ways = worst(behind(item, ways))
    return ways


def worst(ways: list[Shared]) -> list[Shared]:
    """Without those that another covers."""
    found: list[Shared] = []
    for way in sorted(set(ways), reverse=True):
        if not any(other.covers(way) for other in found):
            found.append(way)
    if len(found) > MOST_WAYS:
        raise ValueError("a pattern of so many alternatives may take too long")
    return found


def behind(item: Item, ways: list[Shared]) -> list[Shared]:
    """Behind one part of a pattern."""
    kind, argument = str(item[0]), item[1]
    if kind in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, body = argument
        return behind_repeat(least, most, body, ways)
    if kind == "SUBPATTERN":
        return through(argument[3], ways)
    if kind == "BRANCH":
        weight = 0.0 if are_apart(argument[1]) else share_of(len(argument[1]))
        found = [way for one in argument[1] for way in through(one, ways)]
        return [way._replace(repeats=way.repeats + weight) for way in found]
    if kind in ("ATOMIC_GROUP", "POSSESSIVE_REPEAT"):
        least, most, within = (1, 1, argument) if kind == "ATOMIC_GROUP" else argument
        check_within(within, most, ways)
        there = [way.past(taken_by(within)) for way in ways]
        return there if least else [*there, *ways]
    if kind in ("ASSERT", "ASSERT_NOT"):
        check_within(argument[1], 1, ways)
        return ways
    if kind == "AT":
        return ways
    return [way.past(taken_by([item])) for way in ways]


def behind_repeat(least: int, most: int, body: Sequence[Item], ways: list[Shared]) -> list[Shared]:
    """Behind a repeat that goes back."""
    if most == 1:
        taken = taken_by(body)
        inside = through(body, [way.sharing(taken, share_of(2)) if way.common & taken else way for way in ways])
    elif not is_plain(body):
        raise ValueError(
            "a pattern that repeats what can be split in several ways may take for ever: make the inner one possessive"
        )
    elif least == most:
        return through(body, ways)
    else:
        inside = [way.sharing(taken_by(body), share_of(most - least + 1)) for way in ways]
    return inside if least else [*inside, *ways]


def check_within(body: Any, most: int, ways: list[Shared]) -> None:
    """Of what is tried by itself, again for each way to it: it takes no longer than its length, nor the pattern with it than it may."""
    taken, (shortest, longest) = taken_by(body), body.getwidth()
    length = share_of(most) + share_of(longest - shortest + 1)
    if power(body) > 1 + share_of(2) or any(
        way.repeats and way.common & taken and way.power + length > MOST for way in ways
    ):
        raise ValueError("a possessive or atomic part, or one that looks ahead, may take too long where it stands")


def share_of(ways: int) -> float:
    """How much so many ways are, of as many as a record has bytes."""
    return min(1.0, log2(max(ways, 1)) / log2(LONGEST))


def is_plain(body: Sequence[Item]) -> bool:
    """Whether there is one way only in which it takes a text."""
    for code, argument in body:
        kind = str(code)
        if kind in ("MAX_REPEAT", "MIN_REPEAT"):
            if argument[0] != argument[1] or not is_plain(argument[2]):
                return False
        elif kind == "SUBPATTERN":
            if not is_plain(argument[3]):
                return False
        elif kind == "BRANCH" and not (are_apart(argument[1]) and all(is_plain(way) for way in argument[1])):
            return False
    return True


def are_apart(ways: Sequence[Sequence[Item]]) -> bool:
    """Whether the first byte says which of these it is."""
    seen = 0
    for way in ways:
        first = next((taken_by([item]) for item in way if str(item[0]) != "AT"), ALL)
        if seen & first or not all(least_of(item) for item in way[:1]):
            return False
        seen |= first
    return True


def least_of(item: Item) -> int:
    """How often a part has to be there, at the least."""
    return int(item[1][0]) if str(item[0]) in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT") else 1


# --- sets of bytes


def taken_by(items: Sequence[Item]) -> int:
    """All bytes that may be among what these take; in either case of a letter, as that may not matter."""
    found = 0
    for code, argument in items:
        kind = str(code)
        if kind == "LITERAL":
            found |= cases_of(argument)
        elif kind == "NOT_LITERAL":
            found |= ALL & ~(1 << argument)
        elif kind == "IN":
            found |= in_set(argument)
        elif kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            found |= taken_by(argument[2])
        elif kind == "SUBPATTERN":
            found |= taken_by(argument[3])
        elif kind == "BRANCH":
            for way in argument[1]:
                found |= taken_by(way)
        elif kind == "ATOMIC_GROUP":
            found |= taken_by(argument)
        elif kind in ("AT", "ASSERT", "ASSERT_NOT"):
            pass
        elif kind == "ANY":
            found = ALL
        else:  # what a group has found, once more: nobody knows what that is
            raise ValueError("a pattern that looks back at what it has found may take for ever")
    return found


def cases_of(code: int) -> int:
    """A byte, in both cases."""
    byte = bytes([code])
    return 1 << byte.lower()[0] | 1 << byte.upper()[0]


def in_set(parts: Sequence[Item]) -> int:
    """What stands in brackets."""
    found, without = 0, False
    for code, argument in parts:
        kind = str(code)
        if kind == "NEGATE":
            without = True
        elif kind == "LITERAL":
            found |= 1 << argument if without else cases_of(argument)
        elif kind == "RANGE":
            for one in range(argument[0], argument[1] + 1):
                found |= 1 << one if without else cases_of(one)
        elif kind == "CATEGORY":
            found |= category(str(argument))
    return ALL & ~found if without else found


def category(name: str) -> int:
    """Such as digits, or all but digits."""
    of = CATEGORIES[name.rpartition("_")[2]]
    found = sum(1 << code for code in range(256) if of(bytes([code])))
    return ALL & ~found if "_NOT_" in name else found
