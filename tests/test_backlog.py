"""What nobody has listened to yet is kept in its order, as much of it as there is room for."""

from __future__ import annotations

import pytest

from pollprog.backlog import MOST, Backlog


def test_what_was_added_is_taken_once_in_its_order() -> None:
    backlog = Backlog()
    for stream, record in ((1, b"one"), (2, b"two"), (1, b"three")):
        backlog.add(stream, record)
    assert backlog.take() == [(1, b"one"), (2, b"two"), (1, b"three")]
    assert backlog.take() == []


def test_ten_thousand_short_records_are_kept_with_the_first_that_says_what_they_count() -> None:
    backlog = Backlog()
    backlog.add(1, b"Cloning NTFS ...")
    for number in range(10_000):
        backlog.add(1, b"%6.2f percent completed" % (number / 100))
    assert backlog.take()[0] == (1, b"Cloning NTFS ...")


@pytest.mark.parametrize("size", [0, 1, 1000, MOST - 1, MOST, MOST + 1])
def test_of_too_much_the_oldest_go(size: int) -> None:
    backlog = Backlog()
    for _ in range(3 * MOST // (size + 1) + 3):
        backlog.add(1, b"x" * size)
    kept = backlog.take()
    assert len(kept) == MOST // (size + 1)
    backlog.add(1, b"y")
    assert backlog.take() == [(1, b"y")]
