"""Results agree to 12 significant digits between processors: other SIMD paths, another BLAS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

PROGRAM = """
import sys

from trialkit._content import find_content
from trialkit.analysis import run_plan
from trialkit.plan import load_plan
from trialkit.simulate.frames import Setting, frames, subjects
from trialkit.simulate.worlds import find_world

names = ("stroke-robotic", "stroke-conventional")
setting = Setting.of([find_content("protocols", name) for name in names])
plan = load_plan(find_content("analyses", "stroke-robotic-vs-conventional"))
made = frames(setting, subjects(setting, find_world("benefit"), 5, 80))
results = run_plan(plan, made, descriptives=False)
results.table[["id", "value", "state"]].to_csv(sys.argv[1], index=False, float_format="%.17g")
"""


def table(path: Path, **environment: str) -> pd.DataFrame:
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], env={**os.environ, **environment}, check=True
    )
    return pd.read_csv(path).set_index("id")


def test_results_agree_to_twelve_digits(tmp_path: Path) -> None:
    umath = np._core._multiarray_umath  # type: ignore[attr-defined]
    features = [n for n in umath.__cpu_dispatch__ if umath.__cpu_features__.get(n)]
    here = table(tmp_path / "here.csv", OPENBLAS_NUM_THREADS="2")
    there = table(
        tmp_path / "there.csv",
        NPY_DISABLE_CPU_FEATURES=" ".join(features),
        OPENBLAS_CORETYPE="Nehalem",
        OPENBLAS_NUM_THREADS="1",
    )
    assert list(here.index) == list(there.index)
    assert len(here) > 100
    assert (here["state"] == "ok").all()
    np.testing.assert_allclose(here["value"], there["value"], rtol=1e-12, atol=1e-14)
