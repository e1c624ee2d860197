"""``apt-get`` and ``apt``: what they write to a status descriptor (``APT::Status-Fd``), downloading and installing under one fraction.

The descriptor is added by ``run`` to commands that download, install or remove, unless a word or a file of apt's configuration says
anything of progress or of a status descriptor: with one, apt draws no bar of its own. For the same reason ``apt``, which has a bar in a
terminal, is given none there. The option is seen in the ``Commandline`` of apt's own log, and nowhere else. ``sudo apt-get`` starts
another process, which is not ours to prepare: ``sudo pollprog run apt-get`` is.
"""

from __future__ import annotations

import os
import re

from pollprog.probes.program import Program, holds
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

DOWNLOADS = frozenset({"download", "source"})
REMOVES = frozenset({"remove", "purge", "autoremove", "autopurge"})
INSTALLS = frozenset({
    "install", "reinstall", "upgrade", "dist-upgrade", "full-upgrade", "dselect-upgrade", "build-dep", "satisfy",
})  # fmt: skip
ONLY_DOWNLOADS = re.compile(r"--download-only|-[bdfhmqsuvVyD]*d[bdfhmqsuvVyD]*")
WORDS = (b"progress", b"status-fd", b"status-deb822-fd")
"""What a configuration says, in small letters, that a status descriptor would be in the way of."""


class Apt(Program):
    """Knows apt-get, and apt."""

    name = "apt"
    programs = frozenset({"apt-get"})
    launched = (
        "by what it writes to a status descriptor (`APT::Status-Fd`), downloading and installing under one fraction"
    )
    attached = "by evidence: the files that it and the programs below it read and write; while dpkg works, by dpkg's log, which has no total"
    totals = "apt's own percentages, and half of the whole for each of the two; what only downloads, or only removes, is the whole"
    wrong = (
        "If all is downloaded already, that half is passed at once. Where apt's configuration says anything of a status "
        "descriptor, for `apt` in a terminal, and below `sudo`, nothing is added: then evidence speaks."
    )

    def prepare(self, command: Command) -> Command:
        """The same, with a status descriptor."""
        if not weights(command.argv) or configured(command.argv) or not holds(command, b"libapt-pkg"):
            return command
        if command.name == "apt" and here().is_terminal(1):
            return command
        return command.with_status(lambda argv, number: (argv[0], "-o", f"APT::Status-Fd={number}", *argv[1:]))

    def probe(self, target: Target) -> Probe:
        """By its records: which of the two, package or number, percentage, what is done."""
        from pollprog.probes.contract import STATUS
        from pollprog.probes.records import Records, Rule

        rule = Rule(
            rb"(?P<phase>dlstatus|pmstatus):[^: ]*(?::[a-z0-9-]+)?:(?P<percent>[0-9]{1,3}(?:[.,][0-9]{1,6})?):.*"
        )
        names = {"dlstatus": "downloading", "pmstatus": "installing"}
        shares = weights(target.process.argv()) or {"downloading": 50, "installing": 50}
        return Records(target, [rule], source="apt", streams=(STATUS,), weights=shares, names=names)


def weights(argv: Sequence[str]) -> dict[str, float]:
    """What this command does, each with its share of the time; nothing for one that does neither.

    Of what is there to be downloaded, all may be there already: then its share is passed at once.
    """
    verb = next((word for word in argv[1:] if word in DOWNLOADS | REMOVES | INSTALLS), "")
    if not verb:
        return {}
    if verb in DOWNLOADS or any(ONLY_DOWNLOADS.fullmatch(word) for word in argv[1:]):
        return {"downloading": 1}
    return {"installing": 1} if verb in REMOVES else {"downloading": 50, "installing": 50}


def configured(argv: Sequence[str]) -> bool:
    """Whether the user's words, or the files that apt reads, may say something of what it writes of its progress."""
    if any(word.startswith(("-c", "--config-file")) for word in argv[1:]):
        return True
    said = "\n".join(argv[1:]).lower()
    if any(word.decode() in said for word in WORDS):
        return True
    files = [here().environment.get("APT_CONFIG", ""), "/etc/apt/apt.conf"]
    try:
        files += [entry.path for entry in os.scandir("/etc/apt/apt.conf.d")]
    except OSError:
        pass
    return any(mentions(path, WORDS) for path in files if path)


def mentions(path: str, words: Sequence[bytes]) -> bool:
    """Whether there is such a file, and one of these words is in it, or nobody can know."""
    try:
        with open(path, "rb") as file:
            data = file.read().lower()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return any(word in data for word in words)


TOOL = Apt()
