"""What packs, and what encrypts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Of one text, or a folder."""
    scratch.text("text", 224)
    scratch.sh("mkdir texts; split -n 8 text texts/; head -c $(($(stat -c %s text) / 3)) text > short")
    yield Tool("xz", "xz -1 -T1 -k text", "steady", "text.xz", "rm -f text.xz")
    yield Tool("xz", "xz -1 -T2 -k text", "steady", "text.xz", "rm -f text.xz")
    yield Tool(
        "evidence",
        "gpg --homedir . --batch --pinentry-mode loopback --passphrase x --s2k-count 65536 -o out -z 6 -c text",
        "steady",
        before="rm -f out",
        blurred=r"(?m)^gpg: .*\n",
    )
    yield Tool(
        "7z", "7z a -mx3 -mmt1 out.7z text", "steady", "out.7z", "rm -f out.7z", r"\d+%.*|[\b ]+|Free.*|Threads.*"
    )
    yield Tool("evidence", "gzip -k text", "steady", "text.gz", "rm -f text.gz")
    yield Tool("evidence", "pigz -p 1 -k text", "steady", "text.gz", "rm -f text.gz")
    yield Tool("evidence", "pigz -k text", "steady", "text.gz", "rm -f text.gz")
    yield Tool("evidence", "bzip2 -k short", "steady", "short.bz2", "rm -f short.bz2")
    yield Tool("evidence", "lbzip2 -k short", "steady", "short.bz2", "rm -f short.bz2")
    yield Tool(
        "evidence",
        "bunzip2 -k two.bz2",
        "steady",
        "two",
        "rm -f two; test -e two.bz2 || cat short.bz2 short.bz2 > two.bz2",
    )
    yield Tool("evidence", "zstd -q -12 text -o out", "steady", "out", "rm -f out")
    yield Tool("evidence", "zip -q out.zip text", "steady", "out.zip", "rm -f out.zip")
    yield Tool("evidence", "tar czf out.tgz texts", "steady", "out.tgz", program="tar")
    yield Tool("evidence", "XZ_OPT=-1 tar cJf out.txz texts", "steady", "out.txz", program="tar", script=True)
    yield Tool("evidence", "ZSTD_CLEVEL=12 tar cf out --zstd texts", "steady", "out", program="tar", script=True)
    yield Tool(
        "evidence",
        "tar xjf packed -C into",
        "steady",
        "into",
        "rm -rf into; mkdir into; test -e packed || tar cf packed -I lbzip2 texts",
    )
    scratch.tree("tree", 4096)
    yield Tool("evidence", "tar cf out tree", "disk", "out", "rm -f out")
    yield Tool("evidence", "tar xf out -C into", "disk", "into", "rm -rf into; mkdir into")
    yield Tool(
        "evidence",
        "unzip -q stored.zip -d into",
        "disk",
        "into",
        "rm -rf into; test -e stored.zip || zip -q -0 stored.zip tree/0 tree/1",
    )
