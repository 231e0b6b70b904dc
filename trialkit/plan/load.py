"""Reads a plan file: parsed, or every fault at once."""

from __future__ import annotations

from pathlib import Path

from trialkit._canonical import sha256_file
from trialkit._yaml import load_yaml, parse_model
from trialkit.errors import PlanFindings
from trialkit.plan.model import Plan


def plan_hash(path: str | Path) -> str:
    """Return the SHA-256 of a plan file, which is the plan's identity in the record."""
    return sha256_file(Path(path))


def load_plan(path: str | Path) -> Plan:
    """Return the plan of a file.

    Raises
    ------
    PlanFindings
        If the file cannot be read as a plan; every such fault is listed with line and remedy.
        `trialkit.plan.check_plan` also finds what is wrong between its parts.
    """
    path = Path(path)
    data, lines, findings = load_yaml(path)
    plan, faults = parse_model(Plan, data, lines) if data is not None else (None, [])
    if plan is None or findings:
        raise PlanFindings(
            f"{path.name} has {len(findings + faults)} faults.",
            findings + faults,
            remedy=f"Mend them; `trialkit check {path}` lists them again.",
        )
    return plan
