"""The figure of a tipping-point analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trialkit.errors import UsageError

if TYPE_CHECKING:
    from trialkit.methods.missing.tipping import Tipping


def draw(result: Tipping, ax: Any) -> Any:
    """Draw on the axes given, or on new ones; return them."""
    if len(result.arms) > 2:
        raise UsageError("Three arms cannot be drawn.", remedy="Give deltas of one arm or two.")
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")[1]
    return one_arm(result, ax) if len(result.arms) == 1 else two_arms(result, ax)


def one_arm(result: Tipping, ax: Any) -> Any:
    """Draw p over delta, and where it crosses alpha."""
    name = result.names[0]
    x = result.table[name].to_numpy(dtype=np.float64)
    ax.plot(x, result.table["p"], color="#1f4e79", marker="o", markersize=3.5)
    ax.axhline(result.alpha, color="#b03a2e", linewidth=1, linestyle="--")
    ax.text(x[0], result.alpha, f" p = {result.alpha:g}", va="bottom", color="#b03a2e")
    if result.delta is not None:
        ax.plot([result.delta], [result.alpha], color="#b03a2e", marker="D")
        ax.annotate(
            f"tipping delta {result.delta:.3g}",
            (result.delta, result.alpha),
            xytext=(8, -14),
            textcoords="offset points",
            color="#b03a2e",
        )
    ax.set_xlabel(f"added to imputed values, {result.arms[0]}")
    ax.set_ylabel("p")
    ax.set_ylim(bottom=0.0)
    ax.set_title(f"Tipping point at {result.at}")
    return ax


def two_arms(result: Tipping, ax: Any) -> Any:
    """Draw the estimate over two deltas, with the contour p = alpha."""
    first, second = result.names
    wide = result.table.pivot_table(index=second, columns=first, values="estimate")
    p = result.table.pivot_table(index=second, columns=first, values="p").to_numpy()
    x, y = wide.columns.to_numpy(dtype=np.float64), wide.index.to_numpy(dtype=np.float64)
    image = ax.pcolormesh(x, y, wide.to_numpy(), cmap="cividis", shading="nearest")
    ax.figure.colorbar(image, ax=ax, label="estimate")
    if min(p.shape) > 1 and p.min() < result.alpha < p.max():
        lines = ax.contour(x, y, p, levels=[result.alpha], colors="white", linewidths=2)
        ax.clabel(lines, fmt={result.alpha: f"p = {result.alpha:g}"})
    ax.set_xlabel(f"added to imputed values, {result.arms[0]}")
    ax.set_ylabel(f"added to imputed values, {result.arms[1]}")
    ax.set_title(f"Tipping surface at {result.at}")
    return ax
