"""The configuration file: read, and checked to the last word. What is wrong with it is said in one line, with the file and the line.

In TOML, by default ``~/.config/pollprog/config.toml``::

    [daemon]
    interval = 0.5                    # seconds between two statuses, if a client does not say

    [operations.Backup]               # an operation of your own
    description = "Bring a directory to the backup disk."
    argv = ["rsync", "-a", "--", "{source:path}", "{to:path}"]
    total = "@{source}"

    [tools.mytool]                    # how far a program of this name is, by what it prints
    stream = "stderr"
    pattern = "done (?P<current>[0-9]+) of (?P<total>[0-9]+)"

What ``[operations.NAME]`` may say is in `Configured`; what its placeholders mean, in `pollprog.configured`. What ``[tools.NAME]``
may say is in `Declared`; what becomes of it, in `pollprog.probes.declared`.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct, field

from pollprog.errors import ConfigurationError, visible
from pollprog.status import Bound, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Configuration", "Configured", "Declared", "Service", "default_path", "load", "parse"]

T = TypeVar("T")
Positive = Annotated[float, Meta(ge=0.0, le=86400.0)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Scale = Annotated[int, Meta(ge=1, le=1 << 40)]
LARGEST = 1 << 20
"""Bytes that a configuration file may have."""
WORD = r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|[A-Za-z0-9_-]+)"""
KEY = rf"{WORD}(?:\s*\.\s*{WORD})*"
LINE = re.compile(rf"\s*(?:\[\[?\s*(?P<table>{KEY})\s*\]|(?P<key>{KEY})\s*=)")
LONG = re.compile(r'"""(?:\\.|[^\\])*?"""' + r"|'''.*?'''", re.DOTALL)
MOST = 8
"""Parts of a key that are looked for when a line is; ours have fewer."""
UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
PLACE = re.compile(r"(.*) - at `\$\.(\w+).*`", re.DOTALL)
TOLD = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)


class Service(Struct, frozen=True, forbid_unknown_fields=True):
    """What ``[daemon]`` says."""

    initial_delay: Positive = 1.0
    """Seconds of work before the first status."""
    interval: Annotated[float, Meta(ge=0.1, le=86400.0)] = 1.0
    """Seconds between two statuses, for a client that does not say."""
    grace: Positive = 10.0
    """Seconds that a cancelled command has between SIGTERM and SIGKILL."""
    connections: Count = 4096
    """So many at a time."""
    jobs: Count = 256
    """So many at work at a time."""
    finished: Annotated[int, Meta(ge=0, le=1_000_000)] = 1000
    """So many that have ended are remembered."""
    message_size: Annotated[int, Meta(ge=4096, le=1 << 30)] = 1 << 20
    """Bytes of the longest message that is read."""


class Configured(Struct, frozen=True, forbid_unknown_fields=True):
    """What ``[operations.NAME]`` says."""

    argv: Annotated[list[str], Meta(min_length=1)]
    """The command; nothing in it goes through a shell."""
    description: str = ""
    help: dict[str, str] = {}
    """What each parameter means."""
    defaults: dict[str, str | int] = {}
    """What a parameter is if nobody says."""
    directory: str | None = None
    """Where it runs; else in the caller's, or in /."""
    environment: dict[str, str] = {}
    """Variables beside those that it would have."""
    prepare: bool = True
    """Whether a plugin may add an option to it by which it says how far it is."""
    probe: str | None = None
    """As after ``--probe``; placeholders as in `argv`."""
    total: str | None = None
    """As after ``--total``; placeholders as in `argv`."""


class Declared(Struct, frozen=True, forbid_unknown_fields=True):
    """What ``[tools.NAME]`` says."""

    programs: Annotated[list[str], Meta(min_length=1)] = field(default_factory=list)
    """The names of the programs; else that of the table."""
    stream: Literal["stdout", "stderr"] | None = None
    """Where it prints how far it is. In a file it is read there."""
    status: list[str] | None = None
    """Words that have it write that to a descriptor, whose number stands in the place of ``{fd}``. They come behind its name."""
    after: str = ""
    """A word of the command, such as ``create``: they come behind that instead, and only where it stands."""
    file: str | None = None
    """A file in which it keeps that; ``{1}`` is the first word that is no option, ``{-1}`` the last."""
    pattern: str | None = None
    """What one line of it is like, with groups that are called ``current``, ``total``, ``percent`` and ``phase``."""
    patterns: Annotated[list[str], Meta(min_length=1)] | None = None
    """The same for lines of several kinds."""
    unit: Unit = Unit.PARTS
    """What is counted."""
    scale: Scale = 1
    """How many of these one of what is counted is: 1024 for kibibytes, 1048576 for mebibytes."""
    bound: Bound = Bound.EXACT
    """How far that may be trusted."""
    phases: dict[str, Annotated[float, Meta(gt=0)]] = {}
    """Each phase with its share of the time, in their order: they become one fraction."""
    names: dict[str, str] = {}
    """What a phase is called, where the program has a word for it that says nothing."""
    total: str | None = None
    """As after ``--total``, where the program does not say it; with places as in `file`."""


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    """All that the file says."""

    daemon: Service = field(default_factory=Service)
    operations: dict[str, Configured] = {}
    tools: dict[str, Declared] = {}
    path: str = ""
    text: str = ""

    def wrong(self, where: str, what: str) -> ConfigurationError:
        """The error for something at `where`, a path of keys as in ``operations.Backup.argv``."""
        return wrong_line(self.path, line_of(self.text, where), what)


