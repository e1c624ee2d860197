"""``git``: the progress that it prints, in a terminal, or with ``--progress`` into a pipe or a file: its phases under one fraction.

Without ``--progress`` git shows nothing in a pipe or a file, and asks the other side for nothing. What works in one repository alone,
``gc``, ``repack`` and ``fsck``, is had to show it nevertheless (the first two by a pseudoterminal for their standard error, as they know no
option), and all of it is taken out again. To others ``run`` adds nothing: what the other side, or a hook, then prints can't be told from
what it says otherwise. Then evidence tells how much has come. To a daemon's job, whose output nobody gets but us, ``--progress`` is added.
What may open an editor is not heard in a terminal (``merge``, ``rebase -i``; ``pull`` but with ``--ff-only``, ``--no-edit``, ``--rebase``).
Titles in another language than English say nothing.
"""

from __future__ import annotations

import os

from pollprog.probes.program import Program, can_hear, has_option, holds, listening
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pollprog.launch import Command
    from pollprog.probes import Probe, Target

__all__ = ["TOOL", "subcommand"]

FETCHING = {
    "counting objects": 2,
    "compressing objects": 5,
    "receiving objects": 75,
    "resolving deltas": 13,
    "updating files": 5,
}
PACKING = {"counting objects": 5, "compressing objects": 60, "writing objects": 35}
FILES = {"updating files": 1}
PHASES: Mapping[str, Mapping[str, int]] = {
    "clone": FETCHING,
    "fetch": FETCHING,
    "pull": FETCHING,
    "push": {"counting objects": 3, "compressing objects": 12, "writing objects": 75, "resolving deltas": 10},
    "repack": PACKING,
    "gc": PACKING,
    "maintenance": PACKING,
    "fsck": {"checking object directories": 10, "checking objects": 90},
    "checkout": FILES,
    "switch": FILES,
    "restore": FILES,
    "reset": FILES,
    "merge": FILES,
    "rebase": {"rebasing": 1},
    "submodule": FETCHING,
}
"""What is known of which command, and the share of each phase in the time."""
VALUED = ("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--super-prefix", "--config-env", "--list-cmds")
SEVERAL = ("--all", "--multiple", "--recurse-submodules", "--recursive", "-m")
"""With one of these it all happens more than once."""
ALONE = ("gc", "repack", "fsck")
"""Commands that speak with nobody else, and start nobody else's program."""
WIDEST = 80
"""Columns of a line of progress: in less, git cuts it in two."""
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
        from pollprog.probes.logged import Logged
        from pollprog.probes.records import Records, Rule
        from pollprog.status import Unit

        argv = target.process.argv()
        plan = PHASES.get(subcommand(argv), FETCHING)
        titles = b"|".join(title.capitalize().encode() for title in plan if title != "rebasing")
        count = rb"\((?P<current>[0-9]{1,18})/(?P<total>[0-9]{1,18})\)(?:, .*)?"
        rules = (
            [Rule(rb"(?:remote: )?(?P<phase>" + titles + rb"): +[0-9]{1,3}% " + count, Unit.ITEMS)] if titles else []
        )
        if "rebasing" in plan:
            rules.append(
                Rule(rb"Rebasing \((?P<current>[0-9]{1,9})/(?P<total>[0-9]{1,9})\)", Unit.ITEMS, phase="rebasing")
            )
        once = subcommand(argv) != "submodule" and not set(SEVERAL) & set(argv)
        weights = plan if once and len(plan) > 1 else None
        names = {title.capitalize(): title for title in plan}
        return Logged(target, Records(target, rules, source="git", streams=(2,), weights=weights, names=names), (2,))


def subcommand(argv: Sequence[str]) -> str:
    """Which of git's commands these words are for; '' for none."""
    place = place_of(argv)
    return argv[place] if place < len(argv) else ""


def place_of(argv: Sequence[str]) -> int:
    """Where the command stands among the words: behind the options that are for any."""
    place = 1
    while place < len(argv) and argv[place].startswith("-"):
        place += 2 if argv[place] in VALUED else 1
    return place


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


def wide() -> bool:
    """Whether git prints lines that are not cut: it looks at the variable, then at its standard output, and takes it to be wide."""
    if columns := here().environment.get("COLUMNS"):
        return columns.isdigit() and int(columns) >= WIDEST
    return not here().is_terminal(1) or os.get_terminal_size(1).columns >= WIDEST


def english() -> bool:
    """Whether the titles will be in English."""
    environment = here().environment
    values = [environment.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG")]
    language = next(filter(None, values), "C")
    if language.partition(".")[0] in ("C", "POSIX"):
        return True
    return (environment.get("LANGUAGE") or language).startswith("en")


def edits(argv: Sequence[str]) -> bool:
    """Whether it may open an editor, or ask something: that is for a terminal of its own."""
    name = subcommand(argv)
    if name == "pull":
        return not has_option(argv, "r", ("--ff-only", "--no-edit", "--rebase"))
    if name == "rebase":
        return has_option(argv, "i", ("--interactive", "--continue", "--skip", "--edit-todo", "--exec", "--autosquash"))
    if name == "submodule":
        return "update" not in argv
    return name == "merge" or has_option(argv, "pi", ("--patch", "--interactive"))


TOOL = Git()
