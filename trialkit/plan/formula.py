"""Formulas of a plan, as the methods read them."""

from __future__ import annotations


def read_formula(formula: str) -> tuple[str | None, list[str]]:
    """Return the outcome and the columns of the right side.

    Raises
    ------
    UsageError
        If the formula cannot be read.
    """
    from trialkit.methods._design import parse
    from trialkit.methods._expression import variables

    outcome, terms = parse(formula)
    found = [name for term in terms for factor in term for name in variables(factor)]
    return outcome, list(dict.fromkeys(found))
