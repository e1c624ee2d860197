r"""Which signals pollprog takes while a command runs under it, who sent them, and what becomes of them.

The command is in our process group, so what the terminal sends (Ctrl-C, Ctrl-\, Ctrl-Z, a hang-up) it has already got.
What a process sends to us with kill(2) it has not got, and is passed on, once. The kernel tells the two apart in si_code,
which no Python handler is told; so the signals are held blocked, and waited for with sigtimedwait(2).

Job control: at SIGTSTP we stop ourselves as well, by the default action, so that the kernel's rule for orphaned groups holds.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Launched

__all__ = ["Held", "hold", "pass_on", "sent_by_terminal", "stop_ourselves", "wait"]

FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS}
UNCATCHABLE = {signal.SIGKILL, signal.SIGSTOP}
INTERPRETERS = {signal.SIGPIPE, signal.SIGXFSZ}
JOB_CONTROL = {signal.SIGTTIN, signal.SIGTTOU}
WITHOUT_EFFECT = {signal.SIGWINCH, signal.SIGURG}
NOT_HELD = FAULTS | UNCATCHABLE | INTERPRETERS | JOB_CONTROL | WITHOUT_EFFECT


class Held:
    """The signals that are held, and the mask as it was before: what the command is to find."""

    __slots__ = ("mask", "signals")

    def __init__(self, signals: set[int], mask: set[signal.Signals]) -> None:
        self.signals = signals
        self.mask = mask


def hold() -> Held:
    """Block every signal that we take, before the command starts, and before any thread does.

    Those ignored on our behalf (by nohup, by a shell without job control) stay ignored, for us and for the command.
    """
    signals = {number for number in signal.valid_signals() if number not in NOT_HELD and not ignored(number)}
    signals.add(signal.SIGCHLD)
    return Held({int(number) for number in signals}, set(signal.pthread_sigmask(signal.SIG_BLOCK, signals)))  # type: ignore[arg-type] # it yields Signals, and ints for real-time ones


def ignored(number: int) -> bool:
    """Whether this signal was ignored when we were started."""
    return signal.getsignal(number) is signal.SIG_IGN


def wait(held: Held, seconds: float) -> signal.struct_siginfo | None:
    """The next held signal, or None after so many seconds."""
    return signal.sigtimedwait(held.signals, seconds)


def sent_by_terminal(info: signal.struct_siginfo) -> bool:
    """Whether the kernel sent it, to the whole foreground group, and no process did."""
    return info.si_code > 0


def pass_on(info: signal.struct_siginfo, launched: Launched) -> bool:
    """Pass a signal on to the command, if it has not got it already; say whether it was passed on."""
    if info.si_signo == signal.SIGCHLD or sent_by_terminal(info):
        return False
    if info.si_signo == signal.SIGHUP and info.si_pid == os.getsid(0):
        return False  # a shell that ends hangs up each job as a whole
    if info.si_signo == signal.SIGCONT and not is_stopped(launched.pid):
        return False
    try:
        signal.pidfd_send_signal(launched.pidfd, info.si_signo)
    except (ProcessLookupError, PermissionError):  # it has ended; it runs as somebody else now
        return False
    return True


def is_stopped(pid: int) -> bool:
    """Whether that process, a child of ours that is not reaped, stands still."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def stop_ourselves() -> None:
    """Stop, as SIGTSTP does by default, and return when we are continued."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_by(number: int) -> None:
    """End as this signal ends a program that does not catch it: the shell is told the truth. Does not return."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
