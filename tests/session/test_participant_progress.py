"""Progress of a participant: the curve, who may see it, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_study import make_study as small
from small_study import randomised
from typer.testing import CliRunner

from trialkit._canonical import sha256_file
from trialkit.adaptation import fit_growth, predict_progress
from trialkit.cli.whole import app
from trialkit.errors import NotPermitted, OutOfOrder, UnknownName, UsageError
from trialkit.participants import assess, hold_visit
from trialkit.record.kinds import AllocationRevealed, Dose, SessionClosed, SessionOpened
from trialkit.record.roles import PERMISSIONS, roles_with
from trialkit.session.progress import participant_progress, progress_measures
from trialkit.study import Study

N = 14


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """Fourteen people with three visits; the last one has only had two."""
    random = np.random.default_rng(11)
    with small(tmp_path_factory.mktemp("progress")) as study:
        asta = study.as_user("asta")
        for number in range(N):
            start, gain = random.normal(0.6, 0.15), random.normal(0.2, 0.05)
            usubjid = randomised(study, seconds=round(10.0 / start, 2))
            for visit, day in (("W4", 28), ("W8", 56)):
                if number == N - 1 and visit == "W8":
                    continue
                speed = start + gain * (1 - np.exp(-day / 30)) + random.normal(0, 0.03)
                hold_visit(study, usubjid, visit, day=day)
                items = {"TIMED_M": 10, "C1_S": round(10.0 / speed, 2)}
                assess(asta, usubjid, visit=visit, instrument="10MWT", items=items)
        yield study


def last(study: Study) -> str:
    return list(study.state.participants)[-1]


@pytest.mark.slow
def test_the_prediction_is_that_of_the_growth_curve(lived: Study) -> None:
    usubjid = last(lived)
    found = participant_progress(lived, usubjid)
    assert (found.measure, found.unit, found.per) == ("WS10C", "m/s", "visit")
    assert list(found.observed["label"]) == ["BL", "W4"]
    assert list(found.ahead["label"]) == ["W8"]
    rows = [
        (other, max(0, a.day) / 7, a.scores["WS10C"])
        for other, who in lived.state.participants.items()
        for a in who.assessments.values()
        if other != usubjid and a.instrument == "10MWT"
    ]
    cohort = pd.DataFrame(rows, columns=["id", "week", "y"])
    model = fit_growth(cohort, outcome="y", subject="id", time="week")
    own = predict_progress(model, [0.0, 4.0], found.observed["value"].to_numpy(), [8.0])
    for column in ("expected", "lower_80", "upper_80", "lower_95", "upper_95"):
        assert found.ahead[column].iloc[0] == pytest.approx(own.table[column].iloc[0], rel=1e-9)
    assert found.n_participants == N - 1
    assert all(a <= b for a, b in pairwise(found.curve["day"]))
    assert "Advisory" in found.advice
    assert "not for outcome assessors" in found.advice
    assert "both arms together" in found.advice
    data = json.loads(json.dumps(found.to_dict()))
    assert data["for_outcome_assessors"] is False
    assert data["ahead"][0]["lower_95"] < data["ahead"][0]["expected"]


def test_nobody_who_assesses_sees_it_and_who_analyses_only_after_the_reveal(lived: Study) -> None:
    assert roles_with("see_progress") == ["owner", "coordinator", "therapist", "investigator"]
    assert not [r for r, held in PERMISSIONS.items() if {"assess", "see_progress"} <= held]
    usubjid = last(lived)
    for blinded in ("asta", "stan", "mona"):
        with pytest.raises(NotPermitted):
            participant_progress(lived.as_user(blinded), usubjid)
    for trusted in ("theo", "ivan", "cora"):
        with pytest.raises(OutOfOrder, match="too few"):  # so the role was let through
            participant_progress(lived.as_user(trusted), usubjid, measure="BBSTOT")


def test_verb_shows_draws_and_refuses(lived: Study, tmp_path: Path) -> None:
    usubjid = last(lived)

    def call(*arguments: str, user: str = "theo") -> Any:
        where = ["--study", str(lived.folder), "--as", user]
        return CliRunner().invoke(app, ["progress", usubjid, *where, *arguments])

    svg = tmp_path / "a.svg"
    shown = call("--figure", str(svg))
    assert shown.exit_code == 0, shown.output
    assert "Advisory, not a decision" in shown.output
    assert "W8" in shown.output
    with Study.open(lived.folder, write=False) as again:
        (event,) = again.record.read(kinds=["progress.exported"])
    assert (event.actor, event.subject) == ("theo", usubjid)
    assert event.payload["files"] == {"a.svg": sha256_file(svg)}
    drawing = svg.read_text()
    assert "advisory, not for outcome assessors" in drawing
    assert "95 %" in drawing
    refused = call(user="asta")
    assert isinstance(refused.exception, NotPermitted)
    assert refused.exception.exit_status == 5
    assert isinstance(call("--figure", "a.txt").exception, UsageError)
    assert isinstance(call("--measure", "LUCK").exception, UnknownName)


def test_too_few_others_give_no_curve(lived: Study) -> None:
    with pytest.raises(OutOfOrder, match="too few"):
        participant_progress(lived, last(lived), measure="BBSTOT")


def session(study: Study, usubjid: str, number: int, day: int, speed: float) -> None:
    name = f"{usubjid}-S{number:02d}"
    opened = SessionOpened(
        session=name, number=number, day=day, protocol="small-robotic", device={},
        planned_minutes=10, therapist="theo",
    )  # fmt: skip
    dose = Dose(minutes=10.0, moving_minutes=9.0, steps=700, mean_speed_m_s=speed)
    closed = SessionClosed(
        session=name, number=number, day=day, status="completed", dose=dose,
        dose_source="telemetry",
    )  # fmt: skip
    study.append(opened, subject=usubjid)
    study.append(closed, subject=usubjid)


@pytest.mark.slow
def test_what_sessions_deliver_stays_within_the_way_of_training(tmp_path: Path) -> None:
    with small(tmp_path) as study:
        people = [randomised(study) for _ in range(26)]
        device = [p for p in people if study.arm_of(p) == "ROBOTIC"]
        other = next(p for p in people if p not in device)
        assert len(device) >= 12
        for at, usubjid in enumerate(device):
            for number, day in ((1, 1), (2, 4), (3, 8)):
                if usubjid != device[-1] or number < 3:
                    session(study, usubjid, number, day, 0.3 + 0.01 * at + 0.02 * number)
        found = participant_progress(study, device[-1], measure="mean_speed_m_s")
        assert (found.per, found.n_participants) == ("session", len(device) - 1)
        assert list(found.ahead["label"]) == ["S03", "S04"]
        assert 0.3 < found.ahead["expected"].iloc[0] < 0.6
        assert "both arms" not in found.advice
        with pytest.raises(OutOfOrder, match="0 other participants"):
            participant_progress(study, other, measure="mean_speed_m_s")
        assert "mean_speed_m_s" in progress_measures(study)


def test_after_the_reveal_who_analyses_may_see_it(tmp_path: Path) -> None:
    with small(tmp_path) as study:
        usubjid = randomised(study)
        reveal = AllocationRevealed(plan_lock="0" * 64, arms={})
        study.as_user("ivan").append(reveal)
        for user in ("stan", "mona"):
            with pytest.raises(OutOfOrder, match="too few"):  # so the role was let through
                participant_progress(study.as_user(user), usubjid)
        with pytest.raises(NotPermitted):
            participant_progress(study.as_user("asta"), usubjid)
