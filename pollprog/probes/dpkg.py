"""``dpkg``: the packages that it unpacks, configures or removes, by what it writes to a status descriptor (``--status-fd``).

The descriptor is added by ``run``, in a terminal too, unless the command or dpkg's configuration has one. Without, the same is read in
dpkg's log, from the beginning of its work on, so that one that already runs is told as well. Each package counts for three steps,
unpacking, unpacked, installed. How many there are, dpkg does not say; for ``-i`` the files that are named are counted. Triggers at
the end, as that of man-db, take long and say nothing: then all is done, and it is "finishing".
"""

from __future__ import annotations

import os

from pollprog.probes.program import Program, has_option, holds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Target
    from pollprog.probes.dpkg_log import DpkgLog
    from pollprog.probes.dpkg_probe import DpkgProbe

__all__ = ["TOOL", "named_files"]

ACTIONS = ("--install", "--unpack", "--configure", "--remove", "--purge", "--triggers-only")


class Dpkg(Program):
    """Knows dpkg."""

    name = "dpkg"
    launched = "by what it writes to a status descriptor (`--status-fd`): each package counts for three steps"
    attached = "by its log, where the same stands; without one by evidence: the files that it reads and writes"
    totals = "the package files that its words name (`-i`); else none"
    wrong = "Triggers at the end take long and say nothing: then it is finishing. A large package counts as much as a small one."

    def prepare(self, command: Command) -> Command:
        """The same, with a status descriptor."""
        if not has_option(command.argv, "irP", ACTIONS) or has_option(command.argv, "", ("--status-fd",)):
            return command
        if configured() or not holds(command, b"status-fd"):
            return command
        return command.with_status(lambda argv, number: (argv[0], "--status-fd", str(number), *argv[1:]))

    def probe(self, target: Target) -> DpkgProbe | DpkgLog:
        """By what it writes to the descriptor, or into its log."""
        from pollprog.probes.dpkg_log import DpkgLog
        from pollprog.probes.dpkg_probe import DpkgProbe

        probe = DpkgProbe(target)
        added = target.launched and has_option(target.process.argv(), "", ("--status-fd",))
        return probe if added else DpkgLog(target, probe)


def named_files(argv: Sequence[str]) -> int | None:
    """How many packages are installed; None where the words do not say it."""
    if not has_option(argv, "i", ("--install",)) or has_option(argv, "R", ("--recursive",)):
        return None
    return sum(1 for word in argv[1:] if word.endswith((".deb", ".udeb")) and not word.startswith("-")) or None


def configured() -> bool:
    """Whether dpkg's own configuration may have a status descriptor."""
    paths = ["/etc/dpkg/dpkg.cfg", os.path.expanduser("~/.dpkg.cfg")]
    try:
        paths += [entry.path for entry in os.scandir("/etc/dpkg/dpkg.cfg.d")]
    except OSError:
        pass
    for path in paths:
        try:
            with open(path, "rb") as file:
                if b"status-fd" in file.read():
                    return True
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False


TOOL = Dpkg()
