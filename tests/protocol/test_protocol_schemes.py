"""Schemes that an envelope names: options, measures, and what is only unusual."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trialkit.adaptation import SCHEMES
from trialkit.protocol import check_protocol, load_protocol
from trialkit.protocol.notices import notices

Change = Callable[..., Path]

GUIDANCE = "max_step: 0.10, min_interval_s: 60, confirm: none"
SUPPORT = "max_step: 0.05, min_interval_s: 120, confirm: therapist"
FORGET = (
    ", scheme: forgetting_factor, measure: tracking_error_rad, options: {forget: 0.9, gain: 0.5}"
)
BAND = (
    ", scheme: adaptive_support, measure: lesser_load_share, "
    "options: {target_low: 0.4, target_high: 0.5, gain: 0.1}"
)
DAILY = (
    ", scheme: daily_state, options: "
    "{process_level: 0.1, process_slope: 0.01, measurement: 0.5, ease: 0.05, add: 0.05}"
)


CONDITIONS = {
    GUIDANCE: (
        "      advance_if: [rpe <= 13, gait_acceptable == 1]\n"
        "      regress_if: [gait_acceptable == 0]\n"
    ),
    SUPPORT: (
        "      advance_if: [rpe <= 13, knee_collapses == 0]\n"
        "      regress_if: [knee_collapses >= 1]\n"
    ),
}


@pytest.fixture
def with_scheme(changed: Change) -> Callable[..., Path]:
    def make(text: str, at: str = GUIDANCE) -> Path:
        return changed((at, at + text), (CONDITIONS[at], ""))

    return make


@pytest.mark.parametrize(
    ("text", "at"), [(FORGET, GUIDANCE), (BAND, SUPPORT), (DAILY, GUIDANCE), (DAILY, SUPPORT)]
)
def test_a_scheme_with_its_options_is_sound(
    with_scheme: Callable[..., Path], text: str, at: str
) -> None:
    path = with_scheme(text, at)
    assert check_protocol(path) == []
    named = [e for e in load_protocol(path).adaptation if e.scheme]
    assert len(named) == 1
    assert set(named[0].options) <= set(SCHEMES[named[0].scheme or ""].options)


FAULTS: dict[str, tuple[str, str, str, str]] = {
    "unknown": (
        ", scheme: forgeting_factor",
        "adaptation[2].scheme",
        "no known scheme",
        "Did you mean forgetting_factor?",
    ),
    "wrong_parameter": (
        BAND,
        "adaptation[2].scheme",
        "does not move guidance",
        "Use it for support_fraction",
    ),
    "measure_of_another_kind": (
        FORGET.replace("tracking_error_rad", "heart_rate_bpm"),
        "adaptation[2].measure",
        "cannot follow heart_rate_bpm",
        "tracking_error_rad",
    ),
    "gain_of_zero": (
        FORGET.replace("gain: 0.5", "gain: 0"),
        "adaptation[2].options.gain",
        "it must be above 0",
        "Correct",
    ),
    "forget_above_one": (
        FORGET.replace("forget: 0.9", "forget: 1.2"),
        "adaptation[2].options.forget",
        "between",
        "Correct",
    ),
    "extra_option": (
        FORGET.replace("gain: 0.5", "gain: 0.5, gian: 1"),
        "adaptation[2].options.gian",
        "no option gian",
        "Did you mean gain?",
    ),
    "options_without_a_scheme": (
        ", options: {gain: 1}",
        "adaptation[2].options",
        "no scheme that takes it",
        "Name a scheme",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_of_a_scheme_is_found(with_scheme: Callable[..., Path], name: str) -> None:
    text, where, message, remedy = FAULTS[name]
    findings = check_protocol(with_scheme(text))
    assert [f.where for f in findings] == [where]
    assert message in findings[0].message
    assert remedy in findings[0].remedy


def test_an_option_that_is_left_out_has_its_default(with_scheme: Callable[..., Path]) -> None:
    assert check_protocol(with_scheme(FORGET.replace("forget: 0.9, ", ""))) == []


def test_a_parameter_is_moved_by_one_law(changed: Change) -> None:
    (finding,) = check_protocol(changed((GUIDANCE, GUIDANCE + FORGET)))
    assert finding.where == "adaptation[2].scheme"
    assert "as well" in finding.message


def test_no_scheme_moves_the_speed_by_what_helps(changed: Change) -> None:
    speed = "max_step: 0.028, min_interval_s: 60, confirm: therapist"
    findings = check_protocol(changed((speed, speed + FORGET)))
    assert any("does not move speed_m_s" in f.message for f in findings)


def test_a_stop_rule_cannot_look_at_what_is_known_only_of_a_block(changed: Change) -> None:
    rule = "id: rpe, sign: rpe, when: during, above: 16"
    assert check_protocol(changed((rule, rule.replace("sign: rpe", "sign: lesser_load_share"))))
    advance = "advance_if: [rpe <= 13, trips == 0]"
    assert not check_protocol(changed((advance, advance[:-1] + ", lesser_load_share >= 0.4]")))


def test_a_band_must_ascend(with_scheme: Callable[..., Path]) -> None:
    findings = check_protocol(with_scheme(BAND.replace("0.4,", "0.6,"), SUPPORT))
    assert [f.where for f in findings] == ["adaptation[1].options.target_low"]


@pytest.mark.parametrize(("forget", "told"), [(0.80, 0), (0.97, 0), (0.75, 1), (0.99, 1)])
def test_an_unusual_forgetting_is_a_notice_and_no_fault(
    with_scheme: Callable[..., Any], forget: float, told: int
) -> None:
    path = with_scheme(FORGET.replace("0.9,", f"{forget},"))
    assert check_protocol(path) == []
    found = [n for n in notices(load_protocol(path)) if n.where.startswith("adaptation")]
    assert len(found) == told


def test_rules_that_nobody_confirmed_are_one_notice(changed: Change) -> None:
    path = changed(
        ("action: do_not_start, verified: false", "action: do_not_start, verified: true, source: x")
    )
    protocol = load_protocol(path)
    found = [n for n in notices(protocol) if n.where == "stop_rules"]
    assert len(found) == 1
    assert "14 of 15 stop rules are not verified" in found[0].message
    assert "bp-high-rest" not in found[0].message


def test_a_range_whose_minutes_nobody_enters_is_a_notice(changed: Change) -> None:
    protocol = load_protocol(changed((", donning_minutes, donning_staff]", ", donning_staff]")))
    assert [n.where for n in notices(protocol)] == [
        "stop_rules",
        "trial.eligibility",
        "trial.ae_reporting",
        "session.donning_minutes",
    ]


def test_staff_whose_number_nobody_enters_is_a_notice(changed: Change) -> None:
    found = notices(load_protocol(changed((", donning_staff]", "]"))))
    assert [n.where for n in found][3:] == ["staffing.donning_staff"]
    assert found[3].message.startswith("2 people are asked for")
