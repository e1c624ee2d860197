"""A pattern that may take for ever on some line is refused; others are not. That of every tool of ours is tried in test_records.py."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from pollprog.probes.patterns import LONGEST, check_pattern

PATIENCE = 60.0
"""Seconds after which a pattern that passed counts as one that takes for ever, whatever else the machine does."""
FOR_EVER = [
    rb"(a+)+", rb"(?:\d+\s*)*x", rb"(a|b+)*", rb"(?:(a*)x?){2,}", rb".*a.*b.*", rb"\S+ ?[^x]+ ?.+",
    rb"(a|ab|b)*c", rb"(a?){40}a{40}", rb"(a{1,10}){1,10}b", rb"(?:a{1,3})+", rb"\s*\s*\s*\s*q", rb"\w*\d*[0-9a-f]*x",
    rb"(?:a|a)*b", rb"(?:a?b?)*c", rb"a?" * 40 + b"a" * 40, rb"(?:a|aa)" * 30 + b"b", rb"(a*)\1b", rb"(?>(?:a|a)*)b", rb"(?=(a+)+b)a",
    rb"a*a*ba*a*c", rb"[ab]*ab[ab]*ab[ab]*c", rb"(?i:A*)a*[aA]*b", rb"(?:.*|x)(?:.*|y).*z", rb".*(?:x.*)?.*q", rb"b+a*b*?(?:(?:b|\da?)*+b)?", rb"a*a*(?=a*b)a", rb"[ab]*?(?:a*?bb|[ab]?)++bb", rb".*[ab]*(?>a+b?)c",
]  # fmt: skip
QUICK = [
    rb"(?:a++)+", rb"(?>a+)+", rb".*a.*", rb"\d+ \d+ \d+ \d+", rb"(?:ab)*(?=c+)", rb"(?:ab|cd)*x", rb"[^,]*,[^,]*,[^,]*,[^,]*",
    rb" +[0-9,]+ +[0-9]{1,3}% +[0-9.]+[kMG]?B/s +[0-9:]+(?: \(.*\))?", rb"a*+a*+a*+b", rb"^x$|y\b", rb"(?:[0-9]{3},)*[0-9]{3}", rb"a?a?a?a{3}",
    rb"(?!x).*", rb"(?:ab|a[bc])*d", rb"[ab]*(?:a|1)*+b", rb".*" + b"a" * 1100 + rb".*", rb"(?i)progress: +[0-9.]+%", rb".*\D",
]  # fmt: skip


@pytest.mark.parametrize("pattern", FOR_EVER)
def test_a_pattern_that_may_take_for_ever_is_refused(pattern: bytes) -> None:
    re.compile(pattern)
    with pytest.raises(ValueError, match=r"possessive|for ever|too long"):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", QUICK)
def test_one_that_does_not_passes(pattern: bytes) -> None:
    check_pattern(pattern)


def test_what_passes_does_not_take_for_ever() -> None:
    hostile = """
import itertools, re, sys
for pattern in sys.argv[2:]:
    for length in (1, 2):
        for pump in itertools.product(b"ab1, xX:%.", repeat=length):
            line = (bytes(pump) * int(sys.argv[1]))[: int(sys.argv[1])]
            for end in (b"", b"!", b"b"):
                re.fullmatch(pattern.encode(), line + end)
"""
    words = [sys.executable, "-c", hostile, str(LONGEST), *(pattern.decode() for pattern in QUICK)]
    subprocess.run(words, check=True, timeout=PATIENCE)
