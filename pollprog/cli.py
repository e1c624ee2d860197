"""Arguments to calls. What is heavy is imported only by the command that needs it, and only once it does."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from pollprog import __version__, signals, tools
from pollprog.errors import PollprogError, UsageError
from pollprog.launch import Command, launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.foreground import Options
    from pollprog.launch import Launched
    from pollprog.probes import Tool
    from pollprog.signals import Held

__all__ = ["main"]

MOMENT = 0.1
"""Seconds after which a command that still runs is worth the import of what measures it."""
OURS = 125

EPILOG = """\
exit status: that of the command; 128+N if signal N ended it; 127 if it was not found, 126 if it cannot be run,
125 for a fault of pollprog's own, 2 for a wrong option; attach: 123 where nobody can know."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> None:  # type: ignore[override] # it is annotated as NoReturn, and does not return
        """One line, and exit status 2."""
        print(f"pollprog: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """The whole command line, for parsing, help and completion."""
    top = Parser(
        prog="pollprog",
        description="Progress for commands that have none: measures any long command from outside.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"pollprog {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    def add(name: str, text: str, usage: str | None = None) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            usage=usage,
            epilog=EPILOG,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    run = add("run", "run a command and show how far it is", "pollprog run [options] [--] COMMAND [ARGUMENT ...]")
    measuring(run)
    showing(run)
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="the command, as you would type it")

    attach = add("attach", "show how far a process is that already runs, until it ends")
    measuring(attach)
    showing(attach, machine=False)
    attach.add_argument("pids", nargs="+", metavar="PID", help="process to watch")

    top_ = add("top", "show everything on this machine whose progress can be told")
    top_.add_argument("--json", action="store_true", help="print it once, one JSON object a line")
    top_.add_argument("--interval", type=seconds, metavar="S", help="seconds between two looks (default 1)")

    copy = add("copy", "copy a file with our own loop: all of it, or nothing, under the name you give")
    copy.add_argument("source", metavar="SOURCE", help="file to copy")
    copy.add_argument("destination", metavar="DESTINATION", help="name of the copy")
    copy.add_argument("--force", action="store_true", help="replace what has that name")
    copy.add_argument("--preserve", action="store_true", help="keep mode and times")
    showing(copy)

    probes = add("probes", "say what can be recognised, and how each is measured")
    probes.add_argument("name", nargs="?", metavar="NAME", help="one of them, in full")

    completion = add("completion", "print the completion script for your shell")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which shell")
    return top


def measuring(command: argparse.ArgumentParser) -> None:
    """The options that say how to measure."""
    command.add_argument(
        "--probe", metavar="P", help="measure with this probe: NAME or NAME:ARGUMENT; see pollprog probes"
    )
    command.add_argument(
        "--total",
        metavar="SIZE",
        help="what the work amounts to: 4G, 4GiB, 1.5T, @FILE for a file's size, @DIR for a tree's",
    )


def showing(command: argparse.ArgumentParser, *, machine: bool = True) -> None:
    """The options that say how to show."""
    command.add_argument(
        "--progress",
        choices=("auto", "bar", "log", "none"),
        default="auto",
        help="auto: a bar on a terminal, else a log",
    )
    if machine:
        command.add_argument("--progress-fd", type=descriptor, metavar="N", help="write JSON lines to this descriptor")
    command.add_argument("--interval", type=seconds, metavar="S", help="seconds between two statuses (least 0.1)")


def seconds(text: str) -> float:
    """An interval: a number of seconds, 0.1 or more."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.1 <= number <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 86400")
    return number


