"""Calls of a daemon from the command line.

A call shows a bar, and its result on standard output. Ctrl-C asks the daemon to cancel, and waits until the work has really ended;
a second one leaves at once.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio

from pollprog import signals, wording
from pollprog.asking import as_typed, find, help_text, parameters_of
from pollprog.client import open_client
from pollprog.conversation import environment
from pollprog.display import Display, JsonLines
from pollprog.errands import Submitted, work_of
from pollprog.errors import (
    Cancelled,
    CommandFailed,
    OperationError,
    PollprogError,
    Unreachable,
    leaves,
)
from pollprog.hearing import Hearing, Leaving
from pollprog.mirror import Mirror
from pollprog.output import show, show_fitted
from pollprog.status import Outcome, State
from pollprog.varlink import ForeignError, error_reply

if TYPE_CHECKING:
    import signal
    from collections.abc import Awaitable, Callable, Sequence

    from pollprog.client import Client
    from pollprog.errands import Asker, Called, Followed
    from pollprog.messages import OperationMessage
    from pollprog.signals import Held

__all__ = [
    "Left",
    "call",
    "clean_lines",
    "complain",
    "help_of",
    "help_with",
    "interruptible",
    "list_operations",
    "new_job",
    "print_error",
    "run",
    "show_result",
    "shown",
    "submit",
    "text",
]

log = logging.getLogger("pollprog")

T = TypeVar("T")


class Left(Cancelled):
    """Nobody waits for the work any more; how it ends is not known."""


# --- one call


def run(function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """What `function` returns, run by trio; an error that a nursery has wrapped is raised as it was."""
    try:
        return trio.run(function, *arguments)
    except ExceptionGroup as group:
        first, *others = leaves(group)
        raise (group if others else first) from None


def call(asker: Asker, method: str, words: Sequence[str], rest: Sequence[str] | None, held: Held) -> int:
    """``pollprog call``: the exit status."""
    return run(partial(_call, asker, method, words, rest, held))


async def _call(asker: Asker, method: str, words: Sequence[str], rest: Sequence[str] | None, held: Held) -> int:
    async with AsyncExitStack() as stack:

        async def prepare() -> tuple[Client, OperationMessage, dict[str, Any]]:
            client = await stack.enter_async_context(open_client(asker.address))
            return client, *await prepared(asker, client, method, words, rest)

        client, operation, parameters = await interruptible(held, prepare)
        add_surroundings(asker, operation, parameters)
        parameters.setdefault("interval", asker.bar_interval)
        work = work_of(asker, client, operation.name, parameters)
        try:
            return show_result(asker, await shown(asker, operation.name, work, held))
        except CommandFailed as error:
            if not asker.as_json:
                show(clean_lines(error.output))
            raise


async def prepared(
    asker: Asker, client: Client, method: str, words: Sequence[str], rest: Sequence[str] | None
) -> tuple[OperationMessage, dict[str, Any]]:
    """The operation that was typed, and its parameters, with a name for the job."""
    operation = find(await asker.operations(client), method)
    parameters = parameters_of(operation, words, rest, directory=asker.directory)
    parameters.setdefault("job", new_job(operation.name))
    return operation, parameters


def new_job(method: str) -> str:
    """A name for a job of this operation that no other has."""
    return f"{method.lower()[:40]}-{secrets.token_hex(4)}"


async def interruptible(held: Held, function: Callable[[], Awaitable[T]]) -> T:
    """What it returns. A signal that ends programs ends the waiting for it: Cancelled."""
    result: T | None = None
    failure: PollprogError | None = None
    with Display("none", interval=1.0, shares_terminal=False) as display:
        async with trio.open_nursery() as parts:
            leaving = Leaving(parts.cancel_scope)
            parts.start_soon(Hearing(held, display, leaving).run)
            try:
                result = await function()
            except PollprogError as error:
                failure = error
            parts.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if result is None:
        left = Left("left, before anything was done")
        left.exit_status = leaving.status or left.exit_status
        raise left
    return result


def add_surroundings(asker: Asker, operation: OperationMessage, parameters: dict[str, Any]) -> None:
    """Where a command runs, and its environment, are those of whoever types it, if it takes them and is on this machine."""
    optional = {parameter.name: parameter.kind for parameter in operation.parameters if not parameter.required}
    if asker.directory is not None:
        if optional.get("directory") == "path":
            parameters.setdefault("directory", asker.directory)
        if optional.get("environment") == "map":
            parameters.setdefault("environment", environment())


async def shown(asker: Asker, name: str, work: Called | Followed, held: Held, *, cancelling: bool = True) -> Any:
    """Show work until it has ended; what it returned. `cancelling`: a signal ends the work, and not only the showing."""
    mirror = Mirror(work.job, asker.bar_interval)
    lines = None if asker.progress_fd is None else JsonLines(asker.progress_fd, asker.line_interval)
    asked: list[int] = []
    error: PollprogError | None = None
    result: Any = None
    ended = False
    progress = "none" if asker.as_json else asker.progress
    with Display(progress, interval=asker.bar_interval, shares_terminal=False) as display:
        async with trio.open_nursery() as parts:

            def act(info: signal.struct_siginfo) -> None:
                if info.si_signo in signals.LEAVING:
                    asked.append(info.si_signo)
                    if len(asked) > 1 or not cancelling:
                        parts.cancel_scope.cancel()
                    else:
                        parts.start_soon(work.cancel)

            parts.start_soon(Hearing(held, display, act).run)
            async with trio.open_nursery() as readers:
                readers.start_soon(partial(display.follow, name, mirror, ending=False))
                if asker.as_json:
                    readers.start_soon(print_statuses, mirror)
                if lines is not None:
                    readers.start_soon(lines.follow, mirror)
                try:
                    result = await work.run(mirror)
                    mirror.finish(Outcome(State.SUCCEEDED, 0))
                except PollprogError as raised:
                    error = raised
                    error.args = (as_typed(str(error)),)
                    mirror.finish(outcome_of(raised))
                ended = True
            parts.cancel_scope.cancel()
    if not ended:
        raise Left("left; the work may go on")
    if error is not None:
        if isinstance(error, Cancelled) and asked:
            error.exit_status = 128 + asked[0]
        raise error
    return result


def outcome_of(error: PollprogError) -> Outcome:
    """How work ended that is only known to have raised this."""
    if isinstance(error, Cancelled):
        return Outcome(State.CANCELLED)
    if isinstance(error, Unreachable):
        return Outcome(State.LOST)
    if isinstance(error, CommandFailed):
        lost = error.exit is None and error.signal is None
        return Outcome(State.LOST if lost else State.FAILED, error.exit, error.signal)
    return Outcome(State.FAILED, error.exit_status)


async def print_statuses(mirror: Mirror) -> None:
    """Each status as a line of JSON, but the last: that comes with the result."""
    after = 0
    while True:
        status = await mirror.next(after)
        if status.outcome is not None:
            return
        show(wording.json_line(status))
        after = status.seq


def show_result(asker: Asker, result: Any) -> int:
    """Print what a call returned."""
    if asker.as_json:
        show(json.dumps({"result": result}, ensure_ascii=False) + "\n")
    elif isinstance(result, dict):
        if set(result) == {"output"}:
            show(clean_lines(result["output"]))
        else:
            show("".join(f"{name}: {wording.clean(text(value))}\n" for name, value in result.items()))
    elif result is not None:
        show(f"{wording.clean(text(result))}\n")
    return 0


def complain(error: PollprogError, *, as_json: bool = False) -> None:
    """Say what went wrong, in a line; `as_json`: and print it as one."""
    if as_json:
        print_error(error)
    print(f"pollprog: {wording.clean(str(error))}", file=sys.stderr)


def print_error(error: PollprogError) -> None:
    """What went wrong as a line of JSON."""
    name, parameters = error_reply(error)
    if isinstance(error, Unreachable):
        name, parameters = Unreachable.__name__, {"address": error.address}
    elif not isinstance(error, ForeignError):
        name = name.rpartition(".")[2]
    told = {name: value for name, value in parameters.items() if name != "message"}
    line = {"error": name, "message": wording.clean(str(error)), "parameters": told}
    with suppress(BrokenPipeError, OperationError):  # the line on standard error comes in any case
        show(f"{json.dumps(line, ensure_ascii=False)}\n")


def text(value: Any) -> str:
    """A value in a line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def clean_lines(printed: str) -> str:
    """What a command printed, without what a terminal would obey."""
    return "".join(f"{wording.clean(line)}\n" for line in printed.splitlines())


