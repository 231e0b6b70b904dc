"""Make data.csv: three unbalanced arms with the baseline as the first of four visits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

rng = np.random.Generator(np.random.Philox(20240612))
visits = ["Baseline", "W4", "W8", "W12"]
arm = np.repeat(["Control", "Low", "High"], [48, 33, 24])
n = len(arm)
stratum = rng.choice(["slow", "fast"], n, p=[0.6, 0.4])
sd = np.array([0.2, 0.22, 0.24, 0.26])
rho = 0.75 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
noise = rng.normal(size=(n, 4)) @ np.linalg.cholesky(rho * np.outer(sd, sd)).T
effect = np.select([arm == "Low", arm == "High"], [0.03, 0.07], 0.0)
rows = []
for i in range(n):
    for j, visit in enumerate(visits):
        value = 0.6 + 0.04 * j + effect[i] * j + 0.2 * (stratum[i] == "fast") + noise[i, j]
        gone = rng.random() < (0.05, 0.1, 0.18, 0.26)[j]
        rows.append((f"P{i:03d}", visit, arm[i], stratum[i], "" if gone else f"{value:.4f}"))
names = ["USUBJID", "AVISIT", "TRT01P", "STRATUM", "AVAL"]
frame = pd.DataFrame(rows, columns=names)
frame.to_csv(Path(__file__).parent / "data.csv", index=False, lineterminator="\n")
