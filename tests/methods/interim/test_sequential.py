"""Group-sequential designs against gsDesign and rpact, identities, actual looks, bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from tests.methods.conftest import Compare
from trialkit.errors import UsageError
from trialkit.methods import sample_size, sequential
from trialkit.methods.interim.spending import rule

OWN = Path(__file__).parent.parent.parent / "oracles" / "sequential"
NAMES = {
    "Lan-DeMets O'Brien-Fleming approximation": "obrien_fleming",
    "Lan-DeMets Pocock approximation": "pocock",
    "OF": "classical_obrien_fleming",
    "Pocock": "classical_pocock",
    "WT": "wang_tsiatis",
    "Hwang-Shih-DeCani": "hwang_shih_decani",
    "Kim-DeMets (power)": "power",
}
DESIGNS = [
    *("LD_OBF_k4", "LD_Pocock_k4", "LD_OBF_k2_50", "LD_OBF_k3_thirds", "LD_OBF_k5"),
    *("LD_Pocock_k5", "classic_OBF_k4", "classic_Pocock_k4", "WangTsiatis0.25_k4"),
    *("HSD_minus4_k4", "HSD_minus8_k4", "Power3_k4", "nonbinding_fut_LDOF_HSD-2_k4"),
    *("nonbinding_fut_LDOF_LDOF_k4", "binding_fut_LDOF_HSD-2_k4"),
    *("nonbinding_fut_LDOF_LDPocock_k2", "nonbinding_default_gsDesign_k3"),
]


@pytest.fixture(scope="module")
def oracle(shared: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared / "oracles/group_sequential.json").read_text())
    return found


def named(name: str | None, parameter: Any) -> Any:
    if not name:
        return None
    mine = NAMES[name]
    takes = mine in {"wang_tsiatis", "hwang_shih_decani", "power"}
    return (mine, parameter) if takes else mine


@pytest.mark.parametrize("key", DESIGNS)
def test_bounds_and_power_equal_gsdesign(
    oracle: dict[str, Any], compare: Compare, key: str
) -> None:
    wanted = oracle["gsDesign"][key]
    design = sequential(
        wanted["timing"],
        alpha=wanted["alpha"],
        beta=wanted["beta"],
        spending=named(wanted["sfu"], wanted["sfu_param"]),
        futility=named(wanted["sfl"], wanted["sfl_param"]),
        binding=wanted["test_type"] == 3,
    )
    assert design.failed is None
    kind = {1: "efficacy only", 3: "binding futility", 4: "non-binding futility"}
    where = (kind[wanted["test_type"]], "gsDesign 3.11")
    compare("sequential", *where, "upper bounds", design.upper, wanted["upper_z"], abs=1e-6)
    compare("sequential", *where, "error spent", design.spent, wanted["upper_cum_alpha"], abs=1e-7)
    if wanted["lower_z"]:
        compare("sequential", *where, "lower bounds", design.lower, wanted["lower_z"], abs=1e-6)
    inflated = wanted["inflation_n_I"][-1]
    compare("sequential", *where, "information inflation", design.inflation, inflated, abs=1e-6)
    for theta, column in ((0.0, 0), (design.drift, 1)):
        found = design.probabilities(theta)
        theirs = np.array(wanted["prob_cross_upper_by_theta"])[:, column]
        compare("sequential", *where, "crossing probabilities", found.efficacy, theirs, abs=1e-6)
        mean = design.expected_information(theta) * design.inflation
        theirs = wanted["expected_inflation"][column]
        compare("sequential", *where, "expected information", mean, theirs, abs=1e-6)


@pytest.mark.parametrize(
    ("key", "spending", "futility"),
    [
        ("asOF_k4", "obrien_fleming", None),
        ("asP_k4", "pocock", None),
        ("OF_k4", "classical_obrien_fleming", None),
        ("P_k4", "classical_pocock", None),
        ("asHSD-4_k4", ("hwang_shih_decani", -4), None),
        ("asOF_bsHSD-2_nonbinding_k4", "obrien_fleming", ("hwang_shih_decani", -2)),
        ("asOF_bsOF_nonbinding_k4", "obrien_fleming", "obrien_fleming"),
    ],
)
def test_bounds_equal_rpact(
    oracle: dict[str, Any], compare: Compare, key: str, spending: Any, futility: Any
) -> None:
    wanted = oracle["rpact"][key]
    design = sequential(wanted["informationRates"], spending=spending, futility=futility)
    where = ("non-binding futility" if futility else "efficacy only", "rpact 3.3.4")
    compare("sequential", *where, "upper bounds", design.upper, wanted["criticalValues"], abs=1e-6)
    compare(
        "sequential",
        *where,
        "information inflation",
        design.inflation,
        wanted["inflation"],
        abs=1e-6,
    )
    if futility:
        theirs = wanted["futilityBounds"]
        compare("sequential", *where, "lower bounds", design.lower[:-1], theirs, abs=1e-6)


def test_conditional_power_equals_gsdesign(oracle: dict[str, Any], compare: Compare) -> None:
    wanted = oracle["conditional_power_gsDesign"]
    design = sequential([0.5, 1])
    root = math.sqrt(wanted["n_I"][-1])
    mine = [
        design.conditional_power(1, row["z"], theta * root)
        for row in wanted["cp"]
        for theta in row["theta"]
    ]
    theirs = [power for row in wanted["cp"] for power in row["cp"]]
    compare("sequential", "conditional power", "gsDesign 3.11", "power", mine, theirs, abs=1e-6)
    assert design.conditional_power(1, 1.5, "null") == design.conditional_power(1, 1.5, 0.0)
    assert design.conditional_power(1, 1.5, "design") == design.conditional_power(
        1, 1.5, design.drift
    )


def test_predictive_power_has_its_closed_form() -> None:
    """One look to come, flat prior: normal with mean z/sqrt(t) and variance (1-t)/t."""
    t, z = 0.4, 1.3
    design = sequential([t, 1])
    wanted = special.ndtr((z / math.sqrt(t) - design.upper[-1]) / math.sqrt((1 - t) / t))
    assert design.predictive_power(1, z) == pytest.approx(wanted, abs=1e-9)
    sure = design.predictive_power(1, z, prior=(3.0, 1e-6))
    assert sure == pytest.approx(design.conditional_power(1, z, 3.0), abs=1e-6)


def test_estimates_equal_rpact(compare: Compare) -> None:
    """tests/oracles/sequential: the standard error follows from rpact's repeated interval."""
    design = sequential([0.4, 0.7, 1])
    where = ("estimates after the stop", "rpact 3.3.4, own data")
    for row in pd.read_csv(OWN / "estimates.csv").itertuples():
        bound = design.upper[row.look - 1]
        se = (row.rci_upper - row.rci_lower) / 2 / bound
        table = design.estimates(row.look, row.mean, se).set_index("kind")
        last = table.loc["stagewise"]
        compare(
            *("sequential", *where, "median-unbiased estimate and interval"),
            [last["estimate"], last["lower"], last["upper"]],
            [row.mue, row.lower, row.upper],
            abs=1e-6,
        )
        compare("sequential", *where, "stagewise p", last["p"], row.p, abs=1e-7)
        repeated = table.loc["repeated"]
        compare("sequential", *where, "repeated p", repeated["p"], row.repeated_p, abs=1e-6)
        assert repeated["lower"] == pytest.approx(row.rci_lower, abs=1e-6)
        if row.look < 3:
            power = design.conditional_power(row.look, row.mean / se, 0.3 * math.sqrt(100))
            compare("sequential", *where, "conditional power", power, row.cp, abs=1e-7)


