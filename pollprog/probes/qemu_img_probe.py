"""How far a qemu-img is: what it answers when it is asked, or prints."""

from __future__ import annotations

from dataclasses import replace
from signal import SIGUSR1
from typing import TYPE_CHECKING

from pollprog.probes.asking import Asker
from pollprog.probes.procio import ProcIo
from pollprog.probes.qemu_img import TOOL
from pollprog.probes.records import Records, Rule

if TYPE_CHECKING:
    from pollprog.probes import Target
    from pollprog.status import Sample

__all__ = ["QemuImgProbe"]

RULE = Rule(rb" *\((?P<percent>[0-9]{1,3}\.[0-9]{2})/100%\)")


class QemuImgProbe(Records):
    """How far one qemu-img is. `interval`: the least number of seconds between two signals."""

    def __init__(self, target: Target, *, interval: float = 0.1) -> None:
        super().__init__(target, [RULE], source="qemu-img", streams=(1, 2))
        self._asker = Asker(target, TOOL, SIGUSR1, 2, interval=interval)
        unheard = not target.claims and "rebase" in target.process.argv()[1:3]
        self._written = ProcIo(target, "wchar") if unheard else None

    def sample(self) -> Sample | None:
        """What it said last; None before that. Of a rebase that is not heard, what it has written.

        That one reads more images than its words name, each as large as the disk: what it has read, of those, would be all too early.
        """
        self._asker.ask()
        said = super().sample()
        if said is None and self._written is not None and (written := self._written.sample()) is not None:
            return replace(written, source="qemu-img")
        return said
