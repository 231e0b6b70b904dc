"""Replay: obtain every decision of a session again from its inputs, and compare.

The program is built again from the study's protocol as it was, the inputs are fed to the
machine, and every event that it appends is compared with the record, byte for byte as
canonical JSON, and every setpoint with what the input log says was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trialkit._canonical import canonical_json, sha256_file
from trialkit.errors import TelemetryDamaged, UnknownName
from trialkit.record.sealing import read_manifest
from trialkit.record.state import SessionState
from trialkit.session import inputs
from trialkit.session import words as w
from trialkit.session.inputs import LogContent, decision_model, decode, read_inputs
from trialkit.session.machine import OWN_DEVIATIONS, start, step
from trialkit.session.program import Course, Program, make_course
from trialkit.study import Study

_KINDS = ("session.transition", "session.command", "session.adapted", "session.prompt")
_RECOVERED = "recover"


@dataclass(frozen=True)
class Difference:
    """The first thing that a replay did not obtain again.

    Attributes
    ----------
    what : str
        Kind of the event, or ``setpoints``.
    number : int
        From 1, among the session's events, or among the setpoints sent.
    t_s : float
        Session time at which the replay was.
    recorded, obtained : str or None
        Canonical JSON; None where there is none.
    """

    what: str
    number: int
    t_s: float
    recorded: str | None
    obtained: str | None

    def __str__(self) -> str:
        """Return the difference on three lines."""
        return (
            f"{self.what} {self.number} at {self.t_s:.3f} s\n"
            f"  recorded: {self.recorded or 'nothing'}\n"
            f"  obtained: {self.obtained or 'nothing'}"
        )


@dataclass(frozen=True)
class Replayed:
    """What a replay found.

    Attributes
    ----------
    session : str
    inputs, events, setpoints : int
        How many were fed, and how many were obtained and are as recorded.
    complete : bool
        False where the log was cut by a crash: what it holds was replayed.
    same_model : bool
        Whether rules, envelope, limits and guards are those of the session.
    difference : Difference or None
        None where every decision was obtained again.
    """

    session: str
    inputs: int
    events: int
    setpoints: int
    complete: bool
    same_model: bool
    difference: Difference | None

    @property
    def same(self) -> bool:
        """True where every decision was obtained again."""
        return self.difference is None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data."""
        found = vars(self.difference) if self.difference is not None else None
        return {**vars(self), "same": self.same, "difference": found}


def replay(study: Study, session: str) -> Replayed:
    """Replay a session of a study.

    Parameters
    ----------
    study : Study
        Open for reading is enough.
    session : str
        Its id, such as ``STROKE-RAGT-01-001-S07``.

    Raises
    ------
    NotPermitted
        If the role may not see allocations: who has a session on the device is in its arm.
    UnknownName
        If there is no such session, or it was not on a device.
    TelemetryDamaged
        If the input log is missing, damaged, or not the one that was sealed, or the study
        does not hold the protocol that its head names.
    """
    known = study.state.sessions.get(session)
    study.require("see_allocation", command="replay", subject=known.usubjid if known else None)
    if known is None or known.opened_seq is None:
        raise UnknownName(
            f"there is no session {session} on a device.",
            remedy="Use an id such as those of `trialkit replay --all`.",
        )
    recorded = list(_recorded(study, known))
    log = _log(study, known)
    if log is None:
        return Replayed(session, 0, 0, 0, False, True, _missing(recorded))
    return replay_inputs(log, recorded, _course(study, log))


def device_sessions(study: Study) -> list[str]:
    """Return the ids of the sessions on a device that have ended, in the order of their opening.

    Raises
    ------
    NotPermitted
        If the role may not see allocations.
    """
    study.require("see_allocation", command="device_sessions")
    found = [
        s for s in study.state.sessions.values() if s.opened_seq is not None and s.status != "open"
    ]
    return [s.session for s in sorted(found, key=lambda s: s.opened_seq or 0)]


def replay_inputs(log: LogContent, recorded: Sequence[str], course: Course) -> Replayed:
    """Feed the inputs of a log to a machine with this course and compare.

    Parameters
    ----------
    recorded : sequence of str
        Canonical JSON of ``{"kind", "payload", "reason"}`` of each event of the machine.
    """
    session = str(log.head["session"])
    comparison = _Comparison(recorded, _sent(log), cut=log.ended is None)
    state = start(Program(course, session, log.head["levels"]))
    fed = 0
    for entry in log.entries:
        if "input" not in entry:
            continue
        state, effects = step(state, decode(entry))
        fed += 1
        comparison.take(effects, state.t_s)
        if comparison.difference is not None:
            break
    else:
        comparison.end(state.t_s)
    return Replayed(
        session=session,
        inputs=fed,
        events=comparison.events,
        setpoints=comparison.setpoints,
        complete=log.ended is not None,
        same_model=decision_model(course) == log.head.get("decision_model_sha256"),
        difference=comparison.difference,
    )


