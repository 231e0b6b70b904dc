"""Times of the methods beside other programs, in one run on one machine.

    python benchmarks/methods.py [--repeats 7] [--trials 10000] [--workers 2] [--slow] [--json]

Data are read from TRIALKIT_SHARED or ../shared; where they are not there, data of the same shape
are generated. nlme::gls and mmrm run where Rscript and the package exist, statsmodels and
lifelines always. ``--slow`` adds the minutes of nlme::gls and of MixedLM on the large example.
Every time is the best of the repeats, in the program itself, after loading; programs that take
longer than a second run once. A run on a busy machine compares nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trialkit.methods import cox, kaplan_meier, mmrm, mmrm_batch
from trialkit.methods._design import build_design
from trialkit.methods.repeated.fit import fit_arrays, lay_out

BESIDE = Path(__file__).resolve().parent.parent.parent / "shared"
SHARED = Path(os.environ.get("TRIALKIT_SHARED", BESIDE)) / "oracles"
KEYS: dict[str, Any] = {"subject": "USUBJID", "visit": "AVISIT"}
FEV = "FEV1 ~ RACE + SEX + ARMCD*AVISIT"
BCVA = "BCVA_CHG ~ BCVA_BL + RACE + ARMCD*AVISIT"
LINEAR = "kenward_roger_linear"


@dataclass
class Line:
    """One time; ``ratio`` is how many times longer than trialkit's for the same task."""

    task: str
    program: str
    seconds: float | None
    ratio: float | None = None
    note: str = ""


def visits(subjects: int, n: int, seed: int = 1) -> pd.DataFrame:
    """Generate a trial of two arms and `n` visits, 14 % of the values missing."""
    rng = np.random.Generator(np.random.Philox(seed))
    sd = 1.0 + 0.1 * np.arange(n)
    rho = 0.8 ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    y = rng.normal(size=(subjects, n)) @ np.linalg.cholesky(rho * np.outer(sd, sd)).T
    arm, base = np.arange(subjects) % 2, rng.normal(size=subjects)
    y += base[:, None] + 0.05 * arm[:, None] * np.arange(n)
    frame = pd.DataFrame(
        {
            "USUBJID": np.repeat([f"PT{i:04d}" for i in range(subjects)], n),
            "AVISIT": np.tile([f"VIS{j + 1:02d}" for j in range(n)], subjects),
            "ARMCD": np.repeat(np.where(arm == 1, "TRT", "CTL"), n),
            "RACE": np.repeat(rng.choice(["A", "B", "W"], subjects), n),
            "SEX": np.repeat(rng.choice(["F", "M"], subjects), n),
            "BASE": np.repeat(base, n),
            "VISITN": np.tile(np.arange(1, n + 1), subjects),
            "AVAL": y.ravel(),
        }
    )
    frame.loc[rng.random(len(frame)) < 0.14, "AVAL"] = np.nan
    return frame


def examples() -> dict[str, tuple[str, pd.DataFrame, str]]:
    """Return formula, data and reference arm of the small and the large example."""
    if all((SHARED / name).is_file() for name in ("fev_data.csv", "bcva_data.csv")):
        return {
            "FEV 197 x 4": (FEV, pd.read_csv(SHARED / "fev_data.csv"), "PBO"),
            "BCVA 1000 x 10": (BCVA, pd.read_csv(SHARED / "bcva_data.csv"), "CTL"),
        }
    small = visits(197, 4).rename(columns={"AVAL": "FEV1"})
    large = visits(1000, 10).rename(columns={"AVAL": "BCVA_CHG", "BASE": "BCVA_BL"})
    return {
        "FEV 197 x 4 (generated)": (FEV, small, "CTL"),
        "BCVA 1000 x 10 (generated)": (BCVA, large, "CTL"),
    }


def best(task: Callable[[], object], repeats: int) -> float:
    """Return the least wall-clock time; a slow task runs once."""
    least = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        least = min(least, time.perf_counter() - start)
        if least > 1.0:
            break
    return float(least)


