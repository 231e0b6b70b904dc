"""ADaM-like frames of an invented trial, made for tests: two arms, three visits, a diary."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trialkit.plan.model import Plan

ARMS = ("Conventional", "Robotic")
VISITS = {"BL": 0, "W4": 28, "W8": 56, "W12": 84}


def make_plan(**changes: object) -> Plan:
    """A plan with one analysis of every method, on `make_frames`."""
    estimand = {
        "id": "E1",
        "treatment": "t",
        "population": "FAS",
        "variable": "v",
        "intercurrent_events": [],
        "summary": "s",
    }
    speed = {"dataset": "ADFT", "where": {"PARAMCD": "WS10C"}, "visit": "W12", "unit": "m/s"}
    fall = {"dataset": "ADTTE", "where": {"PARAMCD": "TTFALL"}, "better": "lower"}
    common = {"estimand": "E1", "better": "higher", "role": "secondary"}
    analyses = [
        {"id": "speed", "role": "primary", "method": "mmrm", **speed,
         "formula": "AVAL ~ BASE*AVISIT + SITEID + TRT01P*AVISIT"},
        {"id": "ancova", "method": "ancova", **speed, "formula": "AVAL ~ BASE + TRT01P"},
        {"id": "falls", "method": "negative_binomial", "dataset": "ADFALL", "unit": "falls/year",
         "where": {"PARAMCD": "FALL"}, "better": "lower", "formula": "NEVENTS ~ TRT01P + SITEID"},
        {"id": "cox", "method": "cox", **fall, "formula": "TRT01P + SITEID"},
        {"id": "km", "method": "kaplan_meier", **fall, "formula": "TRT01P",
         "options": {"strata": ["SITEID"], "times": [30, 400]}},
        {"id": "fast", "method": "binary", **{**speed, "unit": None},
         "formula": "RESPONSE ~ TRT01P + BASE", "response": {"at_least": 0.6}},
    ]  # fmt: skip
    data = {
        "schema": "trialkit.plan/1",
        "id": "test",
        "version": "1",
        "title": "Test",
        "treatment": {"treatment": "Robotic", "reference": "Conventional"},
        "populations": [{"code": "FAS", "label": "all", "flag": "FASFL"}],
        "estimands": [estimand],
        "analyses": [{**common, "label": f"Analysis {a['id']}", **a} for a in analyses],
        "multiplicity": {"procedure": "holm", "alpha": 0.05, "order": ["speed", "falls", "cox"]},
        "missing_data": "none imputed",
        "tables": [
            {"id": "flow", "kind": "flow", "label": "Flow"},
            {"id": "baseline", "kind": "baseline", "label": "Baseline",
             "variables": ["AGE", "SEX", "WS10C"]},
            {"id": "exposure", "kind": "exposure", "label": "Exposure"},
            {"id": "ae", "kind": "adverse_events", "label": "Adverse events"},
            {"id": "ends", "kind": "disposition", "label": "Disposition"},
        ],
    }  # fmt: skip
    return Plan.model_validate({**data, **changes})


def make_frames(n: int = 60, seed: int = 5) -> dict[str, pd.DataFrame]:
    """Frames with the columns of data_schemas.adam that analyses read."""
    rng = np.random.default_rng(seed)
    ids = [f"S-{i:03d}" for i in range(n + 4)]
    adsl = pd.DataFrame({"USUBJID": ids, "SITEID": rng.choice(["01", "02"], n + 4)})
    randomised = np.arange(n + 4) < n
    arms = np.where(rng.permutation(np.arange(n + 4)) % 2 == 0, *ARMS)
    adsl["TRT01P"] = np.where(randomised, arms, None)
    adsl["RANDFL"] = np.where(randomised, "Y", "N")
    adsl["FASFL"] = adsl["RANDFL"]
    adsl["SAFFL"] = np.where(randomised & (np.arange(n + 4) != 3), "Y", "N")
    adsl["AGE"] = rng.integers(40, 85, n + 4).astype(float)
    adsl["SEX"] = rng.choice(["F", "M"], n + 4)
    left = rng.random(n + 4) < 0.2
    adsl["EOSSTT"] = np.where(
        randomised, np.where(left, "DISCONTINUED", "COMPLETED"), "SCREEN FAILURE"
    )
    adsl["DCSREAS"] = np.where(~randomised, "declined", np.where(left, "moved_away", None))
    adsl["TRTDISDY"] = np.where(left & (rng.random(n + 4) < 0.5), 40.0, np.nan)
    adsl["TRTDISRS"] = np.where(np.isfinite(adsl["TRTDISDY"]), "pain", None)
    people = adsl[randomised]
    return {
        "ADSL": adsl,
        "ADFT": _speeds(people, rng),
        **_diary(people, rng),
        "ADEX": _exposure(people, rng),
        "ADAE": _adverse(people, rng),
    }


def _speeds(people: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for who, arm, state in zip(people["USUBJID"], people["TRT01P"], people["EOSSTT"], strict=True):
        base = rng.normal(0.45, 0.12)
        lasting = 2 if state == "DISCONTINUED" else 4
        for step, (visit, day) in enumerate(VISITS.items()):
            value = base + step * (0.04 + 0.03 * (arm == "Robotic")) + rng.normal(0, 0.08)
            if visit == "BL":
                rows.append((who, visit, day, base, base, "Y", "Y"))
            elif step < lasting:
                rows.append((who, visit, day, value, base, None, "Y"))
                rows.append((who, visit, day, value + 9, base, None, None))  # not for analysis
    columns = ["USUBJID", "AVISIT", "AVISITN", "AVAL", "BASE", "ABLFL", "ANL01FL"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(PARAMCD="WS10C", PARAM="Comfortable walking speed", AVALU="m/s")


def _diary(people: pd.DataFrame, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    rows, firsts = [], []
    for i, (who, arm) in enumerate(zip(people["USUBJID"], people["TRT01P"], strict=True)):
        if i == 5:
            continue  # no diary at all
        days = np.sort(
            rng.choice(180, rng.poisson(rng.gamma(1, 1.2 - 0.5 * (arm == "Robotic"))), False)
        )
        start = 0.0
        for day in days:
            rows.append((who, "FALL", start, day + 1.0, 1))
            start = day + 1.0
        rows.append((who, "FALL", start, 182.0, 0))
        firsts.append((who, "TTFALL", days[0] + 1.0 if len(days) else 182.0, 0 if len(days) else 1))
    start_stop = ["USUBJID", "PARAMCD", "TSTART", "TSTOP", "EVENT"]
    return {
        "ADFALL": pd.DataFrame(rows, columns=start_stop),
        "ADTTE": pd.DataFrame(firsts, columns=["USUBJID", "PARAMCD", "AVAL", "CNSR"]),
    }


def _exposure(people: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    rows = [
        (who, number, "missed" if rng.random() < 0.1 else "completed", 30.0, rng.uniform(20, 30))
        for who, safe in zip(people["USUBJID"], people["SAFFL"], strict=True)
        if safe == "Y"
        for number in range(1, 7)
    ]
    frame = pd.DataFrame(rows, columns=["USUBJID", "EXSEQ", "EXSTAT", "PLANMIN", "EXMIN"])
    frame.loc[frame["EXSTAT"] == "missed", "EXMIN"] = np.nan
    return frame


def _adverse(people: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    hurt = people["USUBJID"].to_numpy()[rng.random(len(people)) < 0.3]
    frame = pd.DataFrame({"USUBJID": np.repeat(hurt, 2)})
    frame["AECAT"] = np.resize(["skin", "pain"], len(frame))
    frame["AESEV"], frame["AESER"] = "MILD", "N"
    frame["AERELDEV"], frame["AERELTRT"], frame["AEDEVDEF"] = "N", "Y", "N"
    return frame.assign(TRTEMFL="Y")
