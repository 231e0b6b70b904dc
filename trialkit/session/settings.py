"""The settings of the next session: a proposal from the record, and what a person decides.

The proposal rests on the record and the sealed telemetry alone, so that `check_decisions` can
make it again. A decision moves the levels with which the participant's next session begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trialkit._canonical import canonical_json, sha256_json
from trialkit.adaptation.daily import DailyState
from trialkit.adaptation.next_session import HARDER, RULES, SettingProposal, next_settings
from trialkit.adaptation.schemes import SCHEMES, model_hash
from trialkit.errors import OutOfOrder, OutOfRange, TelemetryDamaged, WrongArm
from trialkit.record.chain import Event
from trialkit.record.kinds import SettingsDecided
from trialkit.session import inputs
from trialkit.session.adapt import clamp, levels_after
from trialkit.session.history import History, history, measures_of
from trialkit.session.inputs import read_inputs
from trialkit.session.program import Course, make_course
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_active, require_text

_EPS = 1e-9


@dataclass(frozen=True)
class Bounds:
    """What a setting of the next session may be: envelope, limits and the course's target."""

    minimum: float
    maximum: float
    max_step: float


@dataclass(frozen=True)
class NextSettings:
    """A proposal for the participant's next session, and what it rests on.

    Attributes
    ----------
    usubjid, after : str
        The participant, and the last session on the device.
    old : dict of str to float
        Settings at its end.
    proposals : list of SettingProposal
        One a setting that has an envelope.
    bounds : dict of str to Bounds
    inputs : dict of str to float
        Measures of the session, and the daily state (``daily.level`` ...).
    daily : DailyState or None
        None without bouts.
    model : str
        Hash of rules, bounds and the daily state's options.
    decided : dict or None
        The decision about the next session that stands, by the fields of `SettingsDecided`.
    """

    usubjid: str
    after: str
    old: dict[str, float]
    proposals: list[SettingProposal]
    bounds: dict[str, Bounds]
    inputs: dict[str, float]
    daily: DailyState | None
    model: str
    decided: dict[str, Any] | None = None

    @property
    def proposed(self) -> dict[str, float]:
        """The settings as proposed; those without an envelope are as they were."""
        return self.old | {p.setting: p.proposed for p in self.proposals}

    def payload(
        self, settings: Mapping[str, float], outcome: Literal["accepted", "overridden"]
    ) -> SettingsDecided:
        """Return the event of a decision."""
        return SettingsDecided(
            after=self.after,
            inputs=self.inputs,
            old=self.old,
            proposed=self.proposed,
            reasons={p.setting: p.reason for p in self.proposals},
            settings=dict(settings),
            outcome=outcome,
            model=self.model,
        )


@dataclass(frozen=True)
class Checked:
    """A stored decision that was made again; `differences` is empty where all is the same."""

    usubjid: str
    seq: int
    session: str
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """True where nothing differs."""
        return not self.differences


def propose_settings(study: Study, usubjid: str) -> NextSettings:
    """Return the proposal for the next session of a participant.

    Raises
    ------
    NotPermitted
        If the role may not see progress or allocations.
    UnknownName, WrongArm
        If there is no such participant, or one who does not train on the device.
    OutOfOrder
        If no session on the device has ended, or one is open.
    TelemetryDamaged
        If telemetry is not what was sealed.
    """
    study.require("see_progress")
    course = _course(study, usubjid)
    past = history(study, usubjid)
    if past.open is not None:
        raise OutOfOrder(
            f"session {past.open} of {usubjid} is open.",
            remedy="Wait for its end, or run `trialkit recover` if its program has ended.",
        )
    return _propose(study, usubjid, course, past)


@command("session", atomic=False)
def decide_settings(
    study: Study,
    usubjid: str,
    *,
    override: Mapping[str, float] | None = None,
    reason: str | None = None,
) -> Event:
    """Accept the proposal, or override it, and let the next session begin with the result.

    A second decision before the next session replaces the first one.

    Parameters
    ----------
    override : mapping of setting to value, optional
        Inside the bounds; a harder value is at most the envelope's step from the last session,
        an easier one may be further. What is not named is as proposed.
    reason : str, optional
        Needed for an override.

    Raises
    ------
    NotPermitted
        If the role may not run sessions.
    OutOfRange
        If a value is outside, or its setting has no envelope.
    UsageError
        If an override has no reason.
    UnknownName, WrongArm, OutOfOrder, TelemetryDamaged
        See `propose_settings`.
    """
    require_active(study, usubjid)
    found = propose_settings(study, usubjid)
    if not override:
        return study.append(
            found.payload(found.proposed, "accepted"), subject=usubjid, reason=reason
        )
    reason = require_text(reason, "a reason for the override")
    for name, value in override.items():
        if fault := _fault(found, name, value):
            raise OutOfRange(f"{name} {value:g}: {fault}", remedy="Choose a value inside.")
    chosen = found.proposed | {name: float(value) for name, value in override.items()}
    return study.append(found.payload(chosen, "overridden"), subject=usubjid, reason=reason)


