"""Payloads of queries: questions about data, and what became of them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from trialkit.record.kinds._payload import Payload


class Place(BaseModel):
    """What a query is about; `row` names a row of a table where a check of the data raised it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    visit: str | None = None
    instrument: str | None = None
    item: str | None = None
    session: str | None = None
    diary: str | None = None
    ae: str | None = None
    domain: str | None = None
    row: str | None = None


class QueryRaised(Payload):
    """A query was raised by a person, or by `rule`; `key` says by which rule on which item.

    A `restricted` query is shown only to roles that may see allocations.
    """

    kind = "query.raised"
    query: str
    text: str
    place: Place
    rule: str | None = None
    key: str | None = None
    value: str = ""
    restricted: bool = False


class QueryAnswered(Payload):
    """A query was answered; it stays open until it is closed."""

    kind = "query.answered"
    query: str
    text: str


class QueryClosed(Payload):
    """A query was closed."""

    kind = "query.closed"
    query: str


class QueryReopened(Payload):
    """A closed query was opened again."""

    kind = "query.reopened"
    query: str
