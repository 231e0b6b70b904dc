"""A study of any size for `benchmarks/record.py`: the events of participants and their sessions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from trialkit._canonical import sha256_text
from trialkit._clock import SimulatedClock
from trialkit._content import find_content
from trialkit.record.kinds import (
    AdverseEventReported,
    AssessmentRecorded,
    DiaryEntry,
    DiaryReturned,
    Dose,
    ParticipantConsented,
    ParticipantEnrolled,
    ParticipantRandomised,
    Payload,
    SealedFile,
    SessionAdapted,
    SessionClosed,
    SessionCommand,
    SessionOpened,
    SessionPrompt,
    SessionTransition,
    TelemetrySealed,
    VisitHeld,
)
from trialkit.record.sign import KeyStore
from trialkit.study import Study

PROTOCOLS = ("stroke-robotic", "stroke-conventional")
SESSIONS = 36
AROUND = 21  # events of a participant outside the sessions
FIXED = 9  # events of a session besides its commands and adaptations
Events = Iterator[tuple[str, Payload]]


def new_study(folder: Path, database: str | None = None) -> Study:
    """Create an empty study of two arms."""
    return Study.create(
        folder / "study",
        protocols=[find_content("protocols", name) for name in PROTOCOLS],
        actor="bench",
        clock=SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)),
        keys=KeyStore(folder / "keys"),
        database=database,
    )


def fill(study: Study, participants: int, events: int, batch: int = 5000) -> None:
    """Append events until the record holds `events`, `batch` in a transaction."""
    record, left = study.record, events - study.record.head[0]
    a_session = (left / participants - AROUND) / SESSIONS - FIXED
    source = (
        pair
        for number in range(1, participants + 1)
        for pair in of_participant(number, max(1, int(a_session)))
    )
    while left > 0:
        with record.batch():
            for _ in range(min(batch, left)):
                usubjid, payload = next(source, None) or ("", command("X", 0))
                record.append(payload, actor="bench", role="owner", subject=usubjid or None)
        left -= batch
    study.refresh()


def of_participant(number: int, commands: int) -> Events:
    """Yield the events of a participant: enrolment, visits, sessions, diaries, adverse events."""
    site = f"{number % 8 + 1:02d}"
    usubjid = f"STROKE-RAGT-{site}-{number:04d}"
    attributes = {"sex": "F" if number % 2 else "M", "age_years": 40 + number % 40}
    yield usubjid, ParticipantEnrolled(site=site, attributes=attributes)
    yield usubjid, ParticipantConsented(version="1")
    yield (
        usubjid,
        ParticipantRandomised(
            stratum=f"{site}/slow",
            strata={"site": site, "speed_band": "slow"},
            place=(number - 1) // 8 + 1,
            commitment=sha256_text(usubjid),
        ),
    )
    for visit, day in (("BL", 0), ("W12", 84), ("W24", 168)):
        yield usubjid, VisitHeld(visit=visit, day=day, in_window=True)
        for instrument in ("10MWT", "BBS", "ABC"):
            yield usubjid, assessed(visit, day, instrument, number)
    for session in range(1, SESSIONS + 1):
        yield from of_session(usubjid, session, commands)
    for month in range(5):
        entries = [DiaryEntry(day=28 * month + 3, grade=2)]
        yield (
            usubjid,
            DiaryReturned(
                diary="FALL", from_day=28 * month, to_day=28 * month + 27, entries=entries
            ),
        )
    yield (
        usubjid,
        AdverseEventReported(
            term="Skin redness", category="skin", day=12, severity="mild", related_device=True
        ),
    )


def assessed(visit: str, day: int, instrument: str, number: int) -> AssessmentRecorded:
    """Return a form with 14 items."""
    items = {f"{instrument}{i:02d}": (number + i) % 5 for i in range(1, 15)}
    scores = {instrument: float(sum(items.values()))}
    return AssessmentRecorded(
        visit=visit, day=day, instrument=instrument, items=items, scores=scores
    )


def command(session: str, number: int) -> SessionCommand:
    """Return a setpoint command as it is committed before it is sent."""
    return SessionCommand(
        session=session,
        t_s=12.5 + number,
        number=number,
        phase="requested" if number % 2 else "accepted",
        block="walk-1",
        setpoints={"speed_m_s": 0.42, "support_fraction": 0.35, "guidance": 0.8},
    )


def of_session(usubjid: str, number: int, commands: int) -> Events:
    """Yield the events of a session."""
    name, day = f"{usubjid}-S{number:02d}", 2 * number
    yield usubjid, SessionOpened(
        session=name, number=number, day=day, protocol=PROTOCOLS[0], planned_minutes=30.0,
        device={"driver": "simulated", "serial": "SIM-1", "firmware": "1.0"}, therapist="bench",
    )  # fmt: skip
    for old, new, t_s in (("planned", "ready", 0.0), ("ready", "running", 5.0)):
        yield usubjid, SessionTransition(session=name, t_s=t_s, old=old, new=new, cause="command")
    for step in range(commands):
        if step % 3 == 2:
            yield usubjid, SessionAdapted(
                session=name, t_s=60.0 * step, parameter="support_fraction", old=0.35,
                inputs={"symmetry": 0.83, "cadence_per_min": 71.25}, proposed=0.33,
                accepted=True, by="bench", rule="symmetry >= 0.8",
            )  # fmt: skip
        else:
            yield usubjid, command(name, step)
    for prompt, values in (("rpe", {"rpe": 12.0}), ("pain", {"nrs": 2.0}), ("rpe", {"rpe": 13.0})):
        yield usubjid, SessionPrompt(session=name, t_s=600.0, prompt=prompt, values=values)
    yield (
        usubjid,
        SessionTransition(session=name, t_s=1805.0, old="running", new="completed", cause="plan"),
    )
    digest = sha256_text(name)
    sealed = SealedFile(
        name="motion.parquet", sha256=digest, rows=180000, first_seq=0, last_seq=179999, gaps=0
    )
    yield (
        usubjid,
        TelemetrySealed(
            session=name, folder=f"telemetry/{name}", manifest_sha256=digest, files=[sealed]
        ),
    )
    dose = Dose(minutes=30.0, moving_minutes=27.5, steps=1880, distance_m=702.5)
    yield usubjid, SessionClosed(
        session=name, number=number, day=day, status="completed", dose=dose,
        dose_source="telemetry",
    )  # fmt: skip
