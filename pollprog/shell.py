"""The interactive client: calls of operations one after another, on one daemon.

A line is an operation and its parameters, as behind ``pollprog call``, or one of the commands that ``help`` lists. Quotes are those
of a shell; ``#`` begins a comment. At a prompt there are history and completion; Ctrl-C cancels the call that runs, and keeps the
shell. From a file or a pipe the first error ends it, with its exit status; a line that begins with ``-`` may fail.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

import trio

from pollprog import calling, signals, viewing
from pollprog.asking import find
from pollprog.candidates import candidates
from pollprog.errors import PollprogError, UsageError
from pollprog.output import show, show_fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pollprog.errands import Asker
    from pollprog.messages import OperationMessage
    from pollprog.signals import Held

__all__ = ["Shell", "main"]

PROMPT = "pollprog> "
LONGEST_HISTORY = 1000
NAME = r"\b[a-z]+\b"
"""A command, where it is typed with what stands behind it."""
HELP = {
    "help [OPERATION]": "what can be called, or how",
    "[call] OPERATION …": "have it done, and show how far it is",
    "submit OPERATION …": "start it and go on; prints the job's id",
    "list": "the jobs",
    "show JOB": "all that is known of a job",
    "watch JOB": "how far a job is, until it ends",
    "cancel JOB, pause JOB, resume JOB": "what they say",
    "cd [DIRECTORY]": "where relative paths begin",
    "quit": "leave; jobs that were submitted go on",
}


class Shell:
    """One session."""

    def __init__(self, asker: Asker, held: Held) -> None:
        self.asker = asker
        self.held = held
        """The signals, which are for the call that runs, and at a prompt for the prompt."""
        self.operations: list[OperationMessage] = trio.run(asker.operations)

    def run(self, line: str) -> int:
        """Do what a line says; the exit status. PollprogError, EOFError at ``quit``."""
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise UsageError(f"{error}: {line.strip()}") from error
        if not words:
            return 0
        command = COMMANDS.get(words[0])
        return self.call(words) if command is None else command(self, words[1:])

    def call(self, words: Sequence[str]) -> int:
        """Call an operation."""
        values, rest = split(words[1:])
        return calling.call(self.asker, words[0], values, rest, self.held)

    def submit(self, words: Sequence[str]) -> int:
        """Start an operation, and go on."""
        if not words:
            raise UsageError("submit what? as in: submit CopyFile source=a destination=b")
        return calling.submit(self.asker, words[0], *split(words[1:]))

    def help(self, words: Sequence[str]) -> int:
        """What can be typed."""
        if words:
            name = {"?": "help", "exit": "quit"}.get(words[0], words[0])
            if name in COMMANDS:
                show(
                    "".join(
                        f"{typed}  {meaning}\n" for typed, meaning in HELP.items() if name in re.findall(NAME, typed)
                    )
                )
                return 0
            return calling.help_with(find(self.operations, words[0]))
        calling.list_operations(self.asker)
        wide = max(len(name) for name in HELP)
        show_fitted("\n" + "".join(f"{name:{wide}}  {meaning}\n" for name, meaning in HELP.items()))
        return 0

    def list(self, words: Sequence[str]) -> int:
        """The jobs."""
        return viewing.list_jobs(self.asker, words[0] if words else None)

    def show(self, words: Sequence[str]) -> int:
        """One job."""
        return viewing.show_job(self.asker, one(words))

    def watch(self, words: Sequence[str]) -> int:
        """One job to its end."""
        return viewing.watch(self.asker, one(words), self.held)

    def cancel(self, words: Sequence[str]) -> int:
        """End jobs."""
        return viewing.order(self.asker, "Cancel", words)

    def pause(self, words: Sequence[str]) -> int:
        """Let jobs stand still."""
        return viewing.order(self.asker, "Pause", words)

    def resume(self, words: Sequence[str]) -> int:
        """Let them go on."""
        return viewing.order(self.asker, "Resume", words)

    def cd(self, words: Sequence[str]) -> int:
        """Change where relative paths begin."""
        try:
            os.chdir(os.path.expanduser(words[0] if words else "~"))
        except OSError as error:
            raise UsageError(f"cd: {words[0] if words else '~'}: {error.strerror}") from error
        return 0

    def quit(self, words: Sequence[str]) -> int:
        """Leave."""
        del words
        raise EOFError


COMMANDS: dict[str, Callable[[Shell, Sequence[str]], int]] = {
    "help": Shell.help,
    "?": Shell.help,
    "call": lambda shell, words: shell.call(words) if words else shell.help(words),
    "submit": Shell.submit,
    "list": Shell.list,
    "show": Shell.show,
    "watch": Shell.watch,
    "cancel": Shell.cancel,
    "pause": Shell.pause,
    "resume": Shell.resume,
    "cd": Shell.cd,
    "quit": Shell.quit,
    "exit": Shell.quit,
}


def one(words: Sequence[str]) -> str:
    """The one word that is there."""
    if len(words) != 1:
        raise UsageError("name one job; list shows them")
    return words[0]


def split(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str] | None]:
    """The words before ``--`` and those behind it."""
    if "--" not in words:
        return words, None
    at = list(words).index("--")
    return words[:at], words[at + 1 :]


@contextmanager
def let_through(held: Held, how: int) -> Iterator[None]:
    """For a while, signals act by themselves in this thread (SIG_UNBLOCK), or wait again (SIG_BLOCK). No other thread takes any."""
    before = signal.pthread_sigmask(how, held.signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(asker: Asker, file: str | None) -> int:
    """``pollprog shell``: the exit status."""
    held = signals.hold(passing=False)  # before there is any thread
    shell = Shell(asker, held)
    if file is None and sys.stdin is not None and sys.stdin.isatty():
        return converse(shell)
    try:
        lines = sys.stdin if file is None else open(file, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 # closed below
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    with lines:
        return obey(shell, lines, file or "standard input")


def obey(shell: Shell, lines: TextIO, name: str) -> int:
    """Do what each line says, to the first that fails; its error names the line."""
    for number, line in enumerate(lines, 1):
        try:
            shell.run(line.removeprefix("-"))
        except EOFError:
            break
        except PollprogError as error:
            error.args = (f"{name}, line {number}: {error}",)
            if not line.startswith("-"):
                raise
            calling.complain(error)
    return 0


def converse(shell: Shell) -> int:
    """Ask for lines, and do what they say."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    history = remember()
    complete(shell)
    status = 0
    try:
        while True:
            try:
                with let_through(shell.held, signal.SIG_UNBLOCK):
                    line = input(PROMPT)
                status = shell.run(line)
            except EOFError:
                break
            except KeyboardInterrupt:
                print()
            except PollprogError as error:
                calling.complain(error)
                status = error.exit_status
    finally:
        history()
    return status


def remember() -> Callable[[], None]:
    """Read the history of earlier sessions; what writes it again."""
    import readline

    import platformdirs

    path = os.path.join(platformdirs.user_state_dir("pollprog"), "history")
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(LONGEST_HISTORY)

    def keep() -> None:
        with suppress(OSError):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            readline.write_history_file(path)

    return keep


def complete(shell: Shell) -> None:
    """Have the tab key complete operations, their parameters, and files."""
    import readline

    found: list[str] = []

    def completer(text: str, state: int) -> str | None:
        if state == 0:
            begin = readline.get_line_buffer()[: readline.get_begidx()]
            with let_through(shell.held, signal.SIG_BLOCK):
                found[:] = offers(shell, begin.split(), text)
        return found[state] if state < len(found) else None

    readline.set_completer(completer)
    readline.set_completer_delims(" \t\n")
    readline.parse_and_bind("tab: complete")


def offers(shell: Shell, before: Sequence[str], text: str) -> list[str]:
    """What may stand here, after these words, and begins with `text`."""
    if before:
        return candidates(shell.asker, shell.operations, before, text)
    first = [*(operation.name for operation in shell.operations), *COMMANDS]
    return [f"{word} " for word in first if word.lower().startswith(text.lower())]
