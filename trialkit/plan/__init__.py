"""Statistical analysis plans: YAML read, checked, locked and signed."""

from __future__ import annotations

from trialkit.plan.check import check_plan
from trialkit.plan.load import load_plan, plan_hash
from trialkit.plan.lock import current_lock, current_plan, lock_plan, require_lock
from trialkit.plan.model import Plan

__all__ = [
    "Plan",
    "check_plan",
    "current_lock",
    "current_plan",
    "load_plan",
    "lock_plan",
    "plan_hash",
    "require_lock",
]
