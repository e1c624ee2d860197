"""The commands that users type. What is heavy is imported only by the command that needs it, and only once it does."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time

from pollprog import ending, signals, tools
from pollprog.arguments import parse
from pollprog.errors import PollprogError, UsageError, fault
from pollprog.launch import Command, launch
from pollprog.output import show, show_fitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pollprog.ending import Ended
    from pollprog.foreground import Options
    from pollprog.launch import Launched
    from pollprog.probes.resource import Resource
    from pollprog.signals import Held

__all__ = ["main"]

MOMENT = 0.1
"""Seconds after which a command that still runs is worth the import of what measures it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit status."""
    occupy_streams()
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        return COMMANDS[arguments.command](arguments)
    except PollprogError as error:
        say(str(error))
        return error.exit_status
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        signals.die_by(signal.SIGINT)
        raise
    except Exception as error:  # one line for the user; the rest for who looks for the fault
        if os.environ.get("POLLPROG_DEBUG"):
            raise
        say(f"a fault of pollprog's own: {described(error)}")
        return ending.OURS


def occupy_streams() -> None:
    """Where the user closed a stream, put something there, lest a descriptor of ours is taken for it.

    The command does not inherit it, and finds the stream closed; and so do we, who cannot write to standard output then.
    """
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            try:
                os.open(os.devnull, os.O_RDONLY if stream == 1 else os.O_RDWR)
            except OSError:  # a rescue system without /dev
                os.open("/", os.O_RDONLY)


def say(text: str) -> None:
    """One line on standard error, whatever was typed. Imports nothing and waits for nobody: it tells of faults, too."""
    shown = (char for char in " ".join(text.split()) if char.isprintable() or "\ud800" <= char <= "\udfff")
    line = f"pollprog: {''.join(shown)}\n".encode("utf-8", "replace")
    try:
        os.pwritev(2, [line], -1, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    except OSError:  # not for this kind of file
        try:
            if writable(2):
                os.write(2, line)
        except (OSError, ImportError):
            pass


def writable(descriptor: int) -> bool:
    """Whether a write would not wait."""
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(1000))


def described(error: BaseException) -> str:
    """An exception in a few words: of a group, the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


# --- run


def run(arguments: argparse.Namespace) -> int:
    """``pollprog run``: start the command at once, and measure it if it still runs after a moment."""
    if not arguments.words:
        raise UsageError("no command to run; as in: pollprog run -- cp big.img /mnt/backup/")
    check_measuring(arguments)
    command = Command(arguments.words)
    sys.stdout = None  # standard output is the command's alone: what a plugin prints is nowhere
    if not arguments.no_prepare:
        command = prepared(command, arguments)
    if arguments.progress_fd is not None and arguments.progress_fd > 2:
        # ours alone: its reader sees the end when we end
        os.set_inheritable(arguments.progress_fd, False)  # noqa: FBT003 # it takes no keyword
    held = signals.hold()
    launched = launch(command, mask=held.mask)
    signals.pass_on_early(held, launched)
    if launched.ends:
        from pollprog import streams

        streams.listen(launched)
    ended = wait_a_moment(launched, held)
    if ended is None:
        ended = measure(launched, held, arguments)
    else:
        tell(launched, ended, arguments)
    held.release()
    for ear in launched.ears:
        ear.finish()  # where the user's end takes its time, Ctrl-C ends us now
    launched.close()
    if held.interrupted and ended[1] == signal.SIGINT:
        signals.die_by(signal.SIGINT)
    return ending.exit_code(ended)


def check_measuring(arguments: argparse.Namespace) -> None:
    """Before anything is started: what is typed after --probe and --total has to mean something."""
    if arguments.probe is not None:
        tools.check(arguments.probe)
    if arguments.total is not None:
        from pollprog.sizes import parse_total

        arguments.total = parse_total(arguments.total)