# --- jobs


def submit(asker: Asker, method: str, words: Sequence[str], rest: Sequence[str] | None) -> int:
    """``pollprog submit``: prints the job's id."""

    async def ask() -> str:
        async with open_client(asker.address) as client:
            operation, parameters = await prepared(asker, client, method, words, rest)
            work = Submitted(asker, client, operation.name, parameters)
            await work.begin()
            return work.job

    job = trio.run(ask)
    show(json.dumps({"job": job}) + "\n" if asker.as_json else f"{job}\n")
    return 0


def help_of(asker: Asker, method: str) -> int:
    """``pollprog call METHOD --help``: what it does, and what it takes."""
    return help_with(find(run(asker.operations), method))


def help_with(operation: OperationMessage) -> int:
    """Print what it does, and what it takes."""
    show_fitted(f"{help_text(operation)}\n")
    return 0


def list_operations(asker: Asker) -> int:
    """``pollprog call`` alone: what can be called."""
    operations = trio.run(asker.operations)
    if asker.as_json:
        show(b"".join(msgspec.json.encode(one) + b"\n" for one in operations))
        return 0
    wide = max(len(one.name) for one in operations)
    show_fitted("".join(f"{one.name:{wide}}  {wording.clean(one.doc.splitlines()[0])}\n" for one in operations))
    return 0
