"""What the words of a git are for: which of its commands they are, what phases that has, and whether it shows them so that they can be read."""

from __future__ import annotations

import os

from pollprog.probes.program import has_option
from pollprog.surroundings import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PHASES", "edits", "english", "phases", "place_of", "subcommand", "wide"]

COMING = {"counting objects": 1, "compressing objects": 3, "receiving objects": 78, "resolving deltas": 13}
FILES = {"updating files": 5}
PACKING = {"counting objects": 7, "compressing objects": 48, "writing objects": 25, "removing duplicate objects": 20}
REPACKING = {"counting objects": 1, "compressing objects": 92, "writing objects": 7}
PHASES: Mapping[str, Mapping[str, int]] = {
    "clone": COMING | FILES,
    "fetch": COMING,
    "pull": COMING | FILES,
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
    "submodule": COMING | FILES,
}
"""What is known of which command, and the share of each phase in the time."""
VALUED = ("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--super-prefix", "--config-env", "--list-cmds")
WIDEST = 80
"""Columns of a line of progress: in less, git cuts it in two."""


def phases(argv: Sequence[str]) -> Mapping[str, int]:
    """The phases of the command that these words are, with their shares."""
    name = subcommand(argv)
    plan = PHASES.get(name, COMING)
    if name in ("gc", "repack") and has_option(argv, "fF", ("--aggressive",)):  # no delta that there is will do
        return REPACKING
    if name == "clone" and has_option(argv, "n", ("--no-checkout", "--bare", "--mirror")):
        return COMING
    return plan


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
