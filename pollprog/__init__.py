"""Progress for commands that have none: measures any long command from outside, and tells whoever asks.

The way of one sample: a probe looks at the work (`pollprog.probes`), the sampler takes its samples when they are due, a
channel keeps the newest, and each reader is told when something newer is there: a bar in the terminal, a log, a pipe.
``docs/architecture.md`` has the picture and the table of who imports whom.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.bars import progress_bar
    from pollprog.channel import Channel, Clock
    from pollprog.client import Client, open_client
    from pollprog.copying import copy_file
    from pollprog.counting import Counter
    from pollprog.errors import (
        Busy,
        Cancelled,
        CommandFailed,
        CommandNotExecutable,
        CommandNotFound,
        ConfigurationError,
        ConnectionLost,
        DestinationExists,
        ExpectedMore,
        InterfaceNotFound,
        InternalError,
        InvalidParameter,
        IsDirectory,
        JobExists,
        JobOver,
        MethodNotFound,
        MethodNotImplemented,
        NoSpace,
        NoSuchFile,
        NoSuchJob,
        NotAFile,
        NotDirectory,
        OperationError,
        OperationFailed,
        PathNotAbsolute,
        PermissionDenied,
        PollprogError,
        ProcessError,
        ProtocolError,
        SameFile,
        TooBusy,
        Unreachable,
        UsageError,
    )
    from pollprog.estimator import Estimator
    from pollprog.handle import Handle, Progress, connect
    from pollprog.notify import notify_progress, steps
    from pollprog.operations import operation
    from pollprog.sampler import Sampler
    from pollprog.status import Bound, Outcome, Sample, State, Status, Unit

__all__ = [
    "Bound",
    "Busy",
    "Cancelled",
    "Channel",
    "Client",
    "Clock",
    "CommandFailed",
    "CommandNotExecutable",
    "CommandNotFound",
    "ConfigurationError",
    "ConnectionLost",
    "Counter",
    "DestinationExists",
    "Estimator",
    "ExpectedMore",
    "Handle",
    "InterfaceNotFound",
    "InternalError",
    "InvalidParameter",
    "IsDirectory",
    "JobExists",
    "JobOver",
    "MethodNotFound",
    "MethodNotImplemented",
    "NoSpace",
    "NoSuchFile",
    "NoSuchJob",
    "NotAFile",
    "NotDirectory",
    "OperationError",
    "OperationFailed",
    "Outcome",
    "PathNotAbsolute",
    "PermissionDenied",
    "PollprogError",
    "ProcessError",
    "Progress",
    "ProtocolError",
    "SameFile",
    "Sample",
    "Sampler",
    "State",
    "Status",
    "TooBusy",
    "Unit",
    "Unreachable",
    "UsageError",
    "__version__",
    "connect",
    "copy_file",
    "notify_progress",
    "open_client",
    "operation",
    "progress_bar",
    "steps",
]

__version__ = "0.1.0"

HOMES = {
    "Bound": "status",
    "Busy": "errors",
    "Cancelled": "errors",
    "Channel": "channel",
    "Client": "client",
    "Clock": "channel",
    "CommandFailed": "errors",
    "CommandNotExecutable": "errors",
    "CommandNotFound": "errors",
    "ConfigurationError": "errors",
    "ConnectionLost": "errors",
    "Counter": "counting",
    "DestinationExists": "errors",
    "Estimator": "estimator",
    "ExpectedMore": "errors",
    "Handle": "handle",
    "InterfaceNotFound": "errors",
    "InternalError": "errors",
    "InvalidParameter": "errors",
    "IsDirectory": "errors",
    "JobExists": "errors",
    "JobOver": "errors",
    "MethodNotFound": "errors",
    "MethodNotImplemented": "errors",
    "NoSpace": "errors",
    "NoSuchFile": "errors",
    "NoSuchJob": "errors",
    "NotAFile": "errors",
    "NotDirectory": "errors",
    "OperationError": "errors",
    "OperationFailed": "errors",
    "Outcome": "status",
    "PathNotAbsolute": "errors",
    "PermissionDenied": "errors",
    "PollprogError": "errors",
    "ProcessError": "errors",
    "Progress": "handle",
    "ProtocolError": "errors",
    "SameFile": "errors",
    "Sample": "status",
    "Sampler": "sampler",
    "State": "status",
    "Status": "status",
    "TooBusy": "errors",
    "Unit": "status",
    "Unreachable": "errors",
    "UsageError": "errors",
    "connect": "handle",
    "copy_file": "copying",
    "notify_progress": "notify",
    "open_client": "client",
    "operation": "operations",
    "progress_bar": "bars",
    "steps": "notify",
}
"""Where each public name lives. It is imported when it is first used: a quick command pays for none."""


def __getattr__(name: str) -> object:
    home = HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pollprog' has no attribute {name!r}")
    return getattr(import_module(f"pollprog.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
