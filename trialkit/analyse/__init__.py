"""A registered plan on the frames of a snapshot: one row a statistic.

`analyse` is the guarded way from a study to stored results; `run_plan` is its pure part, for
simulations and for frames from anywhere. The room and its main function share one name, so
the module itself can be called: ``from trialkit import analyse; analyse(study)`` works however
the room was imported before.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from trialkit.analyse.flow import check_flow
from trialkit.analyse.run import run_plan

if TYPE_CHECKING:
    from trialkit.data import Snapshot
    from trialkit.results import Results
    from trialkit.study import Study

__all__ = ["analyse", "check_flow", "run_plan"]


def analyse(
    study: Study,
    *,
    snapshot: Snapshot | str | Path | None = None,
    plan: str | Path | None = None,
) -> Results:
    """Run the locked plan of a study and store the results: `trialkit.analyse.gate`."""
    from trialkit.analyse.gate import run_locked

    return run_locked(study, snapshot=snapshot, plan=plan)


class _Room(ModuleType):
    """A module that passes calls on to `analyse`."""

    def __call__(self, *args: Any, **options: Any) -> Results:
        """Run `trialkit.analyse.analyse`."""
        return analyse(*args, **options)


sys.modules[__name__].__class__ = _Room
