"""Ordered categories: proportional odds and partial proportional odds.

``P(Y <= k) = F(alpha_k - x'beta)``, maximised by Newton's method with the observed information
(:mod:`trialkit.methods.categorical._cumulative`), as R ``MASS::polr`` and ``ordinal::clm``. A
positive effect means higher categories: with the logit, ``exp(beta)`` is the ratio of the odds
of a higher category. SAS PROC LOGISTIC has the opposite sign unless DESCENDING is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import Design, build_design
from trialkit.methods._predictor import alias_notes
from trialkit.methods.categorical._cumulative import Cumulative, fit
from trialkit.methods.categorical._links import LINKS
from trialkit.methods.categorical._ordinal_fit import OrdinalFit
from trialkit.methods.categorical._probabilities import crosses

__all__ = ["OrdinalFit", "ordinal"]

Floats = npt.NDArray[np.float64]


def ordinal(
    formula: str,
    data: pd.DataFrame,
    *,
    link: Literal["logit", "probit", "cloglog"] = "logit",
    levels: Sequence[Any] | None = None,
    nominal: str | Sequence[str] = (),
    frequency: str | None = None,
) -> OrdinalFit:
    """Fit a cumulative link model to ordered categories.

    Parameters
    ----------
    formula : str
        ``RESPONSE ~ TERMS``; the response is a column.
    data : DataFrame
        One row a participant, or one row a cell with its ``frequency``; rows with a missing
        value are dropped and counted.
    link : {"logit", "probit", "cloglog"}
        Distribution F of the model.
    levels : sequence, optional
        The categories from low to high. Needed for text; numbers are ordered by size, an
        ordered Categorical by its categories.
    nominal : str or sequence of str
        Terms of the formula with an effect of their own at each threshold.
    frequency : str, optional
        Column of whole numbers: how many participants a row stands for.

    Raises
    ------
    UsageError
        For unknown columns, terms or options, categories without an order, values that are
        not among the levels, or frequencies that are not whole numbers.
    """
    if link not in LINKS:
        raise UsageError(f"no link {link!r}.", remedy=f"Use {', '.join(LINKS)}.")
    response, right = split_formula(formula)
    data = with_frequency(data, frequency)
    also = [response] if frequency is None else [response, frequency]
    design = build_design(f"~ {right}", data, also=also, response=False)
    if "Intercept" not in design.names:
        raise UsageError(
            f"The formula {formula!r} leaves out the intercept.",
            remedy="Keep it: the thresholds take its place.",
        )
    order = category_order(data[response], levels, response)
    codes, present, notes = encode(design.columns[response], order, response)
    weight = (
        np.ones(len(codes)) if frequency is None else design.columns[frequency].astype(np.float64)
    )
    free = nominal_columns(design, (nominal,) if isinstance(nominal, str) else tuple(nominal))
    terms = np.array([i for i, name in enumerate(design.names) if name != "Intercept"], dtype=int)
    common = np.array([i for i in terms if i not in free], dtype=int)
    own = np.array([i for i in terms if i in free], dtype=int)
    model = Cumulative(
        design.x[:, common], design.x[:, own], codes, weight, len(present) - 1, LINKS[link]
    )
    failed = None
    fitted = None
    if len(present) < 2:
        failed = f"every participant is in the category {present[0]}"
    else:
        found = fit(model)
        failed, fitted = (found, None) if isinstance(found, str) else (None, found)
        if fitted is not None and len(own) and crosses(model, fitted.phi):
            notes.append("the thresholds cross for some participants: a probability is negative")
    kind = "partial proportional odds" if len(own) else "proportional odds"
    name = kind if link == "logit" else f"cumulative {link} model"
    return OrdinalFit(
        formula=formula,
        failed=failed,
        n=round(float(weight.sum())),
        n_missing=design.n_missing,
        variant=(
            f"{name} by maximum likelihood, observed information, normal quantiles, "
            f"effects on higher categories of {response}"
            + (f", by threshold: {', '.join(design.names[i] for i in own)}" if len(own) else "")
        ),
        notes=[*alias_notes(design), *notes, *ends_note(codes, weight, present)],
        levels=present,
        link=link,
        design=design,
        response=response,
        model=model,
        common=common,
        own=own,
        fitted=fitted,
    )


def split_formula(formula: str) -> tuple[str, str]:
    """Return the response column and the right-hand side."""
    left, sign, right = formula.partition("~")
    if not sign or not left.strip() or not right.strip():
        raise UsageError(f"{formula!r} names no outcome.", remedy="Write OUTCOME ~ TERMS.")
    return left.strip(), right.strip()


def with_frequency(data: pd.DataFrame, frequency: str | None) -> pd.DataFrame:
    """Drop rows that stand for nobody, and refuse frequencies that are not whole numbers."""
    if frequency is None or frequency not in data.columns:
        return data
    values = data[frequency]
    known = values.dropna()
    numeric = pd.api.types.is_numeric_dtype(values)
    if not numeric or not np.isfinite(known).all() or (known < 0).any() or (known % 1 != 0).any():
        raise UsageError(
            f"The frequencies {frequency} are not whole numbers of participants.",
            remedy="Give counts; weights of another kind are not supported.",
        )
    return data[~(values == 0)]


def category_order(
    column: pd.Series[Any], levels: Sequence[Any] | None, name: str
) -> tuple[Any, ...]:
    """Return the categories from low to high."""
    if levels is not None:
        if len(set(levels)) < len(levels):
            raise UsageError(
                f"A level of {name} is named twice: {list(levels)}.", remedy="Name each once."
            )
        return tuple(levels)
    if isinstance(column.dtype, pd.CategoricalDtype) and column.cat.ordered:
        return tuple(column.cat.categories.tolist())
    plain = column.dtype
    if pd.api.types.is_numeric_dtype(plain) or pd.api.types.is_bool_dtype(plain):
        known = column.dropna()
        if not np.isfinite(known.astype(np.float64)).all():
            raise UsageError(
                f"{name} holds infinite values.", remedy="Set them to missing, or correct them."
            )
        return tuple(sorted(known.unique().tolist()))
    raise UsageError(
        f"The categories of {name} have no order.",
        remedy="Give levels=[...] from low to high, or an ordered Categorical.",
    )


def encode(
    values: npt.NDArray[Any], order: tuple[Any, ...], name: str
) -> tuple[npt.NDArray[np.intp], tuple[Any, ...], list[str]]:
    """Return codes of the categories that occur, those categories, and a note on the others."""
    found = pd.unique(values).tolist()
    stray = [value for value in found if value not in order]
    if stray:
        raise UsageError(
            f"{name} holds {stray[0]!r}, which is not among its levels {list(order)}.",
            remedy="Add it to levels, or correct the data.",
        )
    present = tuple(level for level in order if level in found)
    place = {level: i for i, level in enumerate(present)}
    empty = [str(level) for level in order if level not in place]
    notes = [f"empty categories, merged with the next: {', '.join(empty)}"] if empty else []
    codes = np.array([place[value] for value in values.tolist()], dtype=np.intp)
    return codes, present, notes


def ends_note(codes: npt.NDArray[np.intp], weight: Floats, present: tuple[Any, ...]) -> list[str]:
    """Note that more than half of the participants sit in the lowest or highest category."""
    out = []
    for code, word in ((0, "floor"), (len(present) - 1, "ceiling")):
        share = float(weight[codes == code].sum() / weight.sum())
        if share > 0.5 and len(present) > 1:
            out.append(f"{word}: {100.0 * share:.0f} % are in the category {present[code]}")
    return out


def nominal_columns(design: Design, nominal: tuple[str, ...]) -> set[int]:
    """Return the columns of the terms that differ by threshold."""
    known = [term.name for term in design.terms if term.factors]
    unknown = [name for name in nominal if name not in known]
    if unknown:
        raise UsageError(
            f"{unknown[0]!r} is not a term of {design.formula!r}.",
            remedy=f"Terms are: {', '.join(known)}.",
        )
    return {
        i
        for i, column in enumerate(design.kept)
        if design.terms[design.assign[column]].name in nominal
    }
