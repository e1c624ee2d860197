"""``partclone``: the percentage of the blocks in use that it prints, each second or two; before that, the one of their map, with weights.

It is heard on standard error, in a terminal too, unless that is drawn with ``-N``; in a log (``2>log``) it is read from the first look on. Nothing
is added. What it says in its first second (1 %) is not believed, so a short run says nothing before its end.
"""

from __future__ import annotations

from pollprog.probes.program import Program, has_option, listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

MAP, BLOCKS = "the map of blocks", "blocks"
KINDS = (
    "apfs", "btrfs", "chkimg", "dd", "exfat", "ext2", "ext3", "ext4", "ext4dev", "extfs", "f2fs", "fat", "fat12", "fat16", "fat32", "hfs+",
    "hfsp", "hfsplus", "imager", "jfs", "minix", "nilfs2", "ntfs", "reiser4", "reiserfs", "restore", "ufs", "vfat", "vmfs", "xfs",
)  # fmt: skip


class Partclone(Program):
    """Knows partclone by each of its names."""

    name = "partclone"
    programs = frozenset(f"partclone.{kind}" for kind in KINDS)
    launched = "by the percentage that it prints; with `-N` and `-q` by evidence"
    attached = "by the same, where it goes to a file (`2>log`); else by evidence"
    totals = "the blocks in use; the map of blocks, which comes before, has a weight"
    wrong = "In English only. What it syncs at the end has no percentage."

    def prepare(self, command: Command) -> Command:
        """The same command; what it prints is heard, if it prints lines."""
        if has_option(command.argv, "Nq", ("--ncurses", "--quiet")):
            return command
        return listening(command, 2)

    def probe(self, target: Target) -> Probe:
        """By its percentages: that of the map has no rate."""
        from pollprog.probes.logged import said
        from pollprog.probes.records import Rule

        share = rb"Elapsed: [0-9:]+, Remaining: [0-9:]+, Completed: +(?P<percent>[0-9]{1,3}\.[0-9]{2})%"
        rules = [Rule(share, phase=MAP), Rule(share + rb",(?! *0\.00byte/) .*", phase=BLOCKS)]
        return said(target, *rules, source="partclone", streams=(2,), weights={MAP: 3, BLOCKS: 97})


TOOL = Partclone()
