"""Write data.csv: therapists of unequal caseload in one arm of two, missing values.

python generate.py > data.csv
"""

import sys

import numpy as np
import pandas as pd

rng = np.random.Generator(np.random.Philox(20240611))
sizes = [14, 9, 7, 6, 5, 4, 3, 2, 1]
therapist = np.repeat([f"T{i + 1}" for i in range(len(sizes))], sizes)
n = len(therapist) + 38
arm = np.array(["Robotic"] * len(therapist) + ["Conventional"] * 38)
effect = rng.normal(0.0, 0.09, len(sizes))
base = np.round(rng.normal(0.62, 0.18, n), 4)
site = rng.choice(["A", "B", "C"], n, p=[0.5, 0.3, 0.2])
noise = np.where(arm == "Robotic", rng.normal(0, 0.11, n), rng.normal(0, 0.16, n))
y = 0.15 + 0.8 * base + 0.08 * (arm == "Robotic") + 0.03 * (site == "B") + noise
y[: len(therapist)] += np.repeat(effect, sizes)
# therapists alike: their own means of the noise are taken off
alike = [noise[: len(therapist)][therapist == name].mean() for name in dict.fromkeys(therapist)]
flat = y.copy()
flat[: len(therapist)] -= np.repeat(effect, sizes) + np.repeat(alike, sizes)
data = pd.DataFrame(
    {
        "id": np.arange(n) + 1,
        "arm": arm,
        "therapist": np.append(therapist, [""] * 38),
        "site": site,
        "base": base,
        "speed": np.round(y, 5),
        "flat": np.round(flat, 5),
    }
)
data.loc[[3, 20, 60], "speed"] = np.nan
data.loc[[11, 70], "base"] = np.nan
data = data.iloc[rng.permutation(n)]
data.to_csv(sys.stdout, index=False, lineterminator="\n")
