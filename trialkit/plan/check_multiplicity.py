"""Checks of the procedure for multiplicity: order, weights, transitions."""

from __future__ import annotations

from trialkit._yaml import Document
from trialkit.errors import UsageError
from trialkit.plan.model import WEIGHTED, Analysis, Multiplicity, Plan
from trialkit.plan.words import did_you_mean

#: Slack of a sum of shares (thirds).
SLACK = 1e-9


def given(document: Document, section: str, key: str) -> list[str]:
    """Return the ids that a section gives, whether or not its entries are sound."""
    rows = document.data.get(section)
    found = (
        (row.get(key) for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
    )
    return [name for name in found if isinstance(name, str)]


def check_multiplicity(document: Document) -> None:
    """Add the faults of the section ``multiplicity``."""
    rule = document.part(Multiplicity, "multiplicity")
    if rule is None:
        return
    alpha = document.data.get("alpha", Plan.model_fields["alpha"].default)
    if isinstance(alpha, int | float) and alpha != rule.alpha:
        document.add(
            ("multiplicity", "alpha"),
            f"alpha is {rule.alpha:g} here and {alpha:g} in the plan.",
            "Give the same in both places.",
        )
    analyses = {a.id: a for _, a in document.parts(Analysis, "analyses")}
    _check_order(document, rule, analyses)
    if rule.procedure == "none" and len(rule.order) > 1:
        document.add(
            ("multiplicity", "procedure"),
            f"nothing keeps the error over {len(rule.order)} analyses at {rule.alpha:g}.",
            "Use fixed_sequence or holm, or another procedure, or test one analysis.",
        )
    _primary_first(document, rule, analyses)
    _check_weights(document, rule)
    _check_transitions(document, rule)


def _check_order(document: Document, rule: Multiplicity, analyses: dict[str, Analysis]) -> None:
    """Every tested analysis is there once, and nothing else."""
    ids = given(document, "analyses", "id")
    at = ("multiplicity", "order")
    for position, code in enumerate(rule.order):
        if code not in ids:
            document.add((*at, position), f"there is no analysis {code}.", did_you_mean(code, ids))
            continue
        why = _untested(analyses.get(code))
        if why:
            document.add((*at, position), f"{code} is not tested: {why}.", "Remove it here.")
        if code in rule.order[:position]:
            document.add((*at, position), f"{code} is listed twice.", "List it once.")
    for index, analysis in document.parts(Analysis, "analyses"):
        if _untested(analysis) is None and analysis.id not in rule.order:
            document.add(
                ("analyses", index, "role"),
                f"{analysis.id} is {analysis.role} and multiplicity.order does not test it.",
                "Add it to the order, or make it exploratory or sensitivity.",
            )


def _primary_first(document: Document, rule: Multiplicity, analyses: dict[str, Analysis]) -> None:
    """In a sequence no secondary analysis comes before a primary one."""
    roles = [analyses[code].role for code in rule.order if code in analyses]
    if rule.procedure in {"fixed_sequence", "fallback"} and roles != sorted(roles):
        document.add(
            ("multiplicity", "order"),
            "a secondary analysis comes before a primary one.",
            "Put the primary analyses first.",
        )


def _untested(analysis: Analysis | None) -> str | None:
    """Return why an analysis has no place in the order, or None."""
    if analysis is None:
        return None
    if analysis.method == "kaplan_meier":
        return "kaplan_meier describes"
    if analysis.role not in {"primary", "secondary"}:
        return f"its role is {analysis.role}"
    return None


def _check_weights(document: Document, rule: Multiplicity) -> None:
    at = ("multiplicity", "weights")
    if rule.procedure not in WEIGHTED:
        if rule.weights is not None:
            document.add(at, f"{rule.procedure} has no weights.", "Remove them.")
        return
    if rule.weights is None:
        document.add(
            ("multiplicity",),
            f"{rule.procedure} needs weights.",
            "Add weights: the share of alpha of each analysis, at most 1 in all.",
        )
        return
    _check_names(document, at, list(rule.weights), rule)
    for code in rule.order:
        if code not in rule.weights:
            document.add(at, f"{code} has no weight.", "Give its share of alpha; 0 is possible.")
    _check_shares(document, at, rule.weights, "the weights")


def _check_transitions(document: Document, rule: Multiplicity) -> None:
    at: tuple[str | int, ...] = ("multiplicity", "transitions")
    if rule.procedure != "graph":
        if rule.transitions is not None:
            document.add(at, f"{rule.procedure} has no transitions.", "Remove them.")
        return
    if rule.transitions is None:
        document.add(
            ("multiplicity",),
            "graph needs transitions.",
            "Add transitions: for each analysis, to whom its share goes.",
        )
        return
    _check_names(document, at, list(rule.transitions), rule)
    for code, row in rule.transitions.items():
        _check_names(document, (*at, code), list(row), rule)
        _check_shares(document, (*at, code), row, f"the transitions of {code}")
        if row.get(code):
            document.add((*at, code, code), f"{code} hands its share to itself.", "Remove it.")
    if not document.findings:
        _check_graph(document, rule)


def _check_graph(document: Document, rule: Multiplicity) -> None:
    """Whatever else the method refuses."""
    from trialkit.methods import graph

    try:
        graph(rule.weights or {}, rule.transitions or {}, alpha=rule.alpha)
    except UsageError as error:
        document.add(("multiplicity",), error.message, error.remedy)


def _check_names(
    document: Document, at: tuple[str | int, ...], names: list[str], rule: Multiplicity
) -> None:
    for name in names:
        if name not in rule.order:
            document.add(
                (*at, name), f"{name} is not in the order.", did_you_mean(name, rule.order)
            )


def _check_shares(
    document: Document, at: tuple[str | int, ...], shares: dict[str, float], what: str
) -> None:
    low = [name for name, share in shares.items() if share < 0.0]
    if low:
        document.add((*at, low[0]), f"{what} hold {shares[low[0]]:g}.", "Give 0 or more.")
    elif sum(shares.values()) > 1.0 + SLACK:
        document.add(
            at, f"{what} sum to {sum(shares.values()):g}, more than 1.", "Divide at most all of it."
        )
