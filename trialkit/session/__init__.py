"""Sessions: the pure machine, its runner, dose, progression, recovery."""

from __future__ import annotations

from trialkit.session.devices import DeviceUse, list_devices
from trialkit.session.dose import delivered
from trialkit.session.operator import AttendingOperator, Operator, Planned, ScriptedOperator, View
from trialkit.session.prepare import session_id
from trialkit.session.preview import preview
from trialkit.session.previewed import Preview
from trialkit.session.recovery import recover
from trialkit.session.replay import Replayed, replay
from trialkit.session.runner import Progress, SessionOutcome, run_session
from trialkit.session.schedule import planned_day
from trialkit.session.words import Decide, Hold, Resume, Stop

__all__ = [
    "AttendingOperator",
    "Decide",
    "DeviceUse",
    "Hold",
    "Operator",
    "Planned",
    "Preview",
    "Progress",
    "Replayed",
    "Resume",
    "ScriptedOperator",
    "SessionOutcome",
    "Stop",
    "View",
    "delivered",
    "list_devices",
    "planned_day",
    "preview",
    "recover",
    "replay",
    "run_session",
    "session_id",
]
