"""What works on file systems and on the devices below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accuracy import scratch_folder

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch

IMAGE = "rm -f image; cat random random > image"
MAKE = "mke2fs -F -t ext4 -U 6e1a2b62-1a39-4c5b-8a43-000000000001 -q"
PERCENT = r"[ \d.]+% done.*?errors\)|\x08+"


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Each with an image file for the device."""
    scratch.tree("tree", 2048)
    yield Tool("badblocks", "badblocks -s image", "steady", before=IMAGE, blurred=PERCENT)
    yield Tool("badblocks", "badblocks -w image", "disk", "image", "truncate -s 512M image", PERCENT)
    yield Tool(
        "zerofree",
        "zerofree -v image",
        "steady",
        before=f"test -e used || {{ cat random random random random > used; {MAKE} -b 1024 -E nodiscard used; }}; cp used image",
    )
    yield Tool(
        "mke2fs",
        f"{MAKE[:-3]} -D -E lazy_itable_init=0,nodiscard image",  # to the disk itself: memory would take the first half at once
        "phases",
        before="rm -f image; truncate -s 24G image",
        blurred=r"[ \d]+/\d+|\x08+|UUID.*",
    )
    scratch.sh("rm -f image")
    with scratch_folder("/dev/shm") as memory:
        yield Tool(
            "e2fsck",
            f"e2fsck -fy {memory}/image",
            "phases",
            before=f"test -e {memory}/image || {{ truncate -s 512G {memory}/image; mke2fs -q -F -t ext2 -i 4096 {memory}/image; }}",
        )
    yield Tool(
        "resize2fs",
        "resize2fs -p -M image",
        "phases",
        before=f"rm -f image; truncate -s 3G image; {MAKE} -b 1024 -d tree image; debugfs -w -R 'rm 0' image; e2fsck -fy image; true",
    )
    yield Tool("shred", "shred -n 2 image", "disk", before=IMAGE)
    secret = "--key-file key --pbkdf pbkdf2 --pbkdf-force-iterations 1000"
    scratch.sh(f"head -c 32 /dev/urandom > key; truncate -s 2064M luks; cryptsetup -q luksFormat {secret} luks")
    yield Tool(
        "cryptsetup",
        f"cryptsetup reencrypt --force-offline-reencrypt {secret} --hotzone-size 2M image",
        "disk",
        before="rm -f image; cp luks image",
        blurred=r"(?:\x1b\[2K\r)?(?:Progress|Finished)[^\n]*\n?",
    )
