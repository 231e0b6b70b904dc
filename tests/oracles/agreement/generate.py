"""Make ratings.csv (subjects by raters, some missing) and pairs.csv (two instruments, repeated).

Run in this folder with ``python generate.py``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def main() -> None:
    rng = np.random.Generator(np.random.Philox(20260803))
    n, raters = 26, ["A", "B", "C", "D"]
    true = rng.normal(42.0, 7.0, n)
    shift = {"A": 0.0, "B": 1.2, "C": -0.8, "D": 0.4}
    rows = [
        (f"S{i:02d}", name, round(true[i] + shift[name] + rng.normal(0.0, 2.5), 2))
        for i in range(n)
        for name in raters
        if not (name == "D" and i in {3, 17}) and not (name == "A" and i == 9)
    ]
    frame = pd.DataFrame(rows, columns=["USUBJID", "RATER", "SCORE"])
    frame.to_csv("ratings.csv", index=False)
    pairs = []
    for i in range(22):
        for visit in range(int(rng.integers(1, 5))):
            speed = rng.normal(0.9, 0.2)
            walkway = speed + rng.normal(0.0, 0.03)
            watch = 1.04 * speed + 0.01 * (i % 3) + rng.normal(0.0, 0.05)
            pairs.append((f"S{i:02d}", visit, round(walkway, 4), round(watch, 4)))
    frame = pd.DataFrame(pairs, columns=["USUBJID", "VISIT", "WALKWAY", "STOPWATCH"])
    frame.loc[[4, 11], "STOPWATCH"] = np.nan
    frame.to_csv("pairs.csv", index=False)


if __name__ == "__main__":
    main()
