"""Which programs have a plugin of ours, and how one is found: by the program's name, importing only the match.

This is on the path to a command's start, so nothing here imports a plugin that is not asked for.
"""

from __future__ import annotations

import importlib
import os
import re

from pollprog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pollprog.launch import Command
    from pollprog.probes import Tool

__all__ = ["PROBES", "TOOLS", "candidates", "find", "load", "program_names"]

OURS = {
    "dd": "dd",
    "e2fsck": "e2fsck fsck.ext2 fsck.ext3 fsck.ext4",
    "rsync": "rsync",
    "xz": "xz unxz xzcat lzma unlzma lzcat",
}
"""Each tool: the name of its module in `pollprog.probes`, and the programs that it knows."""
TOOLS = {program: f"pollprog.probes.{name}" for name, programs in OURS.items() for program in programs.split()}
"""By the name of the program: the module whose ``TOOL`` knows it."""
PROBES = {name: f"pollprog.probes.{name}" for name in OURS} | {
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
MULTI_CALL = {"busybox", "coreutils", "toybox"}
"""Programs that are many, told apart by the first word or the second."""


def program_names(command: Command) -> Iterator[str]:
    """The names that a running or typed command may be known by."""
    yield command.name
    if command.executable:
        yield os.path.basename(command.executable.removesuffix(" (deleted)"))  # so the kernel says, after an upgrade
    if command.name in MULTI_CALL and len(command.argv) > 1:
        yield command.argv[1].removeprefix("--coreutils-prog=")


def candidates(command: Command) -> list[str]:
    """The names by which the tools for this command are loaded, best first, each tool once."""
    known: dict[str, str] = {}
    for name in program_names(command):
        if name in TOOLS:
            known.setdefault(TOOLS[name], name)
    return list(known.values())


def find(command: Command) -> Tool | None:
    """The tool of ours that recognises this command, or None."""
    for name in candidates(command):
        tool = load(name)
        if tool.recognise(command):
            return tool
    return None


def check(named: str) -> None:
    """Raise UsageError, with what to type instead, for what is no ``NAME[:ARGUMENT]`` of a probe of ours."""
    name, colon, argument = named.partition(":")
    if name not in PROBES:
        raise UsageError(f"there is no probe {name!r}; there are: {', '.join(sorted(PROBES))}")
    if not re.fullmatch(ARGUMENTS[name], colon + argument, re.DOTALL):
        raise UsageError(f"--probe {named!r} cannot be; see pollprog probes {name}")


def load(name: str) -> Tool:
    """The tool that knows the program of this name."""
    tool: Tool = importlib.import_module(TOOLS[name]).TOOL
    return tool