def wrong_line(path: str, line: int, what: str) -> ConfigurationError:
    """The error for something on this line."""
    text = visible(what)
    return ConfigurationError(f"{path}, line {line}: {text}")


def default_path() -> str:
    """Where the file is if nobody says otherwise."""
    import platformdirs

    return os.path.join(platformdirs.user_config_dir("pollprog"), "config.toml")


def load(path: str | None = None) -> Configuration:
    """Read the configuration; the one at the default place need not be there. ConfigurationError."""
    wanted = path or default_path()
    try:
        data = read(wanted)
    except FileNotFoundError as error:
        if not path:
            return Configuration(path=wanted)
        raise ConfigurationError(f"{wanted}: there is no such configuration file") from error
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigurationError(f"{wanted}: cannot be read: {reason}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise wrong_line(wanted, line, "this is not UTF-8, as TOML has to be") from error
    return parse(text, wanted)


def read(path: str) -> bytes:
    """What the file holds. It is read again while others are served, so nothing is read that could make us wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(0, "it is a directory" if stat.S_ISDIR(mode) else "it is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(data) > LARGEST:
        raise OSError(0, f"it has more than {LARGEST} bytes")
    return data


def parse(text: str, path: str) -> Configuration:
    """What this text says. ConfigurationError."""
    try:
        told = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigurationError(f"{path}: something in it is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, and what Python says of a number with too many digits
        said = TOLD.fullmatch(str(error))
        last = max(1, len(text.splitlines()))
        what = said[1] if said else str(error)
        what = what[:1].lower() + what[1:]
        if "unescaped '\\'" in what:
            what += "; between ' and ', where a pattern belongs, it stands for itself"
        raise wrong_line(path, int(said[2] or last) if said else last, what) from error
    file = Configuration(path=path, text=text)
    for name in told:
        if name not in ("daemon", "operations", "tools"):
            raise file.wrong(name, f"{name} is no section: there are [daemon], [operations.NAME] and [tools.NAME]")
    return msgspec.structs.replace(
        file,
        daemon=converted(file, "daemon", told.get("daemon", {}), Service),
        operations=tables(file, "operations", told, Configured),
        tools=tables(file, "tools", told, Declared),
    )


def tables(file: Configuration, section: str, told: Mapping[str, object], kind: type[T]) -> dict[str, T]:
    """All tables of a section, by name."""
    found = told.get(section, {})
    if not isinstance(found, dict):
        raise file.wrong(section, f"{section} are written as [{section}.NAME]")
    return {name: converted(file, f"{section}.{name}", table, kind) for name, table in found.items()}


def converted(file: Configuration, where: str, table: object, kind: type[T]) -> T:
    """A table of the file as what it has to be."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        said = str(error)
        if unknown := UNKNOWN.fullmatch(said):
            where, keys = f"{where}.{unknown[1]}", ", ".join(kind.__annotations__)
            raise file.wrong(where, f"{where}: there is no such key; there are {keys}") from error
        if place := PLACE.fullmatch(said):
            where, said = f"{where}.{place[2]}", place[1]
            if said.startswith("Invalid enum value ") and (known := choices(get_type_hints(kind)[place[2]])):
                said = f"{said.removeprefix('Invalid enum value ')} is none of {', '.join(known)}"
            said = re.sub(r"Expected `array( \| null)?`, got", 'Expected a list, as in ["a", "b"], got', said)
        raise file.wrong(where, f"{where}: {said[:1].lower()}{said[1:].replace('`', '')}") from error


def choices(hint: object) -> list[str]:
    """The words that a value may be, where only some may."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [str(member.value) for member in hint]
    return [
        word for word in (one for part in get_args(hint) for one in get_args(part) or [part]) if isinstance(word, str)
    ]


def line_of(text: str, where: str) -> int:
    """The line on which the key ``table.key`` stands, or its table, or 1."""
    masked = LONG.sub(lambda long: "\n" * long[0].count("\n"), text)
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(masked.split("\n"), 1):
        if found := LINE.match(line):
            words = re.findall(WORD, found["table"] or found["key"])
            name = ".".join(word[1:-1] if word[0] in "\"'" else word for word in words)
            if found["table"]:
                table = name
            else:
                name = f"{table}.{name}" if table else name
            parts = name.split(".")[:MOST]  # a dotted key makes tables on its way
            for size in range(1, len(parts) + 1):
                lines.setdefault(".".join(parts[:size]), number)
    while where and where not in lines:
        where = where.rpartition(".")[0]
    return lines.get(where, 1)
