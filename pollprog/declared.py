"""Which tools the configuration declares (``[tools.NAME]``), for which programs: on the way to a command's start.

So the file is not so much as opened if it is not there, nothing is parsed unless a name of the program stands in it beside
``[tools``, and what a table says is not checked: that is done once the command runs, when its probe is made
(`pollprog.probes.declared`). A file that cannot be read, or is no TOML, declares nothing, and is told then, too.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["all_tables", "check", "find", "path", "programs", "tell", "use"]

LARGEST = 1 << 20
"""Bytes that a configuration file may have."""


class Known:
    """The file as it was when it was read last. `chosen`: where it is, if a daemon was given another."""

    chosen = ""
    state: tuple[int, int, int] | None = None
    data = b""
    tables: Mapping[str, Any] | None = None
    """What ``[tools]`` says; None until somebody needs it."""
    told = ""
    """What was said to be wrong with it."""


def use(place: str) -> None:
    """From now on the configuration is this file: a daemon may have been given another than the one at the usual place."""
    Known.chosen, Known.state = place, None


def path() -> str:
    """Where the file is."""
    if Known.chosen:
        return Known.chosen
    folder = os.environ.get("XDG_CONFIG_HOME", "").strip() or os.path.expanduser("~/.config")
    return os.path.join(folder, "pollprog", "config.toml")


def find(names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The tables that are for a program with one of these names, by what they are called, as they stand in the file."""
    if not read():
        return {}
    wanted = set(names)
    if not any(name and name.encode("utf-8", "replace") in Known.data for name in wanted):
        return {}
    tables = {called: table for called, table in all_tables().items() if isinstance(table, dict)}
    return {called: table for called, table in tables.items() if wanted.intersection(programs(called, table))}


def programs(called: str, table: Mapping[str, Any]) -> list[str]:
    """The programs that a table is for. One whose key is misspelt, or is no list, is found, too: what is wrong is told when it runs."""
    near = (said for key, said in table.items() if key.startswith("prog"))
    said = table.get("programs", next(near, None))
    words = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    return [word for word in words if isinstance(word, str)] or [called]


def all_tables() -> Mapping[str, Any]:
    """Every table, by what it is called."""
    if not read():
        return {}
    if Known.tables is None:
        Known.tables = parsed(Known.data) if b"tool" in Known.data else {}
    return Known.tables


def read() -> bool:
    """Whether there is a file; and read it, if it is not the one that was read last."""
    place = path()
    try:
        info = os.stat(place)
        state = info.st_ino, info.st_mtime_ns, info.st_size
        if state != Known.state:
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                Known.data = file.read(LARGEST)
            Known.state, Known.tables = state, None
    except (OSError, ValueError):
        return False
    return True


def parsed(data: bytes) -> Mapping[str, Any]:
    """What ``[tools]`` says; nothing for what is no TOML."""
    import tomllib

    try:
        tables = tomllib.loads(data.decode("utf-8-sig")).get("tools")
    except (ValueError, RecursionError):
        return {}
    return tables if isinstance(tables, dict) else {}


def tell() -> None:
    """Say in the log, once, what is wrong with the file as a whole."""
    if (
        Known.tables == {} and b"[tool" in Known.data and Known.told != repr(Known.state)
    ):  # "[tool." is a slip of the pen
        Known.told = repr(Known.state)
        import logging

        from pollprog.errors import ConfigurationError

        try:
            check()
        except ConfigurationError as error:
            logging.getLogger("pollprog").warning("the configuration declares no tools: %s", error)


def check() -> None:
    """Raise ConfigurationError, which names the line, if the file is there and something is wrong with it."""
    if read():
        from pollprog.config import load

        load(path())
