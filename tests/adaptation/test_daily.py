from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.adaptation import daily

VARIANCES = [
    {"process_level": 1e-3, "process_slope": 1e-5, "process_fatigue": 4e-3, "measurement": 1e-2},
    {"process_level": 1e-6, "process_slope": 1e-8, "process_fatigue": 2e-5, "measurement": 3e-5},
    {"process_level": 0.5, "process_slope": 0.0, "process_fatigue": 0.0, "measurement": 1.0},
]


def series(n: int = 80, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return -0.3 + np.cumsum(rng.normal(0.004, 0.02, n)) + rng.normal(0, 0.05, n)


def unobserved(values: np.ndarray, variances: dict[str, float], kept: float) -> object:
    """The same model in statsmodels: a local linear trend and an AR(1) of the other sign."""
    model = sm.tsa.UnobservedComponents(values, "lltrend", autoregressive=1)
    model.ssm.initialize_known(
        np.zeros(3),
        np.diag([daily.PRIOR_LEVEL, daily.PRIOR_SLOPE, variances["process_fatigue"]]),
    )
    model.ssm.loglikelihood_burn = 0
    model.ssm.tolerance = 0.0  # else it takes the gain as settled after some steps
    by_name = {
        "sigma2.irregular": variances["measurement"],
        "sigma2.level": variances["process_level"],
        "sigma2.trend": variances["process_slope"],
        "sigma2.ar": variances["process_fatigue"],
        "ar.L1": kept,
    }
    return model.smooth([by_name[name] for name in model.param_names])


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("variances", VARIANCES, ids=["middle", "default", "no fatigue"])
def test_likelihood_and_states_are_those_of_statsmodels(
    variances: dict[str, float], kept: float
) -> None:
    values = series()
    other = unobserved(values, variances, kept)
    mine = daily.log_likelihood(values.tolist(), kept=kept, **variances)
    assert mine == pytest.approx(other.llf, abs=1e-6)
    noise = {k: v for k, v in variances.items() if k != "measurement"}
    state = daily.begin(variances["process_fatigue"])
    for i, value in enumerate(values.tolist()):
        if i:
            state = daily.predict(state, kept=kept, **noise)
        state, _ = daily.update(state, value, variances["measurement"])
        filtered = other.filtered_state[:, i]
        assert [state.level, state.slope, -state.fatigue] == pytest.approx(filtered, abs=1e-9)
    end = other.filtered_state_cov[:, :, -1]
    assert state.p_ll == pytest.approx(end[0, 0], abs=1e-10)
    assert state.p_ss == pytest.approx(end[1, 1], abs=1e-10)
    assert state.p_ff == pytest.approx(end[2, 2], abs=1e-10)
    assert state.p_lf == pytest.approx(-end[0, 2], abs=1e-10)


def test_without_fatigue_it_is_the_plain_local_linear_trend() -> None:
    values = series(seed=9)
    model = sm.tsa.UnobservedComponents(values, "lltrend")
    model.ssm.initialize_known(np.zeros(2), np.diag([daily.PRIOR_LEVEL, daily.PRIOR_SLOPE]))
    model.ssm.loglikelihood_burn = 0
    mine = daily.log_likelihood(
        values.tolist(),
        process_level=2e-3,
        process_slope=1e-4,
        process_fatigue=0.0,
        measurement=4e-3,
        kept=0.3,
    )
    assert model.param_names == ["sigma2.irregular", "sigma2.level", "sigma2.trend"]
    assert mine == pytest.approx(model.loglike([4e-3, 2e-3, 1e-4]), abs=1e-6)


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(1, 1e4))
def test_rest_only_ever_takes_fatigue_away(rest: float, more: float, recovery: float) -> None:
    kept = daily.kept_fatigue(rest, recovery)
    assert 0 <= daily.kept_fatigue(rest + more, recovery) <= kept <= 1
    assert daily.kept_fatigue(recovery, recovery) == 0.5
    assert daily.kept_fatigue(0.0, recovery) == 1.0


@settings(max_examples=50)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.floats(0, 1))
def test_the_covariance_stays_one(values: list[float], kept: float) -> None:
    state = daily.begin(2e-5)
    for value in values:
        state, variance = daily.update(state, value, 3e-5)
        matrix = np.array(
            [
                [state.p_ll, state.p_ls, state.p_lf],
                [state.p_ls, state.p_ss, state.p_sf],
                [state.p_lf, state.p_sf, state.p_ff],
            ]
        )
        assert variance > 0
        assert np.linalg.eigvalsh(matrix).min() > -1e-12
        state = daily.predict(
            state, process_level=1e-6, process_slope=1e-8, process_fatigue=2e-5, kept=kept
        )


def test_fatigue_is_told_from_a_loss_of_ability() -> None:
    """A drop that goes with rest is fatigue; one that stays is the level."""
    noise = {"process_level": 1e-5, "process_slope": 1e-9, "process_fatigue": 4e-4}
    state = daily.begin(4e-4)

    def bouts(abilities: list[float], kept: float) -> None:
        nonlocal state
        for ability in abilities:
            state = daily.predict(state, kept=kept, **noise)
            state, _ = daily.update(state, ability, 1e-5)

    bouts([-0.10] * 30, 0.5)
    rested = state.level
    bouts([-0.11, -0.13, -0.15], 1.0)  # no rest between: tiring
    assert state.fatigue > 0.02
    assert abs(state.level - rested) < state.fatigue / 2
    bouts([-0.10], 0.0)  # the next day
    assert abs(state.fatigue) < 0.01
    bouts([-0.15] * 40, 0.5)
    assert state.level == pytest.approx(-0.15, abs=0.015)
