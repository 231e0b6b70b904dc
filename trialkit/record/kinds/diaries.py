"""Payloads of diaries."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from trialkit.record.kinds._payload import Payload


class DiaryEntry(BaseModel):
    """One event in a diary, with its study day and grade (near-fall 1 ... admission 4)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    day: int
    grade: int | None = None


class DiaryReturned(Payload):
    """Days `from_day` to `to_day` (both included) were observed; other days are not exposure.

    `delay_days` counts from the return (`returned_on`, or the last day) to the entry.
    """

    kind = "diary.returned"
    diary: str
    from_day: int
    to_day: int
    entries: list[DiaryEntry] = Field(default_factory=list)
    returned_on: str | None = None
    delay_days: int | None = None
    late: bool = False


class DiaryCorrected(Payload):
    """A returned diary was corrected: `returned` is the event of the return."""

    kind = "diary.corrected"
    returned: int
    diary: str
    from_day: int
    to_day: int
    entries: list[DiaryEntry]
    old_from_day: int
    old_to_day: int
    old_entries: list[DiaryEntry]
