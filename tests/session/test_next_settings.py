"""The settings of the next session: proposed from the record, decided by a person, made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from trialkit.adaptation import SCHEMES, daily
from trialkit.cli.whole import app
from trialkit.errors import (
    NotPermitted,
    OutOfOrder,
    OutOfRange,
    TelemetryDamaged,
    UnknownName,
    UsageError,
)
from trialkit.record import StudyState
from trialkit.record.kinds import SessionAdapted, SessionOpened, SettingsDecided
from trialkit.session import inputs, replay, run_session
from trialkit.session.bouts import Bout, bouts_of, daily_state, find_bouts
from trialkit.session.inputs import read_inputs
from trialkit.session.operator import AttendingOperator
from trialkit.session.settings import check_decisions, decide_settings, propose_settings
from trialkit.session.telemetry import sealed_rows
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"
OPTIONS = {"seed": 5, "ability": 0.5, "asymmetry": 1.0}


def train(study: Study, number: int, **options: Any) -> str:
    done = run_session(
        study,
        USUBJID,
        number=number,
        day=number,
        rate="stride",
        device_options=OPTIONS | options,
        operator=AttendingOperator(study.actor),
    )
    assert done.completed
    return done.session


def head(study: Study, session: str) -> dict[str, float]:
    levels = read_inputs(study.folder / "telemetry" / session / inputs.NAME).head["levels"]
    return dict(levels)


@pytest.fixture
def trained(study: Study) -> Study:
    study.add_user("theo", role="therapist")
    study.add_user("asta", role="assessor")
    study.add_user("ivan", role="investigator")
    train(study, 1)
    train(study, 2)
    return study


def test_the_proposal_rests_on_the_last_session(trained: Study) -> None:
    found = propose_settings(trained, USUBJID)
    assert found.after == f"{USUBJID}-S02"
    assert trained.participant(USUBJID).levels.items() <= found.old.items()
    assert {p.setting for p in found.proposals} == {"speed_m_s", "support_fraction", "guidance"}
    assert sum(p.proposed != p.old for p in found.proposals) <= 1
    for p in found.proposals:
        own = found.bounds[p.setting]
        assert own.minimum <= p.proposed <= own.maximum
        assert abs(p.proposed - p.old) <= own.max_step + 1e-9
        assert p.reason
    assert found.inputs["completed"] == 1.0
    assert found.inputs["rpe"] > 0
    assert 0 < found.inputs["tracking_error_rad"] < 0.2
    assert found.daily is not None
    assert found.inputs["daily.level"] == found.daily.level
    assert found.decided is None
    assert vars(propose_settings(trained, USUBJID)) == vars(found)


def test_an_accepted_proposal_begins_the_next_session(trained: Study) -> None:
    theo = trained.as_user("theo")
    found = propose_settings(theo, USUBJID)
    event = decide_settings(theo, USUBJID)
    assert (event.kind, event.actor, event.role) == ("settings.decided", "theo", "therapist")
    assert event.payload["settings"] == event.payload["proposed"] == found.proposed
    assert event.payload["inputs"] == found.inputs
    session = train(trained, 3)
    assert head(trained, session) == found.proposed
    assert replay(trained, session).same
    again = StudyState(trained.record.read())
    assert again.participants[USUBJID].levels == trained.participant(USUBJID).levels
    (checked,) = check_decisions(trained, USUBJID)
    assert checked.same, checked.differences


def test_an_override_needs_a_reason_and_the_bounds(trained: Study) -> None:
    found = propose_settings(trained, USUBJID)
    own = found.bounds["speed_m_s"]
    easier = round(max(own.minimum, found.old["speed_m_s"] - 2.5 * own.max_step), 6)
    harder = found.old["speed_m_s"] + 1.5 * own.max_step
    with pytest.raises(UsageError, match="reason"):
        decide_settings(trained, USUBJID, override={"speed_m_s": easier})
    with pytest.raises(OutOfRange, match="harder"):
        decide_settings(trained, USUBJID, override={"speed_m_s": harder}, reason="keen")
    with pytest.raises(OutOfRange, match="outside"):
        decide_settings(trained, USUBJID, override={"speed_m_s": 0.01}, reason="ill")
    with pytest.raises(OutOfRange, match="no envelope"):
        decide_settings(trained, USUBJID, override={"belt": 1.0}, reason="ill")
    assert trained.state.counts["settings.decided"] == 0
    event = decide_settings(trained, USUBJID, override={"speed_m_s": easier}, reason="a cold")
    assert event.payload["outcome"] == "overridden"
    assert event.reason == "a cold"
    assert head(trained, train(trained, 3))["speed_m_s"] == easier
    assert [c.same for c in check_decisions(trained, USUBJID)] == [True]


def test_a_second_decision_replaces_the_first_and_adds_nothing(trained: Study) -> None:
    first = decide_settings(trained, USUBJID).payload
    second = decide_settings(trained, USUBJID).payload
    assert first == second
    decided = propose_settings(trained, USUBJID).decided
    assert decided is not None
    assert (decided["by"], decided["outcome"]) == ("owner", "accepted")
    assert head(trained, train(trained, 3)) == first["settings"]
    assert all(c.same for c in check_decisions(trained, USUBJID))
    assert propose_settings(trained, USUBJID).decided is None


def test_a_decision_that_the_record_does_not_bear_out_is_found(trained: Study) -> None:
    honest = propose_settings(trained, USUBJID).payload({}, "accepted")
    wrong = honest.proposed | {"guidance": honest.proposed["guidance"] - 1e-9}
    forged = SettingsDecided(
        **{**honest.model_dump(), "proposed": wrong, "settings": wrong, "outcome": "accepted"}
    )
    trained.append(forged, subject=USUBJID)
    (checked,) = check_decisions(trained, USUBJID)
    assert any(d.startswith("proposed: recorded") for d in checked.differences)
    told = CliRunner().invoke(
        app, ["next-settings", USUBJID, "--study", str(trained.folder), "--as", "owner", "--check"]
    )
    assert told.exit_code == 4
    assert "0 of 1 decisions" in told.output


def test_a_session_that_began_otherwise_is_found(trained: Study) -> None:
    decide_settings(trained, USUBJID)
    trained.append(  # what a program that ignores the decision would leave behind
        SessionAdapted(
            session=f"{USUBJID}-S02", t_s=0.0, parameter="guidance", inputs={}, old=1.0,
            proposed=0.95, accepted=True, by="someone", rule="none",
        ),
        subject=USUBJID,
    )  # fmt: skip
    session = train(trained, 3)
    (checked,) = check_decisions(trained, USUBJID)
    assert checked.differences[0].startswith(f"{session} began with")


def test_damaged_telemetry_is_never_rested_on(trained: Study) -> None:
    path = trained.folder / "telemetry" / f"{USUBJID}-S01" / "stride.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))
    with pytest.raises(TelemetryDamaged):
        propose_settings(trained, USUBJID)


def test_who_may_see_and_who_may_decide(trained: Study) -> None:
    with pytest.raises(NotPermitted):
        propose_settings(trained.as_user("asta"), USUBJID)
    propose_settings(trained.as_user("ivan"), USUBJID)
    with pytest.raises(NotPermitted):
        decide_settings(trained.as_user("ivan"), USUBJID)
    with pytest.raises(UnknownName):
        propose_settings(trained, "nobody")


def test_nothing_is_proposed_before_a_session_or_during_one(study: Study) -> None:
    with pytest.raises(OutOfOrder, match="no session"):
        propose_settings(study, USUBJID)
    opened = SessionOpened(
        session=f"{USUBJID}-S01", number=1, day=1, protocol="p", device={}, planned_minutes=1,
        therapist="owner",
    )  # fmt: skip
    study.append(opened, subject=USUBJID)
    with pytest.raises(OutOfOrder, match="is open"):
        propose_settings(study, USUBJID)


def test_nothing_advances_after_a_session_that_was_stopped(study: Study) -> None:
    from trialkit.session import Planned, ScriptedOperator, Stop

    script = ScriptedOperator([Planned(30.0, Stop(who="participant", code="tired"))], name="owner")
    run_session(
        study, USUBJID, number=1, day=1, rate="stride", device_options=OPTIONS, operator=script
    )
    found = propose_settings(study, USUBJID)
    assert found.inputs["completed"] == 0.0
    harder = {"speed_m_s": 1.0, "support_fraction": -1.0, "guidance": -1.0}
    assert all((p.proposed - p.old) * harder[p.setting] <= 0 for p in found.proposals)


def test_verb(trained: Study) -> None:
    trained.close()
    where = ["--study", str(trained.folder), "--as"]

    def call(*arguments: str, user: str = "theo") -> Any:
        return CliRunner().invoke(app, ["next-settings", USUBJID, *where, user, *arguments])

    shown = call()
    assert shown.exit_code == 0, shown.output
    for word in ("strength", "fatigue", "proposal", "speed_m_s", "it rests on"):
        assert word in shown.output
    accepted = json.loads(call("--accept", "--json").output)
    assert accepted["decided"]["outcome"] == "accepted"
    assert accepted["decided"]["by"] == "theo"
    assert "1 of 1 decisions" in call("--check").output
    assert isinstance(call("--override", "guidance=0.9").exception, UsageError)
    assert isinstance(call("--accept", "--check").exception, UsageError)
    assert isinstance(call(user="asta").exception, NotPermitted)


# --- bouts -----------------------------------------------------------------------------------


def test_bouts_are_stretches_of_a_moving_belt(trained: Study) -> None:
    (rows,) = sealed_rows(trained, f"{USUBJID}-S02")
    frame = rows.frame()
    found = bouts_of([rows])
    moving = frame[frame["belt_speed_m_s"] > 0.05]
    total = float(moving["duration_s"].sum())
    assert sum(b.moving_s for b in found) == pytest.approx(total, rel=0.05)
    assert all(a.end_s < b.begin_s for a, b in pairwise(found))
    whole = float((moving["tracking_error_rad"] * moving["duration_s"]).sum()) / total
    mean = sum(b.tracking_error_rad * b.moving_s for b in found) / sum(b.moving_s for b in found)
    assert mean == pytest.approx(whole, rel=0.05)
    assert find_bouts(frame.iloc[:0]) == []


def test_a_rest_ends_a_bout_and_a_slip_does_not() -> None:
    time = np.arange(0.0, 300.0, 0.01)
    belt = np.where((time > 100) & (time < 160) | (time > 200) & (time < 201), 0.0, 0.5)
    belt[(time > 290)] = 0.0
    error = np.where(time < 150, 0.03, 0.06)
    frame = pd.DataFrame(
        {
            "t_device_ns": np.round(time * 1e9).astype(np.int64) + 77,
            "belt_speed_m_s": belt,
            "tracking_error_rad": error,
        }
    )
    first, second = find_bouts(frame)
    assert (first.begin_s, first.end_s) == pytest.approx((0.0, 100.0), abs=0.02)
    assert (second.begin_s, second.end_s) == pytest.approx((160.0, 290.0), abs=0.02)
    assert second.moving_s == pytest.approx(129.0, abs=0.05)
    assert (first.tracking_error_rad, second.tracking_error_rad) == (0.03, 0.06)
    assert find_bouts(frame.drop(index=range(5000, 6000))) != [first, second]  # rows were lost


def test_daily_state_tells_strength_from_fatigue() -> None:
    options = SCHEMES["daily_state"].resolve({})

    def session(*errors: float) -> list[Bout]:
        return [Bout(300.0 * i, 300.0 * i + 200, 200.0, error) for i, error in enumerate(errors)]

    steady = [(day, session(0.06, 0.06, 0.06)) for day in (1, 3, 5, 8)]
    calm, count = daily_state(steady, options)
    assert count == 12
    assert calm is not None
    assert calm.level == pytest.approx(-0.06, abs=0.002)
    assert abs(calm.fatigue) < 0.002
    worse = [*steady, (10, session(0.06, 0.075, 0.09))]
    tired, _ = daily_state(worse, options)
    assert tired is not None
    assert tired.fatigue > 0.01
    rested, _ = daily_state([*worse, (12, session(0.06))], options)
    assert rested is not None
    assert abs(rested.fatigue) < tired.fatigue / 2
    assert daily_state([], options) == (None, 0)
    # the same as the filter by hand
    by_hand = daily.begin(options["process_fatigue"])
    by_hand, _ = daily.update(by_hand, -0.06, options["measurement"])
    assert daily_state([(1, session(0.06))], options)[0] == by_hand


def test_without_a_decision_levels_carry_over(make_study: Callable[..., Study]) -> None:
    """Without a decision the next session begins where the last one ended."""
    study = make_study()
    train(study, 1)
    before = dict(study.participant(USUBJID).levels)
    session = train(study, 2)
    assert head(study, session) == head(study, f"{USUBJID}-S01") | before
