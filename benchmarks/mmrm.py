"""Times of mmrm(): the FEV example and a generated trial of 1,000 subjects and 10 visits.

    python benchmarks/mmrm.py [--repeats 5]

FEV is read from TRIALKIT_SHARED or ../shared and left out where it is not there. Each line is
the best of the repeats, from formula to the table of contrasts. On a busy machine set
OPENBLAS_NUM_THREADS=1: waiting threads of the linear algebra library cost more than they give.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

from trialkit.methods import mmrm
from trialkit.methods._design import build_design
from trialkit.methods.repeated.fit import fit_arrays, lay_out


def generated(subjects: int, visits: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.Generator(np.random.Philox(seed))
    sd = 1.0 + 0.1 * np.arange(visits)
    rho = 0.8 ** np.abs(np.subtract.outer(np.arange(visits), np.arange(visits)))
    y = rng.normal(size=(subjects, visits)) @ np.linalg.cholesky(rho * np.outer(sd, sd)).T
    arm, base = np.arange(subjects) % 2, rng.normal(size=subjects)
    y += base[:, None] + 0.05 * arm[:, None] * np.arange(visits)
    frame = pd.DataFrame(
        {
            "USUBJID": np.repeat(np.arange(subjects), visits),
            "AVISIT": np.tile([f"V{j:02d}" for j in range(visits)], subjects),
            "TRT01P": np.repeat(np.where(arm == 1, "Robotic", "Conventional"), visits),
            "BASE": np.repeat(base, visits),
            "AVAL": y.ravel(),
        }
    )
    frame.loc[rng.random(len(frame)) < 0.14, "AVAL"] = np.nan
    return frame


def clock(label: str, formula: str, data: pd.DataFrame, arm: tuple[str, str], n: int) -> None:
    for df in ("satterthwaite", "kenward_roger_linear"):
        whole, arrays = [], []
        for _ in range(n):
            start = time.perf_counter()
            fit = mmrm(formula, data, subject="USUBJID", visit="AVISIT", df=df)
            table = fit.contrast(arm[0], reference=arm[1], by="AVISIT")
            whole.append(time.perf_counter() - start)
            assert fit.failed is None
            design = build_design(formula, data, also=["USUBJID", "AVISIT"])
            layout = lay_out(design, data, "USUBJID", "AVISIT", None, None)
            start = time.perf_counter()
            fit_arrays(design.x, design.y, layout)
            arrays.append(time.perf_counter() - start)
        last = table.iloc[-1]
        print(
            f"{label:<22} {df:<21} formula to table {1e3 * min(whole):8.1f} ms"
            f"   arrays to fit {1e3 * min(arrays):8.1f} ms   {fit.iterations} iterations"
            f"   last contrast {last.estimate:.4f} ({last.se:.4f}, df {last.df:.1f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    beside = Path(__file__).resolve().parent.parent.parent / "shared"
    fev = Path(os.environ.get("TRIALKIT_SHARED", beside)) / "oracles" / "fev_data.csv"
    if fev.is_file():
        data = pd.read_csv(fev)
        clock("FEV 197 x 4", "FEV1 ~ RACE + SEX + ARMCD*AVISIT", data, ("ARMCD", "PBO"), repeats)
    formula = "AVAL ~ BASE*AVISIT + TRT01P*AVISIT"
    for subjects, visits in ((200, 4), (1000, 10)):
        data = generated(subjects, visits)
        clock(
            f"generated {subjects} x {visits}", formula, data, ("TRT01P", "Conventional"), repeats
        )


if __name__ == "__main__":
    main()
