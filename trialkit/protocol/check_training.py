"""Checks of what one arm does: device, schedule, blocks, progression, limits, rules."""

from __future__ import annotations

from dataclasses import dataclass

from trialkit._yaml import Document
from trialkit.protocol.check_scheme import check_schemes
from trialkit.protocol.check_shared import did_you_mean, last_day, repeated
from trialkit.protocol.check_signs import (
    check_around,
    check_bounds,
    check_condition_value,
    check_entered,
)
from trialkit.protocol.conditions import parse_condition
from trialkit.protocol.families import FAMILIES, DeviceProfile, ParameterProfile, unit_hint
from trialkit.protocol.model import (
    BLOCK_MEASURES,
    DEVICE_KINDS,
    MEASURES,
    PARAMETERS,
    WALKING_KINDS,
    Arm,
    Block,
    DeviceNeed,
    Envelope,
    Fidelity,
    Limit,
    ParameterRule,
    Schedule,
    StopRule,
)

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Training:
    """The sound sections of a protocol that say what the arm does."""

    document: Document
    delivery: str | None
    device: DeviceNeed | None
    schedule: Schedule | None
    blocks: list[tuple[int, Block]]
    rules: list[tuple[int, ParameterRule]]
    limits: list[tuple[int, Limit]]
    stop_rules: list[tuple[int, StopRule]]
    envelopes: list[tuple[int, Envelope]]
    screening: list[str]
    hard: dict[str, ParameterProfile]

    def soft(self, parameter: str) -> Limit | None:
        """Return the protocol's own limit of a parameter."""
        return next((limit for _, limit in self.limits if limit.parameter == parameter), None)

    @property
    def during(self) -> set[str]:
        """Signs that are known while the session runs: prompted for, or measured."""
        prompted = {sign for _, block in self.blocks for sign in block.prompts}
        return prompted | (set(MEASURES) if self.document.data.get("device") else set())

    @property
    def judged(self) -> set[str]:
        """Signs that a progression or a scheme may look at: also means over a time."""
        return self.during | (set(BLOCK_MEASURES) if self.document.data.get("device") else set())


def check_training(document: Document, profile: DeviceProfile | None = None) -> None:
    """Add every fault of the sections that belong to one arm.

    Parameters
    ----------
    document : Document
    profile : DeviceProfile, optional
        A real device's capability; without it the table of the family is used.
    """
    arms = {arm.code: arm for _, arm in document.parts(Arm, "trial", "arms")}
    arm = arms.get(str(document.data.get("arm")))
    device = document.part(DeviceNeed, "device")
    known = profile or (FAMILIES[device.family] if device else None)
    session = document.data.get("session")
    screening = session.get("screening") if isinstance(session, dict) else None
    training = Training(
        document=document,
        delivery=arm.delivery if arm else None,
        device=device,
        schedule=document.part(Schedule, "schedule"),
        blocks=document.parts(Block, "session", "blocks"),
        rules=document.parts(ParameterRule, "progression", "order"),
        limits=document.parts(Limit, "limits"),
        stop_rules=document.parts(StopRule, "stop_rules"),
        envelopes=document.parts(Envelope, "adaptation"),
        screening=screening if isinstance(screening, list) else [],
        hard={parameter.name: parameter for parameter in known.parameters} if known else {},
    )
    _check_delivery(training, profile)
    _check_parameters_named(training)
    _check_limits(training)
    _check_blocks(training)
    _check_progression(training)
    _check_adaptation(training)
    check_schemes(
        document,
        training.envelopes,
        training.judged,
        {rule.parameter: bool(rule.advance_if or rule.regress_if) for _, rule in training.rules},
    )
    _check_stop_rules(training)
    check_bounds(document, training.stop_rules)
    check_entered(document, training.screening, training.blocks)
    check_around(document)
    _check_schedule(training)


