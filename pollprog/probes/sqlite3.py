"""``sqlite3``: a ``.backup`` by what it has written of the size of the database, a ``VACUUM`` by what it has read and written.

The command has to stand alone behind the name of the database, as in ``sqlite3 a.db '.backup b.db'``; a VACUUM may have PRAGMAs before it. Then
nothing is added, and one that already runs is told as well. Of what comes by standard input, of other statements and of ``.dump`` evidence speaks.
"""

from __future__ import annotations

import re
import shlex

from pollprog.probes.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.probes import Probe, Target

__all__ = ["TOOL", "Work", "parse"]

PRAGMAS = r"(?:\s*pragma\s[^;]*+;)*\s*"
VACUUM = re.compile(PRAGMAS + r"vacuum(?:\s+main)?(?P<into>\s+into\s[^;]*+)?\s*;?\s*", re.IGNORECASE)

COPYING = (".backup", ".save", ".restore")
"""Of these, sqlite3 takes the words apart where they stand: its command line shows them without their spaces and quotation marks."""


class Sqlite(Program):
    """Knows sqlite3."""

    name = "sqlite3"
    launched = "`.backup`, `.save` and `.restore` by what it has written; `VACUUM` by what it has read, and then written back; else by evidence"
    attached = "the same"
    totals = "the size of the database, for VACUUM without the pages in it that are free"
    wrong = "Only what stands alone behind the database's name is known. What is in the log of a database in WAL mode is not counted; of `.dump` there is no total."

    def probe(self, target: Target) -> Probe:
        """By its counters."""
        from pollprog.probes.sqlite3_probe import SqliteProbe

        return SqliteProbe(target, parse(target.process.argv()))


class Work:
    """What is done: `kind` is ``backup``, ``vacuum`` or ``vacuum into``; `source` and `output` are paths as they were typed."""

    def __init__(self, kind: str, source: str, output: str = "") -> None:
        self.kind = kind
        self.source = source
        self.output = output


def parse(argv: Sequence[str]) -> Work | None:
    """What these words have it do; None for what is not known."""
    at = next(
        (number for number, word in enumerate(argv) if word.split(maxsplit=1)[:1] and word.split()[0] in COPYING), 0
    )
    at = at or len(argv) - 1
    if at < 2 or not argv[at - 1] or argv[at - 1].startswith(("-", ".")):
        return None
    database, command = argv[at - 1], argv[at:]
    if len(command) == 1 and (found := VACUUM.fullmatch(command[0])):
        return Work("vacuum into" if found["into"] else "vacuum", database)
    try:
        words = shlex.split(command[0]) if len(command) == 1 else [word.lstrip(" \t\"'") for word in command]
    except ValueError:
        return None
    names = [name for name in words[1:] if name and not name.startswith("-")]
    if words[0] not in COPYING or not names or names[:-1] not in ([], ["main"]):
        return None
    if words[0] == ".restore":
        return Work("backup", names[-1], database)
    return Work("backup", database, names[-1])


TOOL = Sqlite()
