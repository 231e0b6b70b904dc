"""Many trials at once: equal to mmrm() on each, whatever the batch, the processes, the order."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import mmrm, mmrm_batch

FORMULA = "AVAL ~ BASE*AVISIT + TRT01P*AVISIT"
KEYS: dict[str, Any] = {"subject": "USUBJID", "visit": "AVISIT"}
ASK: dict[str, Any] = {**KEYS, "contrast": ("TRT01P", "A"), "by": "AVISIT"}
NUMBERS = ["estimate", "se", "df", "statistic", "p", "lower", "upper"]


def trial(seed: int, n: int = 24, visits: int = 3, missing: float = 0.15) -> pd.DataFrame:
    rng = np.random.Generator(np.random.Philox(seed))
    y = rng.normal(size=(n, visits)) + rng.normal(size=(n, 1))
    arm = np.array(list("ABC"))[np.arange(n) % 3]
    frame = pd.DataFrame(
        {
            "USUBJID": np.repeat([f"S{i:03d}" for i in range(n)], visits),
            "AVISIT": np.tile([f"V{j}" for j in range(visits)], n),
            "TRT01P": np.repeat(arm, visits),
            "SEX": np.repeat(np.where(rng.random(n) < 0.6, "f", "m"), visits),
            "BASE": np.repeat(rng.normal(size=n), visits),
            "DAY": np.tile(10.0 * np.arange(visits), n),
            "W": np.repeat(rng.uniform(0.5, 2.0, n), visits),
            "AVAL": y.ravel(),
        }
    )
    frame.loc[rng.random(len(frame)) < missing, "AVAL"] = np.nan
    return frame


def trials(n: int = 8, **shape: Any) -> list[pd.DataFrame]:
    return [trial(seed, **shape) for seed in range(n)]


def joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([f.assign(TRIAL=f"T{i:02d}") for i, f in enumerate(frames)])


def singly(frames: list[pd.DataFrame], formula: str, **options: Any) -> pd.DataFrame:
    out: list[pd.DataFrame] = []
    margins = options.pop("margins", "equal")
    for frame in frames:
        fit = mmrm(formula, frame, **KEYS, **options)
        assert fit.failed is None
        out.append(fit.contrast("TRT01P", reference="A", by="AVISIT", weights=margins))
    table: pd.DataFrame = pd.concat(out, ignore_index=True)
    return table


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        (FORMULA, {}),
        (FORMULA, {"df": "satterthwaite"}),
        (FORMULA, {"reml": False}),
        (FORMULA, {"covariance": "ar1h"}),
        (FORMULA, {"covariance": ["us", "cs"], "se": "cr2"}),
        (FORMULA, {"covariance": "sp_exp", "time": "DAY"}),
        (FORMULA, {"group": "SEX", "weights": "W"}),
        ("AVAL ~ SEX*BASE + TRT01P*AVISIT", {"margins": "counterfactual"}),
        ("AVAL ~ SEX*BASE + TRT01P*AVISIT", {"margins": "observed"}),
        ("AVAL ~ SEX + TRT01P*AVISIT", {"equal_at": {"TRT01P": "V0"}}),
    ],
)
def test_batch_is_each_trial_by_itself(formula: str, options: dict[str, Any]) -> None:
    frames = trials(4)
    table = mmrm_batch(formula, joined(frames), **ASK, **options)
    own = singly(frames, formula, **options)
    assert table["failed"].isna().all()
    np.testing.assert_allclose(table[NUMBERS], own[NUMBERS], rtol=1e-9)
    for name in ("TRT01P", "reference", "AVISIT"):
        assert table[name].tolist() == own[name].tolist()
    assert table["trial"].drop_duplicates().tolist() == ["T00", "T01", "T02", "T03"]
    assert ("structure" in table.columns) == isinstance(options.get("covariance"), list)


def test_three_ways_to_give_trials_are_the_same_bytes() -> None:
    frames = trials(5)
    shared = [frames[0].assign(AVAL=f["AVAL"].to_numpy()) for f in frames]
    outcomes = np.stack([f["AVAL"].to_numpy() for f in frames])
    one = mmrm_batch(FORMULA, joined(shared), **ASK)
    two = mmrm_batch(FORMULA, iter(shared), **ASK)
    three = mmrm_batch(FORMULA, frames[0].drop(columns="AVAL"), outcomes=outcomes, **ASK)
    for other in (two, three):
        assert one[NUMBERS].to_numpy().tobytes() == other[NUMBERS].to_numpy().tobytes()
        assert other["trial"].drop_duplicates().tolist() == list(range(5))


def test_batch_size_processes_and_order_change_no_byte() -> None:
    data = joined(trials(7))
    plain = mmrm_batch(FORMULA, data, **ASK)
    mixed = data.sample(frac=1.0, random_state=1)
    others = [
        mmrm_batch(FORMULA, data, **ASK, batch_size=2),
        mmrm_batch(FORMULA, mixed, **ASK, batch_size=3),
        mmrm_batch(FORMULA, mixed, **ASK, workers=2, batch_size=2),
        mmrm_batch(FORMULA, data[data["TRIAL"] == "T03"], **ASK),
    ]
    for other in others[:3]:
        assert plain.drop(columns=NUMBERS).equals(other.drop(columns=NUMBERS))
        assert plain[NUMBERS].to_numpy().tobytes() == other[NUMBERS].to_numpy().tobytes()
    alone = plain[plain["trial"] == "T03"][NUMBERS].to_numpy()
    assert alone.tobytes() == others[3][NUMBERS].to_numpy().tobytes()
    assert plain.attrs == others[2].attrs
    assert plain.attrs["variant"] == "unstructured covariance, REML, Kenward-Roger-Linear df"


@pytest.mark.parametrize(
    ("visits", "n", "options"),
    [
        (2, 6, {}),
        (3, 7, {"df": "satterthwaite"}),
        (4, 14, {}),
        (4, 20, {"weights": "W", "reml": False}),
        (6, 40, {}),
    ],
)
def test_small_trials_take_the_same_way_as_alone(
    visits: int, n: int, options: dict[str, Any]
) -> None:
    """Few participants need scoring steps and halved steps, and often end in a failure."""
    frames = [trial(100 + i, n=n, visits=visits, missing=0.25) for i in range(30)]
    frames = [f.assign(TRT01P=f["TRT01P"].replace("C", "A")) for f in frames]
    formula = "AVAL ~ BASE + TRT01P*AVISIT"
    table = mmrm_batch(formula, frames, **ASK, **options)
    alone = mmrm_batch(formula, frames, **ASK, **options, batch_size=1)
    together = mmrm_batch(formula, joined(frames), **ASK, **options)
    assert table["failed"].equals(alone["failed"])
    for other in (alone, together):
        assert table[NUMBERS].to_numpy().tobytes() == other[NUMBERS].to_numpy().tobytes()
    fitted = 0
    for place, frame in enumerate(frames):
        mine = table[table["trial"] == place]
        fit = mmrm(formula, frame, **KEYS, **options)
        if fit.failed is not None:
            assert mine["failed"].tolist() == [fit.failed]
            continue
        own = fit.contrast("TRT01P", reference="A", by="AVISIT")
        np.testing.assert_allclose(mine[NUMBERS], own[NUMBERS], rtol=1e-9)
        fitted += 1
    assert fitted > 5


def test_order_of_a_categorical_is_kept() -> None:
    data = joined(trials(2))
    data["AVISIT"] = pd.Categorical(data["AVISIT"], ["V2", "V0", "V1"])
    table = mmrm_batch(FORMULA, data, **ASK)
    assert table["AVISIT"].drop_duplicates().tolist() == ["V2", "V0", "V1"]


def test_failed_trials_say_why_and_leave_the_others_alone() -> None:
    frames = trials(7)
    broken = {
        1: (frames[1].assign(AVAL=3.0), "exactly"),
        2: (frames[2].assign(AVAL=np.nan), "No row of the trial is complete"),
        3: (frames[3].assign(TRT01P="A"), "only the level 'A'"),
        4: (frames[4].assign(AVAL=lambda d: d["AVAL"].where(d["AVISIT"] == "V1")), "only the"),
        5: (frames[5].assign(TRT01P=lambda d: d["TRT01P"].replace("A", "B")), "'A' is not a level"),
    }
    for place, (frame, _) in broken.items():
        frames[place] = frame
    for table in (
        mmrm_batch(FORMULA, joined(frames), **ASK).replace({"trial": r"T0"}, "", regex=True),
        mmrm_batch(FORMULA, frames, **ASK),
    ):
        table["trial"] = table["trial"].astype(int)
        for place, (_, words) in broken.items():
            rows = table[table["trial"] == place]
            assert len(rows) == 1
            assert words in rows["failed"].iloc[0]
            assert rows[[*NUMBERS, "TRT01P", "AVISIT"]].isna().to_numpy().all()
        good = table[~table["trial"].isin(list(broken))]
        assert good["failed"].isna().all()
        own = singly([frames[0], frames[6]], FORMULA)
        np.testing.assert_allclose(good[NUMBERS], own[NUMBERS], rtol=1e-9)


def test_contrast_that_cannot_be_estimated_says_so() -> None:
    frame = trial(3)
    gone = (frame["TRT01P"] == "C") & (frame["AVISIT"] == "V1")
    table = mmrm_batch(FORMULA, [frame[~gone]], **ASK)
    empty = (table["TRT01P"] == "C") & (table["AVISIT"] == "V1")
    assert table.loc[empty, "failed"].str.contains("cannot estimate").all()
    assert table.loc[empty, NUMBERS].isna().to_numpy().all()
    assert empty.sum() == 1
    assert table.loc[~empty, "failed"].isna().all()


def test_missing_rows_of_predictors_are_left_out() -> None:
    frames = trials(3)
    frames[1].loc[frames[1]["USUBJID"] == "S004", "BASE"] = np.nan
    table = mmrm_batch(FORMULA, joined(frames), **ASK)
    np.testing.assert_allclose(table[NUMBERS], singly(frames, FORMULA)[NUMBERS], rtol=1e-9)


def bad_calls() -> dict[str, tuple[Any, dict[str, Any], str]]:
    data = joined(trials(2))
    one = trial(1)
    matrix = np.zeros((2, len(one)))
    twice = pd.concat([data, data.iloc[:1]])
    return {
        "no trial column": (one, {}, "'TRIAL'"),
        "trial is a predictor": (data, {"trial": "SEX", "formula": "AVAL ~ SEX + TRT01P"}, "'SEX'"),
        "unnamed trial": (data.assign(TRIAL=None), {}, "TRIAL is missing"),
        "repeated visit": (twice, {}, "repeat a visit"),
        "unknown column": (data, {"formula": "AVAL ~ NOPE + TRT01P*AVISIT"}, "NOPE"),
        "unknown factor": (data, {"contrast": ("SEX", "f")}, "'SEX' is not a factor"),
        "number as factor": (data, {"by": "BASE"}, "'BASE' is not a factor"),
        "structure": (data, {"covariance": "ar2"}, "'ar2'"),
        "margins": (data, {"margins": "outer"}, "'outer'"),
        "workers": (data, {"workers": 0}, "workers"),
        "no trials": ([], {}, "no trials"),
        "trial and frames": ([one], {"trial": "TRIAL"}, "trial="),
        "outcomes and frames": ([one], {"outcomes": matrix}, "one frame"),
        "shape": (one, {"outcomes": matrix[:, 1:]}, "shape"),
        "infinite": (one, {"outcomes": matrix + np.inf}, "infinite"),
        "expression": (one, {"outcomes": matrix, "formula": "log(AVAL) ~ TRT01P*AVISIT"}, "plain"),
        "group moves": (data, {"group": "AVISIT"}, "more than one level"),
        "infinite outcome": (data.assign(AVAL=np.inf), {}, "infinite"),
    }


@pytest.mark.parametrize("case", list(bad_calls()))
def test_bad_input_is_refused_with_a_remedy(case: str) -> None:
    data, options, words = bad_calls()[case]
    if case == "infinite outcome":  # wrong in the data of a trial: that trial fails
        table = mmrm_batch(FORMULA, data, **ASK)
        assert table["failed"].str.contains(words).all()
        return
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        mmrm_batch(**{"formula": FORMULA, **ASK, **options}, data=data)
    assert caught.value.remedy


def test_error_in_a_worker_is_raised() -> None:
    with pytest.raises(UsageError, match="'SEX' is not a factor"):
        mmrm_batch(FORMULA, joined(trials(3)), **{**ASK, "contrast": ("SEX", "f")}, workers=2)


@pytest.mark.slow
def test_type_one_error_over_simulated_trials() -> None:
    """Under no effect, 5 % of Kenward-Roger tests of 2,000 small trials reject (4 MC errors)."""
    rng = np.random.Generator(np.random.Philox(77))
    frame = trial(0, n=20, visits=4, missing=0.0)
    frame["TRT01P"] = np.where(frame["TRT01P"] == "C", "A", frame["TRT01P"])
    n = 2000
    outcomes = rng.normal(size=(n, 20, 4)) + rng.normal(size=(n, 20, 1))
    outcomes[rng.random(outcomes.shape) < 0.1] = np.nan
    table = mmrm_batch(
        "AVAL ~ BASE + TRT01P*AVISIT", frame, outcomes=outcomes.reshape(n, -1), **ASK, workers=2
    )
    last = table[(table["AVISIT"] == "V3") & table["failed"].isna()]
    assert len(last) > 0.95 * n
    error = np.sqrt(0.05 * 0.95 / len(last))
    print(f"type I error {np.mean(last['p'] < 0.05):.4f}, Monte Carlo error {error:.4f}")
    assert abs(np.mean(last["p"] < 0.05) - 0.05) < 4 * error
