"""Eligibility against what the record knows; that it comes first is in test_allocation_conduct."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eligible import find_eligible
from small_study import people, write_protocols

from trialkit._canonical import sha256_json
from trialkit.data import collect
from trialkit.errors import NotPermitted, OutOfRange
from trialkit.participants import (
    assess,
    confirm_eligibility,
    consent,
    criteria_for,
    enrol,
    hold_visit,
    randomise,
)
from trialkit.record import KeyStore
from trialkit.study import Study

CRITERIA = """  eligibility:
    version: "2"
    criteria:
      - {id: MASS, kind: inclusion, text: At most 135 kg, attribute: weight_kg, maximum: 135}
      - {id: FAST, kind: exclusion, text: Walks at 0.8 m/s or faster, paramcd: WS10C, minimum: 0.8}
      - {id: PACER, kind: exclusion, text: An implanted pacemaker}
"""
YES = {"MASS": True, "FAST": False, "PACER": False}


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    files = write_protocols(tmp_path)
    for file in files:
        text = file.read_text("utf-8").replace("visits:\n", f"{CRITERIA}visits:\n", 1)
        file.write_text(text, "utf-8")
    keys = KeyStore(tmp_path / "keys")
    made = Study.create(tmp_path / "study", protocols=files, actor="olga", keys=keys, seed=1)
    with made:
        people(made)
        yield made


def person(study: Study, seconds: float = 20.0, **attributes: float | str | bool) -> str:
    who = str(enrol(study, site="01", attributes=attributes).subject)
    consent(study, who, version="1")
    hold_visit(study, who, "BL", day=-1)
    items = {"TIMED_M": 10, "C1_S": seconds}
    assess(study.as_user("asta"), who, visit="BL", instrument="10MWT", items=items)
    return who


def test_an_answer_that_the_record_contradicts_is_refused(study: Study) -> None:
    heavy = person(study, weight_kg=140.0)
    with pytest.raises(OutOfRange, match="MASS is answered yes, and weight_kg is 140") as refused:
        confirm_eligibility(study, heavy, YES)
    assert refused.value.details["criteria"] == ["MASS"]
    with pytest.raises(OutOfRange, match="is not eligible: MASS"):
        confirm_eligibility(study, heavy, YES | {"MASS": False})
    light = person(study, weight_kg=135.0)
    with pytest.raises(OutOfRange, match="MASS is answered no"):
        confirm_eligibility(study, light, YES | {"MASS": False})
    assert confirm_eligibility(study, light, YES).payload["answers"] == YES
    assert [study.participant(who).eligible for who in (heavy, light)] == [None, "2"]


def test_a_baseline_score_counts_as_well(study: Study) -> None:
    fast = person(study, seconds=12.5, weight_kg=80)  # 0.8 m/s, the bound itself
    with pytest.raises(OutOfRange, match=r"FAST is answered no, and WS10C is 0\.8"):
        confirm_eligibility(study, fast, YES)
    with pytest.raises(OutOfRange, match="is not eligible: FAST"):
        confirm_eligibility(study, fast, YES | {"FAST": True})


@pytest.mark.parametrize("given", [{}, {"weight_kg": "heavy"}, {"weight_kg": True}])
def test_without_a_number_a_person_answers(study: Study, given: dict[str, str | bool]) -> None:
    who = person(study, **given)
    assert [(q.criterion.id, q.value, q.answer) for q in criteria_for(study, who)] == [
        ("MASS", None, None),
        ("FAST", 0.5, False),
        ("PACER", None, None),
    ]
    with pytest.raises(OutOfRange, match="is not eligible: MASS"):
        confirm_eligibility(study, who, YES | {"MASS": False})
    find_eligible(study, who)


def test_only_those_who_confirm_see_the_values(study: Study) -> None:
    who = person(study, weight_kg=80)
    asked = criteria_for(study.as_user("cora"), who)
    assert [q.value for q in asked] == [80, 0.5, None]
    with pytest.raises(NotPermitted):
        criteria_for(study.as_user("asta"), who)


def test_it_is_a_milestone_of_the_data(study: Study) -> None:
    who = person(study, weight_kg=80)
    event = find_eligible(study, who)
    randomise(study, who)
    rows = collect(study, mask=False)["DS"]
    met = rows[rows["DSDECOD"] == "ELIGIBILITY CRITERIA MET"]
    assert met[["USUBJID", "DSCAT", "DSTERM", "DSREFID"]].to_numpy().tolist() == [
        [who, "PROTOCOL MILESTONE", "2", event.seq]
    ]
    assert rows["DSDECOD"].tolist()[-2:] == ["ELIGIBILITY CRITERIA MET", "RANDOMIZED"]


def test_the_hash_of_plain_criteria_is_that_of_their_text(study: Study) -> None:
    """Bounds that are not given are no part of it: a study that began keeps its hash."""
    event = find_eligible(study, person(study))
    mass = {"id": "MASS", "kind": "inclusion", "text": "At most 135 kg"}
    fast = {"id": "FAST", "kind": "exclusion", "text": "Walks at 0.8 m/s or faster"}
    pacer = {"id": "PACER", "kind": "exclusion", "text": "An implanted pacemaker"}
    bounded = [
        mass | {"attribute": "weight_kg", "maximum": 135.0},
        fast | {"paramcd": "WS10C", "minimum": 0.8},
        pacer,
    ]
    assert event.payload["criteria"] == sha256_json({"version": "2", "criteria": bounded})
