"""A study with all forms that ship, filled in by chance from the forms' own definitions."""

from __future__ import annotations

import random
from pathlib import Path

from small_study import START, write_protocols

from trialkit import participants as p
from trialkit._clock import SimulatedClock
from trialkit.protocol.forms import Entry, Form, asked_items, load_forms, read_entries
from trialkit.record import KeyStore
from trialkit.study import Study

ALL_FORMS = sorted(load_forms())
TEXTS = ["café, naïve", 'says "no"', "two\nlines", "007", "=1+1", "µ → ∞ 漢字", "NI", "1; 2 | 3"]


def make(folder: Path, *, site_of_two: bool = False) -> Study:
    """Create a study whose visits plan every form, with six people in their roles."""
    folder.mkdir(parents=True, exist_ok=True)
    files = write_protocols(folder)
    for file in files:
        text = file.read_text(encoding="utf-8")
        text = text.replace("[10MWT, ABC, BBS]", f"[{', '.join(ALL_FORMS)}]")
        text = text.replace("assessments: [10MWT, BBS]", f"assessments: [{', '.join(ALL_FORMS)}]")
        file.write_text(text, encoding="utf-8")
    study = Study.create(
        folder / "study",
        protocols=files,
        actor="olga",
        clock=SimulatedClock(START),
        keys=KeyStore(folder / "keys"),
        seed=1,
    )
    for user, role in (
        ("cora", "coordinator"),
        ("asta", "assessor"),
        ("dana", "data_manager"),
        ("mona", "monitor"),
        ("theo", "therapist"),
        ("ivan", "investigator"),
    ):
        study.add_user(user, role=role)
    return study


def enter_people(study: Study, n: int = 3) -> list[str]:
    """Enrol, and randomise on what they walk at baseline; the same in every study."""
    people = []
    for number in range(n):
        usubjid = str(
            p.enrol(
                study, site="01" if number % 2 else "02", attributes={"sex": "F", "age_years": 61.5}
            ).subject
        )
        p.consent(study, usubjid, version="1.0")
        people.append(usubjid)
    return people


def entries(form: Form, chance: random.Random, *, leave_out: float = 0.1) -> dict[str, Entry]:
    """Return sound entries of a form; of those that may be missing some are."""
    given: dict[str, Entry] = {}
    for item in form.items:
        if item not in asked_items(form, read_entries(form, given).values):
            continue
        if not item.required and chance.random() < leave_out:
            continue
        if item.choices:
            given[item.id] = chance.choice(item.choices)
        elif item.type == "yes_no":
            given[item.id] = chance.choice(["Y", "N"])
        elif item.type == "date":
            given[item.id] = f"20{chance.randint(10, 25)}-0{chance.randint(1, 9)}-28"
        elif item.type == "time":
            given[item.id] = f"{chance.randint(0, 23):02d}:05"
        elif item.type == "text":
            given[item.id] = chance.choice(TEXTS)[: item.max_length].strip()
        else:
            low, high = item.minimum or 0, item.maximum or 0
            value = round(chance.uniform(low, high), item.decimals)
            given[item.id] = int(value) if item.decimals == 0 else value
    return given


def fill(study: Study, people: list[str], seed: int = 5) -> None:
    """Fill in every form at two visits: unable, not done, missing values, and corrections."""
    chance = random.Random(seed)
    asta, forms = study.as_user("asta"), study.design.instruments
    for usubjid in people:
        p.hold_visit(study, usubjid, "BL", day=-3)
        for code, form in forms.items():
            _one(asta, usubjid, "BL", form, chance, always=code == "10MWT")
        p.randomise(study, usubjid)
    for usubjid in people[:-1]:
        p.hold_visit(study, usubjid, "W4", day=40, reason="on holiday; the ROBOTIC arm was told")
        for form in forms.values():
            _one(asta, usubjid, "W4", form, chance)
        p.return_diary(
            study, usubjid, diary="FALL", from_day=0, to_day=27,
            entries=[{"day": 3, "grade": 2}, {"day": 3, "grade": 1}, {"day": 20, "grade": 3}],
        )  # fmt: skip
        p.return_diary(study, usubjid, diary="FALL", from_day=28, to_day=50)
    p.miss_visit(study, people[-1], "W4", code="illness")
    correct(study, people)


def correct(study: Study, people: list[str]) -> None:
    """Correct one value, take one away, and turn a form into one that was not possible."""
    asta = study.as_user("asta")
    p.correct(
        asta, people[0], visit="BL", instrument="10MWT", items={"C1_S": 21.25, "F1_S": None},
        reason="read from the watch; CONVENTIONAL",
    )  # fmt: skip
    p.correct(asta, people[0], visit="BL", instrument="10MWT", items={"C1_S": 22.5}, reason="again")
    returned = next(iter(study.participant(people[0]).returns))
    p.correct_diary(
        study, people[0], returned=returned, reason="one entry too many",
        entries=[{"day": 3, "grade": 2}, {"day": 21, "grade": 3}],
    )  # fmt: skip


def _one(
    study: Study, usubjid: str, visit: str, form: Form, chance: random.Random, always: bool = False
) -> None:
    call = {"visit": visit, "instrument": form.code}
    luck = 1.0 if always else chance.random()
    if luck < 0.05:
        return
    if luck < 0.1:
        p.assess(study, usubjid, status="unable", **call)  # type: ignore[arg-type]
    elif luck < 0.15:
        p.assess(study, usubjid, status="not_done", code="tired", **call)  # type: ignore[arg-type]
    else:
        done_on = "2026-01-02" if luck < 0.5 else None
        items = entries(form, chance, leave_out=0.0 if always else 0.1)
        p.assess(study, usubjid, items=items, done_on=done_on, **call)  # type: ignore[arg-type]


def standing(study: Study) -> dict[tuple[str, ...], object]:
    """Return everything that was entered, as it stands."""
    found: dict[tuple[str, ...], object] = {}
    for usubjid, who in study.state.participants.items():
        for visit in who.visits.values():
            found[usubjid, visit.visit] = (visit.day, visit.in_window, visit.code)
        for (visit_code, form), a in who.assessments.items():
            given = {name: value for name, value in a.items.items() if value is not None}
            found[usubjid, visit_code, form] = (a.status, a.code, a.done_on, given, a.scores)
        for r in who.returns.values():
            days = sorted((e["day"], e["grade"]) for e in r.entries)
            found[usubjid, r.diary, str(r.from_day)] = (r.to_day, days)
    return found


def prepare(study: Study, like: Study) -> None:
    """Bring the people of an empty study as far as randomisation, as they are in another."""
    for usubjid, who in like.state.participants.items():
        p.enrol(study, usubjid, site=who.site, attributes=who.attributes)
        p.consent(study, usubjid, version="1.0")
        walked = who.assessments["BL", "10MWT"]
        p.hold_visit(study, usubjid, "BL", day=who.visits["BL"].day or 0)
        p.assess(
            study.as_user("asta"),
            usubjid,
            visit="BL",
            instrument="10MWT",
            items={name: value for name, value in walked.items.items() if value is not None},
            done_on=walked.done_on,
        )
        p.randomise(study, usubjid)
