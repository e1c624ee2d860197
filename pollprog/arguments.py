"""What can be typed: the command line as argparse knows it, for parsing, help and completion.

Options of ``run`` end at the command's first word, and no option may be abbreviated: what is not ours is the command's.

`COMMANDS` has a line for each command. A command line makes the parser of its own command and no other: the whole tree of
them, which help and completion need, takes longer than what a short command has.
"""

from __future__ import annotations

import argparse
import os
import re

from pollprog import __version__
from pollprog.errors import UsageError
from pollprog.output import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

__all__ = ["parse", "parser", "positionals"]

EPILOG = (
    "exit status: that of the command; 128+N if signal N ended it; 127 if it was not found, 126 if it cannot be run, "
    "125 for a fault of pollprog's own, 2 for a wrong option; 1 where what pollprog does itself cannot be done, as a copy, "
    "or watching a process that is not there; attach: 123 where nobody can know."
)
FILES = {"bash": "_shtab_compgen_files", "zsh": "_files"}
"""How shells complete a value: the name of a file."""
WORDS = {"bash": "_pollprog_words_or_files", "zsh": "_files"}
"""The words of a command."""
TOTALS = {"bash": "_pollprog_total"}
PIDS = {"bash": "_pollprog_pids", "zsh": "_pids"}
PROBES = {"bash": "_pollprog_probe"}
PROBE_NAMES = {"bash": "_pollprog_probe_name"}


class Formatter(argparse.HelpFormatter):
    """As wide as the terminal. argparse would import what compresses archives to learn how wide that is."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ["COLUMNS"])
        except (KeyError, ValueError):
            columns = os.get_terminal_size(1).columns if os.isatty(1) else 0
        super().__init__(prog, width=max(columns or 80, 20) - 2)


class Parser(argparse.ArgumentParser):
    """The parser of one command, or without a name the one of all. Says what is wrong as UsageError does."""

    def __init__(self, prog: str, text: str) -> None:
        super().__init__(
            prog,
            description=f"{text[0].upper()}{text[1:].removesuffix('.')}.",
            epilog=EPILOG,
            allow_abbrev=False,
            formatter_class=Formatter,
        )

    def error(self, message: str) -> NoReturn:
        """What is wrong with the command line."""
        raise UsageError(f"{message}; see {self.prog} --help")

    def _print_message(self, message: str, file: object = None) -> None:  # noqa: ARG002 # there is one place for it
        """Help and version; what is wrong is told by `error`."""
        show(message)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """What this command line asks for. UsageError for what cannot be asked for."""
    argv = list(argv)
    end = len(argv)
    if argv[:1] == ["run"]:
        end = command_word(argv)
    elif argv[:1] in (["call"], ["submit"], ["probes"], ["record"], ["completion"]) and "--" in argv:
        end = argv.index("--")
    helped = helped_operation(argv[:end])
    if helped is not None:
        argv, end = helped, len(helped)
    if argv and argv[0] in COMMANDS:
        command = Parser(f"pollprog {argv[0]}", COMMANDS[argv[0]][0])
        COMMANDS[argv[0]][1](command)
        arguments, unknown = command.parse_known_args(argv[1:end])
        arguments.command = argv[0]
    else:
        arguments, unknown = parser().parse_known_args(argv[:end])
    if unknown:
        raise UsageError(f"unrecognized arguments: {' '.join(unknown)}; see pollprog {arguments.command} --help")
    arguments.help = helped is not None
    arguments.rest = argv[end + 1 :] if argv[end : end + 1] == ["--"] else None
    if arguments.command == "run":
        arguments.words = argv[end:] if arguments.rest is None else arguments.rest
    return arguments


def helped_operation(argv: Sequence[str]) -> list[str] | None:
    """The same without the option, where a command line asks for help with one operation: the daemon knows what that takes."""
    if argv[:1] not in (["call"], ["submit"]) or not {"-h", "--help"} & set(argv):
        return None
    rest = [word for word in argv if word not in ("-h", "--help")]
    try:
        command = Parser(f"pollprog {argv[0]}", COMMANDS[argv[0]][0])
        COMMANDS[argv[0]][1](command)
        method = command.parse_known_args(rest[1:])[0].method
    except UsageError:
        return None
    return None if method is None else rest


def positionals(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """What stands before the last of these words: the daemon's address, and the words that are no options. UsageError."""
    command = Parser(f"pollprog {words[0]}", "complete")
    COMMANDS[words[0]][1](command)
    told = vars(command.parse_known_args([*words[1:-1], words[-1] or "x"])[0])
    behind = [told.get("method"), *(told.get("values") or []), told.get("job"), *(told.get("jobs") or [])]
    return told["connect"], [words[0], *(word for word in behind if word is not None)][:-1]


def command_word(argv: list[str]) -> int:
    """Where the options of ``run`` end: at ``--``, or at the first word that is neither an option nor an option's value."""
    at = 1
    while at < len(argv) and argv[at].startswith("-") and argv[at] not in ("--", "-"):
        takes_value = "=" not in argv[at] and argv[at] not in ("-h", "--help", "--no-prepare")
        at += 2 if takes_value else 1
    return min(at, len(argv))


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser("pollprog", "Progress for commands that have none: measures any long command from outside.")
    top.add_argument("--version", action="version", version=f"pollprog {__version__}")
    commands = top.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=Parser, prog="pollprog"
    )
    for name, (text, fill) in COMMANDS.items():
        fill(commands.add_parser(name, text=text, help=text))
    return top


