"""How a command ended, in each of the ways that it is said."""

from __future__ import annotations

import json
import os

import pytest

from pollprog.ending import exit_code, outcome_of, tell
from pollprog.status import Outcome, State


@pytest.mark.parametrize(
    ("ended", "status", "outcome"),
    [
        ((0, None), 0, Outcome(State.SUCCEEDED, 0)),
        ((7, None), 7, Outcome(State.FAILED, 7)),
        ((None, 15), 143, Outcome(State.FAILED, None, 15)),
        ((None, None), 125, Outcome(State.LOST)),
    ],
)
def test_an_ending_is_the_same_in_every_form(ended, status, outcome):
    assert exit_code(ended) == status
    assert outcome_of(ended) == outcome
    reader, writer = os.pipe()
    tell("job", ended, 0.25, writer)
    os.close(writer)
    with open(reader, "rb") as file:
        line = json.loads(file.read())
    assert (line["job"], line["state"], line["elapsed"]) == ("job", str(outcome.state), 0.25)
    assert (line["exit"], line["signal"]) == ended


def test_what_nobody_can_know_has_the_status_that_is_asked_for():
    assert exit_code((None, None), lost=123) == 123
