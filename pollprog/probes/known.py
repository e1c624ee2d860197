"""Programs that evidence measures as they are, and that have no tool of their own: rows for the docs, and for ``pollprog probes``.

Each was run under `run` and `attach`, and what is said here was seen; `tests/test_known.py` runs them again.
"""

from __future__ import annotations

from pollprog.probes.row import Row

__all__ = ["KNOWN"]

SAME = "the same"
POSITION = "by evidence: the position in its input"
AHEAD = f"{POSITION}; with threads it reads ahead of its work, so at most that much is done"
READ = "by evidence: the position in one input; of several, or of a folder, bytes read"
SIZES = "the sizes of the files that are named"
TREES = f"{SIZES}; folders are walked beside the work"

KNOWN = (
    Row(
        "cp",
        ("cp", "install", "cat"),
        "by evidence: the size of the output, where one call copies all; else the position in the input; of several, or of a "
        "folder, bytes read",
        SAME,
        TREES,
        "What is skipped (`cp -u`, `-n`) does not count as done.",
    ),
    Row(
        "mv",
        ("mv",),
        "by evidence, across file systems: as `cp`; on one file system it only renames",
        SAME,
        TREES,
        "What was moved is removed at the end, all at once: then it is finishing.",
    ),
    Row(
        "tar",
        ("tar",),
        "by evidence: what goes in by bytes read of the files and folders that are named, whatever the compressor (gzip, bzip2, xz, "
        "zstd); what comes out by the position in the archive",
        SAME,
        f"{TREES}, from `-C` where that is given; for `x` and `t` the size of the archive",
        "What is left out (`--exclude`, `-T` lists, `--newer`) is not known beforehand: with `--exclude` the percentage is too low, "
        "with `-T` there is no total.",
    ),
    Row(
        "gzip",
        ("gzip", "gunzip", "zcat", "bzip2", "bunzip2", "bzcat", "lz4"),
        READ,
        SAME,
        SIZES,
        "Of a pipe there is no total, unless a program before it in the pipeline reads a file.",
    ),
    Row(
        "zstd",
        ("zstd", "unzstd", "zstdcat", "pigz", "unpigz", "lbzip2", "lbunzip2"),
        AHEAD,
        SAME,
        SIZES,
        "At high levels `zstd` is ahead by many MiB: then it is finishing for a while. An old output that is named and replaced (`-f -o`) "
        "may count as one more input.",
    ),
    Row(
        "zip",
        ("zip", "unzip"),
        "by evidence: what goes in by bytes read of the files and folders that are named; what comes out by the position in the archive",
        SAME,
        f"{TREES}; for `unzip` the size of the archive",
        "What is left out (`-x`, or part of an archive) does not count as done.",
    ),
    Row(
        "cmp",
        ("cmp", "grep", "wc", "base64", "split"),
        READ,
        SAME,
        TREES,
        "One that stops at what it has found, as `cmp` and `grep -q` do, ends before the whole.",
    ),
    Row(
        "gpg",
        ("gpg",),
        f"{POSITION}; what it says itself (`--status-fd`) comes once a second, and later",
        SAME,
        SIZES,
        "Of what comes from a pipe there is no total, unless a program before it in the pipeline reads a file.",
    ),
    Row(
        "pg_dump",
        ("pg_dump", "pg_dumpall"),
        "by evidence: what it has written",
        SAME,
        "none: nobody knows how large a dump becomes; say `--total` if you know the last one",
        "",
    ),
    Row(
        "pg_restore",
        ("pg_restore",),
        f"{POSITION}; of a folder (`-Fd`), bytes read",
        SAME,
        "the size of the archive; of a folder the sizes of its files",
        "Indexes are built when all is read: then it is finishing. With `-j` it is what one of its processes has read: too low.",
    ),
    Row(
        "mysqldump",
        ("mysqldump", "mariadb-dump"),
        "by evidence: what it has written; of one that is packed in the same pipeline (`| gzip > f`) the packed size",
        SAME,
        "none: only the server could tell it, and what it says of its tables is no more than an estimate; say `--total` if you know "
        "the last one",
        "What is packed to less than an eighth is told as what all have written, the pipe's bytes too. With `--tab` the server writes the "
        "files: nothing is told. `-v` says which table it is at, not how far.",
    ),
    Row(
        "mysql",
        ("mysql", "mariadb"),
        f"{POSITION}: a dump that is put back (`mysql db < dump.sql`)",
        SAME,
        "the size of the dump; of `zcat dump.gz | mysql db` that of the packed file",
        "What the statements themselves take does not count: a long one stands still. Of one that waits for what is typed nothing is told.",
    ),
)
