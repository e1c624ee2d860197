"""A process tree as the kernel tells it: identity, io counters, open files, children.

A `Process` holds the descriptor of its /proc directory, not a number: when the process is gone, a look through it fails,
whoever has got the number since. Descriptors are kept for files under /proc only. The process's own files are looked at
afresh each time through ``fd/N``: a kept one would hold a pipe, a deleted file or a mount.

``root`` is where /proc is, so that a recording can stand in for it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from pollprog.errors import ProcessError

__all__ = [
    "Io",
    "OpenFile",
    "Process",
    "ProcessTree",
    "Stat",
    "block_device_size",
    "exit_status",
    "key_of",
    "open_process",
    "parse_io",
    "parse_stat",
]

MOST_PROCESSES = 512
"""A tree is followed no further than this: each costs a descriptor, of which a process usually may have 1024."""
MOST_KEPT = 64
"""So many processes of a tree have their files under /proc kept open; the others' are opened at each look."""
KERNEL_THREAD = 0x00200000
"""PF_KTHREAD in the flags field of /proc/PID/stat."""
WAITS, EXIT_CODE = 35 - 3, 52 - 3
"""Where wchan and exit_code are in /proc/PID/stat, behind the name (proc(5) numbers them with it and the pid)."""
O_PATH = 0o10000000
"""Open flag: a name, nothing that can be read or written."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat says."""

    name: str
    state: str
    """One letter: R running, S sleeping, D in the kernel, T stopped, t traced, Z ended and not reaped."""
    parent: int
    flags: int
    ticks: int
    """CPU time of the process and of its reaped children, in clock ticks."""
    threads: int
    start: int
    """When it started, in clock ticks since boot: with the pid, its identity."""

    @property
    def ended(self) -> bool:
        """Nothing of it runs any more. A process whose first thread has ended, and others not, says Z too."""
        return self.state in "ZX" and self.threads <= 1


