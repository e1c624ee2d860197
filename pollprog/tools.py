"""Which programs have a plugin, and how one is found: by the program's name, importing only the match.

This is on the path to a command's start, so nothing here imports a plugin that is not asked for; and strangers' plugins, which have to
be looked for, are found by `offers`, once the command runs, or by a name that is none of ours.
"""

from __future__ import annotations

import importlib
import os
import re
from functools import partial

from pollprog import declared
from pollprog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from pollprog.launch import Command
    from pollprog.probes import Tool

__all__ = [
    "OURS",
    "PROBES",
    "RESOURCES",
    "TOOLS",
    "candidates",
    "check",
    "check_resource",
    "find",
    "load",
    "named",
    "offers",
    "prepare",
    "prepared",
    "program_names",
]

OURS = {
    "7z": "7z 7za 7zr 7zz",
    "apt": "apt-get apt",
    "badblocks": "badblocks",
    "cryptsetup": "cryptsetup",
    "curl": "curl",
    "dd": "dd",
    "ddrescue": "ddrescue",
    "dpkg": "dpkg",
    "e2fsck": "e2fsck fsck.ext2 fsck.ext3 fsck.ext4",
    "ffmpeg": "ffmpeg",
    "genisoimage": "genisoimage mkisofs",
    "git": "git",
    "head": "head",
    "make": "make gmake cmake",
    "mke2fs": "mke2fs mkfs.ext2 mkfs.ext3 mkfs.ext4",
    "nbdcopy": "nbdcopy",
    "nice": "nice ionice time",
    "ninja": "ninja ninja-build samu",
    "ntfsclone": "ntfsclone",
    "partclone": "partclone partclone.apfs partclone.btrfs partclone.chkimg partclone.dd partclone.exfat partclone.ext2 partclone.ext3 partclone.ext4 partclone.ext4dev partclone.extfs partclone.f2fs partclone.fat partclone.fat12 partclone.fat16 partclone.fat32 partclone.hfs+ partclone.hfsp partclone.hfsplus partclone.imager partclone.jfs partclone.minix partclone.nilfs2 partclone.ntfs partclone.reiser4 partclone.reiserfs partclone.restore partclone.ufs partclone.vfat partclone.vmfs partclone.xfs",
    "pip": "pip pip3",
    "pytest": "pytest py.test",
    "pg_basebackup": "pg_basebackup",
    "qemu-img": "qemu-img",
    "resize2fs": "resize2fs",
    "rsync": "rsync",
    "shred": "shred",
    "sort": "sort",
    "squashfs": "mksquashfs unsquashfs",
    "sums": "md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cksum",
    "sqlite3": "sqlite3",
    "wget": "wget",
    "xorriso": "xorriso xorrisofs",
    "xz": "xz unxz xzcat lzma unlzma lzcat",
    "zerofree": "zerofree",
}
"""Each tool: the name of its module in `pollprog.probes`, and the programs that it knows."""
MODULES = {name: f"pollprog.probes.{name.replace('-', '_')}" for name in OURS} | {"7z": "pollprog.probes.sevenzip"}
TOOLS = {program: MODULES[name] for name, programs in OURS.items() for program in programs.split()}
"""By the name of the program: the module whose ``TOOL`` knows it."""
PROBES = MODULES | {
    "evidence": "pollprog.probes.evidence",
    "fdinfo": "pollprog.probes.fdinfo",
    "filesize": "pollprog.probes.filesize",
    "procio": "pollprog.probes.procio",
    "treesize": "pollprog.probes.treesize",
}
"""By the name that users type after ``--probe``: the module whose ``probe(target, argument)`` makes it, or its ``TOOL``."""
ARGUMENTS = dict.fromkeys(OURS, "") | {
    "evidence": "",
    "fdinfo": r"(:\d{1,7})?",
    "filesize": r":.+",
    "procio": r"(:(rchar|wchar|read_bytes|write_bytes))?",
    "treesize": r":.+",
}
"""What may stand behind the name of each probe, as a pattern."""
RESOURCES = {"btrfs": "PATH", "md": "DEVICE", "pg": "DSN", "pvmove": "VG/LV"}
"""Work that no process stands for: each kind, whose module in `pollprog.probes` has its name, and what stands behind its colon."""
MULTI_CALL = {"busybox", "coreutils", "toybox"}
"""Programs that are many, told apart by the first word or the second."""
PYTHON_PROGRAMS = {"pip", "pip3", "pytest", "py.test"}
"""Programs that are started by Python, too, as a module or as a script: ``python -m pytest``, ``python .venv/bin/pytest``."""
INTERPRETER = re.compile(r"(?:python|perl|ruby|node|lua|php|bash|dash|sh)[0-9.]*")
"""Programs that are found running in the place of a script."""


