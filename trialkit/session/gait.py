"""Gait measures of a session, from its sealed telemetry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trialkit.errors import OutOfRange
from trialkit.record.kinds import SessionExported
from trialkit.session.telemetry import sealed_rows
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.exports import give_file, require_export

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


@command("see_allocation", atomic=False)
def export_gait(
    study: Study,
    session: str,
    path: Path,
    *,
    paretic: Side | None = None,
    segments: Segments | None = None,
) -> GaitReport:
    """Write the strides of a session to a CSV file, one row each; an event has its hash.

    Parameters
    ----------
    path : Path
        The file, which is replaced.
    paretic, segments
        As for `session_gait`.

    Raises
    ------
    NotPermitted
        As for `session_gait`; where the study requires a login also unless the person may export.
    StorageRefused
        If the disk or the record refused; no part of the file was kept.
    """
    found = session_gait(study, session, paretic=paretic, segments=segments)
    who = study.state.sessions[session].usubjid
    require_export(study, "export_gait", who)
    text = found.table.to_csv(index_label="stride", float_format="%.6g", lineterminator="\n")

    def made(digest: str) -> SessionExported:
        return SessionExported(session=session, format="strides", files={path.name: digest})

    give_file(study, path, text.encode(), made, who)
    return found


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