def prepared(command: Command, arguments: argparse.Namespace) -> Command:
    """The command as the tool that knows it would have it. A stranger's that fails is not named any more, nor found again."""
    try:
        return heard(tools.prepare(command, arguments.probe)[0])
    except Exception as error:  # the job comes first: a fault of a plugin does not keep it from starting
        if os.environ.get("POLLPROG_DEBUG"):
            raise
        say(f"a fault of the plugin for {command.name}, which is left out: {fault(error)}")
        if arguments.probe is not None and tools.stranger(arguments.probe) is not None:
            from pollprog import strangers

            strangers.leave_out(arguments.probe)
            arguments.probe = None
        return command


def heard(command: Command) -> Command:
    """The same command. Raises, before anything is started, if nobody could listen to the streams that it claims."""
    if command.claims:
        from pollprog import streams

        streams.try_listening(command.claims, command.terminals)
    return command


def wait_a_moment(launched: Launched, held: Held, moment: float = MOMENT) -> Ended | None:
    """Wait that long for the end of the command, passing signals on; how it ended, or None."""
    until = time.monotonic() + moment
    while (ended := launched.reap()) is None and (left := until - time.monotonic()) > 0:
        info = signals.wait(held, min(left, 3600.0))
        if info is None:
            continue
        signals.pass_on(info, launched)
        if signals.is_time_to_stop(info, held, launched):
            signals.stop_ourselves()
    return ended


def measure(launched: Launched, held: Held, arguments: argparse.Namespace) -> Ended:
    """Show the command until it ends. Whatever goes wrong with that, the command is waited for."""
    ended = None
    if arguments.progress != "none" or arguments.progress_fd is not None:
        try:
            ended = import_meanwhile(launched, held, to_its_end=arguments.progress_fd is not None)
            if ended is None:
                from pollprog import foreground

                ended = foreground.run(launched, held, options_of(arguments))
                gc.freeze()  # we are about to end: what the interpreter would still collect keeps the user waiting
                return ended
        except Exception as error:  # the job comes first: a fault of ours does not end it
            if os.environ.get("POLLPROG_DEBUG"):
                raise
            say(f"a fault of pollprog's own; the command goes on, without progress: {described(error)}")
    if ended is None:
        ended = wait_a_moment(launched, held, float("inf"))
    assert ended is not None
    tell(launched, ended, arguments)
    return ended


def import_meanwhile(launched: Launched, held: Held, *, to_its_end: bool) -> Ended | None:
    """Import what measures, in a thread: it takes its time, in which signals are passed on. How the command ended, or None.

    `to_its_end`: also once the command has ended, for who imports something then, which would find it half imported.
    """
    from threading import Thread

    def load() -> None:
        try:
            import ctypes

            # The C library needs it where a thread ends, and aborts us if by then no descriptor is left to load it.
            ctypes.CDLL("libgcc_s.so.1")
        except Exception:  # noqa: BLE001, S110 # another C library
            pass
        try:
            import pollprog.foreground  # noqa: F401 # the next to import it finds it done, or what is wrong with it
        except Exception:  # noqa: BLE001, S110 # told where it is raised again
            pass

    loading = Thread(target=load, name="pollprog import", daemon=True)
    loading.start()
    ended = None
    while ended is None and loading.is_alive():
        ended = wait_a_moment(launched, held, 0.02)
    if to_its_end:
        loading.join()
    return ended


def tell(launched: Launched, ended: Ended, arguments: argparse.Namespace) -> None:
    """The last line of JSON, for a command that was not measured."""
    if arguments.progress_fd is not None:
        job = f"{launched.command.name}-{launched.pid}"
        try:
            ending.tell(job, ended, time.monotonic() - launched.started, arguments.progress_fd)
        except Exception as error:  # noqa: BLE001 # the exit status of the command is not lost by it
            say(f"a fault of pollprog's own; the last line of JSON is missing: {described(error)}")


def options_of(arguments: argparse.Namespace) -> Options:
    """What the command line says, for the foreground."""
    from pollprog.foreground import Options

    return Options(
        total=getattr(arguments, "total", None),
        probe=getattr(arguments, "probe", None),
        progress=arguments.progress,
        progress_fd=getattr(arguments, "progress_fd", None),
        interval=arguments.interval,
    )


