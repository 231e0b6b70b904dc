"""A plan on frames: every analysis, failures, multiplicity, determinism."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from frames_for_analysis import make_frames, make_plan

from trialkit.analysis import run_plan
from trialkit.errors import UnknownName, UsageError
from trialkit.methods import ancova, binary, cox, mmrm, negative_binomial
from trialkit.plan.model import Plan
from trialkit.results import Results

Frames = dict[str, pd.DataFrame]
AGAINST = "robotic.vs-conventional"


def by_hand(frames: Frames) -> pd.DataFrame:
    rows = frames["ADFT"].merge(frames["ADSL"], on="USUBJID")
    rows = rows[(rows["ANL01FL"] == "Y") & (rows["ABLFL"] != "Y")]
    rows["TRT01P"] = pd.Categorical(rows["TRT01P"], ["Conventional", "Robotic"])
    return rows


def test_mmrm_is_the_method_on_the_registered_rows(results: Results, frames: Frames) -> None:
    fit = mmrm(
        "AVAL ~ BASE*AVISIT + SITEID + TRT01P*AVISIT",
        by_hand(frames),
        subject="USUBJID",
        visit="AVISIT",
    )
    wanted = fit.contrast("TRT01P", "Conventional", by="AVISIT").set_index("AVISIT")
    for visit in ("W4", "W8", "W12"):
        for name in ("estimate", "se", "df", "p", "lower", "upper"):
            got = results.value(f"speed.difference.{AGAINST}.{visit}.{name}")
            assert got == pytest.approx(wanted.loc[visit, name], rel=1e-8)
    assert results["speed"].failed is None
    assert results.meta["analyses"]["speed"]["registered"].endswith(f"{AGAINST}.W12")


def test_cross_sectional_analyses_use_one_visit(results: Results, frames: Frames) -> None:
    rows = by_hand(frames)
    last = rows[rows["AVISIT"] == "W12"]
    wanted = ancova("AVAL ~ BASE + TRT01P", last).contrast("TRT01P", "Conventional").iloc[0]
    assert results.value(f"ancova.difference.{AGAINST}.W12.estimate") == pytest.approx(
        wanted["estimate"]
    )
    response = last.assign(RESPONSE=(last["AVAL"] >= 0.6).astype(float))
    fit = binary("RESPONSE ~ TRT01P + BASE", response)
    risk = fit.standardised("TRT01P", reference="Conventional").iloc[0]
    assert results.value(f"fast.risk_difference.{AGAINST}.W12.se") == pytest.approx(risk["se"])
    yes = response[response["TRT01P"] == "Robotic"]["RESPONSE"].sum()
    assert results.value("fast.responders.robotic.W12.count") == yes


def test_events_are_aggregated_over_time_at_risk(results: Results, frames: Frames) -> None:
    diary = frames["ADFALL"]
    data = diary.assign(years=(diary["TSTOP"] - diary["TSTART"]) / 365.25).groupby("USUBJID")
    people = data.agg(NEVENTS=("EVENT", "sum"), PYEARS=("years", "sum")).reset_index()
    people = people.merge(frames["ADSL"], on="USUBJID")
    fit = negative_binomial("NEVENTS ~ TRT01P + SITEID", people, exposure="PYEARS")
    wanted = fit.rate_ratio("TRT01P", reference="Conventional").iloc[0]
    for name in ("estimate", "se", "p", "upper"):
        got = results.value(f"falls.rate_ratio.{AGAINST}.{name}")
        assert got == pytest.approx(wanted[name], rel=1e-6)
    assert results.value("falls.n.n_subjects") == 59  # one returned no diary
    assert results.value("falls.n.n_missing") == 1
    assert (
        results.value("falls.events.robotic.count")
        == people[people["TRT01P"] == "Robotic"]["NEVENTS"].sum()
    )


def test_time_to_event(results: Results, frames: Frames) -> None:
    rows = frames["ADTTE"].merge(frames["ADSL"], on="USUBJID").assign(EVENT=lambda d: 1 - d["CNSR"])
    fit = cox("TRT01P + SITEID", rows, time="AVAL", event="EVENT")
    wanted = fit.hazard_ratio("TRT01P", reference="Conventional").iloc[0]
    got = results.value(f"cox.hazard_ratio.{AGAINST}.estimate")
    assert got == pytest.approx(wanted["estimate"], rel=1e-8)
    assert 0 < results.value("km.survival.robotic.D30.estimate") <= 1
    assert results.get("km.survival.robotic.D400.estimate")["text"] == "beyond the last observation"
    at_risk = results["km"].series.query("series == 'at_risk' and x == 0")
    assert at_risk["n"].sum() == len(rows)
    assert "stratified by ['SITEID']" in results["km"].table["variant"].iloc[0]


def test_every_row_says_where_it_comes_from(results: Results) -> None:
    rows = results.table[results.table["role"] != "descriptive"]
    for column in ("estimand", "population", "method", "variant", "dataset"):
        assert rows[column].notna().all(), column
    for analysis in results.meta["analyses"]:
        for name in ("n", "n_subjects", "n_missing"):
            assert np.isfinite(results.value(f"{analysis}.n.{name}"))
    results.validate()


def test_multiplicity_is_holm_over_the_order(results: Results) -> None:
    p = {a: results[a].statistics()["p"] for a in ("speed", "falls", "cox")}
    ranked = sorted(p, key=lambda a: p[a])
    assert results[ranked[0]].statistics()["p_adjusted"] == pytest.approx(min(3 * p[ranked[0]], 1))
    assert "p_adjusted" not in results["ancova"].statistics()


def test_same_input_same_bytes(plan: Plan, frames: Frames, results: Results) -> None:
    again = run_plan(plan, make_frames(), meta={"snapshot": "0" * 64})
    assert again.to_bytes() == results.to_bytes()
    shuffled = {name: f.sample(frac=1, random_state=1) for name, f in frames.items()}
    other = run_plan(plan, shuffled, meta={"snapshot": "0" * 64})
    assert list(other.table["id"]) == list(results.table["id"])
    both = other.table["value"].notna()
    assert other.table["value"][both].to_numpy() == pytest.approx(
        results.table["value"][both].to_numpy(), rel=1e-7, abs=1e-10
    )


def test_without_descriptives_the_comparisons_are_the_same(
    plan: Plan, frames: Frames, results: Results
) -> None:
    lean = run_plan(plan, frames, descriptives=False)
    assert lean.series.empty
    for row in lean.table.to_dict("records"):
        assert results.value(row["id"]) == pytest.approx(row["value"], nan_ok=True)


def test_swapped_arms_turn_the_signs(frames: Frames, results: Results) -> None:
    turned = run_plan(
        make_plan(treatment={"treatment": "Conventional", "reference": "Robotic"}), frames
    )
    difference = turned.value("speed.difference.conventional.vs-robotic.W12.estimate")
    assert difference == pytest.approx(-results.value(f"speed.difference.{AGAINST}.W12.estimate"))
    ratio = turned.value("falls.rate_ratio.conventional.vs-robotic.estimate")
    assert ratio == pytest.approx(1 / results.value(f"falls.rate_ratio.{AGAINST}.estimate"))


def test_a_failed_primary_is_no_number_and_is_not_rejected(frames: Frames) -> None:
    same = {**frames, "ADFT": frames["ADFT"].assign(AVAL=1.0)}
    order = {"procedure": "fixed_sequence", "alpha": 0.05, "order": ["speed", "cox"]}
    found = run_plan(make_plan(multiplicity=order), same)
    primary = found["speed"]
    assert primary.failed is not None
    rows = primary.registered
    assert rows[rows["statistic"].isin(["estimate", "p", "p_adjusted"])]["value"].isna().all()
    assert set(rows["state"]) == {"failed", "ok"}
    assert primary.statistics()["rejected"] == 0.0
    assert found["cox"].statistics()["rejected"] == 0.0  # the sequence stopped
    assert "failed" in primary.line()
    assert found["fast"].failed == "every participant has the response 1"
    found.validate()
    assert Results.from_bytes(found.to_bytes()).hash == found.hash


def test_one_site_fails_with_a_reason_and_the_rest_goes_on(frames: Frames) -> None:
    one = {**frames, "ADSL": frames["ADSL"].assign(SITEID="01")}
    found = run_plan(make_plan(), one)
    assert "SITEID has only the level" in str(found["speed"].failed)
    assert found["ancova"].failed is None
    assert found.value("speed.n.n_subjects") > 50


def test_no_value_at_the_registered_visit_fails(frames: Frames) -> None:
    early = {**frames, "ADFT": frames["ADFT"][frames["ADFT"]["AVISIT"] != "W12"]}
    found = run_plan(make_plan(), early)
    assert found["speed"].failed == "no value at W12"
    assert np.isfinite(found.value(f"speed.difference.{AGAINST}.W8.estimate"))
    assert "no complete row" in str(found["ancova"].failed)


def test_another_null_hypothesis(frames: Frames) -> None:
    plan = make_plan()
    moved = [a.model_copy(update={"null_value": 0.02}) for a in plan.analyses if a.id == "speed"]
    moved += [a.model_copy(update={"null_value": 0.9}) for a in plan.analyses if a.id == "falls"]
    found = run_plan(plan.model_copy(update={"analyses": moved}), frames)
    speed, falls = found["speed"].statistics(), found["falls"].statistics()
    assert speed["statistic"] == pytest.approx((speed["estimate"] - 0.02) / speed["se"])
    gap = np.log(falls["estimate"] / 0.9)
    assert falls["statistic"] == pytest.approx(gap / falls["se"])
    assert found["falls"].comparison()["null"] == 0.9


def test_hidden_arms_and_wrong_names_are_refused(frames: Frames) -> None:
    plan = make_plan()
    with pytest.raises(UsageError, match="no arm"):
        run_plan(plan, {**frames, "ADSL": frames["ADSL"].assign(TRT01P=None)})
    with pytest.raises(UsageError, match="nobody"):
        run_plan(make_plan(treatment={"treatment": "Robot", "reference": "Conventional"}), frames)
    with pytest.raises(UnknownName, match="no frame"):
        run_plan(plan, {k: v for k, v in frames.items() if k != "ADFT"})
    bad = [plan.analyses[1].model_copy(update={"formula": "AVAL ~ BASE + WEIGHT + TRT01P"})]
    with pytest.raises(UnknownName, match="WEIGHT"):
        run_plan(plan.model_copy(update={"analyses": bad}), frames)
    odd = [plan.analyses[1].model_copy(update={"options": {"robust": True}})]
    with pytest.raises(UsageError, match="no option robust"):
        run_plan(plan.model_copy(update={"analyses": odd}), frames)


def test_several_rows_a_participant_are_refused(frames: Frames) -> None:
    plan = make_plan()
    whole = [plan.analyses[1].model_copy(update={"visit": None})]
    with pytest.raises(UsageError, match="several rows"):
        run_plan(plan.model_copy(update={"analyses": whole}), frames)


def test_an_arm_of_one_gives_no_number(frames: Frames) -> None:
    rows = frames["ADFT"]
    robots = frames["ADSL"].query("TRT01P == 'Robotic'")["USUBJID"]
    last = rows[rows["AVISIT"] == "W12"]
    keep = last[last["USUBJID"].isin(robots)]["USUBJID"].iloc[0]
    gone = robots[robots != keep]
    cut = rows[~(rows["USUBJID"].isin(gone) & (rows["AVISIT"] == "W12"))]
    found = run_plan(make_plan(), {**frames, "ADFT": cut})["fast"]
    assert found.failed is not None
    assert found.registered.query("statistic in ['estimate', 'se', 'p']")["value"].isna().all()


@pytest.mark.parametrize("n", [6, 10, 16])
@pytest.mark.filterwarnings("error")
def test_tiny_trials_are_finite_or_failed(n: int) -> None:
    for seed in range(5):
        found = run_plan(make_plan(), make_frames(n, seed), descriptives=seed == 0)
        empty = found.table[found.table["value"].isna()]
        assert ((empty["state"] == "failed") | empty["text"].notna()).all()
        for analysis in found.meta["analyses"]:
            one = found[analysis]
            said = one.statistics()
            if one.failed is None and "lower" in said:
                assert said["lower"] <= said["estimate"] <= said["upper"]
                assert 0 <= said["p"] <= 1
            elif one.failed is not None and "p_adjusted" in said:
                assert said["rejected"] == 0