def descriptor(text: str) -> int:
    """A descriptor that is open."""
    try:
        number = int(text)
        os.fstat(number)
    except (ValueError, OSError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not an open descriptor; open it as in: {text}>file") from None
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit status."""
    arguments = parser().parse_args(argv)
    try:
        return {
            "run": run,
            "attach": attach,
            "top": show_top,
            "copy": copy,
            "probes": list_probes,
            "completion": print_completion,
        }[arguments.command](arguments)
    except PollprogError as error:
        say(str(error))
        return error.exit_status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader went away; nothing is left to be said to it
        return 141


def say(text: str) -> None:
    """One line on standard error."""
    line = " ".join(text.split())
    try:
        print(f"pollprog: {line}", file=sys.stderr)
    except OSError:
        pass


# --- run


def run(arguments: argparse.Namespace) -> int:
    """``pollprog run``: start the command at once, and measure it if it still runs after a moment."""
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise UsageError("no command to run; as in: pollprog run -- cp big.img /mnt/backup/")
    check_measuring(arguments)
    command = Command(words)
    tool = named_tool(arguments.probe) or tools.find(command)
    if tool is not None:
        command = tool.prepare(command)
    if arguments.progress_fd is not None and arguments.progress_fd > 2:
        # ours alone: its reader sees the end when we end
        os.set_inheritable(arguments.progress_fd, False)  # noqa: FBT003 # it takes no keyword
    held = signals.hold()
    launched = launch(command, mask=held.mask)
    try:
        ended = wait_a_moment(launched, held)
        if ended is None:
            return measure(launched, held, arguments)
        launched.pass_on_rest()
        if arguments.progress_fd is not None:
            from pollprog.foreground import tell_end

            tell_end(launched, ended, arguments.progress_fd)
        return status_of(ended)
    finally:
        launched.close()


def check_measuring(arguments: argparse.Namespace) -> None:
    """Before anything is started: what is typed after --probe and --total has to mean something."""
    if arguments.probe is not None and (name := arguments.probe.partition(":")[0]) not in tools.PROBES:
        raise UsageError(f"there is no probe {name!r}; there are: {', '.join(sorted(tools.PROBES))}")
    if arguments.total is not None:
        from pollprog.sizes import parse_total

        arguments.total = parse_total(arguments.total)


def named_tool(probe: str | None) -> Tool | None:
    """The tool that ``--probe`` names, which then prepares the command whoever starts its program."""
    name = (probe or "").partition(":")[0]
    return tools.load(name) if name in tools.TOOLS else None


def wait_a_moment(launched: Launched, held: Held, moment: float = MOMENT) -> tuple[int | None, int | None] | None:
    """Wait that long for the end of the command, passing signals on; how it ended, or None."""
    until = time.monotonic() + moment
    while (ended := launched.reap()) is None and (left := until - time.monotonic()) > 0:
        info = signals.wait(held, min(left, 3600.0))
        if info is None:
            continue
        signals.pass_on(info, launched)
        if info.si_signo == signal.SIGTSTP:
            signals.stop_ourselves()
    return ended


def measure(launched: Launched, held: Held, arguments: argparse.Namespace) -> int:
    """Show the command until it ends. Whatever goes wrong with that, the command is waited for."""
    try:
        from pollprog import foreground

        return foreground.run(launched, held, options_of(arguments))
    except Exception as error:  # the job comes first: a fault of ours does not end it
        if os.environ.get("POLLPROG_DEBUG"):
            raise
        say(
            f"a fault of pollprog's own, and no progress any more; the command goes on ({type(error).__name__}: {error})"
        )
    ended = wait_a_moment(launched, held, float("inf"))
    assert ended is not None
    return status_of(ended)


def status_of(ended: tuple[int | None, int | None]) -> int:
    """The exit status of a shell, for (exit code, signal)."""
    code, number = ended
    if number is not None:
        return 128 + number
    return OURS if code is None else code


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
    pids = []
    for word in arguments.pids:
        if not word.isascii() or not word.isdigit() or not 0 < int(word) < 1 << 31:
            raise UsageError(f"{word!r} is not a process id; pgrep NAME finds one")
        pids.append(int(word))
    from pollprog import foreground

    return foreground.attach(pids, signals.hold(), options_of(arguments))


def copy(arguments: argparse.Namespace) -> int:
    """``pollprog copy``."""
    held = signals.hold()
    from pollprog import foreground

    return foreground.copy(
        arguments.source,
        arguments.destination,
        held,
        options_of(arguments),
        force=arguments.force,
        preserve=arguments.preserve,
    )


def show_top(arguments: argparse.Namespace) -> int:
    """``pollprog top``."""
    from pollprog import top

    return top.main(once=arguments.json, interval=arguments.interval or 1.0)


def list_probes(arguments: argparse.Namespace) -> int:
    """``pollprog probes``."""
    import importlib

    names = [arguments.name] if arguments.name else sorted(tools.PROBES)
    if arguments.name and arguments.name not in tools.PROBES:
        raise UsageError(f"there is no probe {arguments.name!r}; there are: {', '.join(sorted(tools.PROBES))}")
    for name in names:
        text = (importlib.import_module(tools.PROBES[name]).__doc__ or "").strip()
        print(text if arguments.name else f"{name:10} {text.splitlines()[0]}")
    return 0


def print_completion(arguments: argparse.Namespace) -> int:
    """``pollprog completion``."""
    import shtab

    print(shtab.complete(parser(), shell=arguments.shell))
    return 0
