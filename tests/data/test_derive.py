"""SDTM-like to ADaM-like tables."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_trial import DOSE, lock

from data_schemas import adam
from trialkit import participants
from trialkit._content import find_content
from trialkit.data import collect, derive
from trialkit.data._recurrent import _Observed
from trialkit.protocol import load_protocol
from trialkit.protocol.model import Diary
from trialkit.record import Event
from trialkit.record import kinds as k
from trialkit.study import Design, Study

FIRST, SECOND, THIRD, FOURTH = (f"STROKE-RAGT-01-00{i}" for i in range(1, 5))
FALLS = Diary(paramcd="FALL", label="Falls", dataset="ADFALL", to_day=182)


@pytest.fixture(scope="module")
def frames(read_only: Study) -> dict[str, pd.DataFrame]:
    return derive(collect(read_only, mask=False), read_only.design, read_only.protocols)


def test_every_table_has_the_columns_of_its_schema(frames: dict[str, pd.DataFrame]) -> None:
    assert list(frames) == ["ADSL", "ADFT", "ADQS", "ADFALL", "ADTTE", "ADEX", "ADAE"]
    for name in frames.keys() - {"ADSL"}:
        assert list(frames[name]) == list(adam.TABLES[name].columns)
    kept = [c for c in frames["ADSL"] if c not in {"SITE", "SPEED_BAND", "SIDE"}]
    assert kept == list(adam.TABLES["ADSL"].columns)


def test_subject_level(frames: dict[str, pd.DataFrame]) -> None:
    people = frames["ADSL"].set_index("USUBJID")
    assert people["RANDFL"].tolist() == ["Y", "Y", "Y", "Y", "N"]
    assert people["FASFL"].tolist() == people["RANDFL"].tolist()
    assert people["NSESS"].tolist() == [1, 1, 1, 1, 0]
    assert people.loc[SECOND, ["TRTDISDY", "TRTDISRS"]].tolist() == [20.0, "too_far"]
    ends = people.loc[[FOURTH, "STROKE-RAGT-02-001"], ["EOSSTT", "DCSREAS"]]
    assert ends.to_numpy().tolist() == [
        ["DISCONTINUED", "consent_withdrawn"],
        ["SCREEN FAILURE", "no_walking"],
    ]
    assert people.at[FOURTH, "EOSDY"] == 33


def test_change_is_from_the_baseline_row(frames: dict[str, pd.DataFrame]) -> None:
    rows = frames["ADFT"].query("PARAMCD == 'WS10C'").set_index(["USUBJID", "AVISIT"])
    base, after = rows.loc[(FIRST, "BL")], rows.loc[(FIRST, "W4")]
    assert (base["AVAL"], base["ABLFL"], base["ADY"]) == (0.5, "Y", -3)
    assert pd.isna(base["CHG"])
    assert (after["BASE"], after["CHG"]) == (0.5, round(0.6667 - 0.5, 9))
    assert after["AVISITN"] == 28
    assert after["ADY"] == 30


def test_unable_is_a_row_and_not_done_is_none(frames: dict[str, pd.DataFrame]) -> None:
    rows = frames["ADFT"]
    unable = rows[rows["PARAMCD"] == "TUGTIME"]
    assert unable["AVALC"].tolist() == ["UNABLE"]
    assert unable["AVAL"].isna().all()
    assert "BBSTOT" not in set(rows["PARAMCD"])
    assert not ((rows["USUBJID"] == THIRD) & (rows["AVISIT"] == "W4")).any()


def test_intervals_cover_observed_days_only(frames: dict[str, pd.DataFrame]) -> None:
    rows = frames["ADFALL"]
    mine = rows[rows["USUBJID"] == FIRST]
    assert mine[["TSTART", "TSTOP", "EVENT"]].to_numpy().tolist() == [
        [0, 1, 1],  # a fall on day 0 counts
        [1, 9.5, 1],  # two falls on day 9
        [9.5, 10, 1],
        [10, 28, 0],
        [40, 61, 0],  # days 28 to 39 were not returned
    ]
    assert set(rows["USUBJID"]) == {FIRST, SECOND, THIRD}


def test_time_to_first(frames: dict[str, pd.DataFrame]) -> None:
    rows = frames["ADTTE"].set_index("USUBJID")[["AVAL", "CNSR", "EVNTDESC"]]
    assert rows.loc[FIRST].tolist()[:2] == [1.0, 0]
    assert rows.loc[SECOND].tolist()[:2] == [28.0, 0]
    assert rows.loc[THIRD].tolist() == [0.0, 1, "NO DIARY FROM DAY 0"]  # its diary begins on day 5
    assert rows.loc[FOURTH].tolist() == [0.0, 1, "NO DIARY FROM DAY 0"]


def test_exposure_keeps_missed_sessions_with_their_reason(frames: dict[str, pd.DataFrame]) -> None:
    rows = frames["ADEX"]
    missed = rows[rows["EXSTAT"] == "missed"]
    assert len(missed) == 4
    assert set(missed["EXREAS"]) == {"transport"}
    assert missed["EXMIN"].isna().all()
    assert rows[rows["EXSTAT"] == "completed"]["EXMIN"].tolist() == [34.0] * 4


# --- diaries, from events alone --------------------------------------------------------------


def diary_frames(
    returns: list[k.DiaryReturned], *, withdrawn: int | None = None, diary: Diary = FALLS
) -> dict[str, pd.DataFrame]:
    """Derive one participant's frames from diary returns."""
    design = Design.model_validate(
        {"arms": [{"code": "A", "label": "A", "delivery": "none"}], "diaries": [diary]}
    )
    payloads: list[k.Payload] = [
        k.StudyCreated(study_id="X", title="X", protocols={}, software="0", design="0" * 64),
        k.ParticipantEnrolled(site="01"),
        k.ParticipantRandomised(stratum="all", strata={}, place=1, commitment="0" * 64),
        *returns,
    ]
    if withdrawn is not None:
        payloads.append(k.ParticipantWithdrawn(day=withdrawn, code="moved"))
    events = [
        Event(
            seq, p.kind, "2026-01-01T00:00:00.000000Z", 0, "a", "owner",
            None if seq == 1 else "X-1", None, p.model_dump(mode="json"), "", "",
        )
        for seq, p in enumerate(payloads, start=1)
    ]  # fmt: skip
    return derive(collect(events, design), design)