def test_two_sided_bounds_equal_rpact(compare: Compare) -> None:
    """tests/oracles/sequential/output.txt, the last three lines."""
    where = ("two-sided", "rpact 3.3.4")
    error = sequential([0.4, 0.7, 1], alpha=0.05, sided=2)
    theirs = [3.35686935609, 2.44454228104, 2.00053906796]
    compare("sequential", *where, "bounds", error.upper, theirs, abs=1e-7)
    shape = sequential([0.4, 0.7, 1], alpha=0.05, sided=2, spending="classical_pocock")
    compare("sequential", *where, "bounds", shape.upper, [2.2743059036] * 3, abs=1e-7)
    compare("sequential", *where, "information inflation", error.inflation, 1.01420024336, abs=2e-6)


def test_size_of_a_design_equals_rpact(oracle: dict[str, Any], compare: Compare) -> None:
    """Means with a t test, two looks: the fixed size times the design's inflation."""
    wanted = oracle["sample_size_rpact"]["gs_means_t"]
    inflation = sequential([0.5, 1], alpha=0.025, beta=0.1).inflation
    size = sample_size(
        "mean", difference=wanted["alternative"], sd=wanted["sd"], power=0.9, inflation=inflation
    )
    compare(
        *("sequential", "efficacy only", "rpact 3.3.4", "sample size"),
        *(size.fixed * inflation, wanted["max_n"]),
        abs=1e-4,
    )


