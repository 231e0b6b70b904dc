"""Make data.csv: a three-arm trial with yes/no outcomes, small sites and missing values.

Run as ``python generate.py`` in this folder.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def main() -> None:
    rng = np.random.default_rng(20260110)
    arms = np.repeat(["Control", "Low", "High"], [60, 45, 25])
    n = len(arms)
    site = rng.integers(1, 19, n)
    age = np.round(rng.normal(68, 9, n), 1)
    base = np.round(rng.normal(0.62, 0.21, n), 3)
    effect = pd.Series(arms).map({"Control": 0.0, "Low": 0.5, "High": 1.1}).to_numpy()
    eta = -0.4 + effect + 2.2 * (base - 0.62) - 0.03 * (age - 68) + rng.normal(0, 0.5, 19)[site]
    y = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)
    rare = ((rng.random(n) < 0.12) & (arms != "High")).astype(float)  # none in High: separated
    frame = pd.DataFrame(
        {
            "USUBJID": [f"P{i:03d}" for i in range(n)],
            "TRT": arms,
            "SITE": [f"S{s:02d}" for s in site],
            "AGE": age,
            "BASE": base,
            "Y": y,
            "RARE": rare,
        }
    ).sample(frac=1.0, random_state=7)
    frame.loc[rng.random(n) < 0.06, "Y"] = np.nan
    frame.loc[rng.random(n) < 0.04, "BASE"] = np.nan
    frame.to_csv("data.csv", index=False)


if __name__ == "__main__":
    main()
