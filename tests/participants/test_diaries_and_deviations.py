"""Diaries corrected with their old values; deviations raised, classified and settled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_study import make_study, randomised

from trialkit.data import collect, derive
from trialkit.errors import (
    Duplicate,
    NotPermitted,
    OutOfOrder,
    OutOfRange,
    UnknownName,
    UsageError,
)
from trialkit.participants import (
    acknowledge_deviation,
    correct_diary,
    hold_visit,
    list_deviations,
    log_conventional,
    raise_deviation,
    resolve_deviation,
    return_diary,
    summarise_diary,
    withdraw,
)
from trialkit.record import StudyState
from trialkit.record.kinds import DeviationRaised
from trialkit.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        yield made
        assert vars(StudyState(made.record.read())) == vars(made.state)


@pytest.mark.requirement("R01", "R02")
def test_a_diary_is_corrected(study: Study) -> None:
    who = randomised(study)
    first = return_diary(
        study, who, diary="FALL", from_day=0, to_day=27, entries=[{"day": 3, "grade": 2}]
    ).seq
    return_diary(study, who, diary="FALL", from_day=28, to_day=40)
    event = correct_diary(
        study, who, returned=first, to_day=20, entries=[{"day": 4, "grade": 3}], reason="misread"
    )
    assert event.reason == "misread"
    assert event.payload["old_entries"] == [{"day": 3, "grade": 2}]
    assert (event.payload["old_to_day"], event.payload["to_day"]) == (27, 20)
    assert study.participant(who).diaries == {"FALL": [(0, 20), (28, 40)]}
    for wrong, error, text in (
        ({"to_day": 28}, Duplicate, "28 to 40"),
        ({"to_day": 20}, UsageError, "changes nothing"),
        ({"to_day": 3}, OutOfRange, "outside days"),
        ({"entries": [{"day": 4, "grade": 5}]}, OutOfRange, "grades"),
        ({"from_day": -1}, OutOfRange, "are not days"),
        ({"returned": 1}, OutOfOrder, "no returned diary"),
        ({"returned": "R03"}, OutOfOrder, "R03 is no returned diary"),
        ({"to_day": 19, "reason": " "}, UsageError, "reason"),
    ):
        with pytest.raises(error, match=text):
            correct_diary(study, who, **{"returned": first, "reason": "x", **wrong})
    with pytest.raises(NotPermitted):
        correct_diary(study.as_user("theo"), who, returned=first, to_day=19, reason="x")
    withdraw(study, who, day=45, code="MOVED")
    correct_diary(study, who, returned="R01", entries=[], reason="it was another person")
    assert study.participant(who).diary_entries == 0


def test_the_tables_follow_a_correction(study: Study) -> None:
    who = randomised(study)
    first = return_diary(
        study, who, diary="FALL", from_day=0, to_day=9, entries=[{"day": 3}, {"day": 5}]
    ).seq
    event = correct_diary(study, who, returned=first, entries=[{"day": 5}], reason="a near-fall")
    sdtm = collect(study, mask=False)
    rows = sdtm["CE"]
    assert rows["CESTDY"].tolist() == [0, 5]
    assert set(rows["CEREFID"]) == {event.seq}
    frame = derive(sdtm, study.design, study.protocols)["ADFALL"]
    assert frame["EVENT"].sum() == 1
    assert (frame["TSTOP"] - frame["TSTART"]).sum() == 10


def test_summary_by_profane(study: Study) -> None:
    diary = study.design.diaries[0]
    study.design.diaries[0] = diary.model_copy(update={"event_from_grade": 2})
    who = randomised(study)
    assert summarise_diary(study, who, "FALL").rate_per_year is None
    return_diary(
        study, who, diary="FALL", from_day=0, to_day=19,
        entries=[{"day": 1, "grade": 1}, {"day": 2, "grade": 2}, {"day": 3, "grade": 4}],
    )  # fmt: skip
    return_diary(study, who, diary="FALL", from_day=31, to_day=35, entries=[{"day": 31}])
    found = summarise_diary(study, who, "FALL")
    assert (found.observed_days, found.events, found.near, found.injurious) == (25, 3, 1, 1)
    assert found.rate_per_year == pytest.approx(3 * 365.25 / 25)


def test_the_life_of_a_deviation(study: Study) -> None:
    cora, ivan = study.as_user("cora"), study.as_user("ivan")
    who = randomised(study)
    hold_visit(cora, who, "W4", day=50, reason="snow")
    raise_deviation(cora, who, category="consent", detail="An old version.", day=0)
    rows = list_deviations(study.as_user("mona"))
    assert [(r.deviation, r.category, r.status) for r in rows] == [
        ("D0001", "visit_window", "raised"), ("D0002", "consent", "raised"),
    ]  # fmt: skip
    with pytest.raises(NotPermitted):
        acknowledge_deviation(cora, "D0002", classification="major", reason="x")
    with pytest.raises(OutOfOrder, match="not acknowledged"):
        resolve_deviation(ivan, "D0002", reason="consented again")
    with pytest.raises(UsageError, match="classification"):
        acknowledge_deviation(ivan, "D0002", classification="huge", reason="x")  # type: ignore[arg-type]
    acknowledge_deviation(ivan, "D0002", classification="minor", reason="same text")
    event = acknowledge_deviation(ivan, "D0002", classification="major", reason="rights")
    assert event.payload["old_classification"] == "minor"
    with pytest.raises(UsageError, match="was done"):
        resolve_deviation(ivan, "D0002", reason="")
    resolve_deviation(ivan, "D0002", reason="consented again")
    with pytest.raises(OutOfOrder, match="resolved"):
        resolve_deviation(ivan, "D0002", reason="again")
    assert [r.deviation for r in list_deviations(cora, unresolved=True)] == ["D0001"]
    assert study.status().deviations == {"raised": 1, "resolved": 1}
    with pytest.raises(UsageError, match="category"):
        raise_deviation(cora, who, category="no", detail="x")


def test_deviations_of_sessions_are_not_for_the_blinded(study: Study) -> None:
    cora, mona = study.as_user("cora"), study.as_user("mona")
    who = randomised(study)
    while study.arm_of(who) != "CONVENTIONAL":
        who = randomised(study)
    dose = {"minutes": 30, "moving_minutes": 22.5, "steps": 900}
    log_conventional(cora, who, number=1, day=1, dose=dose)
    study.append(
        DeviationRaised(category="block_omitted", detail="walk-2", session=f"{who}-S01"),
        subject=who,
    )
    raise_deviation(cora, who, category="training", detail="Late.", session=f"{who}-S01")
    raise_deviation(cora, who, category="visit", detail="Held by phone.")
    assert [r.deviation for r in list_deviations(cora)] == ["S0001", "S0002", "D0001"]
    assert [r.deviation for r in list_deviations(mona)] == ["D0001"]
    assert mona.status().deviations == {"raised": 1}
    with pytest.raises(NotPermitted):
        raise_deviation(mona, who, category="training", detail="x", session=f"{who}-S01")
    with pytest.raises(UsageError, match="names an arm"):
        raise_deviation(cora, who, category="other", detail="Moved to the robotic group")
    with pytest.raises(UnknownName):
        raise_deviation(cora, who, category="training", detail="x", session="S9")
    with pytest.raises(UnknownName):
        acknowledge_deviation(study.as_user("ivan"), "D0009", classification="minor", reason="x")
