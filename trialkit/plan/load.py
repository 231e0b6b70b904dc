"""Reads a plan file: parsed and checked, or every fault at once."""

from __future__ import annotations

from pathlib import Path

from trialkit._canonical import sha256_file
from trialkit.errors import PlanFindings
from trialkit.plan.check import read_plan
from trialkit.plan.model import Plan
from trialkit.study.design import Design


def plan_hash(path: str | Path) -> str:
    """Return the SHA-256 of a plan file, which is the plan's identity in the record."""
    return sha256_file(Path(path))


def load_plan(path: str | Path, design: Design | None = None) -> Plan:
    """Return the plan of a file.

    Parameters
    ----------
    path : str or Path
    design : Design, optional
        The study that the plan is for; with it, the plan is held against the study.

    Raises
    ------
    PlanFindings
        If the plan has faults; all of them are listed with line and remedy.
    """
    path = Path(path)
    plan, findings = read_plan(path, design)
    if plan is None:
        raise PlanFindings(
            f"{path.name} has {len(findings)} fault{'s' if len(findings) > 1 else ''}.",
            findings,
            remedy=f"Mend the file; `trialkit check {path}` lists every fault again.",
        )
    return plan