def _check_delivery(training: Training, profile: DeviceProfile | None) -> None:
    """The arm's delivery, the device section and the limits fit each other."""
    document, device = training.document, training.device
    if training.delivery == "device" and not document.data.get("device"):
        document.add(
            ("arm",),
            "a device delivers this arm and the file has no device section.",
            "Add device with family and parameters.",
        )
    if training.delivery in {"therapist", "none"}:
        for section in ("device", "progression", "limits", "adaptation"):
            if document.data.get(section):
                document.add(
                    (section,),
                    f"this arm is delivered by {training.delivery}, not by a device.",
                    "Remove the section, or set delivery: device.",
                )
    if device is None:
        return
    if profile is not None and profile.family != device.family:
        document.add(
            ("device", "family"),
            f"the device is a {profile.family}.",
            f"Use family: {profile.family}, or another device.",
        )
    for position in repeated(device.parameters):
        document.add(
            ("device", "parameters", position), "the parameter is named twice.", "Keep one."
        )
    have = {limit.parameter for _, limit in training.limits}
    whole = document.whole("limits")
    for position, parameter in enumerate(device.parameters):
        if parameter not in have and whole:
            document.add(
                ("device", "parameters", position),
                f"{parameter} has no limits.",
                f"Add a row for {parameter} to limits.",
            )
        if profile is not None and parameter not in training.hard:
            document.add(
                ("device", "parameters", position),
                f"the device has no {parameter}.",
                f"Use {', '.join(training.hard)}, or another device.",
            )
    if document.whole("session") and not any(b.kind in DEVICE_KINDS for _, b in training.blocks):
        document.add(
            ("session", "blocks"), "no block is on the device.", "Add a block of kind walk."
        )


def _check_parameters_named(training: Training) -> None:
    """Each parameter is given once in a section, and is one that the device must have."""
    sections: list[tuple[Path, list[tuple[int, str]]]] = [
        (("limits",), [(i, row.parameter) for i, row in training.limits]),
        (("progression", "order"), [(i, row.parameter) for i, row in training.rules]),
        (("adaptation",), [(i, row.parameter) for i, row in training.envelopes]),
    ]
    for at, rows in sections:
        for position in repeated(name for _, name in rows):
            index, name = rows[position]
            training.document.add(
                (*at, index, "parameter"), f"{name} is given twice.", "Give one row a parameter."
            )
        for index, name in rows:
            if training.device and name not in training.device.parameters:
                training.document.add(
                    (*at, index, "parameter"),
                    f"{name} is not among device.parameters.",
                    f"Add {name} to device.parameters, or remove the row.",
                )


def _check_value(training: Training, at: Path, parameter: str, value: float) -> None:
    """A setpoint lies inside the protocol's own limits, or else at least inside the device's."""
    soft, hard = training.soft(parameter), training.hard.get(parameter)
    bound = soft or hard
    if bound is None or bound.minimum <= value <= bound.maximum:
        return
    hint = unit_hint(parameter, value, hard.maximum if hard else bound.maximum)
    whose = "the protocol's limits" if soft else "what the device can do"
    training.document.add(
        at,
        f"{value:g} is outside {whose}, {bound.minimum:g} to {bound.maximum:g}.",
        hint or f"Use a value between {bound.minimum:g} and {bound.maximum:g}.",
    )


def _check_limits(training: Training) -> None:
    for index, limit in training.limits:
        at: Path = ("limits", index)
        if limit.minimum >= limit.maximum:
            training.document.add(
                (*at, "minimum"),
                f"the minimum {limit.minimum:g} is not below the maximum {limit.maximum:g}.",
                "Exchange or correct them.",
            )
        hard = training.hard.get(limit.parameter)
        if hard is None:
            continue
        source = getattr(hard, "why", "its own capability")
        if limit.maximum > hard.maximum:
            hint = unit_hint(limit.parameter, limit.maximum, hard.maximum)
            training.document.add(
                (*at, "maximum"),
                f"{limit.maximum:g} is beyond the device's hard limit {hard.maximum:g} ({source}).",
                hint or f"Use {hard.maximum:g} or less.",
            )
        if limit.minimum < hard.minimum:
            training.document.add(
                (*at, "minimum"),
                f"{limit.minimum:g} is beyond the device's hard limit {hard.minimum:g} ({source}).",
                f"Use {hard.minimum:g} or more.",
            )
        if hard.rate_per_s is not None and limit.rate_per_s > hard.rate_per_s:
            training.document.add(
                (*at, "rate_per_s"),
                f"{limit.rate_per_s:g} a second is faster than the device's {hard.rate_per_s:g}.",
                f"Use {hard.rate_per_s:g} or less.",
            )


