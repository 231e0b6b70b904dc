"""Write data.csv: 150 made-up participants in three unbalanced arms, times in whole weeks.

Hazards are not proportional; about a third is censored, many times are tied, ages and speeds
are missing here and there. Run once with NumPy 2; the file, not this program, is the input of
oracle.R and of the tests.
"""

from pathlib import Path

import numpy as np
import pandas as pd

rng = np.random.Generator(np.random.Philox(20240923))
rows = []
for i in range(150):
    arm = rng.choice(["Control", "Low", "High"], p=[0.5, 0.3, 0.2])
    stratum = rng.choice(["early", "late", "chronic"], p=[0.5, 0.35, 0.15])
    age = round(rng.normal(68.0, 9.0), 1)
    speed = round(rng.normal(0.8, 0.25), 2)
    location = 2.6 + {"Control": 0.0, "Low": 0.25, "High": 0.7}[arm] - 0.02 * (age - 68.0)
    location += {"early": 0.0, "late": -0.3, "chronic": 0.2}[stratum] + 0.4 * (speed - 0.8)
    event = np.ceil(np.exp(location + 0.6 * rng.logistic()))
    end = np.ceil(rng.uniform(8.0, 52.0))
    week, happened = int(min(event, end)), int(event <= end)
    known = rng.random(2)
    rows.append(
        (
            f"S{i:03d}",
            arm,
            stratum,
            age if known[0] > 0.04 else None,
            speed if known[1] > 0.04 else None,
            week,
            happened,
        )
    )
names = ["USUBJID", "TRT01P", "STRATUM", "AGE", "SPEED", "WEEK", "EVENT"]
pd.DataFrame(rows, columns=names).to_csv(Path(__file__).parent / "data.csv", index=False)
