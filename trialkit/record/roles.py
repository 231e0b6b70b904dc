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
#: What an import of forms is lent while it runs, so that it passes the commands that enter them.
LENT = frozenset({"visit", "assess", "diary", "query", "import"})
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
    "query",
    "answer_query",
    "deviation",
    "resolve_deviation",
    "add_user",
    "manage_users",
    "require_login",
    "sign",
    "freeze",
    "lock_data",
    "import",
    "import_forms",
    "export_forms",
    "export",
    "sync",
}

PERMISSIONS: dict[str, frozenset[str]] = {
    "owner": ALL - {"assess", "import_forms"},
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
            "query",
            "answer_query",
            "deviation",
            "build_snapshot",
            "export_forms",
            "sign",
        }
    ),
    "therapist": frozenset(
        {
            "session",
            "see_allocation",
            "see_progress",
            "report_ae",
            "answer_query",
            "deviation",
            "sign",
        }
    ),
    "assessor": frozenset(
        {"visit", "assess", "diary", "report_ae", "answer_query", "sign", "import_forms"}
    ),
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
            "query",
            "answer_query",
            "deviation",
            "resolve_deviation",
            "lock_plan",
            "sign_plan",
            "build_snapshot",
            "unblind",
            "report",
            "build_evidence",
            "export_forms",
            "sign",
            "lock_data",
            "export",
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
            "export_forms",
            "sign",
        }
    ),
    "monitor": frozenset(
        {"build_snapshot", "report", "query", "deviation", "sign", "export_forms"}
    ),
    "data_manager": frozenset(
        {
            "build_snapshot",
            "report",
            "query",
            "deviation",
            "sign",
            "freeze",
            "lock_data",
            "import_forms",
            "export_forms",
        }
    ),
    "administrator": frozenset({"add_user", "manage_users", "sync"}),
}
ROLES = tuple(PERMISSIONS)

# What a person needs before an event of this kind is written; a kind that is absent needs none.
NEEDED: dict[str, str] = {
    "user.added": "add_user",
    "user.password_set": "manage_users",
    "user.logged_in": "manage_users",  # these are written by the login itself
    "user.logged_out": "manage_users",
    "user.login_failed": "manage_users",
    "user.locked": "manage_users",
    "user.unlocked": "manage_users",
    "user.role_changed": "manage_users",
    "user.retired": "manage_users",
    "accounts.required": "require_login",
    "signature.applied": "sign",
    "data.frozen": "freeze",
    "data.released": "freeze",
    "data.locked": "lock_data",
    "data.unlock_requested": "lock_data",
    "data.unlocked": "lock_data",
    "data.imported": "import",
    "data.exported": "export_forms",
    "site.opened": "sync",
    "device.handed": "session",
    "device.returned": "session",
    "participant.handed": "session",
    "chain.ended": "session",
    "chain.received": "sync",
    "session.received": "sync",
    "chain.refused": "sync",
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
    "diary.corrected": "diary",
    "ae.reported": "report_ae",
    "ae.updated": "report_ae",
    "ae.notified": "report_ae",
    "query.raised": "query",
    "query.answered": "answer_query",
    "query.closed": "query",
    "query.reopened": "query",
    "deviation.acknowledged": "resolve_deviation",
    "deviation.resolved": "resolve_deviation",
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
    "session.exported": "see_allocation",
    "device.checked": "session",
    "plan.locked": "lock_plan",
    "snapshot.built": "build_snapshot",
    "analysis.run": "analyse",
    "report.rendered": "report",
    "evidence.built": "build_evidence",
    "record.exported": "export",
}


def enters_data(kind: str) -> bool:
    """Return True where events of `kind` are participants' data: what a data lock stops."""
    if kind in _WHERE:
        return False
    needed = NEEDED.get(kind)
    return needed in ENTRY or needed in ("confirm_eligibility", "import") or kind in _OPEN_DATA


#: Where sessions are run, and nothing of them.
_WHERE = frozenset({"device.handed", "device.returned", "participant.handed", "chain.ended"})
#: Data that anybody who takes part may enter.
_OPEN_DATA = frozenset({"deviation.raised"})

#: Who holds one of these gets a key: plans, packages, heads at the end of a session, signatures.
SIGNING = frozenset({"sign_plan", "build_evidence", "session", "sign"})


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
