"""Sessions that raise their deviations as they close, and sessions that raise none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trialkit.session import AttendingOperator, Planned, ScriptedOperator, Stop, run_session

USUBJID = "SCI-RAGT-01-001"


def deviations(study: Any) -> dict[str, str]:
    found = study.record.read(kinds=["deviation.raised"])
    return {e.payload["category"]: e.payload["detail"] for e in found}


@pytest.mark.parametrize("rate", ["stride", "full"])
def test_a_conforming_session_raises_none(study: Any, rate: Any) -> None:
    outcome = run_session(study, USUBJID, number=1, day=1, rate=rate)
    assert outcome.completed
    assert deviations(study) == {}


def test_a_session_that_the_participant_stops_raises_what_was_left(
    make_study: Callable[..., Any],
) -> None:
    study = make_study()
    operator = ScriptedOperator([Planned(20.0, Stop("participant", "tired"))])
    run_session(study, USUBJID, number=1, day=1, rate="stride", operator=operator)
    found = deviations(study)
    assert {"block_shortened", "block_omitted"} <= set(found)
    assert found["block_shortened"].startswith("walk-1 0.2 of 0.2667 min")


def test_an_attending_person_who_declines_a_prompt_is_noticed(study: Any) -> None:
    class Forgetful(AttendingOperator):
        def answer(self, block: str, prompts: Any, view: Any) -> Any:
            values = dict(super().answer(block, prompts, view) or {})
            values.pop("rpe", None)
            return values

    run_session(study, USUBJID, number=1, day=1, rate="stride", operator=Forgetful())
    assert deviations(study) == {
        "prompt_unanswered": "warm-up: rpe; walk-1: rpe; walk-2: rpe; walk-3: rpe; cool-down: rpe"
    }


def test_stop_rules_that_nobody_verified_are_told_before_the_screening(study: Any) -> None:
    told: list[str] = []

    class Listening(AttendingOperator):
        def tell(self, text: str) -> None:
            told.append(text)

        def screen(self, prompts: Any, view: Any) -> Any:
            told.append("screening")
            return super().screen(prompts, view)

    run_session(study, USUBJID, number=1, day=1, rate="stride", operator=Listening())
    assert "18 of 18 stop rules are not verified" in told[0]
    assert told[1] == "screening"
