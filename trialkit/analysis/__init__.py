"""A registered plan on the frames of a snapshot: one row a statistic.

`analyse` is the guarded way from a study to stored results; `run_plan` is its pure part, for
simulations and for frames from anywhere.
"""

from __future__ import annotations

from trialkit.analysis.flow import check_flow
from trialkit.analysis.gate import analyse
from trialkit.analysis.run import run_plan

__all__ = ["analyse", "check_flow", "run_plan"]
