from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollprog.probes.dd_arguments import NUMBERS, operands, parse, parse_number

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 10_000
"""Bytes of the input that the real dd reads."""

GNU = "0 1 007 +5 5c 3w 2b 1k 1K 1kB 1KB 1kD 1KiB 1kiB 1M 1MB 1MiB 1MD 1G 1GB 1GiB 1T 1TB k M w b kx2 2x3 2x1k 1xM 0x10 00x10 3x2b"
REFUSED = "1Ki xM x2 1x 1m 1g 1t 1e1 1.5 -1 B D 1D 1BB 5BB 1kBB ７ 1_000 k1 1ck"
SINCE_9_1 = "5B 1cB 1bB 1wB 2Bx3"
"""Sizes that an older GNU dd refuses."""
BUSYBOX = "0 1 007 5c 3w 2b 1k 1K 1kB 1kD 1M 1MB 1MD 1G 1GB"
REFUSED_BY_BUSYBOX = "1KiB 1MiB k 2x3 1xM +5 5B 1m 1T -1 B 1.5"


def length_that_dd_seeks(program: list[str], text: str, file: Path) -> int | None:
    """How dd itself reads this number: a copy of nothing makes the file as long as it seeks. None: it refuses."""
    command = [*program, "if=/dev/null", f"of={file}", "bs=1", f"seek={text}"]
    done = subprocess.run(command, capture_output=True)
    return os.path.getsize(file) if done.returncode == 0 else None


@pytest.mark.tool("dd")
@pytest.mark.parametrize("text", (GNU + " " + REFUSED).split())
def test_a_number_is_read_as_gnu_dd_reads_it(text: str, tmp_path: Path) -> None:
    assert parse_number(text) == length_that_dd_seeks(["dd"], text, tmp_path / "file")


@pytest.mark.tool("dd")
@pytest.mark.parametrize("text", SINCE_9_1.split())
def test_a_number_that_ends_in_b_is_read_as_a_dd_reads_it_that_knows_it(text: str, tmp_path: Path) -> None:
    read = length_that_dd_seeks(["dd"], text, tmp_path / "file")
    if read is None:
        pytest.skip("this dd is older than coreutils 9.1")
    assert parse_number(text) == read


@pytest.mark.tool("busybox")
@pytest.mark.parametrize("text", (BUSYBOX + " " + REFUSED_BY_BUSYBOX).split())
def test_a_number_is_read_as_busybox_reads_it(text: str, tmp_path: Path) -> None:
    assert parse_number(text, busybox=True) == length_that_dd_seeks(["busybox", "dd"], text, tmp_path / "file")


@pytest.mark.parametrize(("text", "power"), [("P", 5), ("E", 6), ("Z", 7), ("Y", 8), ("R", 9), ("Q", 10)], ids=str)
def test_suffixes_that_no_file_reaches_are_powers_too(text: str, power: int) -> None:
    assert parse_number(f"3{text}") == parse_number(f"3{text}iB") == 3 * 1024**power
    assert parse_number(f"3{text}B") == 3 * 1000**power


def copied_by(program: list[str], words: list[str], folder: Path) -> int | None:
    """How many bytes the real dd copies from a file of `SIZE` bytes; None if it refuses."""
    source = folder / "source"
    source.write_bytes(bytes(SIZE))
    done = subprocess.run([*program, f"if={source}", *words], capture_output=True)
    return len(done.stdout) if done.returncode == 0 else None


def total_for(program: list[str], words: list[str], *, busybox: bool = False) -> int | None:
    """What we make of the same words."""
    arguments = parse([*program, *words], busybox=busybox)
    return None if arguments is None else arguments.total(max(SIZE - arguments.skip, 0))


BOTH = [
    "",
    "bs=1k",
    "count=3",
    "count=0",
    "bs=1k count=3",
    "bs=1k count=3 skip=2",
    "bs=3000 skip=2",
    "bs=3000 count=2 skip=3",
    "ibs=300 obs=7 count=5",
    "ibs=300 bs=70 count=5",
    "bs=300 count=700 iflag=count_bytes",
    "bs=300 skip=700 iflag=skip_bytes",
    "bs=300 skip=700 count=500 iflag=skip_bytes,count_bytes",
    "bs=300 skip=700 count=500 iflag=skip_bytes iflag=count_bytes",
    "count=3 count=2",
    "bs=1M count=1",
    "bs=20000 count=1G",
    "-- count=4",
    "bs=1k seek=0 conv=notrunc oflag=append count=4",
    "bs=0",
    "ibs=0",
    "bs=",
    "count",
    "nonsense=1",
    "bs=1k;count=1",
]
GNU_ONLY = ["bs=2x512 count=1x3", "cbs=5 count=2", "bs=1KiB count=1"]


@pytest.mark.tool("dd")
@pytest.mark.parametrize("words", [*BOTH, *GNU_ONLY])
def test_the_total_is_what_gnu_dd_copies(words: str, tmp_path: Path) -> None:
    assert total_for(["dd"], words.split()) == copied_by(["dd"], words.split(), tmp_path)


@pytest.mark.tool("dd")
@pytest.mark.parametrize("words", ["bs=7 count=1kB", "bs=7 count=30B", "bs=7 iseek=30B", "iseek=3"])
def test_the_total_is_what_a_gnu_dd_copies_that_counts_bytes(words: str, tmp_path: Path) -> None:
    copied = copied_by(["dd"], words.split(), tmp_path)
    if copied is None:
        pytest.skip("this dd is older than coreutils 9.1")
    assert total_for(["dd"], words.split()) == copied


