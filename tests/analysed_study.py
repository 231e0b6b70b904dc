"""A small study that went all the way: people, sessions, lock, analysis, report, of every kind."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eligible import find_eligible

from trialkit._canonical import sha256_file
from trialkit._clock import SimulatedClock
from trialkit._content import content_folder
from trialkit.analysis import analyse
from trialkit.participants import (
    approve_unblinding,
    assess,
    consent,
    enrol,
    hold_visit,
    randomise,
    request_unblinding,
)
from trialkit.plan import lock_plan
from trialkit.record import kinds
from trialkit.record.sign import KeyStore
from trialkit.study import Study
from trialkit.study.accounts import set_password
from trialkit.study.datalock import lock_data
from trialkit.study.signing import sign

PLAN = """
schema: trialkit.plan/1
id: small
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
SEALED = kinds.SealedFile(
    name="t.parquet", sha256="0" * 64, rows=1, first_seq=1, last_seq=1, gaps=0
)


def others(who: str) -> list[kinds.Payload]:
    """One payload of every kind that the way through the study does not make by itself."""
    k = kinds
    return [
        k.DataImported(file="x.csv", file_sha256="0" * 64, mapping_sha256="1" * 64, rows=1,
                       participants=1),
        k.ParticipantExcluded(code="declined"),
        k.VisitMissed(visit="W8", code="transport"),
        k.AssessmentCorrected(seq=9, visit="W4", instrument="10MWT", status="done",
                              items={"C1_S": 1.5}, scores={"WS10C": 0.5}, old_items={"C1_S": 2.5}),
        k.DiaryReturned(diary="FALL", from_day=0, to_day=30, entries=[k.DiaryEntry(day=3)]),
        k.AdverseEventReported(term="Skin redness", category="skin", day=5, severity="mild"),
        k.TrainingDiscontinued(day=20, code="pain"),
        k.ParticipantWithdrawn(day=40, code="moved"),
        k.DeviationRaised(category="window", detail="a day late"),
        k.DeviceChecked(driver="d", package="p", package_version="1", device={"name": "d"},
                        descriptor_sha256="3" * 64, kit="1", groups=["stop"], quick=False, passed=9,
                        failed=0, not_applicable=1, failures=[], file="check.json",
                        digest="4" * 64),
        k.SessionOpened(session=f"{who}-S01", number=1, day=1, protocol="p", device={"name": "d"},
                        planned_minutes=30.0, therapist="theo"),
        k.SessionTransition(session=f"{who}-S01", t_s=0.5, old="ready", new="running", cause="go"),
        k.SessionCommand(session=f"{who}-S01", t_s=1.5, number=1, phase="requested", block="walk",
                         setpoints={"speed_m_s": 0.4}),
        k.SessionAdapted(session=f"{who}-S01", t_s=2.5, parameter="guidance", inputs={"rpe": 12.0},
                         old=0.5, proposed=0.4, accepted=True, by="theo", rule="rpe"),
        k.SessionPrompt(session=f"{who}-S01", t_s=3.5, prompt="rpe", values={"rpe": 12.0}),
        k.TelemetrySealed(session=f"{who}-S01", folder="telemetry/x", manifest_sha256="2" * 64,
                          files=[SEALED]),
        k.SessionClosed(session=f"{who}-S01", number=1, day=1, status="completed", dose=DOSE,
                        dose_source="telemetry"),
        k.SessionConventional(session=f"{who}-S02", number=2, day=3, protocol="p",
                              therapist="theo", dose=DOSE),
        k.SessionMissed(number=3, day=5, code="illness"),
        k.EvidenceBuilt(manifest="3" * 64, fingerprint="aaaa"),
    ]  # fmt: skip


def _people(study: Study) -> list[str]:
    people = []
    for i in range(14):
        who = str(
            enrol(study, site=f"0{1 + i % 2}", attributes={"sex": "F", "age_years": 60}).subject
        )
        consent(study, who, version="1")
        walk = {"TIMED_M": 10, "C1_S": 14.0 + i, "C2_S": 15.0 + i}
        for visit, day in (("BL", -1), ("W4", 28)):
            hold_visit(study, who, visit, day=day)
            assess(study.as_user("asta"), who, visit=visit, instrument="10MWT",
                   items={**walk, "C1_S": 14.0 + i + (day > 0) * (i % 3)})  # fmt: skip
            if visit == "BL":
                find_eligible(study, who)
                randomise(study, who)
        people.append(who)
    return people


WORD = "four dry wooden spoons"


def make_study(folder: Path, *, emergency: bool = False, locked: bool = False) -> Study:
    """Make the study in ``folder/study``, analysed, with a report, open for writing.

    In an emergency the arm of the third participant was told before. A study that is `locked` has
    a lock of its data, and a plan that the statistician signed, before the analysis.
    """
    plan = folder / "small.sap.yaml"
    plan.write_text(PLAN, encoding="utf-8")
    protocols = content_folder("protocols")
    study = Study.create(
        folder / "study",
        protocols=[protocols / f"stroke-{arm}.yaml" for arm in ("robotic", "conventional")],
        plan=plan,
        actor="olga",
        name="Olga Owner",
        clock=SimulatedClock(datetime(2026, 1, 5, 8, tzinfo=UTC)),
        keys=KeyStore(folder / "keys"),
        seed=3,
    )
    roles = {"cora": "coordinator", "asta": "assessor", "ivan": "investigator",
             "stan": "statistician"}  # fmt: skip
    for user, role in roles.items():
        study.add_user(user, role=role, name=user.capitalize())
    people = _people(study.as_user("cora"))
    if emergency:
        asked = request_unblinding(study.as_user("cora"), people[2], reason="seizure | at night")
        approve_unblinding(study.as_user("ivan"), asked.payload["request"])
    stan = study.as_user("stan")
    lock_plan(stan, signer="stan", second_signer="ivan")
    if locked:
        set_password(stan, WORD)
        sign(stan, "plan", "approved", password=WORD, signer="stan")
        lock_data(study.as_user("ivan"), reason="all queries are closed")
    results = analyse(stan)
    folder = study.folder / "reports"
    made: dict[str, Any] = {}
    for name in ("primary.html", "primary.context.json"):
        (folder / name).write_text(f"a report: {name}\n", encoding="utf-8")
        made[name] = sha256_file(folder / name)
    stan.append(
        kinds.ReportRendered(
            template="primary.qmd", template_sha256="4" * 64, results=results.hash,
            renderer="test", files=made,
        )
    )  # fmt: skip
    with study.record.batch():
        for payload in others(people[0]):
            study.record.append(payload, actor="olga", role="owner", subject=people[0])
    return study