def test_one_look_is_the_fixed_test() -> None:
    design = sequential([1.0], alpha=0.025, beta=0.2)
    assert design.upper[0] == pytest.approx(special.ndtri(0.975), abs=1e-12)
    assert design.inflation == pytest.approx(1.0, abs=1e-9)
    assert design.power() == pytest.approx(0.8, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.05, 0.95), min_size=1, max_size=4),
    st.floats(0.005, 0.1),
    st.sampled_from(["obrien_fleming", "pocock", ("hwang_shih_decani", -3.0), ("power", 2.0)]),
    st.sampled_from([None, "obrien_fleming", ("hwang_shih_decani", -2.0)]),
    st.booleans(),
)
def test_any_design_keeps_alpha_or_says_why(
    looks: list[float], alpha: float, spending: Any, futility: Any, binding: bool
) -> None:
    times = sorted({round(each, 2) for each in looks})
    design = sequential(
        [*times, 1.0], alpha=alpha, spending=spending, futility=futility, binding=binding
    )
    if design.failed is not None:
        assert futility is not None
        assert design.boundaries.empty
        return
    null = design.probabilities(0.0)
    error = float(null["efficacy"].sum())
    assert error <= alpha + 1e-8
    if futility is None or binding:
        assert error == pytest.approx(alpha, abs=1e-8)
    assert design.power() == pytest.approx(0.9, abs=1e-8)
    assert (np.diff(design.spent) >= 0).all()
    assert (design.lower <= design.upper + 1e-7).all()


def test_looks_at_actual_information_spend_what_they_should() -> None:
    plan = sequential([0.5, 1], futility=("hwang_shih_decani", -2))
    early = plan.at([0.42])
    assert early.spent[0] == pytest.approx(rule("obrien_fleming", "x").spent(0.025, 0.42), abs=0)
    assert early.upper[0] == pytest.approx(-special.ndtri(early.spent[0]), abs=1e-10)
    over = plan.at([0.42, 1.1])
    assert over.upper[0] == early.upper[0]
    assert over.spent[-1] == 0.025
    open_ended = np.full(2, -math.inf)
    from trialkit.methods.interim.recursion import crossings

    total = crossings(over.information, open_ended, over.upper, 0.0)[0].sum()
    assert total == pytest.approx(0.025, abs=1e-10)
    short = plan.at([0.42, 0.9], final=True)
    assert short.upper[-1] < sequential([0.42, 1]).upper[-1]


def test_looks_as_planned_change_nothing() -> None:
    plan = sequential([0.3, 0.6, 1], futility=("hwang_shih_decani", -2), binding=True)
    same = plan.at([0.3, 0.6, 1.0])
    np.testing.assert_allclose(same.upper, plan.upper, atol=1e-9)
    np.testing.assert_allclose(same.lower, plan.lower, atol=1e-7)


def test_futility_at_chosen_looks_and_at_given_bounds() -> None:
    some = sequential([0.25, 0.5, 0.75, 1], futility="pocock", futility_looks=[2])
    assert np.isinf(some.lower[[0, 2]]).all()
    assert np.isfinite(some.lower[[1, 3]]).all()
    assert some.power() == pytest.approx(0.9, abs=1e-9)
    fixed = sequential([0.5, 1], futility=[0.0])
    assert fixed.lower[0] == 0.0
    assert fixed.power() == pytest.approx(0.9, abs=1e-9)
    assert fixed.upper.tolist() == sequential([0.5, 1]).upper.tolist()
    assert sequential([0.5, 1], futility=[0.0], binding=True).upper[1] < fixed.upper[1]


def test_estimates_do_not_depend_on_units() -> None:
    design = sequential([0.5, 1])
    one = design.estimates(1, 0.16, 0.05).set_index("kind")[["estimate", "lower", "upper"]]
    two = design.estimates(1, 160.0, 50.0).set_index("kind")[["estimate", "lower", "upper"]]
    np.testing.assert_allclose(two, 1000 * one, rtol=1e-8)


def test_the_interval_and_the_decision_agree() -> None:
    """The stagewise interval excludes zero just where the trial crossed its bound."""
    design = sequential([0.5, 1])
    for look in (1, 2):
        for step, crossed in ((1e-4, True), (-1e-4, False)):
            z = float(design.upper[look - 1]) + step
            row = design.estimates(look, z, 1.0).set_index("kind").loc["stagewise"]
            if look == 2 or crossed:
                assert bool(row["lower"] > 0) is crossed
                assert bool(row["p"] < 0.025) is crossed


