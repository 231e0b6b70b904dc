"""Payloads of the study itself: its beginning, its people, what was imported or refused."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trialkit.record.kinds._payload import Payload


class StudyCreated(Payload):
    """A study began; protocols, design and plan by the hash of their files."""

    kind = "study.created"
    study_id: str
    title: str
    protocols: dict[str, str]
    design: str | None = None
    plan: str | None = None
    software: str
    source: Literal["trial", "import"] = "trial"


class UserAdded(Payload):
    """A person may act in the study, in one role; `sites` is empty where it holds for all."""

    kind = "user.added"
    user: str
    name: str
    user_role: str
    key_fingerprint: str | None = None
    sites: list[str] = Field(default_factory=list)


class CommandRefused(Payload):
    """Somebody tried what role, site or login, or a lock, does not allow; nothing else happened."""

    kind = "command.refused"
    command: str
    permission: str
    why: Literal["role", "site", "login", "locked"]


class DataImported(Payload):
    """A foreign table entered the study through a mapping."""

    kind = "data.imported"
    file: str
    file_sha256: str
    mapping_sha256: str
    rows: int
    participants: int


class ClockStepped(Payload):
    """The wall clock went `by_s` seconds its own way since the last event of this process.

    Times before and after are not comparable to better than that; `mono_ns` keeps the order.
    """

    kind = "clock.stepped"
    by_s: float
