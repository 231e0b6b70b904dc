"""Gatekeeping as a graph: families of hypotheses tested in order.

Sources: parallel gatekeeping, Dmitrienko A, Offen WW, Westfall PH (2003), Stat Med 22:2387;
serial gatekeeping, Westfall PH, Krishen A (2001), J Stat Plan Inference 99:25; both as graphs,
Bretz F, Maurer W, Brannath W, Posch M (2009), Stat Med 28:586.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from trialkit.errors import UsageError
from trialkit.methods.multiplicity.graph import Graph, graph


def gatekeeping(
    families: Sequence[Sequence[str]],
    *,
    alpha: float = 0.025,
    gate: Literal["serial", "parallel"] = "serial",
) -> Graph:
    """Make the graph of a gatekeeping procedure.

    Parameters
    ----------
    families : sequence of sequences of names
        In the order of testing; within a family all hypotheses weigh the same.
    alpha : float
        Familywise error.
    gate : {"serial", "parallel"}
        ``serial``: a family is tested (by Holm) once all of the family before are rejected.
        ``parallel``: each rejected hypothesis hands its share to the next family, which is
        tested once one is rejected; the last family is tested by Holm, the others by Bonferroni.

    Raises
    ------
    UsageError
        For an empty family, or a hypothesis named twice.
    """
    names = [str(n) for family in families for n in family]
    if not names or len(set(names)) < len(names) or not all(len(f) for f in families):
        raise UsageError(
            f"the families {[list(f) for f in families]} are empty or name a hypothesis twice.",
            remedy="Give each hypothesis once, and no family without one.",
        )
    if gate not in ("serial", "parallel"):
        raise UsageError(f"no gate {gate!r}.", remedy="Use serial or parallel.")
    m = len(names)
    within, onward = np.zeros((m, m)), np.zeros((m, m))
    start = 0
    for number, family in enumerate(families):
        own = range(start, start + len(family))
        start += len(family)
        final = number == len(families) - 1
        following = range(start, start + (0 if final else len(families[number + 1])))
        for i in own:
            if len(family) > 1 and (gate == "serial" or final):
                within[i, [j for j in own if j != i]] = 1.0 / (len(family) - 1)
            if len(following):
                onward[i, list(following)] = 1.0 / len(following)
    weights = np.zeros(m)
    weights[: len(families[0])] = 1.0 / len(families[0])
    if gate == "parallel":
        return graph(weights, within + onward, alpha=alpha, names=names)
    return graph(weights, within, alpha=alpha, names=names, overflow=onward)