# --- commands


def run(command: argparse.ArgumentParser) -> None:
    command.usage = "pollprog run [options] [--] COMMAND [ARGUMENT ...]"
    measuring(command)
    command.add_argument(
        "--no-prepare", action="store_true", help="run the command exactly as typed: add nothing, claim no stream"
    )
    showing(command)
    words = command.add_argument("words", nargs="*", metavar="COMMAND", help="the command, as you would type it")
    completed(words, WORDS)


def attach(command: argparse.ArgumentParser) -> None:
    measuring(command)
    showing(command)
    connecting(command, "the machine whose process it is: ssh://[user@]host[:port] (default this one)")
    text = "process to watch, or work that no process stands for, as md:md0; see pollprog probes"
    completed(command.add_argument("targets", nargs="+", type=target, metavar="PID", help=text), PIDS)


def top(command: argparse.ArgumentParser) -> None:
    connecting(command, "the machine to look at: ssh://[user@]host[:port] (default this one)")
    command.add_argument("--json", action="store_true", help="print it once, one JSON object a line")
    command.add_argument("--interval", type=seconds, metavar="S", help="seconds between two looks (default 1)")


def copy(command: argparse.ArgumentParser) -> None:
    for name, text in (("source", "file to copy"), ("destination", "name of the copy, or folder that it goes to")):
        completed(command.add_argument(name, metavar=name.upper(), help=text), FILES)
    command.add_argument("--force", action="store_true", help="replace what has that name")
    command.add_argument("--preserve", action="store_true", help="keep mode and times")
    showing(command)


def probes(command: argparse.ArgumentParser) -> None:
    command.usage = "pollprog probes [NAME], or pollprog probes --explain -- COMMAND [ARGUMENT ...]"
    command.add_argument("--explain", action="store_true", help="run a command, and print what every probe says of it")
    completed(command.add_argument("name", nargs="?", metavar="NAME", help="one of them, in full"), PROBE_NAMES)


def record(command: argparse.ArgumentParser) -> None:
    command.usage = "pollprog record [-o NAME] -- COMMAND [ARGUMENT ...]"
    fd = "In COMMAND, {fd} is the number of a descriptor: what it is told there is written down, too."
    command.description = f"{command.description or ''} {fd}".strip()
    text = "beginning of the files' names (default: the program's name)"
    completed(command.add_argument("-o", "--output", metavar="NAME", help=text), FILES)


def completion(command: argparse.ArgumentParser) -> None:
    command.usage = "pollprog completion {bash,zsh}"
    command.add_argument("shell", choices=("bash", "zsh"), help="which shell")


def daemon(command: argparse.ArgumentParser) -> None:
    completed(command.add_argument("--socket", metavar="PATH", help="listen here instead of the default place"), FILES)
    completed(command.add_argument("--config", metavar="FILE", help="read this configuration instead"), FILES)
    command.add_argument(
        "--initial-delay", type=limit, metavar="S", help="seconds of work before the first status (default 1)"
    )
    command.add_argument("--interval", type=seconds, metavar="S", help="seconds between two statuses (default 1)")
    command.add_argument("--grace", type=limit, metavar="S", help="seconds between SIGTERM and SIGKILL (default 10)")
    for name, text in (
        ("connections", "so many connections at a time"),
        ("jobs", "so many jobs at work at a time"),
        ("finished", "so many jobs that have ended are remembered"),
        ("message-size", "bytes of the longest message that is read"),
    ):
        command.add_argument(f"--{name}", type=whole, metavar="N", help=text)

    command.add_argument(
        "--idle", type=seconds, metavar="S", help="end after S seconds without anybody and without a job"
    )


def dial_stdio(command: argparse.ArgumentParser) -> None:
    completed(command.add_argument("--socket", metavar="PATH", help="where the daemon listens, if elsewhere"), FILES)
    text = "a daemon that this starts ends after S seconds without anybody (default 60)"
    command.add_argument("--idle", type=seconds, metavar="S", help=text)


def call(command: argparse.ArgumentParser) -> None:
    command.usage = "pollprog call [options] METHOD [NAME=VALUE ...] [-- WORD ...]"
    asking(command)
    showing(command)
    command.add_argument("method", metavar="METHOD", nargs="?", help="the operation; without it, those that there are")
    command.add_argument(
        "values", metavar="NAME=VALUE", nargs="*", help="a parameter; paths may be relative, sizes like 4G"
    )


def submit(command: argparse.ArgumentParser) -> None:
    command.usage = "pollprog submit [options] METHOD [NAME=VALUE ...] [-- WORD ...]"
    asking(command)
    command.add_argument("method", metavar="METHOD", help="the operation")
    command.add_argument("values", metavar="NAME=VALUE", nargs="*", help="a parameter")


