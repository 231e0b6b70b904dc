"""Write data.csv: a small trial with missing visits, unequal arms and events; seed fixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent


def main() -> None:
    random = np.random.default_rng(20250311)
    n, visits = 46, ["Week 4", "Week 8", "Week 12", "Week 24"]
    arm = np.where(np.arange(n) < 26, "Robot", "Usual")
    site = np.where(random.random(n) < 0.4, "A", "B")
    base = random.normal(0.72, 0.2, n)
    cov = 0.03 * 0.75 ** np.abs(np.subtract.outer(range(4), range(4))) + np.diag(
        [0, 0.004, 0.01, 0]
    )
    noise = random.multivariate_normal(np.zeros(4), cov, n)
    gain = np.where(arm[:, None] == "Robot", [0.08, 0.16, 0.22, 0.25], [0.05, 0.09, 0.12, 0.12])
    y = 0.3 * (base[:, None] - 0.72) + gain + noise
    event = np.full(n, 4)
    for i in range(n):
        if random.random() < 0.4:
            event[i] = random.integers(1, 4)
    rows = []
    for i in range(n):
        kept = random.random() < 0.25  # outcomes after the event were still measured
        for j, visit in enumerate(visits):
            lost = (j >= event[i] and not (kept and j == event[i])) or random.random() < 0.04
            rows.append(
                (
                    f"S{i + 1:02d}",
                    visit,
                    arm[i],
                    site[i],
                    round(base[i], 3),
                    np.nan if lost else round(y[i, j], 4),
                    visits[event[i]] if event[i] < 4 else "",
                )
            )
    columns = ["ID", "VISIT", "ARM", "SITE", "BASE", "CHG", "EVENT"]
    pd.DataFrame(rows, columns=columns).to_csv(HERE / "data.csv", index=False)


if __name__ == "__main__":
    main()