def test_stop_for_futility_has_a_p_near_one() -> None:
    design = sequential([0.5, 1], futility="obrien_fleming", binding=True)
    row = design.estimates(1, float(design.lower[0]) - 0.5, 1.0).set_index("kind").loc["stagewise"]
    assert 0.5 < row["p"] < 1.0
    assert row["lower"] < row["estimate"] < row["upper"]


def test_text_table_and_picture() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    design = sequential([0.5, 1], futility=("hwang_shih_decani", -2))
    assert "non-binding futility hwang_shih_decani(-2)" in design.summary()
    assert design.boundaries["look"].tolist() == [1, 2]
    assert "<table" in design._repr_html_()
    axes = design.plot()
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"efficacy", "futility"}


def test_impossible_errors_are_a_failed_state() -> None:
    design = sequential([0.02, 1], beta=0.2, futility="pocock", binding=True, spending="pocock")
    late = sequential([0.5, 1], futility=[5.0])
    assert late.failed == "a futility bound lies above the efficacy bound of its look"
    assert late.boundaries.empty
    with pytest.raises(UsageError):
        late.power()
    assert design.failed is None or design.boundaries.empty


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"information": [0.5, 0.9]}, "last one 1"),
        ({"information": [0.5, 0.5, 1]}, "does not rise"),
        ({"information": [-0.5, 1]}, "not a list of positive"),
        ({"information": []}, "not a list of positive"),
        ({"information": [math.nan, 1]}, "not a list of positive"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"alpha": 0.6, "beta": 0.6}, "add up"),
        ({"sided": 3}, "sided is 3"),
        ({"sided": 2, "futility": "pocock"}, "two-sided"),
        ({"spending": "obrien-fleming"}, "not known"),
        ({"spending": "hwang_shih_decani"}, "needs a parameter"),
        ({"spending": ("pocock", 1)}, "takes no parameter"),
        ({"spending": ("power", -1.0)}, "not positive"),
        ({"futility": "classical_pocock"}, "no function that spends beta"),
        ({"futility": [0.0, 1.0]}, "2 futility bounds"),
        ({"futility": "pocock", "binding": True, "spending": "classical_pocock"}, "classical"),
        ({"futility": "pocock", "futility_looks": [3]}, "not looks"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], words: str) -> None:
    options: dict[str, Any] = {"information": [0.5, 1], **change}
    with pytest.raises(UsageError) as caught:
        sequential(options.pop("information"), **options)
    assert words in f"{caught.value} {caught.value.remedy}"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda d: d.conditional_power(2, 1.0), "no look 2"),
        (lambda d: d.conditional_power(1, math.nan), "Z is nan"),
        (lambda d: d.conditional_power(1, 1.0, "hope"), "not known"),
        (lambda d: d.predictive_power(1, 1.0, prior=(0.0, 0.0)), "not positive"),
        (lambda d: d.estimates(3, 1.0, 1.0), "no look 3"),
        (lambda d: d.estimates(1, 1.0, 0.0), "standard error"),
        (lambda d: d.at([0.5, 0.4]), "does not rise"),
        (lambda d: d.at([0.5, 1.0], final=False), "reached"),
        (lambda d: sequential([0.5, 1], spending="classical_pocock").at([0.4]), "planned looks"),
    ],
)
def test_bad_questions_are_refused(call: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call(sequential([0.5, 1]))


@pytest.mark.slow
@pytest.mark.parametrize("binding", [False, True])
def test_alpha_holds_over_simulated_trials(binding: bool) -> None:
    """20,000 trials of 200 people without an effect, four looks, t statistics of the means."""
    design = sequential([0.25, 0.5, 0.75, 1], futility=("hwang_shih_decani", -2), binding=binding)
    rng = np.random.Generator(np.random.Philox(11))
    trials, n = 20_000, 200
    stopped = np.zeros(trials, dtype=bool)
    rejected = np.zeros(trials, dtype=bool)
    y = rng.standard_normal((trials, n))
    sign = np.where(np.arange(n) % 2, 1.0, -1.0)
    for k, share in enumerate(design.information):
        m = int(share * n)
        z = (y[:, :m] @ sign[:m]) / math.sqrt(m)
        now = ~stopped & (z >= design.upper[k])
        rejected |= now
        stopped |= now | ((z <= design.lower[k]) if binding else False)
    rate = rejected.mean()
    error = math.sqrt(0.025 * 0.975 / trials)
    print(f"binding={binding}: {rate:.4f}, Monte Carlo error {error:.4f}")
    assert abs(rate - 0.025) < 3 * error
