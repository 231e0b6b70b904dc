"""Reports: views of results. `render_report` renders; `open_report` is what their cells use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trialkit.report.render import render_report
    from trialkit.report.show import Show, open_report

_HOMES = {"Show": "show", "open_report": "show", "render_report": "render"}

__all__ = ["Show", "open_report", "render_report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trialkit.report' has no attribute {name!r}")
    return getattr(import_module(f"trialkit.report.{_HOMES[name]}"), name)
