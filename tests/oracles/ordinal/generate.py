"""Make data.csv: walking ability (0 to 5) of three unbalanced arms, with missing values.

Run as ``python generate.py`` in this folder.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def main() -> None:
    rng = np.random.default_rng(20260113)
    arms = np.repeat(["Control", "Robot", "Usual"], [90, 60, 40])
    n = len(arms)
    site = rng.choice(["A", "B", "C"], n, p=[0.5, 0.3, 0.2])
    base = np.round(rng.normal(0.5, 0.2, n), 3)
    lift = pd.Series(arms).map({"Control": 0.0, "Robot": 0.8, "Usual": 0.2}).to_numpy()
    eta = lift + 2.5 * (base - 0.5) + 0.4 * (site == "B") + rng.logistic(size=n)
    fac = np.searchsorted([-2.2, -1.2, -0.2, 0.9, 2.1], eta).astype(float)
    fac[rng.random(n) < 0.05] = np.nan
    base = np.where(rng.random(n) < 0.04, np.nan, base)
    frame = pd.DataFrame({"TRT": arms, "SITE": site, "BASE": base, "FAC": fac})
    frame.sample(frac=1.0, random_state=9).to_csv("data.csv", index=False)


if __name__ == "__main__":
    main()
