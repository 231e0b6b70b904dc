"""Write a study with every kind of event of release 0.1, and what that release says of it.

Run it in an environment that holds trialkit 0.1 (the commit is in README.md beside this file):

    python write.py FOLDER

It leaves ``FOLDER/study.tar.xz`` (the study folder without tables, results, reports and lock
file) and ``FOLDER/expected.json`` (people, arms, events and tables as release 0.1 sees them).
"""

from __future__ import annotations

import json
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from trialkit._clock import SimulatedClock
from trialkit.analysis import analyse
from trialkit.data import build_snapshot
from trialkit.participants import (
    assess,
    consent,
    correct,
    discontinue_training,
    enrol,
    exclude,
    hold_visit,
    log_conventional,
    miss_session,
    miss_visit,
    randomise,
    report_ae,
    return_diary,
    withdraw,
)
from trialkit.plan import lock_plan
from trialkit.record import kinds
from trialkit.record.sign import KeyStore
from trialkit.session import run_session
from trialkit.study import Study

SHARED = """
trial:
  id: OLD
  title: A small trial
  arms:
    - {code: ROBOTIC, label: Robotic, delivery: device}
    - {code: CONVENTIONAL, label: Conventional, delivery: therapist}
  randomisation:
    ratio: [1, 1]
    block_sizes: [2, 4]
    by_site: true
    strata:
      - {name: speed_band, paramcd: WS10C, cuts: [0.4, 0.8], levels: [slow, medium, fast]}
visits:
  - {code: BL, label: Baseline, day: 0, window_days: [-14, 0], baseline: true,
     assessments: [10MWT, ABC, BBS]}
  - {code: W4, label: Week 4, day: 28, window_days: [-7, 7], assessments: [10MWT, BBS]}
  - {code: W8, label: Week 8, day: 56, window_days: [-7, 7], assessments: [10MWT]}
diaries:
  - {paramcd: FALL, label: Falls diary, dataset: ADFALL, to_day: 60}
"""
HEAD = """schema: trialkit.protocol/1
id: old-{id}
version: "1"
arm: {arm}
why: To keep a study of release 0.1.
schedule: {{sessions_per_week: 2, weeks: 2}}
staffing: {{max_participants_per_therapist: 1}}
fidelity: {{min_sessions_fraction: 0.8, min_moving_minutes: 1}}
"""
ROBOTIC = """
device: {family: treadmill_orthosis, parameters: [speed_m_s, support_fraction]}
session:
  blocks:
    - {id: walk, kind: walk, minutes: 1, speed_m_s: 0.4, support_fraction: 0.3}
limits:
  - {parameter: speed_m_s, minimum: 0.0, maximum: 0.8, rate_per_s: 0.1}
  - {parameter: support_fraction, minimum: 0.0, maximum: 0.5, rate_per_s: 0.05}
"""
CONVENTIONAL = """
session:
  blocks:
    - {id: walk, kind: overground, minutes: 10}
"""
PLAN = """
schema: trialkit.plan/1
id: old
version: "1"
title: A small plan
treatment: {variable: TRT01P, treatment: Robotic, reference: Conventional}
populations: [{code: FAS, label: All randomised, flag: FASFL}]
estimands:
  - id: speed
    treatment: Robotic against conventional
    population: FAS
    variable: Walking speed at week 4
    intercurrent_events:
      - {event: Training discontinued, strategy: treatment_policy, handling: Used as observed.}
    summary: Difference in mean speed
analyses:
  - id: speed
    label: Walking speed at week 4
    role: primary
    estimand: speed
    method: ancova
    dataset: ADFT
    where: {PARAMCD: WS10C}
    formula: AVAL ~ BASE + SITEID + SPEED_BAND + TRT01P
    visit: W4
    better: higher
    unit: m/s
multiplicity: {procedure: fixed_sequence, alpha: 0.05, order: [speed]}
missing_data: No value is imputed.
tables:
  - {id: flow, kind: flow, label: Flow}
"""
DOSE = kinds.Dose(minutes=20.0, moving_minutes=18.0, steps=900)
BBS = {f"BBS{i:02d}": 3 for i in range(1, 15)}
ABC = {f"ABC{i:02d}": 60 for i in range(1, 17)}
TABLES = ["ADSL", "ADFT", "ADFALL", "ADEX", "ADAE", "DS", "DV", "SV"]


def begin(folder: Path) -> Study:
    """Create the study with one person a role."""
    files = []
    for arm, part in (("ROBOTIC", ROBOTIC), ("CONVENTIONAL", CONVENTIONAL)):
        path = folder / f"old-{arm.lower()}.yaml"
        path.write_text(HEAD.format(id=arm.lower(), arm=arm) + SHARED + part, encoding="utf-8")
        files.append(path)
    plan = folder / "old.sap.yaml"
    plan.write_text(PLAN, encoding="utf-8")
    study = Study.create(
        folder / "study",
        protocols=files,
        plan=plan,
        actor="olga",
        name="Olga Owner",
        clock=SimulatedClock(datetime(2026, 1, 5, 8, tzinfo=UTC)),
        keys=KeyStore(folder / "keys"),
        seed=1,
    )
    for user, role in (
        ("cora", "coordinator"), ("theo", "therapist"), ("asta", "assessor"),
        ("ivo", "investigator"), ("stan", "statistician"),
    ):  # fmt: skip
        study.add_user(user, role=role, name=f"{user.capitalize()} {role.capitalize()}")
    return study


