"""Every kind of fault of a protocol: where, line, message and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trialkit._content import content_folder
from trialkit.errors import Finding, ProtocolFindings
from trialkit.protocol import check_protocol, load_protocol
from trialkit.protocol.families import FAMILIES, Bound, Profile
from trialkit.protocol.forms import load_forms

Change = Callable[..., Path]
SHIPPED = sorted(content_folder("protocols").glob("*.yaml"))

WARM_UP = "speed_m_s: 0.333, support_fraction: 0.40, guidance: 1.0, prompts: [rpe]"
SPEED_LIMIT = "{parameter: speed_m_s, minimum: 0.0, maximum: 0.833, rate_per_s: 0.1}"
SUPPORT_LIMIT = "{parameter: support_fraction, minimum: 0.0, maximum: 0.60, rate_per_s: 0.05}"
SPEED_ENVELOPE = "{parameter: speed_m_s, minimum: 0.333, maximum: 0.833, max_step: 0.028"
BP_HIGH = "{id: bp-high, sign: systolic_mmhg, when: during, above: 200, action: stop"

# what is replaced, by what, text that marks the line, where, message, remedy
FAULTS = {
    "unknown_key": (
        "schedule: {sessions_per_week: 3",
        "schedule: {session_per_week: 3, sessions_per_week: 3",
        "session_per_week",
        "schedule.session_per_week",
        "unknown key",
        "Did you mean sessions_per_week?",
    ),
    "missing_key": (
        "why: >-\n  Task-specific",
        "tailoring_note: >-\n  Task-specific",
        "# One arm",
        "why",
        "required key is missing",
        "Add it",
    ),
    "duplicate_key": (
        "version: ",
        'version: "0.9"\nversion: ',
        'version: "1.0"',
        "version",
        "given twice",
        "Keep one",
    ),
    "unquoted_version": (
        'version: "1.0"',
        "version: 1.0",
        "version",
        "version",
        "string",
        'Put it in quotes: "1.0"',
    ),
    "wrong_word": (
        "delivery: therapist",
        "delivery: therapists",
        "therapists",
        "trial.arms[1].delivery",
        "not one of the possible values (given: 'therapists')",
        "Did you mean therapist?",
    ),
    "speed_key_in_km_h": (
        WARM_UP,
        "speed_km_h: 3, support_fraction: 0.40, guidance: 1.0, prompts: [rpe]",
        "speed_km_h",
        "session.blocks[0].speed_km_h",
        "not in the protocol's unit",
        "Use speed_m_s: 0.833",
    ),
    "support_key_in_percent": (
        WARM_UP,
        "speed_m_s: 0.333, bws_percent: 40, guidance: 1.0, prompts: [rpe]",
        "bws_percent",
        "session.blocks[0].bws_percent",
        "not in the protocol's unit",
        "Use support_fraction: 0.4",
    ),
    "key_without_unit": (
        WARM_UP,
        "speed: 0.333, support_fraction: 0.40, guidance: 1.0, prompts: [rpe]",
        "{id: warm-up",
        "session.blocks[0].speed",
        "does not give the unit",
        "Use speed_m_s",
    ),
    "minutes_in_seconds": (
        "kind: walk, minutes: 8",
        "kind: walk, duration_s: 480",
        "duration_s",
        "session.blocks[1].duration_s",
        "not in the protocol's unit",
        "Use minutes: 8",
    ),
    "speed_value_in_km_h": (
        WARM_UP,
        "speed_m_s: 3.0, support_fraction: 0.40, guidance: 1.0, prompts: [rpe]",
        "speed_m_s: 3.0",
        "session.blocks[0].speed_m_s",
        "outside the protocol's limits, 0 to 0.833",
        "It looks like km/h: 3 km/h is 0.833 m/s",
    ),
    "support_value_in_percent": (
        WARM_UP,
        "speed_m_s: 0.333, support_fraction: 40, guidance: 1.0, prompts: [rpe]",
        "support_fraction: 40",
        "session.blocks[0].support_fraction",
        "outside the protocol's limits",
        "It looks like percent: 40 % is 0.4",
    ),
    "limit_in_km_h": (
        SPEED_LIMIT,
        "{parameter: speed_m_s, minimum: 0.0, maximum: 3.0, rate_per_s: 0.1}",
        "maximum: 3.0",
        "limits[0].maximum",
        "beyond the device's hard limit 0.8889 (3.2 km/h; Lokomat Pro",
        "It looks like km/h: 3 km/h is 0.833 m/s",
    ),
    "limit_beyond_device": (
        SUPPORT_LIMIT,
        "{parameter: support_fraction, minimum: 0.0, maximum: 0.80, rate_per_s: 0.05}",
        "maximum: 0.80",
        "limits[1].maximum",
        "beyond the device's hard limit 0.6296 (85 kg of the heaviest",
        "Use 0.6296 or less",
    ),
    "limit_below_device": (
        SPEED_LIMIT,
        "{parameter: speed_m_s, minimum: -0.2, maximum: 0.833, rate_per_s: 0.1}",
        "minimum: -0.2",
        "limits[0].minimum",
        "beyond the device's hard limit 0",
        "Use 0 or more",
    ),
    "limit_upside_down": (
        SPEED_LIMIT,
        "{parameter: speed_m_s, minimum: 0.85, maximum: 0.833, rate_per_s: 0.1}",
        "minimum: 0.85",
        "limits[0].minimum",
        "not below the maximum",
        "Exchange or correct",
    ),
    "limit_twice": (
        "  - " + SUPPORT_LIMIT,
        "  - " + SUPPORT_LIMIT + "\n  - " + SUPPORT_LIMIT.replace("0.60", "0.50"),
        "maximum: 0.50, rate",
        "limits[2].parameter",
        "support_fraction is given twice",
        "one row a parameter",
    ),
    "limit_missing": (
        "  - " + SUPPORT_LIMIT + "\n",
        "",
        "parameters: [speed_m_s",
        "device.parameters[1]",
        "support_fraction has no limits",
        "Add a row for support_fraction to limits",
    ),
    "target_outside_limits": (
        "target: 0.833",
        "target: 0.86",
        "target: 0.86",
        "progression.order[0].target",
        "outside the protocol's limits",
        "between 0 and 0.833",
    ),
    "step_wrong_way": (
        "step: -0.05",
        "step: 0.05",
        "step: 0.05",
        "progression.order[1].step",
        "does not lead from 0.4 to 0.2",
        "sign of the way",
    ),
    "step_above_session_maximum": (
        "per_session_max: 0.083",
        "per_session_max: 0.02",
        "per_session_max: 0.02",
        "progression.order[0].per_session_max",
        "less than one step of 0.028",
        "at least the size of one step",
    ),
    "condition_unreadable": (
        "advance_if: [rpe <= 13, trips == 0]",
        "advance_if: [rpe at most 13, trips == 0]",
        "rpe at most 13",
        "progression.order[0].advance_if[0]",
        "is not a condition",
        "rpe <= 13",
    ),
    "condition_on_unknown_sign": (
        "regress_if: [rpe >= 16, trips >= 2]",
        "regress_if: [rpe >= 16, stumbles >= 2]",
        "stumbles",
        "progression.order[0].regress_if[1]",
        "nobody enters stumbles",
        "add stumbles to the prompts",
    ),
    "setpoint_of_other_parameter": (
        "parameters: [speed_m_s, support_fraction, guidance]",
        "parameters: [speed_m_s, support_fraction]",
        "{parameter: guidance, minimum: 0.20, maximum: 1.0, rate",
        "limits[2].parameter",
        "guidance is not among device.parameters",
        "Add guidance to device.parameters",
    ),
    "moving_rest": (
        "kind: rest, minutes: 2",
        "kind: rest, speed_m_s: 0.2, minutes: 2",
        "kind: rest, speed_m_s",
        "session.blocks[2].speed_m_s",
        "a rest moves",
        "use kind: walk",
    ),
    "setpoint_off_device": (
        "kind: cool_down, minutes: 3",
        "kind: overground, minutes: 3",
        "kind: overground",
        "session.blocks[6].speed_m_s",
        "a block without the device has no setpoints",
        "Remove them",
    ),
    "block_id_twice": (
        "id: walk-2",
        "id: walk-1",
        "id: walk-1, kind: walk, minutes: 8",
        "session.blocks[3].id",
        "walk-1 names two blocks",
        "own id",
    ),
    "envelope_outside_limits": (
        SPEED_ENVELOPE,
        "{parameter: speed_m_s, minimum: 0.333, maximum: 0.88, max_step: 0.028",
        "maximum: 0.88,",
        "adaptation[0].maximum",
        "0.88 is outside the protocol's limits",
        "between 0 and 0.833",
    ),
    "envelope_upside_down": (
        SPEED_ENVELOPE,
        "{parameter: speed_m_s, minimum: 0.8, maximum: 0.4, max_step: 0.028",
        "minimum: 0.8,",
        "adaptation[0].minimum",
        "not below the maximum",
        "Exchange or correct",
    ),
    "envelope_step": (
        SPEED_ENVELOPE,
        "{parameter: speed_m_s, minimum: 0.333, maximum: 0.833, max_step: 0.9",
        "max_step: 0.9,",
        "adaptation[0].max_step",
        "larger than the envelope",
        "Use at most 0.5",
    ),
    "stop_rule_without_bound": (
        BP_HIGH,
        "{id: bp-high, sign: systolic_mmhg, when: during, action: stop",
        "{id: bp-high, sign",
        "stop_rules[7]",
        "the rule bp-high has no bound, so it never fires",
        "Give above or below",
    ),
    "stop_rule_always": (
        BP_HIGH,
        "{id: bp-high, sign: systolic_mmhg, when: during, above: 90, below: 200, action: stop",
        "below: 200",
        "stop_rules[7].below",
        "every value",
        "Exchange the bounds",
    ),
    "stop_rule_action": (
        BP_HIGH,
        BP_HIGH.replace("action: stop", "action: do_not_start"),
        "when: during, above: 200",
        "stop_rules[7].action",
        "do_not_start cannot be done during",
        "Use hold or stop",
    ),
    "stop_rule_unasked_sign": (
        "sign: skin_blister, when: during",
        "sign: nausea, when: during",
        "nausea",
        "stop_rules[12].sign",
        "nausea is never known during",
        "Add nausea to the prompts of a block",
    ),
    "stop_rule_unscreened_sign": (
        "spo2_percent, pain_0_10, open_wound,",
        "spo2_percent, pain_0_10,",
        "{id: wound",
        "stop_rules[6].sign",
        "open_wound is never known before the start",
        "Add open_wound to session.screening",
    ),
    "stop_rule_twice": (
        "id: bp-low-rest",
        "id: bp-high-rest",
        "below: 90",
        "stop_rules[2].id",
        "bp-high-rest names two rules",
        "own id",
    ),
    "verified_without_source": (
        "above: 200, action: stop, verified: false",
        "above: 200, action: stop, verified: true",
        "verified: true",
        "stop_rules[7].verified",
        "names no source",
        "who confirmed it",
    ),
    "ratio_length": (
        "ratio: [1, 1]",
        "ratio: [1, 1, 1]",
        "ratio: [1, 1, 1]",
        "trial.randomisation.ratio",
        "3 numbers and the trial 2 arms",
        "one number an arm",
    ),
    "block_sizes": (
        "block_sizes: [4, 6]",
        "block_sizes: [4, 5]",
        "block_sizes",
        "trial.randomisation.block_sizes",
        "5 is no multiple of the ratio's sum 2",
        "such as [4, 6]",
    ),
    "no_block_sizes": (
        "block_sizes: [4, 6]",
        "block_sizes: []",
        "block_sizes",
        "trial.randomisation.block_sizes",
        "no block size",
        "Use [4]",
    ),
    "levels_and_cuts": (
        "levels: [slow, medium, fast]",
        "levels: [slow, fast]",
        "levels: [slow, fast]",
        "trial.randomisation.strata[0].levels",
        "2 cuts make 3 levels and 2 are named",
        "one level more",
    ),
    "cuts_not_ascending": (
        "cuts: [0.4, 0.8]",
        "cuts: [0.8, 0.4]",
        "cuts: [0.8",
        "trial.randomisation.strata[0].cuts",
        "do not ascend",
        "Sort them",
    ),
    "stratum_unknown_score": (
        "paramcd: WS10C",
        "paramcd: WS10",
        "paramcd: WS10",
        "trial.randomisation.strata[0].paramcd",
        "no instrument has WS10",
        "Did you mean WS10",
    ),
    "stratum_of_two_sources": (
        "paramcd: WS10C",
        "paramcd: WS10C\n        attribute: sex",
        "- name: speed_band",
        "trial.randomisation.strata[0]",
        "either from a score or from an attribute",
        "one of paramcd and attribute",
    ),
    "stratum_not_at_baseline": (
        "baseline: true, assessments: [10MWT, 6MWT",
        "baseline: true, assessments: [6MWT",
        "paramcd: WS10C",
        "trial.randomisation.strata[0].paramcd",
        "not known at randomisation",
        "Add 10MWT to the baseline visit",
    ),
    "arm_unknown": (
        "arm: ROBOTIC",
        "arm: ROBOT",
        "arm: ROBOT",
        "arm",
        "ROBOT is no arm of the trial",
        "Did you mean ROBOTIC?",
    ),
    "arm_code_twice": (
        "{code: CONVENTIONAL, label",
        "{code: ROBOTIC, label",
        "label: Conventional",
        "trial.arms[1].code",
        "ROBOTIC is given to two arms",
        "own code",
    ),
    "unknown_instrument": (
        "window_days: [-7, 7], assessments: [10MWT",
        "window_days: [-7, 7], assessments: [10MTW",
        "10MTW",
        "visits[1].assessments[0]",
        "no instrument 10MTW",
        "Did you mean 10MWT?",
    ),
    "no_baseline_value": (
        "baseline: true, assessments: [10MWT, 6MWT, TUG, BBS, ABC]",
        "baseline: true, assessments: [10MWT, 6MWT, TUG, BBS]",
        "{code: W4,",
        "visits[1].assessments[4]",
        "ABC is not assessed at baseline",
        "Add ABC to the baseline visit",
    ),
    "visit_code_twice": (
        "{code: W8,",
        "{code: W4,",
        "label: Week 8",
        "visits[2].code",
        "W4 is given to two visits",
        "own code",
    ),
    "visits_out_of_order": (
        "day: 56",
        "day: 20",
        "day: 20",
        "visits[2].day",
        "W8 (day 20) does not come after W4 (day 28)",
        "in the order of their days",
    ),
    "windows_overlap": (
        "day: 56, window_days: [-7, 7]",
        "day: 56, window_days: [-21, 7]",
        "[-21, 7]",
        "visits[2].window_days",
        "windows of W4 (to day 35) and W8 (from day 35) overlap",
        "End the one before day 35",
    ),
    "window_without_its_day": (
        "day: 56, window_days: [-7, 7]",
        "day: 56, window_days: [2, 7]",
        "[2, 7]",
        "visits[2].window_days",
        "does not hold the visit's own day",
        "as 0 or less",
    ),
    "no_baseline": (
        "baseline: true, ",
        "",
        "visits:",
        "visits",
        "no visit is the baseline",
        "baseline: true",
    ),
    "two_baselines": (
        "day: 28, ",
        "day: 28, baseline: true, ",
        "{code: W4,",
        "visits[1].baseline",
        "second visit is the baseline",
        "Mark one visit",
    ),
    "diary_too_long": (
        "to_day: 182",
        "to_day: 365",
        "to_day: 365",
        "diaries[0].to_day",
        "after the last visit's window (day 196)",
        "End it by the last visit",
    ),
    "diary_is_a_score": (
        "paramcd: FALL,",
        "paramcd: BBSTOT,",
        "paramcd: BBSTOT",
        "diaries[0].paramcd",
        "is a score of an instrument",
        "PARAMCD of its own",
    ),
    "course_after_last_visit": (
        "weeks: 12",
        "weeks: 40",
        "weeks: 40",
        "schedule.weeks",
        "end after the last visit's window (day 196)",
        "Shorten the course",
    ),
    "fidelity_not_planned": (
        "min_moving_minutes: 20",
        "min_moving_minutes: 45",
        "min_moving_minutes",
        "fidelity.min_moving_minutes",
        "45 minutes of moving are asked and 30 planned",
        "Use 30 or less",
    ),
    "no_device_section": (
        "device:\n  family: treadmill_orthosis\n"
        "  parameters: [speed_m_s, support_fraction, guidance]\n",
        "",
        "arm: ROBOTIC",
        "arm",
        "the file has no device section",
        "Add device",
    ),
}


def line_with(path: Path, marker: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, start=1) if marker in line)


def at(findings: list[Finding], where: str) -> Finding:
    found = [f for f in findings if f.where == where]
    assert found, [str(f) for f in findings]
    return found[0]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_shipped_protocols_are_sound(path: Path) -> None:
    assert check_protocol(path) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault: str, changed: Change) -> None:
    old, new, marker, where, message, remedy = FAULTS[fault]
    path = changed((old, new))
    findings = check_protocol(path)
    finding = at(findings, where)
    assert message in finding.message
    assert remedy in finding.remedy
    expected = [i for i, text in enumerate(path.read_text().splitlines(), 1) if marker in text]
    assert finding.line in expected
    with pytest.raises(ProtocolFindings) as caught:
        load_protocol(path)
    assert caught.value.findings == findings
    assert caught.value.exit_status == 3


def test_every_fault_at_once(changed: Change) -> None:
    path = changed(
        ("version: ", 'versoin: "1"\nversion: '),
        (WARM_UP, "speed_km_h: 3, support_fraction: 40, guidance: 1.0, prompts: [rpe]"),
        ("ratio: [1, 1]", "ratio: [1, 2, 3]"),
        ("day: 56", "day: fifty-six"),
        ("day: 84, window_days: [-7, 7]", "day: 84, window_days: [-70, 7]"),
        (BP_HIGH, "{id: bp-high, sign: systolic_mmhg, when: during, action: stop"),
    )
    findings = check_protocol(path)
    wheres = [f.where for f in findings]
    for where in (
        "versoin",
        "session.blocks[0].speed_km_h",
        "session.blocks[0].support_fraction",
        "trial.randomisation.ratio",
        "visits[2].day",
        "visits[3].window_days",
        "stop_rules[7]",
    ):
        assert where in wheres
    lines = [f.line for f in findings]
    assert all(lines)
    assert lines == sorted(lines, key=lambda line: line or 0)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("delivery: device}", "delivery: devices}", "trial.arms[0].delivery"),
        ("day: 0,", "day: zero,", "visits[0].day"),
        ("day: 182, window", "day: half a year, window", "visits[4].day"),
        ("ratio: [1, 1]", "ratio: one to one", "trial.randomisation.ratio"),
        ("cuts: [0.4, 0.8]", "cuts: low", "trial.randomisation.strata[0].cuts"),
        ("minutes: 4,", "minutes: four,", "session.blocks[0].minutes"),
        ("kind: walk, minutes: 8", "kind: walking, minutes: 8", "session.blocks[1].kind"),
        ("start: 1.0", "start: full", "progression.order[2].start"),
        ("maximum: 0.60, rate", "maximum: sixty, rate", "limits[1].maximum"),
        ("max_step: 0.05", "max_step: small", "adaptation[1].max_step"),
        ("above: 180", "above: high", "stop_rules[0].above"),
        ("weeks: 12", "weeks: twelve", "schedule.weeks"),
        ("screening: [", "screening: all  # [", "session.screening"),
        ("family: treadmill_orthosis", "family: robot", "device.family"),
        ("to_day: 182", "to_day: end", "diaries[0].to_day"),
    ],
)
def test_one_fault_of_form_is_one_finding(old: str, new: str, where: str, changed: Change) -> None:
    findings = check_protocol(changed((old, new)))
    assert [f.where for f in findings] == [where]


def test_target_out_of_reach(changed: Change) -> None:
    path = changed(("sessions_per_week: 3, weeks: 12", "sessions_per_week: 2, weeks: 2"))
    finding = at(check_protocol(path), "progression.order[0].target")
    assert "0.833 cannot be reached in 4 sessions of at most 0.083" in finding.message
    assert "Raise per_session_max" in finding.remedy


def test_parameter_without_a_value(changed: Change) -> None:
    rule = changed().read_text().split("    - parameter: guidance")[1].split("\nlimits")[0]
    path = changed(
        (WARM_UP, "speed_m_s: 0.333, support_fraction: 0.40, prompts: [rpe]"),
        ("    - parameter: guidance" + rule, ""),
    )
    finding = at(check_protocol(path), "session.blocks[0]")
    assert finding.message == "guidance has no value yet in block warm-up."
    assert "a start in progression" in finding.remedy


def test_therapist_arm_has_no_device(changed: Change) -> None:
    path = changed(
        ("staffing:", "limits:\n  - " + SPEED_LIMIT + "\n\nstaffing:"),
        ("kind: overground, minutes: 8", "kind: overground, minutes: 8, speed_m_s: 0.4"),
        name="stroke-conventional.yaml",
    )
    findings = check_protocol(path)
    assert "delivered by therapist, not by a device" in at(findings, "limits").message
    assert "no setpoints" in at(findings, "session.blocks[1].speed_m_s").message


def test_two_arms_need_randomisation(changed: Change) -> None:
    text = changed().read_text()
    section = text[text.index("  randomisation:") : text.index("  dose_match")]
    finding = at(check_protocol(changed((section, ""))), "trial")
    assert "2 arms and no randomisation" in finding.message
    assert finding.line == line_with(changed(), "trial:")


def test_one_arm_has_no_randomisation(changed: Change) -> None:
    path = changed(
        ("\nvisits:", "  randomisation: {ratio: [1], block_sizes: [4]}\n\nvisits:"),
        name="sci-robotic-30x5.yaml",
    )
    assert "one arm only" in at(check_protocol(path), "trial.randomisation").message


def test_real_device_counts_more_than_its_family(changed: Change) -> None:
    weaker = Profile(
        "treadmill_orthosis",
        (
            Bound("speed_m_s", 0.0, 0.7, "this device"),
            Bound("support_fraction", 0.0, 0.6, "this device", rate_per_s=0.02),
        ),
    )
    findings = check_protocol(changed(), weaker)
    assert "hard limit 0.7 (this device)" in at(findings, "limits[0].maximum").message
    assert "faster than the device's 0.02" in at(findings, "limits[1].rate_per_s").message
    assert "the device has no guidance" in at(findings, "device.parameters[2]").message
    other = check_protocol(changed(), FAMILIES["wearable_brace"])
    assert "the device is a wearable_brace" in at(other, "device.family").message


def test_simulated_trainer_can_run_the_shipped_protocols(changed: Change) -> None:
    from device_interface.simulated.channels import capability

    heaviest = capability(rate="full", weight_kg=135.0, serial="1", calibrated_on=None)
    for name in ("stroke-robotic.yaml", "sci-robotic-30x5.yaml"):
        assert check_protocol(changed(name=name), heaviest) == []


def test_instruments_beside_the_protocol(changed: Change) -> None:
    path = changed(("assessments: [10MWT, 6MWT, TUG", "assessments: [10MWT, STEPS, 6MWT, TUG"))
    assert "no instrument STEPS" in at(check_protocol(path), "visits[0].assessments[1]").message
    folder = path.parent / "instruments"
    folder.mkdir()
    (folder / "steps.yaml").write_text(
        "schema: trialkit.instrument/1\ncode: STEPS\nname: Steps a day\ndomain: FT\n"
        "dataset: ADFT\n"
        "items: [{id: N, minimum: 0, maximum: 100000, unit: steps, integer: true}]\n"
        "scores:\n  - {paramcd: STEPDAY, param: Steps a day, unit: steps, rule: single, "
        "better: higher, minimum: 0, maximum: 100000}\n"
    )
    assert check_protocol(path) == []
    assert check_protocol(path, instruments=load_forms())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "expected"),
        ("", "empty"),
        ("- a\n- b\n", "dictionary"),
        ("schema: trialkit.protocol/1\nvisits: 3\nlimits: {a: 1}\nsession: []\n", "missing"),
    ],
)
def test_files_that_are_no_protocol(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    findings = check_protocol(path)
    assert any(message in f.message for f in findings), findings
    assert all(f.remedy for f in findings)


def test_missing_file(tmp_path: Path) -> None:
    assert "cannot be read" in check_protocol(tmp_path / "none.yaml")[0].message
