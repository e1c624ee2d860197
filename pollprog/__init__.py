"""Progress for commands that have none: measures any long command from outside, and tells whoever asks.

The way of one sample: a probe looks at the work (`pollprog.probes`), the sampler takes its samples when they are due, a
channel keeps the newest, and each reader is told when something newer is there: a bar in the terminal, a log, a pipe.
``docs/architecture.md`` has the picture and the table of who imports whom.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.channel import Channel, Clock
    from pollprog.copying import copy_file
    from pollprog.counting import Counter
    from pollprog.errors import (
        Cancelled,
        CommandNotExecutable,
        CommandNotFound,
        OperationFailed,
        PollprogError,
        ProcessError,
        UsageError,
    )
    from pollprog.estimator import Estimator
    from pollprog.sampler import Sampler
    from pollprog.status import Bound, Outcome, Sample, State, Status, Unit

__all__ = [
    "Bound",
    "Cancelled",
    "Channel",
    "Clock",
    "CommandNotExecutable",
    "CommandNotFound",
    "Counter",
    "Estimator",
    "OperationFailed",
    "Outcome",
    "PollprogError",
    "ProcessError",
    "Sample",
    "Sampler",
    "State",
    "Status",
    "Unit",
    "UsageError",
    "__version__",
    "copy_file",
]

__version__ = "0.1.0"

HOMES = {
    "Bound": "status",
    "Cancelled": "errors",
    "Channel": "channel",
    "Clock": "channel",
    "CommandNotExecutable": "errors",
    "CommandNotFound": "errors",
    "Counter": "counting",
    "Estimator": "estimator",
    "OperationFailed": "errors",
    "Outcome": "status",
    "PollprogError": "errors",
    "ProcessError": "errors",
    "Sample": "status",
    "Sampler": "sampler",
    "State": "status",
    "Status": "status",
    "Unit": "status",
    "UsageError": "errors",
    "copy_file": "copying",
}
"""Where each public name lives. It is imported when it is first used: a quick command pays for none."""


def __getattr__(name: str) -> object:
    home = HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pollprog' has no attribute {name!r}")
    return getattr(import_module(f"pollprog.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
