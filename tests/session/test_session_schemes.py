"""Schemes of adaptation in a session: inside the envelope, each decision an event, replayed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from trialkit._content import find_content
from trialkit.adaptation import model_hash
from trialkit.protocol.model import Envelope
from trialkit.session import replay, run_session
from trialkit.session.inputs import read_inputs
from trialkit.session.program import Course, make_course
from trialkit.session.replay import _recorded, replay_inputs
from trialkit.session.schemes import Following, decide, due, followed, means
from trialkit.study import Study

USUBJID = "SCI-RAGT-01-001"
S01 = f"{USUBJID}-S01"
FORGET = {"forget": 0.9, "gain": 0.8}


def schemed(confirm: str = "none", **options: float) -> dict[str, Any]:
    """The shipped protocol with a scheme for guidance in place of its conditions."""
    data = yaml.safe_load(find_content("protocols", "sci-robotic-30x5").read_text())
    for rule in data["progression"]["order"]:
        if rule["parameter"] == "guidance":
            rule["advance_if"] = rule["regress_if"] = []
    for envelope in data["adaptation"]:
        envelope["min_interval_s"] = 5
        if envelope["parameter"] == "guidance":
            envelope |= {"scheme": "forgetting_factor", "confirm": confirm}
            envelope["options"] = FORGET | options
    return {"progression": data["progression"], "adaptation": data["adaptation"]}


def decisions(study: Study) -> list[dict[str, Any]]:
    adapted = study.record.read(kinds=["session.adapted"])
    return [e.payload for e in adapted if e.payload["parameter"] == "guidance"]


def run(study: Study, rate: Any = "full") -> None:
    options = {"seed": 5, "ability": 0.5}
    assert run_session(study, USUBJID, number=1, day=1, rate=rate, device_options=options).completed


def test_every_decision_is_an_event_inside_the_envelope(
    make_study: Callable[..., Study],
) -> None:
    study = make_study(**schemed())
    run(study)
    made = decisions(study)
    assert len(made) >= 3
    envelope = make_course(study.protocols["ROBOTIC"]).envelopes["guidance"]
    before, last_s = made[0]["old"], 0.0
    for one in made:
        assert one["rule"] == "scheme.forgetting_factor"
        assert one["model"] == model_hash("forgetting_factor", FORGET)
        assert set(one["inputs"]) == {"tracking_error_rad"}
        assert one["by"] == "software"
        assert one["old"] == before
        assert envelope.minimum <= one["proposed"] <= envelope.maximum
        assert abs(one["proposed"] - one["old"]) <= envelope.max_step + 1e-12
        assert one["t_s"] - last_s >= envelope.min_interval_s - 0.01
        wanted = 0.9 * one["old"] + 0.8 * one["inputs"]["tracking_error_rad"]
        if abs(wanted - one["old"]) < envelope.max_step and wanted > envelope.minimum:
            low = made[0]["old"] - 0.10  # per_session_max of the shipped protocol
            assert one["proposed"] == pytest.approx(max(wanted, low), abs=1e-12)
        before, last_s = one["proposed"], one["t_s"]
    assert made[0]["proposed"] != made[0]["old"]
    sent = [e.payload for e in study.record.read(kinds=["session.command"])]
    assert any(
        c["phase"] == "accepted" and c["setpoints"].get("guidance") == made[0]["proposed"]
        for c in sent
    )


@pytest.mark.parametrize("rate", ["full", "stride"])
def test_a_gain_that_moved_by_a_billionth_changes_the_first_decision(
    make_study: Callable[..., Study], rate: str
) -> None:
    study = make_study(**schemed())
    run(study, rate)
    done = replay(study, S01)
    assert (done.difference, done.same_model) == (None, True)
    course = make_course(study.protocols["ROBOTIC"])
    assert changed(study, course, 0.0).same
    found = changed(study, course, 1e-9)
    assert not found.same_model
    assert found.difference is not None
    assert found.difference.what == "session.adapted"
    recorded = json.loads(str(found.difference.recorded))["payload"]
    obtained = json.loads(str(found.difference.obtained))["payload"]
    assert recorded == decisions(study)[0]
    assert obtained["model"] != recorded["model"]
    error = recorded["inputs"]["tracking_error_rad"]
    assert obtained["proposed"] - recorded["proposed"] == pytest.approx(1e-9 * error, rel=1e-3)


def changed(study: Study, course: Course, by: float) -> Any:
    envelope = course.envelopes["guidance"]
    moved = envelope.model_copy(update={"options": {"forget": 0.9, "gain": 0.8 + by}})
    others = [e for e in course.protocol.adaptation if e.parameter != "guidance"]
    protocol = course.protocol.model_copy(update={"adaptation": [*others, moved]})
    envelopes = {**course.envelopes, "guidance": moved}
    log = read_inputs(study.folder / "telemetry" / S01 / "inputs.jsonl")
    recorded = list(_recorded(study, study.state.sessions[S01]))
    new = dataclasses.replace(course, protocol=protocol, envelopes=envelopes)
    return replay_inputs(log, recorded, new)


def test_a_therapist_decides_where_the_protocol_says_so(make_study: Callable[..., Study]) -> None:
    study = make_study(**schemed("therapist"))
    run(study)
    moved = [one for one in decisions(study) if one["proposed"] != one["old"]]
    assert moved
    assert {one["by"] for one in moved} == {"owner"}
    assert replay(study, S01).difference is None


# --- the pure part -----------------------------------------------------------------------------


@pytest.fixture
def course(make_study: Callable[..., Study]) -> Course:
    return make_course(make_study(**schemed()).protocols["ROBOTIC"])


def walked(seconds: float, **measures: float) -> Following:
    return followed({"guidance": Following()}, measures, seconds)["guidance"]


def test_it_waits_for_its_interval_and_for_its_measure(course: Course) -> None:
    envelope = course.envelopes["guidance"]
    one = walked(5.0, tracking_error_rad=0.05)
    assert due(envelope, one, 5.0)
    assert not due(envelope, one, 4.9)
    assert not due(envelope, walked(5.0, heart_rate_bpm=90.0), 50.0)
    assert not due(envelope, walked(5.0, tracking_error_rad=float("nan")), 50.0)
    other = envelope.model_copy(update={"measure": "step_asymmetry"})
    assert not due(other, one, 5.0)
    assert due(other, walked(1.0, step_asymmetry=0.1), 5.0)


def test_a_decision_empties_what_was_seen(course: Course) -> None:
    one = walked(6.0, tracking_error_rad=0.05)
    after, proposal = decide(course, "guidance", one, current=0.8, base=0.8, t_s=6.0)
    assert (after.sums, after.walked_s, after.decided_s) == ({}, 0.0, 6.0)
    assert proposal.proposed == pytest.approx(0.76)
    assert not due(course.envelopes["guidance"], after, 100.0)


def test_rest_is_the_time_without_walking(course: Course) -> None:
    envelope = Envelope.model_validate(
        course.envelopes["guidance"].model_dump()
        | {"scheme": "daily_state", "options": {}, "measure": None}
    )
    tired = dataclasses.replace(course, envelopes={"guidance": envelope})
    one = walked(20.0, tracking_error_rad=0.05)
    _, proposal = decide(tired, "guidance", one, current=0.8, base=0.8, t_s=80.0)
    assert proposal.inputs["rest_s"] == pytest.approx(60.0)
    assert proposal.proposed == 0.8  # the first bout only shows where the person is


def test_the_lesser_share_is_that_of_the_leg_that_carries_less() -> None:
    assert means({"load_share_l": (0.4 * 10, 10.0)})["lesser_load_share"] == pytest.approx(0.4)
    assert means({"load_share_l": (0.7 * 10, 10.0)})["lesser_load_share"] == pytest.approx(0.3)
    assert means({"heart_rate_bpm": (900.0, 10.0)}) == {"heart_rate_bpm": 90.0}
