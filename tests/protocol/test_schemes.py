"""Schemes that an envelope names: options, measures, and what is only unusual."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trialkit.protocol import check_protocol, load_protocol
from trialkit.protocol.notices import notices
from trialkit.protocol.schemes import SCHEMES

Change = Callable[..., Path]

GUIDANCE = "max_step: 0.10, min_interval_s: 60, confirm: none"
SUPPORT = "max_step: 0.05, min_interval_s: 120, confirm: therapist"
FORGET = (
    ", scheme: forgetting_factor, measure: tracking_error_rad, options: {forget: 0.9, gain: 0.5}"
)
BAND = (
    ", scheme: adaptive_support, measure: heart_rate_bpm, "
    "options: {target_low: 90, target_high: 110, gain: 0.01}"
)
DAILY = (
    ", scheme: daily_state, options: "
    "{process_level: 0.1, process_slope: 0.01, measurement: 0.5, ease: 0.05, add: 0.05}"
)


@pytest.fixture
def with_scheme(changed: Change) -> Callable[..., Path]:
    def make(text: str, at: str = GUIDANCE) -> Path:
        return changed((at, at + text))

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
    assert set(named[0].options) == {o.name for o in SCHEMES[named[0].scheme or ""].options}


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
    "no_measure": (
        FORGET.replace(" measure: tracking_error_rad,", ""),
        "adaptation[2]",
        "follows a measure",
        "Add measure",
    ),
    "measure_that_nobody_knows": (
        FORGET.replace("tracking_error_rad", "tracking_error"),
        "adaptation[2].measure",
        "nobody enters tracking_error",
        "Did you mean tracking_error_rad?",
    ),
    "measure_of_a_scheme_without": (
        DAILY + ", measure: rpe",
        "adaptation[2].measure",
        "follows no measure",
        "Remove it",
    ),
    "gain_of_zero": (
        FORGET.replace("gain: 0.5", "gain: 0"),
        "adaptation[2].options.gain",
        "gain must be above 0",
        "Correct",
    ),
    "forget_above_one": (
        FORGET.replace("forget: 0.9", "forget: 1.2"),
        "adaptation[2].options.forget",
        "between",
        "Correct",
    ),
    "missing_option": (
        FORGET.replace("forget: 0.9, ", ""),
        "adaptation[2].options",
        "needs forget",
        "every option",
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


def test_a_band_must_ascend(with_scheme: Callable[..., Path]) -> None:
    findings = check_protocol(with_scheme(BAND.replace("90", "120"), SUPPORT))
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
    protocol = load_protocol(changed((", donning_minutes]", "]")))
    assert [n.where for n in notices(protocol)] == ["stop_rules", "session.donning_minutes"]
