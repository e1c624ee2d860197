from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from children import block_device
from hypothesis import given
from hypothesis import strategies as st

from pollprog.errors import UsageError
from pollprog.sizes import Directory, parse_size, parse_total

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1024**3
POWERS = {"K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 * GIB),
        ("4Gi", 4 * GIB),
        ("4GiB", 4 * GIB),
        ("4gib", 4 * GIB),
        ("4GB", 4 * 10**9),
        ("4gB", 4 * 10**9),
        ("1.5T", 3 * 1024**4 // 2),
        ("1.5TB", 15 * 10**11),
        (".5k", 512),
        ("0.1E", round(Fraction(1024**6, 10))),
        ("512", 512),
        ("512b", 512),
        ("512B", 512),
        ("100k", 102400),
        ("100kB", 100000),
        ("1P", 1024**5),
        ("007", 7),
        (" 4 GiB\n", 4 * GIB),
        ("0.001k", 1),
        ("9223372036854775807", 2**63 - 1),
        ("7.999999999999999999E", 2**63 - 1),
    ],
)
def test_a_size_is_read_as_people_type_it(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "0", "-1", "+1", "nan", "inf", "4X", "G", "iB", "B", "4i", "4iB", "4GiBB", "4 G iB", "1e9", "1.5", "1.5B", "1.G", ".G", ".",
        "1..5G", "1,5G", "1_000", "٤G", "²", "4Kı", "0.0001K", "0G", "0x10", "@", "4G\n4G", "1" * 5000, "1." + "1" * 5000 + "G",
    ],
)  # fmt: skip # one to a line tells nobody more
def test_what_is_no_size_is_refused_in_a_line_that_says_what_to_type(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_size(text)
    assert "4G" in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("text", ["8E", "9223372036854775808", "1" + "0" * 40 + "P", "7.9999999999999999999E"])
def test_more_than_a_file_can_have_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="8 EiB"):
        parse_size(text)


@given(
    st.integers(0, 10**7), st.text("0123456789", max_size=12), st.sampled_from(list(POWERS)), st.sampled_from(["", "i", "iB", "B"])
)  # fmt: skip # one line is what it is
def test_every_fraction_is_exact_to_the_byte(whole: int, fraction: str, prefix: str, suffix: str) -> None:
    text = f"{whole}.{fraction}" if fraction else str(whole)
    exact = Fraction(text) * (1000 if suffix == "B" else 1024) ** POWERS[prefix]
    try:
        size = parse_size(text + prefix + suffix)
    except UsageError:
        assert exact < Fraction(1, 2) or exact >= 2**63 - Fraction(1, 2)
    else:
        assert abs(size - exact) <= Fraction(1, 2)


@given(st.text(max_size=80))
def test_no_text_raises_anything_but_a_usage_error(text: str) -> None:
    for parse in (parse_size, parse_total):
        try:
            result = parse(text)
        except UsageError as error:
            line = str(error)
            assert line.isprintable()
        else:
            assert isinstance(result, Directory) or result >= 1


def test_a_total_is_a_size_or_that_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    with file.open("wb") as image:
        image.truncate(5 * GIB)
    link = tmp_path / "link"
    link.symlink_to(file)
    assert parse_total("2k") == 2048
    assert parse_total(f"@{file}") == 5 * GIB
    assert parse_total(f"@{link}") == 5 * GIB


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    monkeypatch.chdir(tmp_path)
    assert parse_total("@file") == 5


def test_a_directory_as_total_is_handed_back_to_be_walked(tmp_path: Path) -> None:
    total = parse_total(f"@{tmp_path}")
    assert isinstance(total, Directory)
    assert total == str(tmp_path)


def test_a_total_that_is_not_there_or_has_no_size_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reasons = {
        "@": "after the @",
        f"@{tmp_path}/none": "no such file",
        f"@{empty}/below": "not a directory",
        "@a\0b": "null",
        "@/dev/null": "no size",
        f"@{fifo}": "no size",
        f"@{empty}": "is empty",
        "@" + "x" * 5000: "too long",
    }
    for text, reason in reasons.items():
        with pytest.raises(UsageError, match=reason) as raised:
            parse_total(text)
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 300


@pytest.mark.tool("losetup")
def test_a_block_device_as_total_has_the_size_that_the_kernel_says() -> None:
    with block_device() as (path, size):
        assert parse_total(f"@{path}") == size
