"""Mean cumulative counts against R's survfit, and against numerical derivatives with death."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.errors import UsageError
from trialkit.methods import mean_cumulative_count
from trialkit.methods.survival import _mean_curve
from trialkit.methods.survival.mean_count import MeanCountFit

HERE = Path(__file__).parents[2] / "oracles" / "recurrent"
AT = [10, 30, 60, 90, 150]


@pytest.fixture(scope="module")
def falls() -> pd.DataFrame:
    return pd.read_csv(HERE / "data.csv")


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    names = ["fit", "quantity", "a", "b", "value"]
    return pd.read_csv(HERE / "oracle.txt", names=names, keep_default_na=False)


def counted(data: pd.DataFrame, **more: Any) -> MeanCountFit:
    names = {"start": "START", "stop": "STOP", "event": "FALL", "subject": "USUBJID"}
    fit: MeanCountFit = mean_cumulative_count(data, **{**names, "group": "TRT01P", **more})
    assert fit.failed is None
    return fit


@pytest.mark.parametrize(
    ("key", "death", "name", "oracle_name", "rel"),
    [
        ("mcf", None, "robust variance", "R survival 3.5-3, made-up falls", 1e-9),
        ("ghosh_lin", "DEATH", "death competing", "R, numerical derivatives, made-up falls", 1e-7),
    ],
)
def test_curves_equal_r(
    compare: Any,
    oracle: pd.DataFrame,
    falls: pd.DataFrame,
    key: str,
    death: str | None,
    name: str,
    oracle_name: str,
    rel: float,
) -> None:
    table = counted(falls, death=death).at(AT)
    for quantity in ("estimate", "se"):
        wanted = oracle[(oracle["fit"] == key) & (oracle["quantity"] == quantity)]
        assert table["TRT01P"].tolist() == wanted["a"].tolist()
        compare("mean_cumulative_count", name, oracle_name, quantity, table[quantity],
                wanted["value"].astype(float), rel=rel)  # fmt: skip


def test_bladder_equals_survfit(compare: Any, shared: Path) -> None:
    data = pd.read_csv(shared / "oracles" / "bladder2.csv")
    path = shared / "oracles" / "survival_counts_ordinal.json"
    wanted = json.loads(path.read_text())["results"]["bladder2_MCF_cumhaz"]
    fit = mean_cumulative_count(
        data, start="start", stop="stop", event="event", subject="id", group="rx"
    )
    compare("mean_cumulative_count", "robust variance", "R survival, bladder2", "estimate",
            fit.at([12, 24, 36])["estimate"], [row["cumhaz"] for row in wanted],
            rel=1e-10)  # fmt: skip


def test_difference_is_that_of_independent_groups(falls: pd.DataFrame) -> None:
    fit = counted(falls, death="DEATH")
    table = fit.difference(reference="Conventional", at=[60, 150])
    at = fit.at([60, 150]).pivot(index="time", columns="TRT01P")
    gap = at["estimate"]["Robotic"] - at["estimate"]["Conventional"]
    assert table["estimate"].to_numpy() == pytest.approx(gap.to_numpy())
    se = np.hypot(at["se"]["Robotic"], at["se"]["Conventional"])
    assert table["se"].to_numpy() == pytest.approx(se.to_numpy())
    turned = fit.difference(reference="Robotic", at=[60, 150])
    assert turned["estimate"].to_numpy() == pytest.approx(-table["estimate"].to_numpy())
    assert turned["p"].to_numpy() == pytest.approx(table["p"].to_numpy())


def test_all_observed_to_one_time_gives_the_mean_and_its_error() -> None:
    """Without censoring or death the estimate is a mean count, its error SD / sqrt(n)."""
    rng = np.random.default_rng(4)
    made, counts = [], []
    for i in range(30):
        times = np.unique(rng.integers(1, 99, rng.integers(0, 6)))
        counts.append(len(times))
        ends = [*times, 100]
        for start, stop in zip([0, *ends[:-1]], ends, strict=True):
            made.append((i, start, stop, int(stop < 100)))
    data = pd.DataFrame(made, columns=["id", "start", "stop", "event"])
    fit = mean_cumulative_count(data, start="start", stop="stop", event="event", subject="id")
    row = fit.at(100).iloc[0]
    assert row["estimate"] == pytest.approx(np.mean(counts), rel=1e-12)
    assert row["se"] == pytest.approx(np.std(counts) / np.sqrt(30), rel=1e-12)
    assert row["at_risk"] == 30


def test_all_deaths_observed_gives_the_mean_and_its_error() -> None:
    """With every death seen the estimate is the mean of the counts to death, to the end."""
    rng = np.random.default_rng(6)
    made, counts = [], []
    for i, death in enumerate(rng.permutation(np.arange(20, 60))):
        times = np.unique(rng.integers(1, death, rng.integers(0, 6)))
        counts.append(len(times))
        ends = [*times, death]
        for start, stop in zip([0, *ends[:-1]], ends, strict=True):
            made.append((i, start, stop, int(stop < death), int(stop == death)))
    data = pd.DataFrame(made, columns=["id", "start", "stop", "event", "death"])
    fit = mean_cumulative_count(
        data, start="start", stop="stop", event="event", subject="id", death="death"
    )
    row = fit.curves.iloc[-1]
    assert row["estimate"] == pytest.approx(np.mean(counts), rel=1e-12)
    assert row["se"] == pytest.approx(np.std(counts) / np.sqrt(40), rel=1e-12)


def test_death_as_censoring_counts_more(falls: pd.DataFrame) -> None:
    alive = counted(falls).at(AT)["estimate"].to_numpy()
    competing = counted(falls, death="DEATH").at(AT)["estimate"].to_numpy()
    assert (competing <= alive).all()
    assert (competing[2:5] < alive[2:5]).all()


def test_units_order_and_splits_do_not_matter(falls: pd.DataFrame) -> None:
    fit = counted(falls, death="DEATH")
    other = falls.sample(frac=1.0, random_state=2)
    other = other.assign(START=other["START"] / 365.25, STOP=other["STOP"] / 365.25)
    moved = counted(other, death="DEATH")
    for name in ("estimate", "se", "lower", "upper", "at_risk", "events", "deaths"):
        got, wanted = moved.curves[name], fit.curves[name]
        assert got.to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-10)
    long = falls["STOP"] - falls["START"] > 1
    early = falls[long].assign(STOP=falls["STOP"] - 1, FALL=0, DEATH=0)
    late = falls[long].assign(START=falls["STOP"] - 1)
    split = counted(pd.concat([falls[~long], early, late]), death="DEATH")
    assert split.curves["se"].to_numpy() == pytest.approx(fit.curves["se"].to_numpy(), rel=1e-10)


def test_blocks_of_participants_change_nothing(
    falls: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = counted(falls, death="DEATH").curves
    monkeypatch.setattr(_mean_curve, "_BLOCK", 700)
    blocks = counted(falls, death="DEATH").curves
    for name in ("estimate", "se"):
        assert blocks[name].to_numpy() == pytest.approx(whole[name].to_numpy(), rel=1e-12)
    assert blocks["at_risk"].tolist() == whole["at_risk"].tolist()


def test_counts_and_risk(falls: pd.DataFrame) -> None:
    fit = counted(falls, death="DEATH")
    table = fit.n_groups.set_index("TRT01P")
    by = falls.groupby("TRT01P")
    assert table["events"].tolist() == by["FALL"].sum().tolist()
    assert table["deaths"].tolist() == by["DEATH"].sum().tolist()
    assert (fit.n, fit.n_subjects, fit.n_events) == (len(falls), 90, int(falls["FALL"].sum()))
    at = fit.at([0, 60, 1000]).set_index("TRT01P").loc["Robotic"]
    own = falls[falls["TRT01P"] == "Robotic"]
    under = int(((own["START"] < 60) & (own["STOP"] >= 60)).sum())
    assert at["at_risk"].tolist() == [own["USUBJID"].nunique(), under, 0]
    assert at["estimate"].isna().tolist() == [False, False, True]
    assert at["estimate"].iloc[0] == 0.0
    late = fit.difference(reference="Robotic", at=1000).iloc[0]
    assert np.isnan(late["p"])


def small(**change: Any) -> pd.DataFrame:
    good = {
        "id": ["a", "a", "b", "c", "d"],
        "start": [0.0, 3, 0, 0, 0],
        "stop": [3.0, 9, 4, 7, 6],
        "event": [1, 0, 1, 1, 1],
        "death": [0, 1, 0, 0, 0],
        "arm": ["x", "x", "x", "y", "y"],
    }
    return pd.DataFrame({**good, **change})


SMALL = {"start": "start", "stop": "stop", "event": "event", "subject": "id", "group": "arm"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arm": ["x", "y", "x", "y", "y"]}, ["arm changes within a (row 1)"]),
        ({"death": [1, 0, 0, 0, 0]}, ["after death", "a (rows 0 and 1)"]),
        ({"death": [2, 0, 0, 0, 0]}, ["death holds values other"]),
        ({"start": [0.0, 2, 0, 0, 0]}, ["overlap"]),
        ({"start": [0.0, 4, 0, 0, 0]}, ["left out between"]),
        ({"stop": [3.0, 3, 4, 7, 6]}, ["not before", "a (row 1)"]),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        mean_cumulative_count(small(**change), death="death", **SMALL)
    for word in words:
        assert word in str(error.value)


def test_unknown_reference_and_times_are_refused() -> None:
    fit = mean_cumulative_count(small(), **SMALL)
    with pytest.raises(UsageError, match="not a level"):
        fit.difference(reference="z", at=3)
    with pytest.raises(UsageError):
        fit.at(-1.0)
    one = mean_cumulative_count(small(), **{**SMALL, "group": None})
    with pytest.raises(UsageError, match="one group"):
        one.difference(reference="all", at=3)


def test_failures_have_a_reason() -> None:
    none = mean_cumulative_count(small(event=0), **SMALL)
    assert none.failed == "no event in these data"
    lone = mean_cumulative_count(small(arm=["x", "x", "y", "y", "y"]), **SMALL)
    assert lone.failed is not None
    assert "one participant only in x" in lone.failed
    for fit in (none, lone):
        assert fit.curves.empty
        assert fit.at([1, 2]).empty
        assert fit.difference(reference="x", at=3).empty
        assert "failed" in fit.summary()


def test_a_group_without_events_counts_zero() -> None:
    fit = mean_cumulative_count(small(event=[0, 0, 0, 1, 1]), death="death", **SMALL)
    own = fit.curves[fit.curves["arm"] == "x"]
    assert (own[["estimate", "se", "lower", "upper"]] == 0.0).all().all()


def test_plot(falls: pd.DataFrame) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    axes = counted(falls, death="DEATH").plot()
    assert axes.get_ylabel() == "Mean number of events"
    assert len(axes.lines) >= 2
    pyplot.close("all")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), people=st.integers(2, 15), deaths=st.booleans())
def test_any_history_gives_a_rising_curve(seed: int, people: int, deaths: bool) -> None:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(people):
        times = np.unique(rng.integers(1, 15, rng.integers(1, 5)))
        dead = rng.random() < 0.5
        for start, stop in zip([0, *times[:-1]], times, strict=True):
            event = int(rng.random() < 0.6)
            made.append((i, start, stop, event, int(dead and stop == times[-1])))
    data = pd.DataFrame(made, columns=["id", "start", "stop", "event", "death"])
    fit = mean_cumulative_count(
        data, start="start", stop="stop", event="event", subject="id",
        death="death" if deaths else None,
    )  # fmt: skip
    if fit.failed is not None:
        assert data["event"].sum() == 0
        return
    numbers = fit.curves.drop(columns=["group"]).to_numpy(dtype=float)
    assert np.isfinite(numbers).all()
    assert (np.diff(fit.curves["estimate"]) >= 0).all()
    assert (fit.curves["lower"] <= fit.curves["estimate"]).all()
    assert (fit.curves["estimate"] <= fit.curves["upper"]).all()
