"""Graphs of hypotheses: weights that a rejected hypothesis hands on, and their tests.

Sources: Bretz F, Maurer W, Brannath W, Posch M (2009), Stat Med 28:586 (graph, algorithms 1 and
2); Bretz F, Posch M, Glimm E, Klinglmueller F, Maurer W, Rohmeyer K (2011), Biom J 53:894 (Simes
and parametric tests); Lu K (2016), Stat Med 35:4041 (mixtures of groups); Xi D, Glimm E, Maurer W,
Bretz F (2017), Biom J 59:918 (weighted parametric tests).

With Bonferroni tests the graph is tested step by step; else by the closed test, whose weights the
graph gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.multiplicity import reading
from trialkit.methods.multiplicity.closure import refuse_many, subsets
from trialkit.methods.multiplicity.hypotheses import PValues, check_alpha, decide, read_p
from trialkit.methods.multiplicity.local import Group, Kind, intersection_p, parametric_factor
from trialkit.methods.multiplicity.tested import GraphTest, State, make_test
from trialkit.methods.multiplicity.weights import Weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Graph:
    """A graphical procedure before any test.

    Parameters
    ----------
    names : tuple of str
    weights : ndarray, shape (m,)
        Shares of alpha.
    transitions : ndarray, shape (m, m)
        Row i: how the share of hypothesis i is divided when it is rejected.
    alpha : float
        Familywise error.
    groups : tuple of Group
        Which hypotheses are tested together, and how.
    overflow : ndarray, shape (m, m), or None
        Where a share goes when no target in `transitions` is left.
    """

    names: tuple[str, ...]
    weights: Floats
    transitions: Floats
    alpha: float
    groups: tuple[Group, ...]
    overflow: Floats | None = None
    _states: Weights = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        states = Weights(self.weights, self.transitions, self.overflow)
        object.__setattr__(self, "_states", states)

    @property
    def variant(self) -> str:
        """The test of the intersections in words."""
        kinds = [g.kind for g in self.groups]
        if set(kinds) == {"bonferroni"}:
            return "weighted Bonferroni tests, sequentially rejective"
        parts = [f"{g.kind} ({', '.join(self.names[i] for i in g.members)})" for g in self.groups]
        return (
            f"closed test of weighted {kinds[0]} tests"
            if len(kinds) == 1
            else (f"closed test, Bonferroni mixture of {'; '.join(parts)}")
        )

    def weights_of(self, intersection: Sequence[str]) -> pd.Series:
        """Return the weights of an intersection: those of the graph when the others are gone.

        Parameters
        ----------
        intersection : sequence of str
            Names of hypotheses.

        Returns
        -------
        Series
            Weight by name, in the graph's order.
        """
        inside = self._positions(intersection)
        weights = self._states.after(sum(1 << i for i in inside))[0]
        return pd.Series(weights[list(inside)], index=[self.names[i] for i in inside])

    def levels_of(self, intersection: Sequence[str]) -> pd.Series:
        """Return the level at which each hypothesis of an intersection is tested.

        For Bonferroni groups ``w alpha``; for parametric ones ``c w alpha`` with the c for which
        the group keeps its share of alpha. Simes and Hochberg tests have no fixed levels.
        """
        inside = self._positions(intersection)
        weights = self._states.after(sum(1 << i for i in inside))[0]
        levels = weights * self.alpha
        for group in self.groups:
            if group.kind in ("simes", "hochberg"):
                raise UsageError(
                    f"the levels of a {group.kind} test depend on the p-values.",
                    remedy="Ask for the levels of Bonferroni or parametric tests.",
                )
            here = [i for i in group.members if i in inside and weights[i] > 0.0]
            if group.correlation is not None and here:
                block = group.correlation[np.ix_(here, here)]
                levels[here] *= parametric_factor(weights[here], block, self.alpha)
        return pd.Series(levels[list(inside)], index=[self.names[i] for i in inside])

    def test(self, p: PValues | Sequence[float | None] | Floats) -> GraphTest:
        """Test the hypotheses.

        Parameters
        ----------
        p : mapping, Series, or sequence in the order of the names
            One-sided p-values for parametric tests. None or NaN: the analysis failed; it is
            never rejected and hands nothing on.

        Returns
        -------
        GraphTest
            Adjusted p-values, decisions, and the graph after each rejection.
        """
        read = read_p(p, self.names)
        if self._bonferroni:
            adjusted, order = self._shortcut(read.values)
            rows = None
        else:
            adjusted, rows = self._closed(read.values)
            ratio = np.argsort(adjusted, kind="stable")
            order = [int(i) for i in ratio]
        rejected = decide(adjusted, self.alpha) & ~read.failed
        chain = [i for i in order if rejected[i]]
        return make_test(self, read, adjusted, rejected, chain, rows)

    def adjust(self, p: npt.ArrayLike) -> Floats:
        """Return adjusted p-values for many trials at once.

        Parameters
        ----------
        p : array, shape (trials, m)
            p-values in the graph's order.

        Returns
        -------
        ndarray, shape (trials, m)
        """
        many = np.atleast_2d(np.asarray(p, dtype=np.float64))
        if many.shape[1] != len(self.names) or not ((many >= 0.0) & (many <= 1.0)).all():
            raise UsageError(
                f"p-values of shape {many.shape} for {len(self.names)} hypotheses, or outside "
                "0 to 1.",
                remedy="Give one row a trial and one column a hypothesis.",
            )
        if not self._bonferroni:
            return np.vstack([self._closed(row)[0] for row in many])
        refuse_many(len(self.names))
        out = np.zeros_like(many)
        for inside in subsets(len(self.names)):
            weights = self._states.after(sum(1 << i for i in inside))[0]
            live = weights > 0.0
            if live.any():
                value = np.minimum((many[:, live] / weights[live]).min(axis=1), 1.0)
            else:
                value = np.ones(len(many))
            for i in inside:
                out[:, i] = np.maximum(out[:, i], value)
        return out

    def state(self, removed: Sequence[str] = ()) -> State:
        """Return the graph when the hypotheses `removed` are gone."""
        gone = self._positions(removed) if len(removed) else ()
        left = ((1 << len(self.names)) - 1) & ~sum(1 << i for i in gone)
        weights, transitions = self._states.after(left)
        return State(
            rejected=tuple(removed),
            weights=pd.Series(weights, index=list(self.names)),
            transitions=pd.DataFrame(transitions, index=list(self.names), columns=list(self.names)),
        )

    def plot(self, *, ax: Axes | None = None, title: str = "") -> Axes:
        """Draw the graph: a circle a hypothesis with its weight, an arrow a transition."""
        from trialkit.methods.multiplicity.draw import draw

        return draw(self.state(), later=self.overflow, ax=ax, title=title)

    def summary(self) -> str:
        """Return weights and transitions as text."""
        state = self.state()
        table = state.transitions.copy()
        table.insert(0, "weight", state.weights)
        shown = table.to_string(float_format=lambda v: f"{v:.4g}")
        return f"graph: {self.variant}, familywise error {self.alpha:g}\n{shown}"

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"

    @property
    def _bonferroni(self) -> bool:
        return all(group.kind == "bonferroni" for group in self.groups)

    def _positions(self, chosen: Sequence[str]) -> tuple[int, ...]:
        names = [chosen] if isinstance(chosen, str) else list(chosen)
        unknown = [n for n in names if n not in self.names]
        if unknown or not names:
            raise UsageError(
                f"the graph has no hypothesis {', '.join(map(str, unknown)) or '(none named)'}.",
                remedy=f"Hypotheses are: {', '.join(self.names)}.",
            )
        return tuple(i for i, n in enumerate(self.names) if n in names)

    def _shortcut(self, p: Floats) -> tuple[Floats, list[int]]:
        """Return adjusted p-values and the order of rejection (algorithm 2)."""
        left = (1 << len(p)) - 1
        adjusted, order, largest = np.ones(len(p)), [], 0.0
        while left:
            weights = self._states.after(left)[0]
            live = np.flatnonzero(weights > 0.0)
            if not len(live):
                break
            ratio = p[live] / weights[live]
            best = int(live[np.argmin(ratio)])
            largest = min(max(largest, float(ratio.min())), 1.0)
            adjusted[best] = largest
            order.append(best)
            left &= ~(1 << best)
        return adjusted, order

    def _closed(self, p: Floats) -> tuple[Floats, list[tuple[tuple[str, ...], float]]]:
        refuse_many(len(p))
        adjusted, rows = np.zeros(len(p)), []
        for inside in subsets(len(p)):
            weights = self._states.after(sum(1 << i for i in inside))[0]
            value = intersection_p(p, weights, inside, list(self.groups))
            adjusted[list(inside)] = np.maximum(adjusted[list(inside)], value)
            rows.append((tuple(self.names[i] for i in inside), value))
        return adjusted, rows


def graph(
    weights: Mapping[str, float] | Sequence[float] | Floats | pd.Series,
    transitions: Any,
    *,
    alpha: float = 0.025,
    test: Kind | Sequence[Kind] = "bonferroni",
    groups: Sequence[Sequence[str]] | None = None,
    correlation: Any = None,
    names: Sequence[str] | None = None,
    overflow: Any = None,
) -> Graph:
    """Make a graphical procedure.

    Parameters
    ----------
    weights : mapping, Series or sequence, m values
        Shares of alpha, at most 1 together.
    transitions : DataFrame, mapping of mappings, or array of shape (m, m)
        Row: the rejected hypothesis; column: who receives. Rows sum to at most 1, diagonal zero.
    alpha : float
        Familywise error (one-sided, if the p-values are).
    test : str or sequence of str
        ``bonferroni``, ``simes``, ``hochberg`` (needs equal weights in every intersection) or
        ``parametric``; one for all, or one a group.
    groups : sequence of sequences of names, or None
        Hypotheses tested together; None puts all into one. Between groups: Bonferroni.
    correlation : DataFrame or array, shape (m, m), or None
        Correlation of the test statistics, for parametric groups; entries between groups are
        not used and may be NaN.
    names : sequence of str or None
        Names, where weights are a sequence; H1, H2 ... otherwise.
    overflow : as `transitions`, or None
        Where a share goes when all its targets in `transitions` are gone: the limit of the
        vanishing edges of Bretz et al. (2009). A row that overflows must sum to 1 or be empty in
        `transitions`.

    Raises
    ------
    UsageError
        For negative weights, sums above 1, a diagonal that is not zero, names that do not fit,
        a matrix that is no correlation, or groups that do not hold each hypothesis once.
    """
    check_alpha(alpha)
    labels, share = reading.read_weights(weights, names)
    matrix = reading.read_transitions(transitions, labels, "transitions")
    later = None if overflow is None else reading.read_transitions(overflow, labels, "overflow")
    if later is not None:
        reading.check_overflow(matrix, later, labels)
    made = reading.read_groups(labels, test, groups, correlation)
    found = Graph(labels, share, matrix, alpha, made, later)
    if any(group.kind == "hochberg" for group in made):
        refuse_many(len(labels))
        _equal_weights(found)
    return found


def _equal_weights(found: Graph) -> None:
    """Refuse a Hochberg group whose weights differ in some intersection."""
    for inside in subsets(len(found.names)):
        names = [found.names[i] for i in inside]
        weights = found.weights_of(names)
        for group in found.groups:
            here = [found.names[i] for i in group.members if found.names[i] in names]
            if group.kind == "hochberg" and here and float(np.ptp(weights[here])) > 1e-12:
                raise UsageError(
                    f"the weights of {', '.join(here)} differ when others are rejected.",
                    remedy="Hochberg's test needs equal weights: use test='simes'.",
                )
