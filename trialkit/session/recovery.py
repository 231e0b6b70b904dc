"""Closes the sessions that a crash left open, with everything that had reached the disk."""

from __future__ import annotations

from pathlib import Path

from trialkit.errors import StudyBusy
from trialkit.record.chain import Event
from trialkit.record.journal import SUFFIX
from trialkit.record.kinds import (
    DeviationRaised,
    Dose,
    SessionClosed,
    SessionTransition,
    TelemetrySealed,
)
from trialkit.record.sealing import MANIFEST, Sealed, read_manifest, seal
from trialkit.record.state import SessionState
from trialkit.session import inputs
from trialkit.session.deviations import find_deviations, reached_after
from trialkit.session.dose import NOTHING, delivered
from trialkit.session.program import make_course
from trialkit.session.runner import SessionOutcome
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.heads import sign_head

CODE = "power_loss_recovered"
_KINDS = (
    "session.transition",
    "session.prompt",
    "session.command",
    "session.adapted",
    "session.telemetry_sealed",
    "deviation.raised",
)


@command("session", atomic=False)
def recover(study: Study) -> list[SessionOutcome]:
    """Seal and close every session that is open in the record and runs nowhere.

    Each journal is kept up to its last good frame, the input log up to its last good line.
    What was lost is a deviation event. The dose is computed from the telemetry that was kept,
    and the status is ``recovered``.

    Returns
    -------
    list of SessionOutcome
        One a session, in the order in which they were opened.

    Raises
    ------
    NotPermitted
        If the person who acts may not run sessions.
    TelemetryDamaged, StorageRefused
        If the files cannot be sealed; the session stays open.
    """
    opened = sorted(study.state.open_sessions, key=lambda s: s.opened_seq or 0)
    done = []
    for session in opened:
        try:
            running = study.running(session.session)
        except StudyBusy:  # it runs in another process, or is being recovered there
            continue
        with running:
            study.refresh()
            if study.state.sessions[session.session].status == "open":
                done.append(_recover(study, session))
    return done


def _recover(study: Study, session: SessionState) -> SessionOutcome:
    events = list(
        study.record.read(kinds=_KINDS, subject=session.usubjid, after=session.opened_seq or 0)
    )
    events = [event for event in events if event.payload.get("session") == session.session]
    phase, t_s, logged = "planned", 0.0, 0.0
    for event in events:
        if event.kind == "session.transition":
            phase, t_s = str(event.payload["new"]), float(event.payload["t_s"])
        elif event.kind == "session.prompt" and "minutes" in event.payload["values"]:
            logged += float(event.payload["values"]["minutes"])
    sealed_before = any(event.kind == "session.telemetry_sealed" for event in events)
    folder = study.folder / "telemetry" / session.session
    sealed = _seal(folder, session.session) if folder.is_dir() else None
    begun = sealed is not None and bool(sealed.files)
    dose = delivered(folder, logged_minutes=logged) if begun else NOTHING
    before = study.state.seq
    with study.batch():
        _append(study, session, phase, t_s, None if sealed_before else sealed)
        _deviations(study, session, events, dose, logged)
        study.append(
            SessionClosed(
                session=session.session,
                number=session.number,
                day=session.day,
                status="recovered",
                dose=dose,
                dose_source="telemetry",
                code=CODE,
            ),
            subject=session.usubjid,
        )
    n = study.state.seq - before
    sign_head(study)
    return SessionOutcome(session.session, "recovered", dose, n, CODE)


def _deviations(
    study: Study, session: SessionState, events: list[Event], dose: Dose, logged: float
) -> None:
    """Append the deviations that events and dose show, but none of a category twice."""
    protocol = next((p for p in study.protocols.values() if p.id == session.protocol), None)
    if protocol is None:
        return
    known = {e.payload["category"] for e in events if e.kind == DeviationRaised.kind}
    course = make_course(protocol)
    found = find_deviations(
        course,
        [event.model() for event in events],
        dose,
        reached_after(course, 60.0 * max(0.0, dose.minutes - logged)),
        session=session.session,
        day=session.day,
    )
    for deviation in found:
        if deviation.category not in known:
            study.append(deviation, subject=session.usubjid)


def _seal(folder: Path, session: str) -> Sealed:
    if (folder / MANIFEST).is_file() and not list(folder.glob(f"*{SUFFIX}")):
        sealed = read_manifest(folder)
    else:
        log, lost = inputs.keep_good_lines(folder / inputs.NAME)
        sealed = seal(
            folder,
            session=session,
            status="recovered",
            beside={inputs.NAME: log.lines} if log is not None else None,
            clock=log.clock if log is not None else (),
            lost_bytes=lost,
        )
    inputs.torn_tail(folder / inputs.NAME).unlink(missing_ok=True)  # the manifest counts it now
    return sealed


def _append(
    study: Study, session: SessionState, phase: str, t_s: float, sealed: Sealed | None
) -> None:
    study.append(
        SessionTransition(
            session=session.session,
            t_s=t_s,
            old=phase,
            new="recovered",
            cause="recover",
            code=CODE,
        ),
        subject=session.usubjid,
    )
    if sealed is None:
        return
    if sealed.lost_bytes:
        study.append(
            DeviationRaised(
                category="telemetry_loss",
                detail=f"{sealed.lost_bytes} bytes after the last good frame or line were not kept",
                day=session.day,
                session=session.session,
            ),
            subject=session.usubjid,
        )
    study.append(
        TelemetrySealed(
            session=session.session,
            folder=sealed.folder.relative_to(study.folder).as_posix(),
            manifest_sha256=sealed.manifest_sha256,
            files=sealed.files,
        ),
        subject=session.usubjid,
    )
