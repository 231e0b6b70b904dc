"""Checks of eligibility: the shipped criteria, and the faults of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trialkit._content import find_content
from trialkit.protocol import check_protocol, load_protocol
from trialkit.protocol.model import Criterion, Eligibility
from trialkit.protocol.notices import notices

Changed = Callable[..., Path]
ADULT = "attribute: age_years, minimum: 18, source: LEAPS}"
WALKS = "paramcd: WS10C, minimum: 0.1,"


def shipped(arm: str) -> Eligibility:
    asked = load_protocol(find_content("protocols", f"stroke-{arm}")).trial.eligibility
    assert asked is not None
    return asked


def test_both_arms_of_the_shipped_trial_ask_the_same() -> None:
    assert shipped("robotic") == shipped("conventional")


def test_the_shipped_criteria() -> None:
    criteria = {c.id: c for c in shipped("robotic").criteria}
    assert {c.kind for c in criteria.values()} == {"inclusion", "exclusion"}
    assert all(c.source and not c.verified for c in criteria.values())
    bounds = {c.id: (c.minimum, c.maximum) for c in criteria.values() if c.attribute or c.paramcd}
    assert bounds == {
        "ADULT": (18, None),
        "STROKE": (1, 6),
        "WALKS": (0.1, None),
        "MASS": (None, 135),
        "HEIGHT": (None, 200),
        "FEMUR": (35, 47),
    }
    for criterion in criteria.values():  # the text names each bound
        for bound in (criterion.minimum, criterion.maximum):
            assert bound is None or f"{bound:g}" in criterion.text


def test_bounds_are_inside() -> None:
    femur = Criterion(id="F", kind="inclusion", text="", attribute="f", minimum=35, maximum=47)
    assert [femur.holds(v) for v in (34.9, 35, 47, 47.1)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("old", "new", "where", "said"),
    [
        ("{id: STROKE,", "{id: ADULT,", "[1].id", "two criteria"),
        (ADULT, "attribute: age_years, source: LEAPS}", "[0]", "go with one value"),
        (ADULT, "minimum: 18, source: LEAPS}", "[0]", "go with one value"),
        (ADULT, "attribute: age_years, paramcd: WS10C, minimum: 18}", "[0]", "go with one value"),
        ("minimum: 1, maximum: 6", "minimum: 6, maximum: 1", "[1].minimum", "6 lies above 1"),
        (WALKS, "paramcd: LEMS, minimum: 0.1,", "[3].paramcd", "not known at randomisation"),
        ("source: LEAPS}", "verified: true}", "[0].verified", "names no source"),
    ],
)
def test_faults(changed: Changed, old: str, new: str, where: str, said: str) -> None:
    (finding,) = check_protocol(changed((old, new)))
    assert finding.where == f"trial.eligibility.criteria{where}"
    assert said in finding.message


def test_a_trial_without_any_is_noticed(changed: Changed) -> None:
    path = changed()
    lines = path.read_text("utf-8").splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if line.startswith("  eligibility:"))
    end = next(i for i, line in enumerate(lines) if line.startswith("  dose_match:"))
    head = [*lines[:start], '  eligibility: {version: "1", criteria: []}\n', *lines[end:]]
    path.write_text("".join(head), "utf-8")
    assert check_protocol(path)
    path.write_text("".join([*lines[:start], *lines[end:]]), "utf-8")
    assert check_protocol(path) == []
    (notice,) = [n for n in notices(load_protocol(path)) if n.where == "trial.eligibility"]
    assert "who may have one is not said" in notice.message
    single = load_protocol(find_content("protocols", "sci-robotic-30x5"))
    assert "trial.eligibility" not in [n.where for n in notices(single)]


def test_criteria_that_nobody_confirmed_are_noticed(changed: Changed) -> None:
    def found(path: Path) -> list[str]:
        said = notices(load_protocol(path))
        return [n.message for n in said if n.where == "trial.eligibility"]

    assert found(changed())[0].startswith("19 of 19 criteria are not verified: ADULT, STROKE,")
    confirmed = ("source: LEAPS}", "source: LEAPS, verified: true}")
    assert found(changed(confirmed))[0].startswith("18 of 19 criteria are not verified: STROKE,")
