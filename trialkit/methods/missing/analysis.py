"""The analysis of a completed data set: what is run, and which numbers are taken from it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._design import parse
from trialkit.methods.linear.ancova import ancova
from trialkit.methods.missing.trial import Trial

Floats = npt.NDArray[np.float64]

#: Methods whose estimate is linear in the outcome, so that conditional means are enough.
LINEAR = ("ancova", "mmrm", "partially_nested")
#: Methods of one row a participant.
ONE_ROW = (
    "ancova",
    "binary",
    "negative_binomial",
    "ordinal",
    "partially_nested",
    "poisson",
    "proportions",
    "win_odds",
)
RATIOS = ("odds_ratio", "rate_ratio", "hazard_ratio")


@dataclass(frozen=True)
class Request:
    """One analysis of each completed frame.

    Parameters
    ----------
    analysis : callable
        ``analysis(formula, frame, **options)`` returns a fit.
    at : object
        Visit whose rows are analysed; None for all rows.
    term, reference : object
        Factor that is compared, and its reference level; a numeric term takes the coefficient.
    by : str or None
        Further factor at whose levels the term is compared.
    level : float
        Coverage.
    estimate : str or callable
        Method of the fit that gives the table (``contrast``, ``standardised``, ``odds_ratio``,
        ``rate_ratio`` ...), or a function of the fit that returns one.
    estimate_options : dict
        Passed to that method, such as ``measure``.
    transform : callable or None
        Applied to the completed frame, such as a cut-off for responders.
    options : dict
        Passed to the analysis.
    """

    analysis: Callable[..., Any]
    formula: str
    at: Any
    term: str
    reference: Any
    by: str | None = None
    level: float = 0.95
    estimate: str | Callable[[Any], pd.DataFrame] = "contrast"
    estimate_options: Mapping[str, Any] = field(default_factory=dict)
    transform: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the analysis."""
        return str(getattr(self.analysis, "__name__", type(self.analysis).__name__))

    @property
    def ours(self) -> bool:
        """Whether the analysis is a method of this package."""
        return str(getattr(self.analysis, "__module__", "")).startswith("trialkit.methods.")

    @property
    def ratio(self) -> bool:
        """Whether the table holds ratios, which are pooled as logarithms."""
        measure = self.estimate_options.get("measure")
        return self.estimate in RATIOS or measure in ("ratio", "odds_ratio")

    def fast(self, outcome: str) -> bool:
        """Whether the analysis is an ANCOVA of the imputed outcome itself."""
        response, terms = parse(self.formula)
        used = {name for term in terms for name in term}
        return (
            self.analysis is ancova
            and self.estimate == "contrast"
            and self.transform is None
            and self.by is None
            and self.at is not None
            and not self.estimate_options
            and set(self.options) <= {"se"}
            and self.options.get("se") in (None, "classical")
            and response == outcome
            and not any(outcome in name for name in used)
        )


def check_request(request: Request, trial: Trial, conditional: bool) -> list[str]:
    """Refuse an analysis that does not fit the data; return notes."""
    if request.at is not None and request.at not in trial.visits:
        raise UsageError(
            f"There is no visit {request.at!r}.",
            remedy=f"Visits are: {', '.join(map(repr, trial.visits))}.",
        )
    if request.at is None and request.ours and request.name in ONE_ROW:
        raise UsageError(
            f"{request.name} takes one row a participant.", remedy="Name the visit: at=..."
        )
    if not conditional:
        return []
    if request.transform is not None or (request.ours and request.name not in LINEAR):
        raise UsageError(
            "Conditional means are no plausible values: an analysis that is not linear in the "
            "outcome (a responder, a count) is biased with them.",
            remedy="Use method='bayes' or 'approximate_bayes' in impute.",
        )
    if not request.ours:
        return [
            "conditional mean imputation is justified for analyses that are linear in the outcome"
        ]
    return []


def run(request: Request, frame: pd.DataFrame, visit: str) -> tuple[pd.DataFrame, Any] | str:
    """Analyse one completed frame; return the rows wanted and the fit, or why there are none."""
    if request.transform is not None:
        frame = request.transform(frame)
        if not isinstance(frame, pd.DataFrame):
            raise UsageError(
                "transform returned no DataFrame.", remedy="Return the frame that is analysed."
            )
    if request.at is not None:
        frame = frame[(frame[visit] == request.at).to_numpy()].reset_index(drop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = request.analysis(request.formula, frame, **request.options)
        if getattr(fit, "failed", None):
            return str(fit.failed)
        table = extract(request, fit)
    if isinstance(table, str):
        return table
    if request.ratio:
        table = table.copy()
        table["estimate"] = np.log(table["estimate"].to_numpy(dtype=np.float64))
    numbers = table[["estimate", "se"]].to_numpy(dtype=np.float64)
    if not len(table) or not np.isfinite(numbers).all():
        return "the analysis gives no estimate of the contrast"
    return table.reset_index(drop=True), fit


def extract(request: Request, fit: Any) -> pd.DataFrame | str:
    """Take the wanted rows from a fit."""
    if not isinstance(request.estimate, str):
        out = request.estimate(fit)
        missing = [name for name in ("estimate", "se") if name not in out.columns]
        if missing:
            raise UsageError(
                f"The table of estimate= has no column {missing[0]!r}.",
                remedy="Return estimate, se and (for t) df.",
            )
        return out if "df" in out.columns else out.assign(df=np.inf)
    design = getattr(fit, "design", None)
    factors = design.factors.values() if design is not None else ()
    number = design is not None and not any(
        f.categorical and request.term in (f.variables[0], f.expression) for f in factors
    )
    if request.estimate == "contrast" and number:
        table: pd.DataFrame = fit.coefficients
        return table[(table["term"] == request.term).to_numpy()]
    method = getattr(fit, request.estimate, None)
    if method is None:
        raise UsageError(
            f"{request.name} has no estimate {request.estimate!r}.",
            remedy="Name a method of its fit, such as contrast, or give a function of the fit.",
        )
    options = dict(request.estimate_options)
    if request.by is not None:
        options["by"] = request.by
    table = method(request.term, reference=request.reference, **options)
    return table
