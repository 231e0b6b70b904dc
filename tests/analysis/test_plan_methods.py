"""Methods that a plan can name: each analysis is the method on the registered rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames_for_analysis import make_frames, make_plan

from trialkit.analysis import run_plan
from trialkit.methods import ancova, impute, ordinal, poisson, recurrent, rmst, win_odds
from trialkit.plan.model import Analysis, Plan
from trialkit.results import Results

Frames = dict[str, pd.DataFrame]
AGAINST = "robotic.vs-conventional"
NUMBERS = ("estimate", "se", "p", "lower", "upper")
SPEED = {"dataset": "ADFT", "where": {"PARAMCD": "WS10C"}, "visit": "W12", "unit": "m/s"}
FAC = {"dataset": "ADQS", "where": {"PARAMCD": "FAC"}, "visit": "W12"}
FALLS = {"dataset": "ADFALL", "where": {"PARAMCD": "FALL"}, "better": "lower"}
FIRST = {"dataset": "ADTTE", "where": {"PARAMCD": "TTFALL"}}
ANALYSES: dict[str, dict[str, Any]] = {
    "counted": {**FALLS, "method": "poisson", "formula": "NEVENTS ~ TRT01P + SITEID"},
    "again": {**FALLS, "method": "recurrent", "formula": "TRT01P + SITEID"},
    "free": {**FIRST, "method": "rmst", "formula": "TRT01P", "options": {"tau": 150}},
    "fac": {**FAC, "method": "ordinal", "formula": "AVAL ~ TRT01P + BASE"},
    "wins": {**FAC, "method": "win_odds", "formula": "AVAL ~ TRT01P",
             "options": {"strata": ["SITEID"]}},
    "filled": {**SPEED, "method": "imputation", "formula": "AVAL ~ BASE + TRT01P",
               "options": {"strategy": "jump_to_reference", "ice": "dropout",
                           "covariates": ["BASE*AVISIT"],
                           "tipping": {"Robotic": [0, -0.1, -0.2, -0.4]}}},
}  # fmt: skip


def analysis(code: str, **changes: Any) -> Analysis:
    common = {"id": code, "label": f"Analysis {code}", "role": "secondary", "estimand": "E1"}
    return Analysis.model_validate({"better": "higher", **common, **ANALYSES[code], **changes})


def plan_of(*analyses: Analysis) -> Plan:
    """The plan of the tests with a primary speed analysis and these."""
    base = make_plan(multiplicity={"procedure": "none", "alpha": 0.05, "order": ["speed"]})
    return base.model_copy(update={"analyses": [base.analyses[0], *analyses], "tables": []})


@pytest.fixture(scope="module")
def wide() -> Frames:
    """The frames with a category from 0 to 5 at each visit."""
    made = make_frames(80, 11)
    scores = made["ADFT"].assign(PARAMCD="FAC", PARAM="FAC", AVALU=None)
    for name in ("AVAL", "BASE"):
        scores[name] = np.floor(scores[name] * 8).clip(0, 5)
    return {**made, "ADQS": scores}


@pytest.fixture(scope="module")
def found(wide: Frames) -> Results:
    return run_plan(plan_of(*(analysis(code) for code in ANALYSES)), wide)


def at_week_12(frames: Frames, name: str) -> pd.DataFrame:
    rows = frames[name].merge(frames["ADSL"][["USUBJID", "TRT01P", "SITEID"]], on="USUBJID")
    return rows[(rows["ANL01FL"] == "Y") & (rows["AVISIT"] == "W12")]


def same(results: Results, prefix: str, row: pd.Series) -> None:
    for name in NUMBERS:
        assert results.value(f"{prefix}.{name}") == pytest.approx(row[name], rel=1e-6), name


def test_poisson(found: Results, wide: Frames) -> None:
    diary = wide["ADFALL"]
    years = diary.assign(years=(diary["TSTOP"] - diary["TSTART"]) / 365.25).groupby("USUBJID")
    people = years.agg(NEVENTS=("EVENT", "sum"), PYEARS=("years", "sum")).reset_index()
    people = people.merge(wide["ADSL"], on="USUBJID")
    fit = poisson("NEVENTS ~ TRT01P + SITEID", people, exposure="PYEARS")
    same(found, f"counted.rate_ratio.{AGAINST}", fit.rate_ratio("TRT01P", reference=ARM).iloc[0])
    assert found.value("counted.pearson_dispersion.estimate") > 1
    assert found["counted"].comparison()["scale"] == "ratio"


ARM = "Conventional"


def test_recurrent_uses_every_interval(found: Results, wide: Frames) -> None:
    rows = wide["ADFALL"].merge(wide["ADSL"], on="USUBJID")
    options = {"start": "TSTART", "stop": "TSTOP", "event": "EVENT", "subject": "USUBJID"}
    fit = recurrent(rows, formula="~ TRT01P + SITEID", **options)
    same(found, f"again.rate_ratio.{AGAINST}", fit.rate_ratio("TRT01P", reference=ARM).iloc[0])
    assert found.value("again.n.n") == len(rows)
    assert found.value("again.n.n_subjects") == rows["USUBJID"].nunique()
    assert (
        found.value("again.events.robotic.count")
        == rows[rows["TRT01P"] == "Robotic"]["EVENT"].sum()
    )


def test_models_of_intensities_and_hazards_are_no_mean_rates(wide: Frames) -> None:
    other = analysis("again", options={"model": "pwp_gap", "max_order": 2})
    made = run_plan(plan_of(other), wide)
    assert made["again"].failed is None
    assert made.meta["analyses"]["again"]["quantity"] == "hazard_ratio"
    assert "gap time" in str(made["again"].table["variant"].iloc[0])


def test_days_without_a_diary_are_not_at_risk(wide: Frames) -> None:
    diary = wide["ADFALL"]
    first = diary.drop_duplicates("USUBJID").index
    holes = diary.copy()
    holes.loc[first, "TSTOP"] = holes.loc[first, "TSTOP"] - 0.5  # half a day that nobody covers
    whole = analysis("again", id="whole", options={"model": "wlw"})
    made = run_plan(plan_of(analysis("again"), whole), {**wide, "ADFALL": holes})
    assert made["again"].failed is None
    assert "time is left out between intervals" in str(made["whole"].failed)


def test_restricted_mean(found: Results, wide: Frames) -> None:
    rows = wide["ADTTE"].merge(wide["ADSL"], on="USUBJID").assign(EVENT=lambda d: 1 - d["CNSR"])
    fit = rmst(rows, time="AVAL", event="EVENT", group="TRT01P", tau=150)
    same(found, f"free.rmst_difference.{AGAINST}", fit.difference(reference=ARM).iloc[0])
    assert found["free"].comparison()["unit"] == "days"
    assert found.get("free.rmst.robotic.estimate")["unit"] == "days"
    late = run_plan(plan_of(analysis("free", options={"tau": 400})), wide)
    assert "beyond the last follow-up" in str(late["free"].failed)


def test_ordered_categories(found: Results, wide: Frames) -> None:
    fit = ordinal("AVAL ~ TRT01P + BASE", at_week_12(wide, "ADQS"))
    same(found, f"fac.odds_ratio.{AGAINST}.W12", fit.odds_ratio("TRT01P", reference=ARM).iloc[0])
    shares = [f"fac.category-{k:g}.robotic.W12.estimate" for k in fit.levels]
    assert sum(found.value(code) for code in shares) == pytest.approx(1)
    assert 0 <= found.value("fac.proportional_odds_score.p") <= 1


def test_wins(found: Results, wide: Frames) -> None:
    fit = win_odds(
        at_week_12(wide, "ADQS"), value="AVAL", group="TRT01P", reference=ARM, strata="SITEID"
    )
    table = fit.table.set_index("measure")
    for measure in ("win_odds", "net_benefit", "win_probability"):
        same(found, f"wins.{measure}.{AGAINST}.W12", table.loc[measure])
    assert found.value(f"wins.ties.{AGAINST}.W12.count") == fit.counts["ties"].iloc[0]
    assert found["wins"].comparison()["null"] == 1
    options = {"strata": ["SITEID"], "higher": "worse"}
    worse = run_plan(plan_of(analysis("wins", options=options)), wide)
    turned = worse.value(f"wins.win_odds.{AGAINST}.W12.estimate")
    assert turned == pytest.approx(1 / found.value(f"wins.win_odds.{AGAINST}.W12.estimate"))


def by_visit(frames: Frames) -> pd.DataFrame:
    """Everybody at every visit, with the baseline value of each."""
    rows, people = frames["ADFT"], frames["ADSL"].query("FASFL == 'Y'")
    base = rows[rows["ABLFL"] == "Y"].set_index("USUBJID")["AVAL"]
    grid = people[["USUBJID", "TRT01P"]].merge(
        pd.DataFrame({"AVISIT": ["W4", "W8", "W12"]}), how="cross"
    )
    seen = rows[(rows["ANL01FL"] == "Y") & (rows["ABLFL"] != "Y")]
    grid = grid.merge(seen[["USUBJID", "AVISIT", "AVAL"]], on=["USUBJID", "AVISIT"], how="left")
    return grid.assign(BASE=grid["USUBJID"].map(base))


def test_imputation_analyses_everybody_with_a_baseline(found: Results, wide: Frames) -> None:
    data = by_visit(wide)
    made = impute(
        data, outcome="AVAL", subject="USUBJID", visit="AVISIT", group="TRT01P",
        covariates=["BASE*AVISIT"], ice="dropout", strategy="jump_to_reference", reference=ARM,
        visits=["W4", "W8", "W12"],
    )  # fmt: skip
    pooled = made.pool(ancova, "AVAL ~ BASE + TRT01P", at="W12", reference=ARM)
    same(found, f"filled.difference.{AGAINST}.W12", pooled.table.iloc[0])
    assert found.value("filled.n.n") == found.value("filled.n.n_subjects") == 80
    missing = (
        data[data["AVISIT"] == "W12"].groupby("TRT01P")["AVAL"].apply(lambda v: v.isna().sum())
    )
    assert found.value("filled.imputed.robotic.W12.count") == missing["Robotic"] > 0
    assert "jump to reference" in str(found["filled"].table["variant"].iloc[0])
    tip = made.tipping(
        ancova, "AVAL ~ BASE + TRT01P", at="W12", deltas={"Robotic": [0, -0.1, -0.2, -0.4]}
    )
    for number, (_, row) in enumerate(tip.table.iterrows(), start=1):
        assert found.value(f"filled.tipping-{number}.robotic.delta") == row["delta_Robotic"]
        same(found, f"filled.tipping-{number}.{AGAINST}.W12", row)
    last = f"filled.difference.{AGAINST}.W12.p"
    assert found.value(f"filled.tipping-4.{AGAINST}.W12.p") == pytest.approx(found.value(last))


def test_a_tipping_point(wide: Frames) -> None:
    """A strong effect is lost at a delta between those of the plan; it has an id."""
    rows = wide["ADFT"].merge(wide["ADSL"][["USUBJID", "TRT01P"]], on="USUBJID")
    strong = wide["ADFT"].assign(
        AVAL=rows["AVAL"] + 0.1 * ((rows["TRT01P"] == "Robotic") & (rows["ABLFL"] != "Y"))
    )
    options = {**ANALYSES["filled"]["options"], "tipping": {"Robotic": [0, -0.4, -0.8, -1.2]}}
    made = run_plan(plan_of(analysis("filled", options=options)), {**wide, "ADFT": strong})
    delta = made.value("filled.tipping_delta.robotic.delta")
    p = [made.value(f"filled.tipping-{k}.{AGAINST}.W12.p") for k in (1, 2, 3, 4)]
    moved = [made.value(f"filled.tipping-{k}.robotic.delta") for k in (1, 2, 3, 4)]
    assert moved == [-1.2, -0.8, -0.4, 0]
    assert p[3] < 0.05 < max(p)
    lost = max(k for k in range(4) if p[k] >= 0.05)
    assert moved[lost] <= delta <= moved[lost + 1]


def test_deltas_of_two_arms_have_ids_of_their_own(wide: Frames) -> None:
    grid = {"Robotic": [0, -0.1], "Conventional": [0, 0.1]}
    options = {**ANALYSES["filled"]["options"], "tipping": grid}
    made = run_plan(plan_of(analysis("filled", options=options)), wide)
    table = made["filled"].table
    assert (table["statistic"] == "delta").sum() >= 8
    assert np.isfinite(made.value(f"filled.tipping-4.{AGAINST}.W12.estimate"))
    made.validate()


def test_a_fixed_delta_moves_the_estimate_and_says_so(wide: Frames, found: Results) -> None:
    options = {**ANALYSES["filled"]["options"], "delta": {"Robotic": -0.2}}
    del options["tipping"]
    made = run_plan(plan_of(analysis("filled", options=options)), wide)
    moved = made.value(f"filled.difference.{AGAINST}.W12.estimate")
    assert moved == pytest.approx(found.value(f"filled.tipping-2.{AGAINST}.W12.estimate"))
    assert "moved by Robotic -0.2" in str(made["filled"].table["variant"].iloc[0])


def test_random_imputation_is_the_same_twice(wide: Frames) -> None:
    options = {"imputing": "bayes", "n": 20, "seed": 3}
    plan = plan_of(analysis("filled", options=options))
    one, two = run_plan(plan, wide), run_plan(plan, wide)
    assert one.to_bytes() == two.to_bytes()
    assert one["filled"].failed is None
    assert 0 <= one.value(f"filled.fraction_missing_information.{AGAINST}.W12.estimate") < 1
    assert "df" in one["filled"].statistics()


def test_people_without_a_baseline_are_missing(wide: Frames) -> None:
    speeds, who = wide["ADFT"], "S-000"
    none = speeds[~((speeds["USUBJID"] == who) & (speeds["ABLFL"] == "Y"))].copy()
    none.loc[none["USUBJID"] == who, "BASE"] = np.nan
    made = run_plan(plan_of(analysis("filled")), {**wide, "ADFT": none})
    assert made["filled"].failed is None
    assert made.value("filled.n.n_missing") == 1


def test_somebody_never_seen_after_baseline_is_imputed(wide: Frames) -> None:
    speeds, who = wide["ADFT"], "S-000"
    none = speeds[(speeds["USUBJID"] != who) | (speeds["ABLFL"] == "Y")]
    made = run_plan(plan_of(analysis("filled")), {**wide, "ADFT": none})
    assert made.value("filled.n.n_missing") == 0
    assert any("no outcome at any visit" in note for note in made["filled"].notes)


def test_nobody_measured_after_baseline_is_no_result(wide: Frames) -> None:
    speeds = wide["ADFT"]
    none = speeds[speeds["ABLFL"] == "Y"]
    early = speeds[speeds["AVISIT"] != "W12"]
    for rows in (none, early):
        made = run_plan(plan_of(analysis("filled")), {**wide, "ADFT": rows})
        assert "no complete row of ADFT" in str(made["filled"].failed)
        made.validate()


def test_a_method_that_refuses_is_a_failed_row(wide: Frames) -> None:
    one_visit = wide["ADFT"][wide["ADFT"]["AVISIT"].isin(["BL", "W12"])]
    steps = wide["ADQS"].assign(AVAL=2.0)
    made = run_plan(
        plan_of(*(analysis(code) for code in ("filled", "fac", "wins"))),
        {**wide, "ADFT": one_visit, "ADQS": steps},
    )
    assert "only the visit" in str(made["filled"].failed)
    assert "every participant is in the category" in str(made["fac"].failed)
    assert made["wins"].failed is not None
    for code in ("filled", "fac", "wins"):
        assert made[code].registered["value"].isna().all()
    made.validate()


def test_a_fallback_is_named(wide: Frames) -> None:
    speed = {**SPEED, "method": "mmrm", "formula": "AVAL ~ BASE*AVISIT + TRT01P*AVISIT"}
    rows = wide["ADFT"]
    people = sorted(rows["USUBJID"].unique())
    early, late = set(people[:40]), set(people[40:])
    apart = rows[
        (rows["ABLFL"] == "Y")
        | (rows["AVISIT"] == "W12")
        | (rows["USUBJID"].isin(early) & (rows["AVISIT"] == "W4"))
        | (rows["USUBJID"].isin(late) & (rows["AVISIT"] == "W8"))
    ]  # W4 and W8 never in one person: us has a covariance that nothing tells
    common = {"id": "mixed", "label": "l", "role": "secondary", "estimand": "E1",
              "better": "higher"}  # fmt: skip
    options = {"covariance": ["us", "cs"], "fallback_se": "cr2", "margins": "observed"}
    chosen = Analysis.model_validate({**common, **speed, "options": options})
    made = run_plan(plan_of(chosen), {**wide, "ADFT": apart})["mixed"]
    words = str(made.table["variant"].iloc[0])
    assert made.failed is None
    assert "compound symmetry" in words
    assert "us tried before and failed" in words
    assert "observed margins" in words
    assert any(note.startswith("the structure us was tried first") for note in made.notes)
    assert "note: the structure us" in made.summary()


@pytest.mark.parametrize("n", [6, 12])
@pytest.mark.filterwarnings("error")
def test_tiny_trials_of_every_method(n: int) -> None:
    for seed in range(3):
        made = make_frames(n, seed)
        scores = made["ADFT"].assign(PARAMCD="FAC", AVAL=np.floor(made["ADFT"]["AVAL"] * 8))
        plan = plan_of(*(analysis(code) for code in ANALYSES))
        results = run_plan(plan, {**made, "ADQS": scores})
        results.validate()
        for code in ANALYSES:
            said = results[code].statistics()
            if results[code].failed is None:
                assert said["lower"] <= said["estimate"] <= said["upper"]
                assert 0 <= said["p"] <= 1
