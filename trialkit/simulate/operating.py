"""Operating characteristics: what a plan does over many trials of a world.

Each trial is people, frames and the registered analyses, without record and sessions. Trial
`i` of a world draws from streams of its own, so that neither the number of workers nor their
order changes a number. The intervals of each analysis should cover the truth in 95 % of the
trials, and in a world without a difference the primary test should reject in 5 %.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from trialkit.errors import UsageError
from trialkit.simulate.truth import Truth, truths
from trialkit.simulate.worlds import WORLDS, find_world

if TYPE_CHECKING:
    from trialkit.results import AnalysisResult

_STATISTICS = ("estimate", "lower", "upper", "p")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_APART = 1_000_000
COLUMNS = ["world", "trial", "analysis", "measure", *_STATISTICS, "reason"]


@dataclass(frozen=True)
class Task:
    """Trials `first` to `last` - 1 of a world; plain data, so that any worker can take it."""

    world: str
    seed: int
    first: int
    last: int
    participants: int
    plan: Path
    protocols: tuple[Path, ...]
    analyses: tuple[str, ...]


def run_task(task: Task) -> list[tuple[object, ...]]:
    """Run the trials of a task and return one row a trial and analysis."""
    from trialkit.analysis import run_plan
    from trialkit.plan import load_plan
    from trialkit.simulate.frames import Setting, frames, subjects

    setting = Setting.of(task.protocols)
    plan = load_plan(task.plan)
    kept = [a for a in plan.analyses if a.id in task.analyses]
    plan = plan.model_copy(update={"analyses": kept, "tables": []})
    world = find_world(task.world)
    used = {value for a in kept for value in a.where.values()}
    needed = {s.paramcd for s in setting.randomisation.strata} | used
    instruments = [
        code
        for code, instrument in setting.design.instruments.items()
        if any(s.paramcd in needed for s in instrument.scores)
    ]
    rows: list[tuple[object, ...]] = []
    scenario = _APART * (1 + list(WORLDS).index(task.world))
    for trial in range(task.first, task.last):
        key = scenario + trial  # so that worlds share no people, and no luck
        people = subjects(setting, world, task.seed, task.participants, trial=key)
        made = frames(setting, people, instruments=instruments)
        results = run_plan(plan, made, descriptives=False)
        rows += [(task.world, trial, a.id, *_effect(results[a.id])) for a in kept]
    return rows


def _effect(result: AnalysisResult) -> tuple[object, ...]:
    """Measure, estimate, lower, upper, p and the reason of a failure of one analysis."""
    found = result.comparison()
    return (found["measure"], *[float(found[name]) for name in _STATISTICS], found["reason"])


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor]:
    """Yield fresh processes whose linear algebra has one thread each."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def operate(
    plan: Path,
    protocols: Sequence[Path],
    *,
    worlds: Sequence[str] = ("benefit", "null", "harm"),
    trials: int = 200,
    participants: int = 200,
    seed: int = 2026,
    analyses: Sequence[str] = ("speed", "falls", "first_fall", "abc", "confident"),
    executor: Executor | None = None,
    chunk: int = 10,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Run the registered analyses on many virtual trials of each world.

    Parameters
    ----------
    plan, protocols : Path
        The plan, and the protocol of each arm.
    worlds, trials, participants, seed
        How many trials of what.
    analyses : sequence of str
        Ids of the analyses to run.
    executor : Executor or None
        Where the work is done; None starts one process a core.
    chunk : int
        Trials in one piece of work; it does not change the results.
    progress : callable or None
        Called with the number of trials done, and of all.

    Returns
    -------
    DataFrame
        One row a world, trial and analysis: estimate, lower, upper, p, or the reason why there
        is none. Ratios are on their natural scale.
    """
    if executor is None:
        with worker_pool(os.cpu_count() or 1) as pool:
            return operate(
                plan,
                protocols,
                worlds=worlds,
                trials=trials,
                participants=participants,
                seed=seed,
                analyses=analyses,
                executor=pool,
                chunk=chunk,
                progress=progress,
            )
    tasks = [
        Task(
            name,
            seed,
            first,
            min(first + chunk, trials),
            participants,
            plan,
            tuple(protocols),
            tuple(analyses),
        )
        for name in worlds
        for first in range(0, trials, chunk)
    ]
    futures = {executor.submit(run_task, task): task for task in tasks}
    rows: list[tuple[object, ...]] = []
    done = 0
    for future in as_completed(futures):
        rows += future.result()
        done += futures[future].last - futures[future].first
        if progress is not None:
            progress(done, trials * len(worlds))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(["world", "trial", "analysis"], ignore_index=True)


def characteristics(
    table: pd.DataFrame, truth: dict[str, dict[str, Truth]] | None = None, *, alpha: float = 0.05
) -> pd.DataFrame:
    """Summarise :func:`operate` by world and analysis.

    Parameters
    ----------
    table : DataFrame
        From :func:`operate`.
    truth : dict or None
        World to analysis to truth; None computes it.

    Returns
    -------
    DataFrame
        Columns world, analysis, truth, trials, failed, mean, bias (log scale for ratios),
        bias_se, coverage, rejected, and mc_se, the standard error of a proportion of 95 %.
    """
    rows = []
    for (name, analysis), part in table.groupby(["world", "analysis"]):
        known = (truth or {}).get(str(name)) or truths(find_world(str(name)))
        if analysis not in known:
            raise UsageError(
                f"the truth of {analysis!r} is not known.",
                remedy=f"Use {', '.join(known)}.",
            )
        value = known[str(analysis)].value
        good = part[part["reason"].isna()]
        ratio = known[str(analysis)].quantity.endswith("_ratio")
        scale = math.log if ratio else float
        errors = pd.Series([scale(e) - scale(value) for e in good["estimate"]])
        rows.append(
            {
                "world": name,
                "analysis": analysis,
                "truth": value,
                "trials": len(part),
                "failed": len(part) - len(good),
                "mean": float(good["estimate"].mean()),
                "bias": float(errors.mean()),
                "bias_se": float(errors.std(ddof=1)) / math.sqrt(max(1, len(errors))),
                "coverage": float(((good["lower"] <= value) & (value <= good["upper"])).mean()),
                "rejected": float((good["p"] < alpha).mean()),
                "mc_se": math.sqrt(alpha * (1 - alpha) / max(1, len(good))),
            }
        )
    return pd.DataFrame(rows)
