"""Data: the record as SDTM-like tables, as ADaM-like tables, and as snapshots; queries."""

from trialkit.data.checks import check_frames, queries, query_findings
from trialkit.data.collect import collect
from trialkit.data.derive import derive
from trialkit.data.snapshot import Snapshot, build_snapshot, snapshots
from trialkit.data.terms import study_terms

__all__ = [
    "Snapshot",
    "build_snapshot",
    "check_frames",
    "collect",
    "derive",
    "queries",
    "query_findings",
    "snapshots",
    "study_terms",
]
