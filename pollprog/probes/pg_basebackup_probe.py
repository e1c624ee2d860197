"""How far a pg_basebackup is, by its lines; and that it waits for the server's checkpoint, of which nobody knows how long it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pollprog.probes.records import Records, Rule
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from pollprog.probes import Target

__all__ = ["PgBasebackupProbe"]

LINE = rb" *(?P<current>[0-9]{1,15})/(?P<total>[0-9]{1,15}) kB \([0-9]{1,3}%\), [0-9]+/[0-9]+ tablespaces?(?: \(.*\))?"
WAITING = b"waiting for checkpoint"


class PgBasebackupProbe(Records):
    """The probe of one pg_basebackup."""

    def __init__(self, target: Target) -> None:
        rule = Rule(LINE, Unit.BYTES, scale=1024)
        super().__init__(target, [rule], source="pg_basebackup", streams=(2,), bound=Bound.ESTIMATE)
        self._waiting: Sample | None = None

    def feed(self, stream: int, record: bytes) -> None:
        """One line."""
        if stream == 2 and record.rstrip() == WAITING:
            self._waiting = Sample(0, None, Unit.BYTES, WAITING.decode(), "pg_basebackup", Bound.ESTIMATE)
        super().feed(stream, record)

    def sample(self) -> Sample | None:
        """What its newest line says; None before there is one."""
        told = super().sample()
        if told is None and self._waiting is not None:
            return replace(self._waiting, activity=self._activity.look())
        return told
