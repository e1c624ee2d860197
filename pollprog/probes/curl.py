"""``curl``: what it has written of what the server says there is (``Content-Length``), which it is made to note on a descriptor (``-D``).

The descriptor is added by ``run``, in a terminal and with ``-s`` too, unless the headers are wanted elsewhere, by an option or by
curl's configuration, or several transfers run side by side. Then, and where they say nothing, it is the meter that curl prints, or
its bar (``-#``). Without a length the meter says 100 % all the time: that is not believed, and evidence tells how much has come.
"""

from __future__ import annotations

import os
import re

from pollprog.probes.program import Program, Whole, can_hear, has_option, holds, listening
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

ELSEWHERE = (
    "--dump-header", "--config", "--next", "--parallel", "--head", "--include", "--upload-file", "--trace", "--trace-ascii",
    "--help", "--manual", "--version",
)  # fmt: skip
"""With one of these the headers go elsewhere or are not those of what is written, or curl does something else."""
CONFIGURED = re.compile(rb"^[ \t]*(?:-[^-\s]*[DKIiTZ:]|(?:--)?(?:du|conf|nex|par|head\b|inc|upl|trace))", re.MULTILINE)
"""A line of curl's configuration that asks for the same. Options may be abbreviated there, and need no dashes."""
PLACES = (("CURL_HOME", ""), ("XDG_CONFIG_HOME", ""), ("HOME", ""), ("HOME", ".config"))


class Curl(Program):
    """Knows curl."""

    name = "curl"
    launched = (
        "by what it has written of the length in the headers, which it is made to note on a descriptor (`-D`); else by its meter "
        "or `-#`; else by evidence"
    )
    attached = "by its meter or `-#`, where that goes to a file (`2>log`); else by evidence: what it has written"
    totals = "`Content-Length`, with `-C` `Content-Range`; that of the meter is rounded to three figures"
    wrong = (
        "No total where the server says no length, and with `-Z`; in a terminal none with `--compressed`, and of other protocols than "
        "HTTP. Several transfers are a phase each."
    )

    def prepare(self, command: Command) -> Command:
        """The same, with a descriptor for the headers; and its meter is heard, if there is one."""
        argv = command.argv
        speaks = not has_option(argv, "s", ("--silent", "--no-progress-meter"))
        place = 2 if argv[1:2] in (("-q",), ("--disable",)) else 1  # where it is known in the first place only
        ours = place == 2 or not (has_option(argv[:2], "q") or configured())
        if not ours or has_option(argv, "DKIiTZ:hMV", ELSEWHERE) or not holds(command, b"dump-header"):
            return listening(command, 2) if speaks else command
        if speaks and can_hear(2):  # it may be another protocol; a terminal is left alone
            command = command.claiming(2, Whole())
        return command.with_status(lambda argv, number: (*argv[:place], "-D", f"/proc/self/fd/{number}", *argv[place:]))

    def probe(self, target: Target) -> Probe:
        """By its headers and what it has written, or by its meter."""
        from pollprog.probes.curl_probe import CurlProbe
        from pollprog.probes.logged import Logged

        return Logged(target, CurlProbe(target), (2,))


def configured() -> bool:
    """Whether curl's own configuration may ask for the headers."""
    environment = here().environment
    for variable, folder in PLACES:
        for name in (".curlrc", "curlrc"):
            try:
                with open(os.path.join(environment[variable], folder, name), "rb") as file:
                    if CONFIGURED.search(file.read()):
                        return True
            except (FileNotFoundError, NotADirectoryError, KeyError):
                continue
            except OSError:
                return True
    return False


TOOL = Curl()
