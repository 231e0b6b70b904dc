"""Queries: who raises, answers, closes; no duplicates; nothing that tells an arm to the blinded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_study import make_study, randomised

from trialkit._clock import SimulatedClock
from trialkit.data import query_findings
from trialkit.errors import NotPermitted, OutOfOrder, TrialkitError, UnknownName, UsageError
from trialkit.participants import (
    answer_query,
    assess,
    close_query,
    correct,
    correct_diary,
    hold_visit,
    list_queries,
    log_conventional,
    raise_query,
    reopen_query,
    report_ae,
    return_diary,
    run_queries,
)
from trialkit.participants.query_rules import RULES
from trialkit.record import StudyState
from trialkit.record.kinds import KINDS
from trialkit.study import Study

DOSE = {"minutes": 30, "moving_minutes": 22.5, "steps": 900}


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        made.add_user("dana", role="data_manager")
        yield made
        assert vars(StudyState(made.record.read())) == vars(made.state)


def in_arm(study: Study, arm: str) -> str:
    while True:
        who = randomised(study)
        if study.arm_of(who) == arm:
            return who


def wait(study: Study, days: float) -> None:
    assert isinstance(study.clock, SimulatedClock)
    study.clock.advance(days * 86400)


@pytest.mark.requirement("R05")
def test_the_life_of_a_query(study: Study) -> None:
    who = randomised(study)
    mona, asta, dana = (study.as_user(u) for u in ("mona", "asta", "dana"))
    at: dict[str, Any] = {"visit": "BL", "instrument": "10MWT", "item": "C1_S"}
    raised = raise_query(mona, who, text="Is 20 s right?", **at).payload["query"]
    assert raised == "Q0001"
    wait(study, 3)
    (row,) = list_queries(asta)
    assert (row.status, row.age_days, row.place, row.rule) == ("open", 3.0, at, None)
    with pytest.raises(NotPermitted):
        answer_query(mona, raised, text="yes")
    answer_query(asta, raised, text="Misread.")
    event = correct(
        asta, who, visit="BL", instrument="10MWT", items={"C1_S": 21.0}, reason="misread"
    )
    (row,) = list_queries(dana)
    assert (row.status, row.corrected) == ("answered", 1)  # linked, and not closed
    assert row.corrections == ()  # mona is blinded
    assert list_queries(study.as_user("ivan"))[0].corrections == (event.seq,)
    with pytest.raises(NotPermitted):
        close_query(asta, raised, reason="done")
    close_query(dana, raised, reason="corrected")
    assert list_queries(dana) == []
    with pytest.raises(OutOfOrder, match="closed"):
        answer_query(asta, raised, text="more")
    with pytest.raises(UsageError, match="reopened"):
        reopen_query(dana, raised, reason=" ")
    reopen_query(dana, raised, reason="the other trial too?")
    (row,) = list_queries(dana)
    assert (row.status, row.reopened, row.closed_by) == ("open", 1, None)
    with pytest.raises(OutOfOrder, match="is open"):
        reopen_query(dana, raised, reason="again")
    wait(study, 1)
    status = study.status()
    assert (status.queries, status.oldest_query_days) == ({"open": 1}, 4.0)
    assert "open 1; the oldest for 4 days" in str(status)


def test_nobody_closes_on_their_own_answer(study: Study) -> None:
    cora, ivan = study.as_user("cora"), study.as_user("ivan")
    who = randomised(study)
    raised = raise_query(ivan, who, text="Why so late?").payload["query"]
    answer_query(cora, raised, text="Snow.")
    with pytest.raises(NotPermitted, match="last answer"):
        close_query(cora, raised, reason="fine")
    answer_query(ivan, raised, text="Snow, it was.")
    with pytest.raises(NotPermitted, match="last answer"):
        close_query(ivan, raised, reason="fine")
    close_query(cora, raised, reason="fine")


def test_a_correction_of_another_item_is_not_linked(study: Study) -> None:
    who = randomised(study)
    asta, mona = study.as_user("asta"), study.as_user("mona")
    for item in ("C1_S", "TIMED_M"):
        raise_query(mona, who, text="?", visit="BL", instrument="10MWT", item=item)
    raise_query(mona, who, text="?", visit="BL", instrument="ABC")
    event = correct(asta, who, visit="BL", instrument="10MWT", items={"C1_S": 9.0}, reason="typo")
    assert [row.corrected for row in list_queries(mona)] == [1, 0, 0]
    assert list_queries(study)[0].corrections == (event.seq,)


def test_what_a_query_may_be_about(study: Study) -> None:
    who = randomised(study)
    mona = study.as_user("mona")
    seq = study.record.head[0]
    for wrong, error in (
        ({"visit": "W99"}, UnknownName),
        ({"visit": "BL", "instrument": "NONE"}, UnknownName),
        ({"visit": "BL", "instrument": "10MWT", "item": "C9"}, UnknownName),
        ({"instrument": "10MWT"}, UsageError),
        ({"diary": "NONE"}, UnknownName),
        ({"ae": "AE99"}, UnknownName),
    ):
        with pytest.raises(error):
            raise_query(mona, who, text="?", **wrong)
    with pytest.raises(UsageError, match="question"):
        raise_query(mona, who, text=" ")
    with pytest.raises(UnknownName, match="no session"):
        raise_query(study.as_user("cora"), who, text="?", session="S9")
    assert study.record.head[0] == seq


def test_rules_raise_once(study: Study) -> None:
    cora, asta, ivan = (study.as_user(u) for u in ("cora", "asta", "ivan"))
    who = randomised(study, seconds=20.0)
    hold_visit(cora, who, "W4", day=28)
    returned = return_diary(
        cora, who, diary="FALL", from_day=0, to_day=27, entries=[{"day": 4, "grade": 2}]
    )
    report_ae(cora, who, term="Fell at home", category="Fall", day=15, severity="mild")
    found = run_queries(ivan)
    assert [(row.rule, row.place) for row in found] == [
        ("fall_not_in_diary", {"diary": "FALL", "ae": f"{who}-AE01"})
    ]
    assert run_queries(cora) == []
    name = found[0].query
    with pytest.raises(OutOfOrder, match="neither answer nor correction"):
        close_query(cora, name, reason="never mind")
    correct_diary(
        cora, who, returned=returned.seq, reason="called the participant",
        entries=[{"day": 4, "grade": 2}, {"day": 14, "grade": 2}],
    )  # fmt: skip
    assert len(list_queries(cora)[0].corrections) == 1
    close_query(cora, name, reason="the diary has it now")
    assert run_queries(cora) == []
    # The entry is taken back: the same finding with the same value was closed, and stays so.
    correct_diary(
        cora, who, returned=returned.seq, reason="it was no fall", entries=[{"day": 4, "grade": 2}]
    )
    assert run_queries(cora) == []
    assess(asta, who, visit="W4", instrument="10MWT", items={"TIMED_M": 10, "C1_S": 22.0})
    assert [r.rule for r in list_queries(cora, status=["closed"])] == ["fall_not_in_diary"]


def test_soft_ranges_and_late_entries(study: Study) -> None:
    """What the forms flag becomes a query each; a new value is asked about again."""
    asta, cora = study.as_user("asta"), study.as_user("cora")
    who = randomised(study)
    flagged = study.design.instrument("10MWT")
    item = next(i for i in flagged.items if i.id == "C1_S")
    form = study.state.participants[who].assessments["BL", "10MWT"]
    form.flags, form.late, form.delay_days = [item.id], True, 6  # as a form of another study
    try:
        rules = {row.rule: row for row in run_queries(cora)}
        assert set(rules) == {"soft_range", "late_entry"}
        assert rules["soft_range"].place == {"visit": "BL", "instrument": "10MWT", "item": "C1_S"}
        assert rules["soft_range"].value == "20.0"
        answer_query(asta, rules["soft_range"].query, text="It is right.")
        close_query(cora, rules["soft_range"].query, reason="confirmed")
        assert run_queries(cora) == []
        form.items["C1_S"] = 44.0
        assert [row.value for row in run_queries(cora)] == ["44.0"]
    finally:
        study.state.rebuild(study.record.read())


def test_treated_falls_and_overdue_diaries(tmp_path: Path) -> None:
    from small_study import SHARED

    assert "event_from_grade" not in SHARED
    with make_study(tmp_path) as study:
        cora = study.as_user("cora")
        diary = study.design.diaries[0]
        study.design.diaries[0] = diary.model_copy(update={"event_from_grade": 2})
        who = randomised(study)
        return_diary(
            cora, who, diary="FALL", from_day=0, to_day=13,
            entries=[{"day": 3, "grade": 1}, {"day": 5, "grade": 2}, {"day": 9, "grade": 3}],
        )  # fmt: skip
        (row,) = run_queries(cora)
        assert (row.rule, row.place["row"], row.value) == ("fall_not_reported", "day 9", "3")
        wait(study, 44)
        assert run_queries(cora) == []
        wait(study, 1)
        (row,) = run_queries(cora)
        assert (row.rule, row.value) == ("diary_overdue", "13")
        assert "due on day 44" in row.text


def test_failed_checks_become_queries(study: Study) -> None:
    """Open is what a masked check finds; what only an unmasked one finds is restricted."""
    cora, mona = study.as_user("cora"), study.as_user("mona")
    who = randomised(study)
    return_diary(cora, who, diary="FALL", from_day=5, to_day=27)
    made = run_queries(cora, query_findings(cora))
    assert {row.rule for row in made} == {"check.no_gap_before"}
    assert not any(row.restricted for row in made)
    assert run_queries(mona, query_findings(mona)) == []
    worker = in_arm(study, "CONVENTIONAL")
    log_conventional(cora, worker, number=1, day=1, dose={**DOSE, "minutes": 30000})
    (row,) = run_queries(cora, query_findings(cora))
    assert (row.query, row.restricted, row.place["domain"]) == ("R0001", True, "EX")
    assert [r.query for r in list_queries(mona)] == [r.query for r in made]
    assert study.status().queries["open"] == len(made) + 1
    assert mona.status().queries["open"] == len(made)


@pytest.mark.parametrize("blind", ["asta", "mona", "dana", "stan"])
def test_the_blinded_see_no_query_about_a_session(study: Study, blind: str) -> None:
    """The same acts in either arm look the same to a blinded role, by every reading command."""
    cora, view = study.as_user("cora"), study.as_user(blind)
    robotic, other = in_arm(study, "ROBOTIC"), in_arm(study, "CONVENTIONAL")
    log_conventional(cora, other, number=1, day=1, dose=DOSE)
    session = next(iter(study.participant(other).sessions.values())).session
    hidden = raise_query(cora, other, text="Only 30 min?", session=session).payload["query"]
    named = raise_query(cora, robotic, text="Was the robotic device cold?").payload["query"]
    shown = raise_query(cora, other, text="Who held the visit?").payload["query"]
    assert (hidden, named, shown) == ("R0001", "R0002", "Q0001")  # no gap tells of them
    assert [row.query for row in list_queries(study)] == [hidden, named, shown]
    if view.may("query") or view.may("answer_query"):
        assert [row.query for row in list_queries(view)] == [shown]
        for act in (
            lambda name: answer_query(view, name, text="x"),
            lambda name: close_query(view, name, reason="x"),
            lambda name: reopen_query(view, name, reason="x"),
        ):
            said = []
            for name in (hidden, "R0099"):
                with pytest.raises(TrialkitError) as caught:
                    act(name)
                said.append(str(caught.value).replace(name, "N"))
            assert said[0] == said[1]  # there is none, or it is not shown: the same answer
    else:
        with pytest.raises(NotPermitted):
            list_queries(view)
    with pytest.raises(NotPermitted):
        raise_query(view, other, text="?", session=session)
    with pytest.raises(NotPermitted):
        raise_query(view, robotic, text="Is that one robotic?")
    with pytest.raises(UsageError, match="names an arm"):
        answer_query(cora, shown, text="The therapist of the conventional group.")


def test_sites(study: Study) -> None:
    study.add_user("cleo", role="coordinator", sites=["02"])
    cleo = study.as_user("cleo")
    here, there = randomised(study, site="01"), randomised(study, site="02")
    first = raise_query(study.as_user("mona"), here, text="?").payload["query"]
    second = raise_query(study.as_user("mona"), there, text="?").payload["query"]
    assert [row.query for row in list_queries(cleo)] == [second]
    with pytest.raises(UnknownName):
        answer_query(cleo, first, text="x")
    for who in (here, there):
        return_diary(study.as_user("cora"), who, diary="FALL", from_day=0, to_day=9)
        report_ae(study.as_user("cora"), who, term="Fell", category="fall", day=5, severity="mild")
    assert [row.usubjid for row in run_queries(cleo)] == [there]
    assert [row.usubjid for row in run_queries(study)] == [here]


def test_one_query_for_a_value_that_is_not_plausible(study: Study) -> None:
    """The check of the tables finds it too, and raises no second query."""
    cora, asta = study.as_user("cora"), study.as_user("asta")
    who = randomised(study)
    correct(asta, who, visit="BL", instrument="10MWT", items={"C1_S": 300.0}, reason="as told")
    findings = query_findings(cora)
    assert "item_plausible" in {row["check"] for row in findings}
    assert [row.rule for row in run_queries(cora, findings)] == ["soft_range"]


def test_every_rule_has_a_test() -> None:
    assert set(RULES) == {
        "soft_range", "late_entry", "entries_differ", "fall_not_in_diary", "fall_not_reported",
        "diary_overdue",
    }  # fmt: skip
    assert {"query.raised", "query.answered", "query.closed", "query.reopened"} <= set(KINDS)
