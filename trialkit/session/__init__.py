"""Sessions: the pure machine, its runner, dose, progression, recovery."""

from __future__ import annotations

from trialkit.session.dose import delivered
from trialkit.session.operator import AttendingOperator, Operator, Planned, ScriptedOperator, View
from trialkit.session.prepare import session_id
from trialkit.session.recovery import recover
from trialkit.session.runner import Progress, SessionOutcome, run_session
from trialkit.session.schedule import planned_day
from trialkit.session.words import Decide, Hold, Resume, Stop

__all__ = [
    "AttendingOperator",
    "Decide",
    "Hold",
    "Operator",
    "Planned",
    "Progress",
    "Resume",
    "ScriptedOperator",
    "SessionOutcome",
    "Stop",
    "View",
    "delivered",
    "planned_day",
    "recover",
    "run_session",
    "session_id",
]
