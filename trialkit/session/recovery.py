"""Closes the sessions that a crash left open, with everything that had reached the disk."""

from __future__ import annotations

from trialkit.record.journal import Sealed, seal
from trialkit.record.kinds import DeviationRaised, SessionClosed, SessionTransition, TelemetrySealed
from trialkit.record.state import SessionState
from trialkit.session.dose import NOTHING, delivered
from trialkit.session.runner import SessionOutcome
from trialkit.study import Study

CODE = "power_loss_recovered"


def recover(study: Study) -> list[SessionOutcome]:
    """Seal and close every session that is open in the record.

    Each journal is kept up to its last good frame. What was lost is a deviation event. The
    dose is computed from the telemetry that was kept, and the status is ``recovered``.

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
    study.require("session")
    opened = sorted(study.state.open_sessions, key=lambda s: s.opened_seq or 0)
    return [_recover(study, session) for session in opened]


def _recover(study: Study, session: SessionState) -> SessionOutcome:
    events = list(
        study.record.read(
            kinds=["session.transition", "session.prompt", "session.telemetry_sealed"],
            subject=session.usubjid,
            after=session.opened_seq or 0,
        )
    )
    phase, t_s, logged, sealed_before = "planned", 0.0, 0.0, False
    for event in events:
        payload = event.payload
        if payload["session"] != session.session:
            continue
        if event.kind == "session.transition":
            phase, t_s = str(payload["new"]), float(payload["t_s"])
        elif event.kind == "session.telemetry_sealed":
            sealed_before = True
        elif "minutes" in payload["values"]:
            logged += float(payload["values"]["minutes"])
    folder = study.folder / "telemetry" / session.session
    sealed = seal(folder, session=session.session, status="recovered") if folder.is_dir() else None
    begun = sealed is not None and bool(sealed.files)
    dose = delivered(folder, logged_minutes=logged) if begun else NOTHING
    before = study.state.seq
    with study.batch():
        _append(study, session, phase, t_s, None if sealed_before else sealed)
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
    return SessionOutcome(session.session, "recovered", dose, n, CODE)


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
                detail=f"{sealed.lost_bytes} bytes after the last good frame were not kept",
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
