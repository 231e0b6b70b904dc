"""Makes ``walking-speed.csv``: a made-up trial of walking speed with people who drop out.

Comfortable walking speed (10 m walk, m/s) of 150 people at baseline, weeks 4, 8 and 12; 80 with
robotic and 70 with conventional training. People who walk slower stop their training more
often. After they stop, some are still measured; the rest are missing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

VISITS = ("W4", "W8", "W12")
GAIN = {"Robotic": (0.06, 0.12, 0.17), "Conventional": (0.04, 0.07, 0.09)}


def make(seed: int = 20261122) -> pd.DataFrame:
    """Return one row a person and visit."""
    rng = np.random.Generator(np.random.Philox(seed))
    arms = rng.permutation(["Robotic"] * 80 + ["Conventional"] * 70)
    rows = []
    for number, arm in enumerate(arms, start=1):
        stratum = "severe" if rng.random() < 0.4 else "moderate"
        base = max(0.08, rng.normal(0.42 if stratum == "severe" else 0.64, 0.12))
        person = rng.normal(0.0, 0.09)
        stops, missing = "", False
        for visit, gain in zip(VISITS, GAIN[arm], strict=True):
            speed = max(0.0, base + gain + person + rng.normal(0.0, 0.06))
            if not stops and rng.random() < 0.09 + (0.08 if speed < 0.55 else 0.0):
                stops, missing = visit, rng.random() < 0.75
            seen = not missing and rng.random() > 0.02
            value = round(speed - (0.05 if stops else 0.0), 3)
            rows.append((f"P-{number:03d}", arm, stratum, round(base, 3), visit, value, seen))
        for row in range(-len(VISITS), 0):
            rows[row] = (*rows[row], stops)
    names = ["USUBJID", "TRT01P", "STRATUM", "BASE", "AVISIT", "AVAL", "seen", "STOPVIS"]
    frame = pd.DataFrame(rows, columns=names)
    frame["AVAL"] = frame["AVAL"].clip(lower=0.0).where(frame["seen"])
    return frame.drop(columns="seen")


if __name__ == "__main__":
    make().to_csv(Path(__file__).with_name("walking-speed.csv"), index=False)
