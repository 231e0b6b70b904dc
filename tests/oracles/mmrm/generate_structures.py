"""Write structures.csv: 70 made-up subjects, unbalanced arms, five visits on irregular days.

Run once with NumPy 2; the file, not this program, is the input of structures.R and of the tests.
"""

from pathlib import Path

import numpy as np
import pandas as pd

rng = np.random.Generator(np.random.Philox(20240607))
arms = np.repeat(["Control", "Robot"], [45, 25])
weeks = np.array([1, 2, 4, 8, 12])
sd = np.array([0.20, 0.22, 0.26, 0.30, 0.28])
rows = []
for i, arm in enumerate(arms):
    base = rng.normal(0.6, 0.2)
    days = 7 * weeks + rng.integers(-2, 3, len(weeks))
    r = np.exp(-np.abs(np.subtract.outer(days, days)) / 40.0)
    noise = np.linalg.cholesky(r * np.outer(sd, sd)) @ rng.normal(size=len(weeks))
    for j, week in enumerate(weeks):
        mean = 0.2 + 0.8 * base + 0.02 * j + (0.03 * j if arm == "Robot" else 0.0)
        seen = rng.random() > (0.04, 0.08, 0.14, 0.2, 0.25)[j]
        rows.append(
            (
                f"S{i:03d}",
                arm,
                round(base, 3),
                f"W{week:02d}",
                int(days[j]),
                round(mean + noise[j], 4) if seen else None,
            )
        )
frame = pd.DataFrame(rows, columns=["USUBJID", "TRT01P", "BASE", "AVISIT", "ADY", "AVAL"])
frame.to_csv(Path(__file__).parent / "structures.csv", index=False)