def returned(first: int, last: int, *falls: tuple[int, int]) -> k.DiaryReturned:
    entries = [k.DiaryEntry(day=day, grade=grade) for day, grade in falls]
    return k.DiaryReturned(diary="FALL", from_day=first, to_day=last, entries=entries)


def spans(frame: pd.DataFrame) -> list[list[float]]:
    return frame[["TSTART", "TSTOP", "EVENT"]].to_numpy().tolist()


def test_withdrawal_and_last_day_bound_the_exposure() -> None:
    made = diary_frames([returned(0, 90, (50, 2))], withdrawn=40)
    assert spans(made["ADFALL"]) == [[0, 41, 0]]
    assert made["ADTTE"]["AVAL"].tolist() == [41]
    late = diary_frames([returned(0, 400, (200, 2))])
    assert spans(late["ADFALL"]) == [[0, 183, 0]]


def test_a_gap_censors_the_first_event() -> None:
    made = diary_frames([returned(0, 29), returned(60, 89, (70, 2))])
    assert spans(made["ADFALL"]) == [[0, 30, 0], [60, 71, 1], [71, 90, 0]]
    assert made["ADTTE"][["AVAL", "CNSR"]].to_numpy().tolist() == [[30, 1]]


def test_the_later_return_counts_for_days_that_were_returned_twice() -> None:
    made = diary_frames([returned(0, 9, (3, 2), (8, 2)), returned(5, 14, (6, 2))])
    assert spans(made["ADFALL"]) == [[0, 4, 1], [4, 7, 1], [7, 15, 0]]


def test_a_near_fall_is_no_event_where_the_diary_says_so() -> None:
    strict = FALLS.model_copy(update={"event_from_grade": 2})
    near = [returned(0, 9, (3, 1), (5, 2))]
    assert spans(diary_frames(near, diary=strict)["ADFALL"]) == [[0, 6, 1], [6, 10, 0]]
    assert diary_frames(near)["ADFALL"]["EVENT"].sum() == 2


@settings(max_examples=200, deadline=None)
@given(
    days=st.sets(st.integers(0, 60), max_size=40),
    picks=st.lists(st.integers(0, 60), max_size=12),
)
def test_intervals_partition_the_observed_time(days: set[int], picks: list[int]) -> None:
    """Exposure is the number of observed days, events are kept, intervals have a length."""
    events = [(day, 2.0) for day in picks if day in days]
    found = list(_Observed("X", FALLS, sorted(days), events).intervals())
    assert sum(i.stop - i.start for i in found) == pytest.approx(len(days))
    assert sum(i.event for i in found) == len(events)
    assert all(i.stop > i.start for i in found)
    for before, after in itertools.pairwise(found):
        assert after.start >= before.stop


# --- assessments, from events alone ----------------------------------------------------------


