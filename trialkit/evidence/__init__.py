"""Evidence packages: build, verify, and the way from a printed number back to its origin."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trialkit.evidence.build import build_evidence, environment
    from trialkit.evidence.check import verify_package
    from trialkit.evidence.origin import Trace, trace

_HOMES = {
    "Trace": "origin",
    "build_evidence": "build",
    "environment": "build",
    "trace": "origin",
    "verify_package": "check",
}

__all__ = ["Trace", "build_evidence", "environment", "trace", "verify_package"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trialkit.evidence' has no attribute {name!r}")
    return getattr(import_module(f"trialkit.evidence.{_HOMES[name]}"), name)
