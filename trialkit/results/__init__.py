"""Results: one row a statistic, each with an id of its own; tables, plots, summaries."""

from __future__ import annotations

from trialkit.results.model import AnalysisResult, Results
from trialkit.results.rows import (
    COLUMNS,
    CONTRASTS,
    RATIOS,
    SERIES_COLUMNS,
    ResultRows,
    format_value,
    result_id,
    results_table,
    series_table,
    slug,
)
from trialkit.results.store import FILE, MANIFEST, SCHEMA

__all__ = [
    "COLUMNS",
    "CONTRASTS",
    "FILE",
    "MANIFEST",
    "RATIOS",
    "SCHEMA",
    "SERIES_COLUMNS",
    "AnalysisResult",
    "ResultRows",
    "Results",
    "format_value",
    "result_id",
    "results_table",
    "series_table",
    "slug",
]
