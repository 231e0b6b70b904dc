"""Forms at visits: double entry of paper forms, adjudication, late entries, units, flags."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from small_study import START, randomised, write_protocols
from typer.testing import CliRunner

from trialkit._clock import SimulatedClock
from trialkit._content import content_folder
from trialkit.cli.whole import app
from trialkit.data import collect
from trialkit.data.checks import queries
from trialkit.errors import (
    NotPermitted,
    OutOfOrder,
    OutOfRange,
    OutOfWindow,
    TrialkitError,
    UsageError,
)
from trialkit.participants import (
    adjudicate,
    assess,
    assess_again,
    correct,
    hold_visit,
    pending_entries,
)
from trialkit.record import KeyStore, StudyState
from trialkit.study import Study

W4 = {"visit": "W4", "instrument": "10MWT"}
ITEMS = {"TIMED_M": 10, "C1_S": 20.0}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose walk test is on paper, with two assessors; made once."""
    folder = tmp_path_factory.mktemp("paper")
    protocols = write_protocols(folder)
    text = (content_folder("protocols") / "forms" / "10MWT.yaml").read_text()
    (folder / "forms").mkdir()
    (folder / "forms" / "10MWT.yaml").write_text(
        text.replace("domain: FT\n", "domain: FT\nsource: paper\nlate_after_days: 2\n", 1)
    )
    with Study.create(
        folder / "study",
        protocols=protocols,
        actor="olga",
        clock=SimulatedClock(START),
        keys=KeyStore(folder / "keys"),
        seed=1,
    ) as made:
        for user, role in (("cora", "coordinator"), ("asta", "assessor"), ("bert", "assessor")):
            made.add_user(user, role=role)
    return folder


@pytest.fixture
def study(template: Path, tmp_path: Path) -> Iterator[Study]:
    import shutil

    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    with Study.open(
        tmp_path / "study",
        actor="olga",
        clock=SimulatedClock(START),
        keys=KeyStore(tmp_path / "keys"),
    ) as opened:
        yield opened


@pytest.fixture
def walker(study: Study) -> str:
    """A participant at W4 on day 28, the day on which it is."""
    usubjid = randomised(study)
    move(study, 28)
    hold_visit(study, usubjid, "W4", day=28)
    return usubjid


def move(study: Study, days: float) -> None:
    assert isinstance(study.clock, SimulatedClock)
    study.clock.move_to(study.clock.now() + timedelta(days=days))


def refused(
    study: Study, error: type[TrialkitError], text: str, step: Any, *a: Any, **k: Any
) -> None:
    head = study.record.head
    with pytest.raises(error, match=text) as caught:
        step(*a, **k)
    assert caught.value.remedy
    assert study.record.head == head


def walk_row(study: Study, usubjid: str) -> dict[str, Any]:
    rows = collect(study, mask=False)["FT"]
    chosen = (rows["USUBJID"] == usubjid) & (rows["VISIT"] == "W4") & (rows["FTTESTCD"] == "WS10C")
    return dict(rows[chosen].iloc[0])


def settled(study: Study, usubjid: str) -> bool:
    """No query says that the entry at W4 waits."""
    found = queries(study)
    waits = found[(found["check"] == "entry_settled") & (found["usubjid"] == usubjid)]
    return not waits["row"].str.contains("VISIT=W4").any()


# --- double entry -------------------------------------------------------------------------------


def test_two_entries_that_agree(study: Study, walker: str) -> None:
    asta, bert = study.as_user("asta"), study.as_user("bert")
    first = assess(asta, walker, **W4, items=ITEMS)
    assert first.payload["entry"] == "first"
    state = study.participant(walker).assessments["W4", "10MWT"]
    assert (state.entry, state.entered_by, state.verified) == ("first", "asta", False)
    assert not settled(study, walker)
    again = assess_again(bert, walker, **W4, items={"C1_S": "20 s", "TIMED_M": "10"})
    assert again.payload["differences"] == []
    assert study.participant(walker).assessments["W4", "10MWT"].verified
    assert settled(study, walker)
    assert walk_row(study, walker)["FTENTRY"] == "agreed"
    assert vars(StudyState(study.record.read())) == vars(study.state)


def test_the_first_person_cannot_enter_again(study: Study, walker: str) -> None:
    asta = study.as_user("asta")
    assess(asta, walker, **W4, items=ITEMS)
    refused(
        study, NotPermitted, "made the first entry", assess_again, asta, walker, **W4, items=ITEMS
    )
    with pytest.raises(NotPermitted, match="may not assess"):
        assess_again(study.as_user("cora"), walker, **W4, items=ITEMS)


def test_a_first_entry_is_not_shown_before_the_second(study: Study, walker: str) -> None:
    assess(study.as_user("asta"), walker, **W4, items=ITEMS)
    rows = [r for r in pending_entries(study.as_user("bert")) if r["visit"] == "W4"]
    assert rows == [
        {
            "usubjid": walker,
            "visit": "W4",
            "instrument": "10MWT",
            "entry": "first",
            "entered_by": "asta",
        }
    ]


