"""The table of events, the same on every database, and the version of its form.

The table holds the canonical body of each event and its hash; ``kind``, ``at`` and
``subject`` are projections of the body, for reading by them. Triggers refuse every update,
deletion and insertion out of sequence: see `trialkit.record.sqlite` and
`trialkit.record.postgres`.
"""

from __future__ import annotations

import sqlalchemy as sa

SCHEMA_VERSION = 1

metadata = sa.MetaData()
events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Index("events_by_kind", "kind", "seq"),
    sa.Index("events_by_subject", "subject", "seq"),
    sqlite_autoincrement=True,  # sqlite_sequence keeps the last number even if rows vanish
)
