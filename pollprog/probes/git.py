"""``git``: the progress that it prints, in a terminal, or with ``--progress`` into a pipe or a file: its phases under one fraction.

Without ``--progress`` git shows nothing in a pipe or a file, and asks the other side for nothing. What works in one repository alone,
``gc``, ``repack`` and ``fsck``, is had to show it nevertheless (the first two by a pseudoterminal for their standard error, as they know no
option), and all of it is taken out again. To others ``run`` adds nothing: what the other side, or a hook, then prints can't be told from
what it says otherwise. Then evidence tells how much has come. To a daemon's job, whose output nobody gets but us, ``--progress`` is added.
What may open an editor is not heard in a terminal (``merge``, ``rebase -i``; ``pull`` but with ``--ff-only``, ``--no-edit``, ``--rebase``).
Titles in another language than English say nothing.
"""

from __future__ import annotations

from pollprog.probes.git_words import PHASES, edits, english, phases, place_of, subcommand, wide
from pollprog.probes.program import Program, can_hear, has_option, holds, listening
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL"]

SEVERAL = ("--all", "--multiple", "--recurse-submodules", "--recursive", "-m")
"""With one of these it all happens more than once."""
ALONE = ("gc", "repack", "fsck")
"""Commands that speak with nobody else, and start nobody else's program."""
SHOWING = ("clone", "fetch", "pull", "push", "checkout", "fsck")
"""Commands that can be told to show their progress."""


class Git(Program):
    """Knows git with those of its commands that take long."""

    name = "git"
    launched = (
        "by the progress that it prints: in a terminal, in a daemon's job, with `--progress` anywhere; of `gc`, `repack` and `fsck` also "
        "with their standard error elsewhere (`2> log`), where none of it arrives; else by evidence: what it writes"
    )
    attached = "by its progress, where it goes into a file (`--progress 2>log`); else by evidence: what it writes"
    totals = "its own counts of objects and files, in English; the weights of the phases are ours"
    wrong = (
        "What others than `gc`, `repack` and `fsck` do prints nothing into a pipe or a file without `--progress`: then how much has come is "
        "told, and no total; nor of these with both streams in one place (`> log 2>&1`). With submodules or several remotes each phase begins anew."
    )

    def recognise(self, command: Command) -> bool:
        """By its command, too: what it starts itself is not looked at."""
        return super().recognise(command) and subcommand(command.argv) in PHASES

    def prepare(self, command: Command) -> Command:
        """The same command; what it says is heard, if it says anything."""
        if here().ours:
            return asked(command)
        if here().is_terminal(2):
            return command if edits(command.argv) else listening(command, 2)
        return listening(command, 2) if {"--progress", "rebase"} & set(command.argv) else unseen(command)

    def probe(self, target: Target) -> Probe:
        """By its records, with the weights that fit its command."""
        from pollprog.probes.logged import said
        from pollprog.probes.records import Rule
        from pollprog.status import Unit

        argv = target.process.argv()
        plan = phases(argv)
        names = {title.capitalize(): title for title in plan} | {"Unpacking objects": "receiving objects"}  # of a few
        titles = "|".join(name for name in names if name != "Rebasing").encode()
        count = rb"\((?P<current>[0-9]{1,18})/(?P<total>[0-9]{1,18})\)(?:, .*)?"
        rules = [Rule(rb"(?:remote: )?(?P<phase>" + titles + rb"): +[0-9]{1,3}% " + count, Unit.ITEMS)]
        if "rebasing" in plan:
            rules.append(
                Rule(rb"Rebasing \((?P<current>[0-9]{1,9})/(?P<total>[0-9]{1,9})\)", Unit.ITEMS, phase="rebasing")
            )
        once = subcommand(argv) != "submodule" and not set(SEVERAL) & set(argv)
        weights = plan if once and len(plan) > 1 else None
        return said(target, *rules, source="git", streams=(2,), weights=weights, names=names)


def asked(command: Command) -> Command:
    """The same command of a job, which shows its progress to us, and to people the rest."""
    argv = list(command.argv)
    if "--progress" in argv or subcommand(argv) not in SHOWING or not english():
        return listening(command, 2)
    if has_option(argv, "q", ("--quiet", "--no-progress")):
        return command
    from pollprog.probes.git_lines import Without

    behind = place_of(argv) + 1
    return command.with_words([*argv[:behind], "--progress", *argv[behind:]]).hearing(2, Without())


def unseen(command: Command) -> Command:
    """The same command, if it is one of `ALONE`, which shows its progress to us, and none of it to those who read its standard error."""
    argv = list(command.argv)
    name = subcommand(argv)
    if (
        name not in ALONE
        or has_option(argv, "qv", ("--quiet", "--verbose", "--no-progress", "--auto", "--detach"))
        or not (can_hear(2) and english() and wide() and holds(command, b"Enumerating objects"))
    ):
        return command
    from pollprog.probes.git_lines import LINES, Without

    if name != "fsck":
        return command.hearing_as_terminal(2, Without(LINES))
    behind = place_of(argv) + 1
    return command.with_words([*argv[:behind], "--progress", *argv[behind:]]).claiming(2, Without(LINES))


TOOL = Git()
