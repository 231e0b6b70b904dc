"""Roles and what they may do. The person who assesses outcomes can never see an arm."""

from __future__ import annotations

from trialkit.errors import UnknownName

#: What enters participants' data; in an imported study whoever may import may do it too.
ENTRY = frozenset(
    {
        "enrol",
        "consent",
        "exclude",
        "randomise",
        "visit",
        "assess",
        "diary",
        "report_ae",
        "withdraw",
        "session",
    }
)
ALL = ENTRY | {
    "confirm_eligibility",
    "emergency_unblind",
    "see_allocation",
    "see_progress",
    "lock_plan",
    "sign_plan",
    "build_snapshot",
    "unblind",
    "analyse",
    "report",
    "build_evidence",
    "add_user",
    "import",
}

PERMISSIONS: dict[str, frozenset[str]] = {
    "owner": ALL - {"assess"},
    "coordinator": frozenset(
        {
            "confirm_eligibility",
            "emergency_unblind",
            "enrol",
            "consent",
            "exclude",
            "randomise",
            "visit",
            "diary",
            "report_ae",
            "withdraw",
            "session",
            "see_allocation",
            "see_progress",
            "build_snapshot",
        }
    ),
    "therapist": frozenset({"session", "see_allocation", "see_progress", "report_ae"}),
    "assessor": frozenset({"visit", "assess", "diary", "report_ae"}),
    "investigator": frozenset(
        {
            "confirm_eligibility",
            "emergency_unblind",
            "enrol",
            "consent",
            "exclude",
            "randomise",
            "visit",
            "report_ae",
            "withdraw",
            "see_allocation",
            "see_progress",
            "lock_plan",
            "sign_plan",
            "build_snapshot",
            "unblind",
            "report",
            "build_evidence",
        }
    ),
    "statistician": frozenset(
        {
            "lock_plan",
            "sign_plan",
            "build_snapshot",
            "unblind",
            "analyse",
            "report",
            "build_evidence",
        }
    ),
    "monitor": frozenset({"build_snapshot", "report"}),
}
ROLES = tuple(PERMISSIONS)

# What a person needs before an event of this kind is written; a kind that is absent needs none.
NEEDED: dict[str, str] = {
    "user.added": "add_user",
    "data.imported": "import",
    "participant.enrolled": "enrol",
    "participant.consented": "consent",
    "participant.excluded": "exclude",
    "participant.eligible": "confirm_eligibility",
    "allocation.scheme_committed": "randomise",
    "allocation.list_committed": "randomise",
    "participant.randomised": "randomise",
    "allocation.revealed": "unblind",
    "unblinding.requested": "emergency_unblind",
    "allocation.unblinded_one": "emergency_unblind",
    "visit.held": "visit",
    "visit.missed": "visit",
    "assessment.recorded": "assess",
    "assessment.entered_again": "assess",
    "assessment.adjudicated": "assess",
    "assessment.corrected": "assess",
    "diary.returned": "diary",
    "ae.reported": "report_ae",
    "participant.training_discontinued": "withdraw",
    "participant.withdrawn": "withdraw",
    "session.opened": "session",
    "session.transition": "session",
    "session.command": "session",
    "session.adapted": "session",
    "session.prompt": "session",
    "settings.decided": "session",
    "session.telemetry_sealed": "session",
    "session.closed": "session",
    "session.conventional": "session",
    "session.missed": "session",
    "device.checked": "session",
    "plan.locked": "lock_plan",
    "snapshot.built": "build_snapshot",
    "analysis.run": "analyse",
    "report.rendered": "report",
    "evidence.built": "build_evidence",
}


def permissions_of(role: str) -> frozenset[str]:
    """Return the permissions of `role`; none for ``none``, the role of a person not added.

    Raises
    ------
    UnknownName
        If there is no such role.
    """
    if role == "none":
        return frozenset()
    if role not in PERMISSIONS:
        raise UnknownName(f"no role {role!r}.", remedy=f"Use one of {', '.join(ROLES)}.")
    return PERMISSIONS[role]


def roles_with(permission: str) -> list[str]:
    """Return the roles that hold `permission`."""
    return [role for role, held in PERMISSIONS.items() if permission in held]
