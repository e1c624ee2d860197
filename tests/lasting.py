"""For each operation of ours, work that lasts: about so much of it, in a folder that is best in memory."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20


class Zeroes(io.RawIOBase):
    """A file of nothing but zeroes."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def program(name: str) -> str:
    """Root's programs are not on everybody's path."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or name


def quietly(*words: str) -> None:
    """Run a program that has to end well, and is not worth reading."""
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done


class Place:
    """A folder with things to copy, pack and write over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = 0
        self._sleepers: list[subprocess.Popen[bytes]] = []

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def new(self, name: str) -> str:
        """A name that nothing has."""
        self.made += 1
        return self.path(f"{name}-{self.made}")

    def fresh(self, name: str) -> str:
        """A name for `ext` that nothing has."""
        return os.path.basename(self.new(name))

    def dense(self, size: int) -> str:
        """A file full of data, in a directory of its own."""
        path = self.folder / f"dense-{size}" / "data"
        if not path.exists():
            path.parent.mkdir()
            block = os.urandom(MIB)
            with path.open("wb") as file:
                for _ in range(size // MIB):
                    file.write(block)
        return str(path)

    def sparse(self, size: int) -> str:
        """A file of which nothing is there, in a directory of its own."""
        path = self.folder / f"sparse-{size}" / "data"
        if not path.exists():
            path.parent.mkdir()
            with path.open("wb") as file:
                file.truncate(size)
        return str(path)

    def many(self, size: int) -> str:
        """A directory with a file for each MiB."""
        path = self.folder / f"many-{size}"
        if not path.exists():
            path.mkdir()
            for number in range(size // MIB):
                (path / str(number)).write_bytes(os.urandom(MIB))
        return str(path)

    def archive(self, size: int) -> str:
        """A small archive that becomes large."""
        path = self.path(f"archive-{size}.tar.gz")
        if not os.path.exists(path):
            with tarfile.open(path, "w:gz", compresslevel=1) as archive:
                member = tarfile.TarInfo("zeroes")
                member.size = size
                archive.addfile(member, io.BufferedReader(Zeroes(), MIB))
        return path

    def ext(self, size: int, *options: str, name: str = "") -> str:
        """An image of an ext4, of which almost nothing is there; one of this name is made anew each time."""
        path = self.folder / (name or f"ext-{size}-{len(options)}")
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(size)
            subprocess.run([program("mke2fs"), "-q", "-F", "-t", "ext4", *options, path], check=True)
        return str(path)

    def disk(self, size: int, label: str = "gpt") -> str:
        """An image of a disk: a partition of 4 MiB with anything in it, and an ext4 with so much data."""
        path = self.folder / f"disk-{size}-{label}"
        if not path.exists():
            length = size + size // 8 + 32 * MIB
            part = self.ext(length, "-b", "4096", "-d", os.path.dirname(self.dense(size)), name="part")
            with path.open("wb") as file, open(part, "rb") as inner:
                file.truncate(length + 6 * MIB)
                script = (
                    f"label: {label}\nstart=2048, size={4 * MIB // 512}\nstart={5 * MIB // 512}, size={length // 512}\n"
                )
                subprocess.run([program("sfdisk"), "--quiet", path], input=script.encode(), check=True)
                file.seek(MIB)
                file.write(b"anything" * (MIB // 2))
                at = 0
                while at < length:
                    data = inner.read(MIB)
                    if data.strip(b"\0"):
                        file.seek(5 * MIB + at)
                        file.write(data)
                    at += len(data)
            os.unlink(part)
        return str(path)

    def ntfs(self, size: int) -> str:
        """An image of an NTFS, full of data."""
        path = self.folder / f"ntfs-{size}"
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(size + size // 8 + 16 * MIB)
            quietly(program("mkntfs"), "--quick", "--force", str(path))
            quietly(program("ntfscp"), "--force", str(path), self.dense(size), "data")
        return str(path)

    def empty(self) -> str:
        """A directory with nothing in it."""
        path = self.new("empty")
        os.mkdir(path)
        return path

    def sleeper(self, seconds: float) -> int:
        """A process that is nobody's job."""
        words = ["sh", "-c", f"sleep {seconds} & echo $!; wait"]  # which sees to it that its end is known
        self._sleepers.append(subprocess.Popen(words, stdout=subprocess.PIPE))
        out = self._sleepers[-1].stdout
        assert out is not None
        return int(out.readline())

    def names(self) -> set[str]:
        """What there is at the top."""
        return set(os.listdir(self.folder))

    def clear(self) -> None:
        """Remove what operations have made: everything that has a number at its end."""
        for number in range(1, self.made + 1):
            for name in self.folder.glob(f"*-{number}"):
                if name.name.split("-")[0] not in ("dense", "sparse", "many", "archive", "ext", "ntfs", "disk"):
                    shutil.rmtree(name) if name.is_dir() else name.unlink()
        self.made = 0

    def close(self) -> None:
        for sleeper in self._sleepers:
            sleeper.kill()
            sleeper.communicate()


LASTING: dict[str, Callable[[Place, int], dict[str, Any]]] = {
    "CopyFile": lambda place, size: {"source": place.dense(size), "destination": place.new("file")},
    "CopyTree": lambda place, size: {"source": os.path.dirname(place.dense(size)), "destination": place.new("tree")},
    "CopySize": lambda place, size: {"source": place.dense(size), "destination": place.new("stretch")},
    "Fill": lambda place, size: {"path": place.new("fill"), "size": size, "pattern": "abc"},
    "Zero": lambda place, size: {"path": place.new("zero"), "size": size},
    "ZeroDevice": lambda place, size: {"device": place.sparse(size)},
    "Checksum": lambda place, size: {"path": place.sparse(4 * size), "algorithm": "sha512"},
    "Run": lambda place, size: {"argv": ["sleep", str(size / MIB / 300)]},
    "Dd": lambda place, size: {"source": "/dev/zero", "destination": place.new("dd"), "count": size // MIB},
    "TarIn": lambda place, size: {"archive": place.archive(size // 2), "directory": place.empty()},
    "TarOut": lambda place, size: {
        "directory": os.path.dirname(place.sparse(size)), "archive": place.new("tar"), "compression": "gzip",
    },
    "CompressOut": lambda place, size: {"source": place.sparse(size), "destination": place.new("compressed")},
    "Rsync": lambda place, size: {
        "source": place.many(64 * MIB), "destination": place.empty(), "limit": 64 * MIB * 300 * MIB // size,
    },
    "CheckFilesystem": lambda place, size: {
        "device": place.ext(1024 * size, "-O", "^metadata_csum,^uninit_bg", "-E", "lazy_itable_init=0"), "force": True,
    },
    "MakeFilesystem": lambda place, size: {
        "device": place.new("made"), "size": 4096 * size, "block_size": 1024, "lazy": False,
    },
    "ResizeFilesystem": lambda place, size: {"device": place.ext(128 * size, name=place.fresh("resized")), "size": 64 * size},
    "ZeroFree": lambda place, size: {"device": place.ext(16 * size)},
    "ConvertImage": lambda place, size: {"source": place.dense(size), "destination": place.new("image"), "compress": True},
    "NtfsClone": lambda place, size: {"source": place.ntfs(size), "destination": place.new("clone"), "how": "save"},
    "ResizeImage": lambda place, size: {
        "source": place.disk(size // 2), "destination": place.new("resized"), "size": 16 * size,
    },
    "Observe": lambda place, size: {"pid": place.sleeper(size / MIB / 300)},
}  # fmt: skip
"""The parameters of a call that takes some time for each so many bytes."""


@contextmanager
def place() -> Iterator[Place]:
    """Such a folder, in memory if there is any."""
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shm, prefix="pollprog-test-") as folder:
        made = Place(Path(folder))
        try:
            yield made
        finally:
            made.close()
            with suppress(OSError):
                os.chmod(folder, 0o700)
