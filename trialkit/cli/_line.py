"""The whole line in one call: virtual trial, lock, snapshot, analysis, report, evidence, verify.

Each step is the public call that the other verbs make.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialkit.errors import PackageAltered, RefusedError

if TYPE_CHECKING:
    from trialkit.results import Results
    from trialkit.study import Study

PROTOCOLS = ("stroke-robotic", "stroke-conventional")
PLAN = "stroke-robotic-vs-conventional"
FORMATS = ("html", "pdf", "docx")
# what the demonstration writes, and nothing else is ever removed by --force
WRITTEN = (
    "study",
    "keys",
    "evidence",
    "evidence.zip",
    *(f"report.{name}" for name in FORMATS),
)
# share of the whole by step, for the progress bar
_SHARES = {
    "trial": 0.76,
    "lock": 0.01,
    "snapshot": 0.04,
    "analysis": 0.04,
    "report": 0.08,
    "evidence": 0.04,
    "verify": 0.03,
}
Progress = Callable[[float, str], None]


@dataclass
class Outcome:
    """What the line left behind.

    `seconds` is the time of each step, `faults` what the verifier found (nothing, or the
    line would have ended with an error).
    """

    folder: Path
    counts: dict[str, Any] = field(default_factory=dict)
    snapshot: str = ""
    results: Results | None = None
    fingerprint: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


def clear(folder: Path, *, force: bool) -> None:
    """Make sure that `folder` is new or empty; `force` removes an earlier demonstration.

    Raises
    ------
    RefusedError
        If there is something else in the folder, or an earlier demonstration without `force`.
    """
    if folder.is_file():
        raise RefusedError(f"{folder} is a file.", remedy="Give a new folder with --out.")
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in found if name not in WRITTEN]
    if foreign or (found and not force):
        shown = ", ".join((foreign or found)[:4])
        raise RefusedError(
            f"{folder} is not empty: {shown}{' ...' if len(foreign or found) > 4 else ''}.",
            remedy="Give a new folder with --out."
            if foreign
            else "Give a new folder with --out, or --force to replace this demonstration.",
        )
    for name in found:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)


def run_line(
    folder: Path,
    *,
    world: str,
    seed: int,
    participants: int,
    full_rate: int,
    progress: Progress | None = None,
) -> Outcome:
    """Run the line into `folder`, which must be empty.

    Raises
    ------
    PackageAltered
        If the package that was just built does not verify.
    """
    from trialkit._content import find_content
    from trialkit.record.sign import KeyStore
    from trialkit.simulate.trial import run_trial

    outcome = Outcome(folder)
    steps = _Steps(outcome, progress)
    with steps.step("trial", "people"):
        study = run_trial(
            folder / "study",
            protocols=[find_content("protocols", name) for name in PROTOCOLS],
            plan=find_content("analyses", PLAN),
            world=world,
            seed=seed,
            participants=participants,
            full_rate=full_rate,
            keys=KeyStore(folder / "keys"),
            progress=steps.within("trial"),
        )
    with study:
        _after(study, outcome, steps)
    return outcome


def _after(study: Study, outcome: Outcome, steps: _Steps) -> None:
    """From the last visit to the verified package."""
    from trialkit.analysis import analyse
    from trialkit.data import build_snapshot
    from trialkit.evidence import build_evidence
    from trialkit.evidence.check import verify_report
    from trialkit.plan import lock_plan
    from trialkit.report import render_report

    statistician, investigator = study.as_user("statistician"), study.as_user("investigator")
    with steps.step("lock", "two people sign the plan"):
        lock_plan(statistician, signer="statistician", second_signer="investigator")
    with steps.step("snapshot", "tables, unblinded"):
        snapshot = build_snapshot(statistician, unblind=True)
        outcome.snapshot = snapshot.hash
    with steps.step("analysis", "the registered analyses"):
        outcome.results = analyse(statistician, snapshot=snapshot)
    with steps.step("report", "HTML, PDF, DOCX"):
        made = render_report(statistician, "primary", formats=FORMATS)
        for name in FORMATS:
            shutil.copyfile(made[name], outcome.folder / f"report.{name}")
    with steps.step("evidence", "package, signed"):
        build_evidence(investigator, outcome.folder / "evidence")
    with steps.step("verify", "every file and event"):
        checked = verify_report(outcome.folder / "evidence.zip")
        if checked.faults:
            raise PackageAltered(
                f"the package does not verify: {checked.faults[0]}.",
                remedy="Report this as a defect.",
                faults=[str(fault) for fault in checked.faults],
            )
        key = study.state.users["investigator"].fingerprint
        outcome.fingerprint = key or ""
    outcome.counts = study.status().to_dict()


class _Steps:
    """Times the steps and reports the share of the whole that is done."""

    def __init__(self, outcome: Outcome, progress: Progress | None) -> None:
        self._outcome = outcome
        self._progress = progress
        self._done = 0.0

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Time one step."""
        began = time.perf_counter()
        self._tell(self._done, f"{name}: {text}")
        yield
        self._outcome.seconds[name] = round(time.perf_counter() - began, 2)
        self._done += _SHARES[name]
        self._tell(self._done, f"{name}: done")

    def within(self, name: str) -> Progress:
        """Return a callback for the share of one step."""
        return lambda share, text: self._tell(self._done + share * _SHARES[name], text)

    def _tell(self, share: float, text: str) -> None:
        if self._progress is not None:
            self._progress(share, text)
