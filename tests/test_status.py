"""What is said is said in these words, and what was said does not change."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from pollprog.status import Bound, Outcome, Sample, State, Status, Unit

STATUS = Status(
    job="dd-1", seq=1, state=State.RUNNING, current=1, total=2, unit=Unit.BYTES, phase="", fraction=0.5, rate=None,
    remaining=None, low=None, high=None, elapsed=1.0, age=0.0, idle=0.0, moving=True, stalled=False, finishing=False,
    source="", bound=Bound.EXACT,
)  # fmt: skip


def test_four_states_are_outcomes() -> None:
    assert [state for state in State if state.over] == [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST]


def test_the_words_are_those_that_readers_of_json_know() -> None:
    assert [str(state) for state in State] == [
        *("queued", "running", "paused", "cancelling"),
        *("succeeded", "failed", "cancelled", "lost"),
    ]
    assert [str(unit) for unit in Unit] == ["bytes", "items", "parts"]
    assert [str(bound) for bound in Bound] == ["exact", "upper", "lower", "estimate"]


@pytest.mark.parametrize("said", [Sample(1), Outcome(State.LOST), STATUS], ids=lambda said: type(said).__name__)
def test_what_was_said_does_not_change(said: object) -> None:
    for field in dataclasses.fields(said):  # type: ignore[arg-type] # each is one
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(said, field.name, None)
    assert not hasattr(said, "__dict__")
    assert pickle.loads(pickle.dumps(said)) == said


def test_a_sample_says_no_more_than_it_is_told() -> None:
    sample = Sample(42)
    assert (sample.current, sample.total, sample.unit, sample.bound) == (42, None, Unit.BYTES, Bound.EXACT)
    assert (sample.phase, sample.source, sample.activity) == ("", "", 0)


def test_an_outcome_invents_neither_exit_nor_signal() -> None:
    assert (Outcome(State.LOST).exit, Outcome(State.LOST).signal) == (None, None)


def test_a_status_has_no_outcome_until_there_is_one() -> None:
    assert STATUS.outcome is None
