"""Whoever comes to a trial of the tests is eligible."""

from __future__ import annotations

from trialkit.participants import confirm_eligibility
from trialkit.record.chain import Event
from trialkit.study import Study


def find_eligible(study: Study, usubjid: str) -> Event:
    """Answer each criterion of the study's protocol as an eligible person would."""
    asked = study.design.eligibility
    assert asked is not None
    answers = {criterion.id: criterion.kind == "inclusion" for criterion in asked.criteria}
    return confirm_eligibility(study, usubjid, answers)
