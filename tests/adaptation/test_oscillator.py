from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialkit.adaptation import follow, oscillator_step, start_oscillator
from trialkit.errors import UsageError


def hip(time: np.ndarray, stride_s: float) -> np.ndarray:
    turn = 2 * np.pi * time / stride_s
    return 0.2 + 0.35 * np.cos(turn) + 0.08 * np.cos(2 * turn + 0.9)


def strides_to_lock(signal: np.ndarray, stride_s: float, guess_s: float) -> float:
    """Strides after which stride time and phase stay within 5 %."""
    _, times, cycle = follow(start_oscillator(guess_s), signal, 0.01)
    n = len(signal)
    turned = (cycle - np.arange(n) * 0.01 / stride_s) % 1.0
    mean = np.exp(2j * np.pi * turned[-n // 4 :]).mean()
    away = np.abs(np.angle(np.exp(2j * np.pi * turned) / (mean / abs(mean)))) / (2 * np.pi)
    off = np.flatnonzero((np.abs(times / stride_s - 1) > 0.05) | (away > 0.05))
    return float((off[-1] + 1) * 0.01 / stride_s) if len(off) else 0.0


@pytest.mark.parametrize("guess", [0.75, 0.9, 1.1, 1.3])
@pytest.mark.parametrize("stride_s", [0.9, 1.2, 1.6])
def test_locks_within_five_strides(stride_s: float, guess: float) -> None:
    signal = hip(np.arange(0, 30, 0.01), stride_s)
    assert strides_to_lock(signal, stride_s, guess * stride_s) <= 5.0


@pytest.mark.parametrize("stride_s", [0.9, 1.2, 1.6])
def test_locks_to_a_real_hip(shared: Path, stride_s: float) -> None:
    data = pd.read_csv(shared / "data" / "gait_hip_knee_angles_39_boys.csv", index_col=0)
    curve = np.radians(data.filter(like="Hip").mean(axis=1).to_numpy())
    phase = (np.arange(0, 30, 0.01) / stride_s) % 1.0
    signal = np.interp(phase, np.arange(21) / 20, [*curve, curve[0]])
    assert strides_to_lock(signal, stride_s, 1.3 * stride_s) <= 5.0


def test_signal_is_reproduced() -> None:
    time = np.arange(0, 60, 0.01)
    signal = hip(time, 1.2)
    state = start_oscillator(1.4)
    for q in signal[:-1]:
        state = oscillator_step(state, float(q), 0.01)
    assert state.output == pytest.approx(signal[-1], abs=0.03)
    assert state.offset == pytest.approx(0.2, abs=0.02)
    assert 2 * np.pi / state.omega == pytest.approx(1.2, rel=0.01)


def test_a_change_of_speed_is_followed() -> None:
    signal = np.concatenate([hip(np.arange(0, 24, 0.01), 1.2), hip(np.arange(0, 20, 0.01), 1.0)])
    _, times, _ = follow(start_oscillator(1.2), signal, 0.01)
    assert np.abs(times[2000:2400] / 1.2 - 1).max() < 0.03
    assert np.abs(times[2400 + 500 :] / 1.0 - 1).max() < 0.05


@pytest.mark.parametrize("scale", [180 / np.pi, 0.01])
def test_the_unit_of_the_signal_does_not_matter(scale: float) -> None:
    signal = hip(np.arange(0, 10, 0.01), 1.2)
    _, one, phase = follow(start_oscillator(1.4, amplitude=0.1), signal, 0.01)
    _, other, turned = follow(start_oscillator(1.4, amplitude=0.1 * scale), scale * signal, 0.01)
    assert np.allclose(one, other, rtol=1e-6)
    assert np.allclose(phase, turned, atol=1e-6)


@settings(max_examples=30)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=100))
def test_any_signal_leaves_phase_and_frequency_bounded(values: list[float]) -> None:
    state, times, cycle = follow(start_oscillator(1.2), values, 0.01)
    assert np.all((times >= 0.3 - 1e-9) & (times <= 10 + 1e-9))
    assert np.all((cycle >= 0) & (cycle < 1))
    assert np.isfinite([state.output, state.offset, *state.amplitudes]).all()


def test_missing_samples_let_the_phase_go_on() -> None:
    signal = hip(np.arange(0, 24, 0.01), 1.2)
    holed = signal.copy()
    holed[1500:1560] = np.nan
    _, times, cycle = follow(start_oscillator(1.2), holed, 0.01)
    _, _, whole = follow(start_oscillator(1.2), signal, 0.01)
    apart = np.abs((cycle[1500:1560] - whole[1500:1560] + 0.5) % 1.0 - 0.5)
    assert apart.max() < 0.05
    assert np.isfinite(times).all()


@pytest.mark.parametrize("options", [{"harmonics": 0}, {"amplitude": 0.0}], ids=str)
def test_a_start_needs_something(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        start_oscillator(1.2, **options)
    with pytest.raises(UsageError):
        start_oscillator(0.0)
