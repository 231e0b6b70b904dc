"""Queries: each check finds what it is for, with the row and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_study import make_study

from data_schemas.terminology import REMEDIES
from trialkit.data import check_frames, collect, derive, queries
from trialkit.data.checks import COLUMNS, failures, schemas_of
from trialkit.record import kinds as k
from trialkit.study import Study

FIRST = "STROKE-RAGT-01-001"


Tables = tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def tables(read_only: Study) -> Tables:
    sdtm = collect(read_only, mask=False)
    derived = derive(sdtm, read_only.design, read_only.protocols)
    return sdtm, derived, check_frames(sdtm, derived, read_only.design)


def test_gaps_of_a_diary_are_queries(read_only: Study) -> None:
    found = queries(read_only)
    assert list(found) == COLUMNS
    assert found["check"].tolist() == ["no_gap_before", "no_gap_before"]
    assert found["row"].tolist() == ["CESEQ=5", "CESEQ=1"]
    assert found["value"].tolist() == ["40", "5"]
    assert all("Call the participant" in remedy for remedy in found["remedy"])


def test_a_person_of_a_site_sees_its_queries_only(trial: Study) -> None:
    every = queries(trial)
    sites = {trial.participant(usubjid).site for usubjid in every["usubjid"]}
    assert len(sites) == 1
    for site, n in ((sites.pop(), len(every)), ("99", 0)):
        trial.add_user(f"of{site}", role="coordinator", sites=[site])
        found = queries(trial.as_user(f"of{site}"))
        assert (list(found), len(found)) == (COLUMNS, n)


def test_a_study_without_anybody_has_no_queries(tmp_path: Path) -> None:
    found = queries(make_study(tmp_path))
    assert (list(found), len(found)) == (COLUMNS, 0)


Change = Callable[[dict[str, pd.DataFrame]], Any]


def put(name: str, column: str, value: object, *, row: int = 0) -> Change:
    def change(frames: dict[str, pd.DataFrame]) -> None:
        frames[name] = frames[name].copy()
        frames[name].loc[row, column] = value

    return change


def repeat(name: str) -> Change:
    def change(frames: dict[str, pd.DataFrame]) -> None:
        frames[name] = pd.concat([frames[name], frames[name].iloc[:1]], ignore_index=True)

    return change


@pytest.mark.parametrize(
    ("change", "domain", "column", "check"),
    [
        (put("DM", "SEX", "Femme"), "DM", "SEX", "term"),
        (put("DM", "AGE", 160.0), "DM", "AGE", "range"),
        (put("DM", "SITEID", None), "DM", "SITEID", "not_nullable"),
        (put("SV", "VISIT", "W5"), "SV", "VISIT", "visit_in_schedule"),
        (put("SV", "USUBJID", "X-9"), "SV", "USUBJID", "subject_in_dm"),
        (repeat("SV"), "SV", "USUBJID", "multiple_fields_uniqueness"),
        (put("FT", "FTSTRESN", 999.0), "FT", "FTORRES", "item_in_range"),
        (put("FT", "FTCAT", "11MWT"), "FT", "FTCAT", "instrument_known"),
        (put("FT", "FTORRES", "0.9", row=5), "FT", "FTORRES", "score_follows_items"),
        (put("CE", "CECAT", "SLIP"), "CE", "CECAT", "diary_known"),
        (put("CE", "CESTDY", 77, row=1), "CE", "CESTDY", "entry_in_period"),
        (put("CE", "CESTDY", 20, row=4), "CE", "CESTDY", "periods_apart"),
        (put("AE", "AEOUT", "BETTER"), "AE", "AEOUT", "term"),
        (put("EX", "EXMOV", 99.0), "EX", "EXMOV", "moving_within_session"),
        (put("EX", "EXSTAT", "open"), "EX", "EXSTAT", "session_closed"),
        (put("ADFT", "CHG", 7.0, row=2), "ADFT", "CHG", "change_is_difference"),
        (repeat("ADFT"), "ADFT", "ANL01FL", "one_analysis_row"),
        (put("ADFALL", "TSTOP", 0.0), "ADFALL", "TSTOP", "stop_after_start"),
        (put("ADSL", "ARMCD", 3), "ADSL", "ARMCD", "dtype"),
    ],
)  # fmt: skip
def test_each_check_finds_its_fault(
    read_only: Study, tables: Tables, change: Change, domain: str, column: str, check: str
) -> None:
    sdtm, derived, before = dict(tables[0]), dict(tables[1]), tables[2]
    assert check not in set(before[before["column"] == column]["check"])
    schema = schemas_of(sdtm, read_only.design)[domain]
    tables_of = sdtm if domain in sdtm else derived
    change(tables_of)
    after = pd.DataFrame(failures(domain, schema, tables_of[domain]), columns=COLUMNS)
    hit = after[after["check"] == check]
    assert set(after["domain"]) == {domain}
    assert column in set(hit["column"]), after.to_string()
    assert set(hit["remedy"]) == {REMEDIES[check]}


def test_an_open_session_is_a_query_for_those_who_may_know(trial: Study) -> None:
    thea = trial.as_user("thea")
    who = next(w for w in trial.state.participants if thea.arm_of(w) == "ROBOTIC")
    thea.append(
        k.SessionOpened(
            session=f"{who}-S03", number=3, day=7, protocol="stroke-robotic",
            device={"serial": "SIM-1"}, planned_minutes=34.0, therapist="thea",
        ),
        subject=who,
    )  # fmt: skip
    assert "session_closed" in set(queries(thea)["check"])
    assert "session_closed" not in set(queries(trial.as_user("asa"))["check"])


def test_a_stored_score_that_does_not_follow_is_a_query(trial: Study) -> None:
    trial.as_user("asa").append(
        k.AssessmentRecorded(
            visit="W4", day=30, instrument="6MWT", items={"DISTANCE_M": 300},
            scores={"DIST6M": 310.0},
        ),
        subject=FIRST,
    )  # fmt: skip
    found = queries(trial)
    row = found[found["check"] == "score_follows_items"].iloc[0]
    assert (row["domain"], row["usubjid"], row["value"]) == ("FT", FIRST, "310.0")
    derived = derive(collect(trial), trial.design)["ADFT"]
    assert derived.loc[derived["PARAMCD"] == "DIST6M", "AVAL"].tolist() == [300.0]


def test_every_check_has_a_remedy() -> None:
    from data_schemas import adam, sdtm

    named = {
        check.name
        for table in (*sdtm.TABLES.values(), *adam.TABLES.values())
        for check in [*table.checks, *(c for col in table.columns.values() for c in col.checks)]
    }
    assert named <= set(REMEDIES)
