"""Write data.csv: 140 made-up participants in three unbalanced arms, times in whole weeks.

Some enter late, some have two rows, covariates are missing here and there. Run once with
NumPy 2; the file, not this program, is the input of oracle.R and of the tests.
"""

from pathlib import Path

import numpy as np
import pandas as pd

rng = np.random.Generator(np.random.Philox(20240611))
rows = []
for i in range(140):
    arm = rng.choice(["Control", "Low", "High"], p=[0.5, 0.3, 0.2])
    site = rng.choice(["A", "B", "C", "D"], p=[0.4, 0.3, 0.2, 0.1])
    age = round(rng.normal(68.0, 9.0), 1)
    rate = {"Control": 0.0, "Low": -0.3, "High": -0.9}[arm] + 0.03 * (age - 68.0)
    rate += {"A": 0.0, "B": 0.3, "C": -0.4, "D": 0.2}[site]
    entry = int(rng.integers(0, 6)) if rng.random() < 0.3 else 0
    event = entry + np.ceil(rng.weibull(1.3) * 20.0 * np.exp(-rate))
    end = entry + np.ceil(rng.uniform(6.0, 40.0))
    stop, happened = int(min(event, end)), int(event <= end)
    speed = round(rng.normal(0.8, 0.25), 2) if rng.random() > 0.06 else None
    weight = int(rng.integers(1, 4))
    name = f"S{i:03d}"
    if stop - entry > 4 and rng.random() < 0.4:
        cut = int(rng.integers(entry + 1, stop))
        faster = None if speed is None else round(speed + rng.normal(0.05, 0.1), 2)
        rows.append((name, arm, site, age, speed, entry, cut, 0, weight))
        rows.append((name, arm, site, age, faster, cut, stop, happened, weight))
    else:
        rows.append((name, arm, site, age, speed, entry, stop, happened, weight))
names = ["USUBJID", "TRT01P", "SITEID", "AGE", "SPEED", "START", "STOP", "EVENT", "WEIGHT"]
pd.DataFrame(rows, columns=names).to_csv(Path(__file__).parent / "data.csv", index=False)
