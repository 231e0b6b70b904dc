"""One arm against another: estimate, interval, p and tests from tables of counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from scipy import special

from trialkit.errors import UsageError
from trialkit.methods.categorical import _exact, _mantel, _score
from trialkit.methods.categorical._score import LIMIT, TwoByTwo

Measure = Literal["difference", "ratio", "odds_ratio"]
Test = tuple[str, float, float, float]

RISK_INTERVALS = {"wilson": "Wilson", "clopper_pearson": "Clopper-Pearson"}
MEASURES = {"difference": "risk difference", "ratio": "risk ratio", "odds_ratio": "odds ratio"}

#: What is computed, by measure, interval and whether there are strata.
VARIANTS = {
    ("difference", "newcombe", False): "Newcombe hybrid score interval (method 10), Pearson p",
    ("difference", "miettinen_nurminen", False): "Miettinen-Nurminen score interval and p",
    ("difference", "wald", False): "Wald interval and p, unpooled variance",
    ("difference", "exact", False): "Chan-Zhang exact unconditional interval and p",
    ("ratio", "miettinen_nurminen", False): "Miettinen-Nurminen score interval and p",
    ("ratio", "wald", False): "Wald interval and p of the log",
    ("odds_ratio", "miettinen_nurminen", False): "Miettinen-Nurminen score interval and p",
    ("odds_ratio", "wald", False): "Wald (Woolf) interval and p of the log",
    ("odds_ratio", "exact", False): "conditional maximum likelihood, exact interval, Fisher p",
    ("difference", "newcombe", True): (
        "Mantel-Haenszel, stratified Newcombe interval (Yan and Su), "
        "Cochran-Mantel-Haenszel p, Sato SE"
    ),
    ("difference", "wald", True): "Mantel-Haenszel, Sato variance, Wald interval and p",
    ("ratio", "wald", True): "Mantel-Haenszel, Greenland-Robins variance of the log",
    ("odds_ratio", "wald", True): "Mantel-Haenszel, Robins-Breslow-Greenland variance of the log",
    ("odds_ratio", "exact", True): (
        "conditional maximum likelihood over strata, exact interval and p"
    ),
}


@dataclass(frozen=True)
class Choice:
    """A measure with its interval."""

    measure: str
    interval: str
    stratified: bool

    @property
    def words(self) -> str:
        """The variant in words."""
        how = VARIANTS[self.measure, self.interval, self.stratified]
        return f"{MEASURES[self.measure]}, {how}"


@dataclass
class Comparison:
    """What is known of one arm against the reference; ratios are not logged."""

    estimate: float = math.nan
    se: float = math.nan
    statistic: float = math.nan
    p: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    failed: str | None = None
    notes: list[str] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)


def choose(measure: str, interval: str | None, stratified: bool) -> Choice:
    """Return the interval asked for, or the default; refuse what does not exist."""
    if measure not in MEASURES:
        raise UsageError(f"no measure {measure!r}.", remedy=f"Use {', '.join(MEASURES)}.")
    known = [i for m, i, s in VARIANTS if m == measure and s == stratified]
    chosen = known[0] if interval is None else interval
    if chosen not in known:
        where = "with" if stratified else "without"
        raise UsageError(
            f"no interval {interval!r} for the {MEASURES[measure]} {where} strata.",
            remedy=f"Use {', '.join(known)}.",
        )
    return Choice(measure, chosen, stratified)


def quantile(level: float) -> float:
    """Return the two-sided normal quantile."""
    return float(special.ndtri(0.5 + level / 2.0))


def compare(tables: list[TwoByTwo], choice: Choice, level: float) -> Comparison:
    """Compare the arms by the chosen measure and interval."""
    out = Comparison()
    use = [t for t in tables if t.n1 > 0 and t.n0 > 0]
    if not use:
        out.failed = "no stratum holds both arms" if choice.stratified else "an arm is empty"
        return out
    if len(use) < len(tables):
        out.notes.append(f"{len(tables) - len(use)} strata hold one arm only and tell nothing")
    out.tests = _tests(use, choice.stratified)
    events = sum(t.x1 + t.x0 for t in use)
    total = sum(t.n1 + t.n0 for t in use)
    if choice.measure != "difference" and events == 0:
        out.failed = "no events in either arm: a ratio is not defined"
    elif choice.measure == "odds_ratio" and events == total:
        out.failed = "events in every participant: an odds ratio is not defined"
    elif choice.stratified:
        _stratified(out, use, choice, level)
    else:
        _plain(out, use[0], choice, level)
    return out


def _plain(out: Comparison, t: TwoByTwo, choice: Choice, level: float) -> None:
    z = quantile(level)
    gap, se = t.p1 - t.p0, math.sqrt(t.p1 * (1 - t.p1) / t.n1 + t.p0 * (1 - t.p0) / t.n0)
    if choice.measure == "difference":
        out.estimate, out.se = gap, se
        if choice.interval == "newcombe":
            out.lower, out.upper = _score.newcombe(t, z)
            n = t.n1 + t.n0
            _set_z(out, _score.score_difference(t, 0.0) * math.sqrt(n / (n - 1.0)))
        elif choice.interval == "miettinen_nurminen":
            out.lower, out.upper = _score.invert(
                lambda d: _score.score_difference(t, d), gap, z, -1.0, 1.0
            )
            _set_z(out, _score.score_difference(t, 0.0))
        elif choice.interval == "wald":
            _wald(out, gap, se, z, "no spread of responses: the Wald variance is zero")
        else:
            _unconditional(out, t, level)
        return
    _plain_ratio(out, t, choice, level)


def _plain_ratio(out: Comparison, t: TwoByTwo, choice: Choice, level: float) -> None:
    z = quantile(level)
    if choice.interval == "exact":
        _conditional(out, [t], level)
        return
    if choice.measure == "ratio":
        cells = (t.x1, t.x0)
        variance = math.inf if 0 in cells else 1 / t.x1 - 1 / t.n1 + 1 / t.x0 - 1 / t.n0
        top, bottom = t.p1, t.p0
        z_of = _score.score_ratio
    else:
        four = (t.x1, t.n1 - t.x1, t.x0, t.n0 - t.x0)
        variance = math.inf if 0 in four else sum(1.0 / cell for cell in four)
        top, bottom = t.x1 * (t.n0 - t.x0), t.x0 * (t.n1 - t.x1)
        z_of = _score.score_odds_ratio
    log = math.log(top / bottom) if top > 0 and bottom > 0 else None
    if choice.interval == "wald":
        if log is None or not 0.0 < variance < math.inf:
            out.failed = "a cell is empty: the Wald interval of a ratio is not defined"
            return
        _wald(out, log, math.sqrt(variance), z, "")
        _exponentiate(out)
        return
    out.se = math.sqrt(variance)
    out.estimate = math.inf if bottom == 0 else top / bottom
    if log is None:
        out.notes.append("an empty cell: the ratio is 0 or infinite, its interval one-sided")
    start = log if log is not None else math.copysign(LIMIT, 1.0 if bottom == 0 else -1.0)
    lower, upper = _score.invert(lambda b: z_of(t, b), start, z, -LIMIT, LIMIT)
    out.lower = 0.0 if lower <= -LIMIT else math.exp(lower)
    out.upper = math.inf if upper >= LIMIT else math.exp(upper)
    _set_z(out, z_of(t, 0.0))


def _stratified(out: Comparison, use: list[TwoByTwo], choice: Choice, level: float) -> None:
    z = quantile(level)
    strata = _mantel.Strata.of(use)
    if choice.measure == "difference":
        gap, se = _mantel.difference(strata)
        if choice.interval == "wald":
            _wald(out, gap, se, z, "no spread of responses: Sato's variance is zero")
            return
        out.se = se
        out.estimate, out.lower, out.upper = _score.stratified_newcombe(use, z)
        statistic = _mantel.cmh(strata)
        _set_z(out, math.copysign(math.sqrt(statistic or 0.0), gap))
        return
    if choice.interval == "exact":
        _conditional(out, use, level)
        return
    found = _mantel.ratio(strata) if choice.measure == "ratio" else _mantel.odds_ratio(strata)
    if found is None:
        out.failed = "the Mantel-Haenszel ratio is 0 or infinite"
        return
    _wald(out, *found, z, "no spread of responses: the variance is zero")
    if not out.failed:
        _exponentiate(out)


def _wald(out: Comparison, estimate: float, se: float, z: float, flat: str) -> None:
    if not se > 0.0:
        out.failed = flat
        return
    out.estimate, out.se = estimate, se
    out.lower, out.upper = estimate - z * se, estimate + z * se
    _set_z(out, estimate / se)


def _exponentiate(out: Comparison) -> None:
    out.estimate = math.exp(out.estimate)
    out.lower, out.upper = math.exp(out.lower), math.exp(out.upper)


def _set_z(out: Comparison, z: float) -> None:
    out.statistic = z
    out.p = math.erfc(abs(z) / math.sqrt(2.0))


def _unconditional(out: Comparison, t: TwoByTwo, level: float) -> None:
    if (t.n1 + 1) * (t.n0 + 1) > _exact.UNCONDITIONAL_LIMIT:
        raise UsageError(
            f"The exact unconditional interval of {t.n1:.0f} and {t.n0:.0f} participants is "
            "too large a computation.",
            remedy="Use interval='miettinen_nurminen', which agrees at such sizes.",
        )
    out.lower, out.upper, out.p = _exact.chan_zhang(t, level)
    out.statistic = _score.score_difference(t, 0.0, correct=False)


def _conditional(out: Comparison, tables: list[TwoByTwo], level: float) -> None:
    found = _exact.conditional(tables)
    if found is None:
        out.failed = "the margins allow one table only: the odds ratio cannot be estimated"
        return
    out.estimate = found.estimate()
    out.lower, out.upper = found.interval(level)
    out.p = found.p_value()
    log = math.log(out.estimate) if 0.0 < out.estimate < math.inf else None
    if log is None:
        out.notes.append("the odds ratio is 0 or infinite, its interval one-sided")
        out.se = math.inf
    else:
        p = found.probabilities(log)
        mean = float(p @ found.values)
        out.se = 1.0 / math.sqrt(float(p @ (found.values - mean) ** 2))
    null = found.probabilities(0.0)
    mean = float(null @ found.values)
    out.statistic = (found.seen - mean) / math.sqrt(float(null @ (found.values - mean) ** 2))


def _tests(tables: list[TwoByTwo], stratified: bool) -> list[Test]:
    """Return name, statistic, df and p of the tests that exist for these tables."""
    out: list[Test] = []
    strata = _mantel.Strata.of(tables)
    exact = _exact.conditional(tables)
    if not stratified:
        t = tables[0]
        n, m = t.n1 + t.n0, t.x1 + t.x0
        if 0 < m < n:
            pearson = (t.p1 - t.p0) ** 2 * t.n1 * t.n0 * n / (m * (n - m))
            out.append(("Pearson chi-square", pearson, 1.0, _mantel.chi_square_p(pearson)))
            gap = max(abs(t.x1 * t.n0 - t.x0 * t.n1) - n / 2.0, 0.0)
            yates = gap**2 * n / (t.n1 * t.n0 * m * (n - m))
            out.append(("Pearson with Yates' correction", yates, 1.0, _mantel.chi_square_p(yates)))
        if exact is not None:
            out.append(("Fisher exact", math.nan, math.nan, exact.p_value()))
        return out
    for name, correct in (
        ("Cochran-Mantel-Haenszel", False),
        ("Cochran-Mantel-Haenszel with continuity correction", True),
    ):
        statistic = _mantel.cmh(strata, correct)
        if statistic is not None:
            out.append((name, statistic, 1.0, _mantel.chi_square_p(statistic)))
    if exact is not None:
        out.append(("exact conditional", math.nan, math.nan, exact.p_value()))
    homogeneous = _mantel.breslow_day(strata)
    if homogeneous is not None:
        plain, tarone, df = homogeneous
        out.append(("Breslow-Day", plain, float(df), _mantel.chi_square_p(plain, df)))
        out.append(("Breslow-Day-Tarone", tarone, float(df), _mantel.chi_square_p(tarone, df)))
    return out