def _check_blocks(training: Training) -> None:
    document = training.document
    blocks = training.blocks
    for position in repeated(block.id for _, block in blocks):
        document.add(
            ("session", "blocks", blocks[position][0], "id"),
            f"{blocks[position][1].id} names two blocks.",
            "Give each block its own id.",
        )
    complete = document.whole("session") and document.whole("progression")
    started: set[str] = {rule.parameter for _, rule in training.rules}
    for index, block in blocks:
        at: Path = ("session", "blocks", index)
        given = {name: v for name in PARAMETERS if (v := getattr(block, name)) is not None}
        if given and (block.kind not in DEVICE_KINDS or training.delivery == "therapist"):
            where = "a block without the device" if training.delivery == "device" else "this arm"
            document.add(
                (*at, next(iter(given))),
                f"{where} has no setpoints (kind {block.kind}).",
                "Remove them, or use kind: walk.",
            )
            continue
        for name, value in given.items():
            if training.device and name not in training.device.parameters:
                document.add(
                    (*at, name),
                    f"{name} is not among device.parameters.",
                    f"Add {name} to device.parameters, or remove it here.",
                )
            elif block.kind == "rest" and name == "speed_m_s" and value != 0:
                document.add((*at, name), "a rest moves.", "Remove the speed, or use kind: walk.")
            else:
                _check_value(training, (*at, name), name, value)
        started |= set(given)
        if training.device and complete and block.kind in WALKING_KINDS & DEVICE_KINDS:
            for name in training.device.parameters:
                if name not in started:
                    document.add(
                        at,
                        f"{name} has no value yet in block {block.id}.",
                        f"Give {name} here, or a start in progression.",
                    )
                    started.add(name)


def _check_progression(training: Training) -> None:
    document = training.document
    for index, rule in training.rules:
        at: Path = ("progression", "order", index)
        _check_value(training, (*at, "start"), rule.parameter, rule.start)
        _check_value(training, (*at, "target"), rule.parameter, rule.target)
        way = rule.target - rule.start
        if rule.step == 0 or way == 0 or (rule.step > 0) != (way > 0):
            document.add(
                (*at, "step"),
                f"a step of {rule.step:g} does not lead from {rule.start:g} to {rule.target:g}.",
                "Give the step the sign of the way from start to target.",
            )
        elif rule.per_session_max + 1e-9 < abs(rule.step):
            document.add(
                (*at, "per_session_max"),
                f"it allows {rule.per_session_max:g} a session, less than one step of "
                f"{abs(rule.step):g}.",
                "Use at least the size of one step.",
            )
        elif training.schedule is not None:
            sessions = training.schedule.sessions_per_week * training.schedule.weeks
            if rule.per_session_max * (sessions - 1) + 1e-9 < abs(way):
                document.add(
                    (*at, "target"),
                    f"{rule.target:g} cannot be reached in {sessions} sessions of at most "
                    f"{rule.per_session_max:g}.",
                    "Raise per_session_max, or bring the target nearer.",
                )
        for key in ("advance_if", "regress_if"):
            for position, text in enumerate(getattr(rule, key)):
                _check_condition(training, (*at, key, position), text)


