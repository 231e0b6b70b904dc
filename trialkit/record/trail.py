"""The audit trail for people: one row an event, with the values that it replaced.

The exact copy is the export as JSON lines; this form is for reading, as a web page that needs
nothing else, or as a table.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

from trialkit._canonical import canonical_json
from trialkit.record.chain import Event, Row
from trialkit.record.events import Record
from trialkit.record.kinds import KINDS
from trialkit.record.received import KIND as RECEIVED
from trialkit.record.received import expanded

COLUMNS = (
    "event",
    "UTC time",
    "user",
    "role",
    "kind",
    "participant",
    "reason",
    "content",
    "replaced",
)
# of these the newest about the same participant (or of the study) stands in place of the one before
_REPLACING = frozenset({"participant.consented", "plan.locked"})
_CORRECTING = tuple(sorted(kind for kind, model in KINDS.items() if "seq" in model.model_fields))

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 13px/1.4 sans-serif; margin: 2em }}
table {{ border-collapse: collapse }}
th, td {{ border: 1px solid #999; padding: 2px 6px; text-align: left; vertical-align: top }}
td {{ overflow-wrap: anywhere }} thead {{ display: table-header-group }}
</style></head><body><h1>{title}</h1>
<p>{n} events; hash of the last one {head}. Times are UTC. Nothing is left out; a row that
replaces earlier values shows them.</p>
<table><thead><tr>{columns}</tr></thead><tbody>
"""


def trail(record: Record, size: int | None = None) -> Iterator[tuple[str, ...]]:
    """Yield the columns of each event as text, in order; `size` is how many events are meant.

    An event that corrects another (its payload has ``seq``) shows each value that differs, as it
    was before; so does one that takes the place of the last of its kind.
    """
    wanted = {int(e.payload["seq"]) for e in record.read(kinds=_CORRECTING)}
    kept: dict[int, Event] = {}
    newest: dict[tuple[str, str | None], Event] = {}
    for event in expanded(islice(record.read(), size)):
        if event.kind == RECEIVED:  # its events follow, each in a row of its own
            event = replace(event, payload={**event.payload, "bodies": "below"})
        before = kept.get(event.payload["seq"]) if event.kind in _CORRECTING else None
        if event.kind in _REPLACING:
            before = newest.get((event.kind, event.subject))
            newest[event.kind, event.subject] = event
        if event.seq in wanted:
            kept[event.seq] = event
        yield (
            str(event.seq),
            event.at,
            event.actor,
            event.role,
            event.kind,
            event.subject or "",
            event.reason or "",
            "; ".join(f"{name}={value}" for name, value in _flat(event.payload)),
            _replaced(before, event) if before is not None else "",
        )


def _flat(payload: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in payload.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else canonical_json(value)


def _replaced(before: Event, event: Event) -> str:
    now = dict(_flat(event.payload))
    old = [
        f"{name}={value}"
        for name, value in _flat(before.payload)
        if name != "seq" and not name.startswith("old_") and now.get(name, value) != value
    ]
    return f"event {before.seq}: {'; '.join(old) or 'nothing differs'}"


#: How the file of the trail for people may end.
READABLE = (".html", ".csv")


def export_line(row: Row) -> bytes:
    """Return an event of the exact copy, as `Record.export` writes it: text and hash."""
    body = row.body.decode(errors="surrogateescape")
    return (canonical_json({"body": body, "hash": row.hash}) + "\n").encode()


def readable(record: Record, path: Path, size: int, digest: str) -> Iterator[bytes]:
    """Yield the audit trail for people, of the first `size` events, as `path` is to hold it.

    Parameters
    ----------
    path : Path
        Ends in ``.html`` (a page that needs nothing else) or ``.csv``. In a table a cell that a
        spreadsheet would run as a formula begins with an apostrophe.
    digest : str
        Hash of event `size`.
    """
    rows = trail(record, size)
    parts = _html(rows, path.stem, size, digest) if path.suffix == ".html" else _csv(rows)
    for part in parts:
        yield part.encode(errors="backslashreplace")


def _html(rows: Iterable[tuple[str, ...]], title: str, size: int, digest: str) -> Iterator[str]:
    columns = "".join(f"<th>{name}</th>" for name in COLUMNS)
    yield _PAGE.format(title=escape(title), n=size, head=digest, columns=columns)
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n"
    yield "</tbody></table></body></html>\n"


def _csv(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _line(COLUMNS)
    for row in rows:
        yield _line(tuple(f"'{cell}" if cell[:1] in set("=+-@\t\r") else cell for cell in row))


def _line(row: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(row)
    return text.getvalue()
