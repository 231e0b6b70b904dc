"""The operator of a session that reads no keys: remarks go to standard error."""

from __future__ import annotations

from trialkit.cli._common import note
from trialkit.session.operator import AttendingOperator


class HeadlessOperator(AttendingOperator):
    """Attends as `AttendingOperator` does, and prints what a person should know."""

    def tell(self, text: str) -> None:
        """Print a remark."""
        note(text)
