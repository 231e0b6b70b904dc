"""The closed list of codes with which people, and the software, say why.

A person's code comes from `HOLD`, `RESUME` or `STOP`; free text stands beside it, as the
reason of the event. A stop whose code is unknown still stops: it is recorded as ``other``
with the code as its text. The software's codes are those of `SOFTWARE`, the guards of
`trialkit.session.guards`, and the ids of the protocol's stop rules.
"""

from __future__ import annotations

from collections.abc import Mapping

_WHY: dict[str, str] = {
    "operator": "the operator's own judgement",
    "asked": "the participant asked for it",
    "tired": "the participant is tired",
    "pain": "pain",
    "dizzy": "dizziness or faintness",
    "unwell": "unwell in another way",
    "skin": "skin under a cuff or the harness",
    "fit": "cuffs, harness or alignment do not fit",
    "gait": "stumbling, spasm or a gait that is not acceptable",
    "toilet": "toilet",
    "equipment": "something is wrong with the equipment",
    "staff": "staff are needed elsewhere",
    "other": "another reason, given as text",
}

HOLD: Mapping[str, str] = _WHY
"""Why a person holds."""

STOP: Mapping[str, str] = _WHY | {
    "interrupt": "the program was interrupted (Ctrl-C, SIGTERM)",
    "held_long": "the session was held and nobody resumed it",
}
"""Why a person stops."""

RESUME: Mapping[str, str] = {
    "rest_taken": "the participant has rested",
    "fit_corrected": "the fit was corrected",
    "sign_checked": "the sign, or what the guard saw, was checked",
    "equipment_checked": "the equipment was checked",
    "other": "another reason, given as text",
}
"""Why a person resumes; ``other`` needs text."""

SOFTWARE: Mapping[str, str] = {
    "done": "everything was delivered",
    "no_rest": "the device did not come to rest after a hold",
    "setpoint_refused": "the device refused a setpoint",
    "device_refused": "the device refused a verb that was legal",
    "link_lost": "the device's process, or the link to it, is gone",
    "device_held": "the device held by itself; its fault code follows after a hyphen",
    "left_running": "the device left RUNNING by itself; the state follows after a hyphen",
    "unknown_state": "the device reports a state that there is not; its number follows",
    "fault": "the device reports a fault; its code follows after a hyphen",
    "estop_physical": "the physical emergency stop; the fault code follows after a hyphen",
    "estop_latched": "the emergency stop is latched; the fault code follows after a hyphen",
    "not_entered": "a sign that the protocol asks for before the start was not entered",
    "repeated": "a guard, named before the dot, has held the session too often",
    "power_loss_recovered": "the session was closed by `trialkit recover`",
}
"""Codes that the software itself gives."""


def coded(codes: Mapping[str, str], code: str, text: str) -> tuple[str, str | None]:
    """Return a code of the list and the text beside it, None where there is none.

    A code that is not of the list becomes ``other``, and is kept as text.
    """
    text = text.strip()
    if code in codes:
        return code, text or None
    return "other", f"{code}: {text}" if text else code