def _check_condition(training: Training, at: Path, text: str) -> None:
    condition = parse_condition(text)
    if condition is None:
        training.document.add(
            at,
            f"{text!r} is not a condition.",
            "Write a sign, one of <= >= == < >, and a number: rpe <= 13.",
        )
    elif training.document.whole("session") and condition.sign not in training.judged:
        training.document.add(
            at,
            f"nobody enters {condition.sign} and no device measures it.",
            did_you_mean(condition.sign, training.judged)
            + f" Else add {condition.sign} to the prompts of a block.",
        )
    else:
        check_condition_value(training.document, at, condition)


def _check_adaptation(training: Training) -> None:
    document = training.document
    for index, envelope in training.envelopes:
        at: Path = ("adaptation", index)
        if envelope.minimum >= envelope.maximum:
            document.add(
                (*at, "minimum"),
                f"the minimum {envelope.minimum:g} is not below the maximum {envelope.maximum:g}.",
                "Exchange or correct them.",
            )
            continue
        for key in ("minimum", "maximum"):
            _check_value(training, (*at, key), envelope.parameter, getattr(envelope, key))
        if envelope.max_step > envelope.maximum - envelope.minimum:
            document.add(
                (*at, "max_step"),
                f"one step of {envelope.max_step:g} is larger than the envelope.",
                f"Use at most {envelope.maximum - envelope.minimum:g}.",
            )


def _check_stop_rules(training: Training) -> None:
    document, rules = training.document, training.stop_rules
    for position in repeated(rule.id for _, rule in rules):
        document.add(
            ("stop_rules", rules[position][0], "id"),
            f"{rules[position][1].id} names two rules.",
            "Give each rule its own id.",
        )
    for index, rule in rules:
        at: Path = ("stop_rules", index)
        if rule.above is None and rule.below is None:
            document.add(
                at, f"the rule {rule.id} has no bound, so it never fires.", "Give above or below."
            )
        elif rule.above is not None and rule.below is not None and rule.below > rule.above:
            document.add(
                (*at, "below"),
                f"every value is above {rule.above:g} or below {rule.below:g}.",
                "Exchange the bounds.",
            )
        before = rule.when == "before_start"
        if before != (rule.action == "do_not_start"):
            document.add(
                (*at, "action"),
                f"{rule.action} cannot be done {'before the start' if before else 'during'}.",
                "Use do_not_start." if before else "Use hold or stop.",
            )
        signs = set(training.screening) if before else training.during
        if document.whole("session") and rule.sign not in signs:
            where = "session.screening" if before else "the prompts of a block"
            document.add(
                (*at, "sign"),
                f"{rule.sign} is never known {'before the start' if before else 'during'}.",
                f"Add {rule.sign} to {where}.",
            )
        if rule.verified and not rule.source:
            document.add(
                (*at, "verified"),
                "a verified rule names no source.",
                "Say in source who confirmed it, or on what ground.",
            )


def _check_schedule(training: Training) -> None:
    document, schedule = training.document, training.schedule
    if schedule is not None:
        low, high = schedule.window_days
        if low > 0 or high < 0:
            document.add(
                ("schedule", "window_days"),
                f"the window {low} to {high} does not hold the planned day.",
                "Give the days before as 0 or less and the days after as 0 or more.",
            )
        last = last_day(document)
        if last is not None and schedule.weeks * 7 > last:
            document.add(
                ("schedule", "weeks"),
                f"{schedule.weeks} weeks end after the last visit's window (day {last}).",
                "Shorten the course, or add a visit at its end.",
            )
    fidelity = document.part(Fidelity, "fidelity")
    walking = sum(block.minutes for _, block in training.blocks if block.kind in WALKING_KINDS)
    if fidelity is not None and document.whole("session") and fidelity.min_moving_minutes > walking:
        document.add(
            ("fidelity", "min_moving_minutes"),
            f"{fidelity.min_moving_minutes:g} minutes of moving are asked and {walking:g} planned.",
            f"Use {walking:g} or less.",
        )
