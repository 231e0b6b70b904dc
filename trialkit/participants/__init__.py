"""People in a study: enrolment, consent, randomisation, visits, reports, training.

Each function takes a `Study` first, checks that the step may be taken by this person now, and
appends one event or a few that belong together. A refusal changes nothing.
"""

from trialkit.participants.adverse_events import (
    AdverseEventRow,
    list_aes,
    notify_ae,
    report_ae,
    update_ae,
)
from trialkit.participants.assessments import (
    adjudicate,
    assess,
    assess_again,
    correct,
    pending_entries,
)
from trialkit.participants.deviations import (
    acknowledge_deviation,
    list_deviations,
    raise_deviation,
    resolve_deviation,
)
from trialkit.participants.diaries import (
    DiarySummary,
    correct_diary,
    return_diary,
    return_name,
    summarise_diary,
)
from trialkit.participants.eligibility import Question, confirm_eligibility, criteria_for
from trialkit.participants.enrolment import (
    consent,
    discontinue_training,
    enrol,
    exclude,
    withdraw,
)
from trialkit.participants.lateness import study_day
from trialkit.participants.queries import (
    QueryRow,
    answer_query,
    close_query,
    list_queries,
    raise_query,
    reopen_query,
    run_queries,
)
from trialkit.participants.randomisation import Randomised, allocate_known, randomise
from trialkit.participants.regenerate import AllocationCheck, check_allocation, verify_allocation
from trialkit.participants.training import log_conventional, miss_session
from trialkit.participants.unblinding import (
    Told,
    approve_unblinding,
    request_unblinding,
    show_unblinded,
)
from trialkit.participants.visits import hold_visit, miss_visit

__all__ = [
    "AdverseEventRow",
    "AllocationCheck",
    "DiarySummary",
    "QueryRow",
    "Question",
    "Randomised",
    "Told",
    "acknowledge_deviation",
    "adjudicate",
    "allocate_known",
    "answer_query",
    "approve_unblinding",
    "assess",
    "assess_again",
    "check_allocation",
    "close_query",
    "confirm_eligibility",
    "consent",
    "correct",
    "correct_diary",
    "criteria_for",
    "discontinue_training",
    "enrol",
    "exclude",
    "hold_visit",
    "list_aes",
    "list_deviations",
    "list_queries",
    "log_conventional",
    "miss_session",
    "miss_visit",
    "notify_ae",
    "pending_entries",
    "raise_deviation",
    "raise_query",
    "randomise",
    "reopen_query",
    "report_ae",
    "request_unblinding",
    "resolve_deviation",
    "return_diary",
    "return_name",
    "run_queries",
    "show_unblinded",
    "study_day",
    "summarise_diary",
    "update_ae",
    "verify_allocation",
    "withdraw",
]
