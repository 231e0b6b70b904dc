"""Roles: the blinding holds by the table itself, and every kind of event has its permission."""

from __future__ import annotations

import pytest

from trialkit.errors import UnknownName
from trialkit.record.kinds import KINDS
from trialkit.record.roles import ALL, NEEDED, PERMISSIONS, permissions_of, roles_with


@pytest.mark.requirement("R21")
@pytest.mark.parametrize("role", PERMISSIONS)
def test_no_role_both_assesses_and_sees_allocation(role: str) -> None:
    held = PERMISSIONS[role]
    assert held <= ALL
    if "assess" in held:
        assert not held & {"see_allocation", "session", "unblind", "emergency_unblind", "randomise"}


def test_every_permission_is_held_by_somebody() -> None:
    assert {permission for permission in ALL if not roles_with(permission)} == set()


def test_every_kind_is_guarded_or_open_on_purpose() -> None:
    assert set(KINDS) - set(NEEDED) == {
        "study.created",
        "command.refused",
        "clock.source",
        "clock.stepped",
        "deviation.raised",
        "head.signed",
        "progress.exported",
        "record.unguarded",
    }
    assert set(NEEDED) <= set(KINDS)
    assert set(NEEDED.values()) <= ALL


def test_none_holds_nothing_and_unknown_is_refused() -> None:
    assert permissions_of("none") == frozenset()
    with pytest.raises(UnknownName, match="wizard"):
        permissions_of("wizard")
