"""``wget``: what it has written of the ``Length`` that it prints; where its messages are translated, or it writes to a pipe, its percentage.

It is heard wherever it prints, and read in the log that it keeps (``-o``, ``-b``, ``2>log``), from the first look on. With ``-q`` it says
nothing, and evidence tells how much has come.
"""

from __future__ import annotations

from pollprog.probes.program import Program, has_option, listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]


class Wget(Program):
    """Knows wget."""

    name = "wget"
    launched = "by what it has written of the length that it prints, or by its percentage; with `-q` by evidence"
    attached = (
        "by the percentage that it writes into its log (`2>log`, `-o`, `-b`); else by evidence: what it has written"
    )
    totals = "the `Length` that it prints, with `-c` that of the whole file; none where the server says none"
    wrong = (
        "Several files are a phase each. Of what is unpacked on the way (`--compression`) there is only the percentage."
    )

    def prepare(self, command: Command) -> Command:
        """The same command; what it says is heard, if it says anything."""
        if has_option(command.argv, "qob", ("--quiet", "--output-file", "--background")):
            return command
        return listening(command, 2)

    def probe(self, target: Target) -> Probe:
        """By its words and its file."""
        from pollprog.probes.logged import Logged
        from pollprog.probes.wget_probe import WgetProbe, is_log

        return Logged(target, WgetProbe(target), (2,), named=is_log(target))


TOOL = Wget()
