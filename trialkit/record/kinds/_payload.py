"""What every payload is."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

Scalar = str | int | float | bool | None


class Payload(BaseModel):
    """Base of all payloads; ``kind`` is the stable name in the record.

    Validators are built when a record is opened for writing: see
    `trialkit.record.kinds.build_validators`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)
    kind: ClassVar[str]
