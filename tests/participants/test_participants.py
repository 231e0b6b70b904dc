"""Participants: each step at its time and by who may take it, or refused without a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from small_study import WALK, enrolled, make_study, randomised

from trialkit.errors import (
    Duplicate,
    NotPermitted,
    OutOfOrder,
    OutOfRange,
    OutOfWindow,
    RefusedError,
    TrialkitError,
    UnknownName,
    UsageError,
    WrongArm,
)
from trialkit.participants import (
    allocate_known,
    assess,
    consent,
    correct,
    discontinue_training,
    enrol,
    exclude,
    hold_visit,
    log_conventional,
    miss_session,
    miss_visit,
    randomise,
    report_ae,
    return_diary,
    study_day,
    withdraw,
)
from trialkit.record import KeyStore, StudyState, commitment
from trialkit.record.kinds import DiaryEntry, Dose
from trialkit.study import Study

AE: dict[str, Any] = {"term": "redness", "category": "skin", "day": 3, "severity": "mild"}
DOSE = {"minutes": 30, "moving_minutes": 22.5, "steps": 900}


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        yield made


@pytest.fixture
def asta(study: Study) -> Study:
    return study.as_user("asta")


def refused(
    study: Study, error: type[TrialkitError], text: str, step: Callable[..., Any], *a: Any, **k: Any
) -> None:
    """The step is refused with a remedy; only a refusal by role leaves a trace, which says so."""
    seq = study.record.head[0]
    before = StudyState(study.record.read()).participants
    with pytest.raises(error, match=text) as caught:
        step(*a, **k)
    assert caught.value.remedy
    assert caught.value.exit_status == error.exit_status
    assert study.state.participants == before
    told = [event.kind for event in study.record.read(after=seq)]
    assert told == (["command.refused"] if error is NotPermitted else [])


# --- enrolment and consent ----------------------------------------------------------------------


def test_names_count_by_site(study: Study) -> None:
    made = [enrol(study, site=site).subject for site in ("01", "02", "01")]
    assert made == ["SMALL-01-001", "SMALL-02-001", "SMALL-01-002"]
    assert enrol(study, "SMALL-01-010", site="01").subject == "SMALL-01-010"
    assert enrol(study, site="01").subject == "SMALL-01-011"


def test_duplicate_participant(study: Study) -> None:
    usubjid = enrolled(study)
    refused(study, Duplicate, "enrolled already", enrol, study, usubjid, site="01")


@pytest.mark.parametrize(
    ("usubjid", "site"),
    [
        ("SMALL-02-001", "01"),
        ("SMALL-01-1", "01"),
        ("SMALL-01-00x", "01"),
        ("SMALL-01-٠٠١", "01"),
        ("../x", "01"),
        (None, ""),
        (None, "0 1"),
        (None, "a/b"),
    ],
)
def test_names_that_cannot_be(study: Study, usubjid: str | None, site: str) -> None:
    refused(study, UsageError, "cannot", enrol, study, usubjid, site=site)


def test_attributes(study: Study) -> None:
    event = enrol(study, site="01", attributes={"sex": "F", "age_years": 61.5, "ill": None})
    kept = study.participant(str(event.subject)).attributes
    assert kept == {"sex": "F", "age_years": 61.5, "ill": None}
    for wrong in ({"a b": 1}, {"age_years": float("nan")}, {"": 1}):
        refused(study, UsageError, "attribute", enrol, study, site="01", attributes=wrong)


def test_consent_versions(study: Study) -> None:
    usubjid = enrolled(study)
    refused(study, Duplicate, "1.0", consent, study, usubjid, version="1.0")
    refused(study, UsageError, "missing", consent, study, usubjid, version="  ")
    consent(study, usubjid, version="2.0")
    assert study.participant(usubjid).consent == "2.0"


@pytest.mark.requirement("R09")
def test_nothing_before_consent(study: Study, asta: Study) -> None:
    usubjid = str(enrol(study, site="01").subject)
    steps: list[Callable[[], Any]] = [
        lambda: hold_visit(study, usubjid, "BL", day=0),
        lambda: miss_visit(study, usubjid, "BL", code="X"),
        lambda: assess(asta, usubjid, visit="BL", instrument="10MWT", items=WALK),
        lambda: randomise(study, usubjid),
        lambda: return_diary(study, usubjid, diary="FALL", from_day=0, to_day=3),
        lambda: report_ae(study, usubjid, **AE),
        lambda: miss_session(study, usubjid, number=1, day=0, code="X"),
        lambda: log_conventional(study, usubjid, number=1, day=0, dose=DOSE),
        lambda: discontinue_training(study, usubjid, day=0, code="X"),
        lambda: withdraw(study, usubjid, day=0, code="X"),
    ]
    for step in steps:
        refused(study, OutOfOrder, "has not given consent", step)


def test_excluded(study: Study) -> None:
    usubjid = str(enrol(study, site="01").subject)
    exclude(study, usubjid, code="SPEED")
    assert study.participant(usubjid).status == "excluded"
    refused(study, Duplicate, "SPEED", exclude, study, usubjid, code="AGE")
    refused(study, OutOfOrder, "excluded", consent, study, usubjid, version="1")
    refused(study, OutOfOrder, "excluded", hold_visit, study, usubjid, "BL", day=0)
    refused(study, OutOfOrder, "stays", exclude, study, randomised(study), code="AGE")


def test_unknown_names(study: Study) -> None:
    usubjid = enrolled(study)
    refused(study, UnknownName, "participant", hold_visit, study, "SMALL-01-009", "BL", day=0)
    refused(study, UnknownName, "visit W5", hold_visit, study, usubjid, "W5", day=0)
    who = randomised(study)
    refused(
        study, UnknownName, "diary", return_diary, study, who, diary="FAL", from_day=0, to_day=1
    )


# --- randomisation ------------------------------------------------------------------------------


def test_stratum_and_commitment(study: Study) -> None:
    usubjid = randomised(study, seconds=20.0)
    who = study.participant(usubjid)
    assert who.strata == {"site": "01", "speed_band": "medium"}
    assert who.stratum == "site=01|speed_band=medium"
    kinds = [e.kind for e in study.record.read()][-2:]
    assert kinds == ["allocation.list_committed", "participant.randomised"]
    arm, salt = study.allocations()[usubjid]
    assert who.commitment == commitment(salt, usubjid, arm)
    assert arm == study.arm_of(usubjid)


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(10 / 0.39, "slow"), (25.0, "medium"), (12.5, "fast"), (12.6, "medium"), (9.0, "fast")],
)
def test_cut_offs_belong_to_the_upper_level(study: Study, seconds: float, level: str) -> None:
    usubjid = randomised(study, seconds=round(seconds, 2))
    assert study.participant(usubjid).strata["speed_band"] == level


def test_unable_at_baseline_is_a_value(study: Study, asta: Study) -> None:
    usubjid = enrolled(study)
    hold_visit(study, usubjid, "BL", day=0)
    assess(asta, usubjid, visit="BL", instrument="10MWT", status="unable")
    assert randomise(study, usubjid).strata["speed_band"] == "slow"


def test_lists_balance_and_are_committed_once(study: Study) -> None:
    people = [randomised(study, seconds=20.0) for _ in range(12)]
    events = list(study.record.read(kinds=["allocation.list_committed"]))
    assert len(events) == 1
    assert [study.participant(p).place for p in people] == list(range(1, 13))
    counts = Counter(study.arm_of(p) for p in people)
    assert abs(counts["ROBOTIC"] - counts["CONVENTIONAL"]) <= 4


def test_list_that_ends_goes_on(study: Study) -> None:
    with study.batch():
        for _ in range(55):
            randomised(study, seconds=20.0)
    events = list(study.record.read(kinds=["allocation.list_committed"]))
    assert len(events) == 2
    assert sum(e.payload["length"] for e in events) >= 55
    commitments = [part.commitment for part in study.allocation.parts("site=01|speed_band=medium")]
    assert [e.payload["commitment"] for e in events] == commitments


def test_same_seed_same_arms(tmp_path: Path) -> None:
    arms = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / name).mkdir()
        with make_study(tmp_path / name, seed=seed) as study:
            arms.append([study.arm_of(randomised(study)) for _ in range(16)])
    assert arms[0] == arms[1]
    assert arms[0] != arms[2]


def test_randomisation_refused(study: Study, asta: Study) -> None:
    usubjid = enrolled(study)
    refused(study, OutOfOrder, "no baseline WS10C", randomise, study, usubjid)
    hold_visit(study, usubjid, "BL", day=0)
    assess(asta, usubjid, visit="BL", instrument="10MWT", status="not_done", code="ILL")
    refused(study, OutOfOrder, "no baseline WS10C", randomise, study, usubjid)
    refused(study, Duplicate, "randomised already", randomise, study, randomised(study))


def test_failed_batch_uses_no_place(study: Study) -> None:
    def fail() -> None:
        with study.batch():
            randomised(study)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    usubjid = randomised(study)
    assert study.participant(usubjid).place == 1
    assert len(list(study.record.read(kinds=["allocation.list_committed"]))) == 1


def test_imported_arm(tmp_path: Path, study: Study) -> None:
    with Study.create(
        tmp_path / "imported",
        design=study.design,
        study_id="IMP",
        actor="olga",
        keys=KeyStore(tmp_path / "keys"),
    ) as imported:
        enrol(imported, "1001", site="01")
        done = allocate_known(imported, "1001", arm="ROBOTIC", strata={"site": "01"})
        assert (done.stratum, done.place) == ("site=01", 1)
        assert imported.arm_of("1001") == "ROBOTIC"
        refused(imported, Duplicate, "already", allocate_known, imported, "1001", arm="ROBOTIC")
        enrol(imported, "1002", site="01")
        refused(imported, UnknownName, "arm X", allocate_known, imported, "1002", arm="X")
    refused(
        study,
        NotPermitted,
        "may not import",
        allocate_known,
        study.as_user("cora"),
        enrolled(study),
        arm="ROBOTIC",
    )


# --- visits and assessments -----------------------------------------------------------------------


def test_window(study: Study) -> None:
    usubjid = randomised(study)
    refused(study, OutOfWindow, "day 21 to 35", hold_visit, study, usubjid, "W4", day=36)
    refused(study, OutOfWindow, "W4", hold_visit, study, usubjid, "W4", day=20, reason=" ")
    event = hold_visit(study, usubjid, "W4", day=36, reason="transport strike")
    assert (event.payload["in_window"], event.reason) == (False, "transport strike")
    deviation = list(study.record.read(kinds=["deviation.raised"]))[-1]
    assert deviation.reason == "transport strike"
    assert deviation.payload["detail"] == "W4 on day 36, window day 21 to 35"
    for visit, day in (("W8", 49), ("W4", 35)):
        other = randomised(study)
        assert hold_visit(study, other, visit, day=day).payload["in_window"]


def test_visit_order(study: Study) -> None:
    usubjid = enrolled(study)
    refused(study, OutOfOrder, "not randomised", hold_visit, study, usubjid, "W4", day=28)
    hold_visit(study, usubjid, "BL", day=-14)
    refused(study, Duplicate, "held on day -14", hold_visit, study, usubjid, "BL", day=0)
    who = randomised(study)
    miss_visit(study, who, "W4", code="ILL")
    refused(study, Duplicate, "missed", hold_visit, study, who, "W4", day=28)
    refused(study, Duplicate, "missed", miss_visit, study, who, "W4", code="ILL")


def test_scores_are_derived_at_entry(study: Study, asta: Study) -> None:
    usubjid = enrolled(study)
    hold_visit(study, usubjid, "BL", day=-1)
    event = assess(asta, usubjid, visit="BL", instrument="10MWT", items=WALK)
    assert event.payload["scores"] == {"WS10C": 0.5, "WS10F": None}
    assert event.payload["day"] == -1
    items = {f"ABC{i:02d}": 60 for i in range(1, 12)}
    event = assess(asta, usubjid, visit="BL", instrument="ABC", items=items)
    assert event.payload["scores"] == {"ABCMEAN": None}  # 11 of 16 answered: no score


def test_every_faulty_entry_is_listed(study: Study, asta: Study) -> None:
    usubjid = enrolled(study)
    hold_visit(study, usubjid, "BL", day=0)
    wrong = {"BBS01": 5, "BBS02": -1, "BBS03": 2.5, "BBS99": 1, "BBS04": "many", "BBS05": 4}
    with pytest.raises(OutOfRange) as caught:
        assess(asta, usubjid, visit="BL", instrument="BBS", items=wrong)
    named = {finding["where"] for finding in caught.value.details["findings"]}
    assert named == {"BBS.BBS01", "BBS.BBS02", "BBS.BBS03", "BBS.BBS99", "BBS.BBS04"}
    assert all(name in caught.value.message for name in named)
    assert study.participant(usubjid).assessments == {}


def test_assessment_refused(study: Study, asta: Study) -> None:
    usubjid = randomised(study)
    call = {"visit": "W4", "instrument": "10MWT", "items": WALK}
    refused(study, OutOfOrder, "W4 is not recorded", assess, asta, usubjid, **call)
    hold_visit(study, usubjid, "W4", day=28)
    refused(
        study, OutOfOrder, "does not plan ABC", assess, asta, usubjid,
        **{**call, "instrument": "ABC"},
    )  # fmt: skip
    refused(study, UnknownName, "TUG", assess, asta, usubjid, **{**call, "instrument": "TUG"})
    refused(study, UsageError, "no entry", assess, asta, usubjid, **{**call, "items": {}})
    refused(study, UsageError, "no entries", assess, asta, usubjid, **call, status="unable")
    refused(
        study, UsageError, "reason code", assess, asta, usubjid,
        visit="W4", instrument="10MWT", status="not_done",
    )  # fmt: skip
    assess(asta, usubjid, **call)
    refused(study, Duplicate, "recorded", assess, asta, usubjid, **call)
    miss_visit(study, usubjid, "W8", code="ILL")
    refused(study, OutOfOrder, "W8", assess, asta, usubjid, **{**call, "visit": "W8"})


@pytest.mark.requirement("R01", "R02")
def test_correction_keeps_the_old_value(study: Study, asta: Study) -> None:
    usubjid = enrolled(study)
    hold_visit(study, usubjid, "BL", day=0)
    first = assess(asta, usubjid, visit="BL", instrument="10MWT", items=WALK)
    where = {"visit": "BL", "instrument": "10MWT"}
    second = correct(asta, usubjid, **where, items={"C1_S": 10.0, "C2_S": None}, reason="misread")
    assert second.payload["seq"] == first.seq
    assert second.payload["old_items"] == WALK
    assert second.payload["items"] == {"TIMED_M": 10, "C1_S": 10.0}
    assert second.reason == "misread"
    third = correct(asta, usubjid, **where, status="unable", reason="fell; could not finish")
    assert third.payload["seq"] == second.seq
    now = study.participant(usubjid).assessments["BL", "10MWT"]
    assert (now.status, now.scores["WS10C"], now.corrections) == ("unable", 0, 2)
    stored = next(e for e in study.record.read() if e.seq == first.seq)
    assert stored.payload["items"] == WALK


def test_correction_refused(study: Study, asta: Study) -> None:
    usubjid = randomised(study)
    where: dict[str, Any] = {"visit": "BL", "instrument": "10MWT"}
    for blank in ("", "  "):
        refused(
            study, UsageError, "reason", correct, asta, usubjid,
            **where, items={"C1_S": 9.0}, reason=blank,
        )  # fmt: skip
    refused(study, UsageError, "changes nothing", correct, asta, usubjid, **where, reason="x")
    refused(
        study, OutOfRange, "C1_S", correct, asta, usubjid,
        **where, items={"C1_S": 0.1}, reason="x",
    )  # fmt: skip
    refused(
        study, OutOfOrder, "no ABC", correct, asta, usubjid,
        visit="BL", instrument="ABC", items={"ABC01": 1}, reason="x",
    )  # fmt: skip


# --- diaries, adverse events, leaving -------------------------------------------------------------


def test_diary(study: Study) -> None:
    usubjid = randomised(study)
    call: dict[str, Any] = {"diary": "FALL"}
    event = return_diary(
        study, usubjid, **call, from_day=0, to_day=27, entries=[DiaryEntry(day=27), {"day": 3}]
    )
    assert event.payload["entries"] == [{"day": 27, "grade": None}, {"day": 3, "grade": None}]
    for first, last, error, text in (
        (27, 30, Duplicate, "days 0 to 27"),
        (-1, 3, OutOfRange, "are not days"),
        (40, 30, OutOfRange, "are not days"),
        (30, 61, OutOfRange, "are not days"),
    ):
        refused(
            study, error, text, return_diary, study, usubjid, **call, from_day=first, to_day=last
        )
    refused(
        study, OutOfRange, r"\[27, 61\]", return_diary, study, usubjid,
        **call, from_day=28, to_day=60, entries=[{"day": 61}, {"day": 27}, {"day": 30}],
    )  # fmt: skip
    refused(
        study, UsageError, "diary entry", return_diary, study, usubjid,
        **call, from_day=28, to_day=60, entries=[{"on": 30}],
    )  # fmt: skip
    return_diary(study, usubjid, **call, from_day=28, to_day=60)
    assert study.participant(usubjid).diaries == {"FALL": [(0, 27), (28, 60)]}


def test_adverse_events(study: Study) -> None:
    usubjid = randomised(study)
    report_ae(study, usubjid, **AE, criterion="hospitalisation", related_device="possible")
    who = study.participant(usubjid)
    assert (who.adverse_events, who.serious_events) == (1, 1)
    refused(study, UsageError, "severity", report_ae, study, usubjid, **{**AE, "severity": "bad"})
    refused(study, UsageError, "no session", report_ae, study, usubjid, **AE, session="S9")
    refused(study, UsageError, "term", report_ae, study, usubjid, **{**AE, "term": " "})
    withdraw(study, usubjid, day=9, code="MOVED")
    report_ae(study, usubjid, **{**AE, "day": 20})
    assert who.adverse_events == 2


def test_nothing_after_withdrawal(study: Study, asta: Study) -> None:
    usubjid = randomised(study)
    hold_visit(study, usubjid, "W4", day=28)
    withdraw(study, usubjid, day=30, code="MOVED")
    steps: list[Callable[[], Any]] = [
        lambda: hold_visit(study, usubjid, "W8", day=56),
        lambda: miss_visit(study, usubjid, "W8", code="X"),
        lambda: assess(asta, usubjid, visit="W4", instrument="10MWT", items=WALK),
        lambda: return_diary(study, usubjid, diary="FALL", from_day=0, to_day=3),
        lambda: miss_session(study, usubjid, number=1, day=0, code="X"),
        lambda: log_conventional(study, usubjid, number=1, day=0, dose=DOSE),
        lambda: discontinue_training(study, usubjid, day=31, code="X"),
        lambda: withdraw(study, usubjid, day=31, code="X"),
        lambda: consent(study, usubjid, version="2"),
        lambda: randomise(study, usubjid),
    ]
    for step in steps:
        refused(study, OutOfOrder, "withdrew on day 30", step)


def test_visits_go_on_after_training(study: Study) -> None:
    usubjid = randomised(study)
    discontinue_training(study, usubjid, day=10, code="PAIN")
    assert study.participant(usubjid).status == "discontinued"
    hold_visit(study, usubjid, "W4", day=28)
    refused(study, Duplicate, "day 10", discontinue_training, study, usubjid, day=11, code="PAIN")
    refused(
        study, OutOfOrder, "discontinued", miss_session, study, usubjid,
        number=2, day=11, code="X",
    )  # fmt: skip


def in_arm(study: Study, arm: str) -> str:
    while study.arm_of(usubjid := randomised(study)) != arm:
        pass
    return usubjid


@pytest.mark.parametrize(
    ("minutes", "moving", "found"),
    [
        (10.0, 10.0, {}),
        (9.0, 10.0 * 0.9, {"moving_minutes_low": "9.0 min of moving, 10 asked"}),
        (8.9, 8.9, {"moving_minutes_low": "8.9 min of moving, 10 asked",
                    "session_shortened": "8.9 of 10 min"}),
    ],
)  # fmt: skip
def test_a_short_conventional_session_is_a_deviation(
    study: Study, minutes: float, moving: float, found: dict[str, str]
) -> None:
    usubjid = in_arm(study, "CONVENTIONAL")
    dose = {"minutes": minutes, "moving_minutes": moving, "steps": 100}
    event = log_conventional(study.as_user("theo"), usubjid, number=1, day=3, dose=dose)
    raised = [e.payload for e in study.record.read(["deviation.raised"], after=event.seq)]
    assert {p["category"]: p["detail"] for p in raised} == found
    assert all((p["session"], p["day"]) == (f"{usubjid}-S01", 3) for p in raised)


def test_conventional_sessions(study: Study) -> None:
    theo = study.as_user("theo")
    usubjid = in_arm(study, "CONVENTIONAL")
    event = log_conventional(theo, usubjid, number=1, day=1, dose=DOSE)
    assert event.payload["therapist"] == "theo"
    assert event.payload["session"] == f"{usubjid}-S01"
    assert event.payload["protocol"] == "small-conventional"
    done = study.state.sessions[f"{usubjid}-S01"]
    assert (done.status, done.dose) == ("conventional", Dose.model_validate(DOSE).model_dump())
    miss_session(theo, usubjid, number=2, day=4, code="ILL")
    for number in (1, 2):
        refused(
            study, Duplicate, f"session {number}", log_conventional, theo, usubjid,
            number=number, day=5, dose=DOSE,
        )  # fmt: skip
    for number in (0, 5):
        refused(
            study, OutOfRange, "1 to 4", miss_session, theo, usubjid,
            number=number, day=5, code="ILL",
        )  # fmt: skip
    for wrong in (
        {"minutes": 30},
        {**DOSE, "minutes": -1},
        {**DOSE, "moving_minutes": 31},
        {**DOSE, "speed": 1},
        {**DOSE, "minutes": float("nan")},
    ):
        refused(
            study, UsageError, "dose", log_conventional, theo, usubjid,
            number=3, day=5, dose=wrong,
        )  # fmt: skip


def test_robotic_participant_has_no_conventional_session(study: Study) -> None:
    usubjid = in_arm(study, "ROBOTIC")
    refused(
        study, WrongArm, "Robotic", log_conventional, study.as_user("theo"), usubjid,
        number=1, day=1, dose=DOSE,
    )  # fmt: skip


def test_study_day_is_the_clock_s(study: Study) -> None:
    usubjid = enrolled(study)
    assert study_day(study, usubjid) == 0
    usubjid = randomised(study)
    study.clock.move_to(study.clock.now() + timedelta(days=28, hours=15))  # type: ignore[attr-defined]
    assert study_day(study, usubjid) == 28


# --- roles ----------------------------------------------------------------------------------------


def acts(study: Study) -> dict[str, tuple[str, Callable[[Study], Any]]]:
    """Each act with its permission, ready to succeed for whoever may."""
    fresh, ready, walker = enrolled(study), enrolled(study), in_arm(study, "CONVENTIONAL")
    hold_visit(study, ready, "BL", day=0)
    assess(study.as_user("asta"), ready, visit="BL", instrument="10MWT", items=WALK)
    hold_visit(study, walker, "W4", day=28)
    entry = str(enrol(study, site="03").subject)
    assessed = {"visit": "W4", "instrument": "10MWT", "items": WALK}
    return {
        "enrol": ("enrol", lambda s: enrol(s, site="02")),
        "consent": ("consent", lambda s: consent(s, entry, version="1")),
        "exclude": ("exclude", lambda s: exclude(s, fresh, code="AGE")),
        "randomise": ("randomise", lambda s: randomise(s, ready)),
        "hold": ("visit", lambda s: hold_visit(s, walker, "W8", day=56)),
        "miss": ("visit", lambda s: miss_visit(s, walker, "W8", code="ILL")),
        "assess": ("assess", lambda s: assess(s, walker, **assessed)),
        "correct": (
            "assess",
            lambda s: correct(
                s, ready, visit="BL", instrument="10MWT", items={"C1_S": 9.0}, reason="typo"
            ),
        ),
        "diary": (
            "diary",
            lambda s: return_diary(s, walker, diary="FALL", from_day=0, to_day=9),
        ),
        "ae": ("report_ae", lambda s: report_ae(s, walker, **AE)),
        "discontinue": ("withdraw", lambda s: discontinue_training(s, walker, day=1, code="X")),
        "withdraw": ("withdraw", lambda s: withdraw(s, walker, day=1, code="X")),
        "miss_session": (
            "session",
            lambda s: miss_session(s, walker, number=1, day=1, code="X"),
        ),
        "log": ("session", lambda s: log_conventional(s, walker, number=1, day=1, dose=DOSE)),
        "arm": ("see_allocation", lambda s: s.arm_of(walker)),
        "arms": ("unblind", lambda s: s.allocations()),
        "user": ("add_user", lambda s: s.add_user("newt", role="monitor")),
    }


class Undo(Exception):
    """Takes a batch back."""


def test_every_role_and_every_act(study: Study) -> None:
    """The whole matrix: who may succeeds, who may not is refused, which is all that is written."""
    ready = acts(study)
    for user in study.state.users:
        view = study.as_user(user)
        for name, (permission, act) in ready.items():
            if view.may(permission):

                def tried(act: Callable[[Study], Any] = act, view: Study = view) -> None:
                    with study.batch():
                        act(view)
                        raise Undo

                with pytest.raises(Undo):
                    tried()
            else:
                before = study.record.head
                with pytest.raises(NotPermitted, match=rf"{user} \({view.role}\) may not"):
                    act(view)
                (refused,) = study.record.read(after=before[0])
                assert (refused.kind, refused.actor) == ("command.refused", user), name
                assert refused.payload["permission"] == permission


# --- any order of steps ---------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Any steps in any order: accepted or refused, the fold of the record is the state."""

    study: Study

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.study = make_study(Path(self.folder.name))
        self.people = [str(enrol(self.study, site="01").subject) for _ in range(2)]

    def teardown(self) -> None:
        if hasattr(self, "study"):
            assert self.study.record.verify().ok
            self.study.close()
            self.folder.cleanup()

    @rule(
        who=st.integers(0, 1),
        step=st.sampled_from(
            ["consent", "exclude", "BL", "W4", "W8", "walk", "randomise", "diary", "miss", "leave"]
        ),
        day=st.integers(-3, 60),
    )
    def act(self, who: int, step: str, day: int) -> None:
        study, usubjid = self.study, self.people[who]
        asta = study.as_user("asta")
        before = study.state.seq
        calls: dict[str, Callable[[], Any]] = {
            "consent": lambda: consent(study, usubjid, version=str(day)),
            "exclude": lambda: exclude(study, usubjid, code="X"),
            "BL": lambda: hold_visit(study, usubjid, "BL", day=day),
            "W4": lambda: hold_visit(study, usubjid, "W4", day=day, reason="x"),
            "W8": lambda: miss_visit(study, usubjid, "W8", code="X"),
            "walk": lambda: assess(asta, usubjid, visit="BL", instrument="10MWT", items=WALK),
            "randomise": lambda: randomise(study, usubjid),
            "diary": lambda: return_diary(
                study, usubjid, diary="FALL", from_day=day, to_day=day + 2
            ),
            "miss": lambda: miss_session(study, usubjid, number=1 + day % 4, day=day, code="X"),
            "leave": lambda: withdraw(study, usubjid, day=day, code="X"),
        }
        refusal: RefusedError | None = None
        try:
            calls[step]()
        except RefusedError as error:
            refusal = error
        assert (study.state.seq == before) == (refusal is not None)
        assert refusal is None or refusal.remedy

    @invariant()
    def state_is_the_fold(self) -> None:
        if hasattr(self, "study"):
            assert vars(StudyState(self.study.record.read())) == vars(self.study.state)
            for who in self.study.state.participants.values():
                assert who.consent or not (who.visits or who.randomised or who.sessions)
                assert who.randomised or not (who.diaries or who.sessions or "W4" in who.visits)
                assert not (who.excluded and who.randomised)


AnyOrder.TestCase.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = AnyOrder.TestCase
