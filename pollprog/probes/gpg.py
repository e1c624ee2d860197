"""``gpg``: how much of each file it has read, which it writes to a status descriptor (``--status-fd``, ``--enable-progress-filter``).

The descriptor is added by ``run``, in a terminal too, to commands that work on files, unless the command or gpg's configuration has one.
What else gpg writes there, of keys and signatures, is not looked at. Of what comes from a pipe the total is not known; and
what is smaller than 1 MiB is not told.
"""

from __future__ import annotations

import os

from pollprog.probes.program import Program, has_option, holds
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

ACTIONS = (
    "--symmetric", "--encrypt", "--decrypt", "--sign", "--detach-sign", "--clear-sign", "--clearsign", "--verify",
    "--store", "--encrypt-files", "--decrypt-files", "--multifile",
)  # fmt: skip
OURS = ("--status-fd", "--status-file", "--enable-progress-filter", "--options", "--command-fd", "--command-file")
"""Who is given one of these is told another way what gpg says; or reads another configuration."""
SCALES = ("B", "KiB", "MiB", "GiB", "TiB")


class Gpg(Program):
    """Knows gpg by each of its names."""

    name = "gpg"
    programs = frozenset({"gpg2"})
    launched = "by what it writes to a status descriptor (`--status-fd`, `--enable-progress-filter`): how much of each file it has read"
    attached = "by evidence: the position in its input"
    totals = "what it says: the size of each file; none for what comes from a pipe"
    wrong = "Several files are a phase each. What is smaller than 1 MiB is not told."

    def prepare(self, command: Command) -> Command:
        """The same, with a status descriptor."""
        if not has_option(command.argv, "cedsb", ACTIONS) or has_option(command.argv, "", OURS):
            return command
        if configured(command.argv) or not holds(command, b"status-fd", b"enable-progress-filter"):
            return command
        return command.with_status(
            lambda argv, number: (argv[0], "--status-fd", str(number), "--enable-progress-filter", *argv[1:])
        )

    def probe(self, target: Target) -> Probe:
        """By its records: the file, how much of how much, and in which unit."""
        from pollprog.probes.contract import STATUS
        from pollprog.probes.records import Records, Rule
        from pollprog.status import Unit

        rules = []
        for power, scale in enumerate(SCALES):
            begin, unit = rb"\[GNUPG:\] PROGRESS (?P<phase>[^ ]+) \? (?P<current>[0-9]+) ", scale.encode()
            rules.append(Rule(begin + b"0 " + unit, Unit.BYTES, 1024**power))
            if power:
                rules.append(Rule(begin + b"(?P<total>[1-9][0-9]*) " + unit, Unit.BYTES, 1024**power))
        return Records(target, rules, source="gpg", streams=(STATUS,))


def configured(argv: Sequence[str]) -> bool:
    """Whether gpg's own configuration may have a status descriptor."""
    home = here().environment.get("GNUPGHOME") or os.path.expanduser("~/.gnupg")
    for word, after in zip(argv[1:], (*argv[2:], ""), strict=True):
        if word.startswith("--hom"):
            home = word.partition("=")[2] or after
    for folder in ("/etc/gnupg", home):
        try:
            paths = [entry.path for entry in os.scandir(folder) if entry.name.startswith("gpg.conf")]
            for path in paths:
                with open(path, "rb") as file:
                    if b"status-f" in file.read():
                        return True
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return True
    return False


TOOL = Gpg()
