"""What every payload is."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

Scalar = str | int | float | bool | None


class Payload(BaseModel):
    """Base of all payloads; ``kind`` is the stable name in the record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    kind: ClassVar[str]
