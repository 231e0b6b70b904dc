"""Known signs: ranges, units that look like another, and the checks that use them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trialkit._content import content_folder
from trialkit.protocol import check_protocol, load_protocol
from trialkit.protocol.signs import SIGNS, sign_fault, unknown_sign

Change = Callable[..., Path]

BP_HIGH = "{id: bp-high, sign: systolic_mmhg, when: during, above: 200"
SPO2 = "{id: spo2, sign: spo2_percent, when: during, below: 88"
RPE = "{id: rpe, sign: rpe, when: during, above: 16"
PAIN = "{id: pain, sign: pain_0_10, when: during, above: 4"

FAULTS = {
    "pressure_in_kpa": (
        BP_HIGH,
        BP_HIGH.replace("200", "26.7"),
        "stop_rules[7].above",
        "26.7 is not possible for systolic_mmhg",
        "It looks like kPa: 26.7 is 200.3 here.",
    ),
    "saturation_as_a_fraction": (
        SPO2,
        SPO2.replace("88", "0.88"),
        "stop_rules[9].below",
        "0.88 is not possible",
        "It looks like a fraction: 0.88 is 88 here.",
    ),
    "exertion_on_cr10": (
        RPE,
        RPE.replace("16", "5"),
        "stop_rules[10].above",
        "5 is not possible for rpe",
        "Borg CR10",
    ),
    "pain_of_a_hundred": (
        PAIN,
        PAIN.replace("4", "40"),
        "stop_rules[11].above",
        "40 is not possible",
        "It looks like 0 to 100: 40 is 4 here.",
    ),
    "a_rule_that_never_fires": (
        RPE,
        RPE.replace("16", "20"),
        "stop_rules[10].above",
        "the rule never fires",
        "inside 6 to 20",
    ),
    "no_such_value": (
        RPE,
        RPE.replace("16", "25"),
        "stop_rules[10].above",
        "25 is not possible",
        "Give a value from 6 to 20",
    ),
    "condition_on_cr10": (
        "advance_if: [rpe <= 13, trips == 0]",
        "advance_if: [rpe <= 4, trips == 0]",
        "progression.order[0].advance_if[0]",
        "4 is not possible for rpe",
        "Borg CR10",
    ),
    "unknown_prompt": (
        "prompts: [rpe, pain_0_10, trips",
        "prompts: [rpe, pain_0_10, mood, trips",
        "session.blocks[1].prompts[2]",
        "mood is no known sign",
        "Use one of systolic_mmhg",
    ),
    "prompt_in_another_unit": (
        "screening: [systolic_mmhg, ",
        "screening: [systolic_mmhg, systolic_kpa, ",
        "session.screening[1]",
        "systolic_kpa is no known sign",
        "Use systolic_mmhg (1 kPa is 7.5 mmHg).",
    ),
    "donning_in_seconds": (
        "donning_minutes: [5, 15]",
        "donning_minutes: [300, 900]",
        "session.donning_minutes",
        "It looks like seconds: 300 is 5 here.",
        "in minutes",
    ),
    "doffing_reversed": (
        "doffing_minutes: [2, 10]",
        "doffing_minutes: [10, 2]",
        "session.doffing_minutes",
        "the range 10 to 2 is empty",
        "Exchange",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bound_that_cannot_be_is_found_with_a_remedy(changed: Change, name: str) -> None:
    old, new, where, message, remedy = FAULTS[name]
    findings = check_protocol(changed((old, new)))
    assert [f.where for f in findings] == [where]
    assert message in findings[0].message
    assert remedy in findings[0].remedy
    assert findings[0].line is not None


def test_what_is_entered_is_held_against_the_range() -> None:
    assert sign_fault("systolic_mmhg", 130) is None
    assert "kPa: 17 is 127.5" in (sign_fault("systolic_mmhg", 17) or "")
    assert "6 to 20" in (sign_fault("rpe", 3) or "")
    assert sign_fault("rpe", float("nan")) is not None
    assert sign_fault("tracking_error_rad", 99) is None


def test_every_mistaken_scale_lies_outside_the_range_it_is_mistaken_for() -> None:
    for sign in SIGNS.values():
        if sign.mistaken is None:
            continue
        for value in (sign.mistaken.minimum, sign.mistaken.maximum):
            inside = sign.minimum <= value <= sign.maximum
            assert not inside, sign.name
            meant = value * sign.mistaken.factor + sign.mistaken.offset
            assert 0.85 * sign.minimum <= meant <= 1.1 * sign.maximum, sign.name


def test_the_nearest_sign_is_named() -> None:
    assert unknown_sign("systolic_mmgh") == "Did you mean systolic_mmhg?"
    assert "Borg" in unknown_sign("borg_cr10")


@pytest.mark.parametrize("path", sorted(content_folder("protocols").glob("*.yaml")), ids=str)
def test_donning_is_never_part_of_the_planned_minutes(path: Path) -> None:
    protocol = load_protocol(path)
    assert protocol.planned_minutes == sum(b.minutes for b in protocol.session.blocks)
