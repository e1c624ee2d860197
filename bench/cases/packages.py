"""What installs packages: those of Debian, into a system of their own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cases import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Scratch

NUMBER = 20
"""Packages."""
FOLDERS = (
    "etc/apt/apt.conf.d etc/apt/preferences.d var/lib/dpkg/info var/lib/dpkg/updates var/lib/apt/lists/partial "
    "var/cache/apt/archives/partial var/log/apt"
)
OPTIONS = "--root={root} --log={root}/log --force-not-root --force-script-chrootless"


def cases(scratch: Scratch) -> Iterator[Tool]:
    """Packages of one size, each with a script that takes a moment."""
    root = scratch.path / "root"
    options = OPTIONS.format(root=root)
    scratch.random("random", 16)
    scratch.sh(f"for folder in {FOLDERS}; do mkdir -p root/$folder; done; : > root/var/lib/dpkg/status; mkdir source")
    names = [f"pollprog-{number}" for number in range(NUMBER)]
    entries = [make(scratch, name) for name in names]
    (scratch.path / "source/Packages").write_text("".join(entries))
    remove = f"dpkg {options} -P {' '.join(names)}"
    yield Tool("dpkg", f"dpkg {options} -i {' '.join(f'source/{name}.deb' for name in names)}", "phases", before=remove)
    sure = " ".join(
        f"-o {one}"
        for one in (
            f"Dir={root}",
            f"Dir::State::status={root}/var/lib/dpkg/status",
            f"Dir::Log={root}/var/log/apt",
            "Debug::NoLocking=true",
            "Acquire::http::Dl-Limit=100000",
            "APT::Sandbox::User=root",
            *(f"DPkg::Options::={option}" for option in options.split()),
        )
    )
    with serving(scratch) as address:
        (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] {address} ./\n")
        scratch.sh(f"apt-get {sure} update")
        yield Tool(
            "apt",
            f"apt-get -y {sure} install {' '.join(names)}",
            "phases",
            before=f"{remove}; apt-get {sure} clean; apt-get {sure} -s install {names[0]}",
            blurred=r"(?m)^(?:Reading|Building) .*\n|Fetched.*|\(Read.*",
        )


@contextmanager
def serving(scratch: Scratch) -> Iterator[str]:
    """The address at which the packages can be had."""
    words = [
        sys.executable,
        "-u",
        "-m",
        "http.server",
        "0",
        "--bind",
        "127.0.0.1",
        "--directory",
        f"{scratch.path}/source",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split()[5]
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


def make(scratch: Scratch, name: str) -> str:
    """Make a package; what a list of packages says of it."""
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <a@example.org>\nDescription: a\n"
    place = scratch.path / name
    (place / "DEBIAN").mkdir(parents=True)
    (place / "DEBIAN/control").write_text(control)
    (place / "DEBIAN/postinst").write_text("#!/bin/sh\nsleep 0.1\n")
    (place / "DEBIAN/postinst").chmod(0o755)
    scratch.sh(f"cp random {name}/file-{name}; dpkg-deb -Znone -b {name} source/{name}.deb; rm -r {name}")
    data = (scratch.path / f"source/{name}.deb").read_bytes()
    return f"{control}Filename: ./{name}.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
