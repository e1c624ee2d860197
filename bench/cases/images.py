"""What makes and copies images of discs, disks and file systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Each with a file for the disk."""
    scratch.tree("tree", 3072)
    scratch.text("text", 224)
    yield Tool("qemu-img", "qemu-img convert -c -O qcow2 text out", "steady", "out")
    yield from of_qemu(scratch)
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
        "squashfs",
        "mksquashfs text out -processors 1 -comp gzip -noappend -all-time 0 -mkfs-time 0",
        "steady",
        "out",
        terminal=True,
    )
    scratch.sh("mksquashfs $(yes text | head -n 5) packed -no-hardlinks -no-duplicates -Xcompression-level 1")
    yield Tool(
        "squashfs", "unsquashfs -processors 1 -d out packed", "disk", "out/text_1", "rm -rf out; sync", terminal=True
    )
    scratch.sh("rm -rf out")
    yield Tool(
        "partclone",
        "partclone.dd -f 1 -L log -s image -o out",
        "disk",
        "out",
        "rm -f out; test -e image || cat random random random random > image",
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


def of_qemu(scratch: Scratch) -> Iterator[Tool]:
    """Between disks of 2 GiB, of which one is full and one is empty; at a limited rate, where qemu-img can be told one."""
    scratch.sh("cat tree/0 tree/1 tree/2 > raw; qemu-img convert -O qcow2 raw full")
    yield Tool("qemu-img", "qemu-img convert -r 300M -O raw full out", "steady", "out", "rm -f out")
    scratch.sh("rm out; qemu-img create -f qcow2 empty $(stat -c %s raw)")
    overlay = "qemu-img create -f qcow2 -b full -F qcow2 top"
    yield Tool(
        "qemu-img", "qemu-img rebase -t directsync -b empty -F qcow2 top", "disk", "top", f"rm -f top; {overlay}"
    )
    commit = "rm -f base; cp empty base; qemu-img rebase -u -b base -F qcow2 top"
    scratch.sh("mv full top; rm raw")
    yield Tool("qemu-img", "qemu-img commit -r 300M -d top", "steady", before=commit)
    scratch.sh("rm -f top base empty")