def ours(name: str, formula: str, data: pd.DataFrame, reference: str, repeats: int) -> list[Line]:
    """Time formula to table with two kinds of degrees of freedom, and the fit from arrays."""

    def whole(df: str) -> pd.DataFrame:
        fit = mmrm(formula, data, **KEYS, df=df)
        assert fit.failed is None
        table: pd.DataFrame = fit.contrast("ARMCD", reference=reference, by="AVISIT")
        return table

    design = build_design(formula, data, also=list(KEYS.values()))
    layout = lay_out(design, data, "USUBJID", "AVISIT", None, None)
    last = whole(LINEAR).iloc[-1]
    note = f"last contrast {last['estimate']:.6f} ({last['se']:.6f}, df {last['df']:.3f})"
    whole_time = best(lambda: whole(LINEAR), 3 * repeats)
    satterthwaite = best(lambda: whole("satterthwaite"), 3 * repeats)
    arrays = best(lambda: fit_arrays(design.x, design.y, layout), 3 * repeats)
    return [
        Line(f"{name}: formula to contrasts, KR", "trialkit", whole_time, 1.0, note),
        Line(f"{name}: formula to contrasts, Satterthwaite", "trialkit", satterthwaite, 1.0),
        Line(f"{name}: arrays to fit", "trialkit", arrays, 1.0),
    ]


R_HEAD = """
d <- read.csv(commandArgs(TRUE)[1], stringsAsFactors = TRUE)
repeats <- as.integer(commandArgs(TRUE)[2])
best <- function(f) {
  least <- Inf
  for (i in seq_len(repeats)) {
    t <- system.time(f(), gcFirst = FALSE)[["elapsed"]]
    least <- min(least, t)
    if (least > 1) break
  }
  least
}
d <- d[complete.cases(d[all.vars(FORMULA)]), ]
"""

R_GLS = """
suppressMessages(library(nlme))
fit <- function() gls(FORMULA, data = d, method = "REML",
  correlation = corSymm(form = ~ VISITN | USUBJID), weights = varIdent(form = ~ 1 | AVISIT),
  control = glsControl(opt = "nlminb", maxIter = 200, msMaxIter = 500))
cat(best(fit), as.character(packageVersion("nlme")))
"""

R_MMRM = """
suppressMessages({library(mmrm); library(emmeans)})
d$USUBJID <- factor(d$USUBJID)
fit <- function() {
  m <- mmrm(update(FORMULA, . ~ . + us(AVISIT | USUBJID)), data = d, METHOD)
  pairs(emmeans(m, ~ ARMCD | AVISIT))
}
cat(best(fit), as.character(packageVersion("mmrm")))
"""


