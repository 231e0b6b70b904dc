"""What results share: whether there are numbers, and whom they rest on."""

from __future__ import annotations


class Result:
    """Numbers, or the reason why there are none.

    The fields are those of the dataclass that a result is.
    """

    failed: str | None

    @property
    def converged(self) -> bool:
        """Whether there are numbers."""
        return self.failed is None


class ByParticipant(Result):
    """A result whose ``n`` counts participants."""

    n: int

    @property
    def n_subjects(self) -> int:
        """Participants used."""
        return self.n
