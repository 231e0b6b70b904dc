"""The protocols of one trial: what they share is alike, every arm is there, doses match."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trialkit._content import content_folder
from trialkit.protocol import check_trial

ROBOTIC = content_folder("protocols") / "stroke-robotic.yaml"
CONVENTIONAL = "stroke-conventional.yaml"


def test_shipped_trial_agrees() -> None:
    assert check_trial([ROBOTIC, ROBOTIC.with_name(CONVENTIONAL)]) == []


def test_every_difference_is_named(changed: Callable[..., Path]) -> None:
    path = changed(
        ("day: 84,", "day: 85,"),
        ("block_sizes: [4, 6]", "block_sizes: [4, 6, 8]"),
        ("to_day: 182", "to_day: 180"),
        name=CONVENTIONAL,
    )
    findings = {f.where: f for f in check_trial([ROBOTIC, path])}
    assert set(findings) == {
        "visits[3].day",
        "trial.randomisation.block_sizes",
        "diaries[0].to_day",
    }
    day = findings["visits[3].day"]
    assert day.message == "stroke-conventional.yaml has 85, stroke-robotic.yaml has 84."
    assert day.remedy == "Give the section alike in all protocols of the trial."
    assert day.line == 1 + path.read_text()[: path.read_text().index("day: 85")].count("\n")
    assert "3 entries" in findings["trial.randomisation.block_sizes"].message


def test_a_key_that_one_file_lacks(changed: Callable[..., Path]) -> None:
    line = "  dose_match: {unit: minutes, tolerance_fraction: 0.10}\n"
    (finding,) = check_trial([ROBOTIC, changed((line, ""), name=CONVENTIONAL)])
    assert finding.where == "trial.dose_match"
    assert "stroke-conventional.yaml has nothing" in finding.message


def test_a_default_that_is_written_out_is_no_difference(changed: Callable[..., Path]) -> None:
    path = changed(("    by_site: true\n", ""), name=CONVENTIONAL)
    assert check_trial([ROBOTIC, path]) == []


def test_missing_arm_and_double_arm(changed: Callable[..., Path]) -> None:
    (missing,) = check_trial([ROBOTIC])
    assert missing.message == "there is no protocol of arm CONVENTIONAL."
    wheres = {f.where for f in check_trial([ROBOTIC, changed()])}
    assert wheres == {"arm", "trial.arms"}


def test_dose_that_does_not_match(changed: Callable[..., Path]) -> None:
    path = changed(
        ("kind: overground, minutes: 8", "kind: overground, minutes: 18"),
        ("minutes_per_session: 30", "minutes_per_session: 60"),
        name=CONVENTIONAL,
    )
    training, beside = check_trial([ROBOTIC, path])
    assert training.where == "session"
    assert "plans 1584 minutes of training over the course" in training.message
    assert "plans 1224" in training.message
    assert "within 10%" in training.remedy
    assert beside.where == "alongside"
    assert training.line
    assert beside.line


def test_dose_within_the_tolerance(changed: Callable[..., Path]) -> None:
    path = changed(("kind: overground, minutes: 8", "kind: overground, minutes: 11"),
                   name=CONVENTIONAL)  # fmt: skip
    assert check_trial([ROBOTIC, path]) == []


def test_a_faulty_file_is_not_compared(changed: Callable[..., Path]) -> None:
    path = changed(("day: 84,", "day: eighty-four,"), name=CONVENTIONAL)
    assert check_trial([ROBOTIC, path]) == []
