"""Checks of the criteria of eligibility, and of the bounds that a value must keep."""

from __future__ import annotations

from collections.abc import Mapping

from trialkit._yaml import Document
from trialkit.protocol.forms import Form
from trialkit.protocol.model import Criterion, Visit


def check_eligibility(
    document: Document, visits: list[tuple[int, Visit]], forms: Mapping[str, Form]
) -> None:
    """Add the faults of ``trial.eligibility``: ids given twice, and bounds that cannot be kept."""
    at = ("trial", "eligibility", "criteria")
    seen: set[str] = set()
    for index, criterion in document.parts(Criterion, *at):
        here = (*at, index)
        if criterion.id in seen:
            document.add(
                (*here, "id"),
                f"{criterion.id} is given to two criteria.",
                "Give each criterion its own id.",
            )
        seen.add(criterion.id)
        _check_bounds(document, here, criterion)
        if criterion.paramcd is not None and document.whole("visits"):
            _check_score(document, here, criterion.paramcd, visits, forms)
        if criterion.verified and not criterion.source:
            document.add(
                (*here, "verified"),
                "a verified criterion names no source.",
                "Say in source who confirmed it, or on what ground.",
            )


def _check_bounds(document: Document, at: tuple[str | int, ...], criterion: Criterion) -> None:
    low, high = criterion.minimum, criterion.maximum
    bounded = low is not None or high is not None
    sources = (criterion.attribute is not None) + (criterion.paramcd is not None)
    if sources != bounded:
        document.add(
            at,
            "minimum and maximum go with one value, from an attribute or from a score.",
            "Give one of attribute and paramcd with a minimum, a maximum or both; or none of them.",
        )
    if low is not None and high is not None and low > high:
        document.add((*at, "minimum"), f"{low:g} lies above {high:g}.", "Exchange the bounds.")


def _check_score(
    document: Document,
    at: tuple[str | int, ...],
    paramcd: str,
    visits: list[tuple[int, Visit]],
    forms: Mapping[str, Form],
) -> None:
    asked = {code for _, visit in visits if visit.baseline for code in visit.assessments}
    known = sorted(s.paramcd for code in asked if code in forms for s in forms[code].scores)
    if paramcd not in known:
        document.add(
            (*at, "paramcd"),
            f"{paramcd} is not known at randomisation: no form of a baseline visit gives it.",
            f"Use one of {', '.join(known)}." if known else "Add its form to the baseline visit.",
        )
