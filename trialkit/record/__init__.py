"""The record: an append-only, hash-chained account of everything that happened in a study."""

from trialkit.record.allocation import AllocationStore, commitment
from trialkit.record.chain import ChainFinding, ChainReport, Event
from trialkit.record.events import Record, read_export
from trialkit.record.roles import PERMISSIONS, ROLES
from trialkit.record.sign import KeyStore, fingerprint, verify
from trialkit.record.state import ParticipantState, SessionState, StudyState

__all__ = [
    "PERMISSIONS",
    "ROLES",
    "AllocationStore",
    "ChainFinding",
    "ChainReport",
    "Event",
    "KeyStore",
    "ParticipantState",
    "Record",
    "SessionState",
    "StudyState",
    "commitment",
    "fingerprint",
    "read_export",
    "verify",
]
