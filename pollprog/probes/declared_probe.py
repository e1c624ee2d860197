"""How far a program is that a table of the configuration declares: the table checked, and the building block that it means."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog import declared
from pollprog.config import load
from pollprog.errors import UsageError
from pollprog.probes import Hears
from pollprog.probes.contract import STATUS
from pollprog.probes.declared import FD, STREAMS
from pollprog.probes.keptfile import KeptFile, by_rules
from pollprog.probes.logged import Logged
from pollprog.probes.patterns import check_pattern
from pollprog.probes.records import Records, Rule
from pollprog.probes.treesize import survey_tree
from pollprog.sizes import parse_total

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pollprog.config import Configuration, Declared
    from pollprog.errors import ConfigurationError
    from pollprog.probes import Probe, Target
    from pollprog.status import Sample

__all__ = ["WithTotal", "checked", "filled", "made"]

PLACE = re.compile(r"\{(-?[1-9][0-9]?)\}")
GROUPS = {"current", "total", "percent", "phase"}


def checked(name: str, table: Declared, file: Configuration) -> list[Rule]:
    """The rules of a table. ConfigurationError, with the line, for what cannot be."""

    def wrong(key: str, what: object) -> ConfigurationError:
        where = f"tools.{name}{'.' if key else ''}{key}"
        return file.wrong(where, f"{where}: {what}")

    ways = [key for key in ("stream", "status", "file") if getattr(table, key) is not None]
    if len(ways) != 1:
        key = ways[1] if ways else ""
        raise wrong(key, "say one of stream, status and file: where the program tells how far it is")
    if table.status is not None and FD not in "".join(table.status):
        raise wrong("status", f"the number of the descriptor has no place in it: write {FD} where it belongs")
    if table.after and table.status is None:
        raise wrong("after", "there is no status whose words would stand there")
    if table.file is not None and (table.phases or table.names):
        raise wrong(
            "phases" if table.phases else "names", "in a file the phases are told as they stand there: leave this out"
        )
    if (table.pattern is None) == (table.patterns is None):
        raise wrong("pattern" if table.pattern else "", "say one of pattern and patterns: what a line is like")
    key = "pattern" if table.patterns is None else "patterns"
    rules = []
    for text in table.patterns or [table.pattern or ""]:
        pattern = text.encode()
        try:
            groups = set(re.compile(pattern).groupindex)
            check_pattern(pattern)
        except (re.error, ValueError, RecursionError, OverflowError) as error:
            raise wrong(key, error) from error
        if groups - GROUPS or not groups & {"current", "percent", "phase"}:
            raise wrong(key, f"{text!r}: its groups are (?P<current>…), total, percent and phase, one at the least")
        rules.append(Rule(pattern, table.unit, table.scale))
    return rules


def made(name: str, target: Target) -> Probe:
    """The probe, by the configuration as it stands now. ConfigurationError."""
    file = load(declared.path())
    table = file.tools.get(name)
    if table is None:
        raise file.wrong("tools", f"there is no [tools.{name}] any more")
    rules = checked(name, table, file)
    probe: Probe
    if table.file is not None:
        path = filled(table.file, own_words(name, table, target))
        if path is None:
            raise ProcessLookupError(f"the command has no word for {table.file}")
        probe = KeptFile(target, target.process.inside(path), by_rules(rules), source=name, bound=table.bound)
    else:
        heard = STATUS if table.status is not None else STREAMS[table.stream or "stdout"]
        records = Records(
            target, rules, source=name, streams=(heard,), weights=table.phases, names=table.names, bound=table.bound
        )
        probe = records if heard == STATUS else Logged(target, records, (heard,))
    if table.total is None:
        return probe
    return WithTotal(probe, total_of(table.total, own_words(name, table, target), target))


def own_words(name: str, table: Declared, target: Target) -> Sequence[str]:
    """The words of the command, from its name on: before that of a script stands its interpreter."""
    words = target.process.argv()
    names = table.programs or [name]
    return next((words[at:] for at, word in enumerate(words[:3]) if os.path.basename(word) in names), words)


def filled(text: str, argv: Sequence[str]) -> str | None:
    """The text with words of the command in its places: ``{1}`` the first that is no option; None if there is none."""
    words = [word for word in argv[1:] if not word.startswith("-")]
    try:
        return PLACE.sub(lambda place: words[int(place[1]) - (int(place[1]) > 0)], text)
    except IndexError:
        return None


def total_of(text: str, words: Sequence[str], target: Target) -> int | str | None:
    """What the table says of the total, for this command: a number, or a folder; None where it says nothing."""
    if target.total is not None:
        return target.total
    said = filled(text, words)
    if said is None:
        return None
    if said.startswith("@"):
        said = f"@{target.process.inside(said[1:])}"
    try:
        return parse_total(said)
    except UsageError:
        return None  # the file that is named is not there, or empty


class WithTotal:
    """A probe, with a total where it says none."""

    def __init__(self, probe: Probe, total: int | str | None) -> None:
        self._probe = probe
        self._total = None if isinstance(total, str) else total
        self._folder = total if isinstance(total, str) else None

    def feed(self, stream: int, record: bytes) -> None:
        """One record, if it hears any."""
        if isinstance(self._probe, Hears):
            self._probe.feed(stream, record)

    def sample(self) -> Sample | None:
        """What it says; more than there is means that the total is none."""
        said = self._probe.sample()
        if said is None or said.total is not None or self._total is None or said.current > self._total:
            return said
        return replace(said, total=self._total)

    def survey(self) -> Iterator[int] | None:
        """The walk through the folder that is the total."""
        return None if self._folder is None else self._walk(self._folder)

    def _walk(self, folder: str) -> Iterator[int]:
        size = 0
        for size in survey_tree(folder):
            yield size
        self._total, self._folder = size or None, None

    def close(self) -> None:
        """Close it."""
        self._probe.close()
