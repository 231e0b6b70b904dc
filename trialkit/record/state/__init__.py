"""The current state of a study: a fold over its events, without I/O."""

from trialkit.record.state.accounts import DataLock
from trialkit.record.state.people import (
    AssessmentState,
    ParticipantState,
    SessionState,
    Unblinding,
    UserState,
    VisitState,
)
from trialkit.record.state.study import StudyState

__all__ = [
    "AssessmentState",
    "DataLock",
    "ParticipantState",
    "SessionState",
    "StudyState",
    "Unblinding",
    "UserState",
    "VisitState",
]
