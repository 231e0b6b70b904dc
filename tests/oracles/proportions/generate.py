"""Make data.csv: yes/no outcomes of three unbalanced arms in sites, with missing values.

Run as ``python generate.py`` in this folder.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def main() -> None:
    rng = np.random.default_rng(20260111)
    arms = np.repeat(["Control", "Robot", "Usual"], [48, 36, 22])
    n = len(arms)
    site = rng.choice(["Basel", "Bern", "Genf", "Zug"], n, p=[0.4, 0.3, 0.2, 0.1])
    risk = pd.Series(arms).map({"Control": 0.35, "Robot": 0.6, "Usual": 0.3}).to_numpy()
    risk = risk + pd.Series(site).map({"Basel": 0.0, "Bern": 0.1, "Genf": -0.1, "Zug": 0.2})
    y = (rng.random(n) < risk).astype(float)
    y[rng.random(n) < 0.05] = np.nan
    frame = pd.DataFrame({"ARM": arms, "SITE": site, "Y": y}).sample(frac=1.0, random_state=3)
    frame.to_csv("data.csv", index=False)


if __name__ == "__main__":
    main()
