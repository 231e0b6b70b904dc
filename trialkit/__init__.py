"""trialkit: gait-training trials from a written protocol to a signed evidence package.

The public names are imported when they are first used, so that ``import trialkit`` and
``trialkit --help`` stay light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from trialkit.analysis import analyse
    from trialkit.data import Snapshot, build_snapshot, queries
    from trialkit.errors import TrialkitError
    from trialkit.evidence import build_evidence, trace, verify_package
    from trialkit.exchange import import_table
    from trialkit.plan import Plan, check_plan, load_plan, lock_plan
    from trialkit.protocol import Protocol, check_protocol, load_protocol
    from trialkit.report import render_report
    from trialkit.results import Results
    from trialkit.session import recover, run_session
    from trialkit.study import Study

_HOMES = {
    "Plan": "plan",
    "Protocol": "protocol",
    "Results": "results",
    "Snapshot": "data",
    "Study": "study",
    "TrialkitError": "errors",
    "analyse": "analysis",
    "build_evidence": "evidence",
    "build_snapshot": "data",
    "check_plan": "plan",
    "check_protocol": "protocol",
    "import_table": "exchange",
    "load_plan": "plan",
    "load_protocol": "protocol",
    "lock_plan": "plan",
    "queries": "data",
    "recover": "session",
    "render_report": "report",
    "run_session": "session",
    "trace": "evidence",
    "verify_package": "evidence",
}

__all__ = [
    "Plan",
    "Protocol",
    "Results",
    "Snapshot",
    "Study",
    "TrialkitError",
    "__version__",
    "analyse",
    "build_evidence",
    "build_snapshot",
    "check_plan",
    "check_protocol",
    "import_table",
    "load_plan",
    "load_protocol",
    "lock_plan",
    "queries",
    "recover",
    "render_report",
    "run_session",
    "trace",
    "verify_package",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trialkit' has no attribute {name!r}")
    return getattr(import_module(f"trialkit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
