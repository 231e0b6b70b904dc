"""A plan, frames and their results, made once."""

from __future__ import annotations

import pandas as pd
import pytest
from frames_for_analysis import make_frames, make_plan

from trialkit.analysis import run_plan
from trialkit.plan.model import Plan
from trialkit.results import Results


@pytest.fixture(scope="session")
def plan() -> Plan:
    return make_plan()


@pytest.fixture(scope="session")
def frames() -> dict[str, pd.DataFrame]:
    return make_frames()


@pytest.fixture(scope="session")
def results(plan: Plan, frames: dict[str, pd.DataFrame]) -> Results:
    return run_plan(plan, frames, meta={"snapshot": "0" * 64})
