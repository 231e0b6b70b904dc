"""Freezes and locks of the data. Part 11, statement 22."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal
from small_study import enrolled, make_study, randomised

from trialkit.data.collect import collect
from trialkit.errors import (
    DataLocked,
    Duplicate,
    NotPermitted,
    OutOfOrder,
    UnknownName,
    UsageError,
)
from trialkit.participants import (
    assess,
    correct,
    enrol,
    hold_visit,
    miss_visit,
    randomise,
    report_ae,
    update_ae,
)
from trialkit.record.kinds import DeviationRaised
from trialkit.record.state import SessionState, StudyState
from trialkit.study import Study
from trialkit.study.datalock import (
    approve_unlock,
    freeze,
    lock_data,
    release,
    request_unlock,
)
from trialkit.study.heads import last_head
from trialkit.study.holds import lock_text


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = make_study(tmp_path)
    made.add_user("dora", role="data_manager")
    return made


def mend(study: Study, usubjid: str) -> None:
    correct(
        study.as_user("asta"),
        usubjid,
        visit="BL",
        instrument="10MWT",
        items={"TIMED_M": 10, "C1_S": 21.0},
        reason="misread",
    )


@pytest.mark.requirement("R05", "R22")
def test_a_lock_refuses_every_entry_by_everybody(study: Study) -> None:
    usubjid, waiting = randomised(study), enrolled(study)
    event = lock_data(study.as_user("dora"), reason="last visit is in")
    tries: list[Callable[[], object]] = [
        lambda: enrol(study, site="01"),
        lambda: mend(study, usubjid),
        lambda: hold_visit(study, waiting, "BL", day=-1),
        lambda: miss_visit(study.as_user("asta"), usubjid, "W8", code="ILLNESS"),
        lambda: study.append(DeviationRaised(category="other", detail="x"), subject=usubjid),
    ]
    before = study.state.seq
    for attempt in tries:
        with pytest.raises(DataLocked, match="last visit is in") as refused:
            attempt()
        assert refused.value.exit_status == 5
    after = list(study.record.read(after=before))
    assert {e.kind for e in after} == {"command.refused"}
    assert {e.payload["why"] for e in after} == {"locked"}
    assert len(after) == len(tries)
    head = last_head(study)
    assert head is not None
    assert head.size == event.seq
    assert study.state.data_lock is not None


def test_safety_reports_go_on_and_stay_out_of_locked_tables(study: Study) -> None:
    usubjid = randomised(study)
    ivan, dora = study.as_user("ivan"), study.as_user("dora")
    first = report_ae(ivan, usubjid, term="Fall", category="fall", day=3, severity="mild")
    before = collect(study)["AE"]
    assert list(before["AESEQ"]) == [1]
    lock_data(dora, reason="last visit is in")
    report_ae(
        ivan, usubjid, term="Stroke", category="nervous", day=9, severity="severe", serious=True,
        criterion="hospitalisation",
    )  # fmt: skip
    update_ae(ivan, usubjid, first.payload["ae"], changes={"severity": "severe"}, reason="x")
    assert_frame_equal(collect(study)["AE"], before)
    assert "2 safety reports since, not in the tables" in lock_text(study.state)
    assert study.state.participants[usubjid].adverse_events == 2
    asked = request_unlock(dora, reason="take the safety reports in")
    approve_unlock(ivan, asked.payload["request"])
    after = collect(study)["AE"]
    assert len(after) == 2
    assert list(after["AESEV"]).count("SEVERE") == 2
    lock_data(dora, reason="again")
    assert_frame_equal(collect(study)["AE"], after)


@pytest.mark.requirement("R22")
def test_unlocking_takes_two_people_and_a_reason(study: Study) -> None:
    dora, ivan = study.as_user("dora"), study.as_user("ivan")
    with pytest.raises(UsageError, match="reason"):
        lock_data(dora, reason=" ")
    with pytest.raises(OutOfOrder, match="not locked"):
        request_unlock(dora, reason="a late form")
    lock_data(dora, reason="complete")
    with pytest.raises(Duplicate):
        lock_data(ivan, reason="complete")
    with pytest.raises(UsageError, match="reason"):
        request_unlock(dora, reason="")
    request = request_unlock(dora, reason="a late form").payload["request"]
    with pytest.raises(Duplicate):
        request_unlock(ivan, reason="me too")
    with pytest.raises(NotPermitted, match="two persons"):
        approve_unlock(dora, request)
    with pytest.raises(UnknownName):
        approve_unlock(ivan, "D999")
    for role in ("cora", "theo", "asta", "stan", "mona"):
        with pytest.raises(NotPermitted):
            approve_unlock(study.as_user(role), request)
    with pytest.raises(DataLocked):
        enrol(study, site="01")
    event = approve_unlock(ivan, request)
    assert (event.reason, event.payload["requested_by"]) == ("a late form", "dora")
    enrol(study, site="01")
    lock_data(ivan, reason="complete again")
    with pytest.raises(UnknownName):
        approve_unlock(dora, request)  # the request is spent
    assert "unlocked 1 time" in study.status().data
    assert "complete again" in str(study.status())
    with Study.open(study.folder, write=False) as opened:
        assert opened.state.data_lock == study.state.data_lock


@pytest.mark.parametrize("whose", ["participant", "visit", "both", "all"])
def test_a_freeze_holds_back_what_it_names(study: Study, whose: str) -> None:
    one, two = randomised(study), randomised(study)
    scope = {
        "participant": (one, None),
        "visit": (None, "BL"),
        "both": (one, "BL"),
        "all": (None, None),
    }[whose]
    dora = study.as_user("dora")
    freeze(dora, scope[0], visit=scope[1])
    with pytest.raises(Duplicate):
        freeze(dora, scope[0], visit=scope[1])
    with pytest.raises(DataLocked, match="frozen"):
        mend(study, one)
    if whose in ("visit", "all"):
        with pytest.raises(DataLocked):
            mend(study, two)
    else:
        mend(study, two)
    assert "frozen" in study.status().data
    with pytest.raises(UsageError):
        release(dora, scope[0], visit=scope[1], reason="")
    release(dora, scope[0], visit=scope[1], reason="a transcription error")
    mend(study, one)
    with pytest.raises(UnknownName, match="not frozen"):
        release(dora, scope[0], visit=scope[1], reason="again")


def test_queries_and_the_record_itself_go_on(study: Study) -> None:
    usubjid = randomised(study)
    lock_data(study, reason="complete")
    with pytest.raises(DataLocked):
        randomise(study, enrolled_before(study))
    study.add_user("late", role="monitor")
    assert study.as_user("ivan").arm_of(usubjid)


def enrolled_before(study: Study) -> str:
    request = request_unlock(study, reason="one more").payload["request"]
    approve_unlock(study.as_user("dora"), request)
    usubjid = enrolled(study)
    hold_visit(study, usubjid, "BL", day=-2)
    items = {"TIMED_M": 10, "C1_S": 20.0}
    assess(study.as_user("asta"), usubjid, visit="BL", instrument="10MWT", items=items)
    lock_data(study, reason="complete")
    return usubjid


def test_nothing_is_locked_over_an_open_session(study: Study) -> None:
    usubjid = randomised(study)
    study.state.sessions["S"] = SessionState("S", usubjid, 1, 1, "open")
    with pytest.raises(OutOfOrder, match="a session is open") as refused:
        lock_data(study.as_user("dora"), reason="complete")
    assert usubjid not in str(refused.value)
    assert study.state.data_lock is None


def test_a_freeze_of_what_there_is_not_is_refused(study: Study) -> None:
    with pytest.raises(UnknownName):
        freeze(study, visit="NEVER")
    with pytest.raises(UnknownName):
        freeze(study, "nobody")


@pytest.mark.requirement("R22")
def test_the_lock_can_be_told_from_its_events_alone(study: Study) -> None:
    freeze(study)
    lock_data(study, reason="complete")
    kinds = ("data.frozen", "data.released", "data.locked", "data.unlocked")
    assert lock_text(StudyState(study.record.read(kinds=kinds))) == lock_text(study.state)
    assert "by olga: complete" in lock_text(study.state)
