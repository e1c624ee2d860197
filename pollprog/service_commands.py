"""The commands that start a daemon, or ask one, from what was typed."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING

from pollprog import signals

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from pollprog.config import Configuration
    from pollprog.errands import Asker
    from pollprog.signals import Held

__all__ = ["COMMANDS", "attach", "top"]


def daemon(arguments: argparse.Namespace) -> int:
    """``pollprog daemon``."""
    from pollprog.addresses import default_path
    from pollprog.daemon import main

    again = partial(configuration_of, arguments)  # what is typed stands, whatever the file says later
    main(again(), os.path.abspath(arguments.socket or default_path()), again, idle=arguments.idle)
    return 0


def dial_stdio(arguments: argparse.Namespace) -> int:
    """``pollprog dial-stdio``."""
    from pollprog import bridge
    from pollprog.addresses import default_path

    bridge.dial_stdio(arguments.socket or default_path(), idle=arguments.idle or bridge.IDLE)
    return 0


def configuration_of(arguments: argparse.Namespace) -> Configuration:
    """The configuration file, and what was typed instead of it. ConfigurationError, UsageError."""
    import msgspec

    from pollprog.config import Service, load
    from pollprog.errors import UsageError

    configuration = load(arguments.config)
    typed = {name: getattr(arguments, name) for name in Service.__struct_fields__}
    told = msgspec.to_builtins(configuration.daemon) | {
        name: value for name, value in typed.items() if value is not None
    }
    try:
        return msgspec.structs.replace(configuration, daemon=msgspec.convert(told, Service))
    except msgspec.ValidationError as error:
        what, _, where = str(error).replace("`", "'").partition(" - at '$.")
        raise UsageError(f"--{where.strip(chr(39)).replace('_', '-')}: {what}") from error


def call(arguments: argparse.Namespace) -> int:
    """``pollprog call``."""
    held = signals.hold(passing=False)
    from pollprog import calling
    from pollprog.errands import asker_of
    from pollprog.errors import Cancelled

    asker = asker_of(
        arguments.connect,
        progress=arguments.progress,
        interval=arguments.interval,
        as_json=arguments.json,
        progress_fd=arguments.progress_fd,
    )
    if arguments.method is None or arguments.help:
        held.release()
        return help_of(arguments, asker) if arguments.help else calling.list_operations(asker)
    try:
        return calling.call(asker, arguments.method, arguments.values, arguments.rest, held)
    except Cancelled as error:
        if held.interrupted:
            calling.complain(error, as_json=arguments.json)
            signals.die_by(signal.SIGINT)
        raise


def help_of(arguments: argparse.Namespace, asker: Asker) -> int:
    """What an operation takes; where no daemon is there to say it, what one of ours takes."""
    from pollprog import calling
    from pollprog.errors import Unreachable, UsageError

    try:
        return calling.help_of(asker, arguments.method)
    except Unreachable as error:
        from pollprog.asking import find
        from pollprog.catalogue import ours

        why = f"{error} (your own operations are known to it alone)"
        try:
            operation = find([one.described() for one in ours().values()], arguments.method)
        except UsageError as unknown:
            raise UsageError(f"{unknown}; {why}") from None
        error.args = (why,)
        calling.complain(error)
        return calling.help_with(operation)


def submit(arguments: argparse.Namespace) -> int:
    """``pollprog submit``."""
    from pollprog import calling
    from pollprog.errands import asker_of

    asker = asker_of(arguments.connect, as_json=arguments.json)
    if arguments.help:
        return help_of(arguments, asker)
    return calling.submit(asker, arguments.method, arguments.values, arguments.rest)


def list_jobs(arguments: argparse.Namespace) -> int:
    """``pollprog list``."""
    from pollprog import viewing
    from pollprog.errands import asker_of

    return viewing.list_jobs(asker_of(arguments.connect, as_json=arguments.json), arguments.state)


def show_job(arguments: argparse.Namespace) -> int:
    """``pollprog show``."""
    from pollprog import viewing
    from pollprog.errands import asker_of

    return viewing.show_job(asker_of(arguments.connect, as_json=arguments.json), arguments.job)


def watch(arguments: argparse.Namespace) -> int:
    """``pollprog watch``."""
    held = signals.hold(passing=False)
    from pollprog import viewing
    from pollprog.errands import asker_of
    from pollprog.errors import UsageError

    if arguments.job is None and arguments.progress_fd is not None:
        raise UsageError("--progress-fd tells of one job: name it; --json tells of all of them")
    asker = asker_of(
        arguments.connect,
        progress=arguments.progress,
        interval=arguments.interval,
        as_json=arguments.json,
        progress_fd=arguments.progress_fd,
    )
    status = viewing.watch(asker, arguments.job, held)
    if held.interrupted:
        signals.die_by(signal.SIGINT)
    return status


def order(arguments: argparse.Namespace) -> int:
    """``pollprog cancel``, ``pause``, ``resume``."""
    from pollprog import viewing
    from pollprog.errands import asker_of

    asker = asker_of(arguments.connect, as_json=arguments.json)
    return viewing.order(asker, arguments.command.title(), arguments.jobs)


def shell(arguments: argparse.Namespace) -> int:
    """``pollprog shell``."""
    from pollprog.errands import asker_of
    from pollprog.shell import main

    progress = "none" if arguments.no_progress_bars else "auto"
    return main(asker_of(arguments.connect, progress=progress), arguments.file)


def attach(arguments: argparse.Namespace) -> int:
    """``pollprog attach --connect``."""
    from pollprog import elsewhere
    from pollprog.errands import asker_of
    from pollprog.errors import UsageError

    for option in ("probe", "total"):
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option.replace('_', '-')} does not go with --connect: the daemon there measures")
    held = signals.hold(passing=False)
    asker = asker_of(
        arguments.connect,
        progress=arguments.progress,
        interval=arguments.interval,
        progress_fd=arguments.progress_fd,
    )
    return interrupted(held, lambda: elsewhere.attach(asker, arguments.targets, held))


def top(arguments: argparse.Namespace) -> int:
    """``pollprog top --connect``."""
    held = signals.hold(passing=False)
    from pollprog import elsewhere
    from pollprog.errands import asker_of

    asker = asker_of(arguments.connect, interval=arguments.interval, as_json=arguments.json)
    return interrupted(held, lambda: elsewhere.top(asker, held))


def interrupted(held: Held, function: Callable[[], int]) -> int:
    """The exit status that it returns; after Ctrl-C, end as programs do that it ends."""
    from pollprog.errors import Cancelled

    try:
        status = function()
    except Cancelled as error:
        status = error.exit_status
        if not held.interrupted:
            raise
    if held.interrupted:
        signals.die_by(signal.SIGINT)
    return status


def printing_errors(function: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The same command; with ``--json``, an error is a line of JSON on standard output, too."""

    def command(arguments: argparse.Namespace) -> int:
        from pollprog.errors import PollprogError

        try:
            return function(arguments)
        except PollprogError as error:
            if arguments.json:
                from pollprog.calling import print_error

                print_error(error)
            raise

    return command


COMMANDS = {
    "daemon": daemon,
    "dial-stdio": dial_stdio,
    "call": printing_errors(call),
    "submit": printing_errors(submit),
    "list": printing_errors(list_jobs),
    "show": printing_errors(show_job),
    "watch": printing_errors(watch),
    "cancel": printing_errors(order),
    "pause": printing_errors(order),
    "resume": printing_errors(order),
    "shell": shell,
}