def speed_rows(visits: list[tuple[str, int, float]]) -> pd.DataFrame:
    """ADFT of one participant with a comfortable speed (10 m over seconds) a visit."""
    path = find_content("protocols", "stroke-robotic")
    design = Design.from_protocols({path: load_protocol(path)})
    payloads: list[k.Payload] = [
        k.StudyCreated(study_id="X", title="X", protocols={}, software="0", design="0" * 64),
        k.ParticipantEnrolled(site="01"),
        k.ParticipantRandomised(stratum="all", strata={}, place=1, commitment="0" * 64),
        *(
            k.AssessmentRecorded(
                visit=visit, day=day, instrument="10MWT",
                items={"TIMED_M": 10, "C1_S": seconds}, scores={"WS10C": 10 / seconds},
            )
            for visit, day, seconds in visits
        ),
    ]  # fmt: skip
    events = [
        Event(
            seq, p.kind, "2026-01-01T00:00:00.000000Z", 0, "a", "owner",
            None if seq == 1 else "X-1", None, p.model_dump(mode="json"), "", "",
        )
        for seq, p in enumerate(payloads, start=1)
    ]  # fmt: skip
    rows = derive(collect(events, design), design)["ADFT"]
    return rows[rows["PARAMCD"] == "WS10C"].reset_index(drop=True)


def test_of_two_records_in_a_visit_the_nearest_counts() -> None:
    rows = speed_rows([("BL", -2, 20), ("W4", 22, 10), ("W4", 29, 5), ("W4", 35, 4)])
    after = rows[rows["AVISIT"] == "W4"]
    assert after["ANL01FL"].tolist() == [None, "Y", None]
    assert after["CHG"].tolist() == [0.5, 1.5, 2.0]


def test_baseline_is_the_last_value_up_to_day_0() -> None:
    rows = speed_rows([("BL", -9, 20), ("BL", -1, 10), ("BL", 3, 5), ("W4", 28, 5)])
    assert rows["ABLFL"].tolist() == [None, "Y", None, None]
    assert rows["BASE"].tolist() == [1.0] * 4
    assert rows["ANL01FL"].tolist() == [None, "Y", None, "Y"]


def test_unscheduled_visits_stay_out() -> None:
    rows = speed_rows([("BL", -1, 10), ("EXTRA", 10, 5), ("W4", 28, 8)])
    assert rows["AVISIT"].tolist() == ["BL", "W4"]


def test_per_protocol_follows_the_fidelity_section(trial: Study) -> None:
    """36 planned sessions, 80 %: 29 are enough, of at least 20 moving minutes on average."""
    thea, stat = trial.as_user("thea"), trial.as_user("stat")
    people = [w for w, p in trial.state.participants.items() if p.randomised and w != FOURTH]
    who = next(w for w in people if thea.arm_of(w) == "CONVENTIONAL")
    lock(trial)
    stat.append(k.AllocationRevealed(plan_lock="1" * 64, arms=stat.allocations()))

    def log(number: int, minutes: float) -> None:
        dose = DOSE.model_copy(update={"moving_minutes": minutes})
        participants.log_conventional(thea, who, number=number, day=number * 2, dose=dose)

    def flag() -> str:
        made = derive(collect(trial, unblind=True), trial.design, trial.protocols)["ADSL"]
        return str(made.set_index("USUBJID").at[who, "PPROTFL"])

    for number in range(3, 30):
        log(number, 20.0)
    assert flag() == "N"  # 28 of 36
    log(30, 20.0)
    assert flag() == "Y"
    log(31, 0.0)  # the mean is now (28 + 28 * 20 + 0) / 30 = 19.6 minutes
    assert flag() == "N"
    log(32, 34.0)
    assert flag() == "Y"
    deviation = k.DeviationRaised(category="eligibility", detail="found later")
    trial.as_user("cora").append(deviation, subject=who)
    assert flag() == "N"


def test_a_study_of_one_arm_starts_at_consent(tmp_path: Path) -> None:
    path = find_content("protocols", "sci-robotic-30x5")
    design = Design.from_protocols({path: load_protocol(path)})
    if design.randomisation is not None:
        pytest.skip("the shipped protocol randomises")
    payloads: list[tuple[k.Payload, str | None]] = [
        (k.StudyCreated(study_id="X", title="X", protocols={}, software="0", design="0"), None),
        (k.ParticipantEnrolled(site="01"), "X-1"),
        (k.ParticipantConsented(version="1"), "X-1"),
        (k.ParticipantEnrolled(site="01"), "X-2"),
    ]
    events = [
        Event(
            seq, p.kind, "2026-01-01T00:00:00.000000Z", 0, "a", "owner", who, None,
            p.model_dump(mode="json"), "", "",
        )
        for seq, (p, who) in enumerate(payloads, start=1)
    ]  # fmt: skip
    people = derive(collect(events, design, unblind=True), design)["ADSL"]
    assert people["FASFL"].tolist() == ["Y", "N"]
    assert people["RANDFL"].tolist() == ["N", "N"]
    assert people["ARMCD"].tolist() == [design.arms[0].code, None]
