"""What makes and copies images of discs, disks and file systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Each with a file for the disk."""
    scratch.tree("tree", 2048)
    scratch.text("text", 96)
    yield Tool("qemu-img", "qemu-img convert -c -O qcow2 text out", "steady", "out")
    yield Tool(
        "genisoimage",
        "genisoimage -R -o out tree",
        "disk",
        before="rm -f out",
        blurred=r"estimate finish.*|Max brk.*|.*% done",
    )
    yield Tool(
        "xorriso",
        "xorriso -as mkisofs -o out tree",
        "disk",
        before="rm -f out",
        blurred=r"xorriso : UPDATE.*\n|[\d.]+g free",
    )
    yield Tool(
        "mksquashfs",
        "mksquashfs text out -processors 1 -comp gzip -noappend -all-time 0 -mkfs-time 0",
        "steady",
        "out",
        terminal=True,
    )
    yield Tool(
        "partclone",
        "partclone.dd -f 1 -L log -s image -o out",
        "disk",
        "out",
        "rm -f image out; cat random random > image",
        r"(?s)\r.*Total Time.*?\n",
    )
    yield Tool(
        "ntfsclone",
        "ntfsclone -s -O out ntfs",
        "disk",
        "out",
        "rm -f out; test -e ntfs || { truncate -s 8G ntfs; mkntfs -Q -F -s 512 -p 0 -H 0 -S 0 ntfs; cat random random > data; "
        "ntfscp -f -q ntfs data data; rm data; }",
    )
