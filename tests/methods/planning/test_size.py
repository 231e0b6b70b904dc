"""Sizes and power against R, rpact, Hmisc and nlme; identities, bad input, warnings of the plan."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods import power, sample_size
from trialkit.methods.planning.clusters import Clusters
from trialkit.methods.planning.means import Mean, variance_factor
from trialkit.methods.planning.ranks import Ordinal

Compare = Callable[..., float]
ORACLE = Path(__file__).parents[2] / "oracles" / "power" / "oracle.txt"
RPACT = "rpact 3.3.4"
SURVIVAL = {"median_control": 12, "accrual": 12, "followup": 12, "hazard_ratio": 0.6}
TWO = {"alpha": 0.05, "sided": 2}


def lines(kind: str) -> list[list[str]]:
    rows = [line.split("|") for line in ORACLE.read_text().splitlines()]
    return [row[1:] for row in rows if row[0] == kind]


def test_stored_rpact_and_gsdesignnb_numbers(shared: Path, compare: Compare) -> None:
    known = json.loads((shared / "oracles" / "group_sequential.json").read_text())
    known = known["sample_size_rpact"]
    got = [
        sample_size("mean", difference=0.16, sd=0.4).fixed,
        sample_size("mean", difference=0.16, sd=0.4, test="z").fixed,
        sample_size("proportion", treatment=0.65, control=0.45).fixed,
        sample_size("time_to_event", **SURVIVAL).fixed,
        sample_size("time_to_event", hazard_ratio=0.6).events,
    ]
    theirs = [
        known["fixed_means_t"]["n"],
        known["fixed_means_z"]["n"],
        known["fixed_rates"]["n"],
        known["fixed_survival"]["n"],
        known["fixed_survival"]["events"],
    ]
    compare("sample_size", "five endpoints", RPACT, "total n or events", got, theirs, abs=1e-4)
    rows = json.loads((shared / "oracles" / "published_sas_r.json").read_text())
    rows = rows["negbin_sample_size"]["rows"]
    mine = [
        sample_size(
            "rate",
            control=row["lambda1"],
            ratio=row["lambda2"] / row["lambda1"],
            dispersion=row["k"],
            power=row["power"],
        ).n_control
        for row in rows
    ]
    theirs = [row["n"] for row in rows]
    variant, oracle = "negative binomial, method 2", "gsDesignNB 5bdf923a (Zhu and Lakkis 2014)"
    compare("sample_size", variant, oracle, "n an arm", mine, theirs, abs=0.0)


@pytest.mark.parametrize("ratio", ["1", "2", "0.5"])
def test_against_rpact_with_unequal_allocation(ratio: str, compare: Compare) -> None:
    def theirs(kind: str, *keys: str) -> list[float]:
        row = next(r for r in lines(kind) if r[: len(keys) + 1] == [*keys, ratio])
        return [float(v) for v in row[len(keys) + 1 :]]

    def check(kind: str, endpoint: str, **assumptions: Any) -> None:
        made = sample_size(endpoint, allocation=float(ratio), **assumptions)
        variant = f"{made.variant.rpartition(',')[0]}, allocation {ratio}"
        compare("sample_size", variant, RPACT, "total n", made.fixed, theirs(kind)[0], abs=1e-4)

    check("rpact.mean.t", "mean", difference=0.16, sd=0.4)
    check("rpact.mean.z", "mean", difference=0.16, sd=0.4, test="z")
    check("rpact.mean.ni", "mean", difference=0.02, sd=0.4, null=-0.1)
    check("rpact.rates", "proportion", treatment=0.65, control=0.45)
    check("rpact.rates.ni", "proportion", treatment=0.65, control=0.6, null=-0.1)
    loss = tuple(-math.log1p(-v) / 12 for v in (0.1, 0.2))
    for formula in ("schoenfeld", "freedman"):
        for kind, extra in (
            ("rpact.survival", {}),
            ("rpact.survival.dropout", {"dropout_hazard": loss}),
        ):
            assumed: dict[str, Any] = {**SURVIVAL, **extra, "formula": formula}
            events = sample_size(
                "time_to_event", hazard_ratio=0.6, formula=formula, allocation=float(ratio)
            ).events
            made = sample_size("time_to_event", allocation=float(ratio), **assumed)
            variant = f"{formula}, allocation {ratio}{', dropout' if extra else ''}"
            expected = theirs(kind, formula.capitalize())
            got = [events, made.fixed]
            compare("sample_size", variant, RPACT, "events and n", got, expected, rel=1e-9)


def test_against_power_t_test_and_power_prop_test(compare: Compare) -> None:
    r = "R 4.2.2 power.t.test"
    rows = np.array(lines("t.test"), dtype=float)
    got = [sample_size("mean", difference=d, sd=1, power=w, **TWO).fixed / 2 for d, w, _ in rows]
    compare("sample_size", "t test, two-sided", r, "n an arm", got, rows[:, 2], abs=1e-4)
    rows = np.array(lines("t.power"), dtype=float)
    got = [power("mean", n=int(n), difference=0.5, sd=1, **TWO).power for n, _ in rows]
    compare("power", "t test, two-sided", r, "power", got, rows[:, 1], abs=1e-8)
    r = "R 4.2.2 power.prop.test"
    rows = np.array(lines("prop.test"), dtype=float)
    pairs = [{"treatment": b, "control": a} for a, b, *_ in rows]
    got = [sample_size("proportion", **pair, **TWO).fixed / 2 for pair in pairs]
    compare("sample_size", "pooled, two-sided", r, "n an arm", got, rows[:, 2], rel=1e-8)
    got = [power("proportion", n=60, **pair, **TWO).power for pair in pairs]
    compare("power", "pooled, two-sided", r, "power", got, rows[:, 3], rel=1e-9)


def test_ordinal_against_hmisc(compare: Compare) -> None:
    control = [0.2, 0.3, 0.3, 0.15, 0.05]
    rows = np.array(lines("ordinal"), dtype=float)
    got = [
        sample_size("ordinal", control=control, odds_ratio=o, allocation=f / (1 - f), **TWO).fixed
        for o, f, _ in rows
    ]
    variant, oracle = "proportional odds, Whitehead", "Hmisc 4.8-0 posamsize"
    compare("sample_size", variant, oracle, "total n", got, rows[:, 2], rel=1e-9)
    assert Ordinal(control, 2.0).treatment.sum() == pytest.approx(1.0)


def test_repeated_measures_against_gls(compare: Compare) -> None:
    known = {row[0]: float(row[1]) for row in lines("mmrm")}
    cs = np.full((4, 4), 0.25) + 0.75 * np.eye(4)
    ar = 0.6 ** np.abs(np.subtract.outer(range(3), range(3)))
    got = [
        2 * variance_factor(cs, [1, 0.9, 0.8, 0.7]),
        variance_factor(ar, [1, 0.85, 0.6]) + variance_factor(ar, [1, 1, 0.9]),
    ]
    variant, oracle = "mixed model, monotone dropout", "R nlme 3.1-162, gls with fixed correlation"
    theirs = [known["cs"], known["ar1"]]
    compare("sample_size", variant, oracle, "variance of the contrast", got, theirs, rel=1e-9)
    made = sample_size(
        "mmrm", difference=0.5, sd=1, correlation=cs, retention=[1, 0.9, 0.8, 0.7], power=0.8, **TWO
    )
    same = sample_size(
        "mmrm",
        difference=0.5,
        sd=1,
        correlation=0.25,
        retention=[1, 0.9, 0.8, 0.7],
        power=0.8,
        **TWO,
    )
    assert made.fixed == same.fixed
    assert made.n == 174


def test_repeated_measures_without_dropout_are_an_analysis_of_covariance() -> None:
    plain = sample_size("mean", difference=0.1, sd=0.2, test="z", correlation=0.6)
    made = sample_size(
        "mmrm", difference=0.1, sd=0.2, correlation=0.7, visits=3, baseline_correlation=0.6
    )
    assert made.fixed == pytest.approx(plain.fixed, rel=1e-12)
    # earlier visits help when the last is missing, the more the closer they are
    sizes = [
        sample_size(
            "mmrm", difference=0.1, sd=0.2, correlation=r, visits=3, retention=[1, 0.9, 0.7]
        ).fixed
        for r in (0.0, 0.5, 0.9)
    ]
    assert sizes[0] == pytest.approx(
        sample_size("mean", difference=0.1, sd=0.2, test="z").fixed / 0.7
    )
    assert sizes[0] > sizes[1] > sizes[2]


def test_the_warnings_of_the_shipped_scenario() -> None:
    # falls at 1.8 a year, ratio .65, dispersion 1.1: 100 an arm over 12 weeks are far too few
    falls: dict[str, Any] = {"control": 1.8, "ratio": 0.65, "dispersion": 1.1}
    made = power("rate", n=100, exposure=12 * 7 / 365.25, **falls)
    assert made.power == pytest.approx(0.32, abs=0.005)
    assert made.events == pytest.approx(41.4 + 26.9, abs=0.1)
    for weeks, n in ((12, 353), (26, 213), (52, 153)):
        found = sample_size("rate", exposure=weeks / 52.18, power=0.8, **falls)
        assert found.n_control == pytest.approx(n, abs=1)
    # speed: a gain of 1.42 times .10 m/s with SD .18, and of 42 % over .45 m/s at baseline
    assert power("mean", n=100, difference=0.042, sd=0.18).power == pytest.approx(0.38, abs=0.01)
    assert power("mean", n=100, difference=0.089, sd=0.18).power == pytest.approx(0.94, abs=0.01)


def test_zhu_and_lakkis_methods_are_one_for_equal_sampling() -> None:
    falls: dict[str, Any] = {"control": 1.8, "ratio": 0.65, "dispersion": 1.1}
    sizes = {
        v: sample_size("rate", variance=v, **falls).fixed for v in ("true", "reference", "pooled")
    }
    z = special.ndtri([0.975, 0.9])
    spread = 2 * 1.1
    true = 1 / 1.8 + 1 / 1.17
    null = {"true": true, "reference": 2 / 1.8, "pooled": 4 / 2.97}
    for name, size in sizes.items():
        by_hand = (z[0] * math.sqrt(null[name] + spread) + z[1] * math.sqrt(true + spread)) ** 2
        assert size == pytest.approx(2 * by_hand / math.log(0.65) ** 2, rel=1e-12)


def test_noether_by_hand() -> None:
    z = special.ndtri([0.975, 0.9]).sum()
    found = sample_size("ranks", probability=0.62, allocation=2.0)
    assert found.fixed == pytest.approx(z**2 / (12 * 2 / 9 * 0.12**2), rel=1e-12)
    mirrored = sample_size("ranks", probability=0.38, allocation=2.0)
    assert mirrored.fixed == pytest.approx(found.fixed, rel=1e-12)


ENDPOINTS: list[tuple[str, dict[str, Any]]] = [
    ("mean", {"difference": 0.16, "sd": 0.4}),
    ("mean", {"difference": 0.16, "sd": 0.4, "sd_treatment": 0.6, "correlation": 0.5}),
    ("mmrm", {"difference": 0.1, "sd": 0.3, "correlation": 0.6, "retention": [1, 0.9, 0.8]}),
    ("proportion", {"treatment": 0.65, "control": 0.45}),
    ("proportion", {"treatment": 0.65, "control": 0.6, "null": -0.1, "test": "wald"}),
    ("rate", {"control": 1.8, "ratio": 0.65, "dispersion": 1.1, "variance": "pooled"}),
    ("time_to_event", dict(SURVIVAL)),
    ("ordinal", {"control": [0.2, 0.3, 0.5], "odds_ratio": 1.8}),
    ("ranks", {"probability": 0.6}),
]


@pytest.mark.parametrize(("endpoint", "assumptions"), ENDPOINTS)
@settings(max_examples=8, deadline=None)
@given(
    target=st.floats(0.5, 0.99),
    allocation=st.floats(0.3, 3.0),
    dropout=st.floats(0.0, 0.5),
    inflation=st.floats(1.0, 1.3),
)
def test_power_at_the_size_is_the_power_asked_for(
    endpoint: str,
    assumptions: dict[str, Any],
    target: float,
    allocation: float,
    dropout: float,
    inflation: float,
) -> None:
    common: dict[str, Any] = {"dropout": dropout, "inflation": inflation}
    made = sample_size(endpoint, power=target, allocation=allocation, **common, **assumptions)
    assert made.n_treatment is not None
    assert made.n_control is not None
    assert made.power >= target - 1e-6
    again = power(endpoint, n=(made.n_treatment, made.n_control), **common, **assumptions)
    assert again.power == pytest.approx(made.power, abs=1e-12)
    fewer = (max(made.n_treatment - 2, 1), max(made.n_control - 2, 1))
    assert power(endpoint, n=fewer, **common, **assumptions).power < target
    grown = made.fixed * inflation / (1 - dropout)
    assert grown <= (made.n or 0) + 1e-6
    assert (made.n or 0) <= max(grown + 2, 4)


def test_units_and_labels_do_not_matter() -> None:
    metres = sample_size("mean", difference=0.16, sd=0.4)
    for factor in (1e-12, 100.0, 1e12, -1.0):
        other = sample_size("mean", difference=0.16 * factor, sd=0.4 * abs(factor))
        assert other.fixed == pytest.approx(metres.fixed, rel=1e-9)
    year = sample_size("rate", control=1.8, ratio=0.65, dispersion=1.1, exposure=0.25)
    week = sample_size("rate", control=1.8 / 52, ratio=0.65, dispersion=1.1, exposure=13)
    assert week.fixed == pytest.approx(year.fixed, rel=1e-12)
    # exchanged arms
    one = sample_size("proportion", treatment=0.65, control=0.45, allocation=2.0).fixed
    two = sample_size("proportion", treatment=0.45, control=0.65, allocation=0.5).fixed
    assert one == pytest.approx(two, rel=1e-10)
    one = sample_size("time_to_event", hazard_ratio=0.6).events
    assert one == pytest.approx(sample_size("time_to_event", hazard_ratio=1 / 0.6).events)


def test_clusters() -> None:
    assert Clusters(8, 0.05).effect == pytest.approx(1.35)
    assert Clusters(8, 0.05, cv=0.5).effect == pytest.approx(1.45)
    base: dict[str, Any] = {"difference": 0.16, "sd": 0.4, "test": "z"}
    plain = sample_size("mean", **base).fixed
    both = sample_size("mean", clusters={"size": 8, "icc": 0.05}, **base)
    assert both.fixed == pytest.approx(1.35 * plain, rel=1e-12)
    assert both.clusters_treatment == math.ceil((both.n_treatment or 0) / 8)
    one = sample_size("mean", clusters={"size": 8, "icc": 0.05, "arm": "treatment"}, **base)
    assert one.fixed == pytest.approx((1.35 + 1) / 2 * plain, rel=1e-12)
    assert one.clusters_control is None
    none = sample_size("mean", clusters={"size": 8, "icc": 0.0}, **base)
    assert none.fixed == pytest.approx(plain, rel=1e-12)
    # the t test counts clusters, not participants
    few = power("mean", n=24, difference=0.4, sd=0.4, clusters={"size": 8, "icc": 0.05})
    normal = power("mean", n=24, clusters={"size": 8, "icc": 0.05}, **(base | {"difference": 0.4}))
    assert few.power < normal.power - 0.05
    events = sample_size("time_to_event", hazard_ratio=0.6, clusters={"size": 8, "icc": 0.05})
    assert events.events == pytest.approx(161.0686 * 1.35, rel=1e-6)


def test_group_sequential_inflation_and_dropout() -> None:
    plain = sample_size("mean", difference=0.16, sd=0.4, test="z")
    made = sample_size("mean", difference=0.16, sd=0.4, test="z", inflation=1.003418, dropout=0.2)
    assert made.fixed == plain.fixed
    assert made.n_control == math.ceil(plain.fixed / 2 * 1.003418 / 0.8)
    assert power(
        "time_to_event", events=161.068592 * 1.1, inflation=1.1, hazard_ratio=0.6
    ).power == (pytest.approx(0.9, abs=1e-9))


def test_results_as_text_table_and_curve() -> None:
    made = sample_size("rate", control=1.8, ratio=0.65, dispersion=1.1, dropout=0.1)
    assert made.table.loc[0, "n"] == made.n
    assert "dispersion: 1.1" in made.summary()
    assert made._repr_html_().startswith("<pre>")
    curve = made.curve()
    assert (np.diff(curve["power"]) > 0).all()
    row = made.curve([made.n_control or 0]).iloc[0]
    assert row["power"] == pytest.approx(made.power)
    assert Mean(0.16, 0.4) == Mean(0.16, 0.4)
    assert sample_size(Mean(0.16, 0.4)).n == 266
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    ax = made.plot()
    assert ax.get_ylabel() == "Power"
    assert len(ax.lines) == 3
    plt.close("all")


def test_what_cannot_be_reached_is_a_failed_state() -> None:
    tiny = sample_size("mean", difference=1e-9, sd=1.0)
    assert tiny.failed is not None
    assert tiny.table.empty
    assert tiny.curve().empty
    assert tiny.n is None
    rare = sample_size("time_to_event", **(SURVIVAL | {"median_control": 1e13}))
    assert rare.failed is not None
    small = power("mean", n=1, difference=1.0, sd=1.0)
    assert small.failed == "2 participants are too few"
    with pytest.raises(UsageError, match="more than"):
        tiny.plot()


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("no endpoint", lambda: sample_size("speed", sd=1)),
        ("has no assumption", lambda: sample_size("mean", difference=1, sd=1, icc=0.1)),
        ("lacks an assumption", lambda: sample_size("mean", difference=1)),
        ("null hypothesis", lambda: sample_size("mean", difference=0.0, sd=1)),
        ("sd must be above 0", lambda: sample_size("mean", difference=1, sd=0)),
        ("sd must be above 0", lambda: sample_size("mean", difference=1, sd=float("inf"))),
        ("finite", lambda: sample_size("mean", difference=float("nan"), sd=1)),
        ("correlation must lie", lambda: sample_size("mean", difference=1, sd=1, correlation=1.0)),
        ("power must lie", lambda: sample_size("mean", difference=1, sd=1, power=1.0)),
        ("power must lie", lambda: sample_size("mean", difference=1, sd=1, power=0.01)),
        ("alpha must lie", lambda: sample_size("mean", difference=1, sd=1, alpha=0)),
        ("sided", lambda: sample_size("mean", difference=1, sd=1, sided=3)),
        ("allocation", lambda: sample_size("mean", difference=1, sd=1, allocation=0)),
        ("dropout", lambda: sample_size("mean", difference=1, sd=1, dropout=1)),
        ("clusters", lambda: sample_size("mean", difference=1, sd=1, clusters={"m": 8})),
        ("icc", lambda: sample_size("mean", difference=1, sd=1, clusters={"size": 8, "icc": 2})),
        ("cluster size", lambda: Clusters(0.5, 0.1)),
        ("treatment must lie", lambda: sample_size("proportion", treatment=1.0, control=0.5)),
        (
            "needs variance",
            lambda: sample_size("rate", control=1, ratio=0.7, null=1.1, variance="pooled"),
        ),
        ("dispersion", lambda: sample_size("rate", control=1, ratio=0.7, dispersion=-1)),
        (
            "null 1",
            lambda: sample_size("time_to_event", hazard_ratio=0.6, null=1.2, formula="freedman"),
        ),
        (
            "Give one",
            lambda: sample_size(
                "time_to_event", hazard_ratio=0.6, median_control=1, hazard_control=1
            ),
        ),
        ("accrual", lambda: sample_size("time_to_event", hazard_ratio=0.6, median_control=1)),
        ("negative", lambda: sample_size("time_to_event", **(SURVIVAL | {"dropout_hazard": -1.0}))),
        ("not two", lambda: sample_size("time_to_event", **(SURVIVAL | {"dropout_hazard": [0.1]}))),
        (
            "one arm",
            lambda: sample_size(
                "time_to_event",
                hazard_ratio=0.6,
                clusters={"size": 8, "icc": 0.1, "arm": "control"},
            ),
        ),
        ("shares of 1", lambda: sample_size("ordinal", control=[0.5, 0.6], odds_ratio=2)),
        ("everybody", lambda: sample_size("ordinal", control=[1.0, 0.0], odds_ratio=2)),
        ("number of visits", lambda: sample_size("mmrm", difference=1, sd=1, correlation=0.5)),
        (
            "no correlation matrix",
            lambda: sample_size("mmrm", difference=1, sd=1, correlation=[[1, 2], [2, 1]]),
        ),
        (
            "no correlation matrix",
            lambda: sample_size(
                "mmrm", difference=1, sd=1, correlation=0.1, visits=3, baseline_correlation=0.9
            ),
        ),
        (
            "baseline_correlation",
            lambda: sample_size(
                "mmrm",
                difference=1,
                sd=1,
                correlation=0.1,
                visits=3,
                baseline_correlation=[0.5, 0.5],
            ),
        ),
        (
            "rises",
            lambda: sample_size("mmrm", difference=1, sd=1, correlation=0.5, retention=[0.8, 0.9]),
        ),
        (
            "2 values for 3",
            lambda: sample_size(
                "mmrm", difference=1, sd=1, correlation=0.5, visits=3, retention=[1, 0.9]
            ),
        ),
        ("one of n and events", lambda: power("mean", difference=1, sd=1)),
        ("not planned by events", lambda: power("mean", events=10, difference=1, sd=1)),
        ("whole numbers", lambda: power("mean", n=10.5, difference=1, sd=1)),
        ("without a control hazard", lambda: power("time_to_event", n=100, hazard_ratio=0.6)),
        ("complete endpoint", lambda: sample_size(Mean(1.0, 1.0), sd=1)),
        ("only events", lambda: sample_size("time_to_event", hazard_ratio=0.6).plot()),
        ("below 1", lambda: sample_size("mean", difference=1, sd=1).curve([0, 5])),
    ],
)
def test_bad_input_is_refused(words: str, call: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=words):
        call()


@pytest.mark.slow
def test_power_with_therapists_in_one_arm_by_simulation(capsys: pytest.CaptureFixture[str]) -> None:
    from scipy import stats

    rng = np.random.default_rng(3)
    trials, size, icc = 20_000, 8, 0.1
    for therapists in (4, 8):
        n = size * therapists
        for difference in (0.0, 0.7):
            between = rng.normal(0, math.sqrt(icc), (trials, therapists))
            own = (
                rng.normal(difference, math.sqrt((1 - icc) / size), (trials, therapists)) + between
            )
            other = rng.normal(size=(trials, n))
            p = stats.ttest_ind(own, other, axis=1, equal_var=False, alternative="greater").pvalue
            found = (p <= 0.025).mean()
            se = math.sqrt(found * (1 - found) / trials)
            if difference == 0.0:
                expected = 0.025
            else:
                clusters = {"size": size, "icc": icc, "arm": "treatment"}
                expected = power("mean", n=n, difference=0.7, sd=1.0, clusters=clusters).power
            with capsys.disabled():
                print(f"\n{therapists} therapists, difference {difference}:")
                print(f"{found:.4f} ({se:.4f}), expected {expected:.4f}")
            assert found == pytest.approx(expected, abs=3 * se + 0.006)
