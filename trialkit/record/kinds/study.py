"""Payloads of the study itself: its beginning, its people, what was imported or refused."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trialkit.record.kinds._payload import Payload


class ChainOrigin(BaseModel):
    """Where the chain of a site comes from: the centre's chain, and its last event then."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    site: str
    number: int
    seq: int
    hash: str


class TimeSource(BaseModel):
    """Where a machine has its time from; None is what its system does not tell.

    `told_by` is who told it; ``simulated`` is no machine's clock. `off_s` is how far the clock is
    off the time server, and `bound_s` the kernel's bound on its error, both in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    told_by: Literal["chrony", "timesyncd", "kernel", "simulated", "unknown"]
    machine: str = ""
    server: str | None = None
    synchronised: bool | None = None
    off_s: float | None = None
    bound_s: float | None = None


class StudyCreated(Payload):
    """A study began; protocols, design and plan by the hash of their files.

    `origin` is there where this is the chain of a site that works offline.
    """

    kind = "study.created"
    study_id: str
    title: str
    protocols: dict[str, str]
    design: str | None = None
    plan: str | None = None
    software: str
    source: Literal["trial", "import"] = "trial"
    origin: ChainOrigin | None = None
    clock: TimeSource | None = None


class UserAdded(Payload):
    """A person may act in the study, in one role; `sites` is empty where it holds for all."""

    kind = "user.added"
    user: str
    name: str
    user_role: str
    key_fingerprint: str | None = None
    sites: list[str] = Field(default_factory=list)


class CommandRefused(Payload):
    """Somebody tried what role, site, login, a lock or a chain elsewhere does not allow."""

    kind = "command.refused"
    command: str
    permission: str
    why: Literal["role", "site", "login", "locked", "elsewhere"]


class ImportedChange(BaseModel):
    """One event that an import appended: its number, and what it is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    seq: int
    usubjid: str | None
    kind: str
    what: str


class DataImported(Payload):
    """A foreign file entered the study through a mapping.

    `rows` and `participants` are what the file holds. For forms of another system (`format`
    ``redcap`` or ``odm``) `changes` lists every event that came with the file, `unchanged` counts
    the entries that were recorded as they are, and `queries` names those raised for the others.
    """

    kind = "data.imported"
    file: str
    file_sha256: str
    mapping_sha256: str
    rows: int
    participants: int
    format: Literal["table", "redcap", "odm"] = "table"
    changes: list[ImportedChange] = Field(default_factory=list)
    unchanged: int = 0
    queries: list[str] = Field(default_factory=list)


class DataExported(Payload):
    """Forms, visits and diaries were written for another system; `files` are names to SHA-256.

    `blinded` says that whoever did it may not see allocations.
    """

    kind = "data.exported"
    format: Literal["redcap", "odm"]
    files: dict[str, str]
    participants: int
    values: int
    blinded: bool


class RecordExported(Payload):
    """The record left the study in files: all of it, a proof, or a head.

    It covers the first `size` events, of which `root` is the Merkle root (RFC 6962); `files` is
    the SHA-256 of each file by its format: jsonl, html, csv or json.
    """

    kind = "record.exported"
    what: Literal["record", "proof", "head"]
    size: int
    root: str
    files: dict[str, str]


class ClockStepped(Payload):
    """The wall clock went `by_s` seconds its own way since the last event.

    `since` says of whom. ``process``: of this process, by its monotonic clock. ``record``: of
    another one, before the first event of this process; the wall clock is then `by_s` seconds
    behind that event, so that it was set back by so much at least, or is another machine's.
    Times before and after are not comparable to better than that; `seq` keeps the order.
    """

    kind = "clock.stepped"
    by_s: float
    since: Literal["process", "record"] = "process"


class RecordUnguarded(Payload):
    """Triggers that keep the record append-only were missing, altered or off, and were put back.

    Found when a study was opened for writing, by whom the event names. Whether anything was
    changed meanwhile, `trialkit record verify` tells.
    """

    kind = "record.unguarded"
    triggers: list[str]


class ClockSource(Payload):
    """The machine that writes has its time from elsewhere than the record said of it.

    Recorded before the first event of a process, and after a step of the clock.
    """

    kind = "clock.source"
    source: TimeSource
