"""The record: append, read, verify and export of events.

An event is acknowledged when `Record.append` returns, or, inside `Record.batch`, when the
outermost batch ends. Until then nothing of it can be seen by another reader, and a failure
leaves the chain as it was.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from trialkit._canonical import canonical_json, durable_stream
from trialkit._clock import Clock, utc_text
from trialkit.errors import ChainBroken, StorageRefused, TrialkitError, UsageError
from trialkit.record import postgres, sqlite
from trialkit.record.chain import (
    GENESIS,
    ChainReport,
    Event,
    Row,
    check_chain,
    decode,
    encode,
    event_of,
)
from trialkit.record.kinds import Payload, build_validators
from trialkit.record.received import KIND as RECEIVED
from trialkit.record.received import matching
from trialkit.record.schema import events
from trialkit.record.storage import storage_guard
from trialkit.record.store import Store

_PAGE = 2000
_FLUSH = 5000
_TEXT = (events.c.body, events.c.hash)


class Record:
    """The append-only, hash-chained account of a study; use `Record.create` or `Record.open`.

    Several processes may append to one record: each takes the writers' lock for as long as its
    batch lasts, and continues the chain from where the others left it. Of the threads of one
    process one at a time appends.
    """

    def __init__(self, where: Path | str, store: Store, clock: Clock) -> None:
        self.where = where
        self.address = store.address
        self.clock = clock
        self.write = store.write
        self._store = store
        self._lock = threading.RLock()
        self._depth = 0
        self._pending: list[dict[str, Any]] = []
        self._doomed: TrialkitError | None = None
        self._seq, self._hash = store.head()

    @classmethod
    def create(cls, where: Path | str, clock: Clock) -> Record:
        """Create an empty record at `where`: a path, or the URL of an empty database.

        Raises
        ------
        UsageError
            If the file exists.
        Duplicate
            If the database holds a study.
        StorageRefused
            If the disk is full or read-only, or the database refuses.
        """
        build_validators()
        if isinstance(where, str):
            return cls(where, postgres.create(where), clock)
        if where.exists():
            raise UsageError(f"{where} exists already.", remedy="Give a new folder.")
        return cls(where, sqlite.create(where), clock)

    @classmethod
    def open(cls, where: Path | str, *, write: bool, clock: Clock) -> Record:
        """Open the record at a path or a database URL.

        Errors are those of `trialkit.record.sqlite.open_file` and
        `trialkit.record.postgres.open_url`.
        """
        if write:
            build_validators()
        if isinstance(where, str):
            return cls(where, postgres.open_url(where, write=write), clock)
        return cls(where, sqlite.open_file(where, write=write), clock)

    def __enter__(self) -> Record:
        """Return the record itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the record."""
        self.close()

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last event; ``(0, "0" * 64)`` while there is none.

        Outside a batch it is looked up each time, so that it follows other writers.
        """
        with self._lock:
            if self._depth == 0:
                self._seq, self._hash = self._store.head()
            return self._seq, self._hash

    @property
    def unguarded(self) -> list[str]:
        """Triggers that were missing or off at opening; the next batch puts them back."""
        return list(self._store.unguarded)

    def durability(self) -> dict[str, str]:
        """Return the settings of the store that make a commit durable."""
        return self._store.durability()

    def append(
        self,
        payload: Payload,
        *,
        actor: str,
        role: str,
        subject: str | None = None,
        reason: str | None = None,
    ) -> Event:
        """Append one event and return it.

        Raises
        ------
        StorageRefused
            If the record is open for reading, or the disk refused; nothing was kept.
        """
        with self.batch():
            fields: dict[str, Any] = {
                "seq": self._seq + 1,
                "kind": payload.kind,
                "at": utc_text(self.clock.now()),
                "mono_ns": self.clock.monotonic_ns(),
                "actor": actor,
                "role": role,
                "subject": subject,
                "reason": reason,
                "payload": payload.model_dump(mode="json"),
                "prev": self._hash,
            }
            body, digest = encode(fields)
            self._pending.append(
                {
                    "seq": fields["seq"],
                    "kind": payload.kind,
                    "at": fields["at"],
                    "subject": subject,
                    "body": body,
                    "hash": digest,
                }
            )
            self._seq, self._hash = fields["seq"], digest
            if self._depth == 2 and len(self._pending) >= _FLUSH:  # only the outer batch is open
                self._flush()
        return event_of(fields, digest)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold the writers' lock and commit every append inside together, with one sync to disk.

        A batch inside a batch joins the outer one. Where one ends by an exception, its own
        appends are taken back, those of batches inside it included.

        Raises
        ------
        StudyBusy
            If another process writes for longer than ten seconds.
        StorageRefused
            If the record is open for reading, or the store refused; nothing was kept.
        """
        if not self.write:
            raise StorageRefused(
                f"{self.address}: open for reading only.", remedy="Open the study with write=True."
            )
        with self._lock:
            if self._depth == 0:
                self._start()
            seq, digest = self._seq, self._hash
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._commit()
            except BaseException:
                self._take_back(seq, digest)
                raise
            finally:
                self._depth -= 1

    def _start(self) -> None:
        """Take the writers' lock and continue from the head as it is now."""
        try:
            self._seq, self._hash = self._store.begin()
            if self._store.unguarded:
                self._store.put_back()
        except BaseException:
            self._store.rollback()
            raise

    def _flush(self) -> None:
        if not self._pending:
            return
        try:
            self._store.insert(self._pending)
        except TrialkitError as error:
            self._doomed = error  # whoever catches it, the outermost batch cannot be committed
            raise
        self._pending = []

    def _commit(self) -> None:
        if self._doomed is not None:
            raise self._doomed
        self._flush()
        self._store.commit()
        self._store.unguarded = []

    def _take_back(self, seq: int, digest: str) -> None:
        """Return to the state in which `seq` was the last event."""
        if self._depth == 1:
            self._pending, self._doomed = [], None
            self._store.rollback()
        else:
            self._pending = [row for row in self._pending if row["seq"] <= seq]
        self._seq, self._hash = seq, digest

    def read(
        self, kinds: Iterable[str] | None = None, subject: str | None = None, after: int = 0
    ) -> Iterator[Event]:
        """Yield events in order, those of an open batch included.

        Parameters
        ----------
        kinds : iterable of str or None
            Only these kinds.
        subject : str or None
            Only events about this participant.
        after : int
            Only events with a greater number.

        Those of sites' chains are found by kind and subject too, at the place where they were
        received: see `trialkit.record.received`. Without either the chain itself is read.

        Raises
        ------
        ChainBroken
            If an event does not have the hash stored with it.
        """
        if kinds is None and subject is None:
            return self._own(None, None, after)
        wanted = None if kinds is None else frozenset(kinds)
        own = self._own(wanted, subject, after)
        return matching(own, self._own({RECEIVED}, None, 0), wanted, subject, after)

    def _own(self, kinds: Iterable[str] | None, subject: str | None, after: int) -> Iterator[Event]:
        """Yield the events of this chain itself."""
        wanted = None if kinds is None else frozenset(kinds)
        query = sa.select(events.c.seq, *_TEXT).order_by(events.c.seq).limit(_PAGE)
        if wanted is not None:
            query = query.where(events.c.kind.in_(wanted))
        if subject is not None:
            query = query.where(events.c.subject == subject)
        with self._lock:
            last = self._pending[0]["seq"] - 1 if self._pending else self.head[0]
            waiting = [
                row
                for row in self._pending
                if (wanted is None or row["kind"] in wanted)
                and (subject is None or row["subject"] == subject)
                and row["seq"] > after
            ]
        while True:
            bounded = query.where(events.c.seq > after, events.c.seq <= last)
            rows = self._fetch(bounded)
            for _, body, digest in rows:
                yield decode(body, digest)
            if len(rows) < _PAGE:
                break
            after = rows[-1][0]
        for row in waiting:
            yield decode(row["body"], row["hash"])

    def _fetch(self, query: sa.Select[Any]) -> list[Any]:
        with self._lock:
            return self._store.fetch(query)

    def verify(
        self, anchors: Mapping[int, str] | None = None, after: tuple[int, str] = (0, GENESIS)
    ) -> ChainReport:
        """Check the chain as it is stored; see `trialkit.record.chain.check_chain`.

        Parameters
        ----------
        anchors : mapping of int to str or None
            Hashes of events known from elsewhere, by number.
        after : tuple of int and str
            Number and hash of the event after which to begin; default: the whole chain.
        """
        return check_chain(
            self.rows(after[0]), last_seq=self.last_given, anchors=anchors, after=after
        )

    def rows(self, after: int = 0) -> Iterator[Row]:
        """Yield the rows as they are stored, damaged ones included; an open batch's are not there.

        Parameters
        ----------
        after : int
            Only rows with a greater number.
        """
        while True:
            with self._lock:
                page = self._store.page(after, _PAGE)
            for seq, body, digest, kind, at, subject in page:
                yield Row(seq, body, digest, (kind, at, subject))
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    @property
    def last_given(self) -> int:
        """The highest number that was ever stored, also where its row is gone."""
        with self._lock:
            return self._store.last_given()

    def export(self, path: Path) -> None:
        """Write all events to `path`, one JSON object a line: ``{"body": text, "hash": hex}``.

        Raises
        ------
        StorageRefused
            If the disk is full or read-only; no part of the file was kept.
        """
        with storage_guard(path), durable_stream(path) as stream:
            for row in self.rows():
                body = row.body.decode(errors="surrogateescape")
                stream.write((canonical_json({"body": body, "hash": row.hash}) + "\n").encode())

    def close(self) -> None:
        """Close the store; a second call does nothing."""
        self._store.close()


def read_export(path: Path) -> Iterator[Event]:
    """Yield the events of an exported record and check the chain on the way.

    Raises
    ------
    ChainBroken
        At the first event that is altered, missing or out of place.
    """
    seq, digest = 0, GENESIS
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            stored = json.loads(line)
            event = decode(stored["body"], stored["hash"])
            if event.seq != seq + 1 or event.prev != digest:
                raise ChainBroken(
                    f"{path}: event {event.seq} does not follow event {seq}.",
                    remedy="Export the record again from the study.",
                )
            seq, digest = event.seq, event.hash
            yield event