def differing(study: Study, usubjid: str) -> Study:
    assess(study.as_user("asta"), usubjid, **W4, items={**ITEMS, "F1_S": 9.0})
    bert = study.as_user("bert")
    event = assess_again(bert, usubjid, **W4, items={"TIMED_M": 10, "C1_S": 25.0})
    assert event.payload["differences"] == ["C1_S", "F1_S"]
    return bert


def test_until_it_is_decided_the_first_entry_is_used_and_queried(study: Study, walker: str) -> None:
    bert = differing(study, walker)
    row = walk_row(study, walker)
    assert (row["FTENTRY"], row["FTSTRESN"]) == ("differs", 0.5)
    assert not settled(study, walker)
    (pending,) = [r for r in pending_entries(bert) if r["visit"] == "W4"]
    assert pending["differences"] == {"C1_S": [20.0, 25.0], "F1_S": [9.0, None]}


def test_adjudication_decides_item_by_item(study: Study, walker: str) -> None:
    bert = differing(study, walker)
    event = adjudicate(
        bert, walker, **W4, take="second", items={"F1_S": 9.5}, reason="read the paper again"
    )
    assert event.reason == "read the paper again"
    assert event.payload["settled"] == {"C1_S": "second", "F1_S": "other"}
    assert event.payload["scores"] == {"WS10C": 0.4, "WS10F": round(10 / 9.5, 4)}
    row = walk_row(study, walker)
    assert (row["FTENTRY"], row["FTSTRESN"], row["FTREFID"]) == ("adjudicated", 0.4, event.seq)
    assert settled(study, walker)
    assert vars(StudyState(study.record.read())) == vars(study.state)
    kinds = [e.kind for e in study.record.read() if e.subject == walker][-3:]
    assert kinds == ["assessment.recorded", "assessment.entered_again", "assessment.adjudicated"]


def test_adjudication_of_a_status(study: Study, walker: str) -> None:
    asta, bert = study.as_user("asta"), study.as_user("bert")
    assess(asta, walker, **W4, status="unable")
    again = assess_again(bert, walker, **W4, items=ITEMS)
    assert again.payload["differences"] == ["status"]
    assert walk_row(study, walker)["FTSTRESN"] == 0.0
    done = adjudicate(bert, walker, **W4, take="second", reason="the sheet shows times")
    assert done.payload["status"] == "done"
    assert done.payload["settled"] == {"status": "second"}
    assert walk_row(study, walker)["FTSTRESN"] == 0.5


def test_what_adjudication_refuses(study: Study, walker: str) -> None:
    asta, bert = study.as_user("asta"), study.as_user("bert")
    assess(asta, walker, **W4, items=ITEMS)
    refused(
        study, OutOfOrder, "no two entries differ",
        adjudicate, bert, walker, **W4, take="first", reason="x",
    )  # fmt: skip
    assess_again(bert, walker, **W4, items={**ITEMS, "C1_S": 25.0})
    call = {**W4, "reason": "x"}
    refused(study, UsageError, "reason", adjudicate, bert, walker, **W4, take="first", reason=" ")
    refused(
        study, UsageError, "C1_S: the difference is not settled", adjudicate, bert, walker, **call
    )
    refused(
        study, UsageError, "TIMED_M does not differ",
        adjudicate, bert, walker, **call, take="first", items={"TIMED_M": 6},
    )  # fmt: skip
    refused(
        study, OutOfRange, "C1_S", adjudicate, bert, walker, **call, items={"C1_S": 9000}
    )  # fmt: skip


def test_a_correction_is_entered_again(study: Study, walker: str) -> None:
    asta, bert = study.as_user("asta"), study.as_user("bert")
    assess(asta, walker, **W4, items=ITEMS)
    refused(study, OutOfOrder, "no BBS", assess_again, bert, walker, visit="W4", instrument="BBS")
    assess_again(bert, walker, **W4, items=ITEMS)
    refused(study, OutOfOrder, "waits for no second", assess_again, bert, walker, **W4, items=ITEMS)
    correct(bert, walker, **W4, items={"C1_S": 30.0}, reason="typing error")
    state = study.participant(walker).assessments["W4", "10MWT"]
    assert (state.entry, state.entered_by, state.verified) == ("first", "bert", False)
    refused(study, NotPermitted, "first entry", assess_again, bert, walker, **W4, items=ITEMS)
    assess_again(asta, walker, **W4, items={**ITEMS, "C1_S": 30.0})
    assert walk_row(study, walker)["FTENTRY"] == "agreed"


# --- late entries -------------------------------------------------------------------------------


@pytest.mark.requirement("R19")
def test_a_late_entry_needs_a_reason_and_is_flagged(study: Study, walker: str) -> None:
    asta = study.as_user("asta")
    move(study, 5)
    refused(study, OutOfWindow, "entered 5 days after", assess, asta, walker, **W4, items=ITEMS)
    event = assess(asta, walker, **W4, items=ITEMS, reason="sheet was at the ward")
    assert (event.payload["late"], event.payload["delay_days"]) == (True, 5)
    assert event.reason == "sheet was at the ward"
    state = study.participant(walker).assessments["W4", "10MWT"]
    assert (state.late, state.delay_days) == (True, 5)
    row = walk_row(study, walker)
    assert (row["FTLATEFL"], row["FTDELAY"]) == ("Y", 5)


