"""Gait measures of a session, from its sealed telemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from trialkit.errors import OutOfRange
from trialkit.session.telemetry import sealed_rows
from trialkit.study import Study

if TYPE_CHECKING:
    from trialkit.gait import GaitReport, Segments

Side = Literal["left", "right"]
PARETIC = "paretic_side"
"""Attribute of a participant that names the paretic side, ``left`` or ``right``."""
_SIDES: dict[str, Side] = {"left": "left", "l": "left", "right": "right", "r": "right"}


def session_gait(
    study: Study,
    session: str,
    *,
    paretic: Side | None = None,
    segments: Segments | None = None,
) -> GaitReport:
    """Return the strides and gait measures of a session.

    Parameters
    ----------
    study : Study
        Open for reading is enough.
    session : str
        Its id, such as ``STROKE-RAGT-01-001-S07``.
    paretic : {"left", "right"}, optional
        Default: the participant's attribute ``paretic_side``.
    segments : Segments, optional
        Lengths of the participant's leg, for the clearance of the toes from joint angles.

    Raises
    ------
    NotPermitted, UnknownName, OutOfOrder, TelemetryDamaged
        See `trialkit.session.telemetry.sealed_rows`.
    OutOfRange
        If the attribute names no side.
    """
    from trialkit.gait import Signals, gait_report

    groups = [Signals(rows.name, rows.frame(), rows.units) for rows in sealed_rows(study, session)]
    who = study.state.sessions[session].usubjid
    side = paretic or paretic_side(study.participant(who).attributes)
    return gait_report(groups, paretic=side, segments=segments)


def paretic_side(attributes: dict[str, Any]) -> Side | None:
    """Return the paretic side that a participant's attributes name, or None.

    Raises
    ------
    OutOfRange
        If the attribute is neither left nor right.
    """
    named = attributes.get(PARETIC)
    if named is None:
        return None
    side = _SIDES.get(str(named).strip().lower())
    if side is None:
        raise OutOfRange(f"{PARETIC} is {named!r}.", remedy="Give left or right.")
    return side
