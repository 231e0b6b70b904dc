"""Write data.csv: falls over unequal follow-up, three unequal arms, missing values, periods.

python generate.py > data.csv
"""

import sys

import numpy as np
import pandas as pd

rng = np.random.Generator(np.random.Philox(20250317))
n = 210
arm = rng.choice(["Conventional", "Robotic", "Tablet"], n, p=[0.5, 0.3, 0.2])
stratum = rng.choice(["A", "B", "C", "D"], n, p=[0.4, 0.35, 0.18, 0.07])
abc = rng.normal(60.0, 15.0, n)
years = np.round(rng.uniform(0.1, 1.5, n), 3)
frailty = rng.gamma(1.0 / 0.8, 0.8, n)
log_rate = 0.6 - 0.02 * (abc - 60.0)
log_rate += np.select([arm == "Robotic", arm == "Tablet"], [-0.5, -0.2], 0.0)
log_rate += np.select([stratum == "B", stratum == "C"], [0.4, -0.3], 0.0)
rows = []
for period, share in ((1, 0.25), (2, 0.4), (3, 0.35)):
    mean = frailty * np.exp(log_rate) * years * share
    falls = np.where(stratum == "D", 0, rng.poisson(mean))
    rows.append(
        pd.DataFrame(
            {
                "id": np.arange(n) + 1,
                "period": period,
                "arm": arm,
                "stratum": stratum,
                "abc": np.round(abc, 2),
                "years": np.round(years * share, 5),
                "falls": falls,
            }
        )
    )
data = pd.concat(rows).sort_values(["id", "period"])
ids = rng.permutation(n) + 1
data.loc[data["id"].isin(ids[:9]), "abc"] = np.nan
data.loc[data["id"].isin(ids[9:15]), "falls"] = np.nan
data.to_csv(sys.stdout, index=False, lineterminator="\n")
