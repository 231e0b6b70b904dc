"""Statistical analysis plans: YAML read, checked, locked and signed."""

from __future__ import annotations

from trialkit.plan.check import check_plan
from trialkit.plan.load import load_plan, plan_hash
from trialkit.plan.model import Plan

__all__ = ["Plan", "check_plan", "load_plan", "plan_hash"]