@dataclass(frozen=True, slots=True)
class Io:
    """What /proc/PID/io says, in bytes; children that were reaped are included."""

    rchar: int
    wchar: int
    read_bytes: int
    write_bytes: int


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file or block device that a process holds open."""

    fd: int
    device: int
    inode: int
    size: int
    """Bytes; of a block device too."""
    blocks: int
    """Bytes that are allocated."""
    position: int
    flags: int
    """As open(2) has them."""

    @property
    def key(self) -> tuple[int, int]:
        """What tells this file from every other."""
        return self.device, self.inode

    @property
    def reads(self) -> bool:
        """Opened for reading only."""
        return self.flags & os.O_ACCMODE == os.O_RDONLY

    @property
    def writes(self) -> bool:
        """Opened for writing, perhaps for reading too."""
        return not self.reads


def parse_stat(data: bytes) -> Stat:
    """Parse /proc/PID/stat (proc(5)); the name may hold anything, brackets and spaces too. ValueError if it is none."""
    head, found, tail = data.rpartition(b")")
    _, opened, name = head.partition(b"(")
    fields = tail.split()
    if not found or not opened or len(fields) < 20:
        raise ValueError("not a /proc/PID/stat line")
    return Stat(
        name=os.fsdecode(name),
        state=fields[0].decode("ascii", "replace"),
        parent=int(fields[1]),
        flags=int(fields[6]),
        ticks=sum(int(field) for field in fields[11:15]),
        threads=int(fields[17]),
        start=int(fields[19]),
    )


def parse_io(data: bytes) -> Io:
    """Parse /proc/PID/io. ValueError if it is none."""
    words = data.split()
    fields = dict(zip(words[::2], words[1::2], strict=False))
    try:
        rchar, wchar = int(fields[b"rchar:"]), int(fields[b"wchar:"])
        return Io(rchar, wchar, int(fields[b"read_bytes:"]), int(fields[b"write_bytes:"]))
    except KeyError as error:
        raise ValueError("not a /proc/PID/io file") from error


def block_device_size(device: int) -> int:
    """Size in bytes of the block device with this number, from /sys, without opening it; 0 where /sys does not say."""
    try:
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/size", "rb") as file:
            return int(file.read()) * 512
    except (OSError, ValueError):
        return 0


class Process:
    """One process. Every look may raise ProcessLookupError (it is gone) or PermissionError (it is somebody else's)."""

    __slots__ = ("_children", "_directory", "_keeps", "_kept", "_paths", "_pidfd", "_told", "pid", "start")

    def __init__(self, pid: int, *, root: str = "/proc", keep: bool = True) -> None:
        self.pid = pid
        self._keeps = keep
        self._kept: dict[str, int] = {}
        self._children = f"task/{pid}/children"
        self._told: tuple[bytes, Stat] | None = None
        self._paths: dict[tuple[int, int, int], tuple[str, int]] = {}
        self._pidfd: int | None = None
        self._directory = -1
        if root == "/proc" and not proc_is_ours():
            raise ProcessLookupError(f"no process {pid}: /proc is that of another pid namespace")
        try:
            self._directory = os.open(f"{root}/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.start = self.stat().start
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError) as error:
            self.close()
            raise ProcessLookupError(f"no process {pid}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give back the descriptors; the process is left alone."""
        for descriptor in (*self._kept.values(), self._directory, -1 if self._pidfd is None else self._pidfd):
            if descriptor >= 0:
                os.close(descriptor)
        self._kept.clear()
        self._directory, self._pidfd = -1, None

    # -- looks through a kept descriptor

    def _look(self, name: str) -> bytes:
        """The present contents of one of our files under /proc."""
        if not self._keeps:
            return self._read(name)
        descriptor = self._kept.get(name)
        if descriptor is None:
            descriptor = self._open(name)
            self._kept[name] = descriptor
        data = chunk = os.pread(descriptor, 65536, 0)
        while len(chunk) > 2048:  # a long list comes a page at a time
            chunk = os.pread(descriptor, 65536, len(data))
            data += chunk
        return data

    def _open(self, name: str) -> int:
        try:
            return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError as error:
            raise ProcessLookupError(f"process {self.pid} is gone") from error

    def stat(self) -> Stat:
        """Name, state, CPU time; raises ProcessLookupError when the process is gone.

        It is the same object as the last one only if the process has not run since. Then its counters, its children and what
        its descriptors stand for are the same too; most processes wait, most of the time.
        """
        ran = self._ran()
        if ran and self._told is not None and ran == self._told[0]:
            return self._told[1]
        told = parse_stat(self._look("stat"))
        waits = told.threads == 1 and told.state in "SDTt"
        self._told = ran if waits else b"", told
        return told

    def outcome(self) -> tuple[int | None, int | None] | None:
        """How it ended: (exit code, signal), as long as its parent has not asked for it; else, and where we may not know, None."""
        try:
            fields = self._read("stat").rpartition(b")")[2].split()
        except OSError:
            return None
        if len(fields) <= EXIT_CODE or fields[0] != b"Z":
            return None
        status = int(fields[EXIT_CODE])
        # Who may not know is told 0, and so of whether it waits. Of what has ended, that is said to be so.
        return decoded(status) if status or fields[WAITS] != b"0" else None

    def _ran(self) -> bytes:
        """What changes whenever the first thread runs; nothing where the kernel does not tell."""
        try:
            data = self._look("schedstat")
        except OSError:
            return b""
        return data if data.strip(b"0 \n") else b""

    def io(self) -> Io | None:
        """The io counters; None where we may not see them, or the process has ended."""
        try:
            return parse_io(self._look("io"))
        except (OSError, ValueError):
            return None

    def children(self, *, threads: int = 1) -> list[int]:
        """The pids of its live children; `threads` as in `Stat`: each thread has children of its own."""
        try:
            found = [int(word) for word in self._look(self._children).split()]
        except OSError:
            found = []
        if threads > 1:
            with suppress(OSError):
                for name in self._list("task"):
                    if name != str(self.pid):
                        with suppress(OSError):
                            found += [int(word) for word in self._read(f"task/{name}/children").split()]
        return found

    # -- looks that open afresh

    def _read(self, name: str, limit: int = 1 << 20) -> bytes:
        descriptor = self._open(name)
        try:
            chunks = []
            while limit > 0 and (chunk := os.read(descriptor, min(limit, 65536))):
                chunks.append(chunk)
                limit -= len(chunk)
            return b"".join(chunks)
        finally:
            os.close(descriptor)

    def _list(self, name: str) -> list[str]:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._directory)
        try:
            return os.listdir(descriptor)
        finally:
            os.close(descriptor)

    def descriptors(self) -> list[int]:
        """The numbers of its open descriptors, of whatever kind. PermissionError where we may not see them."""
        return sorted(int(name) for name in self._list("fd"))

    def files(self) -> list[OpenFile]:
        """The regular files and block devices that it holds open, by descriptor; empty where we may not see them."""
        try:
            descriptors = self.descriptors()
        except OSError:
            return []
        return [file for fd in descriptors if (file := self.file(fd)) is not None]

    def again(self, files: list[OpenFile]) -> list[OpenFile]:
        """The same files as they are now, of a process that has not run since they were looked at."""
        return [now for file in files if (now := self.file(file.fd)) is not None]

    def file(self, fd: int) -> OpenFile | None:
        """One of its open files; None if it is neither a regular file nor a block device, or is closed by now."""
        try:
            info = os.stat(f"fd/{fd}", dir_fd=self._directory)
            regular = stat.S_ISREG(info.st_mode)
            if not regular and not stat.S_ISBLK(info.st_mode):
                return None
            descriptor = self._open(f"fdinfo/{fd}")
            try:
                position, flags, inode = parse_fdinfo(os.read(descriptor, 4096))
            finally:
                os.close(descriptor)
        except (OSError, ValueError):
            return None
        if flags & O_PATH:
            return None
        if regular:
            file = OpenFile(fd, info.st_dev, info.st_ino, info.st_size, info.st_blocks * 512, position, flags)
        else:
            size = block_device_size(info.st_rdev)
            file = OpenFile(fd, info.st_rdev, 0, size, size, position, flags)
        return file if self._is_one(file, inode) else None

    def _is_one(self, file: OpenFile, inode: int) -> bool:
        """Whether its stat and its fdinfo tell of one file: in between another may have got the descriptor.

        At first sight it has to be there still; from then on its fdinfo has to name the same inode (not everywhere that of stat).
        """
        key = (file.fd, *file.key)
        if key in self._paths:
            return self._paths[key][1] == inode
        try:
            path = os.readlink(f"fd/{file.fd}", dir_fd=self._directory)
        except OSError:
            path = ""
        info = self.stream(file.fd)
        if info is None or key_of(info) != file.key:
            return False
        self._paths[key] = path, inode
        return True

    def path(self, file: OpenFile) -> str:
        """The name of an open file as the kernel tells it, looked up once; '' where it cannot be told."""
        return self._paths.get((file.fd, *file.key), ("", 0))[0]

    def read(self, file: OpenFile, start: int, size: int) -> bytes:
        """What stands in one of its files, from `start`. OSError where we may not read it, or it is another file by now."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(f"fd/{file.fd}", flags, dir_fd=self._directory)
        try:
            if key_of(os.fstat(descriptor)) != file.key:
                raise FileNotFoundError(f"descriptor {file.fd} is another file by now")
            return os.pread(descriptor, size, start)
        finally:
            os.close(descriptor)

    def stream(self, fd: int) -> os.stat_result | None:
        """What stands behind a descriptor, of whatever kind; None if it is closed or hidden from us."""
        try:
            return os.stat(f"fd/{fd}", dir_fd=self._directory)
        except OSError:
            return None

    def argv(self) -> list[str]:
        """Its words; empty for one that has ended or is the kernel's own."""
        try:
            data = self._read("cmdline")
        except OSError:
            return []
        return [os.fsdecode(word) for word in data.removesuffix(b"\0").split(b"\0")] if data else []

    def environ(self) -> dict[str, str]:
        """The environment that it was started with; empty where we may not see it."""
        try:
            entries = self._read("environ").split(b"\0")
        except OSError:
            return {}
        pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
        return {name: value for name, _, value in pairs}

    def link(self, name: str) -> str:
        """Where ``exe`` or ``cwd`` points; '' where we may not see it."""
        try:
            return os.readlink(name, dir_fd=self._directory)
        except OSError:
            return ""

    def inside(self, path: str) -> str:
        """A path of ours for a path of its own: relative ones start at its working directory."""
        return os.path.join(self.link("cwd") or "/", path)

    # -- identity and signals

    def uid(self) -> int | None:
        """Whose it is; None where that cannot be told."""
        try:
            for line in self._look("status").splitlines():
                if line.startswith(b"Uid:"):
                    return int(line.split()[1])
        except (OSError, ValueError, IndexError):
            pass
        return None

    def leader(self) -> int | None:
        """The number of the process that it is a thread of, its own for a process; None where that cannot be told."""
        try:
            for line in self._look("status").splitlines():
                if line.startswith(b"Tgid:"):
                    return int(line.split()[1])
        except (OSError, ValueError, IndexError):
            pass
        return None

    def catches(self, number: int) -> bool:
        """Whether it has a handler for this signal at this moment (an exec takes handlers away)."""
        try:
            for line in self._look("status").splitlines():
                if line.startswith(b"SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
        except (OSError, ValueError, IndexError):
            pass
        return False

    @property
    def pidfd(self) -> int:
        """A pidfd of this very process; ProcessLookupError if it is gone."""
        if self._pidfd is None:
            pidfd = os.pidfd_open(self.pid)
            try:
                if self.stat().start != self.start:
                    raise ProcessLookupError(f"process {self.pid} is gone")
            except BaseException:
                os.close(pidfd)
                raise
            self._pidfd = pidfd
        return self._pidfd

    def send(self, number: int) -> None:
        """Send a signal to this very process. ProcessLookupError, PermissionError."""
        signal.pidfd_send_signal(self.pidfd, number)


def key_of(info: os.stat_result) -> tuple[int, int]:
    """Which file or block device it is that a stat tells of, as `OpenFile.key`."""
    return (info.st_rdev, 0) if stat.S_ISBLK(info.st_mode) else (info.st_dev, info.st_ino)


def parse_fdinfo(data: bytes) -> tuple[int, int, int]:
    """Position, open flags and inode from /proc/PID/fdinfo/N; inode 0 before Linux 5.14. ValueError if it says neither of the first two."""
    words = data.split(None, 8)
    if words[0:3:2] != [b"pos:", b"flags:"] or len(words) < 4:
        raise ValueError("not a /proc/PID/fdinfo file")
    return int(words[1]), int(words[3], 8), int(words[7]) if words[6:7] == [b"ino:"] and len(words) > 7 else 0


@cache
def proc_is_ours() -> bool:
    """Whether the numbers in /proc are those that our system calls mean: not after ``unshare --pid`` alone."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return True  # it will be found missing file by file


def open_process(pid: int, *, root: str = "/proc") -> Process:
    """The process with this number, if it can be watched; ProcessError says in a line why not, and what to do."""
    if root == "/proc" and not proc_is_ours():
        raise ProcessError("/proc is that of another pid namespace; mount one for this: mount -t proc proc /proc")
    try:
        process = Process(pid, root=root)
    except (ProcessLookupError, OSError, ValueError) as error:
        raise ProcessError(f"there is no process {pid}") from error
    try:
        told = process.stat()
        if told.flags & KERNEL_THREAD:
            raise ProcessError(f"process {pid} ({told.name}) is a thread of the kernel: it has no files to look at")
        if (leader := process.leader()) not in (pid, None):
            raise ProcessError(f"{pid} is a thread of process {leader} ({told.name}): watch that")
        if told.ended:
            raise ProcessError(f"process {pid} ({told.name}) has already ended{how_in_words(process.outcome())}")
        process.descriptors()
    except PermissionError as error:
        owner = process.uid()
        process.close()
        raise ProcessError(
            f"process {pid} belongs to another user (uid {owner}); to watch it, become that user or root, as with sudo"
        ) from error
    except ProcessLookupError as error:
        process.close()
        raise ProcessError(f"there is no process {pid}") from error
    except BaseException:
        process.close()
        raise
    return process


def how_in_words(ended: tuple[int | None, int | None] | None) -> str:
    """How a sentence goes on that says of a process that it has ended."""
    if ended is None:
        return ""
    code, number = ended
    return f", with exit status {code}" if number is None else f", killed by signal {number}"


class ProcessTree:
    """A process and all that descend from it; one that was once in the tree stays, whoever adopts it."""

    __slots__ = ("_children", "_known", "_root", "root")

    def __init__(self, root: Process, *, proc: str = "/proc") -> None:
        self.root = root
        self._root = proc
        self._known: dict[int, Process] = {root.pid: root}
        self._children: dict[int, tuple[Stat, list[int]]] = {}

    def look(self) -> list[tuple[Process, Stat]]:
        """Every live process of the tree with what its stat says now, parents first."""
        found: dict[int, tuple[Process, Stat]] = {}
        pending = list(self._known)
        while pending and len(found) < MOST_PROCESSES:
            pid = pending.pop(0)
            if pid in found:
                continue
            process = self._known.get(pid)
            try:
                if process is None:
                    keep = len(self._known) < MOST_KEPT
                    process = self._known[pid] = Process(pid, root=self._root, keep=keep)
                told = process.stat()
                if told.ended:
                    continue
                found[pid] = process, told
                pending += self._children_of(process, told)
            except (OSError, ValueError):
                self._forget(pid)
        for pid in [pid for pid in self._known if pid not in found]:
            self._forget(pid)
        return list(found.values())

    def _children_of(self, process: Process, told: Stat) -> list[int]:
        last = self._children.get(process.pid)
        if last is None or last[0] is not told:
            last = self._children[process.pid] = told, process.children(threads=told.threads)
        return last[1]

    def _forget(self, pid: int) -> None:
        self._children.pop(pid, None)
        process = self._known.pop(pid, None)
        if process is not None and process is not self.root:
            process.close()

    def close(self) -> None:
        """Give back every descriptor but those of the root, which is its owner's."""
        for pid in list(self._known):
            self._forget(pid)


PIDFD_GET_INFO = 0xC040FF0B
"""ioctl on a pidfd, Linux 6.13; struct pidfd_info of 64 bytes (include/uapi/linux/pidfd.h)."""
PIDFD_INFO_EXIT = 1 << 3
"""In the mask at offset 0, Linux 6.15: the wait status is asked for, and is there at offset 60."""


def exit_status(pidfd: int) -> tuple[int | None, int | None] | None:
    """How a process ended that is not our child: (exit code, signal); None where the kernel does not tell.

    It tells once the parent has reaped the process, on Linux 6.15 and newer.
    """
    info = bytearray(64)
    struct.pack_into("=Q", info, 0, PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", info, 0)
    if not mask & PIDFD_INFO_EXIT:
        return None
    (status,) = struct.unpack_from("=i", info, 60)
    return decoded(status)


def decoded(status: int) -> tuple[int | None, int | None]:
    """What a wait status means: (exit code, signal)."""
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None
