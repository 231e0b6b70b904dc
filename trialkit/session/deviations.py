"""Departures from the protocol that a session's own events and dose show.

Pure: the runner asks at the close of a session and appends what is found, and `recover` asks
for a session that a crash ended. Whatever a protocol allows (a change inside the envelope, a
late answer, a hold) is no deviation. A session that screening kept from starting followed its
protocol, and has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from trialkit.protocol.model import WALKING_KINDS
from trialkit.protocol.signs import AROUND
from trialkit.record.kinds import (
    DeviationRaised,
    Dose,
    Payload,
    SessionAdapted,
    SessionCommand,
    SessionPrompt,
    SessionTransition,
)
from trialkit.session.program import Course

if TYPE_CHECKING:
    from trialkit.session.state import State

#: Every category that the software itself raises, with what it means. The codes are stable.
CATEGORIES: dict[str, str] = {
    "visit_window": "A visit took place outside its window, with a reason.",
    "session_window": "A session took place outside its window, with a reason.",
    "block_omitted": "A block of training of the protocol was not delivered at all.",
    "block_shortened": (
        "Less of a block was delivered than fidelity.min_block_fraction of its planned time."
    ),
    "session_shortened": (
        "A session with a therapist alone took less than that share of its planned minutes."
    ),
    "rest_skipped": "A rest was left out, or was shorter than that, and training went on after it.",
    "moving_minutes_low": (
        "The session had fewer minutes of moving than fidelity.min_moving_minutes."
    ),
    "prompt_unanswered": "A sign of the screening, or of a block that was done, was not entered.",
    "setpoint_refused": "The device refused a setpoint of the protocol.",
    "order_broken": "More settings moved after one block than progression.changes_per_block.",
    "donning_out_of_range": (
        "Putting the device on or taking it off took more or less time than planned."
    ),
    "donning_staff_low": "Fewer people than staffing.donning_staff put the device on.",
    "stop_rule": "A stop rule fired when everything had been delivered already.",
    "stream_silent": "A stream that is not required fell silent, or repeated the same values.",
    "telemetry_loss": "A crash lost telemetry after the last good frame.",
}

_EPS_S = 0.05


def reached(state: State) -> dict[str, float]:
    """Return the seconds that were delivered of each block on the device, by its id."""
    seconds: dict[str, float] = {}
    for index, block in enumerate(state.program.course.blocks):
        if block.on_device and index <= state.block:
            left = state.left_s if index == state.block else 0.0
            seconds[block.id] = max(0.0, block.seconds - left)
    return seconds


def reached_after(course: Course, device_s: float) -> dict[str, float]:
    """Return as `reached` where only the time on the device is known: blocks come in order."""
    seconds: dict[str, float] = {}
    for block in course.blocks:
        if block.on_device:
            seconds[block.id] = min(block.seconds, device_s)
            device_s = max(0.0, device_s - block.seconds)
    return seconds


def find_deviations(
    course: Course,
    events: Iterable[Payload],
    dose: Dose,
    device_s: Mapping[str, float],
    *,
    session: str,
    day: int | None = None,
) -> list[DeviationRaised]:
    """Return the deviations of a session, at most one of each category.

    Parameters
    ----------
    course : Course
        What the protocol asks.
    events : iterable of Payload
        The events of the session in their order.
    dose : Dose
        As delivered.
    device_s : mapping of str to float
        Seconds of each block on the device, by id; see `reached` and `reached_after`.
    """
    payloads = list(events)
    if not any(isinstance(p, SessionTransition) and p.new == "running" for p in payloads):
        return []
    prompts = [p for p in payloads if isinstance(p, SessionPrompt)]
    logged_s: dict[str, float] = {}
    off_device = {block.id for block in course.blocks if not block.on_device}
    for prompt in prompts:
        if prompt.prompt in off_device and "minutes" in prompt.values:
            logged_s[prompt.prompt] = 60.0 * prompt.values["minutes"]
    done = {block.id: 0.0 for block in course.blocks} | dict(device_s) | logged_s
    found = {
        **_blocks(course, done),
        "moving_minutes_low": _moving(course, dose, logged_s),
        "prompt_unanswered": _unanswered(course, prompts, done),
        "setpoint_refused": _refused(payloads),
        "order_broken": _order(course, payloads),
        "donning_out_of_range": _around(course, prompts),
        "donning_staff_low": _staff(course, prompts),
    }
    return [
        DeviationRaised(category=category, detail=detail, day=day, session=session)
        for category, detail in found.items()
        if detail
    ]


def _blocks(course: Course, done: Mapping[str, float]) -> dict[str, str]:
    share = course.protocol.fidelity.min_block_fraction
    found: dict[str, list[str]] = {"block_omitted": [], "block_shortened": [], "rest_skipped": []}
    for index, block in enumerate(course.blocks):
        seconds = done[block.id]
        if seconds + _EPS_S >= share * block.seconds:
            continue
        later = any(done[b.id] > _EPS_S for b in course.blocks[index + 1 :])
        text = f"{block.id} {seconds / 60:.1f} of {block.seconds / 60:g} min"
        if block.kind == "rest":
            if later:
                found["rest_skipped"].append(text)
        else:
            found["block_shortened" if seconds > _EPS_S else "block_omitted"].append(text)
    return {category: "; ".join(texts) for category, texts in found.items()}


def _moving(course: Course, dose: Dose, logged_s: Mapping[str, float]) -> str:
    asked = course.protocol.fidelity.min_moving_minutes
    walked = {b.id for b in course.blocks if not b.on_device and b.kind in WALKING_KINDS}
    overground = sum(s for block, s in logged_s.items() if block in walked) / 60.0
    moved = dose.moving_minutes + overground
    return f"{moved:.1f} min of moving, {asked:g} asked" if moved + 1e-6 < asked else ""


def _unanswered(course: Course, prompts: Sequence[SessionPrompt], done: Mapping[str, float]) -> str:
    entered: dict[str, set[str]] = {}
    for prompt in prompts:
        entered.setdefault(prompt.prompt, set()).update(prompt.values)
    asked: list[tuple[str, Sequence[str]]] = [
        ("screening", course.protocol.session.screening),
        *(
            (block.id, block.prompts)
            for block in course.blocks
            if done[block.id] + _EPS_S >= block.seconds or (not block.on_device and done[block.id])
        ),
    ]
    missing = [
        f"{block}: {', '.join(absent)}"
        for block, signs in asked
        if (absent := [sign for sign in signs if sign not in entered.get(block, ())])
    ]
    return "; ".join(missing)


def _refused(payloads: Sequence[Payload]) -> str:
    refused = [p for p in payloads if isinstance(p, SessionCommand) and p.phase == "refused"]
    return "; ".join(
        f"{p.block}: {', '.join(f'{name} {value:g}' for name, value in p.setpoints.items())}"
        for p in refused
    )


def _order(course: Course, payloads: Sequence[Payload]) -> str:
    """Count the accepted changes between the ends of blocks; schemes have their own pace."""
    walks = {block.id for block in course.blocks if block.kind == "walk"}
    broken: list[str] = []
    since: set[str] = set()
    block, after = "", ""
    for payload in payloads:
        if isinstance(payload, SessionCommand) and payload.block != block:
            block, since = payload.block, set()
        elif isinstance(payload, SessionPrompt) and payload.prompt in walks:
            after, since = payload.prompt, set()
        elif isinstance(payload, SessionAdapted) and payload.accepted:
            if payload.rule.startswith("progression.") or payload.rule == "override":
                since.add(payload.parameter)
            if len(since) == course.changes_per_block + 1:
                broken.append(f"after {after or block}: {', '.join(sorted(since))}")
    return "; ".join(dict.fromkeys(broken))


def _around(course: Course, prompts: Sequence[SessionPrompt]) -> str:
    faults = []
    for sign in AROUND:
        planned: tuple[float, float] | None = getattr(course.protocol.session, sign)
        entered = [p.values[sign] for p in prompts if sign in p.values]
        if planned is not None and entered and not planned[0] <= entered[-1] <= planned[1]:
            faults.append(f"{sign} {entered[-1]:g}, {planned[0]:g} to {planned[1]:g} planned")
    return "; ".join(faults)


def _staff(course: Course, prompts: Sequence[SessionPrompt]) -> str:
    asked = course.protocol.staffing.donning_staff
    entered = [p.values["donning_staff"] for p in prompts if "donning_staff" in p.values]
    return f"{entered[-1]:g} of {asked} people" if entered and entered[-1] < asked else ""
