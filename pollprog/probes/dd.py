"""``dd``: its own reports, which it gives when it gets SIGUSR1; where it may not be asked, its descriptors.

The total is what its operands say (``count=``, ``bs=``, ``skip=`` with every suffix that dd knows) and what its input holds.

A signal is sent at most once a second, and only to a dd, GNU's or busybox's, that

- has a handler for it at that moment,
- says its answer to us: its standard error is heard, and passed on without the reports that we asked for,
- reads what no signal can shorten: a file or a block device, or with ``iflag=fullblock`` anything,
- has begun to copy, runs without POSIXLY_CORRECT, and would answer with a report like its last one: not with
  ``status=none``, ``status=progress``, ``conv=noerror``, or a conversion that pads.

Its standard error is heard if ``run`` starts it by name. A dd below a shell or sudo is heard, and so asked, only with ``run
--probe dd``, which hears the standard error of the whole command. A dd that is attached to is never asked, with ``--probe
dd`` neither: it would answer on somebody else's terminal, where we do not hear it.
"""

from __future__ import annotations

import os
import stat

from pollprog.errors import UsageError
from pollprog.probes.dd_arguments import operands, parse
from pollprog.probes.dd_reports import ReportFilter
from pollprog.probes.program import Program
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Target
    from pollprog.probes.dd_probe import DdProbe

__all__ = ["TOOL", "Dd", "is_busybox", "probe"]

PROGRAMS = frozenset({"dd", "busybox", "coreutils"})
"""Names of the programs that may be behind a running dd. A script that is called dd runs in another."""


class Dd(Program):
    """Knows GNU dd and that of busybox."""

    name = "dd"
    launched = (
        "by its own reports, for which it is asked with SIGUSR1 where its standard error is heard and the guards allow it; "
        "else by its descriptors"
    )
    attached = "by its descriptors: the position in the input, that in the output, or bytes written; never by a signal"
    totals = "its operands (`count=`, `bs=`, `skip=`), else the size of its input"
    wrong = "What its descriptors tell is ahead of what is written by its buffers, a block each; of a pipe without `count=` there is no total."

    def recognise(self, command: Command) -> bool:
        """By its words; of what runs, by its program too."""
        if command.executable is not None and os.path.basename(command.executable) not in PROGRAMS:
            return False
        return operands(command.argv) is not None

    def prepare(self, command: Command) -> Command:
        """The same command, its standard error heard, if it is a dd that may be asked, or one that the user has named."""
        if 2 in command.claims or (self.recognise(command) and not may_be_asked(command)):
            return command
        return command.claiming(2, ReportFilter())

    def probe(self, target: Target) -> DdProbe:
        """How to measure it."""
        from pollprog.probes.dd_probe import DdProbe

        return DdProbe(target)


TOOL = Dd()


def probe(target: Target, argument: str | None) -> DdProbe:
    """The probe behind ``--probe dd``."""
    if argument is not None:
        raise UsageError("dd takes no argument; write --probe dd")
    return TOOL.probe(target)


def is_busybox(command: Command) -> bool:
    """Whether this dd is that of busybox, as far as can be told."""
    return command.name == "busybox" or os.path.basename(command.executable or "") == "busybox"


def may_be_asked(command: Command) -> bool:
    """Whether a dd that is yet to be started may get a signal, as far as its words tell; if not, nothing of it is touched."""
    arguments = parse(command.argv, busybox=is_busybox(command))
    if arguments is None or arguments.unanswering or "POSIXLY_CORRECT" in here().environment:
        return False
    if arguments.full_blocks:
        return True
    try:
        info = here().stat(0) if arguments.input is None else os.stat(arguments.input)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(info.st_mode) or stat.S_ISBLK(info.st_mode)
