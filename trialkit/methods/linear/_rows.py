"""One row a participant."""

from __future__ import annotations

import pandas as pd

from trialkit.errors import UsageError


def one_row_each(data: pd.DataFrame, subject: str | None) -> None:
    """Refuse a participant with several rows.

    Raises
    ------
    UsageError
        For an unknown column, or a participant named twice.
    """
    if subject is None:
        return
    if subject not in data.columns:
        raise UsageError(
            f"The data have no column {subject!r}.",
            remedy=f"Columns are: {', '.join(map(str, data.columns))}.",
        )
    named = data[subject].dropna()
    twice = named[named.duplicated()].unique()
    if len(twice):
        raise UsageError(
            f"{len(twice)} participants have several rows, such as {subject} {twice[0]!r}.",
            remedy="Give one row a participant.",
        )
