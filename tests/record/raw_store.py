"""The store of a record as somebody could change it who has the file or the server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from trialkit.record import Record

Run = Any  # called with a statement (places marked by ?) and its values, gives a cursor


@contextmanager
def raw_store(record: Record) -> Iterator[Run]:
    """Give a function that runs one statement as any program could, triggers in place."""
    if isinstance(record.where, str):
        import psycopg

        with psycopg.connect(record.where, options="-c search_path=trialkit") as database:
            yield lambda text, values=(): database.execute(
                text.replace("?", "%s").encode(), values or None
            )
    else:
        with closing(sqlite3.connect(record.where)) as file, file:
            yield file.execute


def tampered(record: Record, *statements: tuple[str, Sequence[object]]) -> None:
    """Change the store without its triggers, as its owner could."""
    with raw_store(record) as run:
        if isinstance(record.where, str):
            run("SET session_replication_role = replica")
        else:
            for name in ("events_no_update", "events_no_delete", "events_in_sequence"):
                run(f"DROP TRIGGER IF EXISTS {name}")
        for text, values in statements:
            run(text, values)
