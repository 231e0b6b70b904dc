"""Make data.csv: a trial of three unbalanced arms, three sites, two sexes and four visits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

rng = np.random.Generator(np.random.Philox(20240611))
visits = ["W2", "W4", "W8", "W12"]
arm = np.repeat(["Control", "Low", "High"], [44, 30, 21])
n = len(arm)
site = rng.choice(["S1", "S2", "S3"], n, p=[0.55, 0.3, 0.15])
sex = rng.choice(["F", "M"], n, p=[0.35, 0.65])
base = rng.normal(0.7, 0.2, n) + 0.1 * (site == "S2")
sd = np.array([0.12, 0.15, 0.18, 0.22])
rho = 0.7 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
noise = rng.normal(size=(n, 4)) @ np.linalg.cholesky(rho * np.outer(sd, sd)).T
effect = np.select([arm == "Low", arm == "High"], [0.05, 0.1], 0.0)
rows = []
for i in range(n):
    for j, visit in enumerate(visits):
        value = 0.2 + 0.8 * base[i] + effect[i] * j * (1.0 + 0.5 * base[i]) + noise[i, j]
        value += 0.06 * (sex[i] == "M") + 0.05 * (site[i] == "S3") * (arm[i] == "High")
        gone = rng.random() < (0.04, 0.1, 0.18, 0.28)[j] * (1.5 if arm[i] == "High" else 1.0)
        shown = "" if gone else f"{value:.4f}"
        rows.append((f"P{i:03d}", visit, arm[i], site[i], sex[i], f"{base[i]:.4f}", shown))
names = ["USUBJID", "AVISIT", "TRT01P", "SITEID", "SEX", "BASE", "AVAL"]
frame = pd.DataFrame(rows, columns=names)
frame.to_csv(Path(__file__).parent / "data.csv", index=False, lineterminator="\n")
