r"""Which signals pollprog takes while it works, who sent them, and what becomes of them.

The command is in our process group, so what the terminal sends (Ctrl-C, Ctrl-\, Ctrl-Z, a hang-up) it has already got, and
so has it what a process of its own sends to the group. What anybody else sends to us with kill(2) it has not got, and is
passed on, once. The kernel tells who sent a signal, which no Python handler is told; so the signals are held blocked, and
waited for with sigtimedwait(2). It does not tell a signal to our process from one to the whole group: a command that
handles what ``kill %1`` sends is told twice.

A command may take Ctrl-Z for itself, or ignore it. So SIGTSTP stops us only once it has stopped the command, of which the
kernel tells us by SIGCHLD; an editor puts its terminal in order before.

SIGTTIN, SIGTTOU and SIGSTOP stop us as they stop anybody, and we are none the wiser.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Launched

__all__ = [
    "LEAVING",
    "Held",
    "die_by",
    "hold",
    "is_time_to_stop",
    "pass_on",
    "pass_on_early",
    "sent_by_terminal",
    "stop_ourselves",
    "wait",
]

FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS}
UNCATCHABLE = {signal.SIGKILL, signal.SIGSTOP}
JOB_CONTROL = {signal.SIGTTIN, signal.SIGTTOU}
NOT_HELD = FAULTS | UNCATCHABLE | JOB_CONTROL
LEAVING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
"""What ends a job of our own, or our watching of somebody else's."""
ANSWER = 5.0
"""Seconds within which a command that stops does so because of the SIGTSTP that came."""


class Held:
    """The signals that are held, and the mask as it was before: what the command is to find."""

    __slots__ = ("interrupted", "mask", "signals", "stop_until")

    def __init__(self, signals: set[int], mask: set[signal.Signals]) -> None:
        self.signals = signals
        self.mask = mask
        self.interrupted = False
        """Whether Ctrl-C was typed."""
        self.stop_until = 0.0
        """If the command stops before this time, we stop too."""

    def release(self) -> None:
        """Let every signal act by itself again, as in a program that knows of none; but for those that have come."""
        while wait(self, 0) is not None:
            pass
        if callable(signal.getsignal(signal.SIGINT)):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def hold(*, passing: bool = True) -> Held:
    """Block every signal that we take, before the command starts, and before any thread does.

    Those ignored on our behalf (by nohup, by a shell without job control) are ignored by the command too, unless it handles them;
    we hear them nonetheless, since Linux drops no ignored signal that is blocked. Without `passing`, where there is nobody to
    pass one on to, those are taken that we act upon, and the ignored ones are not.
    """
    if passing:
        signals = set(signal.valid_signals() - NOT_HELD)
    else:
        wanted = {*LEAVING, signal.SIGTSTP, signal.SIGCONT}
        signals = {number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN}
    signals.add(signal.SIGCHLD)
    return Held({int(number) for number in signals}, set(signal.pthread_sigmask(signal.SIG_BLOCK, signals)))  # type: ignore[arg-type] # it yields Signals, and ints for real-time ones


def wait(held: Held, seconds: float) -> signal.struct_siginfo | None:
    """The next held signal, or None after so many seconds."""
    info = signal.sigtimedwait(held.signals, seconds)
    if info is not None and info.si_signo == signal.SIGINT and sent_by_terminal(info):
        held.interrupted = True
    return info


def sent_by_terminal(info: signal.struct_siginfo) -> bool:
    """Whether the kernel sent it, and no process did."""
    return info.si_code > 0


def pass_on(info: signal.struct_siginfo, launched: Launched) -> bool:
    """Pass a signal on to the command, if it has not got it already; say whether it was passed on."""
    number = info.si_signo
    if number == signal.SIGCHLD:
        return False
    if sent_by_terminal(info):
        if number not in (signal.SIGHUP, signal.SIGCONT) or os.getsid(0) != os.getpid():
            return False  # the whole group has got it; but a hang-up goes to the leader of the session alone
    elif number == signal.SIGHUP and info.si_pid == os.getsid(0) != 0 and not terminal_is_there():
        return False  # a shell whose terminal is gone hangs up each job as a whole
    elif info.si_pid == os.getpid() or descends(info.si_pid, launched.pid):
        return False  # our own comes of a write for which there was no reader, or no room
    if number == signal.SIGCONT and not launched.is_stopped():
        return False
    return launched.send(number)


def pass_on_early(held: Held, launched: Launched) -> None:
    """Pass on what came between `hold` and the command's start: whoever sent it, the command was not there to get it."""
    while (info := wait(held, 0)) is not None:
        if info.si_signo != signal.SIGCHLD:
            launched.send(info.si_signo)
        if is_time_to_stop(info, held, launched):
            stop_ourselves()


def is_time_to_stop(info: signal.struct_siginfo, held: Held, launched: Launched) -> bool:
    """Whether the command stands still so that we should: because of a SIGTSTP, or because a shell waits for just that.

    Asked of each signal, once it is passed on.
    """
    if info.si_signo == signal.SIGTSTP:
        held.stop_until = time.monotonic() + ANSWER
    elif info.si_signo != signal.SIGCHLD:
        return False
    if not launched.has_stopped() or (time.monotonic() >= held.stop_until and not shell_waits(launched.pid)):
        return False
    held.stop_until = 0.0
    return True


def shell_waits(pid: int) -> bool:
    """Whether a shell with job control has given us, or this process of ours, the terminal, and takes it back when its job stops.

    So what stops by itself, as ``suspend`` of a shell does, and ``~^Z`` of ssh, leaves the terminal to the user.
    """
    parent = os.getppid()
    try:
        if os.getsid(parent) != os.getsid(0) or os.getpgid(parent) == os.getpgrp():
            return False
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.tcgetpgrp(terminal) in (os.getpgrp(), os.getpgid(pid))
        finally:
            os.close(terminal)
    except OSError:
        return False


def terminal_is_there() -> bool:
    """Whether our session still has its terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def descends(pid: int, ancestor: int) -> bool:
    """Whether the process with this number is that one, or was started by it or below it."""
    for _ in range(1000):
        if pid == ancestor:
            return True
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False
        if pid <= 1:
            return False
    return False


def stop_ourselves() -> None:
    """Stop as SIGTSTP does by default, and return when we are continued.

    By the default action, the kernel's rule holds: nothing stops that no shell is there to continue. The terminal's own SIGTSTP may be
    pending yet, if we were told first that the command has stopped: so ours is raised before it may act, and what continues us takes
    both away.
    """
    signal.raise_signal(signal.SIGTSTP)
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_by(number: int) -> None:
    """End as this signal ends a program that does not catch it, so that a shell's loop around us ends too."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
