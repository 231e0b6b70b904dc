"""Deltas and tipping points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trialkit.errors import UsageError
from trialkit.methods import ancova, binary
from trialkit.methods.missing.imputation import Imputation
from trialkit.methods.missing.impute import impute


def trial(method: str = "conditional_mean", effect: float = 2.0, **changes: Any) -> Imputation:
    random = np.random.default_rng(12)
    n, visits = 40, ["Week 4", "Week 8", "Week 12"]
    arm = np.where(np.arange(n) < 20, "Usual", "Robot")
    base = random.normal(size=n)
    y = random.normal(size=(n, 1)) + 0.6 * random.normal(size=(n, 3)) + 0.5 * base[:, None]
    y += effect * (arm == "Robot")[:, None] * np.array([0.5, 0.8, 1.0])
    stop = np.where(random.random(n) < 0.35, random.integers(1, 3, n), 3)
    y[np.arange(3) >= stop[:, None]] = np.nan
    data = pd.DataFrame(
        {
            "ID": np.repeat([f"P{i:02d}" for i in range(n)], 3),
            "V": np.tile(visits, n),
            "ARM": np.repeat(arm, 3),
            "B": np.repeat(base, 3),
            "Y": y.ravel(),
        }
    )
    options: dict[str, Any] = {
        "outcome": "Y", "subject": "ID", "visit": "V", "group": "ARM", "covariates": "B*V",
        "ice": "dropout", "strategy": "j2r", "reference": "Usual", "method": method, "n": 12,
        "seed": 2,
    }  # fmt: skip
    return impute(data, **{**options, **changes})


FORMULA = "Y ~ B + ARM"
GRID = [0.0, -0.5, -1.0, -2.0, -3.0, -4.0]


@pytest.mark.parametrize(
    ("method", "inference"),
    [("conditional_mean", "jackknife"), ("conditional_mean", "bootstrap"), ("bayes", "rubin")],
)
def test_the_surface_is_what_each_delta_gives(method: str, inference: str) -> None:
    imp = trial(method)
    options: dict[str, Any] = {"at": "Week 12", "inference": inference, "resamples": 40}
    found = imp.tipping(ancova, FORMULA, deltas={"Robot": GRID, "Usual": [0.0, 0.7]}, **options)
    assert found.failed is None
    assert len(found.table) == 12
    for row in found.table.iloc[[0, 3, 10]].to_dict("records"):
        moved = imp.with_delta({"Robot": row["delta_Robot"], "Usual": row["delta_Usual"]})
        want = moved.pool(ancova, FORMULA, at="Week 12", inference=inference, resamples=40).table
        for name in ("estimate", "se", "df", "p", "lower", "upper"):
            np.testing.assert_allclose(row[name], want[name][0], rtol=1e-9)


def test_the_tipping_delta_is_where_p_is_alpha() -> None:
    imp = trial()
    found = imp.tipping(ancova, FORMULA, at="Week 12", deltas={"Robot": GRID})
    assert found.delta is not None
    at = imp.with_delta({"Robot": found.delta}).pool(ancova, FORMULA, at="Week 12")
    assert at.table.p[0] == pytest.approx(0.05, abs=1e-9)
    assert found.variant.startswith("jump to reference")
    assert "p = 0.05 at delta" in found.summary()
    assert "<table" in found._repr_html_()
    surface = imp.tipping(
        ancova, FORMULA, at="Week 12", deltas={"Usual": [0.0, 0.5], "Robot": GRID}
    )
    assert len(surface.boundary) == 2
    np.testing.assert_allclose(surface.boundary["delta_Robot"][0], found.delta, rtol=1e-9)


def test_units_scale_the_tipping_delta() -> None:
    imp = trial()
    frame = imp.trial.frame.assign(Y=lambda d: 1000.0 * d["Y"])
    big = impute(
        frame, outcome="Y", subject="ID", visit="V", group="ARM", covariates="B*V", ice="dropout",
        strategy="j2r", reference="Usual",
    )  # fmt: skip
    one = imp.tipping(ancova, FORMULA, at="Week 12", deltas={"Robot": GRID})
    two = big.tipping(ancova, FORMULA, at="Week 12", deltas={"Robot": [1000.0 * v for v in GRID]})
    assert two.delta == pytest.approx(1000.0 * one.delta, rel=1e-7)


def test_nothing_to_tip_is_said() -> None:
    imp = trial(effect=0.0)
    found = imp.tipping(ancova, FORMULA, at="Week 12", deltas={"Robot": [0.0, 0.1]})
    assert found.delta is None
    assert any("nothing to tip" in note for note in found.notes)
    strong = trial(effect=4.0).tipping(ancova, FORMULA, at="Week 12", deltas={"Robot": [0.0, -0.1]})
    assert any("does not cross" in note for note in strong.notes)


def test_tipping_of_responders() -> None:
    imp = trial("bayes", effect=2.2, n=5)

    def responder(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(R=(frame["Y"] > 1.0).astype(float))

    found = imp.tipping(
        binary, "R ~ ARM", at="Week 12", deltas={"Robot": [0.0, -2.0, -6.0]}, transform=responder,
        estimate="standardised",
    )  # fmt: skip
    assert found.failed is None
    estimates = found.table["estimate"].to_numpy()
    assert (np.diff(estimates) >= -1e-12).all()
    assert estimates[0] < estimates[-1]  # the grid is sorted


def test_figures() -> None:
    imp = trial()
    one = imp.tipping(ancova, FORMULA, at="Week 12", deltas={"Robot": GRID})
    axes = one.plot()
    texts = " ".join(t.get_text() for t in axes.texts)
    assert "tipping delta" in texts
    assert "p = 0.05" in texts
    two = imp.tipping(ancova, FORMULA, at="Week 12", deltas={"Robot": GRID, "Usual": [0, 1, 2]})
    assert two.plot().get_ylabel() == "added to imputed values, Usual"
    assert one.plot(ax=axes) is axes


def test_every_way_to_give_a_delta() -> None:
    imp = trial()
    names = imp.trial.names
    where = imp.imputer.where
    robot = imp.trial.arm[where // 3] == imp.trial.arms.index("Robot")
    last = where % 3 == 2
    assert (imp.with_delta(2.0).amounts == 2.0).all()
    np.testing.assert_array_equal(imp.with_delta({"Robot": 2.0}).amounts, 2.0 * robot)
    np.testing.assert_array_equal(imp.with_delta({"Week 12": 3}).amounts, 3.0 * last)
    both = imp.with_delta({"Robot": {"Week 12": -1.0}}).amounts
    np.testing.assert_array_equal(both, -1.0 * (robot & last))
    table = imp.trial.frame[[names.subject, names.visit]].assign(delta=0.25)
    assert (imp.with_delta(table).amounts == 0.25).all()
    before = imp.completed(0)["Y"].to_numpy()
    after = imp.with_delta(2.0).completed(0)
    np.testing.assert_allclose(after["Y"] - before, 2.0 * after["imputed"])


def test_deltas_that_grow_from_the_event() -> None:
    """The two worked examples in the documentation of rbmi's delta_template."""
    imp = trial()
    table = imp.delta_template([5, 6, 7], [1, 2, 3])
    for subject, first in zip(imp.trial.subjects, imp.trial.first, strict=True):
        row = table[table["ID"] == subject]["delta"].tolist()
        want = {1: [0.0, 6.0, 20.0], 2: [0.0, 0.0, 7.0], 3: [0.0, 0.0, 0.0]}
        assert row == want[int(first)]
    constant = imp.delta_template([2, 2, 2])
    assert set(constant.loc[constant["missing"], "delta"]) == {2.0}
    assert (imp.delta_template()["delta"] == 0.0).all()
    moved = imp.with_delta(constant)
    assert (moved.amounts == 2.0).all()
    with pytest.raises(UsageError, match="for 3 visits"):
        imp.delta_template([1, 2])


