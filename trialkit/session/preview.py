"""Walks a whole protocol at once, before anyone does, and lists what would be refused.

The sessions of the course are walked one after the other in lock-step with a simulated
device and its virtual patient, by the machine that runs real sessions; accepted levels carry
over. There is no study and nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from device_interface.contract import Capability, Device
from device_interface.link import open_link
from device_interface.registry import load_driver
from trialkit._clock import SimulatedClock
from trialkit._content import find_content
from trialkit.errors import Finding, UsageError
from trialkit.protocol import Protocol, load_protocol, notices
from trialkit.record.kinds import DeviationRaised, SessionTransition
from trialkit.session.adapt import levels_after
from trialkit.session.deviations import find_deviations, reached
from trialkit.session.dose import planned_dose
from trialkit.session.prepare import capability_faults
from trialkit.session.previewed import BlockRow, Preview, SessionRow
from trialkit.session.program import Program, make_course
from trialkit.session.walk import Walked, walk

_SIMULATED = "simulated"


def preview(
    protocol: str | Path | Protocol,
    device: str = _SIMULATED,
    options: Mapping[str, Any] | None = None,
    *,
    answers: Mapping[str, float] | None = None,
    sessions: int | None = None,
) -> Preview:
    """Walk a protocol against a device and a simulated patient.

    Parameters
    ----------
    protocol : str, Path or Protocol
        A file, the name of a shipped protocol, or one that was loaded.
    device : str
        Driver. A driver of real hardware is never moved: what it says it can do is held
        against every command, and the walk is on the simulated trainer.
    options : mapping, optional
        For the driver; the simulated one takes the patient's ability, fatigue, seed ...
    answers : mapping of str to float, optional
        Signs that a person enters, over the virtual patient's answers.
    sessions : int, optional
        How many of the course to walk; default all on the simulated trainer, else one.

    Raises
    ------
    ProtocolFindings
        If the protocol has faults.
    UnknownName, UsageError
        If the driver does not exist or does not take the options.
    """
    if not isinstance(protocol, Protocol):
        path = Path(protocol)
        protocol = load_protocol(path if path.is_file() else find_content("protocols", str(path)))
    dose = planned_dose(protocol)
    if protocol.device is None:
        result = Preview(protocol, "no device: a therapist delivers this arm", dose)
        result.notices += notices(protocol)
        _plan_blocks(result)
        return result
    if sessions is not None and not 1 <= sessions <= protocol.planned_sessions:
        raise UsageError(
            f"{sessions} sessions cannot be walked.",
            remedy=f"Give 1 to {protocol.planned_sessions}.",
        )
    meant: Device = load_driver(device, dict(options or {}))
    capability = meant.describe()
    on_it = capability.simulated and capability.lockstep
    where = f"walked on {capability.model} ({device})"
    if not on_it:
        where = f"held against {capability.model} ({device}), walked on the simulated trainer"
    result = Preview(protocol, where, dose, notices=notices(protocol))
    result.findings += [
        Finding("device", f"{capability.model}: {fault}.", "Use another device, or change limits.")
        for fault in capability_faults(protocol, capability)
    ]
    driver = device if on_it else _SIMULATED
    many = sessions or (protocol.planned_sessions if driver == _SIMULATED else 1)
    _walk_course(result, driver, dict(options or {}) if on_it else {}, answers or {}, many, meant)
    return result


def _walk_course(
    result: Preview,
    driver: str,
    options: dict[str, Any],
    answers: Mapping[str, float],
    many: int,
    meant: Device,
) -> None:
    capability = meant.describe()
    course = make_course(result.protocol)
    levels = levels_after(course.start, {})
    found: dict[tuple[str, str], tuple[list[int], str]] = {}
    for number in range(1, many + 1):
        own = dict(options)
        if driver == _SIMULATED:  # another day, other chances
            own = {"rate": "stride", **own, "seed": int(own.get("seed", 0)) + number}
        clock = SimulatedClock(datetime(2000, 1, 1, tzinfo=UTC))
        link = open_link(driver, own, clock, in_process=True)
        try:
            if problems := link.preflight():
                result.findings += [
                    Finding("device", f"it is not ready: {p}.", "Clear this first.")
                    for p in problems
                ]
                return
            program = Program(course, f"session-{number}", levels)
            walked = walk(program, link, answers, also=lambda v, r: _refusal(capability, v, r))
        finally:
            link.close()
        _keep(result, number, walked)
        for where, message, remedy in _faults(walked):
            found.setdefault((where, message), ([], remedy))[0].append(number)
        levels = dict(walked.state.levels)
    for (where, message), (numbers, remedy) in found.items():
        times = f"session {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} sessions"
        first = "" if len(numbers) == 1 else f", first in {numbers[0]}"
        result.findings.append(Finding(where, f"{message} ({times}{first}).", remedy))


def _refusal(
    capability: Capability, values: Mapping[str, float], rates: Mapping[str, float]
) -> str | None:
    """Return why a device of this capability refuses a command, or None."""
    for name, value in values.items():
        own = capability.parameter(name)
        if own is None:
            return f"the device has no {name}"
        if not own.minimum - 1e-9 <= value <= own.maximum + 1e-9:
            return f"{name} {value:g} is beyond the device's {own.minimum:g} to {own.maximum:g}"
        if rates.get(name, 0.0) > own.rate_per_s + 1e-9:
            return f"{name} at {rates[name]:g} a second is beyond the device's {own.rate_per_s:g}"
    return None


def _keep(result: Preview, number: int, walked: Walked) -> None:
    """Keep the timeline and the dose of a session."""
    course, state = walked.state.program.course, walked.state
    entered = {row.block: row for row in walked.entered}
    for block in course.blocks:
        at = entered.get(block.id)
        result.blocks.append(
            BlockRow(
                number,
                block.id,
                block.kind,
                round(at.t_s / 60.0, 2) if at else None,
                round(block.seconds / 60.0, 3),
                prompts=" ".join(block.prompts),
                **(at.setpoints if at else {}),
            )
        )
    dose = walked.dose
    planned = planned_dose(course.protocol, state.program.levels)
    result.sessions.append(
        SessionRow(
            number,
            state.phase,
            state.code,
            planned.distance_m,
            dose.minutes,
            dose.moving_minutes,
            dose.steps,
            dose.distance_m,
            {name: round(value, 4) for name, value in state.levels.items()},
        )
    )


def _faults(walked: Walked) -> list[tuple[str, str, str]]:
    """Return where, what and remedy of everything that kept a session from its plan."""
    course, state = walked.state.program.course, walked.state
    index = {block.id: i for i, block in enumerate(course.blocks)}

    def at(block: str) -> str:
        return f"session.blocks[{index[block]}]" if block in index else "session.screening"

    faults = [
        (
            at(block),
            f"{block or 'arming'}: {said.rstrip('.')}",
            "Use a value that the device takes.",
        )
        for block, said in dict.fromkeys(walked.refused)
    ]
    faults += [
        (at(block), f"{block}: nobody answered {sign}", f"Give the answer: {sign}=NUMBER.")
        for block, sign in walked.unanswered
    ]
    for event in walked.events:
        if isinstance(event, SessionTransition) and event.cause in ("rule", "guard", "device"):
            faults.append(
                (
                    "stop_rules" if event.cause == "rule" else "device",
                    f"{event.code}: the session goes to {event.new}",
                    "Check the rule, the settings and the simulated patient.",
                )
            )
        elif isinstance(event, DeviationRaised):
            faults.append(("session", f"{event.category}: {event.detail}", "See the deviation."))
    if not state.final or state.phase != "completed":
        done = {row.block for row in walked.entered}
        for block in course.blocks:
            if block.id not in done:
                text = f"{block.id} is not reached"
                faults.append((at(block.id), text, "Mend what ends the session before it."))
        return faults
    raised = find_deviations(
        course, walked.events, walked.dose, reached(state), session=state.program.session
    )
    shown = [d for d in raised if d.category not in ("prompt_unanswered", "setpoint_refused")]
    faults += [("fidelity", f"{d.category}: {d.detail}", "Change the plan.") for d in shown]
    return faults


def _plan_blocks(result: Preview) -> None:
    """Write the timeline of an arm without a device, from its plan alone."""
    t_min = 0.0
    for block in result.protocol.session.blocks:
        row = BlockRow(
            1, block.id, block.kind, t_min, block.minutes, prompts=" ".join(block.prompts)
        )
        result.blocks.append(row)
        t_min += block.minutes
