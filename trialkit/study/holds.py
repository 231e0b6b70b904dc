"""What a freeze or a lock of the data holds back, and how both stand."""

from __future__ import annotations

from trialkit.record.kinds import (
    AdverseEventNotified,
    AdverseEventReported,
    AdverseEventUpdated,
    Payload,
)
from trialkit.record.roles import enters_data
from trialkit.record.state import StudyState

#: Reports of adverse events, follow-up, and that they were passed on. While the data are locked
#: they stay out of the tables.
SAFETY = frozenset({AdverseEventReported.kind, AdverseEventUpdated.kind, AdverseEventNotified.kind})


def held_back(state: StudyState, payload: Payload, subject: str | None) -> tuple[str, str] | None:
    """Return why an event may not be written now and what to do, or None where it may.

    Reports of adverse events are never held back: their clock runs on after the lock.
    """
    if not enters_data(payload.kind) or payload.kind in SAFETY:
        return None
    if state.data_lock is not None:
        lock = state.data_lock
        return (
            f"the data are locked since {lock.at[:10]} by {lock.by} ({lock.reason}).",
            "Unlocking takes two people: `trialkit unlock-data --request`, then `--approve`.",
        )
    visit = getattr(payload, "visit", None)
    for scope in ((None, None), (subject, None), (None, visit), (subject, visit)):
        if scope in state.frozen:
            return (
                f"{scope_text(*scope)}: frozen.",
                "Have the freeze lifted: `trialkit freeze --release`, with a reason.",
            )
    return None


def scope_text(usubjid: str | None, visit: str | None) -> str:
    """Return in words what a freeze covers."""
    who = usubjid or "all participants"
    return f"{who}, visit {visit}" if visit else who


def lock_text(state: StudyState) -> str:
    """Return in words whether the data are locked, since when and how often they were unlocked."""
    undone = state.counts["data.unlocked"]
    before = f"; unlocked {undone} time{'s' if undone > 1 else ''}" if undone else ""
    if (lock := state.data_lock) is not None:
        asked = f"; {lock.asked_by} asks to unlock them" if lock.request else ""
        late = f"; {lock.late} safety reports since, not in the tables" if lock.late else ""
        since = f"locked at event {lock.seq}, {lock.at}, by {lock.by}: {lock.reason}"
        return f"{since}{before}{asked}{late}"
    if state.frozen:
        what = "; ".join(sorted(scope_text(*scope) for scope in state.frozen))
        return f"not locked, frozen: {what}{before}"
    return f"not locked{before}"
