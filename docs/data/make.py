"""Makes the made-up trial of the documents, with people who drop out.

Comfortable walking speed (10 m walk, m/s) of 150 people at baseline, weeks 4, 8 and 12; 80 with
robotic and 70 with conventional training. People who walk slower stop their training more
often. After they stop, some are still measured; the rest are missing. That is
``walking-speed.csv``. ``people.csv`` has one row a person: falls of the diary, days to the first
fall, confidence yes or no, and the functional ambulation category; ``falls.csv`` one row an
interval between falls.
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


def others(speeds: pd.DataFrame, seed: int = 7) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row a person, and one row an interval between falls."""
    rng = np.random.Generator(np.random.Philox(seed))
    people = speeds.drop_duplicates("USUBJID")[["USUBJID", "TRT01P", "STRATUM", "BASE"]].copy()
    robotic = (people["TRT01P"] == "Robotic").to_numpy(dtype=np.float64)
    base = people["BASE"].to_numpy()
    frail = rng.gamma(1.0 / 0.9, 0.9, len(people)) * np.exp(-0.35 * robotic - 1.2 * (base - 0.55))
    days = rng.integers(60, 183, len(people))
    rows, first = [], []
    for name, arm, rate, end in zip(people["USUBJID"], people["TRT01P"], frail, days, strict=True):
        number = rng.poisson(2.0 * rate * end / 365.25)
        falls = sorted(set(rng.integers(1, end, number).tolist()))
        edges = [0, *falls, int(end)]
        for k in range(len(edges) - 1):
            rows.append((name, arm, edges[k], edges[k + 1], int(k < len(falls))))
        first.append((falls[0] if falls else int(end), int(bool(falls)), len(falls)))
    people["FALLS"] = [row[2] for row in first]
    people["YEARS"] = (days / 365.25).round(4)
    people["DAYS"] = [row[0] for row in first]
    people["FELL"] = [row[1] for row in first]
    latent = 3.0 * (base - 0.55) + 0.5 * robotic + rng.logistic(size=len(people))
    people["CONFIDENT"] = (latent > 0.3).astype(int)
    people["FAC"] = np.digitize(latent + rng.normal(0.0, 0.5, len(people)), [-2, -1, 0, 1.2]) + 1
    names = ["USUBJID", "TRT01P", "START", "STOP", "FALL"]
    return people, pd.DataFrame(rows, columns=names)


def everything() -> dict[str, pd.DataFrame]:
    """Return the frame of each file."""
    speeds = make()
    people, falls = others(speeds)
    return {"walking-speed.csv": speeds, "people.csv": people, "falls.csv": falls}


if __name__ == "__main__":
    for name, frame in everything().items():
        frame.to_csv(Path(__file__).with_name(name), index=False, lineterminator="\n")
