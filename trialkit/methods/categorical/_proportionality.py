"""Tests that effects are common to all thresholds.

- ``score``: the score of the model with effects of their own at every threshold, at the fit
  with common effects (the hypothesis of PROC LOGISTIC's "Score Test for the Proportional Odds
  Assumption"), with the generalised inverse of the observed information; Peterson B, Harrell FE
  (1990), Appl Stat 39:205.
- ``score_expected``: the same with the expected information.
- ``likelihood_ratio``: twice the gain in log-likelihood of that model, as R
  ``ordinal::nominal_test``. Where an effect of that model is infinite the gain is that of the
  limit, which a note says.

The score test with the observed information rejects too often in small samples (Peterson and
Harrell 1990); the one with the expected information keeps its level better.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from trialkit.methods.categorical._cumulative import (
    Cumulative,
    Fitted,
    standardise,
    supremum,
)

Floats = npt.NDArray[np.float64]
COLUMNS = ("test", "term", "df", "statistic", "p")


def freed(model: Cumulative, columns: Sequence[int]) -> Cumulative:
    """Return the model with some common columns given effects by threshold."""
    rest = [i for i in range(model.x.shape[1]) if i not in set(columns)]
    z = np.hstack([model.z, model.x[:, list(columns)]])
    return Cumulative(model.x[:, rest], z, model.y, model.weight, model.k, model.link)


def embed(model: Cumulative, phi: Floats, columns: Sequence[int]) -> Floats:
    """Return the parameters of the freed model that say the same."""
    k, p, q = model.k, model.x.shape[1], model.z.shape[1]
    rest = [i for i in range(p) if i not in set(columns)]
    beta = phi[k : k + p]
    own = phi[k + p :].reshape(k, q)
    return np.concatenate(
        [phi[:k], beta[rest], np.hstack([own, np.tile(beta[list(columns)], (k, 1))]).ravel()]
    )


def score_test(
    model: Cumulative, phi: Floats, columns: Sequence[int], expected: bool
) -> float | None:
    """Return the score chi-square; None when the information is not positive semidefinite."""
    work, back = standardise(freed(model, columns))
    at: Floats = np.asarray(np.linalg.solve(back, embed(model, phi, columns)), dtype=np.float64)
    _, score, observed = work.derivatives(at)
    matrix = work.expected_information(at) if expected else observed
    values, vectors = np.linalg.eigh(matrix)
    tiny = 1e-9 * float(values.max())
    if values.min() < -tiny:
        return None
    use = values > tiny
    return float(((vectors[:, use].T @ score) ** 2 / values[use]).sum())


def table(
    model: Cumulative, fitted: Fitted, terms: dict[str, list[int]]
) -> tuple[pd.DataFrame, list[str]]:
    """Return ``test term df statistic p``, and notes on tests that could not be done.

    Parameters
    ----------
    model, fitted
        The fit.
    terms : dict
        Common columns by term.
    """
    groups = dict(terms)
    if len(terms) > 1:
        groups = {"all": [i for own in terms.values() for i in own], **terms}
    rows: list[tuple[str, str, int, float, float]] = []
    notes = []
    for test in ("score", "score_expected", "likelihood_ratio"):
        for name, columns in groups.items():
            df = (model.k - 1) * len(columns)
            if test != "likelihood_ratio":
                statistic = score_test(model, fitted.phi, columns, expected=test != "score")
            else:
                larger = supremum(freed(model, columns))
                statistic = larger and max(2.0 * (larger[0] - fitted.loglik), 0.0)
                if larger and not larger[1]:
                    notes.append(f"likelihood ratio of {name}: an effect by threshold is infinite")
            if statistic is None:
                notes.append(f"no {test} test of {name}: the model by threshold has no fit")
                continue
            rows.append((test, name, df, statistic, float(special.chdtrc(df, statistic))))
    return pd.DataFrame(rows, columns=list(COLUMNS)), notes
