"""The contract between what measures and what runs: probes, tools, and how they are found.

A **probe** is one way of telling how far something is. It is a plain object that is looked at; it never waits, and needs
neither trio nor threads. A **tool** is a plugin that knows one program: it recognises it and says which probe fits.
Ours are the modules of this package that `TOOLS` names; strangers' are entry points in the group ``pollprog.probes``, under
the name of the program.

The contract stands in `contract` and is imported when it is first used: a plugin that is found before its command starts
costs no more than itself.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.probes.contract import Hears, Probe, Surveys, Target, Tool

__all__ = ["Hears", "Probe", "Surveys", "Target", "Tool"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'pollprog.probes' has no attribute {name!r}")
    return getattr(import_module("pollprog.probes.contract"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
