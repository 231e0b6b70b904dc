"""The result of planning: participants, events, power, assumptions, and the curve of power."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import pandas as pd

from trialkit.errors import UsageError
from trialkit.methods.planning.clusters import Clusters
from trialkit.methods.planning.endpoint import Arms, Endpoint
from trialkit.methods.planning.events import TimeToEvent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Frame:
    """What does not depend on the endpoint.

    Parameters
    ----------
    alpha, sided : float, int
        Type I error, and whether it is of one tail or two. Power counts the tail of the effect.
    allocation : float
        Treatment to control.
    dropout : float
        Share of the randomised who cannot be evaluated.
    inflation : float
        Factor on a fixed design's size, such as a group-sequential design's.
    clusters : Clusters or None
    """

    alpha: float
    sided: int
    allocation: float
    dropout: float
    inflation: float
    clusters: Clusters | None

    @property
    def tail(self) -> float:
        """Type I error in the tail of the effect."""
        return self.alpha / self.sided

    def arms(self, treatment: float, control: float) -> Arms:
        """Return evaluable arms."""
        if self.clusters is None:
            return Arms(treatment, control)
        return self.clusters.arms(treatment, control)

    def power(self, endpoint: Endpoint, treatment: float, control: float) -> float:
        """Return the power for so many randomised."""
        kept = (1.0 - self.dropout) / self.inflation
        return endpoint.power(self.arms(treatment * kept, control * kept), self.tail)


@dataclass(frozen=True)
class Size:
    """A trial's size and power.

    Parameters
    ----------
    endpoint : Endpoint
        Its type and assumptions.
    frame : Frame
        Error, allocation, dropout, clusters.
    n_treatment, n_control : int or None
        Randomised participants; None where only events are planned.
    fixed : float
        Evaluable participants of both arms before rounding, inflation and dropout; NaN unless
        solved for.
    events : float or None
        Expected (time to event without inflation, before rounding: required) number.
    power : float
        Power with these numbers.
    target : float or None
        Power asked for.
    """

    endpoint: Endpoint
    frame: Frame
    n_treatment: int | None
    n_control: int | None
    fixed: float
    events: float | None
    power: float
    target: float | None
    method: str
    failed: str | None = None
    converged: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def variant(self) -> str:
        """Test, formula and sidedness in words."""
        side = "one-sided" if self.frame.sided == 1 else "two-sided"
        return f"{self.endpoint.variant}, {side} {self.frame.alpha:g}"

    @property
    def n(self) -> int | None:
        """Randomised participants of both arms."""
        if self.n_treatment is None or self.n_control is None:
            return None
        return self.n_treatment + self.n_control

    @property
    def clusters_treatment(self) -> int | None:
        """Clusters of the treatment arm, rounded up."""
        return self._clusters("treatment", self.n_treatment)

    @property
    def clusters_control(self) -> int | None:
        """Clusters of the control arm, rounded up."""
        return self._clusters("control", self.n_control)

    def _clusters(self, arm: str, n: int | None) -> int | None:
        found = self.frame.clusters
        if found is None or n is None or found.arm not in ("both", arm):
            return None
        return math.ceil(n / found.size - 1e-9)

    @property
    def assumptions(self) -> dict[str, Any]:
        """All that was assumed, by name."""
        own = {
            f.name: getattr(self.endpoint, f.name)
            for f in fields(self.endpoint)
            if f.name != "notes"
        }
        common = {f.name: getattr(self.frame, f.name) for f in fields(self.frame)}
        return {**own, **common}

    @property
    def table(self) -> pd.DataFrame:
        """One row: endpoint, n_treatment, n_control, n, fixed, events, power, variant."""
        columns = [
            "endpoint",
            "n_treatment",
            "n_control",
            "n",
            "fixed",
            "events",
            "power",
            "variant",
        ]
        if self.failed:
            return pd.DataFrame(columns=columns)
        row = [
            self.endpoint.name,
            self.n_treatment,
            self.n_control,
            self.n,
            self.fixed,
            self.events,
            self.power,
            self.variant,
        ]
        return pd.DataFrame([row], columns=columns)

    def curve(self, n: Sequence[int] | None = None) -> pd.DataFrame:
        """Return the power over sizes of the control arm.

        Parameters
        ----------
        n : sequence of int or None
            Randomised participants of the control arm; None takes a quarter to twice this size.

        Returns
        -------
        DataFrame
            n_treatment, n_control, n, power.
        """
        if self.failed or self.n_control is None:
            return pd.DataFrame(columns=["n_treatment", "n_control", "n", "power"])
        if n is None:
            ends = max(2, self.n_control // 4), max(8, 2 * self.n_control)
            step = max(1, (ends[1] - ends[0]) // 60)
            n = range(ends[0], ends[1] + 1, step)
        if min(n, default=0) < 1:
            raise UsageError("a size is below 1.", remedy="Give sizes of the control arm.")
        rows = []
        for control in n:
            treatment = math.ceil(control * self.frame.allocation - 1e-9)
            value = self.frame.power(self.endpoint, treatment, control)
            rows.append((treatment, int(control), treatment + int(control), value))
        return pd.DataFrame(rows, columns=["n_treatment", "n_control", "n", "power"])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the power over the number of randomised participants."""
        import matplotlib.pyplot as plt

        found = self.curve()
        if found.empty:
            raise UsageError(
                self.failed or "only events are planned.", remedy="Plan participants to draw them."
            )
        if ax is None:
            ax = plt.subplots(figsize=(5.6, 3.8), layout="constrained")[1]
        assert ax is not None
        ax.plot(found["n"], found["power"], color="#0072B2", linewidth=1.5)
        ax.plot([self.n or 0], [self.power], marker="o", color="#D55E00", linestyle="none")
        ax.annotate(
            f"n {self.n}, power {self.power:.3f}",
            (float(self.n or 0), self.power),
            xytext=(6, -12),
            textcoords="offset points",
            fontsize=8,
        )
        if self.target is not None:
            ax.axhline(self.target, color="0.5", linewidth=0.8, linestyle="--")
        ax.set_ylim(0.0, 1.02)
        ax.set_xlabel("Randomised participants, both arms")
        ax.set_ylabel("Power")
        ax.set_title(textwrap.fill(self.variant, 64), loc="left", fontsize=9)
        return ax

    def summary(self) -> str:
        """Return numbers and assumptions as text."""
        head = f"{self.method}: {self.variant}"
        if self.failed:
            return f"{head}\nfailed: {self.failed}"
        lines = [head]
        if self.n is not None:
            lines.append(f"treatment {self.n_treatment}, control {self.n_control}, total {self.n}")
        if self.clusters_treatment or self.clusters_control:
            lines.append(
                f"clusters: treatment {self.clusters_treatment or 'none'}, "
                f"control {self.clusters_control or 'none'}"
            )
        if self.events is not None:
            word = "events" if isinstance(self.endpoint, TimeToEvent) else "expected events"
            lines.append(f"{word} {self.events:.4g}")
        lines.append(f"power {self.power:.4f}")
        lines += [f"{k}: {v}" for k, v in self.assumptions.items() if v is not None]
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        return f"<pre>{self.summary()}</pre>"
