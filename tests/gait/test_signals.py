from __future__ import annotations

import numpy as np
import pytest

from trialkit.errors import UsageError
from trialkit.gait import cycles, emg_envelope, mean_curve, pendulum_speed_m_s, walking_rhythm

RATE = 1000.0


def bursts(n: int = 8000) -> np.ndarray:
    """Noise in 20 to 450 Hz whose size follows a half sine of 1 Hz."""
    rng = np.random.default_rng(8)
    time = np.arange(n) / RATE
    return rng.normal(size=n) * np.maximum(0.0, np.sin(2 * np.pi * time))


def test_envelope_follows_the_bursts() -> None:
    envelope = emg_envelope(bursts(), RATE)
    time = np.arange(len(envelope)) / RATE
    shape = np.maximum(0.0, np.sin(2 * np.pi * time))
    assert np.corrcoef(envelope, shape)[0, 1] > 0.95
    assert envelope.min() >= 0


def test_envelope_is_not_shifted_in_time() -> None:
    raw = np.zeros(4001)
    carrier = np.sin(2 * np.pi * 100 * np.arange(4001) / RATE)
    window = np.exp(-(((np.arange(4001) - 2000) / 150) ** 2))
    raw += carrier * window
    envelope = emg_envelope(raw, RATE)
    assert abs(int(np.argmax(envelope)) - 2000) <= 3
    # the mean of a rectified sine is 2/pi of its amplitude; the window is slow against 6 Hz
    assert envelope.max() == pytest.approx(2 / np.pi, rel=0.15)


def test_envelope_keeps_the_unit_and_drops_the_offset() -> None:
    raw = bursts()
    one = emg_envelope(raw, RATE)
    assert np.allclose(emg_envelope(1000 * raw, RATE), 1000 * one, rtol=1e-9)
    assert np.allclose(emg_envelope(raw + 5.0, RATE), one, atol=1e-9)


def test_missing_samples_stay_missing() -> None:
    raw = bursts()
    raw[3000:3100] = np.nan
    raw[3150:3200] = np.nan  # the 50 samples between are too few to filter
    envelope = emg_envelope(raw, RATE)
    assert np.isnan(envelope[3000:3200]).all()
    assert np.isfinite(envelope[:3000]).all()
    assert np.isfinite(envelope[3200:]).all()
    alone = emg_envelope(raw[:3000], RATE)
    assert np.allclose(envelope[:3000], alone)


def test_cut_offs_must_fit_the_rate() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        emg_envelope(bursts(), 500.0)


def test_cycles_of_a_known_curve() -> None:
    time = np.arange(0, 12, 0.01)
    strikes = np.arange(0.3, 11.0, 1.2)
    values = np.cos(2 * np.pi * (time - 0.3) / 1.2)
    rows = cycles(time, values, strikes)
    assert rows.shape == (len(strikes) - 1, 101)
    assert np.allclose(rows, np.cos(2 * np.pi * np.linspace(0, 1, 101)), atol=1e-3)
    values[(time > 3.0) & (time < 3.1)] = np.nan
    assert len(cycles(time, values, strikes)) == len(strikes) - 2
    assert cycles(time, values, [1.0]).shape == (0, 101)


def test_range_of_the_mean_is_not_the_mean_of_ranges() -> None:
    phase = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    curve = mean_curve([np.sin(phase), np.sin(phase + 1.0)])
    assert np.allclose(curve.range_of_motion, 2.0, atol=2e-3)
    assert np.ptp(curve.mean) == pytest.approx(2 * np.cos(0.5), abs=2e-3)
    with pytest.raises(UsageError):
        mean_curve([[1.0, 2.0]])


def back(stride_s: float, seconds: float = 12.0, rate: float = 100.0) -> np.ndarray:
    """Vertical acceleration: mostly the step, a little of the stride."""
    time = np.arange(0, seconds, 1 / rate)
    rng = np.random.default_rng(2)
    step = np.cos(4 * np.pi * time / stride_s) + 0.2 * np.cos(2 * np.pi * time / stride_s + 0.3)
    return 1.0 + 0.2 * step + 0.01 * rng.normal(size=len(time))


@pytest.mark.parametrize("stride_s", [0.9, 1.193, 1.7])
def test_rhythm_of_a_known_walk(stride_s: float) -> None:
    rhythm = walking_rhythm(back(stride_s), 100.0)
    assert rhythm.stride_time_s == pytest.approx(stride_s, rel=0.005)
    assert rhythm.cadence_steps_min == pytest.approx(120 / stride_s, rel=0.005)
    assert rhythm.stride_regularity > 0.9


def test_noise_has_no_rhythm() -> None:
    noise = np.random.default_rng(1).normal(size=1500)
    assert np.isnan(walking_rhythm(noise, 100.0, least_regularity=0.5).cadence_steps_min)
    assert np.isnan(walking_rhythm(np.ones(500), 100.0).stride_time_s)


def test_pendulum_gives_back_the_pendulum() -> None:
    time = np.arange(0, 20, 0.01)
    rise, height, step_s = 0.03, 0.95, 0.6
    acceleration = -0.5 * rise * (2 * np.pi / step_s) ** 2 * np.cos(2 * np.pi * time / step_s)
    length = 2 * np.sqrt(2 * height * rise - rise**2)
    speed = pendulum_speed_m_s(
        acceleration, 100.0, sensor_height_m=height, correction=1.0, bout_s=(4, 16)
    )
    assert speed == pytest.approx(length / step_s, rel=0.02)


def test_a_bout_must_be_whole_and_inside() -> None:
    acceleration = back(1.2)
    for bout in [(0.0, 2.0), (-1.0, 5.0), (8.0, 13.0)]:
        with pytest.raises(UsageError, match="no whole bout"):
            walking_rhythm(acceleration, 100.0, bout_s=bout)
    acceleration[50] = np.nan
    with pytest.raises(UsageError, match="no whole bout"):
        pendulum_speed_m_s(acceleration, 100.0, sensor_height_m=0.9)
