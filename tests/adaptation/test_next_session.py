from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialkit.adaptation import next_settings


@dataclass(frozen=True)
class Limits:
    minimum: float
    maximum: float
    max_step: float


ENVELOPES = {
    "speed_m_s": Limits(0.333, 0.833, 0.028),
    "support_fraction": Limits(0.20, 0.50, 0.05),
    "guidance": Limits(0.20, 1.0, 0.10),
}
NOW = {"speed_m_s": 0.5, "support_fraction": 0.4, "guidance": 0.8}
FINE = {"rpe": 12.0, "trips": 0.0, "paretic_load_share": 0.45, "tracking_error_rad": 0.04}


def moved(**given: object) -> dict[str, float]:
    call = {"settings": NOW, "envelopes": ENVELOPES, "measures": FINE, **given}
    proposals = next_settings(call.pop("settings"), call.pop("envelopes"), **call)
    return {p.setting: round(p.proposed - p.old, 6) for p in proposals if p.proposed != p.old}


def test_speed_goes_first() -> None:
    assert moved() == {"speed_m_s": 0.028}


def test_then_support_then_guidance() -> None:
    top = {**NOW, "speed_m_s": 0.833}
    assert moved(settings=top) == {"support_fraction": -0.05}
    weak = {**FINE, "paretic_load_share": 0.3}
    assert moved(settings=top, measures=weak) == {"guidance": -0.1}
    poor = {**weak, "tracking_error_rad": 0.09}
    assert moved(settings=top, measures=poor) == {}


@pytest.mark.parametrize(
    "sign", [{"rpe": 16.0}, {"trips": 2.0}, {"step_asymmetry": 0.25, "step_asymmetry_before": 0.2}]
)
def test_too_much_goes_back(sign: dict[str, float]) -> None:
    measures = {**FINE, **sign}
    assert moved(measures=measures) == {"guidance": 0.1}
    assert moved(measures=measures, settings={**NOW, "guidance": 1.0}) == {"support_fraction": 0.05}
    full = {**NOW, "guidance": 1.0, "support_fraction": 0.5}
    assert moved(measures=measures, settings=full) == {"speed_m_s": -0.028}


@pytest.mark.parametrize(
    ("measures", "state"),
    [
        ({**FINE, "rpe": 14.0}, {}),
        ({**FINE, "trips": 1.0}, {}),
        ({k: v for k, v in FINE.items() if k != "rpe"}, {}),
        (FINE, {"fatigue": 0.05}),
        (FINE, {"slope": -0.001}),
        (FINE, {"slope": -0.001, "slope_sd": 0.0005}),
        ({**FINE, "completed": 0.0}, {}),
    ],
    ids=["rpe 14", "a trip", "no rpe", "tired", "falling", "surely falling", "stopped"],
)
def test_it_stays(measures: dict[str, float], state: dict[str, float]) -> None:
    assert moved(measures=measures, daily_state=state) == {}


def test_what_is_noise_holds_nothing_back() -> None:
    assert moved(daily_state={"slope": -0.001, "slope_sd": 0.002}) == {"speed_m_s": 0.028}
    small = {**FINE, "step_asymmetry": 0.02, "step_asymmetry_before": 0.005}
    assert moved(measures=small) == {"speed_m_s": 0.028}


def test_the_leg_that_carries_less_stands_for_an_unknown_side() -> None:
    top = {**NOW, "speed_m_s": 0.833}
    unknown = {k: v for k, v in FINE.items() if k != "paretic_load_share"}
    assert moved(settings=top, measures={**unknown, "lesser_load_share": 0.42}) == {
        "support_fraction": -0.05
    }
    assert moved(settings=top, measures={**unknown, "lesser_load_share": 0.38}) == {
        "guidance": -0.1
    }


def test_a_rounding_error_is_no_step() -> None:
    ended = {"speed_m_s": 0.833, "support_fraction": 0.2 + 1e-16, "guidance": 0.2 + 3e-16}
    assert all(
        p.reason.startswith(("stays", "the envelope"))
        for p in next_settings(ended, ENVELOPES, measures=FINE)
    )


def test_every_proposal_has_a_reason_and_needs_a_person() -> None:
    proposals = next_settings(NOW, ENVELOPES, measures=FINE)
    assert [p.setting for p in proposals] == ["speed_m_s", "support_fraction", "guidance"]
    assert all(p.needs_person for p in proposals)
    assert proposals[0].reason == "one step on: RPE was 12 and there was no trip"
    assert proposals[1].reason == "stays: one setting at a time"
    tired = next_settings(NOW, ENVELOPES, measures=FINE, daily_state={"fatigue": 0.05})
    assert "fatigue was 0.05" in tired[0].reason


def test_a_setting_without_an_envelope_is_not_listed() -> None:
    only = {"guidance": ENVELOPES["guidance"]}
    assert [p.setting for p in next_settings(NOW, only, measures=FINE)] == ["guidance"]
    assert next_settings({}, ENVELOPES, measures=FINE) == []


def test_a_value_outside_is_brought_in() -> None:
    proposals = next_settings({"guidance": 0.1}, ENVELOPES, measures={"rpe": 14.0})
    assert proposals[0].proposed == 0.2
    assert "envelope is 0.2 to 1" in proposals[0].reason


@given(
    st.fixed_dictionaries({name: st.floats(0, 1) for name in NOW}),
    st.dictionaries(
        st.sampled_from([*FINE, "step_asymmetry", "step_asymmetry_before"]), st.floats(0, 20)
    ),
    st.dictionaries(st.sampled_from(["slope", "fatigue"]), st.floats(-0.1, 0.1)),
)
def test_always_inside_and_at_most_one_step(
    settings: dict[str, float], measures: dict[str, float], state: dict[str, float]
) -> None:
    proposals = next_settings(settings, ENVELOPES, measures=measures, daily_state=state)
    steps = 0
    for p in proposals:
        box = ENVELOPES[p.setting]
        assert box.minimum <= p.proposed <= box.maximum
        if box.minimum <= p.old <= box.maximum and p.proposed != p.old:
            steps += 1
            assert abs(p.proposed - p.old) <= box.max_step + 1e-6
    assert steps <= 1
