"""Write data.csv: 90 made-up subjects, three unbalanced arms, four visits, missing visits.

Run once with NumPy 2; the file, not this program, is the input of oracle.R and of the tests.
"""

from pathlib import Path

import numpy as np
import pandas as pd

rng = np.random.Generator(np.random.Philox(20240229))
arms = np.repeat(["Control", "Low", "High"], [40, 30, 20])
n, visits = len(arms), ["W2", "W4", "W8", "W12"]
sd = np.array([2.0, 2.5, 3.5, 3.0])
rho = 0.75 ** np.abs(np.subtract.outer([2, 4, 8, 12], [2, 4, 8, 12]) / 2.0)
base = rng.normal(50.0, 8.0, n)
site = rng.choice(["A", "B", "C"], n, p=[0.5, 0.3, 0.2])
gain = {"Control": 0.3, "Low": 0.8, "High": 1.4}
rows = []
for i in range(n):
    noise = np.linalg.cholesky(rho * np.outer(sd, sd)) @ rng.normal(size=4)
    for j, visit in enumerate(visits):
        mean = 5.0 + 0.6 * base[i] + (j + 1) * gain[arms[i]] + {"A": 0, "B": 1, "C": -1}[site[i]]
        seen = rng.random() > (0.05, 0.12, 0.2, 0.3)[j]
        rows.append(
            (
                f"S{i:03d}",
                arms[i],
                site[i],
                round(base[i], 3),
                visit,
                round(mean + noise[j], 4) if seen else None,
            )
        )
frame = pd.DataFrame(rows, columns=["USUBJID", "TRT01P", "SITEID", "BASE", "AVISIT", "AVAL"])
frame.to_csv(Path(__file__).parent / "data.csv", index=False)
