"""The result of testing a graph: decisions, adjusted p-values, the graph after each rejection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods._marginal import as_text
from trialkit.methods.multiplicity.closure import consonant, intersection_table
from trialkit.methods.multiplicity.hypotheses import Hypotheses

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from trialkit.methods.multiplicity.graph import Graph

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """A graph at one step.

    Parameters
    ----------
    rejected : tuple of str
        Hypotheses rejected so far, in order.
    weights : Series
        Weight by hypothesis; zero for rejected ones.
    transitions : DataFrame
        Row: who hands on; column: who receives.
    """

    rejected: tuple[str, ...]
    weights: pd.Series
    transitions: pd.DataFrame


@dataclass(frozen=True)
class GraphTest:
    """The result of testing a graph.

    Parameters
    ----------
    table : DataFrame
        test, weight (at the start), p, p_adjusted, rejected, step (1 for the first rejected,
        0 for those not rejected).
    steps : tuple of State
        The graph at the start and after each rejection.
    intersections : DataFrame
        hypotheses, p, rejected of every intersection; empty for Bonferroni tests, which need
        none.
    alpha : float
        Familywise error.
    variant : str
    n : int
        Hypotheses.
    n_missing : int
        Of them, those whose analysis failed.
    notes : list of str
    """

    table: pd.DataFrame
    steps: tuple[State, ...]
    intersections: pd.DataFrame
    alpha: float
    variant: str
    n: int
    n_missing: int
    notes: list[str] = field(default_factory=list)
    method: str = "graph"
    converged: bool = True
    failed: str | None = None

    @property
    def rejected(self) -> list[str]:
        """Names of the rejected hypotheses, in order of rejection."""
        return list(self.steps[-1].rejected)

    @property
    def consonant(self) -> bool:
        """Whether each intersection that is rejected holds a rejected one (Bonferroni: always)."""
        return consonant(self.intersections, self.rejected)

    def plot(self, step: int = -1, *, ax: Axes | None = None, title: str | None = None) -> Axes:
        """Draw the graph at a step: 0 is the start, -1 the end. Rejected ones are grey."""
        from trialkit.methods.multiplicity.draw import draw

        if not -len(self.steps) <= step < len(self.steps):
            raise UsageError(
                f"there is no step {step}.", remedy=f"Steps are 0 to {len(self.steps) - 1}."
            )
        state = self.steps[step]
        if title is None:
            last = f" after rejecting {state.rejected[-1]}" if state.rejected else ", at the start"
            title = f"Graph{last}"
        return draw(state, p=self.table.set_index("test")["p"], ax=ax, title=title)

    def summary(self) -> str:
        """Return what was done, the decisions and the order of rejection as text."""
        body = as_text(self.table, 6)
        chain = " > ".join(self.rejected) or "none"
        head = f"{self.method}: {self.variant}, familywise error {self.alpha:g}"
        return "\n".join([head, *self.notes, body, f"rejected: {chain}"])

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"


def make_test(
    graph: Graph,
    read: Hypotheses,
    adjusted: Floats,
    rejected: npt.NDArray[np.bool_],
    chain: list[int],
    rows: list[tuple[tuple[str, ...], float]] | None,
) -> GraphTest:
    """Put the result together.

    Parameters
    ----------
    chain : list of int
        Rejected hypotheses in order.
    rows : list of (names, p-value) or None
        The intersections of a closed test.
    """
    names = [graph.names[i] for i in chain]
    steps = tuple(graph.state(names[:k]) for k in range(len(chain) + 1))
    step = np.zeros(len(adjusted), dtype=np.int64)
    step[chain] = np.arange(1, len(chain) + 1)
    notes = []
    if read.failed.any():
        lost = ", ".join(n for n, bad in zip(read.names, read.failed, strict=True) if bad)
        notes.append(f"without a p-value, never rejected: {lost}")
    if rows is not None and chain:
        notes.append("graphs in the order of adjusted p-values; decisions are of the closed test")
    large = max((len(g.members) for g in graph.groups if g.kind == "parametric"), default=0)
    if large > 4:
        notes.append("normal probabilities of more than four correlated tests: error about 1e-6")
    table = pd.DataFrame(
        {
            "test": pd.Series(list(graph.names), dtype=object),
            "weight": graph.weights,
            "p": np.where(read.failed, np.nan, read.values),
            "p_adjusted": np.minimum(adjusted, 1.0),
            "rejected": rejected,
            "step": step,
        }
    )
    return GraphTest(
        table=table,
        steps=steps,
        intersections=intersection_table(rows or [], graph.alpha),
        alpha=graph.alpha,
        variant=graph.variant,
        n=len(adjusted),
        n_missing=int(read.failed.sum()),
        notes=notes,
    )
