"""Programs that the tests watch: a test marked ``tool("dd")`` is skipped where dd is missing, and dd is named at the end.

With POLLPROG_REQUIRE_TOOLS=1 in the environment it fails instead, so that a machine that is meant to test everything does.
"""

from __future__ import annotations

import fcntl
import glob
import os
import re
import shlex
import shutil
import signal
import sys
import termios
from contextlib import suppress

import pytest

os.environ.pop(
    "PYTHONDONTWRITEBYTECODE", None
)  # each worker, and each process of the thousands, would compile all anew
sys.dont_write_bytecode = False

# Without a terminal the same is tested everywhere, and no bar is drawn into that of whoever tests.
if os.getsid(0) != os.getpid():
    with suppress(OSError), open("/dev/tty", "rb", buffering=0) as terminal:
        fcntl.ioctl(terminal, termios.TIOCNOTTY)

PACKAGES = {
    "7z": "p7zip-full",
    "apt-get": "apt",
    "b2sum": "coreutils",
    "base64": "coreutils",
    "badblocks": "e2fsprogs",
    "bash": "bash",
    "btrfs": "btrfs-progs",
    "borg": "borgbackup",
    "bunzip2": "bzip2",
    "busybox": "busybox-static",
    "bzcat": "bzip2",
    "cat": "coreutils",
    "cksum": "coreutils",
    "cmp": "diffutils",
    "cp": "coreutils",
    "cryptsetup": "cryptsetup-bin",
    "dd": "coreutils",
    "ddrescue": "gddrescue",
    "debugfs": "e2fsprogs",
    "dpkg-deb": "dpkg",
    "e2fsck": "e2fsprogs",
    "env": "coreutils",
    "find": "findutils",
    "gcc": "gcc",
    "git": "git",
    "gunzip": "gzip",
    "head": "coreutils",
    "initdb": "postgresql",
    "install": "coreutils",
    "lbunzip2": "lbzip2",
    "losetup": "mount",
    "lvs": "lvm2",
    "make": "make",
    "mariadb": "mariadb-client",
    "mariadbd": "mariadb-server",
    "md5sum": "coreutils",
    "mke2fs": "e2fsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext4": "e2fsprogs",
    "mksquashfs": "squashfs-tools",
    "mkntfs": "ntfs-3g",
    "mount": "mount",
    "mv": "coreutils",
    "mysqldump": "mariadb-client",
    "nbdcopy": "libnbd-bin",
    "nice": "coreutils",
    "ninja": "ninja-build",
    "nohup": "coreutils",
    "ntfsclone": "ntfs-3g",
    "partclone.dd": "partclone",
    "ocamlfind": "ocaml-findlib",
    "ocamlopt": "ocaml",
    "perl": "perl",
    "podchecker": "perl",
    "ps": "procps",
    "pg_basebackup": "postgresql-client",
    "pg_dump": "postgresql-client",
    "pg_dumpall": "postgresql-client",
    "pg_restore": "postgresql-client",
    "psql": "postgresql-client",
    "pv": "pv",
    "qemu-img": "qemu-utils",
    "resize2fs": "e2fsprogs",
    "script": "bsdutils",
    "ionice": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "sfdisk": "fdisk",
    "sha1sum": "coreutils",
    "sha224sum": "coreutils",
    "sha256sum": "coreutils",
    "sha384sum": "coreutils",
    "sha512sum": "coreutils",
    "shred": "coreutils",
    "sleep": "coreutils",
    "systemd-analyze": "systemd",
    "umount": "mount",
    "unsquashfs": "squashfs-tools",
    "sort": "coreutils",
    "split": "coreutils",
    "sqlite3": "sqlite3",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "sudo": "sudo",
    "unpigz": "pigz",
    "unshare": "util-linux",
    "unzstd": "zstd",
    "wc": "coreutils",
    "xz": "xz-utils",
    "yes": "coreutils",
    "zcat": "gzip",
    "zstdcat": "zstd",
}
"""Program to Debian package, where the two have different names or the package is not obvious; others have the same."""

WANTED = "not installed: "


def found(program: str) -> bool:
    """Whether this program is here; root's own are looked for too, in whatever PATH."""
    places = ["/usr/local/sbin", "/usr/sbin", "/sbin", *glob.glob("/usr/lib/postgresql/*/bin")]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *places])
    return shutil.which(program, path=path) is not None


def pytest_configure(config: pytest.Config) -> None:
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # those two the interpreter ignores itself
        if signal.getsignal(number) is signal.SIG_IGN:  # as nohup leaves them; what we test inherits them
            signal.signal(number, signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [name for mark in item.iter_markers("tool") for name in mark.args if not found(name)]
    if not missing:
        return
    reason = WANTED + ", ".join(sorted(missing))
    if os.environ.get("POLLPROG_REQUIRE_TOOLS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = [str(report.longrepr) for kind in ("skipped", "error") for report in terminalreporter.stats.get(kind, [])]
    named = (re.search(f"{WANTED}([^'\\n]+)", text) for text in told)
    missing = {name for match in named if match for name in match[1].split(", ")}
    if missing:
        packages = sorted({PACKAGES.get(name, name) for name in missing})
        terminalreporter.section("programs that were missing")
        terminalreporter.line(f"Not tested, for want of: {', '.join(sorted(missing))}. To have them tested too:")
        terminalreporter.line(f"    sudo apt-get install {shlex.join(packages)}")
