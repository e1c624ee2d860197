"""``pvmove:VG/LV``: what LVM moves or makes the same, by its percentage (``pvmove:vg0/pvmove0``; ``pvmove:vg0``: every pvmove there).

``pvmove -b``, ``lvconvert`` and the repair of a mirror or a RAID volume go on in the kernel when their command has ended; ``lvs`` is run
once a second, and says how many percent are copied. Only root may look.

A mirror or a RAID volume that has got to 100 % has ended well. A pvmove is over when its volume is gone, and whether it was
finished or aborted, nobody can tell then.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from pollprog.errors import ProcessError, UsageError
from pollprog.phases import WHOLE
from pollprog.probes.asked import LOST, Asked, AskedWork, Said, found_program
from pollprog.probes.resource import Kind
from pollprog.status import Outcome, Sample, State, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.probes.asked import Answer
    from pollprog.probes.resource import Resource

__all__ = ["RESOURCE", "parse_report", "parse_volume"]

NAME = r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,127}"
ARGUMENT = re.compile(f"({NAME})(?:/({NAME}))?")
MOVE = re.compile(r"pvmove[0-9]+")
PERCENT = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,2})?")
FIELDS = "lv_name,copy_percent"


class Pvmove(Kind):
    """LVM."""

    name = "pvmove"
    argument = "VG/LV"
    attached = "by the percentage that `lvs` says is copied, asked once a second"
    totals = "LVM's own percentage, of the whole volume"
    wrong = "Whether a pvmove was finished or aborted is not told: the outcome is lost. Documented, not run here."

    def open(self, argument: str) -> Sequence[Resource]:
        """The volume that is named, or every pvmove of a group."""
        found = ARGUMENT.fullmatch(argument)
        if found is None:
            raise UsageError(f"pvmove:{argument} names no volume; write pvmove:VG/LV, as in pvmove:vg0/pvmove0")
        group, name = found.groups()
        program = found_program("lvs", "lvm2")
        words = [program, "--all", "--reportformat", "json", "--options", FIELDS, group]
        asked = Asked(words)
        try:
            answer = asked.first()
        finally:
            asked.close()
        volumes = parse_report(answer.output)
        if volumes is None or answer.code:
            raise ProcessError(f"pvmove:{argument}: {answer.complaint()}")
        if name is not None and name not in volumes:
            raise ProcessError(f"pvmove:{argument}: there is no such volume; lvs -a {group} lists them")
        wanted = [one for one in volumes if (MOVE.fullmatch(one) if name is None else one == name)]
        working = [one for one in wanted if is_under_way(one, volumes[one])]
        if not working:
            raise ProcessError(f"pvmove:{argument}: nothing is under way there")
        return [
            AskedWork(f"{group}/{one}", f"{group}-{one}", words, partial(parse_volume, volume=one)) for one in working
        ]


def is_under_way(name: str, percent: float | None) -> bool:
    """Whether anything is copied there."""
    return percent is not None and (percent < 100 or MOVE.fullmatch(name) is not None)


def parse_volume(answer: Answer, *, volume: str) -> Said | None:
    """What an answer says of one volume."""
    volumes = parse_report(answer.output)
    if volumes is None or answer.code:
        return None
    percent = volumes.get(volume)
    if percent is not None and is_under_way(volume, percent):
        return Said(Sample(round(percent * WHOLE / 100), WHOLE, Unit.PARTS, source="lvs"))
    if percent is None:
        return Said() if volume in volumes and MOVE.fullmatch(volume) else Said(outcome=LOST)
    return Said(outcome=Outcome(State.SUCCEEDED, 0))


def parse_report(data: bytes) -> dict[str, float | None] | None:
    """Each volume with the percentage that is copied, None where none is said; None for what is no report."""
    try:
        rows = [(row["lv_name"], row["copy_percent"]) for report in json.loads(data)["report"] for row in report["lv"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    volumes: dict[str, float | None] = {}
    for name, said in rows:
        if not isinstance(name, str) or not isinstance(said, str):
            return None
        percent = float(said) if PERCENT.fullmatch(said) else None
        volumes[name.strip("[]")] = percent if percent is not None and percent <= 100 else None  # [hidden]
    return volumes


RESOURCE = Pvmove()
