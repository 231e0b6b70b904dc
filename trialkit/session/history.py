"""What the record says of a participant's sessions on the device, up to an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trialkit.adaptation.daily import DailyState
from trialkit.record.received import STEP
from trialkit.session.bouts import DIGITS, Bout, bouts_of, daily_state, mean_error
from trialkit.session.gait import paretic_side
from trialkit.session.program import Course
from trialkit.session.telemetry import SealedRows, sealed_rows
from trialkit.study import Study

_KINDS = (
    "participant.handed",
    "device.returned",
    "session.opened",
    "session.adapted",
    "session.prompt",
    "session.telemetry_sealed",
    "session.closed",
    "settings.decided",
)
_STRIDES = (
    "grf_vertical_l",
    "grf_vertical_r",
    "belt_speed_m_s",
    "stride_time_s",
    "step_length_l_m",
    "step_length_r_m",
)


@dataclass
class Ended:
    """A session on the device that has ended; `prompts` are (prompt, values) in their order."""

    session: str
    day: int
    sealed: bool = False
    status: str = ""
    prompts: list[tuple[str, Mapping[str, float]]] = field(default_factory=list)


@dataclass(frozen=True)
class History:
    """Sessions that have ended, and the levels at the end of the last one.

    `decided` is the decision about the next session that stands, `open` a session that has not
    ended.
    """

    sessions: Sequence[Ended]
    levels: Mapping[str, float]
    decided: dict[str, Any] | None
    open: str | None


def history(study: Study, usubjid: str, *, before: int | None = None) -> History:
    """Return what the events before number `before` say; by default all.

    Before an event of a site or a home device that is what its own chain says: no more was known
    there. Of a home device that was lost, sessions without an end are left out.
    """
    chain = (before or 0) // STEP
    running: dict[str, Ended] = {}
    ended: list[Ended] = []
    levels: dict[str, float] = {}
    at_end: dict[str, float] = {}
    decided: dict[str, Any] | None = None
    for event in study.record.read(kinds=_KINDS, subject=usubjid):
        if event.seq == before:
            break
        if chain and event.seq // STEP != chain:
            continue
        payload = event.payload
        own = running.get(str(payload.get("session")))
        if event.kind == "session.opened":
            name = str(payload["session"])
            running[name], decided = Ended(name, int(payload["day"])), None
        elif event.kind == "session.adapted" and payload["accepted"]:
            levels[payload["parameter"]] = float(payload["proposed"])
        elif event.kind == "participant.handed":
            levels |= payload["levels"]
        elif event.kind == "device.returned":
            running = {k: v for k, v in running.items() if k not in payload["unfinished"]}
            for one in ended:
                one.sealed = one.sealed and one.session not in payload["missing"]
        elif event.kind == "settings.decided":
            levels |= payload["settings"]
            decided = dict(payload) | {"by": event.actor, "reason": event.reason}
        elif own is not None and event.kind == "session.prompt":
            own.prompts.append((payload["prompt"], payload["values"]))
        elif own is not None and event.kind == "session.telemetry_sealed":
            own.sealed = True
        elif own is not None and event.kind == "session.closed":
            own.status, at_end = payload["status"], dict(levels)
            ended.append(running.pop(own.session))
    return History(ended, at_end, decided, next(iter(running), None))


def measures_of(
    study: Study, usubjid: str, course: Course, past: History, options: Mapping[str, float]
) -> tuple[dict[str, float], DailyState | None]:
    """Return the measures of the last session, and the daily state after all of them.

    Parameters
    ----------
    past : History
        With at least one session.
    options : mapping of str to float
        All options of the scheme ``daily_state``.

    Returns
    -------
    measures : dict of str to float
        Those of `trialkit.adaptation.next_settings` that can be had: RPE is the highest of the
        walking blocks, trips their sum.
    daily : DailyState or None

    Raises
    ------
    TelemetryDamaged
        If telemetry is not what was sealed.
    """
    last = past.sessions[-1]
    walks = {block.id for block in course.blocks if block.kind == "walk"}
    entered = [values for prompt, values in last.prompts if prompt in walks]
    found = {"completed": float(last.status == "completed")}
    for sign, joined in (("rpe", max), ("trips", sum)):
        if values := [float(v[sign]) for v in entered if sign in v]:
            found[sign] = float(joined(values))
    groups = {s.session: sealed_rows(study, s.session) for s in past.sessions if s.sealed}
    bouts: dict[str, list[Bout]] = {name: bouts_of(rows) for name, rows in groups.items()}
    error = mean_error(bouts.get(last.session, []))
    if error is not None:
        found["tracking_error_rad"] = error
    side = paretic_side(study.participant(usubjid).attributes)
    walked, computed = _walking(groups.get(last.session, []), side)
    found |= walked
    if len(past.sessions) > 1:
        before, alike = _walking(groups.get(past.sessions[-2].session, []), side)
        if "step_asymmetry" in before and computed is alike:
            found["step_asymmetry_before"] = before["step_asymmetry"]
    days = [(s.day, bouts[s.session]) for s in past.sessions if s.session in bouts]
    state, count = daily_state(days, options)
    return found | {"bouts": float(count)}, state


def _walking(groups: Sequence[SealedRows], side: Any) -> tuple[dict[str, float], bool]:
    """Return load share and step asymmetry over the strides of a session.

    The second result tells whether they were found in forces, or reported by the device: the
    asymmetries of the two are not compared.
    """
    from trialkit.gait import Signals, gait_report

    signals = []
    for group in groups:
        wanted = [name for name in _STRIDES if name in group.units]
        if "grf_vertical_l" in wanted or "stride_time_s" in wanted:
            signals.append(Signals(group.name, group.frame(wanted), {n: "" for n in wanted}))
    report = gait_report(signals, paretic=side or "left")
    table = report.table
    found: dict[str, float] = {}
    if "paretic_load_share" in table and table["paretic_load_share"].notna().any():
        share = round(float(table["paretic_load_share"].mean()), DIGITS)
        name = "paretic_load_share" if side else "lesser_load_share"
        found[name] = share if side else round(min(share, 1.0 - share), DIGITS)
    if "step_length_l_m" in table and len(table):
        left, right = (float(table[f"step_length_{s}_m"].mean()) for s in "lr")
        if left + right > 0:
            found["step_asymmetry"] = round(abs(left - right) / (left + right), DIGITS)
    return found, report.computed