def check_decisions(study: Study, usubjid: str) -> list[Checked]:
    """Make every stored decision of a participant again, and hold it against the record.

    The proposal is made from the events before the decision; what was accepted must be the
    proposal, and what was overridden inside the bounds; and the session that followed must have
    begun with the settings that were decided.

    Raises
    ------
    NotPermitted, UnknownName, WrongArm, TelemetryDamaged
        See `propose_settings`.
    """
    study.require("see_progress")
    course = _course(study, usubjid)
    kinds = ["settings.decided", "session.opened"]
    events = list(study.record.read(kinds=kinds, subject=usubjid))
    checked = []
    for at, event in enumerate(events):
        if event.kind != "settings.decided":
            continue
        differences = _differences(study, usubjid, course, event)
        following = events[at + 1] if at + 1 < len(events) else None
        if following is not None and following.kind == "session.opened":
            begun = _begun(study, str(following.payload["session"]))
            if begun is not None and begun != event.payload["settings"]:
                differences.append(
                    f"{following.payload['session']} began with {canonical_json(begun)}"
                )
        checked.append(Checked(usubjid, event.seq, str(event.payload["after"]), tuple(differences)))
    return checked


def _course(study: Study, usubjid: str) -> Course:
    study.participant(usubjid)
    arm = study.design.arm(study.arm_of(usubjid))
    protocol = study.protocols.get(arm.code)
    if arm.delivery != "device" or protocol is None or protocol.device is None:
        raise WrongArm(
            f"{usubjid} is in arm {arm.label}, whose sessions are not on a device.",
            remedy="Settings are proposed for sessions on a device only.",
        )
    return make_course(protocol)


def _propose(study: Study, usubjid: str, course: Course, past: History) -> NextSettings:
    if not past.sessions:
        raise OutOfOrder(
            f"no session of {usubjid} on the device has ended.",
            remedy="The first session begins with the settings of the protocol.",
        )
    levels = levels_after(course.start, past.levels)
    old = {str(name): clamp(course, name, value) for name, value in levels.items()}
    options = _daily_options(course)
    measures, daily = measures_of(study, usubjid, course, past, options)
    state = {}
    if daily is not None:
        state = {"slope": daily.slope, "fatigue": daily.fatigue, "slope_sd": daily.p_ss**0.5}
    bounds = {
        name: _bounds(course, name, value)
        for name, value in old.items()
        if name in HARDER and name in course.envelopes
    }
    proposals = next_settings(old, bounds, measures=measures, daily_state=state)
    told = {} if daily is None else {f"daily.{k}": v for k, v in daily._asdict().items()}
    return NextSettings(
        usubjid=usubjid,
        after=past.sessions[-1].session,
        old=old,
        proposals=proposals,
        bounds=bounds,
        inputs=measures | {k: v for k, v in told.items() if not k.startswith("daily.p_")},
        daily=daily,
        model=sha256_json(
            {
                "rules": RULES,
                "bounds": {name: vars(_envelope(course, name)) for name in bounds},
                "daily_state": model_hash("daily_state", options),
            }
        ),
        decided=past.decided,
    )


def _envelope(course: Course, name: str) -> Bounds:
    own, limit = course.envelopes[name], course.limits.get(name)
    low = own.minimum if limit is None else max(own.minimum, limit.minimum)
    high = own.maximum if limit is None else min(own.maximum, limit.maximum)
    return Bounds(low, high, own.max_step)


def _bounds(course: Course, name: str, now: float) -> Bounds:
    """Return envelope and limits, not further than the target of the course, unless it is."""
    own = _envelope(course, name)
    rule = next(r for r in course.rules if r.parameter == name)
    if rule.step > 0:
        return Bounds(own.minimum, min(own.maximum, max(rule.target, now)), own.max_step)
    return Bounds(max(own.minimum, min(rule.target, now)), own.maximum, own.max_step)


def _daily_options(course: Course) -> dict[str, float]:
    """Return the options of the daily state: those of the protocol, where it names the scheme."""
    named = [e.options for e in course.envelopes.values() if e.scheme == "daily_state"]
    return SCHEMES["daily_state"].resolve(named[0] if named else {})


def _fault(found: NextSettings, name: str, value: float) -> str:
    own = found.bounds.get(name)
    if own is None:
        return f"it has no envelope; {', '.join(found.bounds) or 'nothing'} has one."
    if not own.minimum - _EPS <= value <= own.maximum + _EPS:
        return f"outside of {own.minimum:g} to {own.maximum:g}."
    if (value - found.old[name]) * HARDER[name] > own.max_step + _EPS:
        return f"more than {own.max_step:g} harder than {found.old[name]:g}."
    return ""


def _differences(study: Study, usubjid: str, course: Course, event: Event) -> list[str]:
    stored = event.payload
    try:
        again = _propose(study, usubjid, course, history(study, usubjid, before=event.seq))
    except OutOfOrder as error:
        return [error.message]
    made = again.payload(stored["settings"], stored["outcome"]).model_dump(mode="json")
    found = [
        f"{name}: recorded {canonical_json(stored[name])}, obtained {canonical_json(made[name])}"
        for name in made
        if canonical_json(stored[name]) != canonical_json(made[name])
    ]
    if stored["outcome"] == "accepted" and stored["settings"] != again.proposed:
        found.append("settings: accepted, and not as proposed")
    for name, value in stored["settings"].items():
        moved = value != again.proposed.get(name)
        if moved and (fault := _fault(again, name, value)):
            found.append(f"{name}: {fault}")
    return found


def _begun(study: Study, session: str) -> dict[str, float] | None:
    """Return the levels with which a session began, by its input log; None without one."""
    path = study.folder / "telemetry" / session / inputs.NAME
    if not path.is_file():
        return None
    head = read_inputs(path).head
    if head.get("session") != session:
        raise TelemetryDamaged(
            f"{path} is not the input log of {session}.", remedy="Restore it from a backup."
        )
    return {str(k): float(v) for k, v in head["levels"].items()}
