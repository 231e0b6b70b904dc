"""Effect size, intra-class correlation and internal consistency, through pingouin.

pingouin is under GPL-3: this is the only module that imports it, and only inside functions. Its
estimates are used as they come. Its intervals are not: it rounds that of Cronbach's alpha to
three decimals and that of the intra-class correlation to two, and gives no other coverage than
95 % for the latter; and where a subject was rated twice by one rater it averages without a word.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods._marginal import check_level
from trialkit.methods._result import ByParticipant
from trialkit.methods.instruments._mean_squares import (
    Ratings,
    icc_limits,
    mean_squares,
    ratio,
    read_ratings,
)
from trialkit.methods.instruments._noncentral import effect_limits

Floats = npt.NDArray[np.float64]

INTERVALS = ("approximate", "exact")


def hedges_g(
    x: object, y: object, *, level: float = 0.95, interval: str = "approximate"
) -> pd.DataFrame:
    """Return Hedges' g, the standardised mean difference of two groups corrected for bias.

    Parameters
    ----------
    x, y : array-like, shape (n,), (m,)
        Values of the two groups; missing ones are left out. g is positive where x is higher.
    level : float
        Coverage of the interval.
    interval : {"approximate", "exact"}
        ``approximate``: the standard error of Hedges and Olkin (1985) and the quantile of
        Student's t on n + m - 2 degrees of freedom. ``exact``: from the noncentral t of the
        two-sample t statistic (equal variances), times the same correction as g.

    Returns
    -------
    DataFrame
        One row: estimate, lower, upper, n (both groups together), se.

    Raises
    ------
    UsageError
        For fewer than two values in a group, infinite values, or no variation at all.
    """
    import pingouin

    check_level(level)
    if interval not in INTERVALS:
        raise UsageError(
            f"The interval {interval!r} is not available.",
            remedy=f"Use one of: {', '.join(INTERVALS)}.",
        )
    first, second = finite(x), finite(y)
    n, m = len(first), len(second)
    if min(n, m) < 2:
        raise UsageError("a group has fewer than two values.", remedy="Check the population.")
    if np.ptp(first) == 0.0 and np.ptp(second) == 0.0:
        raise UsageError("the values do not vary.", remedy="A standardised effect needs variation.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        g = float(pingouin.compute_effsize(first, second, eftype="hedges"))
    df = n + m - 2
    se = math.sqrt((n + m) / (n * m) + g * g / (2.0 * (n + m)))
    if interval == "exact":
        correction = 1.0 - 3.0 / (4.0 * (n + m) - 9.0)  # as pingouin has it in g
        root = math.sqrt(n * m / (n + m))
        low, high = effect_limits(g / correction * root, df, level)
        low, high = low / root * correction, high / root * correction
    else:
        half = float(special.stdtrit(df, 0.5 + level / 2.0)) * se
        low, high = g - half, g + half
    return pd.DataFrame([{"estimate": g, "lower": low, "upper": high, "n": n + m, "se": se}])


def icc(
    data: pd.DataFrame, *, subject: str, rater: str, value: str, level: float = 0.95
) -> pd.DataFrame:
    """Return the intra-class correlations of Shrout and Fleiss (1979) with intervals.

    Parameters
    ----------
    data : DataFrame
        Long: one row a subject and rater (or occasion); subjects without all raters are left out.
    level : float
        Coverage of the intervals, which are those of McGraw KO, Wong SP (1996) Psychol Methods
        1:30 (F distribution; for absolute agreement with Satterthwaite's degrees of freedom).

    Returns
    -------
    DataFrame
        type (ICC(1,1), ICC(A,1), ICC(C,1) and their means over raters), estimate, statistic (F),
        df, df2, p, lower, upper.

    Raises
    ------
    UsageError
        For unknown columns, a subject rated twice by one rater, infinite values, fewer than five
        complete subjects, or values that do not vary.
    """
    check_level(level)
    return icc_table(read_ratings(data, subject, rater, value), level)


def icc_table(ratings: Ratings, level: float) -> pd.DataFrame:
    """Return the intra-class correlations of a complete table; see :func:`icc`."""
    import pingouin

    n, k = ratings.values.shape
    if n < 5 or k < 2:
        raise UsageError(
            f"{n} complete subjects and {k} raters do not suffice.",
            remedy="Give at least five subjects rated by at least two raters.",
        )
    ms = mean_squares(ratings.values)
    if ms.subjects == 0.0 and ms.within == 0.0:
        raise UsageError("the values do not vary.", remedy="Agreement needs variation.")
    wide = pd.DataFrame(ratings.values / np.abs(ratings.values).max())
    long = wide.rename_axis("subject").reset_index()
    long = long.melt(id_vars="subject", var_name="rater", value_name="value")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = pingouin.intraclass_corr(
            data=long, targets="subject", raters="rater", ratings="value"
        )
    limits = np.array(icc_limits(ms, level))
    one, many = (n - 1.0, n * (k - 1.0)), (n - 1.0, (n - 1.0) * (k - 1.0))
    f1 = ratio(ms.subjects, ms.within)
    f2 = ratio(ms.subjects, ms.residual)
    df = np.array([one, many, many] * 2)
    f = np.array([f1, f2, f2] * 2)
    return pd.DataFrame(
        {
            "type": found["Type"].astype(object).to_numpy(),
            "estimate": found["ICC"].to_numpy(dtype=np.float64),
            "statistic": f,
            "df": df[:, 0],
            "df2": df[:, 1],
            "p": special.fdtrc(df[:, 0], df[:, 1], f),
            "lower": limits[:, 0],
            "upper": limits[:, 1],
        }
    )


@dataclass(frozen=True)
class CronbachResult(ByParticipant):
    """Cronbach's alpha of a scale.

    Parameters
    ----------
    estimate, lower, upper : float
        Alpha and its interval; NaN if failed.
    items : DataFrame
        item, n, mean, sd, item_rest (correlation with the sum of the other items), alpha_without
        (alpha of the other items; NaN for two items).
    n, n_items, n_missing : int
        Complete subjects, items, and subjects left out.
    """

    estimate: float
    lower: float
    upper: float
    items: pd.DataFrame
    n: int
    n_items: int
    n_missing: int
    level: float
    variant: str = "covariance form, interval of Feldt, Woodruff and Salih (1987)"
    failed: str | None = None
    method: str = "cronbach_alpha"
    notes: list[str] = field(default_factory=list)

    @property
    def table(self) -> pd.DataFrame:
        """One row: estimate, lower, upper, n, n_items; no row if failed."""
        rows = (
            [] if self.failed else [(self.estimate, self.lower, self.upper, self.n, self.n_items)]
        )
        return pd.DataFrame(rows, columns=["estimate", "lower", "upper", "n", "n_items"])

    def summary(self) -> str:
        """Return method, counts and alpha as text."""
        head = f"{self.method}: {self.variant}\nn {self.n}, items {self.n_items}, "
        head += f"missing {self.n_missing}"
        if self.failed:
            return f"{head}\nfailed: {self.failed}"
        text = f"alpha {self.estimate:.4g} ({self.lower:.4g} to {self.upper:.4g})"
        return "\n".join([head, text, *self.notes, "", self.items.to_string(index=False)])

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"


def cronbach_alpha(
    data: pd.DataFrame, *, subject: str, item: str, value: str, level: float = 0.95
) -> CronbachResult:
    """Return Cronbach's alpha, the internal consistency of the items of a scale.

    Parameters
    ----------
    data : DataFrame
        Long: one row a subject and item; subjects without all items are left out.
    level : float
        Coverage of the interval, from the F distribution on n - 1 and (n - 1)(k - 1) degrees of
        freedom (Feldt LS, Woodruff DJ, Salih FA, 1987, Appl Psychol Meas 11:93).

    Returns
    -------
    CronbachResult
        ``failed`` for fewer than two complete subjects or items, or a sum that does not vary.

    Raises
    ------
    UsageError
        For unknown columns, two values of a subject and item, or infinite values.
    """
    import pingouin

    check_level(level)
    ratings = read_ratings(data, subject, item, value)
    n, k = ratings.values.shape
    values = ratings.values
    failed = None
    if n < 2 or k < 2:
        failed = f"{n} complete subjects and {k} items do not suffice"
    elif np.ptp(values.sum(axis=1)) <= 1e-12 * np.abs(values).max():
        failed = "the sum of the items does not vary"
    alpha, low, high = math.nan, math.nan, math.nan
    rows: list[tuple[object, int, float, float, float, float]] = []
    if failed is None:
        alpha = float(pingouin.cronbach_alpha(data=pd.DataFrame(values))[0])
        df1, df2 = n - 1.0, (n - 1.0) * (k - 1.0)
        low = 1.0 - (1.0 - alpha) * float(special.fdtri(df1, df2, 0.5 + level / 2.0))
        high = 1.0 - (1.0 - alpha) * float(special.fdtri(df1, df2, 0.5 - level / 2.0))
        rows = [_item(values, j, name) for j, name in enumerate(ratings.raters)]
    columns = ["item", "n", "mean", "sd", "item_rest", "alpha_without"]
    return CronbachResult(
        estimate=alpha,
        lower=low,
        upper=high,
        items=pd.DataFrame(rows, columns=columns),
        n=n,
        n_items=k,
        n_missing=ratings.n_missing,
        level=level,
        failed=failed,
        notes=["alpha is negative: an item may be scored the wrong way round"]
        if alpha < 0.0
        else [],
    )


def _item(values: Floats, j: int, name: object) -> tuple[object, int, float, float, float, float]:
    """Return what is said of one item."""
    own, rest = values[:, j], np.delete(values, j, axis=1)
    sums = rest.sum(axis=1)
    spread = float(own.std() * sums.std())
    together = float(((own - own.mean()) * (sums - sums.mean())).mean())
    cov = np.cov(rest, rowvar=False)
    k = rest.shape[1]
    without = math.nan
    if k > 1 and cov.sum() > 0.0:
        without = k / (k - 1) * (1.0 - float(np.trace(cov)) / float(cov.sum()))
    related = together / spread if spread > 0.0 else math.nan
    return (name, len(own), float(own.mean()), float(own.std(ddof=1)), related, without)


def finite(values: object) -> Floats:
    """Return the values that are not missing, as a flat array of floats.

    Raises
    ------
    UsageError
        For infinite values, or values that are not numbers.
    """
    try:
        plain = np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise UsageError("the values are not numbers.", remedy="Convert them.") from error
    if np.isinf(plain).any():
        raise UsageError("the values hold infinite ones.", remedy="Correct them.")
    return np.asarray(plain[~np.isnan(plain)])