# --- the others


def attach(arguments: argparse.Namespace) -> int:
    """``pollprog attach``."""
    check_measuring(arguments)
    for target in arguments.targets:
        if isinstance(target, str):
            tools.check_resource(target)
            if arguments.probe is not None or arguments.total is not None:
                raise UsageError(f"--probe and --total are for processes; how {target} is measured, it says itself")
    if arguments.connect is not None:
        from pollprog import service_commands

        return service_commands.attach(arguments)
    pids = [target for target in arguments.targets if isinstance(target, int)]
    words = [target for target in arguments.targets if isinstance(target, str)]
    resources, refused = open_resources(words)  # before signals are held: Ctrl-C ends us while a server is waited for
    held = signals.hold(passing=False)
    from pollprog import foreground

    options = options_of(arguments)
    status = foreground.attach(pids, held, options, resources=resources, refused=refused)
    if held.interrupted:
        signals.die_by(signal.SIGINT)
    return status


def open_resources(words: Sequence[str]) -> tuple[list[Resource], list[str]]:
    """What is under way at these resources, and a line for each that cannot be watched."""
    if not words:
        return [], []
    from pollprog.probes import resource

    return resource.open_resources(list(dict.fromkeys(words)))


def copy(arguments: argparse.Namespace) -> int:
    """``pollprog copy``."""
    held = signals.hold(passing=False)
    from pollprog import foreground
    from pollprog.errors import Cancelled

    try:
        foreground.copy(
            arguments.source,
            destination_of(arguments.source, arguments.destination),
            held,
            options_of(arguments),
            force=arguments.force,
            preserve=arguments.preserve,
        )
    except Cancelled as error:
        say(str(error))
        if held.interrupted:
            signals.die_by(signal.SIGINT)
        return error.exit_status
    return 0


def destination_of(source: str, typed: str) -> str:
    """The name of the copy: in a folder that is there, the source's own, as cp has it."""
    return os.path.join(typed, os.path.basename(source.rstrip("/"))) if os.path.isdir(typed) else typed


def show_top(arguments: argparse.Namespace) -> int:
    """``pollprog top``."""
    if arguments.connect is not None:
        from pollprog import service_commands

        return service_commands.top(arguments)
    from pollprog import top

    return top.main(once=arguments.json, interval=arguments.interval or 1.0)


def list_probes(arguments: argparse.Namespace) -> int:
    """``pollprog probes``."""
    if arguments.rest is not None or arguments.explain:
        if not (arguments.rest and arguments.explain) or arguments.name:
            raise UsageError("write pollprog probes --explain -- COMMAND")
        from pollprog import recording

        return ending.exit_code(recording.explain(arguments.rest))
    from pollprog.probes import table

    show_fitted(table.page_of(arguments.name) if arguments.name else table.listed())
    return 0


def record(arguments: argparse.Namespace) -> int:
    """``pollprog record``."""
    if not arguments.rest:
        raise UsageError("no command to record; as in: pollprog record -- e2fsck -f image")
    from pollprog import recording

    return ending.exit_code(recording.record(arguments.rest, arguments.output or os.path.basename(arguments.rest[0])))


def print_completion(arguments: argparse.Namespace) -> int:
    """``pollprog completion``; behind ``--``, the words that were typed so far: the script asks what the last one may become."""
    if arguments.rest:
        from pollprog.candidates import typed

        show("".join(f"{word}\n" for word in typed(arguments.rest)))
        return 0
    from pollprog.completion import completion

    show(completion(arguments.shell))
    return 0


def ask(arguments: argparse.Namespace) -> int:
    """The commands that start a daemon, or ask one."""
    from pollprog import service_commands

    return service_commands.COMMANDS[arguments.command](arguments)


COMMANDS = {
    "run": run,
    "attach": attach,
    "top": show_top,
    "copy": copy,
    "probes": list_probes,
    "record": record,
    "completion": print_completion,
} | dict.fromkeys(
    ("daemon", "dial-stdio", "call", "submit", "list", "show", "watch", "cancel", "pause", "resume", "shell"), ask
)