def list_jobs(command: argparse.ArgumentParser) -> None:
    asking(command)
    states = ("running", "paused", "cancelling", "succeeded", "failed", "cancelled", "lost")
    command.add_argument("--state", choices=states, help="only those in this state")


def show_job(command: argparse.ArgumentParser) -> None:
    asking(command)
    command.add_argument("job", metavar="JOB", help="its id, or how that begins")


def watch(command: argparse.ArgumentParser) -> None:
    asking(command)
    showing(command)
    command.add_argument("job", metavar="JOB", nargs="?", help="its id, or how that begins; without it, all jobs")


def order(command: argparse.ArgumentParser) -> None:
    asking(command)
    command.add_argument("jobs", metavar="JOB", nargs="+", help="its id, or how that begins")


def shell(command: argparse.ArgumentParser) -> None:
    asking(command, machine=False)
    command.add_argument("--no-progress-bars", action="store_true", help="show no bars")
    completed(command.add_argument("file", metavar="FILE", nargs="?", help="read commands from here"), FILES)


COMMANDS = {
    "run": ("run a command and show how far it is", run),
    "attach": ("show how far a process is that already runs, until it ends", attach),
    "top": ("show everything on this machine whose progress can be told", top),
    "copy": ("copy a file with our own loop: all of it, or nothing, under the name you give", copy),
    "daemon": ("serve operations, and tell how far they are", daemon),
    "dial-stdio": ("pass on what comes from another machine; ssh runs it there", dial_stdio),
    "call": ("have the daemon do something, and show how far it is", call),
    "submit": ("have the daemon do something, and go; prints the id of the job", submit),
    "list": ("list the daemon's jobs", list_jobs),
    "show": ("show all that is known of a job", show_job),
    "watch": ("show how far a job is, or all of them", watch),
    "cancel": ("cancel jobs", order),
    "pause": ("let jobs stand still", order),
    "resume": ("let paused jobs go on", order),
    "shell": ("call operations one after another, with history and completion", shell),
    "probes": ("say what can be recognised, and how each is measured", probes),
    "record": ("write down what a command does, for a plugin's tests", record),
    "completion": ("print the completion script for your shell", completion),
}
"""Each command: what it does, and what may be typed behind it."""


# --- what several have


def completed(action: argparse.Action, by: dict[str, str]) -> None:
    """Say how shells complete the value of an option, or a word."""
    action.complete = by  # type: ignore[attr-defined] # which is how shtab is told


def measuring(command: argparse.ArgumentParser) -> None:
    """The options that say how to measure."""
    named = "measure with this probe: NAME or NAME:ARGUMENT; see pollprog probes"
    completed(command.add_argument("--probe", metavar="P", help=named), PROBES)
    amount = "what the work amounts to: 4G, 4GiB, 1.5T, @FILE for a file's size, @DIR for a tree's"
    completed(command.add_argument("--total", metavar="SIZE", help=amount), TOTALS)


def showing(command: argparse.ArgumentParser) -> None:
    """The options that say how to show."""
    command.add_argument(
        "--progress",
        choices=("auto", "bar", "log", "none"),
        default="auto",
        help="auto: a bar on a terminal, else a log",
    )
    command.add_argument("--progress-fd", type=descriptor, metavar="N", help="write JSON lines to this descriptor")
    command.add_argument("--interval", type=seconds, metavar="S", help="seconds between two statuses (least 0.1)")


def asking(command: argparse.ArgumentParser, *, machine: bool = True) -> None:
    """The options that say who is asked, and how the answer is printed."""
    connecting(command, "the daemon: unix:PATH or ssh://[user@]host[:port] (default $POLLPROG_ADDRESS, else your own)")
    if machine:
        command.add_argument("--json", action="store_true", help="print JSON, one object a line")


def connecting(command: argparse.ArgumentParser, text: str) -> None:
    """The option that says where the daemon is."""
    command.add_argument("--connect", metavar="ADDRESS", help=text)


# --- values


def limit(text: str) -> float:
    """A number of seconds, which may be none."""
    return 0.0 if re.fullmatch(r"0+(\.0*)?", text) else seconds(text)


def whole(text: str) -> int:
    """A number of things."""
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def seconds(text: str) -> float:
    """An interval: a number of seconds, 0.1 or more, in plain digits."""
    number = float(text) if re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", text) else 0.0
    if not 0.1 <= number <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 86400")
    return number


def descriptor(text: str) -> int:
    """A descriptor that is open for writing."""
    import fcntl

    try:
        number = int(text) if text.isascii() and text.isdigit() else -1
        writable = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except (ValueError, OSError, OverflowError):
        writable = False
    if not writable:
        raise argparse.ArgumentTypeError(f"{text!r} is not a descriptor open for writing; open it as in: 3>progress")
    return number


def target(text: str) -> int | str:
    """A process, or what is named like a resource."""
    return text if re.match(r"[a-z]+:", text) else pid(text)


def pid(text: str) -> int:
    """The number of a process, as far as a number can be one."""
    if not text.isascii() or not text.isdigit() or len(text) > 10 or not 0 < int(text) < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a process id; pgrep NAME finds one")
    return int(text)
