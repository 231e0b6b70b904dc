"""Make data.csv: a first fall with death and withdrawal for illness as competing events.

Run in this folder with ``python generate.py``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def main() -> None:
    rng = np.random.Generator(np.random.Philox(20260802))
    n = 190
    arm = rng.choice(["Control", "Low", "High"], size=n, p=[0.45, 0.2, 0.35])
    site = rng.choice(["A", "B", "C"], size=n, p=[0.5, 0.3, 0.2])
    age = np.round(rng.normal(68.0, 9.0, n), 1)
    slow = np.select([arm == "Control", arm == "Low"], [1.0, 1.2], 1.7)
    fall = 140.0 * slow * rng.weibull(1.1, n)
    death = 420.0 * np.exp(-(age - 68.0) / 25.0) * rng.exponential(1.0, n)
    ill = 600.0 * rng.exponential(1.0, n)
    leave = np.minimum(rng.exponential(500.0, n), rng.choice([150.0, 182.0, 240.0], n))
    times = np.column_stack([leave, fall, death, ill])
    kind = times.argmin(axis=1)
    first = times.min(axis=1)
    frame = pd.DataFrame(
        {
            "USUBJID": [f"S{i:03d}" for i in range(n)],
            "TRT01P": arm,
            "SITEID": site,
            "AGE": age,
            "DAYS": np.ceil(first / 2.0).astype(int) * 2,  # every second day: many ties
            "EXACT": np.round(first + 1e-3 + 1e-4 * np.arange(n), 6),  # no ties at all
            "CAUSE": kind,
        }
    )
    frame.to_csv("data.csv", index=False)


if __name__ == "__main__":
    main()