def program_names(command: Command) -> Iterator[str]:
    """The names that a running or typed command may be known by."""
    yield command.name
    if command.executable:
        yield os.path.basename(command.executable.removesuffix(" (deleted)"))  # so the kernel says, after an upgrade
        if INTERPRETER.fullmatch(os.path.basename(command.executable)):
            yield from script_name(command.argv)
    if command.name.startswith("python") and (name := python_program(command.argv)[0]):
        yield name
    if command.name in MULTI_CALL and len(command.argv) > 1:
        yield command.argv[1].removeprefix("--coreutils-prog=")


def python_program(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """What Python is told to run, a module or a script, and the words behind it; no name where it is none of those we know."""
    at = 1
    while at < len(argv):
        word = argv[at]
        at += 1
        takes = next((place for place, letter in enumerate(word) if letter in "cmWX"), None)
        if not word.startswith("-") or word == "-":
            name = os.path.basename(word) if "/" in word else ""
        elif takes is None or word.startswith("--"):
            continue
        else:
            name = word[takes + 1 :]
            if not name:
                name = argv[at] if at < len(argv) else ""
                at += 1
            if word[takes] in "WX":
                continue
            if word[takes] == "c":
                break
        if name in PYTHON_PROGRAMS:
            return name, argv[at:]
        break
    return "", argv[1:]


def script_name(argv: Sequence[str]) -> Iterator[str]:
    """The name of the script that an interpreter runs: the kernel puts its path there, behind at most a word of options."""
    for word in argv[1:3]:
        if word.startswith("-") and not set(word) & {"c", "e", "m"}:
            continue
        if "/" in word and not word.startswith("-"):
            yield os.path.basename(word)
        return


def candidates(command: Command) -> list[str]:
    """The names by which the tools for this command are loaded, best first, each tool once."""
    known: dict[str, str] = {}
    for name in program_names(command):
        if name in TOOLS:
            known.setdefault(TOOLS[name], name)
    return list(known.values())


def find(command: Command) -> Tool | None:
    """The tool of the configuration's, or of ours, that recognises this command, or None."""
    ours: list[tuple[str, Callable[[], Tool]]] = [(name, partial(load, name)) for name in candidates(command)]
    for _, make in declarations(command) + ours:
        tool = make()
        if tool.recognise(command):
            return tool
    return None


def declarations(command: Command) -> list[tuple[str, Callable[[], Tool]]]:
    """What to call each tool that the configuration declares for this command, and what makes it."""
    tables = declared.find(program_names(command))
    return [(f"tools.{name}", partial(declare, name, table)) for name, table in tables.items()]


def declare(name: str, table: Mapping[str, Any]) -> Tool:
    """The tool that a table of the configuration declares."""
    tool: Tool = importlib.import_module("pollprog.probes.declared").DeclaredTool(name, table)
    return tool


def offers(command: Command) -> list[tuple[str, Callable[[], Tool]]]:
    """What to call each tool that this command may be for, and what loads it: the configuration's, strangers', ours."""
    from pollprog import strangers

    mine = declarations(command)
    declared.tell()
    found = strangers.find()
    places = dict.fromkeys(found[name] for name in program_names(command) if name in found)
    theirs = [(place, partial(strangers.load, place)) for place in places]
    return [*mine, *theirs, *((name, partial(load, name)) for name in candidates(command))]


def named(name: str) -> Tool | None:
    """The tool that ``--probe`` names, a stranger's too; None if that is no tool. Raises what its import raises."""
    if name in TOOLS and name in PROBES:
        return load(name)
    if name in PROBES:
        return None
    if (table := declared.all_tables().get(name)) is not None:
        return declare(name, table)
    place = stranger(name)
    if place is None:
        return None
    from pollprog import strangers

    return strangers.load(place)


def prepare(command: Command, probe: str | None = None) -> tuple[Command, Tool | None]:
    """The command as its tool would have it, and that: the one that is named, as after ``--probe``, or the one that knows it.

    Raises whatever a plugin raises, and TimeoutError for a stranger's that does not come to an end.
    """
    name = "" if probe is None else probe.partition(":")[0]
    if name and name not in PROBES and name not in declared.all_tables() and stranger(name) is not None:
        from pollprog import strangers

        return strangers.in_time(partial(_prepare, command, name))
    return _prepare(command, name)


def _prepare(command: Command, name: str) -> tuple[Command, Tool | None]:
    tool = (named(name) if name else None) or find(command)
    return (command if tool is None else prepared(tool, command)), tool


def prepared(tool: Tool, command: Command) -> Command:
    """The command as this tool would have it: the user's, with words more. TypeError or ValueError for any other."""
    made = tool.prepare(command)
    if not isinstance(made, type(command)):
        raise TypeError(f"prepare() returned {type(made).__name__}, not a Command")
    for words in (made.argv, made.argv if made.status is None else tuple(made.status(made.argv, 3))):
        if "\0" in "".join(words):  # TypeError for what is no text
            raise ValueError("prepare() gives it what can be no word of a command")
        rest = iter(words)
        if words[:1] != command.argv[:1] or not all(word in rest for word in command.argv):
            raise ValueError("prepare() makes another command of it, and not the same with words more")
    return made


def is_tool(name: str) -> bool:
    """Whether the probe of this name is a tool's, for a program that has to be found in the tree first."""
    return name in TOOLS if name in PROBES else is_others(name)


def is_others(name: str) -> bool:
    """Whether a tool is called so that the configuration declares, or another package brings."""
    return name in declared.all_tables() or stranger(name) is not None


def stranger(name: str) -> str | None:
    """Where the tool of another package is that is called so; None if there is none."""
    from pollprog import strangers

    return strangers.find().get(name)


def labels(name: str) -> set[str]:
    """What the tool that ``--probe`` names is called where it is found by its program: see `offers`."""
    place = stranger(name)
    return {f"tools.{name}"} | ({place} if place is not None else set())


def check(named: str) -> None:
    """Raise UsageError, with what to type instead, for what is no ``NAME[:ARGUMENT]`` of a probe."""
    name, colon, argument = named.partition(":")
    if name not in PROBES and not colon and is_others(name):
        return
    if name not in PROBES:
        from pollprog import strangers

        strangers.find_anew()
        if not colon and is_others(name):
            return
        raise UsageError(f"there is no probe {name!r}; {others()}")
    if not re.fullmatch(ARGUMENTS[name], colon + argument, re.DOTALL):
        raise UsageError(f"--probe {named!r} cannot be; see pollprog probes {name}")


def others() -> str:
    """Which probes there are; or what is wrong with the configuration, which may have been meant to declare one."""
    from pollprog import strangers
    from pollprog.errors import ConfigurationError

    try:
        declared.check()
    except ConfigurationError as error:
        return f"and what the configuration declares cannot be read: {error}"
    return f"there are: {', '.join(sorted({*PROBES, *declared.all_tables(), *strangers.find()}))}"


def check_resource(word: str) -> str:
    """The kind of a resource, KIND:NAME. UsageError, with what to type instead, if there is none of that kind."""
    kind, colon, _ = word.partition(":")
    if not colon or kind not in RESOURCES:
        known = ", ".join(f"{kind}:{argument}" for kind, argument in sorted(RESOURCES.items()))
        raise UsageError(f"there is no resource {word!r}; there are: {known}")
    return kind


def load(name: str) -> Tool:
    """The tool that knows the program of this name."""
    tool: Tool = importlib.import_module(TOOLS[name]).TOOL
    return tool