@pytest.mark.tool("busybox")
@pytest.mark.parametrize("words", [*BOTH, "bs=70 ibs=300 count=5", "bs=2 count=1kB"])
def test_the_total_is_what_busybox_copies(words: str, tmp_path: Path) -> None:
    program = ["busybox", "dd"]
    assert total_for(program, words.split(), busybox=True) == copied_by(program, words.split(), tmp_path)


def test_gnu_dd_prefers_bs_wherever_it_stands() -> None:
    arguments = parse(["dd", "bs=70", "ibs=300", "obs=7"])
    assert arguments is not None
    assert (arguments.input_block, arguments.output_block) == (70, 70)


def test_a_seek_counts_blocks_of_output() -> None:
    arguments = parse(["dd", "ibs=7", "obs=1k", "seek=3"])
    in_bytes = parse(["dd", "obs=1k", "oseek=3", "oflag=seek_bytes"])
    assert arguments is not None
    assert in_bytes is not None
    assert (arguments.seek, in_bytes.seek) == (3072, 3)


@pytest.mark.parametrize(
    "argv",
    [
        ["busybox", "dd", "bs=1k", "if=in", "of=bs", "conv=notrunc,sync", "count=3", "iflag=fullblock"],
        [
            "busybox",
            "dd",
            "bs",
            "1k",
            "if",
            "in",
            "of",
            "bs",
            "conv",
            "notrunc,sync",
            "count",
            "3",
            "iflag",
            "fullblock",
        ],
        ["busybox", "dd", "bs", "1k", "if", "in", "of", "bs", "conv", "notrunc", "sync", "count=3", "iflag=fullblock"],
        ["dd", "bs", "1k", "if", "in", "of", "bs", "conv", "notrunc", "sync", "--", "count", "3", "iflag", "fullblock"],
    ],
)
def test_what_busybox_makes_of_its_own_words_is_understood(argv: list[str]) -> None:
    arguments = parse(argv, busybox=True)
    assert arguments is not None
    assert (arguments.input, arguments.output, arguments.limit) == ("in", "bs", 3072)
    assert arguments.conversions == {"notrunc", "sync"}
    assert arguments.full_blocks


def test_the_total_of_an_input_without_size_is_what_is_counted() -> None:
    counted = parse(["dd", "bs=1M", "count=3"])
    endless = parse(["dd", "bs=1M"])
    assert counted is not None
    assert endless is not None
    assert (counted.total(None), endless.total(None)) == (3 << 20, None)


def test_a_count_beyond_every_file_is_no_limit() -> None:
    arguments = parse(["dd", "count=18446744073709551615"])
    assert arguments is not None
    assert arguments.total(None) is None


@pytest.mark.parametrize(
    "argv",
    [
        ["dd", "bs=1"],
        ["/usr/bin/dd", "bs=1"],
        ["busybox", "dd", "bs=1"],
        ["/bin/busybox", "dd", "bs=1"],
        ["coreutils", "--coreutils-prog=dd", "bs=1"],
        ["coreutils", "dd", "bs=1"],
        ["/usr/bin/coreutils", "--coreutils-prog-shebang=dd", "/usr/bin/dd", "bs=1"],
    ],
)
def test_dd_is_known_by_all_its_names(argv: list[str]) -> None:
    assert operands(argv) == ("bs=1",)


@pytest.mark.parametrize("argv", [[], ["ddrescue"], ["busybox", "cat"], ["busybox"], ["sh", "-c", "dd"], ["coreutils"]])
def test_what_is_not_dd_has_no_operands(argv: list[str]) -> None:
    assert operands(argv) is None
    assert parse(argv) is None


@pytest.mark.parametrize(
    "word",
    ["status=none", "status=progress", "conv=noerror", "conv=sync", "conv=lcase,block", "conv=unblock", "conv=ebcdic"],
)
def test_a_dd_whose_answer_could_not_be_told_is_not_to_be_asked(word: str) -> None:
    arguments = parse(["dd", word])
    assert arguments is not None
    assert arguments.unanswering


@pytest.mark.parametrize("word", ["status=noxfer", "conv=notrunc,fsync", "iflag=fullblock,direct", "conv=sparse"])
def test_a_dd_that_answers_may_be_asked(word: str) -> None:
    arguments = parse(["dd", word])
    assert arguments is not None
    assert arguments.unanswering == ""
    assert arguments.two_lines == (word == "status=noxfer")


def test_the_last_status_counts() -> None:
    arguments = parse(["dd", "status=none", "status=noxfer"])
    assert arguments is not None
    assert arguments.unanswering == ""


words = st.one_of(
    st.text(),
    st.builds(
        "{}={}".format, st.sampled_from(sorted(NUMBERS)), st.text("0123456789kKMGBDicwbx+- .", max_size=12) | st.text()
    ),
)


@settings(deadline=None)
@given(st.lists(words), st.booleans())
def test_rubbish_is_none_and_never_an_exception(rubbish: list[str], busybox: bool) -> None:
    arguments = parse(["dd", *rubbish], busybox=busybox)
    if arguments is not None:
        assert arguments.input_block > 0
        assert arguments.skip >= 0
        total = arguments.total(5)
        assert total is not None
        assert 0 <= total <= 5


@settings(deadline=None)
@given(st.text("0123456789kKMGTBDicwbx+ ", max_size=12))
def test_a_number_is_none_or_a_size(text: str) -> None:
    for busybox in (False, True):
        number = parse_number(text, busybox=busybox)
        assert number is None or number >= 0
