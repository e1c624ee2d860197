"""Plugins that other packages bring: entry points in the group ``pollprog.probes``, under the name of the program that each knows.

The entry points are read from the installed packages' ``entry_points.txt`` without `importlib.metadata`, which takes longer to
import than most commands take to start. Nobody looks for them before a command starts: only once it runs, and then once.
Before, only for a name that stands after ``--probe`` and is none of ours. So what a stranger's tool would add to the command
line (`prepare`) is added if the user names it, and not otherwise.

A plugin that cannot be imported, is no tool, or keeps a command waiting costs one line in the log.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from pollprog.probes import Tool

    T = TypeVar("T")

__all__ = ["find", "find_anew", "in_time", "leave_out", "load"]

GROUP = "pollprog.probes"
LARGEST = 1 << 20
"""Bytes of an ``entry_points.txt`` that are read."""
PATIENCE = 2.0
"""Seconds that a command waits for the plugin that prepares it."""


@cache
def find() -> dict[str, str]:
    """By the name of the program: where its tool is, as ``module:attribute``. Of several the first on the path counts."""
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path):
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                for program, place in entries(os.path.join(folder, name, "entry_points.txt")):
                    found.setdefault(program, place)
    return found


def entries(path: str) -> Iterator[tuple[str, str]]:
    """(name, place) of each entry point of our group in one file, which need not be there."""
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST).decode("utf-8", "replace")
    except OSError:
        return
    if GROUP not in text:
        return
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[]").strip()
        elif group == GROUP and "=" in line and not line.startswith(("#", ";")):
            name, _, place = line.partition("=")
            yield name.strip(), place.partition("[")[0].strip()


def find_anew() -> None:
    """Whoever looks next looks again: a package may have been installed since, beside a daemon that runs."""
    find.cache_clear()
    importlib.invalidate_caches()


def leave_out(name: str) -> None:
    """From now on there is no tool of this name, nor another at its place: what is wrong with it has been told."""
    found = find()
    place = found.get(name)
    for other in [other for other in found if found[other] == place]:
        del found[other]


def load(place: str) -> Tool:
    """The tool that is there. Raises whatever its import raises, and TypeError for what is no tool."""
    module, _, attribute = place.partition(":")
    found: object = importlib.import_module(module)
    for name in (attribute or "TOOL").split("."):
        found = getattr(found, name)
    if isinstance(found, type):
        raise TypeError(f"{place} is a class, and has to be a tool made of it: write {attribute} = {found.__name__}()")
    if not isinstance(getattr(found, "name", None), str) or not all(
        callable(getattr(found, method, None)) for method in ("recognise", "prepare", "probe")
    ):
        raise TypeError(f"{place} is no tool: it lacks a name, or recognise, prepare or probe")
    return found  # type: ignore[return-value] # which has just been seen


def in_time(call: Callable[[], T]) -> T:
    """What `call` returns, or the Exception that it raises; RuntimeError for what else it raises, which would end more than itself.

    TimeoutError if it takes too long: then it goes on in a thread that nobody waits for.
    """
    import signal
    import threading

    from pollprog import surroundings
    from pollprog.errors import fault

    here = surroundings.here()
    answers: list[T] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(surroundings.within(here, call))
        except BaseException as error:  # noqa: BLE001 # whoever asks is told of it
            errors.append(error)

    thread = threading.Thread(target=ask, name="a plugin that prepares a command", daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # ours are for the thread that asks
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    thread.join(PATIENCE)
    for error in errors:
        raise error if isinstance(error, Exception) else RuntimeError(fault(error))
    if not answers:
        raise TimeoutError(f"it still prepares the command after {PATIENCE:.0f} s")
    return answers[0]
