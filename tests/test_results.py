"""Results: ids, access, storage that notices a changed byte, schema, figures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib
import pandas as pd
import pytest

matplotlib.use("agg")

from trialkit import _figures
from trialkit.errors import DataFindings, IntegrityError, UnknownName, UsageError
from trialkit.results import (
    ResultRows,
    Results,
    format_value,
    result_id,
    results_table,
    series_table,
)

CONTRAST = {"group": "Robotic", "reference": "Conventional", "visit": "W12"}


def make() -> Results:
    speed = ResultRows("speed", "Speed", "primary", estimand="E", population="FAS",
                       dataset="ADFT", method="mmrm", variant="us", unit="m/s")  # fmt: skip
    numbers = {
        "estimate": 0.1,
        "se": 0.02,
        "p": 0.0004,
        "lower": 0.06,
        "upper": 0.14,
        "level": 0.95,
    }
    for name, value in numbers.items():
        speed.add("difference", name, value, **CONTRAST)
    speed.add("n", "n_subjects", 190.0, unit="")
    falls = ResultRows("falls", "Falls", "secondary", method="negative_binomial")
    for name in ("estimate", "se", "p", "lower", "upper"):
        falls.add(
            "rate_ratio", name, None, group="Robotic", reference="Conventional", reason="no event"
        )
    km = ResultRows("km", "Time to a fall", "secondary", method="kaplan_meier")
    km.add("logrank", "p", 0.2)
    km.add("median_time", "estimate", math.nan, group="Robotic", text="not reached")
    points = [
        {"analysis": "speed", "series": "profile", "group": g, "label": "W12", "x": 84.0, "y": 0.5,
         "lower": 0.4, "upper": 0.6, "n": 90.0}
        for g in ("Conventional", "Robotic")
    ] + [
        {"analysis": "km", "series": s, "group": "Robotic", "x": 10.0 * i, "y": 1 - i / 10,
         "lower": 0.1, "upper": 1.0, "n": 50.0 - i}
        for s in ("survival", "at_risk")
        for i in range(5)
    ]  # fmt: skip
    analyses = {
        "speed": {"better": "higher", "null": 0.0, "unit": "m/s",
                  "registered": "speed.difference.robotic.vs-conventional.W12"},
        "falls": {"better": "lower", "null": 1.0, "unit": None,
                  "registered": "falls.rate_ratio.robotic.vs-conventional"},
        "km": {"better": "lower", "null": 0.0, "unit": None, "registered": "km.logrank"},
    }  # fmt: skip
    rows = [*speed.rows, *falls.rows, *km.rows]
    meta = {"plan": {"title": "Demo"}, "analyses": analyses, "tables": {}}
    return Results(results_table(rows), series_table(points), meta)


def test_ids_are_stable_and_readable() -> None:
    made = result_id("speed", "difference", "estimate", **CONTRAST)
    assert made == "speed.difference.robotic.vs-conventional.W12.estimate"
    assert result_id("ae", "skin", "count", group="Robotic + PT") == "ae.skin.robotic-pt.count"
    assert result_id("flow", "assessed", "count") == "flow.assessed.count"


def test_access_by_id() -> None:
    results = make()
    identifier = "speed.difference.robotic.vs-conventional.W12.estimate"
    assert results.value(identifier) == 0.1
    assert results.get(identifier)["unit"] == "m/s"
    assert identifier in results
    assert "speed" in results
    assert "nothing" not in results
    assert results["speed"].statistics()["p"] == 0.0004
    with pytest.raises(UnknownName, match="Nearest: speed"):
        results.value(identifier.replace("W12", "W13"))
    with pytest.raises(UnknownName):
        results["spead"]


def test_a_failed_row_is_never_a_number() -> None:
    results = make()
    rows = results["falls"].registered
    assert rows["value"].isna().all()
    assert set(rows["reason"]) == {"no event"}
    assert results["falls"].failed == "no event"
    assert math.isnan(results["falls"].comparison()["estimate"])
    added = ResultRows("a", "A", "primary")
    added.add("difference", "estimate", 3.0, reason="did not converge")
    added.add("difference", "se", math.inf)
    assert [r["value"] for r in added.rows] == [None, None]
    assert {r["state"] for r in added.rows} == {"failed"}


def test_two_rows_with_one_id_are_refused() -> None:
    rows = ResultRows("a", "A", "primary")
    rows.add("rate", "estimate", 1.0, group="Arm 1")
    rows.add("rate", "estimate", 2.0, group="arm-1")
    with pytest.raises(UsageError, match=r"a\.rate\.arm-1\.estimate"):
        results_table(rows.rows)


def test_storage_round_trip(tmp_path: Path) -> None:
    results = make()
    folder = results.save(tmp_path / "results")
    again = Results.load(folder, expected=results.hash)
    pd.testing.assert_frame_equal(again.table, results.table)
    pd.testing.assert_frame_equal(again.series, results.series)
    assert again.meta == results.meta
    assert list(again.meta["analyses"]) == ["speed", "falls", "km"]  # the plan's order
    assert again.hash == results.hash


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_one_changed_byte_is_found(tmp_path: Path, at: float) -> None:
    folder = make().save(tmp_path)
    path = folder / "results.json"
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match="altered"):
        Results.load(folder)


def test_other_results_than_the_record_says_are_found(tmp_path: Path) -> None:
    folder = make().save(tmp_path)
    with pytest.raises(IntegrityError):
        Results.load(folder, expected="0" * 64)
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(UnknownName):
        Results.load(folder)
    with pytest.raises(UnknownName):
        Results.load(tmp_path / "nowhere")


def test_another_schema_is_refused() -> None:
    stored = json.loads(make().to_bytes())
    stored["schema"] = "trialkit.results/9"
    with pytest.raises(UsageError, match="results/9"):
        Results.from_bytes(json.dumps(stored).encode())


def test_the_schema_refuses_a_number_in_a_failed_row(tmp_path: Path) -> None:
    results = make()
    results.table.loc[results.table["analysis"] == "falls", "value"] = 0.5
    with pytest.raises(DataFindings):
        results.save(tmp_path / "r")
    assert not (tmp_path / "r").exists()
    results = make()
    results.table.loc[0, "statistic"] = "guess"
    with pytest.raises(DataFindings, match="guess"):
        results.validate()


def test_summary_says_what_was_found() -> None:
    text = make().summary()
    assert "difference 0.100 m/s (95 % CI 0.0600 to 0.140), p <0.001" in text
    assert "Falls (secondary): failed: no event" in text
    assert "Speed" in make()["speed"]._repr_html_()
    assert "statistics" in make()._repr_html_()


@pytest.mark.parametrize(
    ("statistic", "value", "text"),
    [
        ("p", 0.0004, "<0.001"),
        ("p_adjusted", 0.0416, "0.042"),
        ("n_subjects", 190.0, "190"),
        ("estimate", 0.08312, "0.0831"),
        ("estimate", 12.345, "12.3"),
        ("estimate", -1234.5, "-1234"),
        ("rejected", 1.0, "yes"),
        ("se", float("nan"), "–"),
    ],
)
def test_numbers_are_shown_as_readers_expect(statistic: str, value: float, text: str) -> None:
    assert format_value(statistic, value) == text


def labels(ax: matplotlib.axes.Axes) -> str:
    texts = [ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")]
    return " ".join([*texts, *(t.get_text() for t in ax.texts)])


def test_profile_shows_unit_direction_and_n() -> None:
    ax = make()["speed"].plot()
    assert "m/s" in ax.get_ylabel()
    assert "higher is better" in labels(ax)
    assert labels(ax).count("90") == 2
    assert len(ax.containers) == 2


def test_survival_shows_numbers_at_risk() -> None:
    ax = make()["km"].plot()
    assert "At risk" in labels(ax)
    assert "50" in labels(ax)
    assert ax.get_ylim()[0] == 0


def test_forest_names_the_favoured_side_and_the_failed() -> None:
    results = make()
    ax = _figures.forest(results.forest().iloc[[0]])
    assert ax.get_xlabel().endswith("← favours Conventional      favours Robotic →")
    low, high = ax.get_xlim()
    assert low < 0 < high
    ratio = _figures.forest(results.forest().iloc[[1]])
    assert ratio.get_xlabel().endswith("← favours Robotic      favours Conventional →")
    assert "not estimated" in labels(ratio)
    assert ratio.get_xscale() == "log"


def test_forest_figure_has_a_panel_a_scale_and_leaves_tests_out() -> None:
    figure = _figures.forest_figure(make().forest())
    assert len(figure.axes) == 2


def test_figures_leave_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    make()["speed"].plot()
    assert dict(matplotlib.rcParams) == before


@pytest.fixture(autouse=True)
def _close_figures() -> object:
    yield
    matplotlib.pyplot.close("all")
