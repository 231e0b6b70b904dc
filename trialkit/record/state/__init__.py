"""The current state of a study: a fold over its events, without I/O."""

from trialkit.record.state.accounts import DataLock
from trialkit.record.state.chains import ChainState, device_of
from trialkit.record.state.conduct import (
    AdverseEventState,
    DeviationState,
    DiaryState,
    QueryState,
    next_ae,
    next_query,
)
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
    "AdverseEventState",
    "AssessmentState",
    "ChainState",
    "DataLock",
    "DeviationState",
    "DiaryState",
    "ParticipantState",
    "QueryState",
    "SessionState",
    "StudyState",
    "Unblinding",
    "UserState",
    "VisitState",
    "device_of",
    "next_ae",
    "next_query",
]