def people(study: Study) -> list[str]:
    """Enrol ten people at two sites, randomise eight, and hold the visits of these."""
    found = []
    for i in range(10):
        enrolled = enrol(study, site=f"0{1 + i % 2}", attributes={"sex": "F", "age_years": 60 + i})
        who = str(enrolled.subject)
        if i == 8:
            exclude(study, who, code="declined")
            continue
        consent(study, who, version="1")
        if i == 9:
            continue
        hold_visit(study, who, "BL", day=-1)
        rater = study.as_user("asta")
        assess(rater, who, visit="BL", instrument="10MWT", items=walk(14.0 + i))
        assess(rater, who, visit="BL", instrument="ABC", items={**ABC, "ABC03": 5 * i})
        assess(rater, who, visit="BL", instrument="BBS", items=BBS)
        randomise(study, who)
        found.append(who)
    return found


def walk(seconds: float) -> dict[str, float]:
    """Return a 10 metre walk in so many seconds."""
    return {"TIMED_M": 10, "C1_S": seconds, "C2_S": seconds + 0.5}


def conduct(study: Study, who: str, i: int) -> None:
    """Train, follow up and report on one person."""
    if study.arm_of(who) == "ROBOTIC":
        run_session(study, who, number=1, day=1, rate="stride")
    else:
        log_conventional(study, who, number=1, day=1, dose=DOSE)
    miss_session(study, who, number=2, day=4, code="illness")
    if i == 6:
        discontinue_training(study, who, day=5, code="pain")
    if i == 7:
        withdraw(study, who, day=20, code="moved")
        return
    late = "was on holiday" if i > 3 else None
    hold_visit(study, who, "W4", day=28 + 2 * i, reason=late)
    rater = study.as_user("asta")
    assess(rater, who, visit="W4", instrument="10MWT", items=walk(13.0 + i))
    if i == 3:
        correct(rater, who, visit="W4", instrument="10MWT", items=walk(12.0), reason="misread")
    assess(rater, who, visit="W4", instrument="BBS", status="not_done", code="refused")
    miss_visit(study, who, "W8", code="transport")
    falls = [kinds.DiaryEntry(day=10 + i)] if i % 2 else []
    return_diary(study, who, diary="FALL", from_day=0, to_day=30, entries=falls)
    if i in (1, 4):
        report_ae(
            study.as_user("ivo"), who, term="Skin redness", category="skin", day=5,
            severity="mild", related_device=i == 1,
        )  # fmt: skip


def rest(study: Study, who: str) -> None:
    """Append the kinds that no call above writes."""
    study.append(
        kinds.DataImported(
            file="x.csv", file_sha256="0" * 64, mapping_sha256="1" * 64, rows=1, participants=1
        )
    )
    study.append(kinds.DeviationRaised(category="window", detail="a day late"), subject=who)
    session = f"{who}-S09"
    study.append(
        kinds.SessionAdapted(
            session=session, t_s=2.5, parameter="support_fraction", inputs={"rpe": 12.0}, old=0.3,
            proposed=0.25, accepted=True, by="theo", rule="rpe",
        ),
        subject=who,
    )  # fmt: skip
    study.append(
        kinds.SessionPrompt(session=session, t_s=3.5, prompt="rpe", values={"rpe": 12.0}),
        subject=who,
    )


def expected(study: Study, tables: Path) -> dict[str, Any]:
    """Return what this release says of the study, as plain data."""
    state = study.state
    said: dict[str, Any] = {"seq": state.seq, "hash": state.hash, "people": {}, "tables": {}}
    said["kinds"] = sorted({event.kind for event in study.record.read()})
    allocations = study.allocations()
    for who in state.participants.values():
        said["people"][who.usubjid] = {
            "site": who.site,
            "status": who.status,
            "arm": allocations.get(who.usubjid, (None, None))[0],
        }
    for name in TABLES:
        frame = pd.read_parquet(tables / f"{name}.parquet")
        said["tables"][name] = json.loads(frame.to_json(orient="split", date_format="iso"))
    return said


def main(folder: Path) -> None:
    """Write the study and what is expected of it."""
    folder.mkdir(parents=True)
    study = begin(folder)
    found = people(study)
    for i, who in enumerate(found):
        conduct(study, who, i)
    rest(study, found[0])
    lock_plan(study.as_user("stan"), signer="stan", second_signer="ivo")
    build_snapshot(study.as_user("stan"), unblind=True)
    analyse(study.as_user("stan"))
    study.append(
        kinds.ReportRendered(
            template="t", template_sha256="2" * 64, results="0" * 64, renderer="r", files={}
        )
    )
    study.append(kinds.EvidenceBuilt(manifest="3" * 64, fingerprint="aaaa"))
    said = expected(study, next((folder / "study" / "snapshots").iterdir()))
    (folder / "expected.json").write_text(json.dumps(said) + "\n", encoding="utf-8")
    study.close()
    with tarfile.open(folder / "study.tar.xz", "w:xz") as archive:
        for path in sorted((folder / "study").iterdir()):
            if path.name not in ("snapshots", "results", "reports", "study.lock"):
                archive.add(path, f"study/{path.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
