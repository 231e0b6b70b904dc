"""Make data.csv: walking ability of three unbalanced arms, with deaths and missing values.

Run as ``python generate.py`` in this folder.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def main() -> None:
    rng = np.random.default_rng(20260112)
    arms = np.repeat(["Control", "Robot", "Usual"], [40, 28, 17])
    n = len(arms)
    site = rng.choice(["A", "B", "C"], n)
    base = np.round(rng.normal(0.5, 0.2, n), 3)
    lift = pd.Series(arms).map({"Control": 0.0, "Robot": 0.8, "Usual": 0.2}).to_numpy()
    fac = np.clip(np.round(2.2 + lift + 3.0 * (base - 0.5) + rng.normal(0, 1.2, n)), 0, 5)
    speed = np.round(np.clip(0.2 * fac + 0.4 * base + rng.normal(0, 0.15, n), 0, None), 2)
    dead = (rng.random(n) < 0.1).astype(int)
    fac[(dead == 0) & (rng.random(n) < 0.05)] = np.nan
    speed[(dead == 0) & (rng.random(n) < 0.05)] = np.nan
    fac[dead == 1] = np.nan
    speed[dead == 1] = np.nan
    frame = pd.DataFrame(
        {"ARM": arms, "SITE": site, "BASE": base, "DEAD": dead, "FAC": fac, "SPEED": speed}
    )
    frame.sample(frac=1.0, random_state=5).to_csv("data.csv", index=False)


if __name__ == "__main__":
    main()
