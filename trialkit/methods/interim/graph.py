r"""Graphical procedures over several looks.

Each hypothesis keeps a spending function of its own. When a hypothesis is rejected its share of
alpha goes on along the graph, and the others are tested at the same look with the bounds of their
larger share (Maurer and Bretz 2013, Stat Biopharm Res 5:311, algorithm 1). Bounds that rise with
the level, as those of all spending functions here do, make this the same as the graph's test of
the repeated p-values of the look: the smallest level at which the bound would be crossed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import special

from trialkit.errors import UsageError
from trialkit.methods.interim.design import SequentialDesign, sequential
from trialkit.methods.interim.solve import times_of
from trialkit.methods.multiplicity.graph import Graph
from trialkit.methods.multiplicity.tested import State


@dataclass(frozen=True)
class SequentialGraphTest:
    """What was rejected, and when.

    Parameters
    ----------
    table : DataFrame
        One row a hypothesis: ``name``, ``rejected``, ``look`` of the rejection (NaN: none),
        ``repeated_p`` at that look, or at its last one.
    looks : DataFrame
        One row a look and hypothesis analysed there: ``look name information p repeated_p
        weight bound rejected``. ``weight`` is the share of alpha that it had at the end of the
        look, or with which it was rejected; ``bound`` the one-sided p at that share.
    states : tuple of State
        The graph after each rejection, the one before any first.
    """

    table: pd.DataFrame
    looks: pd.DataFrame
    states: tuple[State, ...]
    alpha: float
    failed: str | None = None
    method: str = "sequential_graph"

    def summary(self) -> str:
        """Return the decisions as text."""
        head = f"sequential graph: familywise error {self.alpha:g}"
        return f"{head}\n{self.table.to_string(index=False)}\n\n{self.looks.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"


@dataclass(frozen=True)
class SequentialGraph:
    """A graph whose hypotheses are tested at several looks.

    Parameters
    ----------
    graph : Graph
    plans : dict of str to SequentialDesign
        A design a hypothesis, at the full alpha.
    information : dict of str to list of float
        Information of each hypothesis at the looks, as a share of its planned final one; NaN
        where it is not analysed.
    """

    graph: Graph
    plans: dict[str, SequentialDesign]
    information: dict[str, list[float]] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        """The procedure in words."""
        rules = sorted({str(plan.spending) for plan in self.plans.values()})
        return f"{self.graph.variant}; repeated p-values of {', '.join(rules)} spending"

    def bound(self, name: str, look: int, level: float) -> float:
        """Return the one-sided p that rejects a hypothesis at a look with a share of alpha.

        Parameters
        ----------
        name : str
        look : int
            From 1; a look at which the hypothesis is analysed.
        level : float
            ``weight * alpha``.
        """
        design, own = self._design(name, look)
        if level <= 0.0:
            return 0.0
        plain = sequential([1.0], alpha=level, spending=_pair(design))
        return float(
            plain.at(list(design.information), final=design.final).boundaries.nominal_p[own - 1]
        )

    def test(self, p: pd.DataFrame) -> SequentialGraphTest:
        """Test the hypotheses look by look.

        Parameters
        ----------
        p : DataFrame
            Rows: the looks so far, in order. Columns: one-sided p-values by hypothesis; NaN at
            a look without an analysis of it, and after a rejection.

        Raises
        ------
        UsageError
            For columns that are not the hypotheses, p outside [0, 1], a p where the information
            has none, or more looks than there is information for.
        """
        self._check(p)
        names = list(self.graph.names)
        rejected: dict[str, int] = {}
        last = dict.fromkeys(names, np.nan)
        rows, states = [], [self.graph.state()]
        for look in range(1, len(p) + 1):
            now = {n: float(p[n].iloc[look - 1]) for n in names}
            found = {n: self._repeated(n, look, now[n]) for n in names if n not in rejected}
            tested = {n: 0.0 if n in rejected else found[n] for n in names}
            result = self.graph.test(tested)
            hit = result.table[result.table["rejected"]].sort_values("step")["test"]
            fresh = [str(n) for n in hit if n not in rejected]
            before = list(rejected)
            shares: dict[str, float] = {}
            for name in fresh:
                shares[name] = float(self.graph.state(tuple(before)).weights[name])
                before.append(name)
                states.append(self.graph.state(tuple(before)))
            left = self.graph.state(tuple(before)).weights if len(before) < len(names) else None
            for name, value in found.items():
                if np.isnan(value):
                    continue
                last[name] = value
                share = shares.get(name, 0.0 if left is None else float(left[name]))
                bound = self.bound(name, look, share * self.graph.alpha)
                at = self.information[name][look - 1]
                rows.append((look, name, at, now[name], value, share, bound, name in shares))
            rejected.update(dict.fromkeys(fresh, look))
        columns = ["look", "name", "information", "p", "repeated_p", "weight", "bound", "rejected"]
        table = pd.DataFrame(
            {
                "name": names,
                "rejected": [n in rejected for n in names],
                "look": [float(rejected.get(n, np.nan)) for n in names],
                "repeated_p": [last[n] for n in names],
            }
        )
        looks = pd.DataFrame(rows, columns=columns)
        return SequentialGraphTest(table, looks, tuple(states), self.graph.alpha)

    def summary(self) -> str:
        """Return the procedure as text."""
        return f"{self.graph.summary()}\n{self.variant}"

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"

    def _design(self, name: str, look: int) -> tuple[SequentialDesign, int]:
        """Return the design of a hypothesis at its looks so far, and which of them this is."""
        if name not in self.plans:
            raise UsageError(
                f"The graph has no hypothesis {name!r}.", remedy=f"Use {', '.join(self.plans)}."
            )
        so_far = [v for v in self.information[name][:look] if not np.isnan(v)]
        if not so_far or np.isnan(self.information[name][look - 1]):
            raise UsageError(f"{name} is not analysed at look {look}.", remedy="Name another look.")
        return self.plans[name].at(so_far), len(so_far)

    def _repeated(self, name: str, look: int, p: float) -> float:
        if np.isnan(p):
            return np.nan
        design, own = self._design(name, look)
        if p <= 0.0:
            return 0.0
        return design.repeated_p(own, float(-special.ndtri(p)))

    def _check(self, p: pd.DataFrame) -> None:
        names = list(self.graph.names)
        if sorted(map(str, p.columns)) != sorted(names):
            raise UsageError(
                f"The p-values have the columns {list(p.columns)}.",
                remedy=f"Give one column a hypothesis: {', '.join(names)}.",
            )
        for name in names:
            given = p[name].to_numpy(dtype=np.float64)
            known = given[~np.isnan(given)]
            if not ((known >= 0.0) & (known <= 1.0)).all():
                raise UsageError(f"A p of {name} lies outside 0 to 1.", remedy="Mend it.")
            if len(given) > len(self.information[name]):
                raise UsageError(
                    f"{name} has {len(given)} looks and information for "
                    f"{len(self.information[name])}.",
                    remedy="Give the information of every look.",
                )
            gone = ~np.isnan(given) & np.isnan(self.information[name][: len(given)])
            if gone.any():
                look = int(np.flatnonzero(gone)[0]) + 1
                raise UsageError(
                    f"{name} has a p at look {look} and no information there.",
                    remedy="Give its information, or NaN for p.",
                )


def sequential_graph(
    graph: Graph,
    information: Mapping[str, Sequence[float]] | Sequence[float],
    *,
    spending: str | Sequence[object] | Mapping[str, str | Sequence[object]] = "obrien_fleming",
) -> SequentialGraph:
    """Plan a graphical procedure over several looks.

    Parameters
    ----------
    graph : Graph
        From :func:`trialkit.methods.graph`, with Bonferroni tests; alpha is one-sided.
    information : sequence, or mapping of name to sequence
        Information at the looks as shares of the planned final one, for all hypotheses or for
        each; NaN at a look without an analysis of it.
    spending : str, pair, or mapping of name to either
        Spending functions as in :func:`trialkit.methods.sequential`.

    Raises
    ------
    UsageError
        For a graph with other tests, a hypothesis without information or spending function, a
        classical design.

    Examples
    --------
    >>> from trialkit.methods import graph
    >>> two = graph({"speed": 1, "falls": 0}, {"speed": {"falls": 1}, "falls": {"speed": 1}})
    >>> plan = sequential_graph(two, [0.5, 1])
    >>> round(plan.bound("speed", 1, 0.025), 6)
    0.001525
    """
    if any(group.kind != "bonferroni" for group in graph.groups):
        raise UsageError(
            "Several looks need a graph with Bonferroni tests.", remedy='Use test="bonferroni".'
        )
    plans, times = {}, {}
    for name in graph.names:
        rule = spending.get(name) if isinstance(spending, Mapping) else spending
        given = information.get(name) if isinstance(information, Mapping) else information
        if rule is None or given is None:
            what = "spending function" if rule is None else "information"
            raise UsageError(f"{name} has no {what}.", remedy="Give one for every hypothesis.")
        times[name] = [float(v) for v in given]
        times_of([v for v in times[name] if not np.isnan(v)])
        plans[name] = sequential([1.0], alpha=graph.alpha, spending=rule)
        if plans[name].spending.classical:
            raise UsageError(
                f"The bounds of {plans[name].spending} cannot be moved to another level.",
                remedy="Use a spending function, such as obrien_fleming.",
            )
    return SequentialGraph(graph, plans, times)


def _pair(design: SequentialDesign) -> str | tuple[str, float]:
    rule = design.spending
    return rule.name if rule.parameter is None else (rule.name, rule.parameter)
