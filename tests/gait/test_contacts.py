from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from walking import Walk

from trialkit.errors import UsageError
from trialkit.gait import foot_contacts


def test_strikes_and_offs_are_where_they_were_made() -> None:
    walk = Walk()
    found = foot_contacts(walk.time, walk.left)
    rise = 0.8 / np.pi * np.arcsin(20 / 800)  # a half sine needs this long to reach 20 N
    fall = 0.8 - 0.8 / np.pi * np.arcsin(15 / 800)
    assert np.allclose(found.strikes_s, walk.left_at + rise, atol=2e-4)
    assert np.allclose(found.offs_s, walk.left_at + fall, atol=2e-4)
    assert np.allclose(found.stride_times_s, 1.2, atol=1e-3)
    assert (found.gaps, found.brief_contacts, found.brief_swings) == (0, 0, 0)


def test_noise_between_the_thresholds_makes_no_step() -> None:
    walk = Walk(rate_hz=5000.0)
    noise = np.random.default_rng(3).uniform(-2.4, 2.4, len(walk.time))
    one = foot_contacts(walk.time, walk.left + noise, off_n=20.0, min_contact_s=0, min_swing_s=0)
    two = foot_contacts(walk.time, walk.left + noise, min_contact_s=0, min_swing_s=0)
    assert len(one.strikes_s) > 20
    assert len(two.strikes_s) == 20


def test_brief_contacts_and_swings_are_counted() -> None:
    walk = Walk()
    force = walk.left.copy()
    force[(walk.time > 1.45) & (walk.time < 1.5)] = 50.0  # in swing
    force[(walk.time > 2.0) & (walk.time < 2.03)] = 0.0  # in stance
    found = foot_contacts(walk.time, force)
    assert len(found.strikes_s) == 20
    assert (found.brief_contacts, found.brief_swings) == (1, 1)


def test_a_recording_that_begins_in_stance_has_no_strike_there() -> None:
    walk = Walk()
    inside = walk.time > 0.9
    found = foot_contacts(walk.time[inside], walk.left[inside])
    assert len(found.strikes_s) == 19
    assert len(found.offs_s) == 20


@pytest.mark.parametrize("how", ["missing", "cut", "seq"])
def test_a_gap_ends_a_stride(how: str) -> None:
    walk = Walk()
    hole = (walk.time > 5.5) & (walk.time < 7.5)
    if how == "missing":
        found = foot_contacts(walk.time, np.where(hole, np.nan, walk.left))
    elif how == "cut":
        found = foot_contacts(walk.time[~hole], walk.left[~hole])
    else:  # the clock hides the gap, the sequence numbers do not
        seq = np.arange(len(walk.time))[~hole]
        time = np.arange(len(seq)) * 0.002
        found = foot_contacts(time, walk.left[~hole], seq=seq)
    assert found.gaps == 1
    assert len(found.stride_times_s) < 19
    assert np.allclose(found.stride_times_s, 1.2, atol=1e-3)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.05)), max_size=12))
def test_gaps_never_invent_a_stride(holes: list[tuple[float, float]]) -> None:
    walk = Walk(rate_hz=100.0)
    force = walk.left.copy()
    for at, width in holes:
        a = int(at * len(force))
        force[a : a + int(width * len(force))] = np.nan
    found = foot_contacts(walk.time, force)
    assert len(found.strikes_s) <= 20
    for time in found.stride_times_s:
        # a strike lost beside a gap cannot be bridged: the gap ended the run
        assert abs(time - 1.2) < 0.02


@pytest.mark.parametrize(("strike", "off"), [(20, 0), (20, 21), (-1, -2)])
def test_thresholds_are_ordered(strike: float, off: float) -> None:
    with pytest.raises(UsageError, match="not ordered"):
        foot_contacts([0, 1, 2], [0, 1, 2], strike_n=strike, off_n=off)


@pytest.mark.parametrize("time", [[0.0], [0.0, 0.0, 0.0], [2.0, 1.0, 0.0]])
def test_time_must_grow(time: list[float]) -> None:
    with pytest.raises(UsageError):
        foot_contacts(time, [0.0] * len(time))