class _Comparison:
    """Holds what was recorded against what comes out.

    A log that a crash cut may lack the inputs of the last events, and the record the last
    events of the inputs: then only what both hold is compared.
    """

    def __init__(self, recorded: Sequence[str], sent: Sequence[str], *, cut: bool) -> None:
        self._recorded = recorded
        self._sent = sent
        self._cut = cut
        self.events = 0
        self.setpoints = 0
        self.difference: Difference | None = None

    def take(self, effects: Sequence[w.Effect], t_s: float) -> None:
        """Compare the effects of one input."""
        for effect in effects:
            if isinstance(effect, w.Append):
                payload = effect.payload.model_dump(mode="json")
                text = _event_text(effect.payload.kind, payload, effect.reason)
                same = self._check(effect.payload.kind, self._recorded, self.events, text, t_s)
                self.events += same
            elif isinstance(effect, w.Send):
                text = _send_text(effect.number, effect.values, effect.rates)
                same = self._check("setpoints", self._sent, self.setpoints, text, t_s)
                self.setpoints += same
            else:
                continue
            if self.difference is not None:
                return

    def _check(self, what: str, known: Sequence[str], at: int, text: str, t_s: float) -> bool:
        recorded = known[at] if at < len(known) else None
        if recorded == text:
            return True
        if recorded is not None or not self._cut:
            self.difference = Difference(what, at + 1, t_s, recorded, text)
        return False

    def end(self, t_s: float) -> None:
        """Find what was recorded and never came out."""
        for what, known, at in (
            ("event", self._recorded, self.events),
            ("setpoints", self._sent, self.setpoints),
        ):
            if at < len(known) and not self._cut and self.difference is None:
                self.difference = Difference(what, at + 1, t_s, known[at], None)


def _event_text(kind: str, payload: Mapping[str, Any], reason: str | None) -> str:
    return canonical_json({"kind": kind, "payload": payload, "reason": reason})


def _send_text(number: int, values: Mapping[str, float], rates: Mapping[str, float]) -> str:
    return canonical_json({"number": number, "values": dict(values), "rates": dict(rates)})


def _sent(log: LogContent) -> list[str]:
    return [
        _send_text(entry["sent"], entry["values"], entry["rates"])
        for entry in log.entries
        if "sent" in entry
    ]


def _recorded(study: Study, session: SessionState) -> Iterator[str]:
    """Yield the events that the machine appended, as canonical JSON."""
    events = study.record.read(
        kinds=[*_KINDS, "deviation.raised"],
        subject=session.usubjid,
        after=session.opened_seq or 0,
    )
    for event in events:
        payload = event.payload
        if payload.get("session") != session.session or payload.get("cause") == _RECOVERED:
            continue
        if event.kind == "deviation.raised" and payload["category"] not in OWN_DEVIATIONS:
            continue
        yield _event_text(event.kind, payload, event.reason)


def _missing(recorded: Sequence[str]) -> Difference | None:
    return Difference("event", 1, 0.0, recorded[0], None) if recorded else None


def _log(study: Study, session: SessionState) -> LogContent | None:
    """Return the input log as it was sealed; None where a crash came before the first input."""
    sealed = study.record.read(
        kinds=["session.telemetry_sealed"],
        subject=session.usubjid,
        after=session.opened_seq or 0,
    )
    event = next((e for e in sealed if e.payload["session"] == session.session), None)
    files = event.payload["files"] if event is not None else []
    entry = next((f for f in files if f["name"] == inputs.NAME), None)
    if entry is None and session.status == "recovered" and not files:
        return None
    if event is None or entry is None:
        raise TelemetryDamaged(
            f"{session.session} has no input log.",
            remedy="Sessions of a version without input logs cannot be replayed.",
        )
    folder = study.folder / event.payload["folder"]
    read_manifest(folder, sha256=event.payload["manifest_sha256"])
    path = folder / inputs.NAME
    log = read_inputs(path)
    if log.fault is not None:
        raise TelemetryDamaged(
            f"{path} is damaged: {log.fault}.", remedy="Restore it from a backup."
        )
    if sha256_file(path) != entry["sha256"] or log.head.get("session") != session.session:
        raise TelemetryDamaged(
            f"{path} is not the input log that was sealed.", remedy="Restore it from a backup."
        )
    if log.ended is None and session.status != "recovered":
        raise TelemetryDamaged(f"{path} has no end.", remedy="Restore it from a backup.")
    return log


def _course(study: Study, log: LogContent) -> Course:
    hashed = log.head["protocol_sha256"]
    for arm, digest in study.state.protocol_hashes.items():
        if digest == hashed:
            return make_course(study.protocols[arm])
    raise TelemetryDamaged(
        f"the study does not hold the protocol {log.head['protocol']} of {hashed[:12]}.",
        remedy="Restore the study from a backup.",
    )