def test_an_entry_in_time_takes_no_reason(study: Study, walker: str) -> None:
    asta = study.as_user("asta")
    move(study, 2)
    refused(study, UsageError, "neither", assess, asta, walker, **W4, items=ITEMS, reason="why not")
    event = assess(asta, walker, **W4, items=ITEMS)
    assert (event.payload["late"], event.payload["delay_days"], event.reason) == (False, 2, None)
    row = walk_row(study, walker)
    assert (row["FTLATEFL"], row["FTDELAY"]) == (None, 2)


def test_the_date_of_the_act_may_be_given(study: Study, walker: str) -> None:
    asta = study.as_user("asta")
    today = study.clock.now().date()
    late = (today - timedelta(days=4)).isoformat()
    refused(study, OutOfWindow, "4 days", assess, asta, walker, **W4, items=ITEMS, done_on=late)
    ahead = (today + timedelta(days=1)).isoformat()
    refused(study, UsageError, "lies ahead", assess, asta, walker, **W4, items=ITEMS, done_on=ahead)
    refused(study, UsageError, "no date", assess, asta, walker, **W4, items=ITEMS, done_on="1 May")
    event = assess(asta, walker, **W4, items=ITEMS, done_on=today.isoformat())
    assert (event.payload["delay_days"], event.payload["done_on"]) == (0, today.isoformat())


def test_before_randomisation_the_delay_is_unknown(study: Study, walker: str) -> None:
    baseline = study.participant(walker).assessments["BL", "10MWT"]
    assert (baseline.delay_days, baseline.late) == (None, False)
    rows = collect(study, mask=False)["FT"]
    assert math.isnan(rows[rows["VISIT"] == "BL"]["FTDELAY"].iloc[0])


# --- what was entered ---------------------------------------------------------------------------


def test_units_and_flags_are_kept_in_the_event(study: Study, walker: str) -> None:
    asta = study.as_user("asta")
    event = assess(asta, walker, **W4, items={"TIMED_M": "10 m", "C1_S": 240.0})
    assert event.payload["items"] == {"TIMED_M": 10.0, "C1_S": 240.0}
    assert event.payload["entered"] == {"TIMED_M": "10 m"}
    assert event.payload["flags"] == ["C1_S"]
    found = queries(study)
    flagged = found[found["check"] == "item_plausible"]
    assert list(flagged["value"]) == ["240.0"]
    refused(
        study, OutOfRange, "min is no unit",
        correct, asta, walker, **W4, items={"C1_S": "4 min"}, reason="x",
    )  # fmt: skip


def test_verbs(study: Study, walker: str, tmp_path: Path) -> None:
    study.close()

    def run(*words: str, user: str = "asta") -> Any:
        where = ["--study", str(tmp_path / "study"), "--as", user]
        return CliRunner().invoke(app, [*words, *where])

    act = ("assess", walker, "W4", "10MWT")
    values = ("--item", "TIMED_M=10", "--item", "C1_S=20", "--on", str(START.date()))
    late = run(*act, *values)
    assert isinstance(late.exception, OutOfWindow)
    assert run(*act, *values, "--reason", "found later").exception is None
    assert "second entry" in run("form", "pending", user="bert").stdout
    told = run(*act, "--again", "--item", "TIMED_M=10", "--item", "C1_S=25", user="bert")
    assert "differs in C1_S; adjudicate" in told.stdout
    assert "C1_S: first 20, second 25" in run("form", "pending", user="bert").stdout
    done = run(*act, "--adjudicate", "--take", "second", "--reason", "read again", user="bert")
    assert "WS10C 0.4" in done.stdout
    assert "nothing waits" not in run("form", "pending").stdout  # the baseline still does
    for words in (("--again", "--correct"), ("--take", "third"), ("--again", "--reason", "x")):
        assert isinstance(run(*act, *words).exception, UsageError)
    shown = CliRunner().invoke(app, ["form", "show", "10MWT", "--study", str(tmp_path / "study")])
    assert "WS10C: Comfortable walking speed, speed; 0 to 5 m/s, better higher" in shown.stdout


def test_verbs_about_forms(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["form", "list"])
    assert "SFES-I" in listed.stdout
    assert "DEMOG       Demographics and body measures (8 items; no scores)" in listed.stdout
    shown = CliRunner().invoke(app, ["form", "show", "DEMOG"])
    assert "AID_KIND, Walking aid, choice, cane/crutches/frame/other, required" in shown.stdout
    assert "when AID == yes" in shown.stdout
    assert CliRunner().invoke(app, ["form", "check", "MEDHX", "SIS"]).exit_code == 0
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        "schema: trialkit.form/1\ncode: X\nname: X\nitems:\n  - {id: A, type: text, when: B == 1}\n"
    )
    checked = CliRunner().invoke(app, ["form", "check", str(wrong)])
    assert checked.exit_code == 3
    assert "there is no item B" in checked.stdout
