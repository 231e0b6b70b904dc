"""Write data.csv: falls of 90 made-up participants in two unbalanced arms, in whole days.

Frailty makes falls cluster, some die, some stop early, a walking aid may be given on the way
(which closes an interval), a covariate is missing here and there. Run once with NumPy 2; the
file, not this program, is the input of oracle.R and of the tests.
"""

from pathlib import Path

import numpy as np
import pandas as pd

rng = np.random.Generator(np.random.Philox(20240705))
rows = []
for i in range(90):
    arm = "Robotic" if rng.random() < 0.4 else "Conventional"
    age = round(rng.normal(70.0, 8.0), 1)
    fear = round(rng.normal(0.0, 1.0), 2) if rng.random() > 0.05 else None
    rate = 0.014 * rng.gamma(1.2, 1.0 / 1.2) * np.exp(-0.5 * (arm == "Robotic") + 0.03 * (age - 70))
    end = int(min(180, np.ceil(rng.exponential(260.0)) + 20))
    death = int(np.ceil(rng.exponential(420.0 - 120.0 * (arm == "Conventional")))) + 5
    dead = death <= end
    end = min(end, death)
    falls = sorted(
        {int(d) for d in np.cumsum(np.ceil(rng.exponential(1.0 / rate, 40))) if d <= end}
    )
    aid = int(rng.integers(30, 120)) if rng.random() < 0.35 else None
    cuts = sorted({*falls, end, *([aid] if aid is not None and aid < end else [])})
    last = 0
    for cut in cuts:
        has = int(aid is not None and last >= aid)
        rows.append(
            (
                f"F{i:02d}",
                arm,
                age,
                fear,
                has,
                last,
                cut,
                int(cut in falls),
                int(dead and cut == end),
            )
        )
        last = cut
names = ["USUBJID", "TRT01P", "AGE", "FEAR", "AID", "START", "STOP", "FALL", "DEATH"]
frame = pd.DataFrame(rows, columns=names)
frame.sample(frac=1.0, random_state=7).to_csv(Path(__file__).parent / "data.csv", index=False)
