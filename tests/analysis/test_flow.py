"""Participant flow: counts against ADSL, and a balance that notices."""

from __future__ import annotations

import pandas as pd
import pytest
from frames_for_analysis import make_frames, make_plan

from trialkit.analysis import check_flow, run_plan
from trialkit.results import Results


@pytest.mark.parametrize("seed", [1, 5, 9, 23])
def test_the_flow_balances(seed: int) -> None:
    found = run_plan(make_plan(), make_frames(seed=seed))
    assert check_flow(found) == []


def test_counts_are_those_of_adsl(results: Results, frames: dict[str, pd.DataFrame]) -> None:
    adsl = frames["ADSL"]
    value = results.value
    assert value("flow.assessed.count") == len(adsl) == 64
    assert value("flow.excluded.count") == value("flow.excluded_declined.count") == 4
    assert value("flow.randomised.count") == 60
    for arm in ("Robotic", "Conventional"):
        own = adsl[adsl["TRT01P"] == arm]
        name = arm.lower()
        assert value(f"flow.allocated.{name}.count") == len(own)
        assert value(f"flow.received.{name}.count") == (own["SAFFL"] == "Y").sum()
        assert value(f"flow.lost.{name}.count") == (own["EOSSTT"] == "DISCONTINUED").sum()
        assert value(f"flow.discontinued.{name}.count") == own["TRTDISDY"].notna().sum()
        analysed = value(f"flow.analysed.{name}.count")
        assert analysed == value(f"speed.n.{name}.n_subjects")
        assert analysed + value(f"flow.not_analysed.{name}.count") == len(own)


def test_those_outside_the_analysis_have_a_reason(frames: dict[str, pd.DataFrame]) -> None:
    gone = frames["ADSL"]["USUBJID"].iloc[[0, 1]]
    rows = frames["ADFT"]
    cut = {**frames, "ADFT": rows[~rows["USUBJID"].isin(gone)]}
    found = run_plan(make_plan(), cut)
    assert check_flow(found) == []
    flow = found.select(analysis="flow")
    reasons = flow[flow["quantity"].str.startswith("not_analysed_")]
    assert reasons["value"].sum() == 2
    assert reasons["text"].str.startswith("no outcome value").all()


@pytest.mark.parametrize(
    "row",
    [
        "flow.randomised.count",
        "flow.allocated.robotic.count",
        "flow.received.robotic.count",
        "flow.analysed.conventional.count",
        "flow.excluded_declined.count",
    ],
)
def test_a_wrong_count_is_found(results: Results, row: str) -> None:
    table = results.table.copy()
    table.loc[table["id"] == row, "value"] += 1
    findings = check_flow(Results(table, results.series, results.meta))
    assert findings
    assert all(f.remedy for f in findings)