@pytest.mark.parametrize(
    ("delta", "what"),
    [
        ({"Drug": 1.0}, "neither an arm nor a visit"),
        ({"Robot": {"Week 99": 1.0}}, "neither an arm nor a visit"),
        (np.inf, "no finite number"),
        ("much", "no finite number"),
        (pd.DataFrame({"ID": ["P00"], "delta": [1.0]}), "no column 'V'"),
        (pd.DataFrame({"ID": ["Q"], "V": ["Week 4"], "delta": [1.0]}), "not in the data"),
        (pd.DataFrame({"ID": ["P00"], "V": ["Week 5"], "delta": [1.0]}), "not in the data"),
        (pd.DataFrame({"ID": ["P00"] * 2, "V": ["Week 4"] * 2, "delta": [1.0, 2.0]}), "repeats"),
    ],
)
def test_bad_deltas(delta: Any, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        trial().with_delta(delta)


@pytest.mark.parametrize(
    ("deltas", "what"),
    [({}, "No deltas"), ({"Drug": [1]}, "is not an arm"), ({"Robot": []}, "has no deltas")],
)
def test_bad_grids(deltas: Any, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        trial().tipping(ancova, FORMULA, at="Week 12", deltas=deltas)
    with pytest.raises(UsageError, match="no level"):
        trial().tipping(ancova, FORMULA, at="Week 12", deltas={"Robot": [1]}, alpha=2.0)
