"""Steps of a small stroke trial, through the participants' calls."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from eligible import find_eligible

from trialkit import participants
from trialkit._clock import SimulatedClock
from trialkit._content import find_content
from trialkit.record import KeyStore
from trialkit.record.kinds import Dose, PlanLocked, SessionClosed, SessionOpened
from trialkit.study import Study

ABC = {f"ABC{i:02d}": 60 for i in range(1, 17)}
BBS = {f"BBS{i:02d}": 3 for i in range(1, 15)}
DOSE = Dose(minutes=34.0, moving_minutes=28.0, steps=1500, distance_m=700.0, mean_speed_m_s=0.417)


def walk(seconds: float) -> dict[str, float]:
    """10MWT entries: both comfortable trials take `seconds`, the fast ones two thirds of it."""
    fast = round(seconds * 2 / 3, 2)
    return {"TIMED_M": 10, "C1_S": seconds, "C2_S": seconds, "F1_S": fast, "F2_S": fast}


def lock(study: Study) -> None:
    """Put a plan lock into the record, without signatures."""
    study.as_user("stat").append(
        PlanLocked(
            plan_id="p", plan="0" * 64, file="p", methods={}, schemas={}, lock="1" * 64,
            signatures=[],
        )
    )  # fmt: skip


def train(study: Study, usubjid: str, number: int, day: int) -> None:
    """One session in the participant's own arm."""
    if study.arm_of(usubjid) == "CONVENTIONAL":
        participants.log_conventional(study, usubjid, number=number, day=day, dose=DOSE)
        return
    session = f"{usubjid}-S{number:02d}"
    study.append(
        SessionOpened(
            session=session, number=number, day=day, protocol="stroke-robotic",
            device={"model": "simulated", "serial": "SIM-1"}, planned_minutes=34.0,
            therapist="thea",
        ),
        subject=usubjid,
    )  # fmt: skip
    study.append(
        SessionClosed(
            session=session, number=number, day=day, status="completed",
            dose=DOSE.model_copy(update={"mean_support_fraction": 0.3, "mean_guidance": 0.8}),
            dose_source="telemetry",
        ),
        subject=usubjid,
    )  # fmt: skip


def new_study(folder: Path) -> Study:
    """A stroke study without participants, with one person a role."""
    clock = SimulatedClock(datetime(2026, 3, 2, 8, tzinfo=UTC))
    study = Study.create(
        folder / "study",
        protocols=[find_content("protocols", f"stroke-{a}") for a in ("robotic", "conventional")],
        actor="owner",
        clock=clock,
        keys=KeyStore(folder / "keys"),
        seed=7,
    )  # fmt: skip
    for user, role in (
        ("cora", "coordinator"), ("thea", "therapist"), ("asa", "assessor"),
        ("stat", "statistician"),
    ):  # fmt: skip
        study.add_user(user, role=role)
    return study


def person(study: Study, site: str, seconds: float) -> str:
    """Enrol, consent, assess at baseline and randomise one person."""
    cora, asa = study.as_user("cora"), study.as_user("asa")
    event = participants.enrol(
        cora, site=site, attributes={"sex": "female", "age_years": 62, "side": "left"}
    )
    who = str(event.subject)
    participants.consent(cora, who, version="1")
    participants.hold_visit(cora, who, "BL", day=-3)
    participants.assess(asa, who, visit="BL", instrument="10MWT", items=walk(seconds))
    participants.assess(asa, who, visit="BL", instrument="ABC", items=ABC)
    find_eligible(cora, who)
    participants.randomise(cora, who)
    return who
