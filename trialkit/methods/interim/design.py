r"""Group-sequential designs: bounds, error spent, power, and what may be said at a look.

Bounds are on the scale of :math:`Z` with the sign turned so that larger favours the new
treatment. The futility bounds of a *non-binding* design are left out of the type I error, so
that a trial may go on beyond them; those of a *binding* design are not, which lowers the
efficacy bounds and forbids to go on (Jennison and Turnbull 2000; Lan and DeMets 1983).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special

from trialkit.errors import UsageError
from trialkit.methods._marginal import check_level, html
from trialkit.methods._result import Result
from trialkit.methods.interim import inference, solve
from trialkit.methods.interim.recursion import crossings
from trialkit.methods.interim.spending import Rule, rule

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SequentialDesign(Result):
    """A group-sequential design.

    Parameters
    ----------
    information : ndarray, shape (k,)
        Information at the looks, as a share of the planned final information.
    alpha : float
        One-sided type I error; for ``sided=2`` the two-sided one.
    beta : float
        Type II error at the design's effect.
    sided : int
        1, or 2 for bounds that are symmetrical about zero.
    upper, lower : ndarray, shape (k,)
        Bounds of Z; ``-inf`` where there is no futility bound.
    spent, lost : ndarray, shape (k,)
        Cumulative type I error, and type II error of the futility bounds.
    drift : float
        Mean of Z at the planned final information under the effect that the design detects
        with power ``1 - beta``; NaN where it cannot be had.
    failed : str or None
        Why there are no bounds.
    """

    information: Floats
    alpha: float
    beta: float
    sided: int
    spending: Rule
    futility: Rule | None
    binding: bool
    upper: Floats
    lower: Floats
    spent: Floats
    lost: Floats
    drift: float
    final: bool = True
    failed: str | None = None
    given: tuple[float | None, ...] | None = None
    looks: npt.NDArray[np.bool_] = field(default_factory=lambda: np.ones(0, dtype=bool))
    method: str = "sequential"

    @property
    def variant(self) -> str:
        """The design in words."""
        side = "one-sided" if self.sided == 1 else "two-sided symmetrical"
        words = [f"{len(self.information)} looks, {side} alpha {self.alpha:g}", str(self.spending)]
        if self.futility is not None or self.given is not None:
            kind = "binding" if self.binding else "non-binding"
            words.append(f"{kind} futility {self.futility or 'at given bounds'}")
        return ", ".join(words)

    @property
    def boundaries(self) -> pd.DataFrame:
        """Return one row a look.

        Returns
        -------
        DataFrame
            ``look``, ``information``, ``upper``, ``lower`` (bounds of Z; NaN: none at this
            look), ``nominal_p`` (one-sided p at the upper bound; for ``sided=2`` two-sided),
            ``spent`` (type I error so far), ``lost`` (type II error spent by futility so far).
        """
        names = ["look", "information", "upper", "lower", "nominal_p", "spent", "lost"]
        if self.failed is not None:
            return pd.DataFrame({name: pd.Series(dtype=np.float64) for name in names})
        known = np.where(np.isfinite(self.lower), self.lower, np.nan)
        values = [
            np.arange(1, len(self.upper) + 1),
            self.information,
            np.where(np.isfinite(self.upper), self.upper, np.nan),
            known,
            self.sided * special.ndtr(-self.upper),
            self.spent,
            self.lost,
        ]
        return pd.DataFrame(dict(zip(names, values, strict=True)))

    @property
    def inflation(self) -> float:
        """Maximum information over that of a fixed design with the same error and power."""
        fixed = special.ndtri(1.0 - self.alpha / self.sided) + special.ndtri(1.0 - self.beta)
        return float((self.drift / fixed) ** 2)

    def probabilities(self, drift: float | None = None) -> pd.DataFrame:
        """Return the probabilities to stop at each look.

        Parameters
        ----------
        drift : float, optional
            Mean of Z at the planned final information; the design's where left out.

        Returns
        -------
        DataFrame
            ``look``, ``efficacy``, ``futility`` (0 at a look without such a bound; for
            ``sided=2`` the probability to cross below), and the cumulative ``power``.
        """
        self._sound()
        theta = self.drift if drift is None else float(drift)
        over, under = crossings(self.information, self.lower, self.upper, theta)
        return pd.DataFrame(
            {
                "look": np.arange(1, len(over) + 1),
                "efficacy": over,
                "futility": under,
                "power": np.cumsum(over),
            }
        )

    def power(self, drift: float | None = None) -> float:
        """Return the probability to cross an efficacy bound at any look."""
        found = self.probabilities(drift)
        total = float(found["efficacy"].sum())
        return total + float(found["futility"].sum()) if self.sided == 2 else total

    def expected_information(self, drift: float | None = None) -> float:
        """Return the mean information at the stop, as a share of the planned final one."""
        found = self.probabilities(drift)
        stop = (found["efficacy"] + found["futility"]).to_numpy()
        stop[-1] = 1.0 - stop[:-1].sum()
        return float(stop @ self.information)

    def conditional_power(self, look: int, z: float, effect: str | float = "observed") -> float:
        """Return the probability to cross an efficacy bound later, given Z at a look.

        Parameters
        ----------
        look : int
            From 1.
        z : float
            Statistic at the look.
        effect : str or float
            ``observed`` (the trend so far), ``null``, ``design``, or a drift: the mean of Z at
            the planned final information.
        """
        inference.look_of(self, look, z, last=False)
        named = {
            "observed": z / math.sqrt(float(self.information[look - 1])),
            "null": 0.0,
            "design": self.drift,
        }
        if isinstance(effect, str) and effect not in named:
            raise UsageError(
                f"The effect {effect!r} is not known.",
                remedy=f"Use {', '.join(named)} or a drift.",
            )
        drift = named[effect] if isinstance(effect, str) else float(effect)
        return inference.conditional_power(self, look, z, drift)

    def predictive_power(
        self, look: int, z: float, prior: tuple[float, float] | None = None
    ) -> float:
        """Return the conditional power averaged over the posterior of the effect.

        Parameters
        ----------
        prior : (mean, standard deviation), optional
            Normal prior of the drift; flat where left out.
        """
        inference.look_of(self, look, z, last=False)
        if prior is not None and not prior[1] > 0.0:
            raise UsageError("The prior's standard deviation is not positive.", remedy="Mend it.")
        return inference.predictive_power(self, look, z, prior)

    def estimates(
        self, look: int, estimate: float, se: float, *, level: float | None = None
    ) -> pd.DataFrame:
        """Return what may be said of the effect when the trial stops at a look.

        Parameters
        ----------
        look : int
            The look at which it stopped, from 1.
        estimate, se : float
            Effect with the sign that favours the new treatment, and its standard error.
        level : float, optional
            Coverage of the naive and the stagewise interval; ``1 - 2 alpha`` (``1 - alpha`` for
            ``sided=2``) where left out, which is that of the repeated interval.

        Returns
        -------
        DataFrame
            ``kind`` (naive, repeated, stagewise), ``estimate se p lower upper``. The estimate of
            the kind *stagewise* is median-unbiased; p is one-sided unless ``sided=2``.
        """
        if not se > 0.0 or not math.isfinite(se):
            raise UsageError(f"The standard error is {se}.", remedy="Give a positive number.")
        inference.look_of(self, look, estimate / se, last=True)
        coverage = 1.0 - 2.0 * self.alpha / self.sided if level is None else level
        check_level(coverage)
        return inference.adjusted(self, look, estimate, se, coverage)

    def repeated_p(self, look: int, z: float) -> float:
        """Return the smallest alpha at which the bound of a look would have been crossed.

        One-sided; two-sided for ``sided=2`` (Jennison and Turnbull 2000, section 9.4).
        """
        inference.look_of(self, look, z, last=True)
        value = abs(z) if self.sided == 2 else z

        def gap(log_alpha: float) -> float:
            plain = replace(self, alpha=math.exp(log_alpha), futility=None, given=None)
            return (
                float(solve.bounds(replace(plain, binding=False), 0.0)["upper"][look - 1]) - value
            )

        low, high = math.log(1e-12), math.log(0.5 * self.sided - 1e-6)
        if gap(high) > 0.0:
            return 1.0 if self.sided == 2 else 0.5
        if gap(low) < 0.0:
            return 1e-12
        return math.exp(optimize.brentq(gap, low, high, xtol=1e-12))

    def at(self, information: Sequence[float], *, final: bool | None = None) -> SequentialDesign:
        """Return the bounds for the looks as they were, at the information they had.

        A spending function needs neither the number nor the times of the looks in advance
        (Lan and DeMets 1983): the error spent by a look is that of its actual information
        fraction. The looks must be made without regard to the results.

        Parameters
        ----------
        information : sequence of float
            Information of the looks so far, as a share of the planned final information. The
            last may exceed 1.
        final : bool, optional
            Whether the last of them is the last of the trial, which spends all that is left.
            By default it is where it reaches the planned information.

        Raises
        ------
        UsageError
            For a classical design, whose bounds belong to the looks as planned.
        """
        if self.spending.classical:
            raise UsageError(
                f"The bounds of {self.spending} belong to the planned looks.",
                remedy="Plan with a spending function, such as obrien_fleming.",
            )
        if self.given is not None:
            raise UsageError(
                "Futility bounds that were given cannot be moved to other looks.",
                remedy="Plan with a spending function for futility.",
            )
        times = solve.times_of(information)
        last = bool(times[-1] >= 1.0) if final is None else final
        if times[-1] >= 1.0 and not last:
            raise UsageError("The planned information is reached.", remedy="Use final=True.")
        plain = replace(self, information=times, final=last, looks=np.ones(len(times), dtype=bool))
        return _with_bounds(plain, drift=self.drift)

    def summary(self) -> str:
        """Return the design as text."""
        head = f"Group-sequential design: {self.variant}"
        if self.failed is not None:
            return f"{head}\nfailed: {self.failed}"
        if math.isfinite(self.drift):
            head += (
                f"\npower {1 - self.beta:g} at drift {self.drift:.5f}, "
                f"information inflated by {self.inflation:.5f}"
            )
        return f"{head}\n\n{self.boundaries.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return html(self.summary(), self.boundaries)

    def plot(self, ax: Any = None) -> Any:
        """Draw the bounds over the information; return the matplotlib Axes."""
        import matplotlib.pyplot as plt

        self._sound()
        axes = plt.subplots(figsize=(6.0, 3.8))[1] if ax is None else ax
        table = self.boundaries
        axes.plot(table["information"], table["upper"], "o-", label="efficacy")
        if table["lower"].notna().any():
            label = "futility" if self.sided == 1 else "harm"
            axes.plot(table["information"], table["lower"], "s--", label=label)
        for row in table.itertuples():
            text = (f"{row.upper:.3f}", (row.information, row.upper))
            axes.annotate(*text, xytext=(0, 6), textcoords="offset points", ha="center")
        axes.margins(0.12)
        axes.set_xlabel("share of the planned information")
        axes.set_ylabel("Z")
        axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
        axes.legend(frameon=False)
        return axes

    def _sound(self) -> None:
        if self.failed is not None:
            raise UsageError(f"The design has no bounds: {self.failed}.", remedy="Change it.")


def sequential(
    information: Sequence[float],
    *,
    alpha: float = 0.025,
    spending: str | Sequence[object] = "obrien_fleming",
    futility: str | Sequence[object] | None = None,
    binding: bool = False,
    beta: float = 0.1,
    sided: int = 1,
    futility_looks: Sequence[int] | None = None,
) -> SequentialDesign:
    """Plan the looks of a trial.

    Parameters
    ----------
    information : sequence of float
        Shares of the final information at the looks, such as ``[0.5, 1]``. The last is 1.
    alpha : float
        Type I error: one-sided, or two-sided for ``sided=2``.
    spending : str or pair
        A spending function: ``obrien_fleming``, ``pocock``, ``("hwang_shih_decani", gamma)``,
        ``("power", rho)``; or a classical design: ``classical_obrien_fleming``,
        ``classical_pocock``, ``("wang_tsiatis", delta)``.
    futility : str, pair or sequence of float, optional
        A function that spends ``beta``, or bounds of Z for the looks before the last (None
        for a look without one).
    binding : bool
        Whether crossing a futility bound obliges to stop; it is then part of alpha.
    beta : float
        Type II error at the effect that the design is for.
    sided : int
        1, or 2 for symmetrical bounds.
    futility_looks : sequence of int, optional
        Looks (from 1) that have a futility bound; the error saved at others is spent at the
        next. All, where left out.

    Returns
    -------
    SequentialDesign
        With ``failed`` where no bounds satisfy the errors asked for.

    Raises
    ------
    UsageError
        For information that does not rise to 1, errors outside (0, 1), an unknown function.

    Examples
    --------
    >>> design = sequential([0.5, 1], alpha=0.025, spending="obrien_fleming")
    >>> design.boundaries["upper"].round(4).tolist()
    [2.9626, 1.9686]
    """
    times = solve.times_of(information)
    if times[-1] != 1.0:
        raise UsageError(
            f"The last look has {times[-1]:g} of the final information.",
            remedy="Give shares of the final information, the last one 1.",
        )
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0.0 < value < 1.0:
            raise UsageError(f"{name} is {value:g}.", remedy="Give a number between 0 and 1.")
    if sided not in (1, 2):
        raise UsageError(f"sided is {sided}.", remedy="Use 1 or 2.")
    bounds, spent_by = solve.futility_of(futility, len(times))
    if sided == 2 and futility is not None:
        raise UsageError("A two-sided design has no futility bounds here.", remedy="Use sided=1.")
    if alpha / sided + beta >= 1.0:
        raise UsageError("alpha and beta add up to 1 or more.", remedy="Use smaller errors.")
    upper_rule = rule(spending, "spending")
    if binding and futility is not None and upper_rule.classical:
        raise UsageError(
            "A classical design is not combined with binding futility.",
            remedy="Use a spending function, or binding=False.",
        )
    empty = np.full(len(times), np.nan)
    plain = SequentialDesign(
        information=times,
        alpha=alpha,
        beta=beta,
        sided=sided,
        spending=upper_rule,
        futility=spent_by,
        binding=binding and futility is not None,
        upper=empty,
        lower=empty,
        spent=empty,
        lost=empty,
        drift=math.nan,
        given=bounds,
        looks=solve.looks_of(futility_looks, len(times)),
    )
    return _with_bounds(plain, drift=None)


def _with_bounds(plain: SequentialDesign, drift: float | None) -> SequentialDesign:
    """Solve for the bounds; with ``drift`` the looks are those of a trial under way."""
    try:
        found = solve.bounds(plain, drift)
    except solve.NoBounds as reason:
        return replace(plain, failed=str(reason))
    made = replace(plain, **found)
    if drift is None and not math.isfinite(made.drift):
        try:
            made = replace(made, drift=_drift(made))
        except solve.NoBounds as reason:
            return replace(made, failed=str(reason))
    return made


def _drift(design: SequentialDesign) -> float:
    """Return the drift at which the bounds have power ``1 - beta``."""

    def gap(drift: float) -> float:
        return design.power(drift) - (1.0 - design.beta)

    if gap(20.0) < 0.0:
        raise solve.NoBounds("the futility bounds leave less power than asked for")
    return float(optimize.brentq(gap, 1e-6, 20.0, xtol=1e-13, rtol=1e-13))