def run_r(program: str, formula: str, data: pd.DataFrame, repeats: int) -> tuple[float, str] | str:
    """Run an R program; return seconds and version, or why there are none."""
    if shutil.which("Rscript") is None:
        return "no Rscript"
    frame = data.copy()
    frame["VISITN"] = pd.factorize(frame["AVISIT"], sort=True)[0] + 1
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(Path(folder) / "d.csv", index=False)
        script = Path(folder) / "p.R"
        script.write_text(f"FORMULA <- {formula}\n{R_HEAD}{program}", encoding="utf-8")
        done = subprocess.run(
            ["Rscript", "--vanilla", str(script), str(Path(folder) / "d.csv"), str(repeats)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        missing = next((line for line in lines if "no package called" in line), None)
        return (
            missing.split(":")[-1].strip() if missing else f"failed: {lines[-1] if lines else ''}"
        )
    seconds, version = done.stdout.split()[-2:]
    return float(seconds), version


def beside(
    name: str, formula: str, data: pd.DataFrame, times: list[Line], options: argparse.Namespace
) -> list[Line]:
    """Time other programs on the same example."""
    large = len(data) > 5000
    kr, satterthwaite = (line.seconds or np.nan for line in times[:2])
    lines = []
    programs = [
        ("nlme::gls, REML, no df", R_GLS, kr, large and not options.slow),
        ("R mmrm, Satterthwaite", R_MMRM.replace("METHOD", 'method = "Satterthwaite"'),
         satterthwaite, False),
        ("R mmrm, KR-linear", R_MMRM.replace("METHOD",
         'method = "Kenward-Roger", vcov = "Kenward-Roger-Linear"'), kr, False),
    ]  # fmt: skip
    for label, program, mine, skip in programs:
        task = f"{name}: {label.rpartition(', ')[2]}"
        if skip:
            lines.append(Line(task, label, None, None, "left out without --slow"))
            continue
        found = run_r(program, formula, data, options.repeats)
        if isinstance(found, str):
            lines.append(Line(task, label, None, None, f"skipped: {found}"))
        else:
            lines.append(Line(task, label, found[0], found[0] / mine, f"version {found[1]}"))
    label = "statsmodels MixedLM, visits as random effects, no df"
    if large and not options.slow:
        lines.append(Line(f"{name}: no df", label, None, None, "left out without --slow"))
    else:
        seconds, note = mixed_lm(formula, data)
        lines.append(Line(f"{name}: no df", label, seconds, seconds / kr, note))
    return lines


def mixed_lm(formula: str, data: pd.DataFrame) -> tuple[float, str]:
    """Time statsmodels' nearest model: a residual beside free covariances of the visits."""
    import statsmodels
    import statsmodels.formula.api as smf

    outcome = formula.partition("~")[0].strip()
    rows = data.dropna(subset=[outcome])
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model: Any = smf.mixedlm(formula, rows, groups=rows["USUBJID"], re_formula="~ 0 + AVISIT")
        fit: Any = model.fit(reml=True)
    seconds = time.perf_counter() - start
    note = f"version {statsmodels.__version__}, -2RLL {-2 * fit.llf:.4f}"
    return seconds, note + (f", {len(caught)} warnings" if caught else "")


def batch(options: argparse.Namespace) -> list[Line]:
    """Time many trials of 200 participants and 4 visits, one frame with all rows."""
    used = ["USUBJID", "AVISIT", "ARMCD", "BASE", "AVAL"]
    frames = [visits(200, 4, seed=i)[used] for i in range(min(options.trials, 200))]
    every = pd.concat(
        [frames[i % len(frames)].assign(TRIAL=i) for i in range(options.trials)], ignore_index=True
    )
    ask = {**KEYS, "contrast": ("ARMCD", "CTL"), "by": "AVISIT", "workers": options.workers}
    formula = "AVAL ~ BASE*AVISIT + ARMCD*AVISIT"
    outcomes = np.stack([frames[i % len(frames)]["AVAL"] for i in range(options.trials)])
    lines = []
    forms: dict[str, Callable[[], pd.DataFrame]] = {
        "one frame": lambda: mmrm_batch(formula, every, **ask),
        "matrix of outcomes": lambda: mmrm_batch(formula, frames[0], outcomes=outcomes, **ask),
    }
    for label, run in forms.items():
        start = time.perf_counter()
        table = run()
        seconds = time.perf_counter() - start
        assert table["failed"].isna().all()
        rate = f"{1e3 * seconds / options.trials:.2f} ms a trial, {options.workers} processes"
        task = f"{options.trials} trials of 200 x 4 with KR contrasts, {label}"
        lines.append(Line(task, "trialkit", seconds, 1.0, rate))
    return lines


def survival(repeats: int) -> list[Line]:
    """Time Cox regression and Kaplan-Meier curves beside lifelines."""
    import lifelines
    from lifelines import CoxPHFitter, KaplanMeierFitter

    name = "veteran, 137"
    if (SHARED / "veteran.csv").is_file():
        data = pd.read_csv(SHARED / "veteran.csv")[["trt", "time", "status", "karno"]]
    else:
        rng = np.random.Generator(np.random.Philox(2))
        data = pd.DataFrame({"trt": rng.integers(1, 3, 137), "karno": rng.integers(1, 10, 137)})
        data["time"] = np.ceil(rng.exponential(100.0, 137))
        data["status"], name = (rng.random(137) < 0.9).astype(int), "137 (generated)"
    rows: dict[str, Any] = {"time": "time", "event": "status"}
    version = f"version {lifelines.__version__}"

    def theirs() -> None:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            CoxPHFitter().fit(data, "time", "status")

    def curves() -> None:
        for _, own in data.groupby("trt"):
            KaplanMeierFitter().fit(own["time"], own["status"])

    lines = []
    for task, mine, other in (
        (f"{name}: Cox, Efron", lambda: cox("~ trt + karno", data, **rows).coefficients, theirs),
        (f"{name}: Kaplan-Meier of two groups", lambda: kaplan_meier(data, **rows, group="trt"),
         curves),
    ):  # fmt: skip
        own = best(mine, 3 * repeats)
        lines.append(Line(task, "trialkit", own, 1.0))
        seconds = best(other, 3 * repeats)
        lines.append(Line(task, "lifelines", seconds, seconds / own, version))
    return lines


def show(lines: list[Line]) -> None:
    """Print the table."""
    for line in lines:
        took = "" if line.seconds is None else f"{1e3 * line.seconds:12.1f} ms"
        ratio = "" if line.ratio is None or line.program == "trialkit" else f"{line.ratio:8.1f} x"
        print(f"{line.task:<62} {line.program:<50} {took:>15} {ratio:>10}  {line.note}")


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    lines: list[Line] = []
    for name, (formula, data, reference) in examples().items():
        times = ours(name, formula, data, reference, options.repeats)
        lines += [*times, *beside(name, formula, data, times, options)]
    lines += [*batch(options), *survival(options.repeats)]
    if options.json:
        json.dump([asdict(line) for line in lines], sys.stdout, indent=1)
        print()
    else:
        show(lines)


if __name__ == "__main__":
    main()
