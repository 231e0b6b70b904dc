from __future__ import annotations

import re
from pathlib import Path

import pytest

from device_interface.conformance import GROUPS, group_names, record_of, run_kit
from device_interface.conformance.model import Check, Outcome
from trialkit._canonical import canonical_json
from trialkit.errors import UnknownName

CHECKS = [check for group in GROUPS for check in group.checks]


def test_there_are_twelve_groups_and_every_check_says_what_it_requires() -> None:
    assert group_names() == [
        "identity", "limits", "ordering", "stop", "estop", "watchdog",
        "freshness", "fault", "spasm", "resume", "record", "soak",
    ]  # fmt: skip
    ids = [check.id for check in CHECKS]
    assert len(ids) == len(set(ids))
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+\.[a-z0-9-]+", check.id)
        assert check.requirement.endswith("."), check.id


def test_what_a_check_needs_was_judged_before_it() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen, check.id
        seen.add(check.id)


def test_a_check_that_needs_real_time_to_pass_is_not_needed_by_a_quick_one() -> None:
    slow = {check.id for check in CHECKS if check.slow}
    assert not [c.id for c in CHECKS if not c.slow and set(c.needs) & slow]


def test_the_sound_trainer_passes_all_that_is_quick() -> None:
    seen: list[tuple[Check, Outcome | None]] = []
    result = run_kit("simulated", {"seed": 5}, quick=True, progress=lambda *p: seen.append(p))
    assert [(o.check.id, o.observed) for o in result.failed] == []
    left = {o.check.id for o in result.outcomes if o.verdict == "not_applicable"}
    assert left == {check.id for check in CHECKS if check.slow}
    assert [c for c, o in seen if o is None] == CHECKS
    record = record_of(result)
    assert record["device"]["serial"] == "SIM-1"
    assert len(record["descriptor_sha256"]) == 64
    assert record["driver"]["package"] == "trialkit"
    assert record["quick"] is True
    assert canonical_json(record)
    begun = [c["begun_s"] for c in record["checks"]]
    assert begun == sorted(begun)


@pytest.mark.slow(seconds=70)
def test_the_sound_trainer_passes_the_whole_kit() -> None:
    result = run_kit("simulated", at_once=4)
    assert [
        (o.check.id, o.verdict, o.observed) for o in result.outcomes if o.verdict != "passed"
    ] == []
    assert result.soak_s == 2700


def test_a_device_without_injection_leaves_faults_to_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = Path(__file__).resolve().parent.parent / "broken"
    monkeypatch.setenv("PYTHONPATH", str(broken))
    result = run_kit("plain_trainer:NoInjection", groups=["estop", "fault", "spasm"], quick=True)
    assert not result.failed
    by_hand = [o for o in result.outcomes if o.verdict == "not_applicable"]
    assert len(by_hand) >= 15
    pressed = next(o for o in by_hand if o.check.id == "estop.pressed")
    assert "offers no such injection" in pressed.observed
    assert "By hand: Press the emergency stop" in pressed.observed


def test_a_driver_that_falls_over_fails_its_checks_and_not_the_kit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = Path(__file__).resolve().parent.parent / "broken"
    monkeypatch.setenv("PYTHONPATH", str(broken))
    result = run_kit("plain_trainer:FallsOver", groups=["limits"], quick=True)
    failed = {o.check.id: o.observed for o in result.failed}
    assert "limits.not-a-number" in failed
    assert "TK-DEVICE-LINK" in failed["limits.not-a-number"]
    assert "limits.over-range" not in failed


def test_unknown_names_are_errors() -> None:
    with pytest.raises(UnknownName, match="colour"):
        run_kit("simulated", groups=["colour"])
    with pytest.raises(UnknownName, match="no device driver"):
        run_kit("nosuch")
    with pytest.raises(UnknownName, match="no_such_module"):
        run_kit("no_such_module:Driver")
