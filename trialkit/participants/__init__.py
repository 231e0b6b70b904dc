"""People in a study: enrolment, consent, randomisation, visits, reports, training.

Each function takes a `Study` first, checks that the step may be taken by this person now, and
appends one event or a few that belong together. A refusal changes nothing.
"""

from trialkit.participants.assessments import (
    adjudicate,
    assess,
    assess_again,
    correct,
    pending_entries,
)
from trialkit.participants.eligibility import confirm_eligibility
from trialkit.participants.enrolment import (
    consent,
    discontinue_training,
    enrol,
    exclude,
    withdraw,
)
from trialkit.participants.randomisation import Randomised, allocate_known, randomise
from trialkit.participants.regenerate import AllocationCheck, check_allocation, verify_allocation
from trialkit.participants.reports import report_ae, return_diary
from trialkit.participants.training import log_conventional, miss_session
from trialkit.participants.unblinding import (
    Told,
    approve_unblinding,
    request_unblinding,
    show_unblinded,
)
from trialkit.participants.visits import hold_visit, miss_visit, study_day

__all__ = [
    "AllocationCheck",
    "Randomised",
    "Told",
    "adjudicate",
    "allocate_known",
    "approve_unblinding",
    "assess",
    "assess_again",
    "check_allocation",
    "confirm_eligibility",
    "consent",
    "correct",
    "discontinue_training",
    "enrol",
    "exclude",
    "hold_visit",
    "log_conventional",
    "miss_session",
    "miss_visit",
    "pending_entries",
    "randomise",
    "report_ae",
    "request_unblinding",
    "return_diary",
    "show_unblinded",
    "study_day",
    "verify_allocation",
    "withdraw",
]
