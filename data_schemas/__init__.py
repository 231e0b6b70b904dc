"""Versioned pandera schemas of everything that trialkit writes as a table.

``VERSIONS`` is what a plan lock pins: a change of meaning of a column is a new version.
"""

from __future__ import annotations

VERSIONS: dict[str, str] = {"sdtm": "1", "adam": "1", "telemetry": "1", "results": "2"}

__all__ = ["VERSIONS"]
