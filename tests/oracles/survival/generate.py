"""Make data.csv: times to a first fall with ties, censoring and unbalanced arms.

Run in this folder with ``python generate.py``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def main() -> None:
    rng = np.random.Generator(np.random.Philox(20260801))
    n = 170
    arm = rng.choice(["Control", "Low", "High"], size=n, p=[0.5, 0.2, 0.3])
    site = rng.choice(["A", "B", "C"], size=n, p=[0.5, 0.3, 0.2])
    scale = np.select([arm == "Control", arm == "Low"], [70.0, 90.0], 130.0)
    scale = scale * np.select([site == "A", site == "B"], [1.0, 0.7], 1.4)
    event = scale * rng.weibull(1.2, n)
    leave = rng.exponential(260.0, n)
    end = rng.choice([150.0, 182.0, 240.0], n)
    time = np.minimum(np.minimum(event, leave), end)
    frame = pd.DataFrame(
        {
            "USUBJID": [f"S{i:03d}" for i in range(n)],
            "TRT01P": arm,
            "SITEID": site,
            "DAYS": np.ceil(time).astype(int),  # whole days: many ties
            "EXACT": np.round(time + 1e-3, 6),  # no ties but the ends of follow-up
            "FALL": (event <= np.minimum(leave, end)).astype(int),
        }
    )
    frame.to_csv("data.csv", index=False)


if __name__ == "__main__":
    main()
